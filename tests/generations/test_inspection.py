"""doit verify: each wrong thing is named, and mended only from a proven copy."""

from __future__ import annotations

import os

import pytest

from bootsmith.errors import PublishError
from bootsmith.files.digest import sha256_of
from bootsmith.files.manifest import read_manifest
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.generations.inspection import verify_generations
from bootsmith.generations.verify import check_files

FIRST, SECOND = "2026-11-20.1", "2026-11-20.2"


def verify(fleet, *ids, everything=False, repair=False):
    """The lines said, without the closing one; then how many things were left wrong."""
    fleet.said.clear()
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
        )
        left = 0
    except PublishError as error:
        left = int(error.problem.split()[0])
    # Paths are told from the site's root; what is to be typed has them in full.
    lines = [line.replace(f"{fleet.root}/", "") for line in fleet.said[:-1]]
    return [line.replace("artifacts/", "") for line in lines], left


def stored(fleet, identifier, path):
    sha256 = sha256_of(fleet.generation(identifier) / path)
    return fleet.artifacts / "store" / sha256[:2] / sha256


@pytest.fixture
def two(fleet):
    """Both hold the same kernel and modloop; the second is current."""
    fleet.release(pxerd=b"1")
    fleet.release(pxerd=b"2")
    return fleet


@pytest.mark.parametrize("everything", [False, True])
def test_nothing_wrong(two, everything):
    assert verify(two, everything=everything) == ([], 0)
    ids = (FIRST, SECOND) if everything else (SECOND,)
    manifests = sum((two.generation(name) / "MANIFEST.json").stat().st_size for name in ids)
    read = human_bytes((15 if everything else 14) + manifests)
    assert two.said[-1] == f"{', '.join(ids)}: {read} read, nothing wrong"


def test_a_damaged_file_is_named_where_ever_it_is_held(two):
    kernel = two.generation(SECOND) / "kernel/virt/kernel"
    good = sha256_of(kernel)
    two.damage(kernel)
    lines, left = verify(two, everything=True)
    bad = sha256_of(kernel)
    assert left == 5
    assert lines == [
        f"generations/{FIRST}/kernel/virt/kernel: is damaged; "
        f"expected sha256 {good}, got sha256 {bad}",
        f"generations/{SECOND}/kernel/virt/kernel: is damaged; "
        f"expected sha256 {good}, got sha256 {bad}",
        f"store/{good[:2]}/{good}: is damaged; expected {good}, got {bad}",
        f"generations/{FIRST}/kernel/virt/kernel: has another mode; expected 0444, got 0644",
        f"generations/{SECOND}/kernel/virt/kernel: has another mode; expected 0444, got 0644",
    ]


def test_it_is_mended_everywhere_from_what_was_built(two):
    kernel = two.generation(SECOND) / "kernel/virt/kernel"
    two.damage(kernel)
    lines, left = verify(two, repair=True)
    assert left == 0
    assert lines[0].endswith("\n  mended from build/kernel")
    assert verify(two, everything=True) == ([], 0)
    assert kernel.samefile(two.generation(FIRST) / "kernel/virt/kernel")
    assert kernel.samefile(stored(two, SECOND, "kernel/virt/kernel"))
    assert not list(two.artifacts.rglob("*.partial"))


def test_a_reader_of_the_damaged_file_is_not_disturbed(two):
    path = two.generation(SECOND) / "kernel/virt/kernel"
    two.damage(path)
    with open(path, "rb") as reader:
        verify(two, repair=True)
        assert reader.read() == b"rotten"


def test_a_lost_file_comes_from_the_store(two):
    (two.build / "pxerd").unlink()
    (two.generation(SECOND) / "pxerd/virt/pxerd").unlink()
    (two.generation(SECOND) / "pxerd/virt").rmdir()
    lines, left = verify(two)
    assert (lines, left) == (
        [
            f"generations/{SECOND}/pxerd/virt/pxerd: is in the manifest but not in the generation",
            f"pxerd/virt/{SECOND}: dangles; got ../../generations/{SECOND}/pxerd/virt",
            "pxerd/virt/current: dangles; got ../../current/pxerd/virt",
        ],
        3,
    )
    lines, left = verify(two, repair=True)
    assert (len(lines), left) == (1, 0)
    assert verify(two) == ([], 0)


