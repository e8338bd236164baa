"""A whole root filesystem as the members of an archive: from a directory or from a tarball.

Nothing is unpacked to a disk and nothing is run. What an archive in newc form cannot hold is
left out or lost, and said in the notes: sockets, extended attributes such as file
capabilities, access lists.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bootsmith.errors import FormatError, SourceError
from bootsmith.files.archive import DEFAULT_LIMITS, ArchiveMember, Limits, read_archive
from bootsmith.formats.features import expand_globs
from bootsmith.formats.initramfs import InitramfsTree, Member, member_of

_MOST_NAMED = 5
# A label that the host's own security module puts on every file says nothing about the root.
_HOST_ATTRIBUTES = frozenset({"security.selinux"})
_CHANGED_HINT = "build again when nothing writes to it any more"


@dataclass(kw_only=True)
class RootSource:
    """A root filesystem as it was found, and what of it could not be taken along."""

    tree: InitramfsTree
    notes: list[str] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    """Name to version of each package, where the root was made of packages."""


def read_root_directory(
    directory: Path, *, exclude: Sequence[str] = (), keeps_owners: bool = False
) -> RootSource:
    """The tree below `directory`; contents are read when they are wanted.

    Modes, devices and hard links are as on disk. Everything belongs to root, or with
    `keeps_owners` to whom it belongs on this machine. Contents of what `exclude` matches are
    not read. SourceError for what cannot be read.
    """
    found = _FoundOnDisk(directory)
    names = [name for name, _ in found.walk()]
    left_out, notes = _excluded(names, exclude)
    members = []
    for name, status in found.walk():
        if name not in left_out:
            member = found.member(name, status)
            if member is not None and keeps_owners:
                member = replace(member, uid=status.st_uid, gid=status.st_gid)
            members += [member] if member is not None else []
    return RootSource(
        tree=InitramfsTree(members, subject=str(directory)), notes=notes + found.notes()
    )


def read_root_tarball(
    tarball: Path, *, exclude: Sequence[str] = (), limits: Limits = DEFAULT_LIMITS
) -> RootSource:
    """The members of an archive in any format that libarchive reads, owners as in its headers.

    Device nodes, FIFOs and sockets are left out: the guest's devtmpfs has its own. Of two
    members with one name the later wins. FormatError for damage and hostile archives.
    """
    tree = InitramfsTree([], subject=str(tarball))
    lost = _Lost()
    links = 0
    for item in read_archive(tarball, limits=limits, on_special=lost.special, with_attributes=True):
        if not item.name:
            continue
        lost.attributes(item.name, item.attributes)
        if item.kind != "hardlink":
            tree.add(_member_of_item(item))
            continue
        first = tree.find(item.target)
        if first is None or not stat.S_ISREG(first.mode):
            raise FormatError(
                tarball,
                f"{item.name!a} is another name of {item.target!a}, which is no file any more",
                hint="make the archive again from the tree that it was made of",
            )
        links += 1
        first = tree.add(replace(first, linked=first.linked or f"{links}"))
        tree.add(replace(first, name=item.name))
    notes = leave_out(tree, exclude)
    return RootSource(tree=tree, notes=notes + lost.notes())


def leave_out(tree: InitramfsTree, exclude: Sequence[str]) -> list[str]:
    """Remove what the globs match, with all below it; a note for each that matches nothing."""
    matched, notes = _excluded(list(tree.members), exclude)
    for name in matched:
        tree.remove(name)
    return notes


def _member_of_item(item: ArchiveMember) -> Member:
    types = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}
    data = os.fsencode(item.target) if item.kind == "symlink" else item.data
    mode = types[item.kind] | (0o777 if item.kind == "symlink" else item.mode)
    return replace(member_of(item.name, mode, data), uid=item.uid, gid=item.gid)


def _excluded(names: Sequence[str], globs: Sequence[str]) -> tuple[set[str], list[str]]:
    """What the globs match, and a note for each that matches nothing."""
    matched = expand_globs(globs, sorted(names))
    notes = [f"exclude: {glob} matches nothing" for glob in globs if not matched[glob]]
    return {name for found in matched.values() for name in found}, notes


@dataclass(kw_only=True)
class _Lost:
    """What a root had and an initramfs cannot have."""

    specials: dict[str, list[str]] = field(default_factory=dict)
    attributed: dict[str, list[str]] = field(default_factory=dict)

    def special(self, name: str, kind: str) -> None:
        self.specials.setdefault(kind, []).append(name)

    def attributes(self, name: str, attributes: Sequence[str]) -> None:
        for attribute in set(attributes) - _HOST_ATTRIBUTES:
            self.attributed.setdefault(attribute, []).append(name)

    def notes(self) -> list[str]:
        left_out = [
            f"left out, since each is {kind}: {_listed(names)}"
            for kind, names in sorted(self.specials.items())
        ]
        lost = [
            f"the attribute {attribute} is lost: {_listed(names)}"
            for attribute, names in sorted(self.attributed.items())
        ]
        return left_out + lost


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(ascii(name)[1:-1] for name in sorted(names)[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


class _FoundOnDisk:
    """Names below a directory, none of them reached through a link."""

    def __init__(self, directory: Path) -> None:
        self._root = os.fspath(directory)
        self._lost = _Lost()
        self._statuses: list[tuple[str, os.stat_result]] | None = None

    def notes(self) -> list[str]:
        return self._lost.notes()

    def walk(self) -> list[tuple[str, os.stat_result]]:
        """Every name with its status, parents first; asked of the disk once."""
        if self._statuses is None:
            self._statuses = []
            pending = [""]
            while pending:
                start = pending.pop()
                for name, status in self._list(start):
                    self._statuses.append((name, status))
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(f"{name}/")
        return self._statuses

    def _list(self, start: str) -> list[tuple[str, os.stat_result]]:
        try:
            with os.scandir(f"{self._root}/{start}") as entries:
                return [
                    (f"{start}{entry.name}", entry.stat(follow_symlinks=False)) for entry in entries
                ]
        except OSError as error:
            raise _unreadable(f"{self._root}/{start}".rstrip("/"), error) from None

    def member(self, name: str, status: os.stat_result) -> Member | None:
        """The member for one name; None for what no archive holds."""
        path = f"{self._root}/{name}"
        mode = status.st_mode
        try:
            if stat.S_ISSOCK(mode):
                self._lost.special(name, "a socket")
                return None
            if stat.S_ISLNK(mode):
                return member_of(name, stat.S_IFLNK | 0o777, os.fsencode(os.readlink(path)))
            self._lost.attributes(name, _attributes(path))
            if stat.S_ISREG(mode):
                return _file_member(path, name, status)
        except OSError as error:
            raise _unreadable(path, error) from None
        return replace(
            member_of(name, mode),
            rdev_major=os.major(status.st_rdev),
            rdev_minor=os.minor(status.st_rdev),
        )


def _attributes(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:  # a filesystem without attributes has none to lose
        return []


def _file_member(path: str, name: str, status: os.stat_result) -> Member:
    digest, size_bytes = _digest(_content(path))
    return Member(
        name=name,
        mode=status.st_mode,
        size_bytes=size_bytes,
        identity=digest,
        load=partial(_load, path, digest),
        linked=f"{status.st_dev}:{status.st_ino}" if status.st_nlink > 1 else None,
    )


def _digest(content: bytes) -> tuple[str, int]:
    return hashlib.blake2b(content, digest_size=32).hexdigest(), len(content)


def _content(path: str) -> bytes:
    # What was a regular file a moment ago must still be one: no link, no waiting pipe.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        return file.read()


def _load(path: str, digest: str) -> bytes:
    """The content that was seen before, or SourceError: a cache may not hold another's bytes."""
    try:
        content = _content(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if _digest(content)[0] != digest:
        raise SourceError(path, "changed while it was read", hint=_CHANGED_HINT)
    return content


def _unreadable(path: str, error: OSError) -> SourceError:
    if isinstance(error, FileNotFoundError):
        return SourceError(
            path,
            "is not there",
            hint="correct the path in the recipe; or, if something was writing to it, build again",
        )
    return SourceError(
        path,
        f"cannot be read: {error.strerror}",
        hint="give a tarball instead, which holds what only root may read, or build as root",
    )
