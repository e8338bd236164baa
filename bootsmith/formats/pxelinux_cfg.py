"""Files of `pxelinux.cfg/`: what PXELINUX (and lpxelinux, its twin with HTTP) boots.

PXELINUX knows no variables, so a host that can be armed has a file of its own, which includes
that of its role and then what may lie in `armed/`; all other hosts are links to such a file.
The last DEFAULT counts, and a file to include that is not there is passed over.

Names that begin with `::` are seen from the TFTP server's root, all others from the directory
that pxelinux.0 was loaded from: `current/netboot/tftp`.

Source of the facts: syslinux 6.04, com32/elflink/ldlinux/readconfig.c (lines, INCLUDE, DEFAULT,
what a label becomes), kernel.c (BOOT_IMAGE=, initrd=), execute.c, doc/pxelinux.txt (names);
each was seen to work in a virtual machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from bootsmith.errors import RecipeError
from bootsmith.formats.arming import hardware_name
from bootsmith.formats.netboot_network import ARMED, HERE, Network
from bootsmith.formats.network_boot import (
    RETRY_SECONDS,
    NetworkBoot,
    check_command_line,
    published_length,
)

NAME_LIMIT_BYTES = 127
"""Of a name asked for by TFTP. PXELINUX itself takes 255; many servers do not."""
LINE_LIMIT_BYTES = 4094
"""Of fgets() into 4096 bytes: what is longer becomes a line of its own."""
_BOOT, _INSTALL, _DISK, _AGAIN = "boot", "install", "disk", "again"
_IF_IT_FAILS = (
    f"TIMEOUT {RETRY_SECONDS * 10}",
    f"ONTIMEOUT {_AGAIN}",
)
# At the prompt after a failure; the next start asks DHCP and `current` again.
_AGAIN_LINES = ("", f"LABEL {_AGAIN}", "\tCOM32 reboot.c32")


def write_pxelinux_cfg(
    boot: NetworkBoot, *, network: Network, by_http: bool = False, is_installer: bool = False
) -> str:
    """A configuration that boots `boot` at once, and starts the machine again where that fails.

    `by_http` loads kernel and initramfs by HTTP, which only lpxelinux.0 can. Raises RecipeError
    for what PXELINUX would cut off or read otherwise.
    """
    start = f"{network.url}/{HERE}/" if by_http else f"::{HERE}/"
    kernel, *initrds = (start + path for path in (boot.kernel, *boot.initrds))
    _check_names(boot, [kernel, *initrds])
    _check_options(boot)
    check_command_line(
        boot, [f"BOOT_IMAGE={kernel}", f"initrd={','.join(initrds)}"], loader="PXELINUX"
    )
    label = _INSTALL if is_installer else _BOOT
    lines = [
        *(("SERIAL 0 115200",) if boot.serial else ()),
        "PROMPT 0",
        *_IF_IT_FAILS,
        f"DEFAULT {label}",
        "",
        f"LABEL {label}",
        f"\tMENU LABEL {boot.title}",
        f"\tLINUX {kernel}",
        f"\tINITRD {','.join(initrds)}",
        f"\tAPPEND {' '.join(boot.options)}",
        "\tSYSAPPEND 2",
        *_AGAIN_LINES,
    ]
    return _text(lines, boot.subject)


def write_pxelinux_disk_cfg() -> str:
    """A configuration that hands on to what the firmware would start next."""
    lines = [f"DEFAULT {_DISK}", "PROMPT 0", "", f"LABEL {_DISK}", "\tLOCALBOOT 0"]
    return _text(lines, "pxelinux.cfg/disk")


def write_pxelinux_armable_cfg(mac: str, name: str) -> str:
    """The file of one host: the role's file `name`, unless something is armed for it."""
    lines = [f"INCLUDE pxelinux.cfg/{name}", f"INCLUDE ::{ARMED}/{hardware_name(mac)}"]
    return _text(lines, f"pxelinux.cfg/{hardware_name(mac)}")


def _check_names(boot: NetworkBoot, names: Sequence[str]) -> None:
    for name in names:
        length = published_length(name.removeprefix("::"))
        if length > NAME_LIMIT_BYTES:
            raise RecipeError(
                boot.subject,
                "PXELINUX could not ask a server for a name so long",
                expected=f"at most {NAME_LIMIT_BYTES} characters",
                got=f"{length}: {name}",
                hint="give the release, flavor or installer a shorter name",
            )


def _check_options(boot: NetworkBoot) -> None:
    for option in boot.options:
        if "initrd=" in option:
            raise RecipeError(
                boot.subject,
                "PXELINUX would load this instead of the initramfs",
                expected="no initrd= in a kernel word",
                got=option,
                hint="leave it out; the initramfs is named for every loader",
            )


def _text(lines: Sequence[str], subject: str) -> str:
    for line in lines:
        if published_length(line) > LINE_LIMIT_BYTES:
            raise RecipeError(
                subject,
                "PXELINUX would take this line for two",
                expected=f"at most {LINE_LIMIT_BYTES} characters",
                got=published_length(line),
                hint="use fewer or shorter names of initramfs images",
            )
    return "".join(f"{line}\n" for line in lines)
