"""One changed host: its lines of each index, its archive and its names change, and nothing else."""

from __future__ import annotations

import os

import pytest
from netboot_site import write_netboot_site

HOSTS = 30
CHANGED = "host-07"
MAC = "52:54:00:01:00:07"
CARD = "01-52-54-00-01-00-07"
INDEXES = ("netboot/index.jsonl", "netconf/index.jsonl", "hostovl/manifest.jsonl")


def hosts_toml(**changed):
    """Thirty hosts; every third has an archive of its own, the changed one too."""
    lines = []
    for number in range(HOSTS):
        said = {"mac": f'"52:54:00:01:00:{number:02}"', "address": f'"10.20.9.{number + 1}"'}
        if number % 3 == 1:
            said["values"] = f'{{ rack = "{number}" }}'
        if f"host-{number:02}" == CHANGED:
            said |= changed
        lines += [f"[host.host-{number:02}]", *(f"{key} = {said[key]}" for key in said)]
    return "\n".join(lines) + "\n"


class Built:
    """What lies on the disk after a build: lines, inodes, times."""

    def __init__(self, site):
        build = site.layout.build
        self.lines = {
            name: set((build / name).read_bytes().splitlines())
            for name in ("inventory/inventory.jsonl", *INDEXES)
        }
        self.archives = {
            path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in (build / "hostovl/files").iterdir()
        }
        top = (site.layout.artifacts / "current/netboot").resolve()
        self.tree = {
            path.relative_to(top).as_posix(): path.lstat().st_ino
            for path in top.rglob("*")
            if path.is_symlink() or path.is_file()
        }
        self.texts = {
            name: os.readlink(top / name) if (top / name).is_symlink() else None
            for name in self.tree
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = write_netboot_site(tmp_path_factory.mktemp("hosts"))
    made.path("recipes/hosts.toml").write_text(hosts_toml())
    made.run()
    return made


def after(site, **changed):
    """What was built before and after the change."""
    site.path("recipes/hosts.toml").write_text(hosts_toml())
    site.run()
    before = Built(site)
    site.path("recipes/hosts.toml").write_text(hosts_toml(**changed))
    done = site.run()
    assert done == {"inventory", "hostovl", "netboot", "netconf", "generation", "promote"}
    return before, Built(site)


def names_that_differ(before, after):
    """Names of the tree that are another file or link than before."""
    names = before.tree.keys() | after.tree.keys()
    return {name for name in names if before.tree.get(name) != after.tree.get(name)}


def test_a_value_changes_one_archive(site):
    before, now = after(site, values='{ rack = "9" }')
    for name in ("inventory/inventory.jsonl", *INDEXES[:1], *INDEXES[2:]):
        assert len(before.lines[name] - now.lines[name]) == 1
        assert len(now.lines[name] - before.lines[name]) == 1
    # Of the servers' configurations only the inventory that lies beside them.
    (line,) = now.lines["netconf/index.jsonl"] - before.lines["netconf/index.jsonl"]
    assert b'"path":"conf/inventory.jsonl"' in line
    archive = f"{CHANGED}.apkovl.tar.gz"
    assert now.archives.keys() == before.archives.keys()
    assert {name for name in now.archives if now.archives[name] != before.archives[name]} == {
        archive
    }
    differing = names_that_differ(before, now)
    assert {name for name in differing if "apkovl" in name} == {
        f"http/apkovl/{MAC}.apkovl.tar.gz",
        f"nfs/tiny/apkovl/{MAC}.apkovl.tar.gz",
    } & now.tree.keys()
    assert not [name for name in differing if now.texts.get(name) is not None]


def test_an_option_changes_its_links_and_adds_its_configurations(site):
    before, now = after(site, options='["debug"]')
    gone = before.lines["netboot/index.jsonl"] - now.lines["netboot/index.jsonl"]
    new = now.lines["netboot/index.jsonl"] - before.lines["netboot/index.jsonl"]
    of_host = {line for line in gone | new if CARD.encode() in line or MAC.encode() in line}
    added = new - of_host
    assert not gone - of_host
    assert of_host
    assert 0 < len(added) <= 6  # the texts of that role, one a loader and kind
    links = {
        name
        for name in names_that_differ(before, now)
        if now.texts.get(name) is not None or before.texts.get(name) is not None
    }
    assert links
    assert all(CARD in name or MAC in name or "+" in name for name in links)


def test_an_unchanged_tree_is_shared_down_to_links(site):
    before, now = after(site, address='"10.20.9.200"')
    differing = names_that_differ(before, now)
    assert not [name for name in differing if now.texts.get(name) is not None]
    assert {name.split("/")[0] for name in differing} <= {"INDEX.jsonl", "conf", "tftp", "http"}
    # What differs elsewhere than in server configurations are texts that name their generation.
    elsewhere = [name for name in differing if not name.startswith(("conf/", "INDEX"))]
    top = site.layout.artifacts / "current/netboot"
    identifier = os.path.basename(os.readlink(site.layout.artifacts / "current"))
    assert elsewhere
    assert all(identifier in (top / name).read_text() for name in elsewhere)
