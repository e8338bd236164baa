"""Configurations for GRUB that was loaded over the network by UEFI firmware.

GRUB asks for all files by the protocol and from the server that it came by itself, which is
what a name without a device means; names begin at the root of that server. It cannot ask
whether a file is there (`-f` wants a directory to look into), only try to read it; so every file
says that it was found, before anything in it may fail.

Source of the facts: GRUB 2.06, grub-core/net/net.c (`net_default_mac`), commands/test.c,
commands/regexp.c; GRUB manual, chapters "Network" and "source"; each was seen to work in a
virtual machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bootsmith.formats.grub_cfg import SERIAL_LINES, quoted_word
from bootsmith.formats.netboot_network import ARMED, CURRENT, HERE
from bootsmith.formats.network_boot import RETRY_SECONDS, NetworkBoot, check_command_line

_CARDS = ("efinet0", "efinet1", "efinet2", "efinet3")
# The program itself reads no more than plain commands: whatever loads a kernel does not return.
_BY_OWN_ADDRESS = "".join(
    f"""\
net_bootp {card}
set net_default_interface={card}_dhcp
export net_default_interface
set root=tftp,$net_{card}_dhcp_next_server
set prefix=($root)/{CURRENT}/tftp/grub
source $prefix/grub.cfg
"""
    for card in _CARDS
)
FIRST_CONFIGURATION = f"""\
set prefix=$cmdpath/grub
source $prefix/grub.cfg
{_BY_OWN_ADDRESS}\
echo 'Trying again in {RETRY_SECONDS} seconds'
sleep {RETRY_SECONDS}
reboot
"""
"""Runs inside the program itself. `cmdpath` is the directory that it was loaded from, where UEFI's
own PXE has loaded it. Where HTTP boot or iPXE has, it knows neither that nor an address, and asks
for one, card by card."""
_OCTETS = "abcdef"
_FOUND = "set found=yes"


def write_grub_chooser_cfg(prefix_lengths: Iterable[int] = ()) -> str:
    """`grub.cfg`: the machine's own file, else that of its MAC prefix, else of unknown ones.

    `prefix_lengths`, in bytes, are those that there are prefixes of.
    """
    pairs = ":".join("(..)" for _ in _OCTETS)
    sets = " ".join(f"--set={number}:{name}" for number, name in enumerate(_OCTETS, 1))
    names = ["$mac"] + [
        "-".join(f"${name}" for name in _OCTETS[:length])
        for length in sorted(set(prefix_lengths), reverse=True)
    ]
    return _text(
        [
            f"regexp {sets} '^{pairs}$' \"$net_default_mac\"",
            f'set mac="01-{"-".join(f"${name}" for name in _OCTETS)}"',
            "export mac",
            f"for name in {' '.join(names)} default; do",
            '\tif [ "$found" != yes ]; then',
            f"\t\tsource /{HERE}/tftp/grub/$name.cfg",
            "\tfi",
            "done",
        ]
    )


def write_grub_netboot_cfg(boot: NetworkBoot, *, is_armable: bool = False) -> str:
    """A file that boots `boot`, or first what is armed for this machine if it `is_armable`.

    Raises RecipeError for words that would not arrive. Returns to the program's own
    configuration, which begins again, where anything fails.
    """
    kernel = f"/{HERE}/{boot.kernel}"
    check_command_line(boot, [f"BOOT_IMAGE={kernel}"], loader="GRUB")
    words = " ".join(quoted_word(word) for word in boot.options)
    initrds = " ".join(f"/{HERE}/{path}" for path in boot.initrds)
    return _text(
        [
            _FOUND,
            *(SERIAL_LINES if boot.serial else ()),
            *_armed_lines(is_armable=is_armable),
            f"echo {quoted_word(boot.title)}",
            f"if linux {kernel} {words} BOOTIF=$mac; then",
            f"\tif initrd {initrds}; then",
            "\t\tboot",
            "\tfi",
            "fi",
        ]
    )


def write_grub_disk_cfg(*, is_armable: bool = False) -> str:
    """A file that starts what the machine's own disk has for firmware that has no entry for it."""
    return _text(
        [
            _FOUND,
            *_armed_lines(is_armable=is_armable),
            "if search --no-floppy --set=disk --file /efi/boot/bootx64.efi; then",
            "\tchainloader ($disk)/efi/boot/bootx64.efi",
            "\tboot",
            "fi",
            "exit",
        ]
    )


def _armed_lines(*, is_armable: bool) -> list[str]:
    return [f"source /{ARMED}/$mac.cfg"] if is_armable else []


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
