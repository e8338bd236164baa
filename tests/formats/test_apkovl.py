"""The tar inside an apkovl, read by every tar that matters."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.formats.apkovl import ApkovlEntry, write_apkovl, write_members
from bootsmith.tools.run import run_program

FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777

# Around every limit of ustar: name 100 bytes, prefix 155 more, link target 100.
NAMES = [
    "etc/hostname",
    "etc/a b",
    "etc/-dash",
    "etc/ünïcode",
    "etc/\udcff\udcfe",
    "etc/.hidden",
    "etc/" + "n" * 96,
    "etc/" + "n" * 97,
    "d" * 100 + "/" + "n" * 100,
    "e" * 155 + "/" + "n" * 100,
    "f" * 156 + "/" + "n" * 100,
    "g" * 100 + "/" + "n" * 101,
    "h/" * 90 + "leaf",
    "i/" * 400 + "leaf",
]
TREE = [
    ApkovlEntry(name="etc", mode=DIRECTORY),
    ApkovlEntry(name="root", mode=stat.S_IFDIR | 0o700),
    ApkovlEntry(name="j" * 99, mode=DIRECTORY),
    ApkovlEntry(name="k" * 120, mode=DIRECTORY),
    *(ApkovlEntry(name=name, mode=FILE, data=name.encode("utf-8", "replace")) for name in NAMES),
    ApkovlEntry(name="etc/empty", mode=FILE),
    ApkovlEntry(name="etc/block", mode=FILE, data=b"x" * 512),
    ApkovlEntry(name="etc/shadow", mode=stat.S_IFREG | 0o640, gid=42, data=b"secret\n"),
    ApkovlEntry(name="etc/setuid", mode=stat.S_IFREG | 0o4755, uid=65534, gid=65533),
    ApkovlEntry(name="etc/dangling", mode=LINK, data=b"nowhere"),
    ApkovlEntry(name="etc/runlevels/default/local", mode=LINK, data=b"/etc/init.d/local"),
    ApkovlEntry(name="etc/long-target", mode=LINK, data=b"t" * 100),
    ApkovlEntry(name="etc/longer-target", mode=LINK, data=b"t" * 101),
    ApkovlEntry(name="etc/" + "l" * 120, mode=LINK, data=b"../" + b"u" * 200),
]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("apkovl") / "x.apkovl.tar.gz"
    path.write_bytes(write_apkovl(TREE))
    return path


def unpacked_with(program: str, packed: Path, target: Path) -> Path:
    target.mkdir()
    argv = {
        "gnu": ["tar", "--numeric-owner", "-C", target, "-xpzf", packed],
        "bsd": ["bsdtar", "--numeric-owner", "-C", target, "-xpzf", packed],
        "busybox": ["busybox", "tar", "-C", target, "-zxf", packed],
    }[program]
    run_program(argv)
    return target


@pytest.mark.parametrize("program", ["gnu", "bsd", "busybox"])
def test_every_tar_unpacks_the_same_tree(program, packed, tmp_path):
    root = os.fsencode(unpacked_with(program, packed, tmp_path / program))
    for entry in TREE:
        path = os.path.join(root, entry.name.encode("utf-8", "surrogateescape"))
        status = os.lstat(path)
        assert stat.S_IFMT(status.st_mode) == stat.S_IFMT(entry.mode), entry.name
        # busybox sets times of files only.
        assert status.st_mtime == 0 or not stat.S_ISREG(entry.mode)
        if stat.S_ISLNK(entry.mode):
            assert os.readlink(path) == entry.data
            continue
        assert stat.S_IMODE(status.st_mode) == stat.S_IMODE(entry.mode), entry.name
        if os.geteuid() == 0:
            assert (status.st_uid, status.st_gid) == (entry.uid, entry.gid)
        if stat.S_ISREG(entry.mode):
            assert Path(os.fsdecode(path)).read_bytes() == entry.data


def test_python_lists_the_same_members(packed):
    with tarfile.open(packed) as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert len(members) == len(TREE)
    for entry in TREE:
        member = members[entry.name]
        assert member.mode == stat.S_IMODE(entry.mode)
        assert (member.uid, member.gid, member.mtime) == (entry.uid, entry.gid, 0)
        assert member.linkname == (os.fsdecode(entry.data) if member.issym() else "")
        assert member.uname == ("root" if entry.uid == 0 else "")


def test_the_listing_that_init_gives_to_apk(packed):
    """busybox tar -zxv: one line a member, no `./`, a slash in each, directories end in one."""
    listed = run_program(["busybox", "tar", "-tzf", packed]).stdout.decode(
        "utf-8", "surrogateescape"
    )
    lines = listed.splitlines()
    names = {entry.name + "/" * stat.S_ISDIR(entry.mode) for entry in TREE}
    # busybox shows what it cannot print as question marks; the names it unpacks are right.
    printable = {name for name in names if name.isascii()}
    assert len(lines) == len(TREE)
    assert printable <= set(lines)
    assert all("/" in line and not line.startswith("./") for line in lines)


def test_order_of_entries_does_not_matter():
    assert write_members(TREE) == write_members(reversed(TREE))


def test_a_directory_comes_before_what_is_below_it():
    names = tarfile.open(fileobj=io.BytesIO(write_members(TREE))).getnames()
    assert names.index("etc") < names.index("etc/hostname")
    both = [
        ApkovlEntry(name="a/x", mode=FILE),
        ApkovlEntry(name="a-b", mode=DIRECTORY),
        ApkovlEntry(name="a", mode=DIRECTORY),
    ]
    names = tarfile.open(fileobj=io.BytesIO(write_members(both))).getnames()
    assert names == ["a", "a/x", "a-b"]


def test_gnu_tar_makes_the_same_headers(tmp_path):
    """Byte for byte what GNU tar writes in ustar form."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc").chmod(0o755)
    (tmp_path / "etc/hostname").write_bytes(b"x\n")
    (tmp_path / "etc/hostname").chmod(0o644)
    (tmp_path / "etc/link").symlink_to("hostname")
    argv = ["tar", "-C", tmp_path, "--format=ustar", "--sort=name", "--mtime=@0"]
    theirs = run_program([*argv, "--owner=root:0", "--group=root:0", "-cf", "-", "etc"]).stdout
    ours = write_members(
        [
            ApkovlEntry(name="etc", mode=DIRECTORY),
            ApkovlEntry(name="etc/hostname", mode=FILE, data=b"x\n"),
            ApkovlEntry(name="etc/link", mode=LINK, data=b"hostname"),
        ]
    )
    assert ours == theirs


