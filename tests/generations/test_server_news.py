"""Which servers are to be told of another generation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from network_samples import all_confs

from bootsmith.formats.netboot_tree import NetbootTree, TreeFile
from bootsmith.generations.server_news import server_news

HEADING = "configurations of servers changed; tell those that run there (docs/servers.md):"
CHECKOUT = Path(__file__).resolve().parents[2]
ONE, TWO = TreeFile("1" * 64, 1), TreeFile("2" * 64, 1)
ZONE = "@ SOA head hostmaster @serial@ 3600\n"
BASE = NetbootTree(
    files={
        f"conf/{name}": ONE
        for name in (
            "dnsmasq.conf", "dnsmasq-hosts", "hosts", "dhcpd.conf", "isc-dhcp-server",
            "kea-dhcp4.json", "tftpd-hpa", "nginx.conf", "ganesha.conf", "exports",
            "inventory.jsonl",
        )
    },
    texts={
        "conf/named.conf": "@generation@",
        "conf/nbd-server.conf": "@generation@",
        "conf/db.boot.example": ZONE,
    },
)  # fmt: skip


def changed(*names, texts=()):
    files = {**BASE.files, **{f"conf/{name}": TWO for name in names}}
    return NetbootTree(files=files, texts={**BASE.texts, **dict(texts)})


@pytest.mark.parametrize(
    "after,rows",
    [
        (BASE, ()),
        (changed("inventory.jsonl"), ()),  # nobody keeps it in memory
        (changed("dnsmasq-hosts"), ("dnsmasq  dnsmasq-hosts  systemctl reload dnsmasq",)),
        (changed("hosts"), ("dnsmasq  hosts  systemctl reload dnsmasq",)),
        (
            changed("dnsmasq.conf", "hosts"),
            ("dnsmasq  dnsmasq.conf, hosts  systemctl restart dnsmasq",),
        ),
        (
            changed("dhcpd.conf", "kea-dhcp4.json", texts={"conf/db.boot.example": f"{ZONE}a"}),
            (
                "ISC dhcpd  dhcpd.conf       install it again, systemctl restart isc-dhcp-server",
                "Kea        kea-dhcp4.json   install it again, systemctl restart kea-dhcp4-server",
                "BIND       db.boot.example  rndc reload",
            ),
        ),
        (
            NetbootTree(files=BASE.files, texts={**BASE.texts, "conf/db.new": ZONE}),
            ("BIND  db.new  rndc reload",),
        ),
        (changed("exports"), ("kernel's NFS  exports  exportfs -ra",)),
    ],
)
def test_each_server_is_told_of_its_own_files(after, rows):
    expected = (HEADING, *(f"  {row}" for row in rows)) if rows else ()
    assert server_news(BASE, after) == expected


def test_every_configuration_belongs_to_a_server():
    files = {f"conf/{name}": ONE for name in all_confs()}
    _, *rows = server_news(NetbootTree(), NetbootTree(files=files))
    told = {name for row in rows for name in re.split(", |  +", row.strip())[1:-1]}
    assert {f"conf/{name}" for name in told if not name.startswith("install")} == files.keys()
    page = (CHECKOUT / "docs/servers.md").read_text()
    for command in re.findall(r"(?:systemctl|rndc|exportfs|pkill)[\w -]+", "\n".join(rows)):
        assert command in page