def test_a_lost_object_comes_from_a_generation(two):
    (two.build / "pxerd").unlink()
    stored(two, SECOND, "pxerd/virt/pxerd").unlink()
    lines, left = verify(two, repair=True)
    assert left == 0
    assert lines[0].endswith(f"\n  mended from generations/{SECOND}/pxerd/virt/pxerd")
    assert verify(two, everything=True) == ([], 0)


def test_a_copy_that_is_bad_itself_is_not_used(two):
    two.steps = {"pxerd:virt": {}}
    two.release(pxerd=b"3")
    two.damage(two.generation("2026-11-20.3") / "pxerd/virt/pxerd", b"X")
    (two.build / "pxerd").write_bytes(b"Y")  # of the right size
    lines, left = verify(two, repair=True)
    assert left == 2
    assert lines[0].endswith(
        "\n  no good copy is left: if doit pxerd:virt makes these bytes again, "
        "doit verify --repair 2026-11-20.3 takes them from there"
    )
    with pytest.raises(PublishError, match="is damaged"):
        check_files(two.artifacts / "current", read_manifest(two.artifacts / "current"))


def test_what_is_not_in_the_manifest_is_named_and_left(two):
    extra = two.generation(SECOND) / "kernel/virt/notes"
    extra.write_text("mine")
    (two.generation(SECOND) / "empty").mkdir()
    lines, left = verify(two, repair=True)
    assert left == 2
    assert sorted(line.partition("\n")[0] for line in lines) == [
        f"generations/{SECOND}/empty: is not in the manifest",
        f"generations/{SECOND}/kernel/virt/notes: is not in the manifest",
    ]
    assert extra.read_text() == "mine"


def test_another_mode_is_named_and_mended(two):
    (two.generation(SECOND) / "pxerd/virt/pxerd").chmod(0o600)
    lines, left = verify(two)
    assert (lines, left) == (
        [f"generations/{SECOND}/pxerd/virt/pxerd: has another mode; expected 0444, got 0600"],
        1,
    )
    assert verify(two, repair=True)[1] == 0
    assert verify(two) == ([], 0)


def test_a_link_in_place_of_a_file_is_wrong_though_its_content_is_right(two):
    path = two.generation(SECOND) / "pxerd/virt/pxerd"
    path.unlink()
    path.symlink_to(two.build / "pxerd")
    assert verify(two) == (
        [f"generations/{SECOND}/pxerd/virt/pxerd: is not a regular file"],
        1,
    )
    assert verify(two, repair=True)[1] == 0
    assert not path.is_symlink()
    assert verify(two) == ([], 0)


def test_nothing_is_written_through_a_link_to_a_directory(two):
    outside = two.root / "outside"
    outside.mkdir()
    directory = two.generation(SECOND) / "pxerd/virt"
    (directory / "pxerd").unlink()
    directory.rmdir()
    directory.symlink_to(outside)
    lines, left = verify(two, repair=True)
    assert left > 0
    assert f"generations/{SECOND}/pxerd/virt is a link: remove it" in lines[0]
    assert os.listdir(outside) == []


@pytest.mark.parametrize(
    "path,text,said",
    [
        (
            "pxerd/virt/current",
            "../../generations/2026-11-20.1/pxerd/virt",
            "pxerd/virt/current: leads astray; expected ../../current/pxerd/virt, "
            "got ../../generations/2026-11-20.1/pxerd/virt",
        ),
        (
            f"pxerd/virt/{FIRST}",
            f"../../generations/{SECOND}/pxerd/virt",
            f"pxerd/virt/{FIRST}: leads astray; expected ../../generations/{FIRST}/pxerd/virt, "
            f"got ../../generations/{SECOND}/pxerd/virt",
        ),
        (
            "pxerd/virt/2026-11-19.1",
            "../../generations/2026-11-19.1/pxerd/virt",
            "pxerd/virt/2026-11-19.1: dangles; got ../../generations/2026-11-19.1/pxerd/virt",
        ),
        ("pxerd/virt/current", None, "pxerd/virt/current: is missing"),
        (
            "generations/latest",
            "x",
            "generations/latest: leads to no generation; expected ID, got x",
        ),
        (
            "candidate",
            "generations/x",
            "candidate: leads to no generation; expected generations/ID, got generations/x",
        ),
    ],
)
def test_links_that_lead_elsewhere_are_named_and_mended(two, path, text, said):
    link = two.artifacts / path
    link.unlink(missing_ok=True)
    if text is not None:
        link.symlink_to(text)
    assert verify(two) == ([said], 1)
    assert verify(two, repair=True)[1] == 0
    assert verify(two) == ([], 0)