def test_gzip_header_has_neither_time_nor_name():
    packed = write_apkovl(TREE)
    assert packed[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    assert gzip.decompress(packed) == write_members(TREE)


names = st.lists(
    st.text(
        st.characters(blacklist_characters="/", min_codepoint=0x20, max_codepoint=0x2FF)
    ).filter(lambda part: part not in {"", ".", ".."} and "\x7f" not in part),
    min_size=2,
    max_size=6,
).map("/".join)


@given(st.dictionaries(names, st.binary(max_size=2000), max_size=8))
def test_round_trip_through_tarfile(contents):
    entries = [ApkovlEntry(name=name, mode=FILE, data=data) for name, data in contents.items()]
    with tarfile.open(fileobj=io.BytesIO(write_members(entries))) as tar:
        read = {member.name: tar.extractfile(member).read() for member in tar}
    assert read == contents


@pytest.mark.parametrize(
    "entries, message",
    [
        (
            [ApkovlEntry(name="motd", mode=FILE)],
            "'motd': only directories can stand at the top of an overlay\n"
            "  next: move it into a directory: apk would end its overlay list at this name",
        ),
        (
            [ApkovlEntry(name="lib64", mode=LINK, data=b"lib")],
            "'lib64': only directories can stand at the top of an overlay\n"
            "  next: move it into a directory: apk would end its overlay list at this name",
        ),
        (
            [ApkovlEntry(name="etc/a\nb", mode=FILE)],
            "'etc/a\\nb': name holds a control character\n"
            "  next: rename it: apk reads one per line",
        ),
        (
            [ApkovlEntry(name="etc/" + "x" * 1021, mode=FILE)],
            f"'etc/{'x' * 56}'...: name too long; expected at most 1024 bytes, got 1025\n"
            "  next: give it or its directories shorter names",
        ),
        (
            [ApkovlEntry(name="etc/null", mode=stat.S_IFCHR | 0o666)],
            "'etc/null': cannot be in an apkovl; expected a file, a directory or a symbolic link, "
            "got mode 20666\n  next: leave it out of the overlay",
        ),
        (
            [ApkovlEntry(name="etc/link", mode=LINK)],
            "'etc/link': link target is empty or holds a NUL\n"
            "  next: make the link again, or leave it out of the overlay",
        ),
        (
            [ApkovlEntry(name="etc/x", mode=FILE), ApkovlEntry(name="etc/x", mode=FILE)],
            "'etc/x': is in the overlay twice\n  next: remove one of the two",
        ),
        (
            [ApkovlEntry(name="etc/x", mode=FILE, uid=1 << 21)],
            "b'etc/x': owner number does not fit; got 2097152:0\n"
            "  next: use a smaller number in the ownership file",
        ),
    ],
)
def test_what_a_guest_would_trip_over_is_refused(entries, message):
    with pytest.raises(FormatError) as caught:
        write_apkovl(entries)
    assert str(caught.value) == message


def test_more_than_memory_should_hold_is_refused():
    half = bytes((1 << 29) + 1)
    entries = [ApkovlEntry(name=f"etc/{name}", mode=FILE, data=half) for name in "ab"]
    with pytest.raises(FormatError) as caught:
        write_members(entries)
    assert str(caught.value) == (
        "apkovl: content too large; expected at most 1 GiB, since it is unpacked into memory at "
        "boot\n  next: leave large files to a server or a disk"
    )
