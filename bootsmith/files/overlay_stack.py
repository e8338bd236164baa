"""Overlay trees, laid over each other with their ownership files.

Later trees lie over earlier ones. From the working tree only names, contents, link targets
and the executable bit count; owner and mode come from ownership files, so a checkout under
another umask or user gives the same entries.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bootsmith.errors import FormatError, RecipeError
from bootsmith.formats.apkovl import ApkovlEntry, check_entry_name
from bootsmith.formats.ownership import (
    OwnershipRule,
    created_directories,
    match_rules,
    read_ownership,
)

FILE_MODE = stat.S_IFREG | 0o644
_DIRECTORY_MODE = stat.S_IFDIR | 0o755
_LINK_MODE = stat.S_IFLNK | 0o777
# A label that the host's own security module puts on every file says nothing about the overlay.
_HOST_ATTRIBUTES = frozenset({"security.selinux"})
_READ_LIMIT_BYTES = 1 << 30


class OverlayStack:
    """Trees laid over each other: what stands at each path, and the rule that holds there."""

    def __init__(self, trees: Sequence[Path] = (), owners: Sequence[Path | None] = ()) -> None:
        """`trees` and `owners` go in pairs, lowest first."""
        self._entries: dict[str, ApkovlEntry] = {}
        self._rules: dict[str, OwnershipRule] = {}
        for tree, ownership in zip(trees, owners, strict=True):
            self.lay(_Tree(tree), ownership)

    def with_trees(self, trees: Sequence[Path], owners: Sequence[Path | None]) -> OverlayStack:
        """Another stack: this one, and more trees on top."""
        higher = OverlayStack()
        higher._entries, higher._rules = dict(self._entries), dict(self._rules)
        for tree, ownership in zip(trees, owners, strict=True):
            higher.lay(_Tree(tree), ownership)
        return higher

    @property
    def ruled(self) -> frozenset[str]:
        """Names whose owner (and mode, if it says one) an ownership file gives."""
        return frozenset(self._rules)

    def lay(self, tree: _Tree, ownership: Path | None) -> None:
        """Put `tree` on top.

        A rule of a lower tree holds for the same path in a higher one, until that has a
        rule of its own: a file that was private stays so when it is replaced.
        """
        found = {entry.name: entry for entry in tree.entries()}
        if ownership is not None:
            rules = _read_rules(ownership)
            for name in created_directories(rules):
                _check_name(tree, name, is_directory=True)
                found.setdefault(name, ApkovlEntry(name=name, mode=_DIRECTORY_MODE))
            add_parents(found)
            is_directory = {name: stat.S_ISDIR(entry.mode) for name, entry in found.items()}
            self._rules |= match_rules(
                rules,
                directories=[name for name, true in is_directory.items() if true],
                files=[name for name, true in is_directory.items() if not true],
            )
        for name, entry in found.items():
            below = self._entries.get(name)
            if below is not None and stat.S_ISDIR(below.mode) != stat.S_ISDIR(entry.mode):
                raise RecipeError(
                    f"{tree.shown}/{_shown_name(name)}",
                    f"is a {_kind(entry)} here and a {_kind(below)} in a lower overlay",
                    hint="rename or remove one of the two",
                )
        self._entries |= found

    def entries(self) -> dict[str, ApkovlEntry]:
        """Everything by name, with owners and modes as the rules say."""
        entries = dict(self._entries)
        for name, rule in self._rules.items():
            entry = entries[name]
            mode = entry.mode if rule.mode is None else stat.S_IFMT(entry.mode) | rule.mode
            entries[name] = replace(entry, mode=mode, uid=rule.uid, gid=rule.gid)
        return entries


class _Tree:
    """One overlay directory on disk."""

    def __init__(self, root: Path) -> None:
        self.shown = f"{root.parent.name}/{root.name}"
        self._root = os.fspath(root)

    def entries(self) -> Iterator[ApkovlEntry]:
        """Every entry below the root, with root as owner and modes that git can carry."""
        pending = [""]
        while pending:
            directory = pending.pop()
            for found in self._listed(directory):
                name = f"{directory}{found.name}"
                entry = self._entry(name, found)
                if stat.S_ISDIR(entry.mode):
                    pending.append(f"{name}/")
                yield entry

    def _listed(self, directory: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(f"{self._root}/{directory}") as found:
                return list(found)
        except OSError as error:
            raise self._unreadable(directory.rstrip("/"), error) from None

    def _entry(self, name: str, found: os.DirEntry[str]) -> ApkovlEntry:
        try:
            status = found.stat(follow_symlinks=False)
            kind = stat.S_IFMT(status.st_mode)
            _check_name(self, name, is_directory=kind == stat.S_IFDIR)
            self._check_attributes(name, found.path)
            if kind == stat.S_IFDIR:
                return ApkovlEntry(name=name, mode=_DIRECTORY_MODE)
            if kind == stat.S_IFLNK:
                target = os.fsencode(os.readlink(found.path))
                return ApkovlEntry(name=name, mode=_LINK_MODE, data=target)
            if kind == stat.S_IFREG:
                executable = 0o111 if status.st_mode & 0o100 else 0
                data = self._content(name, found.path)
                return ApkovlEntry(name=name, mode=FILE_MODE | executable, data=data)
        except OSError as error:
            raise self._unreadable(name, error) from None
        raise RecipeError(
            f"{self.shown}/{_shown_name(name)}",
            f"is a {_KINDS.get(kind, 'special file')}",
            expected="files, directories and symbolic links",
            hint="remove it; a device manager makes such files at boot",
        )

    def _content(self, name: str, path: str) -> bytes:
        # What was a regular file a moment ago must still be one: no link, no waiting pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            size_bytes = os.fstat(descriptor).st_size
            if size_bytes > _READ_LIMIT_BYTES:
                raise RecipeError(
                    f"{self.shown}/{_shown_name(name)}",
                    "file too large for an overlay",
                    expected="at most 1 GiB, since it is unpacked into memory at boot",
                    got=f"{size_bytes} bytes",
                    hint="let the machine fetch it after boot, from an etc/local.d/*.start script",
                )
            data = os.read(descriptor, size_bytes + 1)
            while len(data) < size_bytes and (more := os.read(descriptor, size_bytes)):
                data += more
            return data
        finally:
            os.close(descriptor)

    def _check_attributes(self, name: str, path: str) -> None:
        try:
            attributes = set(os.listxattr(path, follow_symlinks=False)) - _HOST_ATTRIBUTES
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return
            raise
        if attributes:
            raise RecipeError(
                f"{self.shown}/{_shown_name(name)}",
                "has extended attributes, which an apkovl cannot carry",
                got=", ".join(sorted(attributes)),
                hint="remove them (setfattr -x, setcap -r); capabilities can be set by an "
                "etc/local.d/*.start script",
            )

    def _unreadable(self, name: str, error: OSError) -> RecipeError:
        subject = f"{self.shown}/{_shown_name(name)}".rstrip("/")
        return RecipeError(subject, f"cannot be read: {error.strerror}", hint=_mending(error))


_KINDS = {
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
}


def _read_rules(ownership: Path) -> tuple[OwnershipRule, ...]:
    subject = f"{ownership.parent.name}/{ownership.name}"
    try:
        text = ownership.read_bytes()
    except OSError as error:
        raise RecipeError(
            subject, f"cannot be read: {error.strerror}", hint=_mending(error)
        ) from None
    return read_ownership(text, subject=subject)


def _mending(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "make it, or take its name out of the template's overlays"
    return "correct its mode or owner, so that whoever builds may read it"


def _check_name(tree: _Tree, name: str, *, is_directory: bool) -> None:
    try:
        check_entry_name(name, is_directory=is_directory)
    except FormatError as error:
        raise RecipeError(
            f"{tree.shown}/{_shown_name(name)}",
            error.problem,
            expected=error.expected,
            got=error.got,
            hint=error.hint,
        ) from None


def service_links(runlevels: Mapping[str, Sequence[str]]) -> Iterator[ApkovlEntry]:
    """The links by which OpenRC starts services: services by runlevel in, entries out."""
    for runlevel, services in runlevels.items():
        for service in services:
            yield ApkovlEntry(
                name=f"etc/runlevels/{runlevel}/{service}",
                mode=_LINK_MODE,
                data=f"/etc/init.d/{service}".encode(),
            )


def add_parents(entries: dict[str, ApkovlEntry]) -> None:
    """Directories above every entry: tar would make them under the guest's umask."""
    for name in list(entries):
        parent = name.rpartition("/")[0]
        while parent and parent not in entries:
            entries[parent] = ApkovlEntry(name=parent, mode=_DIRECTORY_MODE)
            parent = parent.rpartition("/")[0]
        if parent and not stat.S_ISDIR(entries[parent].mode):
            raise RecipeError(
                _shown_name(name),
                f"lies below {_shown_name(parent)}, which is a {_kind(entries[parent])}",
                hint="rename or remove one of the two",
            )


def _kind(entry: ApkovlEntry) -> str:
    """What an entry is, in words."""
    if stat.S_ISDIR(entry.mode):
        return "directory"
    return "symbolic link" if stat.S_ISLNK(entry.mode) else "file"


def _shown_name(name: str) -> str:
    """A name as errors show it."""
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= 120 else f"{text[:60]}..."
