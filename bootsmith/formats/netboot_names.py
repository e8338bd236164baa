"""Names in a netboot tree that several of its makers must agree on.

Paths are relative to the tree. Boot configurations of a role are called the same for every
loader: `tftp/pxelinux.cfg/template-web`, `tftp/ipxe/template-web.ipxe`,
`tftp/grub/template-web.cfg`.
"""

from __future__ import annotations

from bootsmith.formats.arming import hardware_name

PXELINUX, IPXE, GRUB = "tftp/pxelinux.cfg", "tftp/ipxe", "tftp/grub"
DEFAULT = "default"
"""The configuration of machines that neither the inventory nor a MAC prefix knows."""
_ENDINGS = {PXELINUX: "", IPXE: ".ipxe", GRUB: ".cfg"}
_APKOVL = ".apkovl.tar.gz"


def configuration_path(directory: str, name: str) -> str:
    """The configuration `name` of the loader whose directory this is."""
    return f"{directory}/{name}{_ENDINGS[directory]}"


def host_configuration_path(directory: str, mac: str) -> str:
    """What the loader asks for when a machine with this card boots."""
    return configuration_path(directory, hardware_name(mac))


def prefix_configuration_path(directory: str, prefix: str) -> str:
    """What the loader asks for when a MAC prefix, such as `52:54:01`, is said of a machine.

    PXELINUX and iPXE are told `pxelinux.cfg/52:54:01` by DHCP option 209, and look for it in
    their own directories. GRUB finds out by itself; it cannot put another letter for a colon,
    but pairs together as it likes.
    """
    if directory == IPXE:
        return f"{directory}/pxelinux.cfg/{prefix}.ipxe"
    return configuration_path(directory, prefix.replace(":", "-") if directory == GRUB else prefix)


def boot_path(boot_set: str, name: str) -> str:
    """A file that boot loaders get: below `tftp/` and `http/`."""
    return f"boot/{boot_set}/{name}"


def apkovl_name(name: str) -> str:
    """The overlay archive of a template, or of a machine by its MAC address with colons."""
    return f"apkovl/{name}{_APKOVL}"


def packages_path(release: str) -> str:
    """The package repository of a release, below `http/`."""
    return f"{release}/apks"


def medium_path(release: str) -> str:
    """A release as an NFS export of its own, in the tree."""
    return f"nfs/{release}"
