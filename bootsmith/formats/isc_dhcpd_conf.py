"""ISC dhcpd: `dhcpd.conf`, and the defaults file by which Debian starts it.

Machines that nobody knows are answered as the subnet says, those of a MAC prefix as their class
says, hosts as their group says. Statements of all that fit run in this order and the last one
counts; so each says what every kind of client loads.

Source of the facts: dhcpd.conf(5), dhcp-eval(5) and dhcp-options(5) of 4.4.3; each line was seen
to work with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from bootsmith.formats.conf_values import check_network_values
from bootsmith.formats.dhcp_answers import (
    ARCHITECTURE_OPTION,
    BIOS_ARCHITECTURE,
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
    VENDOR_CLASS_OPTION,
    Source,
    dhcp_sources,
    name_servers,
)
from bootsmith.formats.inventory import Host, Inventory
from bootsmith.formats.netboot_network import Network

CONF_NAME = "dhcpd.conf"
DEFAULTS_NAME = "isc-dhcp-server"
_OPTION_NAMES = (
    (MAGIC_OPTION, "magic", "string"),
    (CONFIGURATION_OPTION, "configfile", "text"),
    (PREFIX_OPTION, "pathprefix", "text"),
    (REBOOT_OPTION, "reboottime", "unsigned integer 32"),
)
# Sent whether or not they were asked for.
_FORCED = bytes([VENDOR_CLASS_OPTION, IPXE_OPTION, *(code for code, _, _ in _OPTION_NAMES)])


# Brackets around conditions are not understood, so each is one chain of `and` or of `or`.
_ARCHITECTURE = "pick-first-value (option client-architecture, 00:00)"
_BIOS = f"{_ARCHITECTURE} = {BIOS_ARCHITECTURE.to_bytes(2).hex(':')}"
_UEFI = " or ".join(
    [f"{_ARCHITECTURE} = {number.to_bytes(2).hex(':')}" for number in UEFI_ARCHITECTURES]
)
_HTTP = (
    f"{_ARCHITECTURE} = {HTTP_ARCHITECTURE.to_bytes(2).hex(':')} and substring "
    f'(option vendor-class-identifier, 0, {len(HTTP_VENDOR_CLASS)}) = "{HTTP_VENDOR_CLASS}"'
)
_IPXE = f'exists ipxe-encapsulated or option user-class = "{IPXE_USER_CLASS}"'


def write_dhcpd_conf(network: Network, inventory: Inventory) -> str:
    """The configuration; RecipeError for values that it could not hold."""
    unknown, *others = dhcp_sources(network, inventory)
    lines = [
        f"# DHCP for {network.subnet} and its hosts. dhcpd reads this only when it starts.",
        "option space pxelinux;",
        *(f"option pxelinux.{name} code {code} = {kind};" for code, name, kind in _OPTION_NAMES),
        'site-option-space "pxelinux";',
        f"option client-architecture code {ARCHITECTURE_OPTION} = unsigned integer 16;",
        f"option ipxe-encapsulated code {IPXE_OPTION} = string;",
        "",
        *_network(network),
        "",
        *_subnet(network, unknown),
    ]
    for source in others:
        if source.prefix is not None:
            lines += ["", *_class(source, source.prefix)]
        elif source.hosts:
            lines += ["", *_group(source)]
    return "".join([f"{line}\n" for line in lines])


def write_isc_dhcp_server_defaults(network: Network, inventory: Inventory) -> str:
    """`/etc/default/isc-dhcp-server`: where dhcpd serves; RecipeError for what it cannot hold."""
    check_network_values(network)
    return f'INTERFACESv4="{network.interface}"\nINTERFACESv6=""\n'


def _network(network: Network) -> Iterator[str]:
    yield "authoritative;"
    yield "ddns-update-style none;"
    # Boot ROM, boot loader and system say different client ids, and are one machine.
    yield "ignore-client-uids true;"
    yield f"default-lease-time {network.lease_seconds};"
    yield f"max-lease-time {network.lease_seconds};"
    yield f"option broadcast-address {network.broadcast};"
    yield f'option domain-name "{network.domain}";'
    yield f"option domain-name-servers {', '.join(name_servers(network))};"
    if network.gateway:
        yield f"option routers {network.gateway};"
    yield f"next-server {network.server};"
    yield "# Boot ROMs and loaders do not ask for these, and need them."
    yield "if exists dhcp-parameter-request-list {"
    yield (
        "    option dhcp-parameter-request-list = "
        f"concat (option dhcp-parameter-request-list, {_FORCED.hex(':')});"
    )
    yield "}"
    yield f"if {_BIOS} {{"
    yield f"    option pxelinux.magic {MAGIC.hex(':')};"
    yield f'    option pxelinux.pathprefix "{TFTP_DIRECTORY}";'
    yield f"    option pxelinux.reboottime {REBOOT_SECONDS};"
    yield f"}} elsif {_HTTP} {{"
    yield f'    option vendor-class-identifier "{HTTP_VENDOR_CLASS}";'
    yield "}"
    yield f"if {_IPXE} {{"
    yield f"    option ipxe-encapsulated {IPXE_NO_PROXY.hex(':')};"
    yield "}"


def _subnet(network: Network, unknown: Source) -> Iterator[str]:
    address = network.subnet.partition("/")[0]
    yield f"subnet {address} netmask {network.netmask} {{"
    yield "    # machines that nobody knows"
    yield from _files(unknown, indent="    ")
    if network.pool:
        yield "    pool {"
        yield f"        range {network.pool[0]} {network.pool[1]};"
        yield "    }"
    yield "}"


def _class(source: Source, prefix: str) -> Iterator[str]:
    yield f'class "{source.name}" {{'
    # Byte 0 of `hardware` is its type.
    yield f"    match if substring (hardware, 1, {len(prefix.split(':'))}) = {prefix};"
    yield "    if not known {"
    yield f'        option pxelinux.configfile "{source.configuration}";'
    yield from _files(source, indent="        ")
    yield "    }"
    yield "}"


def _group(source: Source) -> Iterator[str]:
    yield f"# {source.name}"
    yield "group {"
    yield from _files(source, indent="    ")
    for host in source.hosts:
        yield _host(host)
    yield "}"


def _host(host: Host) -> str:
    address = f"fixed-address {host.address}; " if host.address else ""
    return (
        f"    host {host.name} {{ hardware ethernet {host.mac}; {address}"
        f'option host-name "{host.name}"; }}'
    )


def _files(source: Source, *, indent: str) -> Iterator[str]:
    files = source.files
    yield f"{indent}if {_BIOS} {{"
    yield from _file(files["bios"], files["bios-ipxe"], indent=f"{indent}    ")
    yield f"{indent}}} elsif {_UEFI} {{"
    yield from _file(files["uefi"], files["uefi-ipxe"], indent=f"{indent}    ")
    yield f"{indent}}} elsif {_HTTP} {{"
    yield from _file(files["http"], files["http"], indent=f"{indent}    ")
    yield f"{indent}}}"


def _file(plain: str, from_ipxe: str, *, indent: str) -> Iterator[str]:
    if plain == from_ipxe:
        yield f'{indent}filename "{plain}";'
        return
    yield f"{indent}if {_IPXE} {{"
    yield f'{indent}    filename "{from_ipxe}";'
    yield f"{indent}}} else {{"
    yield f'{indent}    filename "{plain}";'
    yield f"{indent}}}"
