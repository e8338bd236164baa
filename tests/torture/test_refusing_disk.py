"""Disks that are full, read-only or forbidden: one message, nothing broken, and on from there."""

from __future__ import annotations

import os

import pytest
from own_mounts import own_mounts
from torture import (
    KILLS,
    Run,
    copy_tree,
    finish_and_compare,
    fractions,
    inspect_killed,
    leftovers,
    step_hit,
)

BLOCK_BYTES = 4096
PLENTY_BYTES = 1 << 30
# What one file system says that files take is not quite what another needs for them.
ENOUGH = 0.75


def used_bytes(directory):
    """What the files take, each inode once."""
    status = {path.lstat().st_ino: path.lstat() for path in directory.rglob("*")}
    return sum(entry.st_blocks * 512 for entry in status.values())


def small_disk(mounts, root):
    """Mount a disk over root/artifacts that has what was there; return where we find it."""
    kept = root / "artifacts"
    kept.mkdir(exist_ok=True)
    mounts.run("mount", "-t", "tmpfs", "-o", f"size={PLENTY_BYTES},mode=755", "none", kept)
    seen = mounts.seen(kept)
    copy_tree(kept, seen)
    return seen


def leave_free(seen, size_bytes):
    """Fill the disk but for this many bytes."""
    status = os.statvfs(seen)
    with open(seen / "filler", "wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, status.f_bavail * status.f_frsize - size_bytes)


def refused(ended, problem):
    """The run failed with one message that names the problem and the way out."""
    assert ended.status in (2, 3), ended.said
    assert "Traceback" not in ended.said
    failures = ended.stderr.partition("FAILED ")[2]
    assert "FAILED" not in failures
    assert problem in failures.lower()
    assert "\n  next: " in failures


@pytest.mark.parametrize("name", ["cold", "changed"])
@pytest.mark.parametrize("fraction", fractions("full disk", max(3, KILLS // 10)))
def test_a_disk_that_gets_full(tree, scenarios, tmp_path, outcome, name, fraction):
    root, scenario = tree(name)
    with own_mounts() as mounts:
        seen = small_disk(mounts, root)
        needed = used_bytes(scenario.undisturbed / "artifacts") - used_bytes(seen)
        leave_free(seen, int(fraction * needed) // BLOCK_BYTES * BLOCK_BYTES)
        ended = Run(root, "build", before=mounts.before).end()
        outcome(how="full disk", scenario=name, step=step_hit(seen.parent, ended, scenario.steps))
        if ended.status != 0 or fraction < ENOUGH:
            refused(ended, "no space left on ")
        inspect_killed(seen.parent, had_current=scenario.has_current)
        (seen / "filler").unlink()
        assert [path for path in leftovers(seen.parent) if path.suffix == ".partial"] == []
        finish_and_compare(root, scenario, tmp_path, seen_as=seen.parent, before=mounts.before)


def test_nothing_to_do_on_a_full_disk(tree, tmp_path, outcome):
    root, scenario = tree("changed")
    with own_mounts() as mounts:
        seen = small_disk(mounts, root)
        finish_and_compare(root, scenario, tmp_path, seen_as=seen.parent, before=mounts.before)
        leave_free(seen, 0)
        ended = Run(root, "build", before=mounts.before).end()
        outcome(how="full disk", scenario="done", step="(none)")
        assert (ended.status, ended.built) == (0, []), ended.said


@pytest.mark.parametrize("name", ["cold", "changed"])
def test_files_that_may_not_become_large(tree, tmp_path, outcome, name):
    root, scenario = tree(name)
    ended = Run(root, "build", before=["prlimit", "--fsize=200000"]).end()
    outcome(how="file size limit", scenario=name, step=step_hit(root, ended, scenario.steps))
    # In the cold tree a program meets the limit first.
    refused(ended, {"cold": "file size limit", "changed": "larger than a file may become"}[name])
    inspect_killed(root, had_current=scenario.has_current)
    finish_and_compare(root, scenario, tmp_path)


@pytest.mark.parametrize("name", ["cold", "changed"])
def test_a_read_only_disk(tree, tmp_path, outcome, name):
    root, scenario = tree(name)
    (root / "artifacts").mkdir(exist_ok=True)
    with own_mounts() as mounts:
        mounts.run("mount", "--bind", root / "artifacts", root / "artifacts")
        mounts.run("mount", "-o", "remount,bind,ro", root / "artifacts")
        ended = Run(root, "build", before=mounts.before).end()
        outcome(how="read-only disk", scenario=name, step="(lock)")
        refused(ended, "read-only")
        listed = Run(root, "list", before=mounts.before).end()
        assert (listed.status, listed.stderr) == (0, "")
        explained = Run(root, "explain", "apkovl:node", before=mounts.before).end()
        assert "Traceback" not in explained.said
        assert "Traceback" not in Run(root, "rollback", before=mounts.before).end().said
        if name == "changed":
            assert "input overlays/base/etc/motd: was" in explained.stdout, explained.said
    inspect_killed(root, had_current=scenario.has_current)
    finish_and_compare(root, scenario, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_not_ours(tree, tmp_path, outcome):
    root, scenario = tree("changed")
    (root / "artifacts/generations").chmod(0o555)
    ended = Run(root, "build").end()
    (root / "artifacts/generations").chmod(0o755)
    outcome(how="forbidden directory", scenario="changed", step="generation")
    refused(ended, "permission denied")
    finish_and_compare(root, scenario, tmp_path)
