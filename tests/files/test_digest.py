"""Digests are never stale and never read twice without need."""

from __future__ import annotations

import os
import time

import pytest

from bootsmith.files import digest
from bootsmith.files.digest import Identity, describe_file, describe_tree, remembered_sha256
from bootsmith.files.state import State

OLD_NS = 1_000_000_000_000_000_000


@pytest.fixture
def memory(tmp_path):
    state = State(tmp_path / "state.sqlite3")
    yield state
    state.close()


def settle(path):
    """Make `path` look long unchanged: wait until its ctime is out of the doubtful window."""
    deadline = path.stat().st_ctime_ns + digest._UNSETTLED_NS
    while time.time_ns() <= deadline:
        time.sleep(0.05)


def test_an_edit_that_keeps_size_and_mtime_is_seen(tmp_path, memory):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, ns=(OLD_NS, OLD_NS))
    settle(path)
    before = describe_file(path, memory)
    path.write_bytes(b"two")
    os.utime(path, ns=(OLD_NS, OLD_NS))
    assert describe_file(path, memory) != before


def test_a_settled_file_is_read_once(tmp_path, memory):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    settle(path)
    remembered_sha256(path, memory, path.stat())
    assert memory.recall(str(path), Identity.of(path.stat())) == digest.sha256_of(path)


def test_a_file_written_this_instant_is_not_remembered(tmp_path, memory):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    remembered_sha256(path, memory, path.stat())
    assert memory.recall(str(path), Identity.of(path.stat())) is None


def test_digests_survive_the_process(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    settle(path)
    first = State(tmp_path / "s")
    remembered_sha256(path, first, path.stat())
    first.close()
    second = State(tmp_path / "s")
    assert second.recall(str(path), Identity.of(path.stat())) == digest.sha256_of(path)


@pytest.mark.parametrize("change", ["content", "mode", "link", "remove", "directory"])
def test_each_change_changes_the_description(tmp_path, memory, change):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    path.chmod(0o644)
    before = describe_file(path, memory)
    if change == "content":
        path.write_bytes(b"two")
    elif change == "mode":
        path.chmod(0o755)
    elif change == "link":
        path.rename(tmp_path / "other")
        path.symlink_to("other")
    else:
        path.unlink()
        if change == "directory":
            path.mkdir()
    assert describe_file(path, memory) != before


@pytest.mark.parametrize(
    "change", ["add", "remove", "rename", "chmod", "relink", "empty directory"]
)
def test_each_change_in_a_tree_changes_its_description(tmp_path, memory, change):
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/motd").write_text("hello")
    (tree / "etc/link").symlink_to("/nowhere")
    before = list(describe_tree(tree, memory))
    match change:
        case "add":
            (tree / "etc/new").write_text("")
        case "remove":
            (tree / "etc/motd").unlink()
        case "rename":
            (tree / "etc/motd").rename(tree / "etc/motd2")
        case "chmod":
            (tree / "etc/motd").chmod(0o600)
        case "relink":
            (tree / "etc/link").unlink()
            (tree / "etc/link").symlink_to("/elsewhere")
        case "empty directory":
            (tree / "var").mkdir()
    assert list(describe_tree(tree, memory)) != before


def test_a_link_out_of_a_tree_is_its_text_only(tmp_path, memory):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "loop").symlink_to(".")
    assert dict(describe_tree(tree, memory))["loop"] == "link -> ."
