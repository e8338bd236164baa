"""Serving roots as `doit publish` leaves them, of a few text files."""

from __future__ import annotations

import os

import pytest

from bootsmith.formats.arming import HOOK_INVENTORY, install_configurations
from bootsmith.formats.inventory import Host, Inventory, Role, write_inventory

HOSTS = (
    Host(name="db1", mac="52:54:01:03:00:01", template="db", install="debian"),
    Host(
        name="web1", mac="52:54:01:02:00:01", template="web", install="debian",
        address="10.20.0.11", management="10.20.200.11",
    ),
    Host(
        name="web2", mac="52:54:01:02:00:02", template="web", install="wipe",
        address="10.20.0.12",
    ),
    Host(name="worker", mac="52:54:01:04:00:01", template="worker"),
)  # fmt: skip


class Root:
    """One serving root, and what was said about it."""

    def __init__(self, directory):
        self.directory = directory
        self.said = []

    def publish(self, identifier, *, hosts=HOSTS, installers=("debian", "wipe")):
        """A generation with these hosts and installers, which becomes current."""
        tree = self.directory / "generations" / identifier / "netboot"
        inventory = Inventory(unknown=Role(template="default"), hosts=tuple(hosts))
        files = {HOOK_INVENTORY: write_inventory(inventory)} if hosts is not None else {}
        for installer in installers:
            for path in install_configurations(installer):
                files[path] = f"boots {installer} of {identifier}\n".encode()
        for path, content in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(content)
        self.move_current(identifier)

    def move_current(self, identifier):
        """What promoting and rolling back do."""
        partial = self.directory / ".current"
        os.symlink(f"generations/{identifier}", partial)
        os.replace(partial, self.directory / "current")

    @property
    def roots(self):
        """The arguments by which verbs find it."""
        return {"usual": str(self.directory), "targets": {}}

    @property
    def armed(self):
        """Every name in armed/, with where it leads or what it holds."""
        directory = self.directory / "armed"
        return {
            path.name: os.readlink(path) if path.is_symlink() else path.read_text()
            for path in sorted(directory.iterdir())
        }

    def say(self, line):
        self.said.append(line)


@pytest.fixture
def root(tmp_path):
    """A root whose current generation knows HOSTS."""
    made = Root(tmp_path / "boot")
    made.publish("2026-11-20.1")
    return made
