"""The table of generations, pins, and what lies among them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from bootsmith.errors import PublishError
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.formats.netboot_index import NetbootEntry
from bootsmith.generations.catalogue import read_catalogue
from bootsmith.generations.inspection import verify_generations
from bootsmith.generations.listing import age, list_generations
from bootsmith.generations.pins import pin_generations, read_pins, unpin_generations
from bootsmith.generations.published import Published, write_published
from bootsmith.generations.rollback import roll_back
from bootsmith.graph.layout import Layout
from bootsmith.graph.verbs import plan_verbs
from bootsmith.pages.report import write_report
from bootsmith.publish.contents import read_contents


def listed(fleet, *, as_json=False, now=1_000 + 3 * 86_400):
    fleet.said.clear()
    list_generations(artifacts=fleet.artifacts, as_json=as_json, say=fleet.say, clock=lambda: now)
    return json.loads(fleet.said[0]) if as_json else fleet.said


def pin(fleet, *ids, note=""):
    pin_generations(
        artifacts=fleet.artifacts, operands=ids, note=note, say=fleet.say, clock=lambda: 7
    )


def unpin(fleet, *ids):
    unpin_generations(artifacts=fleet.artifacts, operands=ids, say=fleet.say)


def test_the_table(fleet):
    fleet.release(pxerd=b"1" * 2_000_000)
    fleet.release(pxerd=b"2" * 3_000_000, clock=lambda: 1_000 + 2 * 86_400)
    fleet.assemble(kernel=b"k" * 2_000_000, clock=lambda: 1_000 + 3 * 86_400)
    pin(fleet, "2026-11-20.1", note=" before\n the move ")
    assert listed(fleet) == [
        "ID            AGE    SIZE     NEW  GATE    REVISION  MARKS",
        '2026-11-20.1  3 d  2.0 MB  2.0 MB  checks  -         pinned "before the move"',
        "2026-11-20.2  1 d  3.0 MB  3.0 MB  checks  -         current",
        "2026-11-20.3  now  5.0 MB  2.0 MB  -       -         candidate",
    ]


def test_as_json(fleet):
    fleet.release()
    found = listed(fleet, as_json=True)
    assert found["current"] == found["latest"] == "2026-11-20.1"
    assert found["candidate"] is None
    (row,) = found["generations"]
    size_bytes = len("kernel" + "pxerd" + "modloop") + manifest_bytes(fleet)
    assert row == {
        "id": "2026-11-20.1",
        "created_epoch": 1_000,
        "files": 4,
        "size_bytes": size_bytes,
        "new_bytes": size_bytes,
        "gate": "checks",
        "marks": ["current"],
        "note": "",
        "site_revision": None,
        "trouble": None,
    }


def manifest_bytes(fleet, identifier="2026-11-20.1"):
    return (fleet.generation(identifier) / "MANIFEST.json").stat().st_size


def test_equal_files_count_once(fleet):
    fleet.release(kernel=b"same", modloop=b"same")
    (row,) = listed(fleet, as_json=True)["generations"]
    assert row["size_bytes"] == row["new_bytes"] == len("same" + "pxerd") + manifest_bytes(fleet)


def test_every_verb_tells_the_same_size(fleet):
    fleet.entries = [
        fleet.made("tftp/loader", os.urandom(3_000)),
        NetbootEntry(path="http/kernel", part="kernel/virt/kernel"),
        NetbootEntry(path="tftp/cfg/web", content="KERNEL @generation@\n" * 100, text=True),
        NetbootEntry(path="tftp/cfg/default", link="web"),
    ]
    fleet.release(kernel=b"k" * 5_000, modloop=b"k" * 5_000)
    (row,) = listed(fleet, as_json=True)["generations"]
    contents = read_contents(read_catalogue(fleet.artifacts).find("current"))
    assert row["size_bytes"] == contents.content_bytes
    assert row["files"] == len(contents.files)
    on_disk = {
        path.stat().st_ino: path.stat().st_size
        for path in fleet.generation("2026-11-20.1").rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert row["size_bytes"] == sum(on_disk.values())
    fleet.said.clear()
    verify_generations(
        artifacts=fleet.artifacts, store=fleet.artifacts / "store", build=fleet.build,
        operands=(), everything=True, repair=False, say=fleet.say, progress=fleet.progress,
    )  # fmt: skip
    size = human_bytes(row["size_bytes"])
    assert fleet.said == [f"2026-11-20.1: {size} read, nothing wrong"]
    page = fleet.root / "report.html"
    write_report(
        name="example", root=fleet.root, artifacts=fleet.artifacts, steps=(), output=str(page),
        say=fleet.say, progress=fleet.progress,
    )  # fmt: skip
    assert f">{size}<" in page.read_text()


def test_nothing_yet(fleet):
    assert listed(fleet) == ["no generation yet; doit build makes the first"]


def test_what_was_rolled_back_from_is_marked(fleet):
    fleet.release(pxerd=b"1")
    fleet.release(pxerd=b"2")
    roll_back(artifacts=fleet.artifacts, to=None, say=fleet.say, progress=fleet.progress)
    assert [row["marks"] for row in listed(fleet, as_json=True)["generations"]] == [
        ["current"],
        ["rolled back"],
    ]


def test_where_it_is_published_is_marked(fleet):
    first = fleet.release(pxerd=b"1")
    second = fleet.release(pxerd=b"2")
    one = Published(place="/srv/boot", current=first, before=None, at_epoch=7)
    other = Published(place="root@rack:/srv/boot", current=second, before=first, at_epoch=7)
    write_published(fleet.artifacts, {"rack": other, "head": one, "attic": other})
    lines = listed(fleet)
    assert lines[1].endswith(" on head")
    assert lines[2].endswith(" current, on attic, on rack")


def test_what_cannot_be_read_is_said_and_the_rest_listed(fleet):
    fleet.release(pxerd=b"1")
    fleet.release(pxerd=b"2")
    newer = fleet.generation("2026-11-20.1") / "MANIFEST.json"
    newer.write_text('{"schema": 9}')
    (fleet.artifacts / "generations/copy of 1").mkdir()
    (fleet.artifacts / "generations/2026-11-20.3").write_text("a file")
    (fleet.artifacts / "generations/2026-11-20.4").mkdir()
    lines = listed(fleet)
    assert [line.split()[0] for line in lines[1:4]] == [
        "2026-11-20.1",
        "2026-11-20.2",
        "2026-11-20.4",
    ]
    assert lines[1].split()[1] == "?"
    assert lines[1].endswith("unreadable")
    assert lines[4:] == [
        "generations/2026-11-20.3: not a generation; left alone",
        "generations/copy of 1: not a generation; left alone",
        "generations/2026-11-20.1: MANIFEST.json was written by another version of bootsmith, "
        "got schema 9; left alone",
        "generations/2026-11-20.4: MANIFEST.json cannot be read (No such file or directory); "
        "left alone",
    ]


def test_a_copy_under_another_id_is_not_taken_for_one(fleet):
    fleet.release()
    shutil.copytree(fleet.generation("2026-11-20.1"), fleet.generation("2026-11-20.7"))
    assert listed(fleet)[-1] == (
        "generations/2026-11-20.7: MANIFEST.json is of '2026-11-20.1'; left alone"
    )


def test_ages():
    assert [age(seconds) for seconds in (-5, 59, 60, 7_199, 86_399, 86_400)] == [
        "now",
        "now",
        "1 min",
        "1 h",
        "23 h",
        "1 d",
    ]


# --- pins ----------------------------------------------------------------------------------


def test_pin_and_unpin(fleet):
    fleet.release(pxerd=b"1")
    fleet.release(pxerd=b"2")
    pin(fleet, "current", "2026-11-20.1", note="why")
    assert sorted(read_pins(fleet.artifacts)) == ["2026-11-20.1", "2026-11-20.2"]
    pin(fleet, "2026-11-20.1", note="another reason")
    assert read_pins(fleet.artifacts)["2026-11-20.1"].note == "another reason"
    unpin(fleet, "2026-11-20.1")
    assert list(read_pins(fleet.artifacts)) == ["2026-11-20.2"]


def test_one_unknown_word_pins_nothing(fleet):
    fleet.release()
    with pytest.raises(PublishError, match="is not a generation here"):
        pin(fleet, "2026-11-20.1", "2026-11-20.2")
    assert read_pins(fleet.artifacts) == {}


@pytest.mark.parametrize("verb", [pin, unpin])
def test_no_word_is_refused(fleet, verb):
    with pytest.raises(PublishError, match="which generation"):
        verb(fleet)


def test_unpinning_what_is_not_pinned_names_what_is(fleet):
    fleet.release(pxerd=b"1")
    fleet.release(pxerd=b"2")
    pin(fleet, "2026-11-20.1")
    with pytest.raises(PublishError) as caught:
        unpin(fleet, "2026-11-20.2")
    assert str(caught.value) == ("2026-11-20.2: is not pinned\n  next: pinned are: 2026-11-20.1")


def test_a_pin_of_nothing_is_said_and_can_be_taken_away(fleet):
    fleet.release()
    pin(fleet, "2026-11-20.1")
    (fleet.artifacts / "generations/2026-11-20.1").rename(fleet.root / "away")
    assert listed(fleet)[-1] == "2026-11-20.1 is pinned and not there; doit unpin 2026-11-20.1"
    unpin(fleet, "2026-11-20.1")
    assert read_pins(fleet.artifacts) == {}


@pytest.mark.parametrize(
    "content,trouble",
    [
        (b"{\n", "line 2: not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "it is no table of generations"),
        (b'{"2026-11-20.1": 3}', "'2026-11-20.1' does not have a note and a time"),
        (b'{"2026-11-20.1": {"note": "x"}}', "'2026-11-20.1' does not have a note and a time"),
        (
            b'{"2026-11-20.1": {"note": "x", "at_epoch": "y"}}',
            "'2026-11-20.1' does not have a note and a time",
        ),
    ],
)
def test_damaged_pins_are_one_clear_error(fleet, content, trouble):
    path = fleet.artifacts / "pins.json"
    path.write_bytes(content)
    with pytest.raises(PublishError) as caught:
        read_pins(fleet.artifacts)
    assert str(caught.value) == (
        f"{path}: is damaged ({trouble})\n"
        f"  next: remove it (rm {path}) and pin again what shall be kept"
    )


# --- through doit --------------------------------------------------------------------------------


def test_doit_lists_and_pins_with_broken_recipes(fleet):
    fleet.release()
    # The option behind the id, as people write it.
    assert fleet.doit("pin", "2026-11-20.1", "--note", "the old name").returncode == 0
    run = fleet.doit("generations")
    assert run.returncode == 0
    assert run.stdout.splitlines()[1].endswith('current, pinned "the old name"')
    assert json.loads(fleet.doit("generations", "--json").stdout)["schema"] == 1
    assert fleet.doit("unpin", "current").stdout == "unpinned 2026-11-20.1\n"


def test_a_wrong_option_is_one_message(fleet):
    fleet.release()
    run = fleet.doit("pin", "2026-11-20.1", "--not", "x", "--nope")
    assert run.returncode == 2
    assert "doit pin: option --nope not recognized\n  next: doit pin --help\n" in run.stderr


@pytest.mark.parametrize("verb", plan_verbs(Layout(Path("site"))), ids=lambda verb: verb.name)
def test_each_verb_says_how_it_is_used(verb):
    assert verb.usage.startswith(f"usage: doit {verb.name}")
    assert f"\nexamples:\n  doit {verb.name}" in verb.usage


def test_doit_prints_it(fleet):
    run = fleet.doit("unpin", "--help")
    assert run.returncode == 0
    assert run.stdout == (
        "usage: doit unpin ID...\n\nlet pinned generations be pruned again\n\n"
        "examples:\n  doit unpin 2026-11-20.1\n"
    )
