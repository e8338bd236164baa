"""What is armed: links beside `current` by which machines find an installer, once.

    ROOT/armed/01-52-54-01-02-00-07        -> ../current/netboot/tftp/pxelinux.cfg/install-debian
    ROOT/armed/01-52-54-01-02-00-07.ipxe   -> ../current/netboot/tftp/ipxe/install-debian.ipxe
    ROOT/armed/01-52-54-01-02-00-07.cfg    -> ../current/netboot/tftp/grub/install-debian.cfg

The boot configuration of a host that has an `install` ends by reading its own link; one that is
not there, or leads to an installer that the current generation does not have, changes nothing.
So a generation never changes, and arming outlives `doit release` and `doit rollback`. What a link
leads to is a whole configuration that makes the installer the default, and names nothing relative
to itself.
"""

from __future__ import annotations

from bootsmith.formats.netboot_network import CURRENT

# A loader's directory below tftp/ and the ending of its files.
_LOADERS = (("pxelinux.cfg", ""), ("ipxe", ".ipxe"), ("grub", ".cfg"))

HOOK_LOCATION = "/boot-default/"
"""The one path of HTTP that disarms: whoever asks for it, and nobody else."""
HOOK_PROGRAM = "/usr/local/lib/bootsmith/boot-default"
"""Where contrib/boot-default is installed on the head node; SCRIPT_FILENAME of the location."""
HOOK_SOCKET = "/run/fcgiwrap.socket"
"""Where fcgiwrap listens, as Debian's package has it."""
HOOK_ROOT_VARIABLE = "BOOTSMITH_ROOT"
"""The FastCGI parameter that tells the hook the serving root."""
HOOK_INVENTORY = "conf/inventory.jsonl"
"""The inventory inside a netboot tree (formats/inventory.py): whose address is whose."""


def hardware_name(mac: str) -> str:
    """`52:54:01:02:00:07` as boot loaders ask for it: `01-52-54-01-02-00-07`."""
    return f"01-{mac.lower().replace(':', '-')}"


def install_configurations(installer: str) -> tuple[str, ...]:
    """Paths in a netboot tree of what boots `installer`, one a loader."""
    return tuple(f"tftp/{place}/install-{installer}{ending}" for place, ending in _LOADERS)


def armed_links(mac: str, installer: str) -> dict[str, str]:
    """Name in `armed/` to where the link leads, for every loader."""
    targets = install_configurations(installer)
    return {
        name: f"../{CURRENT}/{target}"
        for name, target in zip(armed_names(mac), targets, strict=True)
    }


def armed_names(mac: str) -> tuple[str, ...]:
    """Names in `armed/` that are about this machine, whatever it is armed for."""
    return tuple(f"{hardware_name(mac)}{ending}" for _, ending in _LOADERS)
