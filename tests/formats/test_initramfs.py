"""The tree inside an initramfs: links followed, parents first, segments by size."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.cpio import read_cpio
from bootsmith.formats.initramfs import (
    SEGMENT_THRESHOLD_BYTES,
    InitramfsTree,
    directory_member,
    member_of,
    plan_segments,
    segment_key,
    write_segment,
)

FILE = stat.S_IFREG | 0o644


def link(name, target):
    return member_of(name, stat.S_IFLNK | 0o777, target.encode())


@pytest.fixture
def merged():
    return InitramfsTree(
        [
            directory_member("usr"),
            directory_member("usr/lib"),
            link("lib", "usr/lib"),
            link("lib64", "/lib"),
            link("round", "circle"),
            link("circle", "round"),
            member_of("usr/lib/libc.so", FILE, b"c"),
            member_of("etc", FILE, b"odd"),
        ]
    )


def test_names_follow_the_links_of_a_usr_merged_tree(merged):
    assert merged.resolve("lib/modules/6.6") == "usr/lib/modules/6.6"
    assert merged.resolve("lib64/x/../y/.") == "usr/lib/y"
    assert merged.place_of("lib") == "lib"
    assert merged.find("lib64/libc.so") is merged.members["usr/lib/libc.so"]
    assert merged.find("lib64/nothing") is None
    assert merged.below("lib") == ["libc.so"]


def test_what_is_added_never_lays_a_directory_over_a_link(merged):
    placed = merged.add(member_of("lib/modules/6.6/modules.dep", FILE, b""))
    assert placed.name == "usr/lib/modules/6.6/modules.dep"
    assert stat.S_ISLNK(merged.members["lib"].mode)
    added = ("usr/lib/modules", "usr/lib/modules/6.6")
    assert all(stat.S_ISDIR(merged.members[name].mode) for name in added)


def test_links_in_a_circle_are_an_error(merged):
    with pytest.raises(FormatError) as caught:
        merged.resolve("round/x")
    assert caught.value.message == "initramfs: its symbolic links lead round/x in a circle"


def test_a_file_is_no_directory(merged):
    with pytest.raises(FormatError) as caught:
        merged.add(member_of("etc/passwd", FILE, b""))
    assert caught.value.message == "initramfs: etc should be a directory; got -rw-r--r--"


def test_small_files_share_the_first_segment_and_parents_come_first():
    large = bytes(SEGMENT_THRESHOLD_BYTES)
    groups = plan_segments(
        [
            member_of("a/b/large", FILE, large),
            member_of("a/b/small", FILE, large[1:]),
            directory_member("a/b"),
            directory_member("a"),
            link("a-link", "a"),
        ]
    )
    assert [[member.name for member in group] for group in groups] == [
        ["a", "a-link", "a/b", "a/b/small"],
        ["a/b/large"],
    ]
    assert plan_segments([]) == []


def test_the_names_of_one_file_share_a_segment():
    large = bytes(SEGMENT_THRESHOLD_BYTES)
    members = [
        replace(member_of(name, FILE, data), linked=linked)
        for name, data, linked in [
            ("a", large, "1"),
            ("b", large, None),
            ("c", large, "1"),
            ("d", b"small", "2"),
            ("e", b"small", "2"),
        ]
    ]
    groups = plan_segments(members)
    assert [[member.name for member in group] for group in groups] == [
        ["d", "e"],
        ["a", "c"],
        ["b"],
    ]
    archive = write_segment(groups[1])
    assert archive.count(large) == 1
    assert [bytes(entry.data) for entry in read_cpio(archive)] == [large, large]


def test_the_key_changes_with_whatever_changes_the_bytes():
    base = member_of("a", FILE, b"x")
    others = [
        member_of("b", FILE, b"x"),
        member_of("a", FILE | 0o111, b"x"),
        member_of("a", FILE, b"y"),
        replace(base, uid=1),
        replace(base, gid=1),
        replace(base, linked="1"),
    ]
    keys = {segment_key([member], coding="gzip 6") for member in [base, *others]}
    keys |= {segment_key([base], coding="gzip 9"), segment_key([base, base], coding="gzip 6")}
    assert len(keys) == 9
    again = member_of("a", FILE, b"x")
    assert segment_key([again], coding="gzip 6") == segment_key([base], coding="gzip 6")


def test_a_segment_is_an_archive_owned_by_root_at_time_zero():
    (entry,) = read_cpio(write_segment([member_of("a", FILE, b"x")]))
    assert (entry.name, bytes(entry.data), entry.mode) == ("a", b"x", FILE)
    assert (entry.uid, entry.gid, entry.mtime_epoch) == (0, 0, 0)
