"""Zones for BIND: names to addresses, addresses to names, and the lines that load them.

A zone's serial is that of the generation that publishes it (`SERIAL` of netboot_network): it
grows with each, whatever has changed, so secondaries follow; and the text is the same as long
as the inventory is.

There is a reverse zone for each whole byte of the subnet: one for a /8, /16 or /24, sixteen of
/24 for a /20. A subnet smaller than /24 gets the zone of the /24 that it is in. Addresses outside
of the subnet, as management addresses may be, have a name but no way back: their zone is not ours.

Source of the facts: RFC 1034, 1035, 1912 and 2308; named.conf(5) of BIND 9.18.
"""

from __future__ import annotations

from collections.abc import Iterable

from bootsmith.formats.conf_values import (
    ZONE_KEEPER,
    check_conf_values,
    check_network_values,
    host_names,
)
from bootsmith.formats.inventory import HEAD_NAME, Inventory
from bootsmith.formats.ipv4 import Subnet, format_ipv4, parse_ipv4, parse_subnet
from bootsmith.formats.netboot_network import HERE, SERIAL, Network

CONF_NAME = "named.conf"
_LIFE_SECONDS = 3600
_REFRESH_SECONDS, _RETRY_SECONDS, _EXPIRE_SECONDS = 3600, 900, 1_209_600
_UNKNOWN_SECONDS = 300  # how long it is remembered that there is no such name
_BYTE_BITS = 8
_MOST_ZONE_BITS = 24


def zone_files(network: Network, inventory: Inventory) -> dict[str, str]:
    """Name of each zone's file to its text; RecipeError for values that it could not hold."""
    check_conf_values(network, inventory)
    reverse = _reverse_lines(network, inventory)
    files = {
        _file_name(network.domain): _zone(network, network.domain, _forward(inventory, network))
    }
    for zone, lines in reverse.items():
        files[_file_name(zone)] = _zone(network, zone, lines)
    return files


def write_named_conf(network: Network, inventory: Inventory) -> str:
    """What to include in BIND's own named.conf; RecipeError for values that it could not hold.

    A text that names its generation: BIND leaves a zone as it is where a file of the same name
    is not younger, which after a rollback it is not.
    """
    check_network_values(network)
    lines = [f"// Zones of {network.domain}; BIND reads them again at: rndc reload"]
    for zone in (network.domain, *_reverse_zones(network)):
        file = f"{network.root}/{HERE}/conf/{_file_name(zone)}"
        lines.append(f'zone "{zone}" {{ type primary; file "{file}"; }};')
    return "".join([f"{line}\n" for line in lines])


def _file_name(zone: str) -> str:
    return f"db.{zone}"


def _zone(network: Network, zone: str, records: Iterable[str]) -> str:
    head = f"{HEAD_NAME}.{network.domain}."
    lines = [
        f"$ORIGIN {zone}.",
        f"$TTL {_LIFE_SECONDS}",
        f"@ SOA {head} {ZONE_KEEPER}.{network.domain}. "
        f"{SERIAL} {_REFRESH_SECONDS} {_RETRY_SECONDS} {_EXPIRE_SECONDS} {_UNKNOWN_SECONDS}",
        f"@ NS {head}",
        *records,
    ]
    return "\n".join(lines) + "\n"


def _forward(inventory: Inventory, network: Network) -> list[str]:
    return [f"{name} A {address}" for name, address in _names(inventory, network)]


def _names(inventory: Inventory, network: Network) -> Iterable[tuple[str, str]]:
    yield HEAD_NAME, network.server
    for host in inventory.hosts:
        yield from host_names(host)


def _reverse_zones(network: Network) -> dict[str, Subnet]:
    subnet = parse_subnet(network.subnet)
    assert subnet is not None, "check_conf_values has read it"
    bits = min(-(-subnet.bits // _BYTE_BITS) * _BYTE_BITS, _MOST_ZONE_BITS)
    size = 1 << (32 - bits)
    zones = {}
    for first in range(subnet.first // size * size, subnet.last + 1, size):
        labels = format_ipv4(first).split(".")[: bits // _BYTE_BITS]
        name = ".".join([*reversed(labels), "in-addr.arpa"])
        zones[name] = Subnet(first, first + size - 1, bits)
    return zones


def _reverse_lines(network: Network, inventory: Inventory) -> dict[str, list[str]]:
    zones = _reverse_zones(network)
    bits = next(iter(zones.values())).bits
    by_first: dict[int, list[str]] = {zone.first: [] for zone in zones.values()}
    mask = -1 << (32 - bits)
    own_labels = (32 - bits) // _BYTE_BITS
    for name, address in _names(inventory, network):
        number = parse_ipv4(address)
        assert number is not None, "check_conf_values has read it"
        lines = by_first.get(number & mask)
        if lines is not None:
            own = ".".join(reversed(address.split(".")[-own_labels:]))
            lines.append(f"{own} PTR {name}.{network.domain}.")
    return {name: by_first[zone.first] for name, zone in zones.items()}
