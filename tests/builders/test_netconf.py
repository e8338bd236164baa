"""netconf: one index with every configuration, and the inventory beside them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace

import pytest
from network_samples import IMAGES, INVENTORY, NETWORK, all_confs

from bootsmith.builders.netconf import build_netconf
from bootsmith.errors import FormatError, RecipeError
from bootsmith.formats.inventory import write_inventory
from bootsmith.formats.netboot_index import read_netboot_index


@pytest.fixture
def build(tmp_path):
    """Builds in a directory of steps' outputs; the entries by path."""

    def built(inventory=INVENTORY, images=IMAGES, network=NETWORK):
        path = tmp_path / "inventory/inventory.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(write_inventory(inventory))
        output = tmp_path / "netconf/index.jsonl"
        build_netconf(
            inventory=path,
            network=asdict(network),
            images=images,
            build=tmp_path,
            output=output,
        )
        entries = read_netboot_index(output.read_bytes(), subject=output)
        return {entry.path: entry for entry in entries}

    return built


def test_every_configuration_is_published(build):
    entries = build()
    inventory = entries.pop("conf/inventory.jsonl")
    assert {path: entry.content for path, entry in entries.items()} == {
        f"conf/{name}": text for name, text in all_confs().items()
    }
    content = write_inventory(INVENTORY)
    assert (inventory.file, inventory.sha256, inventory.size_bytes) == (
        "inventory/inventory.jsonl",
        hashlib.sha256(content).hexdigest(),
        len(content),
    )


def test_what_says_its_generation_is_a_text(build):
    assert {path for path, entry in build().items() if entry.text} == {
        "conf/db.20.10.in-addr.arpa",
        "conf/db.boot.example",
        "conf/named.conf",
        "conf/nbd-server.conf",
    }


def test_without_images_there_is_nothing_for_nbd_server(build):
    assert "conf/nbd-server.conf" not in build(images=())


def test_a_changed_host_changes_only_what_names_hosts(build):
    before = build()
    renamed = replace(INVENTORY.hosts[0], name="db-2")
    after = build(replace(INVENTORY, hosts=(renamed, *INVENTORY.hosts[1:])))
    assert {path for path in before if before[path] != after[path]} == {
        "conf/dhcpd.conf",
        "conf/dnsmasq-hosts",
        "conf/inventory.jsonl",
        "conf/kea-dhcp4.json",
    }


def test_what_is_refused_leaves_the_index_as_it_was(build, tmp_path):
    build()
    before = (tmp_path / "netconf/index.jsonl").read_bytes()
    bad = replace(INVENTORY.hosts[0], name="db_1")
    with pytest.raises(RecipeError) as caught:
        build(replace(INVENTORY, hosts=(bad, *INVENTORY.hosts[1:])))
    assert str(caught.value) == (
        "recipes/hosts.toml: host 'db_1': a DNS zone cannot hold this name; expected lower-case "
        "letters, digits and inner dashes, at most 63, got 'db_1'\n"
        "  next: give the host another name"
    )
    assert (tmp_path / "netconf/index.jsonl").read_bytes() == before


def test_what_is_no_inventory_is_refused(tmp_path):
    path = tmp_path / "inventory.jsonl"
    path.write_text("hosts\n")
    with pytest.raises(FormatError) as caught:
        build_netconf(
            inventory=path,
            network=asdict(NETWORK),
            images=(),
            build=tmp_path,
            output=tmp_path / "index.jsonl",
        )
    assert str(caught.value) == (
        f"{path}: is not an inventory (Expecting value: line 1 column 1 (char 0))\n"
        "  next: build it again: doit inventory"
    )
