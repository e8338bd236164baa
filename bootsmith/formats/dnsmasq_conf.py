"""dnsmasq as the one server of a network: DHCP, TFTP and DNS.

`dnsmasq.conf` knows no host. They are in two files that dnsmasq reads anew at a SIGHUP:
`dnsmasq-hosts` for DHCP, and `hosts`, which has the form of /etc/hosts, for DNS. Both are named
through `current`, so publishing another generation takes a SIGHUP and no restart, unless
`dnsmasq.conf` itself has changed.

Source of the facts: dnsmasq(8) of 2.90; each line was seen to work with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bootsmith.formats.conf_values import check_conf_values, host_names
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
    Source,
    dhcp_sources,
    name_servers,
    source_of,
)
from bootsmith.formats.inventory import HEAD_NAME, Inventory
from bootsmith.formats.ipv4 import Subnet, parse_subnet
from bootsmith.formats.netboot_network import CURRENT, Network

CONF_NAME = "dnsmasq.conf"
DHCP_HOSTS_NAME = "dnsmasq-hosts"
NAMES_NAME = "hosts"
_MOST_TRANSFERS = 1000  # machines at once; dnsmasq's own limit is 50, and a rack is more
_MAC_BYTES = 6


def write_dnsmasq_conf(network: Network, inventory: Inventory) -> str:
    """The configuration; RecipeError for values that it could not hold."""
    sources = dhcp_sources(network, inventory)
    subnet = parse_subnet(network.subnet)
    assert subnet is not None, "dhcp_sources has read it"
    conf = f"{network.root}/{CURRENT}/conf"
    lines = [
        f"# DHCP, TFTP and DNS for {network.subnet}. Hosts are in {DHCP_HOSTS_NAME} and "
        f"{NAMES_NAME}:",
        "# dnsmasq reads those again at a SIGHUP.",
        f"interface={network.interface}",
        "except-interface=lo",
        # Also when the interface comes up later than dnsmasq; and never on another's address.
        "bind-dynamic",
        "",
        *_names(network, conf),
        "",
        "enable-tftp",
        f"tftp-root={network.root}",
        f"tftp-max={_MOST_TRANSFERS}",
        "",
        *_addresses(network, subnet, conf),
        "",
        "# Who asks",
        *_client_tags(),
        "",
        "# Where its role comes from",
        *_source_tags(sources),
        "",
        "# What it loads",
        *_loads(network, sources),
    ]
    return "".join(f"{line}\n" for line in lines)


def write_dnsmasq_hosts(network: Network, inventory: Inventory) -> str:
    """A line a host for dhcp-hostsfile: MAC, tag, address, name."""
    check_conf_values(network, inventory)
    return "".join(
        [
            f"{host.mac},set:{source_of(host)},"
            f"{f'{host.address},' if host.address else ''}{host.name}\n"
            for host in inventory.hosts
        ]
    )


def write_hosts_file(network: Network, inventory: Inventory) -> str:
    """Address, name with domain, name: a line for each name that has an address."""
    check_conf_values(network, inventory)
    names = [(HEAD_NAME, network.server)]
    for host in inventory.hosts:
        names += host_names(host)
    return "".join([f"{address} {name}.{network.domain} {name}\n" for name, address in names])


def _names(network: Network, conf: str) -> Iterable[str]:
    # The head node's own /etc/hosts may call it 127.0.1.1.
    yield "no-hosts"
    yield f"addn-hosts={conf}/{NAMES_NAME}"
    yield f"domain={network.domain}"
    # Names of this domain, and addresses of private networks, are never asked for elsewhere.
    yield f"local=/{network.domain}/"
    yield "domain-needed"
    yield "bogus-priv"


def _addresses(network: Network, subnet: Subnet, conf: str) -> Iterable[str]:
    yield "dhcp-authoritative"
    # Boot ROM, boot loader and system say different client ids, and are one machine.
    yield "dhcp-ignore-clid"
    # File and server name stay where old boot ROMs look for them.
    yield "dhcp-no-override"
    yield f"dhcp-lease-max={subnet.last - subnet.first + 1}"
    yield f"dhcp-hostsfile={conf}/{DHCP_HOSTS_NAME}"
    first, last = network.pool or (network.subnet.partition("/")[0], "static")
    yield f"dhcp-range={first},{last},{network.netmask},{network.lease_seconds}"
    # Without a value: dnsmasq would name itself.
    yield f"dhcp-option=option:router{f',{network.gateway}' if network.gateway else ''}"
    yield f"dhcp-option=option:dns-server,{','.join(name_servers(network))}"


def _client_tags() -> Iterable[str]:
    # No vendor class stands in front, so the numbers are options of DHCP itself.
    yield f"dhcp-match=set:has-arch,{ARCHITECTURE_OPTION}"
    architectures = [("bios", BIOS_ARCHITECTURE), ("http", HTTP_ARCHITECTURE)]
    architectures += [("uefi", number) for number in UEFI_ARCHITECTURES]
    for name, number in architectures:
        yield f"dhcp-match=set:arch-{name},option:client-arch,{number}"
    yield f"dhcp-vendorclass=set:http-firmware,{HTTP_VENDOR_CLASS}"
    yield f"dhcp-match=set:ipxe,{IPXE_OPTION}"
    yield f"dhcp-userclass=set:ipxe,{IPXE_USER_CLASS}"
    yield "tag-if=set:arch-bios,tag:!has-arch"
    for name in ("bios", "uefi"):
        yield f"tag-if=set:{name},tag:arch-{name},tag:!ipxe"
        yield f"tag-if=set:{name}-ipxe,tag:arch-{name},tag:ipxe"
    yield "tag-if=set:http,tag:arch-http,tag:http-firmware"


def _source_tags(sources: Iterable[Source]) -> Iterable[str]:
    for source in sources:
        if source.prefix is not None:
            stars = ":*" * (_MAC_BYTES - len(source.prefix.split(":")))
            yield f"dhcp-mac=set:mac-{source.name},{source.prefix}{stars}"
            yield f"tag-if=set:{source.name},tag:!known,tag:mac-{source.name}"
            yield f"tag-if=set:ruled,tag:{source.name}"
    yield "tag-if=set:unknown,tag:!known,tag:!ruled"


def _loads(network: Network, sources: Iterable[Source]) -> Iterable[str]:
    for client in BIOS_CLIENTS:
        # PXELINUX before 3.55 believes the two others only where this one is there.
        yield f"dhcp-option-force=tag:{client},{MAGIC_OPTION},{MAGIC.hex(':')}"
        yield f"dhcp-option-force=tag:{client},{PREFIX_OPTION},{TFTP_DIRECTORY}"
        # i: four bytes.
        yield f"dhcp-option-force=tag:{client},{REBOOT_OPTION},{REBOOT_SECONDS}i"
    yield f"dhcp-option-force=tag:ipxe,{IPXE_OPTION},{IPXE_NO_PROXY.hex(':')}"
    yield f"dhcp-option-force=tag:http,option:vendor-class,{HTTP_VENDOR_CLASS}"
    for source in sources:
        if source.configuration is not None:
            yield (
                f"dhcp-option-force=tag:{source.name},{CONFIGURATION_OPTION},{source.configuration}"
            )
        for client, file in source.files.items():
            yield f"dhcp-boot=tag:{source.name},tag:{client},{file},,{network.server}"
