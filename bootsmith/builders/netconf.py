"""netconf: configurations of the servers around a netboot tree, as texts of its index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bootsmith.files.atomic import write_file
from bootsmith.formats import (
    dns_zone,
    dnsmasq_conf,
    ganesha_conf,
    isc_dhcpd_conf,
    kea_conf,
    nbd_conf,
    nfs_exports,
    nginx_conf,
    tftpd_conf,
)
from bootsmith.formats.arming import HOOK_INVENTORY
from bootsmith.formats.inventory import Inventory, read_inventory
from bootsmith.formats.netboot_index import NetbootEntry, write_netboot_index
from bootsmith.formats.netboot_network import GENERATION, SERIAL, Network

DIRECTORY = "conf"
_WRITERS = {
    dnsmasq_conf.CONF_NAME: dnsmasq_conf.write_dnsmasq_conf,
    dnsmasq_conf.DHCP_HOSTS_NAME: dnsmasq_conf.write_dnsmasq_hosts,
    dnsmasq_conf.NAMES_NAME: dnsmasq_conf.write_hosts_file,
    isc_dhcpd_conf.CONF_NAME: isc_dhcpd_conf.write_dhcpd_conf,
    isc_dhcpd_conf.DEFAULTS_NAME: isc_dhcpd_conf.write_isc_dhcp_server_defaults,
    kea_conf.CONF_NAME: kea_conf.write_kea_conf,
    tftpd_conf.CONF_NAME: tftpd_conf.write_tftpd_defaults,
    nginx_conf.CONF_NAME: nginx_conf.write_nginx_conf,
    ganesha_conf.CONF_NAME: ganesha_conf.write_ganesha_conf,
    nfs_exports.CONF_NAME: nfs_exports.write_exports,
    dns_zone.CONF_NAME: dns_zone.write_named_conf,
}


def build_netconf(
    *,
    inventory: Path,
    network: Mapping[str, Any],
    images: Sequence[str],
    build: Path,
    output: Path,
) -> None:
    """Write `output`, the index of everything below `conf/`.

    `network` holds the keywords of Network; `images` are paths below a generation, for block
    devices. `inventory` lies below `build`, and is published too: arming asks it who is who.
    Raises RecipeError for values that a configuration could not hold.
    """
    content = inventory.read_bytes()
    known = read_inventory(content, subject=inventory)
    published = NetbootEntry(
        path=HOOK_INVENTORY,
        file=inventory.relative_to(build).as_posix(),
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )
    texts = _texts(Network(**network), known, images)
    write_file(output, write_netboot_index([published, *map(_entry, texts)]))


def _texts(
    network: Network, inventory: Inventory, images: Sequence[str]
) -> Iterator[tuple[str, str]]:
    for name, write in _WRITERS.items():
        yield name, write(network, inventory)
    yield from dns_zone.zone_files(network, inventory).items()
    if images:  # nbd-server does not start without an export
        conf = nbd_conf.write_nbd_server_conf(network, inventory, images=images)
        yield nbd_conf.CONF_NAME, conf


def _entry(named: tuple[str, str]) -> NetbootEntry:
    name, text = named
    names_generation = GENERATION in text or SERIAL in text
    return NetbootEntry(path=f"{DIRECTORY}/{name}", content=text, text=names_generation)
