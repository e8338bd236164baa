"""The boots that a site can ask to be proven: one row each, and which keys a row boots.

smoke/ makes machines of the rows, graph/ steps, generations/ demands of a gate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from bootsmith.site.network_guest import NetworkGuest, Servers

Wanted = Literal["hardware", "virtual", "any"]
"""Which kernels a scenario boots: one with drivers for hardware such as USB storage; one
for virtual machines, or else any; the first there is."""


@dataclass(frozen=True, kw_only=True)
class Bootable:
    """What the machines of a template or an image can be booted by."""

    flavor: str
    firmware: Collection[str]
    """What its key is made for."""
    features: Collection[str]
    """Those of its pxerd."""
    is_ramroot: bool = False
    """An image, which is kernel and initramfs and has neither key nor pxerd."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One row: which medium, how it is attached, what else is in the machine."""

    name: str
    summary: str
    wanted: Wanted = "any"
    attach: Literal["usb", "virtio"] = "virtio"
    firmware: Literal["bios", "uefi"] = "bios"
    medium: Literal["key", "nfs", "ramroot", "network"] = "key"
    """Where packages come from: a template's key, a copy of its release's ISO on NFS, nowhere,
    since all is in the initramfs of an image, or wherever the generation's own boot
    configurations say (`guests`)."""
    nfs_version: Literal["3", "4.1"] = "4.1"
    modloop: Literal["medium", "http", "key"] = "medium"
    """Where the modloop comes from: that medium, an HTTP server, or a key beside an NFS medium
    that has neither modloop nor overlay."""
    direct: bool = False
    """QEMU loads kernel and initramfs; a key is only the boot medium."""
    beside_disk: bool = False
    """An empty hard disk comes before the key on the machine's buses."""
    guests: tuple[NetworkGuest, ...] = ()
    """The machines that boot from the network, at once, and through nothing else."""
    servers: Servers = "dnsmasq"
    """Who serves them, by the generation's own configurations."""
    timeout_seconds: float = 240.0
    """Ends a silent guest, in seconds of its own time (see smoke/machine.py); a failing one
    ends by itself long before. Ten times what a boot takes without KVM."""

    @property
    def needs_root(self) -> bool:
        """Whether only root can boot it. Such a row is proven where a site asks for it by name."""
        return self.medium in ("nfs", "network")

    def boots(self, template: Bootable) -> bool:
        """Whether a template, or an image, that can be booted by these will do."""
        if self.medium == "network":
            return False  # the inventory decides, and nobody reads that before it is built
        if template.is_ramroot or self.medium == "ramroot":
            return template.is_ramroot and self.medium == "ramroot"
        return (
            (self.direct or self.firmware in template.firmware)
            and (self.wanted != "hardware" or not is_virtual(template.flavor))
            and (self.medium != "nfs" or "nfs" in template.features)
        )