def test_a_current_that_leads_nowhere_is_for_a_person_to_mend(two):
    (two.artifacts / "current").unlink()
    (two.artifacts / "current").symlink_to("generations/2026-11-19.1")
    lines, left = verify(two, SECOND, repair=True)
    assert left == 1
    assert lines[-1].endswith("\n  choose what machines boot: doit rollback --to ID")


def test_a_file_in_the_store_that_is_none_is_named(two):
    stray = two.artifacts / "store/ab/abc"
    stray.parent.mkdir(exist_ok=True)
    stray.write_text("?")
    assert verify(two) == ([], 0)  # not of these generations
    for repair in (False, True):
        lines, left = verify(two, everything=True, repair=repair)
        assert left == 1
        assert lines[0].startswith("store/ab/abc: is not an object of the store")
    assert stray.exists()


def test_a_damaged_object_that_nothing_holds_is_removed(two):
    sha256 = "ab" * 32
    unused = two.artifacts / "store/ab" / sha256
    unused.parent.mkdir(exist_ok=True)
    unused.write_text("?")
    assert verify(two, everything=True)[1] == 1
    assert verify(two, everything=True, repair=True)[1] == 0
    assert not unused.exists()


def test_an_unreadable_generation_is_said_and_the_others_read(two):
    (two.generation(FIRST) / "MANIFEST.json").write_text("{")
    lines, left = verify(two, everything=True)
    assert left == 1
    assert lines[0].startswith(f"generations/{FIRST}: MANIFEST.json is damaged")


def test_nothing_to_verify(fleet):
    with pytest.raises(PublishError, match="nothing is current and nothing is candidate"):
        verify_generations(
            artifacts=fleet.artifacts,
            store=fleet.artifacts / "store",
            build=fleet.build,
            operands=(),
            everything=False,
            repair=False,
            say=fleet.say,
            progress=fleet.progress,
        )


def test_ids_and_all_exclude_each_other(two):
    run = two.doit("verify", FIRST, "--all")
    assert run.returncode == 2
    assert "doit verify: --all and ids exclude each other\n" in run.stderr


def test_doit_verifies_with_broken_recipes(two):
    """What is damaged is said first; of what is not, whether machines would boot with it."""
    two.damage(two.generation(SECOND) / "kernel/virt/kernel")
    run = two.doit("verify")
    assert run.returncode == 2
    assert "kernel/virt/kernel: is damaged; expected sha256 " in run.stdout
    assert "not an x86 kernel" not in run.stdout
    assert f"next: doit verify --repair {SECOND}" in run.stderr
    assert two.doit("verify", SECOND, "--repair").stdout.count("mended") == 3
    run = two.doit("verify")
    assert run.returncode == 2  # these parts are a few bytes each
    assert f"{SECOND}/kernel/virt/kernel: not an x86 kernel (bzImage); " in run.stdout
    assert "next: do what stands below each, then build again: doit build" in run.stderr


def test_a_lost_current_is_said_with_what_the_history_knows(two):
    (two.artifacts / "current").unlink()
    lines, _ = verify(two)
    assert lines[0] == (
        f"current: is missing, the history says {SECOND}: doit rollback --to {SECOND}"
    )
    (two.artifacts / "current").symlink_to("/etc")
    lines, _ = verify(two, repair=True)
    assert lines[0] == (
        f"current: leads to no generation, the history says {SECOND}: "
        f"doit rollback --to {SECOND}; expected generations/ID, got /etc\n"
        f"  choose what machines boot: doit rollback --to {SECOND}"
    )


def test_an_unreadable_one_ends_in_what_can_be_done(two):
    path = two.generation(FIRST) / "MANIFEST.json"
    two.damage(path, b"{")
    lines, left = verify(two, FIRST, repair=True)
    assert (lines, left) == (
        [
            f"generations/{FIRST}: MANIFEST.json is damaged (line 1: not JSON)\n"
            f"  it cannot be mended: remove it (rm -rf generations/{FIRST}), "
            "then doit verify --all --repair"
        ],
        1,
    )


def test_the_word_all_is_told_from_an_id(two):
    with pytest.raises(PublishError) as caught:
        verify_generations(
            artifacts=two.artifacts,
            store=two.artifacts / "store",
            build=two.build,
            operands=["all"],
            everything=False,
            repair=False,
            say=two.say,
            progress=two.progress,
        )
    assert caught.value.hint == "every generation: doit verify --all"
