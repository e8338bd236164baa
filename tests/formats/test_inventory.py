"""The inventory as steps hand it on."""

from __future__ import annotations

import json

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.inventory import (
    Host,
    Inventory,
    Role,
    Rule,
    merged_words,
    read_inventory,
    write_inventory,
)
from bootsmith.site import models

INVENTORY = Inventory(
    unknown=Role(template="default", media="nfs"),
    rules=(Rule(prefix="52:54:00", template="web", options=("quiet",), install="debian"),),
    hosts=(
        Host(name="a", mac="52:54:00:00:00:01", template="web"),
        Host(
            name="b",
            mac="52:54:00:00:00:02",
            template="web",
            boot="disk",
            loader="ipxe",
            uefi_loader="grub",
            address="10.20.0.2",
            management="10.30.0.2",
            overlays=("x", "y"),
            values={"rack": "r2"},
        ),
    ),
)


def test_there_and_back():
    content = write_inventory(INVENTORY)
    assert read_inventory(content, subject="x") == INVENTORY


def test_one_object_a_line_without_what_is_default():
    lines = write_inventory(INVENTORY).decode().splitlines()
    assert [list(json.loads(line)) for line in lines] == [
        ["schema"],
        ["unknown"],
        ["rule"],
        ["host"],
        ["host"],
    ]
    assert lines[1] == '{"unknown":{"media":"nfs","template":"default"}}'
    assert lines[3] == '{"host":{"mac":"52:54:00:00:00:01","name":"a","template":"web"}}'


def test_an_apkovl_of_its_own_is_for_overlays_or_values():
    plain, own = INVENTORY.hosts
    assert not plain.has_own_apkovl
    assert own.has_own_apkovl


def test_words_are_merged_in_the_order_of_their_first_use():
    assert merged_words(("a", "b"), ("b", "c"), (), ("a",)) == ("a", "b", "c")


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"", "another schema"),
        (b'{"schema":2}\n', "another schema"),
        (b'{"schema":1}\n', "no role of unknown machines"),
        (b"[", "Expecting value: line 1 column 2 (char 1)"),
        (
            b'{"schema":1}\n{"host":{"name":"a"},"more":1}\n',
            "too many values to unpack (expected 1)",
        ),
    ],
)
def test_what_is_no_inventory(content, problem):
    with pytest.raises(FormatError) as caught:
        read_inventory(content, subject="inventory.jsonl")
    assert str(caught.value) == (
        f"inventory.jsonl: is not an inventory ({problem})\n  next: build it again: doit inventory"
    )


def test_a_host_without_a_template_is_refused():
    content = b'{"schema":1}\n{"host":{"mac":"x","name":"a"}}\n{"unknown":{"template":"t"}}\n'
    with pytest.raises(FormatError, match=r"missing 1 required keyword-only argument: 'template'"):
        read_inventory(content, subject="x")


def test_recipes_offer_what_there_is():
    """The models have these lists again: importing the format for them would cost too much."""
    from bootsmith.formats import inventory

    for name in ("BOOTS", "BIOS_LOADERS", "UEFI_LOADERS", "MEDIA"):
        assert getattr(models, name) == getattr(inventory, name)
