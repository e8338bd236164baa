"""A whole root filesystem made of a release's own packages, without running any of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bootsmith.errors import BuildError
from bootsmith.files.release_packages import ReleasePackages
from bootsmith.files.root_sources import RootSource, leave_out
from bootsmith.formats.apk import Apk, ApkEntry, IndexRecord
from bootsmith.formats.apk_closure import close_packages
from bootsmith.formats.apk_database import write_installed
from bootsmith.formats.apk_version import read_constraint
from bootsmith.formats.initramfs import InitramfsTree, Member, member_of

_DATABASE = "lib/apk/db"
_TYPES = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}


def read_package_root(
    packages: ReleasePackages,
    wanted: Sequence[str],
    *,
    exclude: Sequence[str] = (),
    subject: str,
) -> RootSource:
    """What `wanted` (as in `etc/apk/world`) and all that it needs unpack to.

    apk's database and `etc/apk/world` say what is installed; no script of a package has
    run, so accounts and links that scripts would make are missing: a note names the packages.
    """
    tree = InitramfsTree([], subject=subject)
    owners: dict[str, IndexRecord] = {}
    installed: list[tuple[IndexRecord, Apk]] = []
    for record in close_packages(packages.on_medium, wanted, subject=subject):
        apk = packages.open(record)
        for entry in apk.entries:
            _unpack(tree, owners, record, entry, subject)
        # The database needs names and digests of files only while it is written: packages
        # are kept, since a root of them must fit a machine's memory anyway.
        installed.append((record, apk))
    for member in _database(installed, wanted):
        tree.add(member)
    notes = leave_out(tree, exclude)
    scripted = [record.info.name for record, apk in installed if apk.scripts]
    if scripted:
        notes.append(f"scripts that did not run: those of {', '.join(scripted)}")
    versions = {record.info.name: record.info.version for record, _ in installed}
    return RootSource(tree=tree, notes=notes, packages=versions)


def _unpack(
    tree: InitramfsTree,
    owners: dict[str, IndexRecord],
    record: IndexRecord,
    entry: ApkEntry,
    subject: str,
) -> None:
    there = tree.find(entry.name)
    if entry.kind == "directory":
        # Two packages may share a directory; the first one's mode holds, as in apk's database.
        if there is None:
            tree.add(_member(entry))
        return
    name = tree.place_of(entry.name)
    member = _linked_member(tree, entry, subject) if entry.kind == "hardlink" else _member(entry)
    other = owners.get(name)
    if there is not None and not _may_replace(there, member, other, record):
        if other is not None and _replaces(other, record):
            return
        raise BuildError(
            subject,
            f"{record.file_name} has {entry.name}, and so has "
            f"{other.file_name if other is not None else 'a directory of another package'}",
            hint="leave one of the two packages out of the recipe",
        )
    tree.add(member)
    owners[name] = record


def _may_replace(
    there: Member, member: Member, other: IndexRecord | None, record: IndexRecord
) -> bool:
    if stat.S_ISDIR(there.mode):
        return False
    is_same = (there.mode, there.identity) == (member.mode, member.identity)
    return is_same or other is record or (other is not None and _replaces(record, other))


def _replaces(one: IndexRecord, other: IndexRecord) -> bool:
    constraints = (read_constraint(text) for text in one.info.replaces)
    return one.info.origin == other.info.origin != "" or any(
        constraint.name == other.info.name and constraint.accepts(other.info.version)
        for constraint in constraints
    )


def _member(entry: ApkEntry) -> Member:
    is_link = entry.kind == "symlink"
    data = os.fsencode(entry.target) if is_link else entry.data
    mode = _TYPES[entry.kind] | (0o777 if is_link else entry.mode)
    return replace(member_of(entry.name, mode, data), uid=entry.uid, gid=entry.gid)


def _linked_member(tree: InitramfsTree, entry: ApkEntry, subject: str) -> Member:
    first = tree.find(entry.target)
    if first is None or not stat.S_ISREG(first.mode):
        raise BuildError(
            subject,
            f"{entry.name} is another name of {entry.target}, which is no file of its package",
            hint="use another release; this package is damaged",
        )
    first = tree.add(replace(first, linked=first.linked or first.name))
    return replace(first, name=entry.name)


def _database(
    installed: Sequence[tuple[IndexRecord, Apk]], wanted: Sequence[str]
) -> Iterator[Member]:
    world = "".join(f"{text}\n" for text in sorted(wanted))
    arch = next((record.info.arch for record, _ in installed if record.info.arch != "noarch"), "")
    texts = {
        "etc/apk/world": world.encode(),
        "etc/apk/arch": f"{arch}\n".encode(),
        f"{_DATABASE}/installed": write_installed(installed),
        # apk keeps the scripts of what is installed; to it these packages have none.
        f"{_DATABASE}/scripts.tar": b"\0" * 1024,
        f"{_DATABASE}/triggers": b"",
        f"{_DATABASE}/lock": b"",
    }
    for name, text in texts.items():
        yield member_of(name, stat.S_IFREG | 0o644, text)
