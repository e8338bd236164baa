"""Files of a batch appear together, each whole, or not at all."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from bootsmith.files.batch import FileBatch, flush


def names(directory):
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


def test_all_appear_at_the_end_with_their_mode(tmp_path):
    umask = os.umask(0o077)
    try:
        with FileBatch(mode=0o444) as batch:
            batch.write(f"{tmp_path}/a", b"one")
            Path(batch.new(f"{tmp_path}/b")).write_bytes(b"two")
            assert [name[0] for name in names(tmp_path)] == [".", "."]
    finally:
        os.umask(umask)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"one",
        "b": b"two",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o444}


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ValueError, match="on the way"), FileBatch() as batch:
        batch.write(f"{tmp_path}/a", b"new")
        batch.write(f"{tmp_path}/b", b"new")
        raise ValueError("on the way")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_target_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError), FileBatch() as batch:
        batch.write(f"{tmp_path}/a", b"new")
        batch.write(f"{tmp_path}/b", b"new")
    assert names(tmp_path) == ["a"]


def test_an_empty_batch_does_nothing(tmp_path):
    with FileBatch():
        pass
    assert not names(tmp_path)


@pytest.fixture
def flushes(monkeypatch):
    """What was flushed: `fsync` one by one, or the `filesystem`."""
    events = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("fsync"), fsync(descriptor)))
    _HOOKS.append(events)
    yield events
    _HOOKS.remove(events)


_HOOKS: list[list[str]] = []


def _hear(event, arguments):
    if event == "bootsmith.syncfs":
        for events in _HOOKS:
            events.append("filesystem")


sys.addaudithook(_hear)


def test_few_files_are_flushed_one_by_one(tmp_path, flushes):
    with FileBatch() as batch:
        batch.write(f"{tmp_path}/a", b"one")
        batch.write(f"{tmp_path}/b", b"two")
    assert flushes == ["fsync", "fsync", "fsync"]  # two files, then their directory


def test_many_files_are_flushed_at_once_before_any_gets_its_name(tmp_path, flushes):
    with FileBatch() as batch:
        for number in range(100):
            batch.write(f"{tmp_path}/{number}", b"one")
    assert flushes == ["filesystem", "fsync"]


def test_what_cannot_be_flushed_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        flush([f"{tmp_path}/nothing"])
    with pytest.raises(FileNotFoundError):
        flush([f"{tmp_path}/nothing/{number}" for number in range(100)])
