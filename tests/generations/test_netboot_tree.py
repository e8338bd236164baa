"""The netboot tree of a generation: laid whole or not at all, shared, verified, mended, pruned."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil

import pytest

from bootsmith.errors import FormatError, PublishError
from bootsmith.files.manifest import read_manifest
from bootsmith.formats.inventory import Host, Inventory, Role, write_inventory
from bootsmith.formats.netboot_index import NetbootEntry
from bootsmith.formats.netboot_tree import read_netboot_tree
from bootsmith.generations.diff import diff_generations
from bootsmith.generations.inspection import verify_generations
from bootsmith.generations.listing import list_generations
from bootsmith.generations.prune import prune_generations
from bootsmith.generations.rollback import roll_back
from bootsmith.generations.verify import check_files

FIRST, SECOND, THIRD = "2026-11-20.1", "2026-11-20.2", "2026-11-20.3"
MACS = [f"52-54-01-02-00-{number:02x}" for number in range(5)]
CONFIG = "KERNEL ::generations/@generation@/netboot/tftp/boot/virt/vmlinuz\n"


def tree_entries(fleet, *, overlays=("one", "two")):
    """What steps would say of five machines, two of which have archives of their own."""
    entries = [
        fleet.made("tftp/loader", b"loader"),
        NetbootEntry(path="tftp/boot/virt/vmlinuz", part="kernel/virt/kernel"),
        NetbootEntry(path="http/boot/virt/vmlinuz", part="kernel/virt/kernel"),
        NetbootEntry(path="tftp/cfg/disk", content="LOCALBOOT 0\n"),
        NetbootEntry(path="tftp/cfg/template-web", content=CONFIG, text=True),
        NetbootEntry(path="tftp/cfg/default", link="template-web"),
        fleet.made("http/own/web.bin", b"of the template"),
    ]
    for number, mac in enumerate(MACS):
        entries.append(NetbootEntry(path=f"tftp/cfg/01-{mac}", link="template-web"))
        own = f"http/own/{mac.replace('-', ':')}.bin"
        if number < len(overlays):
            entries.append(fleet.made(own, f"of host {overlays[number]}".encode()))
        else:
            entries.append(NetbootEntry(path=own, link="web.bin"))
    return entries


@pytest.fixture
def netboot(fleet):
    fleet.entries = tree_entries(fleet)
    return fleet


def tree_of(fleet, identifier):
    return fleet.generation(identifier) / "netboot"


def inodes(top):
    return {
        path.relative_to(top).as_posix(): path.lstat().st_ino
        for path in top.rglob("*")
        if path.is_symlink() or path.is_file()
    }


# --- laying ----------------------------------------------------------------------------------


def test_files_links_and_texts_are_laid(netboot):
    top = tree_of(netboot, netboot.assemble())
    assert os.readlink(top / "tftp/cfg/default") == "template-web"
    assert (top / f"tftp/cfg/01-{MACS[3]}").read_text() == (
        f"KERNEL ::generations/{FIRST}/netboot/tftp/boot/virt/vmlinuz\n"
    )
    assert (top / "tftp/cfg/disk").read_text() == "LOCALBOOT 0\n"
    assert (top / "tftp/loader").read_bytes() == b"loader"
    assert (top / "http/own/52:54:01:02:00:00.bin").read_bytes() == b"of host one"
    kernel = netboot.generation(FIRST) / "kernel/virt/kernel"
    assert (top / "tftp/boot/virt/vmlinuz").samefile(kernel)
    assert (top / "http/boot/virt/vmlinuz").samefile(kernel)


def test_the_manifest_names_the_index_alone(netboot):
    netboot.assemble()
    manifest = read_manifest(netboot.generation(FIRST))
    (index,) = (part for part in manifest.artifacts if part.kind == "netboot")
    assert (index.path, index.name) == ("netboot/INDEX.jsonl", "netboot")
    assert index.details == {"files": 7, "links": 9, "texts": 1}
    content = (netboot.generation(FIRST) / index.path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == index.sha256
    tree = read_netboot_tree(content, subject="INDEX.jsonl")
    assert tree.texts == {"tftp/cfg/template-web": CONFIG}
    assert tree.files["tftp/boot/virt/vmlinuz"].sha256 == hashlib.sha256(b"kernel").hexdigest()


def test_servers_may_read_it_whatever_the_umask(netboot):
    umask = os.umask(0o077)
    try:
        netboot.assemble()
    finally:
        os.umask(umask)
    entries = [path for path in tree_of(netboot, FIRST).rglob("*") if not path.is_symlink()]
    assert {path.stat().st_mode & 0o777 for path in entries if path.is_dir()} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in entries if path.is_file()} == {0o444}


def test_the_same_tree_makes_no_new_generation_and_another_does(netboot):
    assert netboot.assemble() == FIRST
    assert netboot.assemble(date="2026-11-21") == FIRST
    netboot.entries = tree_entries(netboot, overlays=("one", "three"))
    assert netboot.assemble() == SECOND


def test_the_order_of_entries_and_where_files_came_from_decide_nothing(netboot):
    netboot.assemble()
    netboot.entries = [
        NetbootEntry(path=entry.path, content=b"loader".decode())
        if entry.path == "tftp/loader"
        else entry
        for entry in reversed(netboot.entries)
    ]
    assert netboot.assemble() == FIRST


def test_what_did_not_change_is_shared_down_to_links(netboot):
    netboot.assemble()
    netboot.entries = tree_entries(netboot, overlays=("one", "three"))
    netboot.assemble()
    before, after = inodes(tree_of(netboot, FIRST)), inodes(tree_of(netboot, SECOND))
    assert before.keys() == after.keys()
    assert {path for path in before if before[path] != after[path]} == {
        "INDEX.jsonl",
        "http/own/52:54:01:02:00:01.bin",
        "tftp/cfg/template-web",  # names its generation
    }


def test_a_new_host_adds_names_and_nothing_else(netboot):
    netboot.assemble()
    added = "tftp/cfg/01-52-54-01-02-00-77"
    netboot.entries = [*netboot.entries, NetbootEntry(path=added, link="template-web")]
    netboot.assemble()
    before, after = inodes(tree_of(netboot, FIRST)), inodes(tree_of(netboot, SECOND))
    assert after.keys() - before.keys() == {added}
    assert after[added] in before.values()


def test_a_link_that_was_tampered_with_is_not_handed_on(netboot):
    netboot.assemble()
    for name in ("default", *(f"01-{mac}" for mac in MACS)):
        link = tree_of(netboot, FIRST) / "tftp/cfg" / name
        link.unlink()
        link.symlink_to("../../../../../etc/passwd")
    netboot.assemble(pxerd=b"new")
    assert os.readlink(tree_of(netboot, SECOND) / "tftp/cfg/default") == "template-web"
    check_files(netboot.generation(SECOND), read_manifest(netboot.generation(SECOND)))


@pytest.mark.parametrize("number", [errno.EMLINK, errno.EPERM])
def test_where_a_link_can_have_no_second_name_it_is_made_anew(netboot, monkeypatch, number):
    netboot.assemble()
    link, names = os.link, []

    def full(source, target, **options):
        if options.get("follow_symlinks", True):
            return link(source, target, **options)
        names.append(target)
        if number == errno.EPERM or len(names) % 3 == 0:
            raise OSError(number, os.strerror(number))
        return link(source, target, **options)

    monkeypatch.setattr(os, "link", full)
    netboot.assemble(pxerd=b"new")
    assert len(names) > 5
    assert {os.readlink(path) for path in tree_of(netboot, SECOND).rglob("01-*")} == {
        "template-web"
    }
    check_files(netboot.generation(SECOND), read_manifest(netboot.generation(SECOND)))


def test_a_site_without_netboot_has_no_tree_and_may_get_one(fleet):
    fleet.release()
    assert not tree_of(fleet, FIRST).exists()
    assert not (fleet.artifacts / "netboot").exists()
    fleet.entries = tree_entries(fleet)
    fleet.release()
    assert os.readlink(fleet.artifacts / "netboot/current") == "../current/netboot"
    assert os.readlink(fleet.artifacts / f"netboot/{SECOND}") == f"../generations/{SECOND}/netboot"
    assert (fleet.artifacts / "netboot/current/tftp/loader").read_bytes() == b"loader"
    assert verify(fleet, everything=True) == ([], 0)
    fleet.entries = None
    fleet.release()
    assert os.listdir(fleet.artifacts / "netboot") == [SECOND]
    assert verify(fleet, everything=True) == ([], 0)


# --- files of an ISO ---------------------------------------------------------------------------


def test_files_of_an_iso_go_from_it_into_the_store(medium):
    top = tree_of(medium, medium.assemble())
    for way in ("http", "nfs"):
        assert (top / way / "tiny/apks/x86_64/busybox-1.36.1-r29.apk").read_bytes() == b"apk" * 999
        assert (top / way / "tiny/apks/.boot_repository").read_bytes() == b""
    assert not list(medium.build.rglob("*.apk"))


def test_they_are_copied_once(medium):
    medium.assemble()
    medium.media["tiny"]["iso"].unlink()
    medium.assemble(pxerd=b"new")
    top = tree_of(medium, SECOND)
    assert (top / "nfs/tiny/apks/x86_64/busybox-1.36.1-r29.apk").read_bytes() == b"apk" * 999


def test_a_damaged_object_is_copied_again(medium):
    medium.assemble()
    wanted = hashlib.sha256(b"apk" * 999).hexdigest()
    medium.damage(medium.artifacts / "store" / wanted[:2] / wanted)
    assert medium.assemble() == SECOND
    check_files(medium.generation(SECOND), read_manifest(medium.generation(SECOND)))


def test_an_iso_that_changed_since_is_told(medium):
    iso = medium.media["tiny"]["iso"]
    iso.write_bytes(iso.read_bytes().replace(b"apkapkapk", b"apkapkAPK"))
    with pytest.raises(PublishError) as caught:
        medium.assemble()
    assert caught.value.subject == f"{iso}: apks/x86_64/busybox-1.36.1-r29.apk"
    assert caught.value.problem == "changed while it was being stored"
    assert caught.value.hint == "get the ISO again, then doit iso:tiny medium:tiny"


# --- what cannot be laid -----------------------------------------------------------------------


def refusal(fleet, *entries, error=PublishError):
    fleet.entries = [*fleet.entries, *entries]
    before = sorted(path for path in fleet.artifacts.rglob("*") if "build" not in path.parts)
    with pytest.raises(error) as caught:
        fleet.assemble()
    found = sorted(path for path in fleet.artifacts.rglob("*") if "build" not in path.parts)
    assert not [path for path in found if path.name.endswith(".partial")]
    assert [path for path in found if "generations" in path.parts] == [
        path for path in before if "generations" in path.parts
    ]
    return str(caught.value).replace(str(fleet.root), "ROOT")


def test_a_link_that_leads_nowhere_is_refused(netboot):
    assert refusal(netboot, NetbootEntry(path="tftp/a", link="cfg/gone")) == (
        "netboot/tftp/a: would lead nowhere; got cfg/gone\n"
        "  next: this is a defect of the step that made it; please report it"
    )


@pytest.mark.parametrize("target", ["cfg", "cfg/default", "../http/./own"])
def test_links_may_lead_to_directories_and_links(netboot, target):
    netboot.entries.append(NetbootEntry(path="tftp/a", link=target))
    netboot.assemble()
    assert (tree_of(netboot, FIRST) / "tftp/a").exists()


def test_a_part_that_the_generation_lacks_is_refused(netboot):
    assert refusal(netboot, NetbootEntry(path="tftp/a", part="kernel/lts/kernel")) == (
        "ROOT/artifacts/build/netboot/index.jsonl: tftp/a is to be made of kernel/lts/kernel, "
        "which this generation lacks\n  next: build it again: doit build"
    )


def test_a_release_that_is_not_known_is_refused(netboot):
    entry = NetbootEntry(path="tftp/a", iso="gone", from_path="a")
    assert "tftp/a is to be made of release gone, which is not known" in refusal(netboot, entry)


def test_a_file_that_the_iso_lacks_is_refused(medium):
    entry = NetbootEntry(path="tftp/a", iso="tiny", from_path="apks")
    assert "tftp/a is to be made of apks, which is no file of that ISO" in refusal(medium, entry)


def test_a_file_that_is_gone_is_told(netboot):
    entry = netboot.made("tftp/a", b"x")
    (netboot.build / "netboot/files/tftp/a").unlink()
    assert refusal(netboot, entry) == (
        "ROOT/artifacts/build/netboot/files/tftp/a: is in the index of its step and not there\n"
        "  next: rm -r ROOT/artifacts/build/netboot, then doit build"
    )


def test_a_file_that_was_edited_is_told(netboot):
    entry = netboot.made("tftp/a", b"x")
    (netboot.build / "netboot/files/tftp/a").write_bytes(b"y")
    assert refusal(netboot, entry) == (
        "ROOT/artifacts/build/netboot/files/tftp/a: changed while it was being stored; expected "
        f"sha256 {hashlib.sha256(b'x').hexdigest()}, got sha256 {hashlib.sha256(b'y').hexdigest()}"
        "\n  next: rm -r ROOT/artifacts/build/netboot, then doit build"
    )


def test_an_edited_file_that_is_stored_already_does_no_harm(netboot):
    netboot.assemble()
    (netboot.build / "netboot/files/tftp/loader").write_bytes(b"edited")
    netboot.assemble(pxerd=b"new")
    assert (tree_of(netboot, SECOND) / "tftp/loader").read_bytes() == b"loader"


@pytest.mark.parametrize("path", ["tftp/a", "INDEX.jsonl"])
def test_a_name_of_two_indexes_is_refused(netboot, path, monkeypatch):
    one = netboot.build / "netboot/index.jsonl"
    joined = type(netboot).netboot_sources

    def twice(fleet):
        made = joined(fleet)
        return {**made, "indexes": (one, one) if path == "tftp/a" else (one,)}

    monkeypatch.setattr(type(netboot), "netboot_sources", twice)
    entry = NetbootEntry(path=path, content="x")
    said = refusal(netboot, entry, error=FormatError)
    first = min(netboot.entries, key=lambda entry: entry.path).path
    assert said == (
        f"netboot/{first if path == 'tftp/a' else path}: is made twice\n"
        "  next: give one of the two another name; templates, installers and hosts share these "
        "names"
    )


# --- verifying and mending -----------------------------------------------------------------------


def verify(fleet, *words, everything=False, repair=False):
    """The lines about what is wrong, and how many things are left."""
    fleet.said.clear()
    left = 0
    try:
        verify_generations(
            artifacts=fleet.artifacts,
            store=fleet.artifacts / "store",
            build=fleet.build,
            operands=words,
            everything=everything,
            repair=repair,
            say=fleet.say,
            progress=fleet.progress,
        )
    except PublishError as error:
        left = int(error.problem.split()[0])
    lines = [line.replace("artifacts/", "", 1) for line in fleet.said[:-1]]
    return [line.replace(str(fleet.root), "ROOT") for line in lines], left


TREE = f"generations/{FIRST}/netboot"
CFG = "tftp/cfg"
HOST = f"{CFG}/01-{MACS[0]}"
ARCHIVE = "http/own/52:54:01:02:00:00.bin"


def relink(path, target):
    path.unlink()
    path.symlink_to(target)


def rewrite(path, content):
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


@pytest.mark.parametrize(
    "path,damage,wrong,outcome",
    [
        (
            HOST,
            lambda path: path.unlink(),
            "is in the index but not in the netboot tree; expected template-web",
            "mended: leads to template-web",
        ),
        (
            HOST,
            lambda path: relink(path, "disk"),
            "leads astray; expected template-web, got disk",
            "mended: leads to template-web",
        ),
        (
            HOST,
            lambda path: (path.unlink(), path.write_bytes(b"x")),
            "is not a symbolic link; expected template-web",
            "mended: leads to template-web",
        ),
        (
            f"{CFG}/template-web",
            lambda path: path.unlink(),
            "is in the index but not in the netboot tree",
            "mended: written as the index has it",
        ),
        (
            f"{CFG}/template-web",
            lambda path: rewrite(path, b"KERNEL ::generations/2026-11-19.1/x\n"),
            "is damaged; expected the text of this generation, "
            "got line 1: 'KERNEL ::generations/2026-11-19.1/x'",
            "mended: written as the index has it",
        ),
        (
            f"{CFG}/template-web",
            lambda path: rewrite(path, CONFIG.encode()),
            "is damaged; expected the text of this generation, "
            "got line 1: 'KERNEL ::generations/@generation@/netboot/tftp/boot/virt/vml'",
            "mended: written as the index has it",
        ),
        (
            f"{CFG}/template-web",
            lambda path: path.chmod(0o644),
            "has another mode; expected 0444, got 0644",
            "mended: mode 0444",
        ),
        (
            ARCHIVE,
            lambda path: path.unlink(),
            "is in the index but not in the netboot tree",
            "mended from artifacts/store/",
        ),
        (
            ARCHIVE,
            lambda path: relink(path, "web.bin"),
            "is not a regular file",
            "mended from artifacts/store/",
        ),
    ],
)
def test_each_damage_is_named_refused_and_mended(netboot, path, damage, wrong, outcome):
    netboot.assemble()
    before = inodes(tree_of(netboot, FIRST)).keys()
    damage(tree_of(netboot, FIRST) / path)
    lines, left = verify(netboot)
    assert (lines, left) == ([f"{TREE}/{path}: {wrong}"], 1)
    if "mode" not in wrong:
        with pytest.raises(PublishError, match=wrong.partition(";")[0]):
            netboot.promote()
        assert not (netboot.artifacts / "current").is_symlink()
    lines, left = verify(netboot, repair=True)
    assert left == 0
    said, _, mended = lines[0].partition("\n  ")
    assert said == f"{TREE}/{path}: {wrong}"
    assert mended.startswith(outcome)
    assert verify(netboot) == ([], 0)
    assert inodes(tree_of(netboot, FIRST)).keys() == before
    netboot.promote()


def test_a_damaged_object_is_mended_in_every_generation_that_holds_it(netboot):
    netboot.assemble()
    netboot.assemble(pxerd=b"new")
    netboot.damage(tree_of(netboot, FIRST) / ARCHIVE)
    rotten, right = (hashlib.sha256(data).hexdigest() for data in (b"rotten", b"of host one"))
    places = [f"generations/{name}/netboot/{ARCHIVE}" for name in (FIRST, SECOND)]
    lines, left = verify(netboot, everything=True)
    assert left == 5
    assert lines[:3] == [
        f"{places[0]}: is damaged; expected sha256 {right}, got sha256 {rotten}",
        f"{places[1]}: is damaged; expected sha256 {right}, got sha256 {rotten}",
        f"store/{right[:2]}/{right}: is damaged; expected {right}, got {rotten}",
    ]
    lines, left = verify(netboot, everything=True, repair=True)
    assert left == 0
    assert lines[0].endswith(f"mended from artifacts/build/netboot/files/{ARCHIVE}")
    assert verify(netboot, everything=True) == ([], 0)
    assert (netboot.artifacts / places[0]).samefile(netboot.artifacts / places[1])


def test_a_lost_directory_comes_back_for_everybody(netboot):
    netboot.assemble()
    top = tree_of(netboot, FIRST)
    before = inodes(top).keys()
    shutil.rmtree(top / "http")
    umask = os.umask(0o077)
    try:
        assert verify(netboot, repair=True)[1] == 0
    finally:
        os.umask(umask)
    assert inodes(top).keys() == before
    assert {path.stat().st_mode & 0o777 for path in (top / "http").rglob("*") if path.is_dir()} == {
        0o755
    }
    assert verify(netboot) == ([], 0)
    netboot.promote()


def test_what_is_not_in_the_index_is_named_and_left(netboot):
    netboot.assemble()
    top = tree_of(netboot, FIRST)
    (top / "tftp/more").mkdir()
    (top / "tftp/more/inside").write_bytes(b"x")
    (top / CFG / "01-aa").write_bytes(b"x")
    (top / "http/stray").symlink_to("/etc")
    paths = ["http/stray", f"{CFG}/01-aa", "tftp/more"]
    for repair in (False, True):
        assert verify(netboot, repair=repair) == (
            [
                f"{TREE}/{path}: is not in the index of the netboot tree\n"
                f"  {'left there: ' if repair else ''}remove it if it is nothing of yours "
                f"(rm -r ROOT/artifacts/{TREE}/{path})"
                for path in paths
            ],
            3,
        )
    assert (top / "tftp/more/inside").exists()


def test_a_directory_that_is_a_link_elsewhere_is_not_written_through(netboot):
    netboot.assemble()
    top = tree_of(netboot, FIRST)
    outside = netboot.root / "outside"
    (top / "tftp/boot").rename(outside)
    (top / "tftp/boot").symlink_to(outside)
    lines, left = verify(netboot, repair=True)
    assert left == 2
    place = f"ROOT/artifacts/{TREE}/tftp/boot"
    assert lines[0] == (
        f"{TREE}/tftp/boot/virt/vmlinuz: is in the index but not in the netboot tree\n"
        f"  {place} is a link: remove it (rm {place}), then doit verify --repair"
    )
    assert lines[1].startswith(f"{TREE}/tftp/boot: is not a directory\n  left there")


def test_a_tree_that_is_a_link_elsewhere_is_none(netboot):
    netboot.assemble()
    top = tree_of(netboot, FIRST)
    top.rename(netboot.root / "outside")
    top.symlink_to(netboot.root / "outside")
    with pytest.raises(PublishError, match="is in the index but not in the netboot tree"):
        netboot.promote()


def test_a_damaged_index_is_mended_first_and_the_tree_after_it(netboot):
    netboot.assemble()
    top = tree_of(netboot, FIRST)
    index = top / "INDEX.jsonl"
    whole = index.read_bytes()
    index.unlink()
    index.write_bytes(whole[:-40])
    (top / HOST).unlink()
    lines, left = verify(netboot)
    assert (len(lines), left) == (1, 1)
    assert lines[0].startswith(f"{TREE}/INDEX.jsonl: is damaged; expected sha256")
    with pytest.raises(PublishError, match="is damaged"):
        netboot.promote()
    lines, left = verify(netboot, repair=True)
    assert left == 1
    assert f"what it names comes next: doit verify --repair {FIRST}" in lines[0]
    lines, left = verify(netboot, repair=True)
    assert (lines, left) == (
        [
            f"{TREE}/{HOST}: is in the index but not in the netboot tree; expected template-web\n"
            "  mended: leads to template-web"
        ],
        0,
    )
    assert verify(netboot) == ([], 0)


def test_a_damaged_tree_is_replaced_by_the_next_build(netboot):
    netboot.assemble()
    relink(tree_of(netboot, FIRST) / HOST, "disk")
    assert netboot.assemble() == SECOND
    assert os.readlink(tree_of(netboot, SECOND) / HOST) == "template-web"


def test_a_rollback_to_a_damaged_tree_is_refused(netboot):
    netboot.release()
    netboot.release(pxerd=b"new")
    rewrite(tree_of(netboot, FIRST) / CFG / "template-web", b"x")
    with pytest.raises(PublishError, match="is damaged"):
        roll_back(artifacts=netboot.artifacts, to=None, say=netboot.say, progress=netboot.progress)
    assert netboot.current == SECOND


def test_a_rollback_serves_the_old_tree(netboot):
    netboot.release()
    netboot.entries = tree_entries(netboot, overlays=("three",))
    netboot.release()
    served = netboot.artifacts / "current/netboot" / ARCHIVE
    assert served.read_bytes() == b"of host three"
    roll_back(artifacts=netboot.artifacts, to=None, say=netboot.say, progress=netboot.progress)
    assert served.read_bytes() == b"of host one"


# --- pruning and listing -----------------------------------------------------------------------


def prune(fleet, keep):
    fleet.said.clear()
    prune_generations(
        artifacts=fleet.artifacts,
        store=fleet.artifacts / "store",
        evidence=fleet.artifacts / "evidence",
        keep=keep,
        default_keep=None,
        dry_run=False,
        say=fleet.say,
    )
    return fleet.said[-1]


def stored(fleet, content):
    sha256 = hashlib.sha256(content).hexdigest()
    return (fleet.artifacts / "store" / sha256[:2] / sha256).exists()


def test_objects_of_trees_that_stay_stay(netboot):
    netboot.release()
    netboot.entries = tree_entries(netboot, overlays=("one", "three"))
    netboot.release()
    netboot.entries = tree_entries(netboot, overlays=("one", "four"))
    netboot.release()
    # Gone: the archive of the first and its index; a block each, and the text of the generation.
    assert prune(netboot, 2).endswith(": 1 generation, 2 objects of the store")
    assert not stored(netboot, b"of host two")
    assert stored(netboot, b"of host one")
    assert stored(netboot, b"of host three")
    assert not (netboot.artifacts / f"netboot/{FIRST}").is_symlink()
    assert verify(netboot, everything=True) == ([], 0)


def test_an_object_is_kept_for_an_index_alone(netboot):
    netboot.release()
    netboot.release(pxerd=b"new")
    wanted = hashlib.sha256(b"of host one").hexdigest()
    place = netboot.artifacts / "store" / wanted[:2] / wanted
    for name in (FIRST, SECOND):  # as where links cannot be: copies
        target = tree_of(netboot, name) / ARCHIVE
        target.unlink()
        target.write_bytes(b"of host one")
        target.chmod(0o444)
    assert place.stat().st_nlink == 1
    prune(netboot, 1)
    assert place.exists()


def test_the_figure_is_what_the_disk_gets_back(netboot):
    blob = os.urandom(100_000)
    netboot.entries = [
        *tree_entries(netboot),
        netboot.made("http/a", blob),
        netboot.made("nfs/a", blob),
    ]
    netboot.release()
    netboot.entries = tree_entries(netboot)
    netboot.release()
    netboot.release(pxerd=b"new")
    before = used_bytes(netboot.artifacts)
    said = prune(netboot, 1)
    freed = before - used_bytes(netboot.artifacts)
    assert freed > 100_000
    assert said.startswith(f"freed {freed / 1000:.1f} kB: ")


def used_bytes(top):
    seen = {}
    for path in top.rglob("*"):
        status = path.lstat()
        if not path.is_dir() or path.is_symlink():
            seen[status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def rows(fleet):
    fleet.said.clear()
    list_generations(artifacts=fleet.artifacts, as_json=True, say=fleet.say)
    return json.loads(fleet.said[0])["generations"]


def test_sizes_count_what_is_served_once(netboot):
    netboot.assemble()
    netboot.entries = tree_entries(netboot, overlays=("one", "seven"))
    netboot.assemble()
    first, second = rows(netboot)
    index = (tree_of(netboot, FIRST) / "INDEX.jsonl").stat().st_size
    parts = sum(len(kind) for kind in ("kernel", "pxerd", "modloop"))
    own = sum(
        map(len, ("loader", "LOCALBOOT 0\n", "of the template", "of host one", "of host two"))
    )
    alone = [
        (netboot.generation(name) / "MANIFEST.json").stat().st_size
        + (tree_of(netboot, name) / "tftp/cfg/template-web").stat().st_size
        for name in (FIRST, SECOND)
    ]
    assert first["size_bytes"] == first["new_bytes"] == parts + own + index + alone[0]
    assert first["files"] == 4 + 7 + 1 + 1
    index = (tree_of(netboot, SECOND) / "INDEX.jsonl").stat().st_size
    assert second["new_bytes"] == len("of host seven") + index + alone[1]


# --- differences -------------------------------------------------------------------------------


def publish(fleet, hosts, *entries, unknown="web"):
    """Assemble a generation with these hosts, and what is served to them."""
    content = write_inventory(Inventory(unknown=Role(template=unknown), hosts=tuple(hosts)))
    fleet.entries = [
        NetbootEntry(path="tftp/cfg/template-web", content=CONFIG, text=True),
        *(NetbootEntry(path=f"tftp/cfg/01-{host.mac}", link="template-web") for host in hosts),
        fleet.made("conf/inventory.jsonl", content),
        *entries,
    ]
    return fleet.assemble()


def host(number, **said):
    return Host(name=f"web-{number:05}", mac=f"52:54:01:02:{number:05}", template="web", **said)


def diff(fleet, *, as_json=False):
    fleet.said.clear()
    diff_generations(
        artifacts=fleet.artifacts,
        operands=(),
        as_json=as_json,
        say=fleet.say,
        progress=fleet.progress,
    )
    return json.loads(fleet.said[0])["changes"] if as_json else fleet.said[1:]


def test_hosts_are_told_by_name_and_files_by_directory(fleet):
    publish(fleet, [host(1), host(2, options=("quiet",)), host(3, values={"rack": "a"})])
    publish(
        fleet,
        [host(2, options=("panic=9",)), host(3, values={"rack": "b"}), host(4)],
        NetbootEntry(path="tftp/cfg/disk", content="LOCALBOOT 0\n"),
    )
    assert diff(fleet) == [
        "",
        "hosts",
        "  + web-00004  52:54:01:02:00004 web",
        "  - web-00001  52:54:01:02:00001 web",
        "  ~ web-00002  options quiet -> options panic=9",
        "  ~ web-00003  values.rack a -> values.rack b",
        "",
        "netboot of tftp/cfg",
        "  + 01-52:54:01:02:00004  -> template-web",
        "  + disk                  12 B",
        "  - 01-52:54:01:02:00001  -> template-web",
    ]


def test_unknown_machines_are_told_too(fleet):
    publish(fleet, [])
    publish(fleet, [], unknown="db")
    assert diff(fleet) == [
        "",
        "MAC prefixes",
        "  ~ unknown machines  template web -> template db",
    ]


def test_what_is_said_of_thousands_of_hosts_is_said_once(fleet):
    count = 2_000
    publish(fleet, [host(number) for number in range(count)])
    changed = [host(number, options=("quiet",)) for number in range(count - 1)]
    publish(fleet, [*changed, host(count - 1, options=("panic=9",)), host(count)])
    assert diff(fleet) == [
        "",
        "hosts",
        "  + web-02000  52:54:01:02:02000 web",
        "  ~ web-00000 and 1998 like it  options - -> options quiet",
        "  ~ web-01999                   options - -> options panic=9",
        "",
        "netboot of tftp/cfg",
        "  + 01-52:54:01:02:02000  -> template-web",
    ]
    assert len(diff(fleet, as_json=True)["hosts"][""]["changed"]) == count


def test_texts_are_compared_by_lines_and_words(fleet):
    def texts(word, *more):
        lines = [f"APPEND ip=dhcp {word} quiet", *more]
        return NetbootEntry(path="tftp/a", content="\n".join(lines), text=True)

    def listing(content):
        return fleet.made("conf/hosts", content)

    publish(fleet, [], texts("old"), listing(b"one\ntwo\n"))
    publish(fleet, [], texts("new"), listing(b"one\nthree\nfour\n"))
    assert diff(fleet) == [
        "",
        "netboot of conf",
        "  ~ hosts  -1 lines, +2 lines: three",
        "",
        "netboot of tftp",
        "  ~ a  old -> new",
    ]
    lines = diff(fleet, as_json=True)["netboot"]["tftp"]["changed"]["a"]
    assert lines == [
        {"lines": ["APPEND ip=dhcp old quiet"]},
        {"lines": ["APPEND ip=dhcp new quiet"]},
    ]


def test_a_link_that_leads_elsewhere_and_a_file_that_is_no_text(fleet):
    more = [fleet.made("a/b", b"\xff1"), NetbootEntry(path="a/c", link="b")]
    publish(fleet, [], *more)
    more = [
        fleet.made("a/b", b"\xff22"),
        NetbootEntry(path="a/c", link="d"),
        NetbootEntry(path="a/d", content="x"),
    ]
    publish(fleet, [], *more)
    assert diff(fleet) == [
        "",
        "netboot of a",
        "  + d  1 B",
        "  ~ b  2 B -> 3 B",
        "  ~ c  b -> d",
    ]


def test_an_inventory_that_cannot_be_read_hides_no_files(fleet):
    publish(fleet, [host(1)])
    second = publish(fleet, [host(1), host(2)])
    rewrite(tree_of(fleet, second) / "conf/inventory.jsonl", b"rotten")
    assert diff(fleet) == [
        "",
        "netboot of tftp/cfg",
        "  + 01-52:54:01:02:00002  -> template-web",
    ]
