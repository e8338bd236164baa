"""A machine of a scenario that boots from the network: what the head node knows of it.

What it is to boot is never said here: that is what the generation's inventory says of the machine
that fits, and what it must then report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Known = Literal["host", "prefix", "unknown"]
"""A host of the inventory, a machine whose MAC begins as a rule says, or one of which nothing
is known."""
Servers = Literal["dnsmasq", "separate", "kea"]
"""Who serves: dnsmasq for DHCP, TFTP and names; ISC dhcpd, tftpd-hpa and BIND; or Kea in the
place of dhcpd. nginx and nfs-ganesha are with all of them."""


@dataclass(frozen=True, kw_only=True)
class NetworkGuest:
    """One machine. What is None is left to whatever fits."""

    known: Known = "host"
    loader: str | None = None
    """What its role must name for its firmware: one of BIOS_LOADERS or UEFI_LOADERS."""
    media: str | None = None
    """Where its role must have packages and modloop: one of MEDIA."""
    has_own_overlay: bool | None = None
    """Whether its apkovl must be its own, or must be that of its template."""
    has_other_template: bool = False
    """It must boot another template than the guests before it."""
    firmware: Literal["bios", "uefi"] = "bios"
    """A BIOS has the network card's iPXE; UEFI has drivers and PXE of its own."""
    network_boot: Literal["pxe", "http"] = "pxe"
