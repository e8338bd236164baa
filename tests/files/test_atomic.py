"""Targets appear whole or not at all, whatever happens on the way."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from bootsmith.errors import ToolFailed
from bootsmith.files.atomic import (
    collect_partials,
    replace_link,
    replacing_directory,
    replacing_file,
    write_file,
)
from bootsmith.tools.run import run_program


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    """A umask that would show in modes if it were not overruled."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_file_appears_with_its_mode_in_directories_made_for_it(tmp_path):
    target = tmp_path / "a/b/file"
    write_file(target, b"new", mode=0o644)
    assert target.read_bytes() == b"new"
    assert mode_of(target) == 0o644
    assert names(target.parent) == ["file"]


def test_until_the_end_the_old_file_stands(tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with replacing_file(target) as partial:
        partial.write_bytes(b"new")
        assert target.read_bytes() == b"old"
        assert partial.parent == target.parent
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with open(target, "rb") as reader:
        write_file(target, b"new")
        assert reader.read() == b"old"
    assert target.read_bytes() == b"new"


def test_a_program_may_put_another_file_in_the_place_of_the_partial_one(tmp_path):
    with replacing_file(tmp_path / "file", mode=0o600) as partial:
        other = tmp_path / "other"
        other.write_bytes(b"renamed over it")
        os.replace(other, partial)
    assert (tmp_path / "file").read_bytes() == b"renamed over it"
    assert mode_of(tmp_path / "file") == 0o600


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(failure), replacing_file(target) as partial:
        partial.write_bytes(b"half")
        raise failure
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "call,replacing", [("open", replacing_file), ("mkdir", replacing_directory)]
)
def test_a_signal_just_behind_the_creation_leaves_nothing(tmp_path, monkeypatch, call, replacing):
    create = getattr(os, call)

    def interrupted(*words, **more):
        made = create(*words, **more)
        if str(words[0]).endswith(".partial"):
            if made is not None:
                os.close(made)
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(os, call, interrupted)
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "target"):
        pass
    assert names(tmp_path) == []


def test_two_writers_do_not_meet(tmp_path):
    target = tmp_path / "file"
    with replacing_file(target) as first, replacing_file(target) as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert target.read_bytes() == b"first"  # the outer block ends last
    assert names(tmp_path) == ["file"]


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from bootsmith.files.atomic import replacing_directory, replacing_file
target = Path(sys.argv[1])
with (replacing_directory if sys.argv[2] == "directory" else replacing_file)(target) as partial:
    (partial / "half" if sys.argv[2] == "directory" else partial).write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_killed_writer_leaves_the_old_target_and_a_partial_to_collect(tmp_path, checkout, kind):
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with pytest.raises(ToolFailed) as failure:
        run_program([Path(sys.executable), "-c", KILLED_WRITER, target, kind], cwd=checkout)
    assert "ended by signal 9 (Killed)" in str(failure.value)
    assert target.read_bytes() == b"old"
    (leaked,) = (path for path in tmp_path.iterdir() if path != target)
    assert leaked.name.startswith(".target.")
    assert leaked.name.endswith(".partial")

    assert collect_partials(tmp_path) == [leaked]
    assert names(tmp_path) == ["target"]


def test_collecting_touches_nothing_else(tmp_path):
    (tmp_path / "kept.partial").write_bytes(b"no leading dot: not ours")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/.x.123456.partial").mkdir()
    (tmp_path / "deep/.x.123456.partial/content").write_bytes(b"")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".link.123456.partial").symlink_to(elsewhere)
    removed = collect_partials(tmp_path)
    assert sorted(path.name for path in removed) == [".link.123456.partial", ".x.123456.partial"]
    assert names(tmp_path) == [".hidden", "deep", "elsewhere", "kept.partial"]
    assert names(tmp_path / "deep") == []


def test_what_is_whole_is_not_looked_through(tmp_path):
    whole = tmp_path / "generations"
    (whole / "one/deep").mkdir(parents=True)
    (whole / "one/deep/.x.123456.partial").write_bytes(b"")
    (whole / ".two.123456.partial/deep").mkdir(parents=True)
    (tmp_path / "store").mkdir()
    (tmp_path / "store/.y.123456.partial").write_bytes(b"")
    removed = collect_partials(tmp_path, whole=whole)
    assert sorted(path.name for path in removed) == [".two.123456.partial", ".y.123456.partial"]
    assert names(whole / "one/deep") == [".x.123456.partial"]


def test_a_directory_is_flushed(tmp_path, monkeypatch):
    flushed = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (flushed.append(number), real(number)))
    with replacing_directory(tmp_path / "tree") as partial:
        (partial / "below").mkdir()
    assert names(tmp_path / "tree") == ["below"]
    assert flushed


def test_a_directory_takes_the_place_of_a_full_one(tmp_path):
    target = tmp_path / "tree"
    target.mkdir()
    (target / "old").write_bytes(b"")
    with replacing_directory(target) as partial:
        (partial / "new").write_bytes(b"")
        assert names(target) == ["old"]
    assert names(target) == ["new"]
    assert names(tmp_path) == ["tree"]


def test_a_failure_leaves_the_old_directory(tmp_path):
    target = tmp_path / "tree"
    target.mkdir()
    (target / "old").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^half$"), replacing_directory(target) as partial:
        (partial / "new").write_bytes(b"")
        raise ValueError("half")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["tree"]


def test_a_link_moves_in_one_step(tmp_path):
    link = tmp_path / "links/current"
    replace_link(link, "first")
    replace_link(link, "second")
    assert os.readlink(link) == "second"
    assert names(link.parent) == ["current"]
