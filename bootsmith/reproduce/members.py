"""What a container holds, so that a difference can be told by the name of the member.

Our own readers serve where there is one: they read what was built as machines will.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import BootsmithError
from bootsmith.files.archive import read_archive
from bootsmith.files.iso9660 import read_iso_tree
from bootsmith.formats.compression import decompress_initramfs
from bootsmith.formats.cpio import MAGIC as CPIO_MAGIC
from bootsmith.formats.cpio import read_cpio
from bootsmith.formats.mbr import read_mbr
from bootsmith.formats.squashfs import Squashfs
from bootsmith.tools.mtools import list_fat_paths, read_fat_file

_LIMIT_BYTES = 1 << 30
_HEAD_BYTES = 0x8006  # where an ISO's first volume descriptor has said what it is
_SECTOR_BYTES = 512
_FAT_TYPES = (0x0B, 0x0C)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member: what is said of it, and its content."""

    about: str
    data: bytes = b""


Members = Mapping[str, Member]


def read_members(path: Path) -> Members | None:
    """The members of a container in its order; None for anything else.

    Nothing is refused here: what cannot be read is no container to us.
    """
    with path.open("rb") as source:
        head = source.read(_HEAD_BYTES)
    for looks_like, reader in _READERS:
        if looks_like(head):
            try:
                members = dict(reader(path))
            except BootsmithError:
                continue
            if members:
                return members
    return None


def _from_squashfs(path: Path) -> Iterator[tuple[str, Member]]:
    image = Squashfs(path.read_bytes(), subject=str(path))
    yield "(superblock)", Member(about=f"made {image.superblock.made_epoch}")
    for entry in image.walk():
        data = image.read_entry(entry, limit_bytes=_LIMIT_BYTES) if entry.type == "file" else b""
        about = f"{entry.type} {entry.mode:04o} {entry.target or ''}".rstrip()
        yield entry.path, Member(about=about, data=data)


def _from_initramfs(path: Path) -> Iterator[tuple[str, Member]]:
    plain = decompress_initramfs(path.read_bytes(), limit_bytes=_LIMIT_BYTES, subject=str(path))
    if not plain.startswith(CPIO_MAGIC):
        return
    for entry in read_cpio(plain, subject=str(path)):
        about = (
            f"{stat.filemode(entry.mode)} {entry.uid}:{entry.gid} time {entry.mtime_epoch} "
            f"device {entry.rdev_major}:{entry.rdev_minor}"
        )
        yield entry.name, Member(about=about, data=bytes(entry.data))


def _from_archive(path: Path) -> Iterator[tuple[str, Member]]:
    for entry in read_archive(path):
        about = (
            f"{entry.kind} {entry.mode:04o} {entry.uid}:{entry.gid} time {entry.mtime_epoch} "
            f"{entry.target}"
        ).rstrip()
        yield entry.name or ".", Member(about=about, data=entry.data)


def _from_iso(path: Path) -> Iterator[tuple[str, Member]]:
    with path.open("rb", buffering=0) as source:
        tree = read_iso_tree(source, subject=path)
        yield "(volume)", Member(about=tree.volume_id)
        for entry in tree.files:
            parts = []
            for position, size_bytes in entry.extents:
                source.seek(position)
                parts.append(source.read(size_bytes))
            about = f"{entry.type} {entry.mode:04o} {entry.target or ''}".rstrip()
            yield entry.path, Member(about=about, data=b"".join(parts))


def _from_fat_disk(path: Path) -> Iterator[tuple[str, Member]]:
    with path.open("rb") as source:
        _, partitions = read_mbr(source.read(_SECTOR_BYTES), subject=path)
    for partition in partitions:
        if partition.type_code in _FAT_TYPES:
            offset_bytes = partition.start_lba * _SECTOR_BYTES
            for name in list_fat_paths(path, offset_bytes=offset_bytes):
                is_directory = name.endswith("/")
                data = b"" if is_directory else read_fat_file(path, name, offset_bytes=offset_bytes)
                yield name, Member(about="directory" if is_directory else "file", data=data)


Reader = Callable[[Path], Iterator[tuple[str, Member]]]

# The first that fits and finds something. A gzip file may be an initramfs or a tar.
_READERS: tuple[tuple[Callable[[bytes], bool], Reader], ...] = (
    (lambda head: head.startswith(b"hsqs"), _from_squashfs),
    (lambda head: head[0x8001:0x8006] == b"CD001", _from_iso),
    (lambda head: head[510:512] == b"\x55\xaa" and head[514:518] != b"HdrS", _from_fat_disk),
    (lambda head: not head.startswith(b"{"), _from_initramfs),
    (lambda head: head.startswith((b"\x1f\x8b", b"!<arch>")), _from_archive),
)


@dataclass(frozen=True, kw_only=True)
class MemberDifference:
    """Which members of two containers differ, in the first one's order."""

    count: int
    total: int
    name: str | None
    """The first that differs; None if none does, only the container around them."""
    problem: str = ""
    contents: tuple[bytes, bytes] | None = None
    """Of the first that differs, where it is its content."""


def compare_members(first: Members, second: Members) -> MemberDifference:
    """What differs between two containers."""
    names = [*first, *(name for name in second if name not in first)]
    differing = [name for name in names if first.get(name) != second.get(name)]
    if not differing:
        problem = "" if [*first] == [*second] else "the same members in another order"
        return MemberDifference(count=0, total=len(names), name=None, problem=problem)
    name = differing[0]
    ours, theirs = first.get(name), second.get(name)
    contents = None
    if ours is None or theirs is None:
        problem = f"only in {'the second' if ours is None else 'the first'}"
    elif ours.about != theirs.about:
        problem = f"{ours.about}, then {theirs.about}"
    else:
        problem, contents = "another content", (ours.data, theirs.data)
    return MemberDifference(
        count=len(differing), total=len(names), name=name, problem=problem, contents=contents
    )
