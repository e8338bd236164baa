"""What server configurations are made of: values that the syntax of every daemon can hold.

Names, addresses and paths go into eight syntaxes that quote in eight ways. So nothing is ever
quoted: what is more than plain letters is refused here, by each function that writes a
configuration, whatever the recipes' own checks have let through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bootsmith.errors import RecipeError
from bootsmith.formats.inventory import (
    BIOS_LOADERS,
    HEAD_NAME,
    MANAGEMENT_SUFFIX,
    UEFI_LOADERS,
    Host,
    Inventory,
    Role,
)
from bootsmith.formats.ipv4 import Subnet, parse_ipv4, parse_subnet
from bootsmith.formats.netboot_network import Network

RECIPE = "recipes/hosts.toml"
_SITE = "recipes/site.toml: netboot"
LABEL_LIMIT_BYTES = 63  # RFC 1035, section 2.3.4
NAME_LIMIT_BYTES = 253  # the same: 255 on the wire, of which two are not of the name
ZONE_KEEPER = "hostmaster"
"""Whom a zone names for questions about it, in its own domain (RFC 2142)."""
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}\Z")
_PREFIX = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){0,4}\Z")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")
_ROOT = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+\Z")


def check_conf_values(network: Network, inventory: Inventory) -> None:
    """RecipeError for whatever one of the configurations could not say, or would say twice."""
    check_network_values(network)
    _check_role("[netboot]", inventory.unknown)
    prefixes: dict[str, str] = {}
    for rule in inventory.rules:
        subject = f"{RECIPE}: rule {rule.prefix!a}"
        if not _PREFIX.match(rule.prefix):
            raise _bad(subject, "not a MAC prefix", "one to five bytes like 52:54:01", rule.prefix)
        _once(prefixes, rule.prefix, rule.prefix, subject=subject, what="prefix")
        _check_role(subject, rule)
    _check_hosts(network, inventory.hosts)


def check_network_values(network: Network) -> Subnet:
    """The subnet of a network whose values are all plain; RecipeError for any other."""
    subnet = parse_subnet(network.subnet)
    if subnet is None:
        raise _bad(f"{_SITE}: subnet", "not a subnet", "one like 10.20.0.0/16", network.subnet)
    for key, addresses in (
        ("server", (network.server,)),
        ("gateway", () if network.gateway is None else (network.gateway,)),
        ("dns", network.dns),
        ("pool", network.pool or ()),
    ):
        for address in addresses:
            _check_address(f"{_SITE}: {key}", address)
    if not _INTERFACE.match(network.interface):
        raise _bad(f"{_SITE}: interface", "not an interface", "a name like eth1", network.interface)
    if not _ROOT.match(network.root):
        raise _bad(
            f"{_SITE}: root",
            "servers could not be told of this directory",
            "an absolute path of letters, digits, dots, dashes and underscores",
            network.root,
        )
    labels = network.domain.split(".")
    most = NAME_LIMIT_BYTES - len(ZONE_KEEPER) - 1
    if len(network.domain) > most or not all(map(_is_label, labels)):
        raise _bad(f"{_SITE}: domain", "not a DNS domain", "one like boot.example", network.domain)
    return subnet


def host_names(host: Host) -> Iterable[tuple[str, str]]:
    """(name, address) for each address of a host that is fixed."""
    if host.address is not None:
        yield host.name, host.address
    if host.management is not None:
        yield f"{host.name}{MANAGEMENT_SUFFIX}", host.management


def _check_hosts(network: Network, hosts: Iterable[Host]) -> None:
    names = {HEAD_NAME: "the head node"}
    addresses = {network.server: "the head node"}
    macs: dict[str, str] = {}
    room = NAME_LIMIT_BYTES - len(network.domain) - 1
    for host in hosts:
        subject = f"{RECIPE}: host {host.name!a}"
        # Most are fine: then no more is asked than this.
        if not _LABEL.match(host.name) or len(host.name) > min(room, LABEL_LIMIT_BYTES):
            raise _bad_name(subject, host.name, min(room, LABEL_LIMIT_BYTES))
        if not _MAC.match(host.mac):
            raise _bad(subject, "not a MAC address", "one like 52:54:01:02:00:07", host.mac)
        _once(names, host.name, f"host {host.name}", subject=subject, what="name")
        _once(macs, host.mac, f"host {host.name}", subject=subject, what="MAC address")
        if host.address is not None:
            _check_address(subject, host.address)
            _once(addresses, host.address, f"host {host.name}", subject=subject, what="address")
        if host.management is not None:
            _check_management(subject, host, names, min(room, LABEL_LIMIT_BYTES))
        _check_role(subject, host)


def _check_management(subject: str, host: Host, names: dict[str, str], most: int) -> None:
    assert host.management is not None
    _check_address(subject, host.management)
    name = f"{host.name}{MANAGEMENT_SUFFIX}"
    if len(name) > most:
        raise _bad_name(subject, name, most)
    _once(names, name, f"the management address of {host.name}", subject=subject, what="name")


def _check_role(subject: str, role: Role) -> None:
    for loader, known in ((role.loader, BIOS_LOADERS), (role.uefi_loader, UEFI_LOADERS)):
        if loader not in known:
            raise _bad(subject, "no such loader", " or ".join(known), loader)


def _check_address(subject: str, address: str) -> None:
    if parse_ipv4(address) is None:
        raise _bad(subject, "not an IPv4 address", "one like 10.20.0.7", address)


def _once(seen: dict[str, str], value: str, owner: str, *, subject: str, what: str) -> None:
    if value in seen:
        raise RecipeError(
            subject,
            f"its {what} is taken",
            expected=f"a {what} of its own",
            got=f"{value}, also of {seen[value]}",
            hint="change one of the two",
        )
    seen[value] = owner


def _is_label(text: str) -> bool:
    return len(text) <= LABEL_LIMIT_BYTES and bool(_LABEL.match(text))


def _bad_name(subject: str, name: str, most: int) -> RecipeError:
    return RecipeError(
        subject,
        "a DNS zone cannot hold this name",
        expected=f"lower-case letters, digits and inner dashes, at most {most}",
        got=f"{len(name)} characters, {name!a}" if len(name) > most else ascii(name),
        hint="give the host another name",
    )


def _bad(subject: str, problem: str, expected: str, got: str) -> RecipeError:
    return RecipeError(
        subject, problem, expected=expected, got=ascii(got), hint="correct it in the recipe"
    )