SCENARIOS = (
    Scenario(
        name="key-usb-bios",
        summary="the key as a USB stick (xHCI), BIOS",
        wanted="hardware",
        attach="usb",
    ),
    Scenario(
        name="key-usb-beside-disk",
        summary="the key as a USB stick beside an empty hard disk, BIOS",
        wanted="hardware",
        attach="usb",
        beside_disk=True,
    ),
    Scenario(
        name="key-virtio-bios",
        summary="the key as a virtio disk, BIOS",
        wanted="virtual",
        attach="virtio",
    ),
    Scenario(
        name="key-uefi",
        # virtio, not USB: any kernel finds its medium then, and the firmware is the point
        summary="the key as a virtio disk, UEFI",
        wanted="any",
        attach="virtio",
        firmware="uefi",
    ),
    Scenario(
        name="direct-pxerd",
        summary="kernel and pxerd loaded directly, the key as a virtio medium",
        wanted="virtual",
        attach="virtio",
        direct=True,
    ),
    Scenario(
        name="direct-ramroot",
        summary="kernel and ramroot loaded directly, nothing else in the machine",
        wanted="virtual",
        attach="virtio",
        medium="ramroot",
        direct=True,
    ),
    Scenario(
        name="nfs-v4",
        summary="kernel and pxerd loaded directly, medium and modloop on NFS version 4.1",
        wanted="virtual",
        attach="virtio",
        medium="nfs",
        direct=True,
    ),
    Scenario(
        name="nfs-v3",
        summary="kernel and pxerd loaded directly, medium and modloop on NFS version 3",
        wanted="virtual",
        attach="virtio",
        medium="nfs",
        nfs_version="3",
        direct=True,
    ),
    Scenario(
        name="nfs-http-modloop",
        summary="kernel and pxerd loaded directly, medium on NFS, modloop by HTTP",
        wanted="virtual",
        attach="virtio",
        medium="nfs",
        modloop="http",
        direct=True,
    ),
    Scenario(
        name="nfs-key-modloop",
        summary="kernel and pxerd loaded directly, packages on NFS, modloop and overlay on the key",
        wanted="virtual",
        attach="virtio",
        medium="nfs",
        modloop="key",
        direct=True,
    ),
    Scenario(
        name="netboot-pxelinux-nfs",
        summary="BIOS, pxelinux.0 over TFTP, medium and modloop over NFS",
        medium="network",
        guests=(NetworkGuest(loader="pxelinux", media="nfs"),),
    ),
    Scenario(
        name="netboot-lpxelinux-http",
        summary="BIOS, lpxelinux.0, kernel, medium and modloop by HTTP",
        medium="network",
        guests=(NetworkGuest(loader="lpxelinux", media="http"),),
    ),
    Scenario(
        name="netboot-ipxe-http",
        summary="BIOS, iPXE, kernel, medium and modloop by HTTP",
        medium="network",
        guests=(NetworkGuest(loader="ipxe", media="http"),),
    ),
    Scenario(
        name="netboot-uefi-ipxe",
        summary="UEFI PXE, iPXE over TFTP",
        medium="network",
        guests=(NetworkGuest(loader="ipxe", firmware="uefi"),),
    ),
    Scenario(
        name="netboot-uefi-grub",
        summary="UEFI PXE, GRUB over TFTP",
        medium="network",
        guests=(NetworkGuest(loader="grub", firmware="uefi"),),
    ),
    Scenario(
        name="netboot-uefi-http",
        summary="UEFI HTTP boot",
        medium="network",
        guests=(NetworkGuest(firmware="uefi", network_boot="http"),),
    ),
    Scenario(
        name="netboot-own-overlay",
        summary="BIOS, a host whose apkovl is its own",
        medium="network",
        guests=(NetworkGuest(has_own_overlay=True),),
    ),
    Scenario(
        name="netboot-unknown",
        summary="BIOS, a machine that neither inventory nor MAC prefix knows",
        medium="network",
        guests=(NetworkGuest(known="unknown"),),
    ),
    Scenario(
        name="netboot-prefix",
        summary="BIOS, a machine of which only the MAC prefix is known",
        medium="network",
        guests=(NetworkGuest(known="prefix"),),
    ),
    Scenario(
        name="netboot-two",
        summary="two machines of different templates at once, BIOS and UEFI",
        medium="network",
        guests=(NetworkGuest(), NetworkGuest(has_other_template=True, firmware="uefi")),
    ),
    Scenario(
        name="netboot-separate",
        summary="BIOS and UEFI at once; ISC dhcpd, tftpd-hpa and BIND in the place of dnsmasq",
        medium="network",
        guests=(NetworkGuest(loader="pxelinux"), NetworkGuest(loader="grub", firmware="uefi")),
        servers="separate",
    ),
    Scenario(
        name="netboot-kea",
        summary="BIOS and UEFI at once; Kea, tftpd-hpa and BIND in the place of dnsmasq",
        medium="network",
        guests=(NetworkGuest(loader="ipxe"), NetworkGuest(known="prefix", firmware="uefi")),
        servers="kea",
    ),
)


def is_virtual(flavor: str) -> bool:
    """Alpine's kernels for virtual machines: virt, virtgrsec, virthardened."""
    return flavor.startswith("virt")


def fitting_scenarios(
    templates: Iterable[Bootable], *, has_network: bool = False
) -> tuple[str, ...]:
    """Names of the scenarios that one of `templates` (or images) can be booted in.

    `has_network` says whether the site's machines boot from the network.
    """
    known = tuple(templates)
    return tuple(
        [
            row.name
            for row in SCENARIOS
            if any(map(row.boots, known)) or (has_network and row.medium == "network")
        ]
    )
