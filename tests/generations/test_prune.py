"""Pruning: what stays, what goes, what that frees, and what a kill leaves."""

from __future__ import annotations

import os
import shutil

import pytest

from bootsmith.errors import PublishError
from bootsmith.files.atomic import collect_partials
from bootsmith.files.manifest import read_manifest
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.generations.history import generation_ids, read_moves
from bootsmith.generations.pins import pin_generations
from bootsmith.generations.prune import prune_generations
from bootsmith.generations.rollback import roll_back
from bootsmith.generations.verify import check_files


def prune(fleet, keep=1, *, default=None, dry_run=False):
    fleet.said.clear()
    collect_partials(fleet.artifacts)  # as taking the lock of runs does
    prune_generations(
        artifacts=fleet.artifacts,
        store=fleet.artifacts / "store",
        evidence=fleet.artifacts / "evidence",
        keep=keep,
        default_keep=default,
        dry_run=dry_run,
        say=fleet.say,
    )
    return fleet.said


def objects(fleet):
    return {path.name for path in fleet.artifacts.glob("store/??/*")}


def used(fleet):
    return {
        part.sha256
        for name in generation_ids(fleet.artifacts)
        for part in read_manifest(fleet.generation(name)).artifacts
    }


def everything(fleet):
    return sorted(str(path.relative_to(fleet.artifacts)) for path in fleet.artifacts.rglob("*"))


@pytest.fixture
def five(fleet):
    for number in b"12345":
        name = fleet.release(pxerd=bytes([number]) * 10_000)
        evidence = fleet.artifacts / "evidence" / name / "key-uefi"
        evidence.mkdir(parents=True)
        (evidence / "console.log").write_text("booted")
    (fleet.artifacts / "evidence/accelerator.json").write_text("{}")
    return fleet


def test_the_newest_stay_and_where_rollback_goes(five):
    said = prune(five)
    assert generation_ids(five.artifacts) == ["2026-11-20.4", "2026-11-20.5"]
    assert said[:4] == [
        "kept 2026-11-20.4: doit rollback would go there",
        "removed 2026-11-20.1",
        "removed 2026-11-20.2",
        "removed 2026-11-20.3",
    ]
    assert said[4].endswith(": 3 generations, 3 objects of the store")
    assert objects(five) == used(five)
    roll_back(artifacts=five.artifacts, to=None, say=five.say, progress=five.progress)


def test_all_that_belonged_to_them_goes(five):
    prune(five)
    assert not any("2026-11-20.1" in path for path in everything(five))
    assert sorted(os.listdir(five.artifacts / "evidence")) == [
        "2026-11-20.4",
        "2026-11-20.5",
        "accelerator.json",
    ]
    assert sorted(os.listdir(five.artifacts / "pxerd/virt")) == [
        "2026-11-20.4",
        "2026-11-20.5",
        "current",
    ]


def test_pinned_current_and_candidate_stay(five):
    pin_generations(artifacts=five.artifacts, operands=["2026-11-20.2"], note="why", say=five.say)
    roll_back(artifacts=five.artifacts, to="2026-11-20.1", say=five.say, progress=five.progress)
    five.assemble(pxerd=b"6")
    os.replace(five.artifacts / "candidate", five.artifacts / "aside")
    five.assemble(pxerd=b"7")
    os.replace(five.artifacts / "aside", five.artifacts / "candidate")  # as if .6 still were
    said = prune(five)
    assert generation_ids(five.artifacts) == [f"2026-11-20.{n}" for n in (1, 2, 6, 7)]
    assert said[:3] == [
        "kept 2026-11-20.1: current",
        "kept 2026-11-20.2: pinned (why)",
        "kept 2026-11-20.6: candidate",
    ]


def test_what_was_rolled_back_from_is_remembered(five):
    roll_back(artifacts=five.artifacts, to=None, say=five.say, progress=five.progress)
    roll_back(artifacts=five.artifacts, to=None, say=five.say, progress=five.progress)
    prune(five)
    (five.build / "promotion.json").unlink()
    five.promote()
    assert five.current == "2026-11-20.3"


