"""newc, against GNU cpio and bsdtar in both directions."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.formats.cpio import (
    CpioEntry,
    archive_length,
    directory_entry,
    file_entry,
    link_entry,
    read_cpio,
    write_cpio,
)
from bootsmith.tools.run import run_program

ENTRIES = [
    directory_entry("a"),
    file_entry("a/b", b"hello"),
    link_entry("a/c", "b"),
    file_entry("a/ü", b"", mode=0o4755),
    CpioEntry(name="console", mode=stat.S_IFCHR | 0o600, rdev_major=5, rdev_minor=1),
]


def plain(entries):
    return [(entry.name, entry.mode, bytes(entry.data)) for entry in entries]


def part():
    return st.text(
        st.characters(min_codepoint=0x20, exclude_characters="/\x7f", exclude_categories=["Cs"]),
        min_size=1,
        max_size=20,
    ).filter(lambda text: text not in (".", "..") and text != "TRAILER!!!")


@given(
    st.lists(
        st.builds(
            CpioEntry,
            name=st.lists(part(), min_size=1, max_size=4).map("/".join),
            mode=st.sampled_from([0o100644, 0o100755, 0o120777, 0o040755]),
            data=st.binary(max_size=50),
            uid=st.integers(0, 2**32 - 1),
            gid=st.integers(0, 2**32 - 1),
            mtime_epoch=st.integers(0, 2**32 - 1),
        ),
        max_size=8,
    ),
    st.integers(0, 9),
)
def test_what_was_written_is_read_again(entries, zeros):
    data = write_cpio(entries)
    assert len(data) % 4 == 0
    assert archive_length(data + bytes(zeros)) == len(data)
    read = read_cpio(data + bytes(zeros) + data)
    assert read == entries + entries


@given(st.binary(max_size=300))
def test_damage_is_an_error_or_nothing(noise):
    archive = bytearray(write_cpio(ENTRIES))
    archive[200 : 200 + len(noise)] = noise
    try:
        read_cpio(bytes(archive))
    except FormatError:
        pass


def test_gnu_cpio_unpacks_what_we_write(tmp_path):
    run_program(["cpio", "-idm", "--quiet"], stdin=write_cpio(ENTRIES), cwd=tmp_path)
    assert (tmp_path / "a/b").read_bytes() == b"hello"
    assert os.readlink(tmp_path / "a/c") == "b"
    assert stat.S_IMODE((tmp_path / "a/ü").stat().st_mode) == 0o4755
    assert (tmp_path / "console").stat().st_rdev == os.makedev(5, 1)


def test_bsdtar_lists_what_we_write():
    listed = run_program(["bsdtar", "-tf", "-"], stdin=write_cpio(ENTRIES)).text
    assert listed.splitlines() == ["a", "a/b", "a/c", "a/ü", "console"]


LINKED = [
    directory_entry("bin"),
    CpioEntry(name="bin/ifup", mode=0o100755, data=b"program", linked="1"),
    file_entry("etc", b"alone"),
    directory_entry("sbin"),
    CpioEntry(name="sbin/empty", mode=0o100644, linked="2"),
    CpioEntry(name="sbin/ifdown", mode=0o100755, data=b"program", linked="1"),
    CpioEntry(name="sbin/ifquery", mode=0o100755, data=b"program", linked="1"),
    CpioEntry(name="void", mode=0o100644, linked="2"),
]


def test_gnu_cpio_restores_the_hard_links_that_we_write(tmp_path):
    archive = write_cpio(LINKED)
    assert archive.count(b"program") == 1
    run_program(["cpio", "-idm", "--quiet"], stdin=archive, cwd=tmp_path)
    inodes = {}
    for name in ("bin/ifup", "sbin/ifdown", "sbin/ifquery", "sbin/empty", "void", "etc"):
        inodes.setdefault((tmp_path / name).stat().st_ino, []).append(name)
    assert list(inodes.values()) == [
        ["bin/ifup", "sbin/ifdown", "sbin/ifquery"],
        ["sbin/empty", "void"],
        ["etc"],
    ]
    assert (tmp_path / "bin/ifup").read_bytes() == b"program"
    assert (tmp_path / "bin/ifup").stat().st_mode == 0o100755
    assert (tmp_path / "void").read_bytes() == b""


def test_gnu_cpio_counts_the_hard_links_that_we_write():
    listed = run_program(["cpio", "-itv", "--quiet"], stdin=write_cpio(LINKED)).text
    counts = {line.split()[-1]: int(line.split()[1]) for line in listed.splitlines()}
    assert counts == {
        "bin": 2,
        "bin/ifup": 3,
        "etc": 1,
        "sbin": 2,
        "sbin/empty": 2,
        "sbin/ifdown": 3,
        "sbin/ifquery": 3,
        "void": 2,
    }


def test_bsdtar_restores_the_hard_links_that_we_write(tmp_path):
    run_program(["bsdtar", "-xf", "-"], stdin=write_cpio(LINKED), cwd=tmp_path)
    assert (tmp_path / "bin/ifup").read_bytes() == b"program"
    assert (tmp_path / "sbin/ifdown").samefile(tmp_path / "bin/ifup")
    assert (tmp_path / "sbin/ifquery").samefile(tmp_path / "bin/ifup")


def test_what_was_written_linked_is_read_with_its_content():
    assert plain(read_cpio(write_cpio(LINKED))) == plain(LINKED)


@pytest.mark.parametrize("format_name", ["newc", "crc"])
def test_gnu_cpio_is_read_with_its_hard_links(tmp_path, format_name):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/one").write_bytes(b"shared content")
    os.link(tmp_path / "d/one", tmp_path / "d/two")
    (tmp_path / "d/three").symlink_to("one")
    names = b".\n./d\n./d/one\n./d/three\n./d/two\n"
    data = run_program(
        ["cpio", "-o", "-H", format_name, "--quiet"], stdin=names, cwd=tmp_path
    ).stdout
    read = {entry.name: bytes(entry.data) for entry in read_cpio(data)}
    assert read == {
        "d": b"",
        "d/one": b"shared content",
        "d/two": b"shared content",
        "d/three": b"one",
    }


def test_bsdtar_is_read(tmp_path):
    (tmp_path / "x").write_bytes(b"x" * 1000)
    data = run_program(["bsdtar", "-cf", "-", "--format", "newc", "x"], cwd=tmp_path).stdout
    assert [(entry.name, bytes(entry.data)) for entry in read_cpio(data)] == [("x", b"x" * 1000)]


def test_links_of_one_archive_do_not_reach_into_the_next():
    entry = CpioEntry(name="x", mode=stat.S_IFREG | 0o644, data=b"1")
    archive = bytearray(write_cpio([entry]))
    archive[38:46] = b"00000002"  # nlink: the name of another file is still to come
    other = bytearray(write_cpio([CpioEntry(name="y", mode=stat.S_IFREG | 0o644)]))
    other[38:46] = b"00000002"
    assert plain(read_cpio(bytes(archive + other)))[1] == ("y", 0o100644, b"")


def test_names_are_made_relative_and_the_root_is_left_out():
    data = write_cpio([file_entry("xx/y", b"")]).replace(b"xx/y\0", b"./yy\0")
    assert [entry.name for entry in read_cpio(data)] == ["yy"]
    root = write_cpio([directory_entry("x")]).replace(b"x\0", b".\0", 1)
    assert read_cpio(root) == []


BROKEN = {
    "cpio: no newc header at byte 0; expected 070701, got 070707": b"070707" + bytes(200),
    "cpio: the archive ends inside the header of the entry at byte 0": write_cpio(ENTRIES)[:50],
    "cpio: the archive ends inside the name of the entry at byte 0": write_cpio(ENTRIES)[:111],
    "cpio: the archive ends inside the content of the entry at byte 112": (
        write_cpio(ENTRIES)[:228]
    ),
    "cpio: the header at byte 0 holds something other than hexadecimal digits": (
        b"070701 x" + bytes(200)
    ),
    "cpio: member name climbs out with ..; got 'a/../../b'": write_cpio(
        [file_entry("a/xx/yy/b", b"")]
    ).replace(b"a/xx/yy/b", b"a/../../b"),
    "cpio: the name of the entry at byte 0 does not end at its NUL byte": write_cpio(
        [file_entry("abc", b"")]
    ).replace(b"abc\0", b"a\0c\0"),
    "cpio: the content of a does not match its checksum": write_cpio(
        [file_entry("a", b"x")]
    ).replace(b"070701", b"070702", 1),
}


@pytest.mark.parametrize("message", BROKEN)
def test_each_damage_has_its_words(message):
    with pytest.raises(FormatError) as caught:
        read_cpio(BROKEN[message])
    assert caught.value.message == message


@pytest.mark.parametrize("name", ["", "/a", "a/../b", "./a", "TRAILER!!!", "a\0b", "n" * 4096])
def test_names_that_no_kernel_would_take_are_not_written(name):
    with pytest.raises(FormatError) as caught:
        write_cpio([file_entry(name, b"")])
    assert caught.value.message == (
        f"cpio: {name!r} cannot name an entry; "
        "expected a relative name below 4096 bytes, without . or .. in it"
    )
