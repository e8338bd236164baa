"""doit verify --repair: each kind of file comes back, wherever its content is on record."""

from __future__ import annotations

import os
import shutil

import pytest

from bootsmith.errors import PublishError
from bootsmith.files.digest import sha256_of
from bootsmith.files.manifest import read_manifest
from bootsmith.formats.netboot_index import NetbootEntry
from bootsmith.generations.inspection import verify_generations
from bootsmith.generations.verify import check_files

FIRST, SECOND = "2026-11-20.1", "2026-11-20.2"
INDEX = "netboot/INDEX.jsonl"
PACKAGE = "apks/x86_64/busybox-1.36.1-r29.apk"
STEP_INDEX = "artifacts/build/netboot/index.jsonl"
# A path of each kind, and of what it is mended.
KINDS = {
    "pxerd/virt/pxerd": "mended from artifacts/build/pxerd",
    "netboot/tftp/loader": "mended from artifacts/build/netboot/files/tftp/loader",
    "netboot/tftp/boot/vmlinuz": "mended from artifacts/build/kernel",
    "netboot/conf/exports": f"mended: made again from {STEP_INDEX}: conf/exports",
    f"netboot/nfs/tiny/{PACKAGE}": f"mended: made again from tiny.iso: {PACKAGE}",
    "netboot/tftp/cfg/web": "mended: written as the index has it",
    "netboot/tftp/cfg/default": "mended: leads to web",
    INDEX: "is mended: made again from what its steps have on record",
}


@pytest.fixture
def whole(medium):
    """A generation with a file of every kind."""
    medium.entries += [
        medium.made("tftp/loader", b"loader"),
        NetbootEntry(path="tftp/boot/vmlinuz", part="kernel/virt/kernel"),
        NetbootEntry(path="conf/exports", content="/srv/boot *(ro)\n"),
        NetbootEntry(path="tftp/cfg/web", content="KERNEL @generation@\n", text=True),
        NetbootEntry(path="tftp/cfg/default", link="web"),
    ]
    medium.details["kernel"] = {"set": "virt"}
    medium.steps = {"pxerd:virt": {}, "flavor:virt": {}, "netboot": {}}
    medium.release()
    return medium


def verify(fleet, *ids, everything=False, repair=False, recipes=True):
    """What was said before the closing line, and the error if one was raised."""
    fleet.said.clear()
    error = None
    try:
        verify_generations(
            artifacts=fleet.artifacts,
            store=fleet.artifacts / "store",
            build=fleet.build,
            operands=ids,
            everything=everything,
            repair=repair,
            say=fleet.say,
            progress=fleet.progress,
            netboot=fleet.netboot_sources() if recipes else None,
        )
    except PublishError as caught:
        error = caught
    return "\n".join(fleet.said[:-1]).replace(f"{fleet.root}/", ""), error


def rot(fleet, path):
    """Change one byte, as a disk would: what is a link into the store is damaged there too."""
    if path.is_symlink():
        path.unlink()
        return
    content = path.read_bytes()
    fleet.damage(path, bytes([content[0] ^ 1]) + content[1:])
    path.chmod(0o444)


@pytest.mark.parametrize("path", KINDS)
def test_each_kind_comes_back(whole, path):
    rot(whole, whole.generation(FIRST) / path)
    said, error = verify(whole)
    assert f"{FIRST}/{path}: is" in said
    assert error.hint == f"doit verify --repair {FIRST}"
    said, error = verify(whole, repair=True)
    assert f"\n  {KINDS[path]}" in said
    assert (error is None) == (path != INDEX)  # behind that one the tree is looked at
    assert verify(whole, everything=True) == ("", None)
    check_files(whole.generation(FIRST), read_manifest(whole.generation(FIRST)))


def test_all_at_once(whole):
    for path in KINDS:
        rot(whole, whole.generation(FIRST) / path)
    verify(whole, repair=True)
    assert verify(whole, repair=True)[1] is None
    assert verify(whole, everything=True) == ("", None)


@pytest.mark.parametrize("path", KINDS)
def test_a_build_links_nothing_that_is_damaged(whole, path):
    """It mends the store, and leaves what is published to whoever repairs it."""
    rot(whole, whole.generation(FIRST) / path)
    objects = whole.artifacts.glob("store/*/*")
    damaged = [one.relative_to(whole.root) for one in objects if sha256_of(one) != one.name]
    whole.said.clear()
    assert whole.assemble(modloop=b"new") == SECOND
    advice = "generations may hold what was there: doit verify --all --repair"
    assert whole.said == [f"{name} was damaged, and made again; {advice}" for name in damaged]
    assert bool(damaged) == ("/cfg/" not in path)
    assert verify(whole, SECOND) == ("", None)
    assert verify(whole, FIRST)[1] is not None
    verify(whole, FIRST, repair=True)
    verify(whole, FIRST, repair=True)  # what an index names comes behind it
    assert verify(whole, everything=True) == ("", None)


def test_a_build_says_how_many_it_found(whole):
    for path in ("pxerd/virt/pxerd", "netboot/conf/exports", "netboot/tftp/loader"):
        rot(whole, whole.generation(FIRST) / path)
    whole.said.clear()
    whole.assemble(modloop=b"new")
    (line,) = whole.said
    assert " and 2 more of the store were damaged, and made again; " in line
    whole.said.clear()
    whole.assemble(modloop=b"newer")
    assert whole.said == []


