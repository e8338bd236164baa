"""Kea: `kea-dhcp4.json`, with a client class for each kind of client and what it loads.

Classes that ask whether a machine is known are evaluated once its reservation was looked up;
they stand behind those that they ask about. At most one of them holds for a machine.

Source of the facts: Kea Administrator Reference Manual 2.2, chapters "Client Classification"
and "The DHCPv4 Server"; each entry was seen to work with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bootsmith.formats.dhcp_answers import (
    ARCHITECTURE_OPTION,
    BIOS_ARCHITECTURE,
    BIOS_CLIENTS,
    CONFIGURATION_OPTION,
    HTTP_ARCHITECTURE,
    HTTP_VENDOR_CLASS,
    IPXE_NO_PROXY,
    IPXE_OPTION,
    IPXE_USER_CLASS,
    MAGIC,
    MAGIC_OPTION,
    PREFIX_OPTION,
    REBOOT_OPTION,
    REBOOT_SECONDS,
    TFTP_DIRECTORY,
    UEFI_ARCHITECTURES,
    USER_CLASS_OPTION,
    VENDOR_CLASS_OPTION,
    Source,
    dhcp_sources,
    name_servers,
)
from bootsmith.formats.inventory import Host, Inventory
from bootsmith.formats.netboot_network import Network

CONF_NAME = "kea-dhcp4.json"
Entry = dict[str, Any]
_OPTION_NAMES = {
    MAGIC_OPTION: ("magic", "binary"),
    CONFIGURATION_OPTION: ("configfile", "string"),
    PREFIX_OPTION: ("pathprefix", "string"),
    REBOOT_OPTION: ("reboottime", "uint32"),
    IPXE_OPTION: ("ipxe-encapsulated", "binary"),
}
_ARCHITECTURE = f"option[{ARCHITECTURE_OPTION}].hex"
_UEFI = " or ".join([f"{_ARCHITECTURE} == 0x{number:04x}" for number in UEFI_ARCHITECTURES])
_CLIENTS = {
    "ipxe": f"option[{IPXE_OPTION}].exists or "
    f"option[{USER_CLASS_OPTION}].hex == '{IPXE_USER_CLASS}'",
    "arch-bios": f"not option[{ARCHITECTURE_OPTION}].exists or "
    f"{_ARCHITECTURE} == 0x{BIOS_ARCHITECTURE:04x}",
    "arch-uefi": _UEFI,
    "bios": "member('arch-bios') and not member('ipxe')",
    "bios-ipxe": "member('arch-bios') and member('ipxe')",
    "uefi": "member('arch-uefi') and not member('ipxe')",
    "uefi-ipxe": "member('arch-uefi') and member('ipxe')",
    "http": f"{_ARCHITECTURE} == 0x{HTTP_ARCHITECTURE:04x} and "
    f"substring(option[{VENDOR_CLASS_OPTION}].hex, 0, {len(HTTP_VENDOR_CLASS)}) == "
    f"'{HTTP_VENDOR_CLASS}'",
}


def write_kea_conf(network: Network, inventory: Inventory) -> str:
    """The configuration; RecipeError for values that it could not hold."""
    sources = dhcp_sources(network, inventory)
    hosts = [_reservation(host, source) for source in sources for host in source.hosts]
    values = [
        f"    {json.dumps(name)}: {_shown(value)}" for name, value in _server(network, sources)
    ]
    subnet = json.dumps(_subnet(network)).removesuffix("}")
    values.append(f'    "subnet4": [{subnet}, "reservations": {_shown(hosts)}}}]')
    return '{\n  "Dhcp4": {\n' + ",\n".join(values) + "\n  }\n}\n"


def _shown(value: object) -> str:
    """JSON with a line an entry, so that one changed host changes one line."""
    if not isinstance(value, list) or not value or isinstance(value[0], str):
        return json.dumps(value)
    items = ",\n".join([f"      {json.dumps(item)}" for item in value])
    return f"[\n{items}\n    ]"


def _server(network: Network, sources: tuple[Source, ...]) -> Iterator[tuple[str, object]]:
    yield (
        "interfaces-config",
        {
            "interfaces": [network.interface],
            # Without it Kea goes on where it cannot listen.
            "service-sockets-require-all": True,
        },
    )
    yield "lease-database", {"type": "memfile"}
    yield "authoritative", True
    # Boot ROM, boot loader and system say different client ids, and are one machine.
    yield "match-client-id", False
    yield "ddns-send-updates", False
    yield "host-reservation-identifiers", ["hw-address"]
    yield "valid-lifetime", network.lease_seconds
    yield "next-server", network.server
    # Else it says of each packet and each class whether the one is in the other.
    output = [{"output": "stdout"}]
    yield (
        "loggers",
        [
            {"name": "kea-dhcp4", "severity": "INFO", "output_options": output},
            {"name": "kea-dhcp4.options", "severity": "WARN", "output_options": output},
        ],
    )
    yield (
        "option-def",
        [
            {"code": code, "name": name, "type": kind, "space": "dhcp4"}
            for code, (name, kind) in _OPTION_NAMES.items()
        ],
    )
    yield "option-data", [*_network_options(network)]
    yield "client-classes", [*_client_classes(), *_source_classes(sources)]


def _subnet(network: Network) -> Entry:
    subnet: Entry = {"id": 1, "subnet": network.subnet, "interface": network.interface}
    if network.pool:
        subnet["pools"] = [{"pool": f"{network.pool[0]} - {network.pool[1]}"}]
    return subnet


def _network_options(network: Network) -> Iterator[Entry]:
    yield {"name": "broadcast-address", "data": network.broadcast}
    yield {"name": "domain-name", "data": network.domain}
    yield {"name": "domain-name-servers", "data": ", ".join(name_servers(network))}
    if network.gateway:
        yield {"name": "routers", "data": network.gateway}


def _client_classes() -> Iterator[Entry]:
    for name, test in _CLIENTS.items():
        entry: Entry = {"name": name, "test": test}
        if name in BIOS_CLIENTS:
            entry["option-data"] = [
                _forced(MAGIC_OPTION, MAGIC.hex()),
                _forced(PREFIX_OPTION, TFTP_DIRECTORY),
                _forced(REBOOT_OPTION, str(REBOOT_SECONDS)),
            ]
        elif name == "ipxe":
            entry["option-data"] = [_forced(IPXE_OPTION, IPXE_NO_PROXY.hex())]
        elif name == "http":
            entry["option-data"] = [_forced(VENDOR_CLASS_OPTION, HTTP_VENDOR_CLASS)]
        yield entry


def _source_classes(sources: tuple[Source, ...]) -> Iterator[Entry]:
    rules = [source for source in sources if source.prefix is not None]
    for source in rules:
        yield {
            "name": source.name,
            "test": f"member('UNKNOWN') and {_begins_with(str(source.prefix))}",
            "option-data": [_forced(CONFIGURATION_OPTION, str(source.configuration))],
        }
    ruled = "".join([f" and not member('{source.name}')" for source in rules])
    yield {"name": "unknown", "test": f"member('UNKNOWN'){ruled}"}
    for source in sources:
        if source.hosts:
            yield {"name": source.name}  # of hosts, by their reservation
    for source in sources:
        if source.prefix is None and source.name != "unknown" and not source.hosts:
            continue
        for client, file in source.files.items():
            # KNOWN says no more than the reservation's class; it has the test wait for it.
            known = "member('KNOWN') and " if source.hosts else ""
            yield {
                "name": f"{source.name}:{client}",
                "test": f"{known}member('{source.name}') and member('{client}')",
                "boot-file-name": file,
            }


def _begins_with(prefix: str) -> str:
    count = len(prefix.split(":"))
    return f"substring(pkt4.mac, 0, {count}) == 0x{prefix.replace(':', '')}"


def _forced(code: int, data: str) -> Entry:
    return {"code": code, "space": "dhcp4", "data": data, "always-send": True}


def _reservation(host: Host, source: Source) -> Entry:
    entry: Entry = {"hw-address": host.mac, "hostname": host.name, "client-classes": [source.name]}
    if host.address is not None:
        entry["ip-address"] = host.address
    return entry
