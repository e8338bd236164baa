"""The tree inside an initramfs, and how it is cut into segments.

A member's content is behind a function: most members are only moved from one place to
another, already compressed, and then nobody needs their bytes.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bootsmith.errors import FormatError
from bootsmith.formats.cpio import CpioEntry, write_cpio

SEGMENT_THRESHOLD_BYTES = 4096
"""A file of this size has a segment of its own; smaller ones compress better together."""

_MOST_LINKS_FOLLOWED = 40  # as path_resolution(7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One name in the tree; members of equal `identity` have equal content, which `load` gives.

    A symbolic link's content is its target, also in `target`. Regular files that share a
    `linked` word are names of one file.
    """

    name: str
    mode: int
    size_bytes: int
    identity: str
    load: Callable[[], bytes | memoryview]
    target: str | None = None
    rdev_major: int = 0
    rdev_minor: int = 0
    uid: int = 0
    gid: int = 0
    linked: str | None = None


def member_of(name: str, mode: int, data: bytes | memoryview = b"") -> Member:
    """A member whose content is at hand."""
    is_link = stat.S_ISLNK(mode)
    return Member(
        name=name,
        mode=mode,
        size_bytes=len(data),
        identity=_digest(data),
        load=lambda: data,
        target=bytes(data).decode("utf-8", "surrogateescape") if is_link else None,
    )


def _digest(data: bytes | memoryview) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def directory_member(name: str) -> Member:
    """A directory that everyone may enter."""
    return member_of(name, stat.S_IFDIR | 0o755)


class InitramfsTree:
    """Names to members, with the links among them followed as the booted kernel would."""

    def __init__(self, members: Iterable[Member], *, subject: str = "initramfs") -> None:
        self._subject = subject
        self._members = {member.name: member for member in members}

    @property
    def members(self) -> Mapping[str, Member]:
        """All members by name."""
        return self._members

    def below(self, directory: str) -> list[str]:
        """Names below `directory`, relative to it, sorted."""
        start = self.resolve(directory) + "/"
        return sorted(name[len(start) :] for name in self._members if name.startswith(start))

    def resolve(self, directory: str) -> str:
        """The name of a directory once every link on its way is followed; "" for the root.

        What lies nowhere yet keeps the name it would get: below `lib` of a usr-merged tree,
        everything is below `usr/lib`.
        """
        done: list[str] = []
        todo = _parts_last_first(directory)
        followed = 0
        while todo:
            part = todo.pop()
            if part == "..":
                done = done[:-1]
                continue
            there = self._members.get("/".join([*done, part]))
            if there is None or there.target is None:
                done.append(part)
                continue
            followed += 1
            if followed > _MOST_LINKS_FOLLOWED:
                raise FormatError(
                    self._subject,
                    f"its symbolic links lead {directory} in a circle",
                    hint="get the release again; it is damaged",
                )
            if there.target.startswith("/"):
                done = []
            todo += _parts_last_first(there.target)
        return "/".join(done)

    def find(self, path: str) -> Member | None:
        """The member at `path`; links among its parents are followed."""
        return self._members.get(self.place_of(path))

    def place_of(self, path: str) -> str:
        """The name that `path` has, or would get; a link in last place is not followed."""
        parent, _, last = path.rpartition("/")
        start = self.resolve(parent)
        return f"{start}/{last}" if start else last

    def add(self, member: Member) -> Member:
        """Put `member` where its name leads, with the directories it lacks; returns it there.

        No directory is ever laid over a link: the kernel would replace the link by an empty
        directory, and a usr-merged tree would lose its programs.
        """
        name = self.place_of(member.name)
        self._add_directories(name.rpartition("/")[0])
        placed = replace(member, name=name)
        self._members[name] = placed
        return placed

    def remove(self, name: str) -> None:
        """Forget the member called `name`."""
        del self._members[name]

    def _add_directories(self, directory: str) -> None:
        parts = directory.split("/") if directory else []
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            there = self._members.get(name)
            if there is None:
                self._members[name] = directory_member(name)
            elif not stat.S_ISDIR(there.mode):
                raise FormatError(
                    self._subject,
                    f"{name} should be a directory",
                    got=stat.filemode(there.mode),
                    hint="use another release; this initramfs is not laid out like Alpine's",
                )


def _parts_last_first(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def settle_links(members: Iterable[Member]) -> list[Member]:
    """The members with `linked` words that depend on names alone; a lone name has none.

    Where some names of a file were replaced or left out, the rest stay one file.
    """
    ordered = sorted(members, key=lambda member: member.name)
    names: dict[str, list[str]] = {}
    for member in ordered:
        if member.linked is not None:
            names.setdefault(member.linked, []).append(member.name)
    return [
        replace(member, linked=names[member.linked][0] if len(names[member.linked]) > 1 else None)
        if member.linked is not None
        else member
        for member in ordered
    ]


def plan_segments(members: Iterable[Member]) -> list[tuple[Member, ...]]:
    """Which members share a segment: all small ones (first), then each large file alone.

    The first segment has every directory, and a name sorts behind that of its parent, so
    the kernel finds the parent of whatever it unpacks. All names of one large file share a
    segment: the kernel forgets links at the end of an archive.
    """
    ordered = sorted(members, key=lambda member: member.name)
    small = tuple(member for member in ordered if not _is_large(member))
    large: dict[str, list[Member]] = {}
    for member in ordered:
        if _is_large(member):
            large.setdefault(member.linked or member.name, []).append(member)
    return ([small] if small else []) + [tuple(names) for names in large.values()]


def is_early(name: str) -> bool:
    """Is this for the kernel itself: processor microcode, ACPI tables? All lies below kernel/.

    It is read before anything is unpacked, so only from plain archives that come first
    (kernel Documentation/arch/x86/microcode.rst).
    """
    return name == "kernel" or name.startswith("kernel/")


def _is_large(member: Member) -> bool:
    return stat.S_ISREG(member.mode) and member.size_bytes >= SEGMENT_THRESHOLD_BYTES


def segment_key(members: Sequence[Member], *, coding: str) -> str:
    """What the bytes of a compressed segment depend on; `coding` tells codec and level."""
    lines = [coding]
    lines += [
        f"{member.name!a} {member.mode:o} {member.rdev_major}:{member.rdev_minor} {member.identity}"
        f" {member.uid}:{member.gid} {member.linked!a}"
        for member in members
    ]
    return _digest("\n".join(lines).encode())


def write_segment(members: Sequence[Member]) -> bytes:
    """The plain archive of these members: of time 0, inodes from 1."""
    return write_cpio(
        CpioEntry(
            name=member.name,
            mode=member.mode,
            data=member.load(),
            uid=member.uid,
            gid=member.gid,
            rdev_major=member.rdev_major,
            rdev_minor=member.rdev_minor,
            linked=member.linked,
        )
        for member in members
    )
