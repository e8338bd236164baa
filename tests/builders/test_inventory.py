"""The inventory's step."""

from __future__ import annotations

import os

import pytest
from inventory_site import SITE, write_inventory_site

from bootsmith.builders.inventory import build_inventory
from bootsmith.errors import RecipeError
from bootsmith.formats.inventory import read_inventory
from bootsmith.graph.layout import Layout
from bootsmith.graph.plan_inventory import plan_inventory
from bootsmith.graph.step import Input, Output, Tree, unwrapped
from bootsmith.site.loader import load_site

NEXT = "\n  next: "


@pytest.fixture
def root(tmp_path):
    return write_inventory_site(tmp_path)


# --- the step ----------------------------------------------------------------------------


def build(root):
    """Do what the step declares; the inventory's bytes."""
    [step] = plan_inventory(load_site(root), Layout(root))
    output = step.outputs[0]
    output.parent.mkdir(parents=True, exist_ok=True)
    build_inventory(**unwrapped(dict(step.arguments)))
    return output.read_bytes()


def test_the_step_reads_the_recipe_and_all_files_of_hosts(root):
    layout = Layout(root)
    [step] = plan_inventory(load_site(root), layout)
    assert step.label == "inventory"
    assert step.arguments["recipe"] == Input(root / "recipes/hosts.toml")
    assert step.arguments["imports"] == Tree(root / "recipes/hosts")
    assert step.arguments["output"] == Output(layout.build / "inventory/inventory.jsonl")


def test_declaring_reads_no_host(root):
    (root / "recipes/hosts.toml").write_text("this is no TOML")
    assert plan_inventory(load_site(root), Layout(root))


def test_a_site_without_netboot_has_no_such_step(root):
    (root / "recipes/site.toml").write_text(SITE)
    assert plan_inventory(load_site(root), Layout(root)) == ()


def test_hosts_of_the_recipe_and_of_its_files(root):
    inventory = read_inventory(build(root), subject="x")
    assert [(host.name, host.mac) for host in inventory.hosts] == [
        ("web-1", "aa:bb:02:10:00:05"),
        ("web-2", "aa:bb:02:10:00:09"),
    ]
    assert [rule.prefix for rule in inventory.rules] == ["aa:bb:01:10", "aa:bb:02:10"]
    assert inventory.unknown.template == "web"


def test_one_changed_host_changes_one_line(root):
    before = build(root).splitlines()
    more = root / "recipes/hosts/more.csv"
    more.write_text("name,mac,media\nweb-2,AA:BB:02:10:00:0A,http\n")
    after = build(root).splitlines()
    assert len(set(before) ^ set(after)) == 2
    assert len(after) == len(before)


def test_nothing_is_left_of_an_inventory_that_cannot_be(root):
    before = build(root)
    (root / "recipes/hosts/more.csv").write_text("name,mac\nweb-2,AA:BB:02:10:00:05\n")
    with pytest.raises(RecipeError) as caught:
        build(root)
    assert str(caught.value) == (
        "recipes/hosts/more.csv:2: mac: another host has this MAC address; expected each MAC "
        "address once, got aa:bb:02:10:00:05, also at recipes/hosts.toml:7: host.web-1.mac"
        f"{NEXT}correct or remove one of the two"
    )
    output = Layout(root).build / "inventory/inventory.jsonl"
    assert output.read_bytes() == before
    assert os.listdir(output.parent) == ["inventory.jsonl"]
