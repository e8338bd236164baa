"""A small network with one of each: what golden files, checkers and real servers are tried with."""

from __future__ import annotations

from pathlib import Path

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
from bootsmith.formats.inventory import Host, Inventory, Role, Rule
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.netboot_tree import render_text

NETWORK = Network(
    server="10.20.0.1",
    subnet="10.20.0.0/16",
    interface="boot0",
    root="/srv/boot",
    domain="boot.example",
    pool=("10.20.250.1", "10.20.250.254"),
    gateway="10.20.0.254",
    dns=("10.20.0.1", "10.20.0.2"),
    http_port=8080,
)
INVENTORY = Inventory(
    unknown=Role(template="default"),
    rules=(
        Rule(template="web", prefix="52:54:01:02"),
        Rule(template="db", prefix="52:54:02", loader="ipxe", uefi_loader="grub"),
    ),
    hosts=(
        Host(
            name="db-1",
            mac="52:54:09:00:00:01",
            template="db",
            loader="ipxe",
            boot="disk",
            install="debian",
        ),
        Host(
            name="web-1",
            mac="52:54:01:02:00:07",
            template="web",
            address="10.20.1.7",
            management="10.30.0.7",
        ),
        Host(
            name="web-2",
            mac="52:54:01:02:00:08",
            template="web",
            loader="lpxelinux",
            uefi_loader="grub",
            address="10.20.1.8",
            management="10.20.200.8",
        ),
    ),
)
IMAGES = ("modloop/x-lts/modloop-lts", "usbkey/web/web.img")
GENERATION_ID = "2026-11-21.3"


def _nbd_server_conf(network: Network, inventory: Inventory) -> str:
    return nbd_conf.write_nbd_server_conf(network, inventory, images=IMAGES)


WRITERS = {
    "dnsmasq.conf": dnsmasq_conf.write_dnsmasq_conf,
    "dnsmasq-hosts": dnsmasq_conf.write_dnsmasq_hosts,
    "hosts": dnsmasq_conf.write_hosts_file,
    "dhcpd.conf": isc_dhcpd_conf.write_dhcpd_conf,
    "isc-dhcp-server": isc_dhcpd_conf.write_isc_dhcp_server_defaults,
    "kea-dhcp4.json": kea_conf.write_kea_conf,
    "tftpd-hpa": tftpd_conf.write_tftpd_defaults,
    "nginx.conf": nginx_conf.write_nginx_conf,
    "ganesha.conf": ganesha_conf.write_ganesha_conf,
    "exports": nfs_exports.write_exports,
    "nbd-server.conf": _nbd_server_conf,
    "named.conf": dns_zone.write_named_conf,
}


def all_confs(network: Network = NETWORK, inventory: Inventory = INVENTORY) -> dict[str, str]:
    """Every configuration by the name of its file, as the index of a netboot tree has them."""
    confs = {name: write(network, inventory) for name, write in WRITERS.items()}
    return {**confs, **dns_zone.zone_files(network, inventory)}


def lay_confs(directory: Path) -> None:
    """Every configuration as the generation GENERATION_ID publishes it."""
    directory.mkdir(parents=True)
    for name, text in all_confs().items():
        (directory / name).write_bytes(render_text(text, GENERATION_ID))
