"""The network that machines boot in, as the recipes' `[netboot]` says it."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from ipaddress import IPv4Network


@dataclass(frozen=True, kw_only=True)
class Network:
    """One IPv4 subnet with one head node, which serves DHCP, TFTP, HTTP and NFS."""

    server: str
    """Address of the head node."""
    subnet: str
    """As `10.20.0.0/16`."""
    interface: str
    """The head node's interface in that subnet, such as `eth1`: nothing is served elsewhere."""
    root: str
    """Absolute directory on the head node that holds `generations/` and `current`."""
    domain: str
    """DNS domain of the hosts."""
    pool: tuple[str, str] | None = None
    """First and last address for machines without an address of their own."""
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    """Name servers for machines; the head node where empty."""
    http_port: int = 80
    lease_seconds: int = 3600

    @property
    def url(self) -> str:
        """Where `root` is seen by HTTP, without a slash at the end."""
        port = "" if self.http_port == 80 else f":{self.http_port}"
        return f"http://{self.server}{port}"

    @property
    def netmask(self) -> str:
        """As four numbers."""
        return str(IPv4Network(self.subnet).netmask)

    @property
    def broadcast(self) -> str:
        """The address of everybody in the subnet."""
        return str(IPv4Network(self.subnet).broadcast_address)


GENERATION = "@generation@"
"""Stands in text of the netboot tree for the id of the generation that publishes it. Boot
configurations name `generations/@generation@/netboot/...`: a machine that read one while
`current` moved still finds the kernel, modloop and packages that belong together."""
HERE = f"generations/{GENERATION}/netboot"
"""The netboot tree of the generation that publishes a text, below the root of any server."""
CURRENT = "current/netboot"
"""The netboot tree of the current generation: what DHCP names."""
ARMED = "armed"
"""Below the root, beside `current`, written on the head node: what is armed to install."""
SERIAL = "@serial@"
"""Stands in text of the netboot tree for `zone_serial` of the generation that publishes it."""


def zone_serial(generation: str) -> int:
    """The serial number of a generation's DNS zones: later generations have greater ones.

    Days since 1970, and five digits for the generation of that day: more than there are seconds
    in a day. Greater than the usual YYYYMMDDNN of any day until 2087, so that it can follow on
    one; then it starts anew as RFC 1982 lets it. ValueError for what is no generation's id.
    """
    day, _, number = generation.rpartition(".")
    year, month, day_of_month = map(int, day.split("-"))
    seconds = calendar.timegm((year, month, day_of_month, 0, 0, 0))
    return (seconds // 86_400 * 100_000 + int(number)) % 2**32
