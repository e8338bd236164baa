"""`grub.cfg` for a boot medium, and the first configuration inside its UEFI program.

Source of the facts: aports scripts/mkimg.base.sh (Alpine's entry); GRUB manual, chapters
"Writing full configuration files directly" and "search".
"""

from __future__ import annotations

import re

from bootsmith.formats.boot_menu import BootMenu, check_kernel_options

_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./=,:@%+~^-]+")
SERIAL_LINES = (
    "serial --unit=0 --speed=115200",
    "terminal_input console serial",
    "terminal_output console serial",
)


def write_grub_cfg(menu: BootMenu) -> bytes:
    """The configuration for `menu`; RecipeError for options that cannot be passed on.

    GRUB counts whole seconds: a part of one is rounded up.
    """
    check_kernel_options(menu.options, subject="grub.cfg")
    lines = [
        *(SERIAL_LINES if menu.serial_console else ()),
        f"set timeout={-(-menu.timeout_deciseconds // 10)}",
        f"menuentry {quoted_word(f'Linux {menu.flavor}')} {{",
        f"\tlinux {' '.join(quoted_word(word) for word in (menu.kernel, *menu.options))}",
        f"\tinitrd {' '.join(quoted_word(path) for path in menu.initrds)}",
        "}",
        "",
    ]
    return "\n".join(lines).encode("ascii")


def write_grub_first_cfg(*, volume_uuid: str, prefix: str = "/boot/grub") -> str:
    """Find the volume by its UUID (`blkid`'s form, such as `1A2B-3C4D`) and go on there.

    Without a search GRUB would trust the firmware to say what it was loaded from, which not
    every firmware does; a label would have to be the ISO's, which FAT cannot hold.
    """
    return f"search --no-floppy --fs-uuid --set=root {volume_uuid}\nset prefix=($root){prefix}\n"


def quoted_word(word: str) -> str:
    """`word` as GRUB reads it back; inside single quotes nothing is special."""
    return word if _PLAIN_WORD.fullmatch(word) else f"'{word}'"
