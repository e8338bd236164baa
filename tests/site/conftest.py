"""A small site whose machines boot from the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootsmith.errors import RecipeError
from bootsmith.formats.inventory import Inventory
from bootsmith.site.inventory import Surroundings, load_inventory
from bootsmith.site.inventory_files import IMPORTS, RECIPE
from bootsmith.site.loader import load_site
from bootsmith.site.models import Site
from bootsmith.site.netboot import inventory_arguments

SITE = """\
schema = 1
name = "lab"
release = "alpine"
flavor = "lts"

[netboot]
server = "10.20.0.1"
subnet = "10.20.0.0/16"
interface = "eth1"
domain = "lab.example"
pool = ["10.20.250.1", "10.20.250.254"]
gateway = "10.20.0.254"
template = "web"
"""
FILES = {
    "recipes/site.toml": SITE,
    "recipes/hosts.toml": "",
    "recipes/releases/alpine.toml": 'iso = "/isos/alpine.iso"\nflavors = ["virt", "lts"]\n',
    "recipes/releases/plain.toml": 'iso = "/isos/plain.iso"\nflavors = ["lts"]\n'
    '[pxerd]\nfeatures = ["network"]\n',
    "recipes/templates/web.toml": 'summary = "a web server"\noverlays = ["base"]\n',
    "recipes/templates/db.toml": 'summary = "a database"\noverlays = ["base"]\n',
    "recipes/templates/plain.toml": 'summary = "no NFS"\noverlays = ["base"]\nrelease = "plain"\n',
    "recipes/installers/debian.toml": 'summary = "installs Debian"\n'
    'kernel = "/d/linux"\ninitrd = "/d/initrd.gz"\n',
    "overlays/base/etc/motd": "hello\n",
    "overlays/extra/etc/motd": "hello\n",
    "overlays/more/etc/motd": "hello\n",
    **{
        f"recipes/features.d/{name}.modules": ""
        for name in ("dhcp", "network", "nfs", "squashfs", "virtio", "usb")
    },
}


class Lab:
    """The site below `root`; recipes may be written over."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str | bytes) -> None:
        """Write a file of the site."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def site(self) -> Site:
        return load_site(self.root)

    def inventory(self, hosts: str | None = None) -> Inventory:
        """The resolved inventory, of `hosts` if given."""
        if hosts is not None:
            self.write(RECIPE, hosts)
        surroundings = Surroundings(**inventory_arguments(self.site()))
        return load_inventory(self.root / RECIPE, self.root / IMPORTS, surroundings)

    def message(self, hosts: str | None = None) -> str:
        """What the inventory is refused with."""
        with pytest.raises(RecipeError) as caught:
            self.inventory(hosts)
        return str(caught.value)

    def refusal(self) -> str:
        """What the site is refused with, before its inventory is looked at."""
        with pytest.raises(RecipeError) as caught:
            self.site()
        return str(caught.value)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)
