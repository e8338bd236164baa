"""apkovl: a template's overlay trees, stacked and packed with what its recipe says.

Later trees lie over earlier ones. From the working tree only names, contents, link targets
and the executable bit count; owner and mode come from ownership files, so a checkout under
another umask or user gives the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bootsmith.errors import FormatError, RecipeError
from bootsmith.files.atomic import write_file
from bootsmith.formats.apkovl import ApkovlEntry, check_entry_name, write_apkovl
from bootsmith.formats.ownership import (
    OwnershipRule,
    created_directories,
    match_rules,
    read_ownership,
)

TEMPLATE_FILE = "etc/bootsmith/template"
DIGEST_FILE = "etc/bootsmith/overlay"
HOSTNAME_FILE = "etc/hostname"
WORLD_FILE = "etc/apk/world"
DEFAULT_SERVICES_FILE = "etc/.default_boot_services"

_FILE_MODE = stat.S_IFREG | 0o644
_DIRECTORY_MODE = stat.S_IFDIR | 0o755
_LINK_MODE = stat.S_IFLNK | 0o777
# A label that the host's own security module puts on every file says nothing about the overlay.
_HOST_ATTRIBUTES = frozenset({"security.selinux"})
_READ_LIMIT_BYTES = 1 << 30


def build_apkovl(
    *,
    overlays: Sequence[Path],
    owners: Sequence[Path | None],
    template: str,
    hostname: str,
    packages: Sequence[str],
    runlevels: Mapping[str, Sequence[str]],
    default_boot_services: bool,
    output: Path,
    contents: Path,
) -> None:
    """Write the apkovl `output` and `contents`, the JSON list of its members.

    `overlays` and `owners` go in pairs, lowest first; `packages` are apk constraints,
    `runlevels` services by OpenRC runlevel. Raises RecipeError for what cannot be packed;
    both outputs stay as they were then.
    """
    stack = _Stack()
    for tree, ownership in zip(overlays, owners, strict=True):
        stack.lay(_Tree(tree), ownership)
    entries = stack.entries()
    recipe = {
        HOSTNAME_FILE: f"{hostname}\n",
        WORLD_FILE: "".join(f"{name}\n" for name in sorted({"alpine-base", *packages})),
        TEMPLATE_FILE: f"{template}\n",
    }
    if default_boot_services:
        recipe[DEFAULT_SERVICES_FILE] = ""
    for name, text in recipe.items():
        _add(entries, ApkovlEntry(name=name, mode=_FILE_MODE, data=text.encode()))
    for entry in _service_links(runlevels):
        if entries.get(entry.name) != entry:  # a tree may bring the very same link
            _add(entries, entry)
    _add_parents(entries)
    digests = _content_digests(entries)
    digest = _overlay_digest(entries, digests)
    proof = ApkovlEntry(name=DIGEST_FILE, mode=_FILE_MODE, data=f"{digest}\n".encode())
    _add(entries, proof)
    digests |= _content_digests({DIGEST_FILE: proof})
    packed = write_apkovl(entries.values())
    write_file(contents, _listing(template, digest, entries, digests), durable=False)
    write_file(output, packed)


class _Stack:
    """Trees laid over each other: what stands at each path, and the rule that holds there."""

    def __init__(self) -> None:
        self._entries: dict[str, ApkovlEntry] = {}
        self._rules: dict[str, OwnershipRule] = {}

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
            _add_parents(found)
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
                return ApkovlEntry(name=name, mode=_FILE_MODE | executable, data=data)
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
        return RecipeError(subject, f"cannot be read: {error.strerror}")


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
        raise RecipeError(subject, f"cannot be read: {error.strerror}") from None
    return read_ownership(text, subject=subject)


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


def _service_links(runlevels: Mapping[str, Sequence[str]]) -> Iterator[ApkovlEntry]:
    for runlevel, services in runlevels.items():
        for service in services:
            yield ApkovlEntry(
                name=f"etc/runlevels/{runlevel}/{service}",
                mode=_LINK_MODE,
                data=f"/etc/init.d/{service}".encode(),
            )


def _add(entries: dict[str, ApkovlEntry], entry: ApkovlEntry) -> None:
    """Add what the recipe says; a tree that says it too would win or lose unnoticed."""
    if entry.name in entries:
        raise RecipeError(
            entry.name,
            "stands in an overlay, but is written from the template's recipe",
            hint="remove the file, or say in the recipe what it says",
        )
    entries[entry.name] = entry


def _add_parents(entries: dict[str, ApkovlEntry]) -> None:
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


def _content_digests(entries: Mapping[str, ApkovlEntry]) -> dict[str, str]:
    return {name: hashlib.sha256(entry.data).hexdigest() for name, entry in entries.items()}


def _overlay_digest(entries: Mapping[str, ApkovlEntry], digests: Mapping[str, str]) -> str:
    """What a booted machine can tell of its overlay: a digest of all members but this one."""
    lines = [
        f"{name}\0{entry.mode:o} {entry.uid}:{entry.gid} {digests[name]}\n"
        for name, entry in sorted(entries.items())
    ]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _listing(
    template: str,
    overlay_digest: str,
    entries: Mapping[str, ApkovlEntry],
    digests: Mapping[str, str],
) -> bytes:
    members = {
        name: {
            "mode": f"{entry.mode:06o}",
            "owner": f"{entry.uid}:{entry.gid}",
            "sha256": digests[name],
            "size_bytes": len(entry.data),
        }
        for name, entry in entries.items()
    }
    document = {
        "schema": 1,
        "template": template,
        "overlay_sha256": overlay_digest,
        "members": members,
    }
    return (json.dumps(document, sort_keys=True) + "\n").encode()


def _kind(entry: ApkovlEntry) -> str:
    if stat.S_ISDIR(entry.mode):
        return "directory"
    return "symbolic link" if stat.S_ISLNK(entry.mode) else "file"


def _shown_name(name: str) -> str:
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= 120 else f"{text[:60]}..."
