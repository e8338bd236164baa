"""Scripts for iPXE: `boot.ipxe`, which finds a machine's own script, and those scripts.

All is loaded by HTTP, with full names. A script that replaces another one (`chain --replace`)
is the only one left: on BIOS machines every image in memory becomes part of the initramfs. On
UEFI machines the kernel loads its initramfs itself, by the names in its words.

Nothing here ends at a prompt: what fails is begun again, from `boot.ipxe` of the generation that
is current by then. That also holds for a server that does not answer; so the script of unknown
machines counts only after that server has shown itself twice.

Source of the facts: iPXE at 36a4c85 (Debian 12), src/core/exec.c (words), image/script.c,
usr/imgmgmt.c, hci/commands/image_cmd.c, interface/efi/efi_file.c, arch/x86/image/bzimage.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from bootsmith.errors import RecipeError
from bootsmith.formats.netboot_network import ARMED, CURRENT, HERE, Network
from bootsmith.formats.network_boot import RETRY_SECONDS, NetworkBoot, check_command_line

BOOT_SCRIPT = "tftp/boot.ipxe"
"""The path, in a netboot tree, of what DHCP names to iPXE."""
_MAGIC = "#!ipxe"
_MAC_NAME = "01-${netX/mac:hexhyp}"
_OPERATORS = ("||", "&&", ";")


def write_boot_script(*, network: Network) -> str:
    """The chooser: the script of this machine, else of its MAC prefix, else of unknown ones.

    A MAC prefix is what DHCP option 209 says, `pxelinux.cfg/52:54:01`: the same for all loaders.
    """
    scripts = f"{network.url}/{HERE}/tftp/ipxe"
    own = f"chain --replace {scripts}/{_MAC_NAME}.ipxe ||"
    return _text(
        [
            own,
            f"imgfetch --name default {scripts}/default.ipxe || goto failed",
            own,
            f"isset ${{209:string}} && chain --replace {scripts}/${{209:string}}.ipxe ||",
            "chain --replace default ||",
            *_retry(network),
        ]
    )


def write_ipxe_script(boot: NetworkBoot, *, network: Network, is_armable: bool = False) -> str:
    """A script that boots `boot`, or first what is armed for this machine if it `is_armable`.

    Raises RecipeError for words that iPXE would read otherwise, or that would not arrive.
    """
    _check_options(boot)
    here = f"{network.url}/{HERE}"
    kernel = _name(boot.kernel)
    named = [f"initrd={_name(path)}" for path in boot.initrds]
    check_command_line(boot, [kernel, *named], loader="iPXE")
    words = (*boot.options, *named, f"BOOTIF={_MAC_NAME}")
    return _text(
        [
            f"# {boot.title}",
            *_armed_lines(network, is_armable=is_armable),
            "imgfree",
            f"kernel --name {kernel} {here}/{boot.kernel} || goto failed",
            *(f"initrd --name {_name(path)} {here}/{path} || goto failed" for path in boot.initrds),
            f"imgargs {kernel} {' '.join(words)}",
            "boot ||",
            *_retry(network),
        ]
    )


def write_ipxe_disk_script(*, network: Network, is_armable: bool = False) -> str:
    """A script that hands on to the machine's own disk.

    UEFI firmware goes on with its next entry when a program ends with an error; a BIOS goes on
    only sometimes, so its first disk is started here.
    """
    return _text(
        [
            "# the machine's own disk",
            *_armed_lines(network, is_armable=is_armable),
            "iseq ${platform} efi && exit 1 ||",
            "sanboot --no-describe --drive 0x80 || exit 1",
        ]
    )


def _armed_lines(network: Network, *, is_armable: bool) -> list[str]:
    return [f"chain --replace {network.url}/{ARMED}/{_MAC_NAME}.ipxe ||"] if is_armable else []


def _retry(network: Network) -> list[str]:
    return [
        ":failed",
        f"echo Trying again in {RETRY_SECONDS} seconds",
        f"sleep {RETRY_SECONDS}",
        "imgfree",
        f"chain --replace {network.url}/{CURRENT}/{BOOT_SCRIPT} || goto failed",
    ]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _check_options(boot: NetworkBoot) -> None:
    for option in boot.options:
        if "${" in option or option.startswith("#") or option in _OPERATORS:
            raise RecipeError(
                boot.subject,
                "iPXE would not hand on this kernel word as it is",
                expected="no ${, no # in front, and none of || && ;",
                got=option,
                hint="write it otherwise, or let a file of the overlay say it",
            )


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in (_MAGIC, *lines))
