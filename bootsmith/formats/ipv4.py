"""IPv4 addresses and subnets as numbers.

The standard library has them as objects; a fleet of ten thousand hosts is judged by
comparing numbers, in a tenth of the time.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

_DIGITS = "0123456789"


class Subnet(NamedTuple):
    """A block of addresses: `first` names the network, `last` is its broadcast address."""

    first: int
    last: int
    bits: int
    """How many leading bits are the network's."""

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self.first <= address <= self.last

    def holds_host(self, address: int) -> bool:
        """Whether a machine in this subnet can have the address."""
        return self.first < address < self.last


# Each address is asked for by the reader of the inventory and by every writer of a configuration.
@functools.lru_cache(maxsize=1 << 16)
def parse_ipv4(text: str) -> int | None:
    """`10.20.0.1` as a number; None for whatever is not four plain decimal numbers."""
    parts = text.split(".")
    if len(parts) != 4:
        return None
    number = 0
    for part in parts:
        # A leading zero is octal to some readers and nothing to others.
        if not 0 < len(part) <= 3 or part.strip(_DIGITS) or (part[0] == "0" and part != "0"):
            return None
        byte = int(part)
        if byte > 255:
            return None
        number = number << 8 | byte
    return number


def format_ipv4(number: int) -> str:
    """The address as text."""
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def parse_subnet(text: str) -> Subnet | None:
    """`10.20.0.0/16`; None for what is none, or has bits set behind its prefix."""
    address, slash, length = text.partition("/")
    first = parse_ipv4(address)
    if first is None or not slash or not 0 < len(length) <= 2 or length.strip(_DIGITS):
        return None
    bits = int(length)
    if bits > 32 or (length[0] == "0" and length != "0"):
        return None
    size = 1 << (32 - bits)
    if first % size:
        return None
    return Subnet(first, first + size - 1, bits)
