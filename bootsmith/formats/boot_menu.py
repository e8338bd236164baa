"""What a boot loader is to offer: one kernel, its initramfs images and its command line.

Alpine's /init splits the command line at blanks and knows no quoting, and GRUB puts
backslashes before quotes; so an option is one word of printable ASCII without either.
Source of the facts: Alpine mkinitfs initramfs-init.in; GRUB grub-core/lib/cmdline.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootsmith.errors import RecipeError

# What the kernel takes from a loader on x86: COMMAND_LINE_SIZE less the final NUL.
_LIMIT_BYTES = 2047
_QUOTING = frozenset("\"'\\")


@dataclass(frozen=True, kw_only=True)
class BootMenu:
    """One entry, named by `flavor`. `kernel` and `initrds` are absolute paths on the medium.

    `timeout_deciseconds` is how long the menu waits, in tenths of a second; 0 boots at once.
    `serial_console` lets the loader itself talk on the first serial port at 115200 baud.
    """

    flavor: str
    kernel: str
    initrds: tuple[str, ...]
    options: tuple[str, ...]
    timeout_deciseconds: int = 0
    serial_console: bool = False


def check_kernel_options(options: Sequence[str], *, subject: object) -> None:
    """RecipeError for an option that would not arrive in the guest as it is written."""
    for option in options:
        if (
            not option
            or not all(0x20 < ord(letter) < 0x7F for letter in option)
            or any(letter in _QUOTING for letter in option)
        ):
            raise RecipeError(
                subject,
                "not a boot option",
                expected="one word of ASCII without blanks, quotes and backslashes",
                got=ascii(option),
                hint="write each option as an item of its own",
            )
    length = len(" ".join(options))
    if length > _LIMIT_BYTES:
        raise RecipeError(
            subject,
            "boot options are too long for the kernel",
            expected=f"at most {_LIMIT_BYTES} characters",
            got=length,
            hint="leave some out",
        )


def merge_kernel_options(defaults: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
    """`defaults` without those that `chosen` names too, then `chosen`.

    What may come several times (`console=`) stays as often as `chosen` has it.
    """
    names = {option.partition("=")[0] for option in chosen}
    kept = [option for option in defaults if option.partition("=")[0] not in names]
    return (*kept, *chosen)