def disk_bytes(fleet):
    """What the files of the store, generations and evidence occupy, each inode once."""
    found = {
        os.lstat(path).st_ino: os.lstat(path).st_blocks * 512
        for place in ("store", "generations", "evidence")
        for path in (fleet.artifacts / place).rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    return sum(found.values())


def test_the_figure_is_what_the_disk_gets_back(five):
    before_bytes = disk_bytes(five)
    planned = prune(five, dry_run=True)[-1]
    said = prune(five)[-1]
    freed_bytes = before_bytes - disk_bytes(five)
    assert freed_bytes > 3 * 10_000
    assert said.startswith(f"freed {human_bytes(freed_bytes)}:")
    assert planned.removeprefix("would free") == said.removeprefix("freed")


def test_a_dry_run_changes_nothing(five):
    before = everything(five)
    assert "would remove 2026-11-20.1" in prune(five, dry_run=True)
    assert everything(five) == before
    assert len(read_moves(five.artifacts)) == 5


def test_twice_is_as_good_as_once(five):
    prune(five)
    before = everything(five)
    assert prune(five)[-1] == "freed 0 B: 0 generations, 0 objects of the store"
    assert everything(five) == before


def test_an_open_file_can_be_read_to_its_end(five):
    with open(five.generation("2026-11-20.1") / "pxerd/virt/pxerd", "rb") as reader:
        prune(five)
        assert reader.read() == b"1" * 10_000


def test_the_site_says_how_many(five):
    prune(five, None, default=4)
    assert len(generation_ids(five.artifacts)) == 4


@pytest.mark.parametrize(
    "keep,said",
    [
        (None, "doit prune: the recipes cannot be read, so how many to keep is not known"),
        (0, "doit prune --keep: not a number of generations; expected at least 1, got 0"),
    ],
)
def test_no_sensible_number_removes_nothing(five, keep, said):
    with pytest.raises(PublishError) as caught:
        prune(five, keep)
    assert caught.value.message == said
    assert len(generation_ids(five.artifacts)) == 5


def test_what_cannot_be_read_stays_with_all_it_holds(five):
    (five.generation("2026-11-20.1") / "MANIFEST.json").write_text('{"schema": 9}')
    stray = five.artifacts / "generations/2025"
    stray.mkdir()
    said = prune(five)
    assert "2026-11-20.1" in generation_ids(five.artifacts)
    assert (five.generation("2026-11-20.1") / "pxerd/virt/pxerd").stat().st_nlink == 2
    assert stray.is_dir()
    assert any(line.startswith("generations/2026-11-20.1: MANIFEST.json was") for line in said)


def test_damaged_pins_stop_it(five):
    (five.artifacts / "pins.json").write_text("{")
    with pytest.raises(PublishError, match="is damaged"):
        prune(five)
    assert len(generation_ids(five.artifacts)) == 5


# --- killed half-way -----------------------------------------------------------------------


class Killed(BaseException):
    pass


def kill_at(monkeypatch, function, call):
    """The `call`-th call of a function of os or shutil does not happen any more."""
    module, name = function
    real, calls = getattr(module, name), []

    def counted(*words, **more):
        calls.append(words)
        if len(calls) == call:
            raise Killed
        return real(*words, **more)

    monkeypatch.setattr(module, name, counted)


@pytest.mark.parametrize(
    "function,call",
    [
        ((os, "rename"), 1),
        ((os, "rename"), 2),
        ((os, "unlink"), 1),
        ((os, "unlink"), 4),
        ((os, "rmdir"), 2),
        ((shutil, "rmtree"), 1),
        ((shutil, "rmtree"), 5),
    ],
)
def test_a_kill_leaves_complete_generations_and_the_next_run_finishes(
    five, monkeypatch, function, call
):
    kill_at(monkeypatch, function, call)
    with pytest.raises(Killed):
        prune(five)
    monkeypatch.undo()
    left = generation_ids(five.artifacts)
    assert set(left) >= {"2026-11-20.4", "2026-11-20.5"}
    for name in left:
        check_files(five.generation(name), read_manifest(five.generation(name)))
    prune(five)
    assert generation_ids(five.artifacts) == ["2026-11-20.4", "2026-11-20.5"]
    assert objects(five) == used(five)
    assert not any("2026-11-20.1" in path or ".partial" in path for path in everything(five))


def test_doit_prunes_with_broken_recipes_if_told_how_many(five):
    run = five.doit("prune")
    assert run.returncode == 2
    assert "next: say it: doit prune --keep N" in run.stderr
    run = five.doit("prune", "--keep", "2", "--dry-run")
    assert "would remove 2026-11-20.3\n" in run.stdout
    assert five.doit("prune", "--keep", "2").returncode == 0
    assert len(generation_ids(five.artifacts)) == 2


def test_the_newest_that_has_booted_stays(five):
    path = five.artifacts / "history.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[:2] = [line.replace('"gate": "checks"', '"gate": "boot"') for line in lines[:2]]
    path.write_text("".join(lines))
    assert prune(five)[0] == "kept 2026-11-20.2: the newest that passed gate boot"
    assert generation_ids(five.artifacts) == ["2026-11-20.2", "2026-11-20.4", "2026-11-20.5"]


def test_a_second_pin_without_a_note_keeps_the_first(five):
    for note in ("why", ""):
        pin_generations(artifacts=five.artifacts, operands=[".2"], note=note, say=five.say)
    assert five.said == ["pinned 2026-11-20.2: why"] * 2
