"""Offsets, counts and members, against contents whose difference is known."""

from __future__ import annotations

import gzip

import pytest

from bootsmith.formats.apkovl import ApkovlEntry, write_apkovl
from bootsmith.formats.cpio import file_entry, write_cpio
from bootsmith.reproduce import compare
from bootsmith.reproduce.differences import compare_bytes
from bootsmith.reproduce.explain import explain
from bootsmith.reproduce.trees import remove_tree
from bootsmith.tools.mksquashfs import make_squashfs
from bootsmith.tools.run import run_program

BLOCK = 1 << 20
LAST = BLOCK - 1


@pytest.mark.parametrize(
    "first,second,offset,count",
    [
        (b"abc", b"abd", 2, 1),
        (b"abc", b"xbz", 0, 2),
        (b"", b"abc", 0, 3),
        (b"abc", b"abcde", 3, 2),
        (b"aXc", b"abcde", 1, 3),
        (bytes(BLOCK) + b"a", bytes(BLOCK) + b"b", BLOCK, 1),
        (bytes(BLOCK - 1) + b"a" + bytes(9), bytes(BLOCK - 1) + b"b" + bytes(8) + b"c", LAST, 2),
    ],
)  # fmt: skip
def test_offset_and_count(first, second, offset, count):
    for one, other in ((first, second), (second, first)):
        found = compare_bytes(one, other)
        assert (found.offset, found.count) == (offset, count)
        assert found.sizes == (len(one), len(other))
    assert compare_bytes(first, first) is None


def test_lines():
    assert compare_bytes(b"0123456789abcdefAB", b"0123456789abcdefA\n").lines == [
        "18 bytes; first difference at offset 17 (0x11), 1 bytes differ",
        "  00000010  41 42" + " " * 44 + "|AB|",
        "  00000010  41 0a" + " " * 44 + "|A.|",
    ]


def written(directory, make):
    """Two containers that `make(directory, motd)` wrote, with another motd each."""
    paths = []
    for number, motd in enumerate((b"one\n", b"two\n")):
        place = directory / str(number)
        (place / "tree").mkdir(parents=True)
        (place / "tree/hosts").write_bytes(b"the same\n")
        (place / "tree/motd").write_bytes(motd)
        paths.append(make(place, motd))
    return paths


def as_cpio(place, motd):
    entries = [file_entry("hosts", b"the same\n"), file_entry("motd", motd)]
    (place / "image").write_bytes(gzip.compress(write_cpio(entries), mtime=0))
    return place / "image"


def as_apkovl(place, motd):
    entries = [
        ApkovlEntry(name=name, mode=0o100644, data=data)
        for name, data in (("etc/hosts", b"the same\n"), ("etc/motd", motd))
    ]
    (place / "image").write_bytes(write_apkovl(entries))
    return place / "image"


def as_squashfs(place, motd):
    make_squashfs(place / "tree", place / "image")
    return place / "image"


def as_iso(place, motd):
    run_program(
        ["xorriso", "-as", "mkisofs", "-quiet", "-o", place / "image", "-R", place / "tree"]
    )
    return place / "image"


@pytest.mark.parametrize("make", [as_cpio, as_apkovl, as_squashfs, as_iso])
def test_a_member_is_named(tmp_path, make):
    first, second = written(tmp_path, make)
    lines = explain(first, second, tmp_path)
    assert any("members differ; " in line and "motd: another content" in line for line in lines)
    assert lines[-3] == "  4 bytes; first difference at offset 0 (0x0), 3 bytes differ"
    assert "|one.|" in lines[-2]
    assert "|two.|" in lines[-1]


def test_a_container_of_the_same_members(tmp_path):
    entries = [file_entry("hosts", b"the same\n" * 200)]
    for level in (1, 9):
        (tmp_path / str(level)).write_bytes(gzip.compress(write_cpio(entries), level, mtime=0))
    assert explain(tmp_path / "1", tmp_path / "9", tmp_path)[-1] == (
        "all 1 members are the same: order, compression or padding of the container itself"
    )


def made(about, path=None):
    return compare.Made(step="x", about=about, path=path)


def test_a_mode_is_a_difference():
    first, second = {"a": made("0644 ff"), "b": made("0644 00")}, {"a": made("0600 ff")}
    assert compare.differing(first, second) == ["a", "b"]
    assert compare.differing(second, first) == ["a", "b"]
    assert compare.differing(first, first) == []


def test_directories_that_nobody_may_write_are_removed(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    (tmp_path / "a/b").chmod(0o555)
    remove_tree(tmp_path / "a")
    assert not (tmp_path / "a").exists()
