"""A small site with an inventory: a host in hosts.toml, one in a CSV file, and a MAC convention."""

from __future__ import annotations

from pathlib import Path

SITE = """\
schema = 1
name = "lab"
release = "alpine"
flavor = "lts"
"""
NETBOOT = """
[netboot]
server = "10.20.0.1"
subnet = "10.20.0.0/16"
interface = "eth1"
domain = "lab.example"
template = "web"
"""
HOSTS = """\
[mac]
fixed = "AA:BB"
levels = { infra = 1, service = 2 }
templates = { web = 0x10 }

[host.web-1]
mac = "AA:BB:02:10:00:05"

[[import]]
file = "more.csv"
format = "csv"
"""


def write_inventory_site(root: Path) -> Path:
    """Lay it down below `root`; nothing in it can be built, for it has no ISO."""
    for name, text in {
        "recipes/site.toml": SITE + NETBOOT,
        "recipes/hosts.toml": HOSTS,
        "recipes/hosts/more.csv": "name,mac\nweb-2,AA:BB:02:10:00:09\n",
        "recipes/releases/alpine.toml": 'iso = "a.iso"\nflavors = ["lts"]\n'
        '[pxerd]\nfeatures = ["network"]\n',
        "recipes/templates/web.toml": 'summary = "web"\noverlays = ["base"]\n',
        "recipes/features.d/network.modules": "",
        "overlays/base/etc/motd": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