def test_a_lost_text_of_a_step_comes_back_in_every_generation(whole):
    whole.assemble(modloop=b"new")
    rot(whole, whole.generation(FIRST) / "netboot/conf/exports")
    said, error = verify(whole, everything=True, repair=True)
    assert said.count("mended: made again") == 1
    assert said.count("mended with the one above") == 2
    assert error is None
    places = [whole.generation(name) / "netboot/conf/exports" for name in (FIRST, SECOND)]
    assert places[0].read_text() == "/srv/boot *(ro)\n"
    assert places[0].samefile(places[1])


def test_an_iso_that_is_gone_is_asked_for(whole):
    package = whole.generation(FIRST) / f"netboot/nfs/tiny/{PACKAGE}"
    rot(whole, package)
    iso = whole.media["tiny"]["iso"]
    away = iso.rename(iso.with_name("away.iso"))
    said, error = verify(whole, repair=True)
    advice = (
        "\n  no good copy is left: get the ISO again, then doit iso:tiny medium:tiny; "
        f"then doit verify --repair {FIRST} takes it from there\n"
    )
    assert said.count(advice) == 2
    assert said.endswith("\n  comes back with the file named above")
    assert error.hint == "do what stands beside each, then doit verify again"
    away.rename(iso)
    assert verify(whole, repair=True)[1] is None


def test_an_iso_with_other_bytes_is_not_believed(whole):
    package = whole.generation(FIRST) / f"netboot/nfs/tiny/{PACKAGE}"
    rot(whole, package)
    iso = whole.media["tiny"]["iso"]
    iso.write_bytes(iso.read_bytes().replace(b"apkapkapk", b"apkapkAPK"))
    said, error = verify(whole, repair=True)
    assert "get the ISO again" in said
    assert error is not None
    assert not list(whole.artifacts.rglob("*.partial"))


def test_the_step_of_a_file_is_named_by_its_own_name_not_by_the_trees(whole):
    rot(whole, whole.generation(FIRST) / "netboot/tftp/boot/vmlinuz")
    (whole.build / "kernel").unlink()
    said, _ = verify(whole, repair=True)
    assert said.count("no good copy is left: if doit flavor:virt makes these bytes again") == 2


def test_without_recipes_what_is_a_file_comes_back_and_the_rest_is_said(whole):
    for path in ("netboot/conf/exports", "pxerd/virt/pxerd", INDEX):
        rot(whole, whole.generation(FIRST) / path)
    said, error = verify(whole, repair=True, recipes=False)
    assert "mended from artifacts/build/pxerd" in said
    assert f"{INDEX}: is damaged" in said
    assert "no good copy is left: if doit build makes these bytes again" in said
    assert error is not None


def test_an_index_of_older_records_is_not_made_of_newer_ones(whole):
    index = whole.generation(FIRST) / INDEX
    rot(whole, index)
    whole.entries.append(NetbootEntry(path="conf/more", content="more"))
    said, error = verify(whole, FIRST, repair=True)
    assert "no good copy is left" in said
    assert error is not None


def test_lost_indexes_of_steps_disturb_nothing_else(whole):
    rot(whole, whole.generation(FIRST) / "pxerd/virt/pxerd")
    rot(whole, whole.generation(FIRST) / "netboot/conf/exports")
    sources = whole.netboot_sources()
    shutil.rmtree(whole.build / "netboot")
    whole.netboot_sources = lambda: sources
    said, error = verify(whole, repair=True)
    assert "mended from artifacts/build/pxerd" in said
    assert "if doit build makes these bytes again" in said
    assert error is not None


# --- a manifest, and what is not ours ------------------------------------------------------------


def test_the_only_generation_with_a_damaged_manifest_gives_way_to_a_new_one(whole):
    whole.damage(whole.generation(FIRST) / "MANIFEST.json", b"{")
    said, _ = verify(whole, repair=True)
    assert "go to another first (doit build makes it), then remove it" in said
    assert whole.release() == SECOND
    assert whole.current == SECOND
    assert verify(whole) == ("", None)
    said, error = verify(whole, everything=True)
    assert f"it cannot be mended: remove it (rm -rf artifacts/generations/{FIRST})" in said
    assert error.hint == "do what stands beside it"  # --repair would not help


def test_where_there_is_another_it_is_gone_to(whole):
    whole.release(modloop=b"new")
    whole.damage(whole.generation(SECOND) / "MANIFEST.json", b"{")
    assert "go to another first (doit rollback), then" in verify(whole, repair=True)[0]


def test_a_foreign_file_is_to_be_removed_and_nothing_to_be_repaired(whole):
    junk = whole.generation(FIRST) / "netboot/tftp/my notes"
    junk.write_text("mine")
    advice = f"remove it if it is nothing of yours (rm -r '{junk}')"
    said, error = verify(whole)
    shown = advice.replace(f"{whole.root}/", "")
    name = f"artifacts/generations/{FIRST}/netboot/tftp/my notes"
    assert said == f"{name}: is not in the index of the netboot tree\n  {shown}"
    assert error.hint == advice
    said, error = verify(whole, repair=True)
    assert said.endswith(f"\n  left there: {shown}")
    assert junk.read_text() == "mine"


def test_several_foreign_files_and_what_can_be_repaired_besides(whole):
    for name in ("kernel/notes", "more"):
        (whole.generation(FIRST) / name).write_text("mine")
    said, error = verify(whole)
    assert said.count("remove it if it is nothing of yours") == 2
    assert error.hint == "do what stands below each, then doit verify again"
    os.chmod(whole.generation(FIRST) / "pxerd/virt/pxerd", 0o600)
    _, error = verify(whole)
    assert error.hint == f"doit verify --repair {FIRST}, then remove what it leaves"
