"""Which Debian packages, in which versions, and getting them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from bootsmith.builders.standin.recipe import StandinData, read_standin_data
from bootsmith.errors import SourceError
from bootsmith.files.atomic import write_file
from bootsmith.files.digest import sha256_of
from bootsmith.formats.package_lock import (
    LockedPackage,
    PackageLock,
    read_package_lock,
    write_package_lock,
)
from bootsmith.tools import apt

Progress = Callable[[str, int, int | None], None]


def resolve_packages(
    *,
    data: Path,
    pinned: Path | None,
    flavors: Sequence[str],
    state: Path,
    output: Path,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Write the lock of every Debian package that the stand-in of `flavors` needs.

    A package keeps the version and digest that `pinned` gives it as long as apt still
    offers exactly that; otherwise it gets the newest candidate, and the lock says so and
    `tell` is told. `pinned=None` takes candidates throughout: that is how the committed
    lock is made. `state` is a directory of apt's that may be kept between runs.
    Raises SourceError for a package that no source offers.
    """
    report = progress or (lambda _message, _done, _total: None)
    pins = read_lock(pinned).by_name() if pinned else {}
    contents = read_standin_data(data)
    report("asking the Debian mirrors what they offer", 0, None)
    apt.prepare_state(state)
    apt.update_lists(state)
    locked: dict[str, LockedPackage] = {}
    notes: list[str] = []
    wanted = _wanted_names(contents, flavors)
    while missing := sorted(wanted - locked.keys()):
        for name, (package, stanza) in _choose(state, missing, pins, notes).items():
            locked[name] = package
            if name in contents.kernel_metapackages(flavors):
                wanted.add(_kernel_image_of(name, stanza))
    if notes and tell is not None:
        tell(f"{'; '.join(notes)}; to pin what there is now: doit lock")
    write_file(output, write_package_lock(locked.values(), notes=notes).encode())


def fetch_packages(
    *,
    lock: Path,
    state: Path,
    packages: Path,
    manifest: Path,
    progress: Progress | None = None,
) -> None:
    """Have every locked package as a file below `packages`; write `manifest` last.

    Files that are there with the right digest are kept, so an interrupted fetch goes on.
    The manifest is JSON, `{file name: {"sha256", "size_bytes"}}`. Raises SourceError.
    """
    tell = progress or (lambda _message, _done, _total: None)
    locked = read_lock(lock).packages
    packages.mkdir(parents=True, exist_ok=True)
    missing = [package for package in locked if not _is_here(packages, package)]
    total_bytes = sum(package.size_bytes for package in missing)

    def tell_bytes(done_bytes: int) -> None:
        tell("downloading Debian packages (bytes)", done_bytes, total_bytes)

    if missing:
        _download(state, missing, packages, tell_bytes)
    facts = {
        package.file_name: {"sha256": package.sha256, "size_bytes": package.size_bytes}
        for package in locked
    }
    write_file(manifest, (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode())


def read_lock(path: Path) -> PackageLock:
    """The lock in a file; SourceError if there is none."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise SourceError(
            path, "the package lock is missing", hint="make it with: doit lock"
        ) from None
    return read_package_lock(text, subject=path)


def _wanted_names(contents: StandinData, flavors: Sequence[str]) -> set[str]:
    names = set(contents.boot_debs) | set(contents.kernel_metapackages(flavors))
    for package in contents.packages:
        names.update(package.debs)
    return names


def _choose(
    state: Path, names: Sequence[str], pins: Mapping[str, LockedPackage], notes: list[str]
) -> dict[str, tuple[LockedPackage, apt.Stanza]]:
    """For each name the pinned package if it can still be had, else the candidate."""
    offered = apt.show_packages(state, names, every_version=True)
    by_digest = {(stanza["Package"], stanza.get("SHA256")): stanza for stanza in offered}
    candidates: dict[str, apt.Stanza] = {}
    for stanza in apt.show_packages(state, names, every_version=False):
        candidates.setdefault(stanza["Package"], stanza)
    chosen = {}
    for name in names:
        pin = pins.get(name)
        if pin and (name, pin.sha256) in by_digest:
            stanza = by_digest[name, pin.sha256]
        elif name in candidates:
            stanza = candidates[name]
            notes += _note_of(name, pin, stanza, is_partly_pinned=bool(pins))
        else:
            raise SourceError(
                name,
                "no Debian package of this name in this machine's sources",
                expected="sources of Debian 12",
                hint="see that this machine reaches its Debian mirror: apt-get update",
            )
        chosen[name] = (_locked(stanza), stanza)
    return chosen


def _note_of(
    name: str, pin: LockedPackage | None, stanza: apt.Stanza, *, is_partly_pinned: bool
) -> Iterable[str]:
    if pin is not None:
        yield f"{name}: {pin.version} can no longer be had, took {stanza['Version']}"
    elif is_partly_pinned:
        yield f"{name}: not in the committed lock, took {stanza['Version']}"


def _locked(stanza: apt.Stanza) -> LockedPackage:
    return LockedPackage(
        name=stanza["Package"],
        version=stanza["Version"],
        architecture=stanza["Architecture"],
        size_bytes=int(stanza["Size"]),
        sha256=stanza["SHA256"],
    )


def _kernel_image_of(metapackage: str, stanza: apt.Stanza) -> str:
    """The versioned image package that a kernel's metapackage depends on."""
    names = re.findall(r"linux-image-[0-9][a-z0-9.+-]*", stanza.get("Depends", ""))
    if len(names) != 1:
        raise SourceError(
            metapackage,
            "does not name one kernel image",
            expected="a dependency linux-image-<version>",
            got=stanza.get("Depends", "no dependencies"),
        )
    return names[0]


def _is_here(packages: Path, package: LockedPackage) -> bool:
    path = packages / package.file_name
    try:
        return path.stat().st_size == package.size_bytes and sha256_of(path) == package.sha256
    except FileNotFoundError:
        return False


def _download(
    state: Path,
    missing: Sequence[LockedPackage],
    packages: Path,
    tell_bytes: Callable[[int], None],
) -> None:
    incoming = packages / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    try:
        apt.prepare_state(state)
        wanted = [f"{package.name}={package.version}" for package in missing]
        try:
            apt.download_packages(state, wanted, incoming, progress=tell_bytes)
        except SourceError:
            # The lists may be older than the lock; ask once more with fresh ones.
            apt.update_lists(state)
            apt.download_packages(state, wanted, incoming, progress=tell_bytes)
        for package in missing:
            _accept(incoming / package.file_name, package, packages)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _accept(arrived: Path, package: LockedPackage, packages: Path) -> None:
    got = hashlib.sha256(arrived.read_bytes()).hexdigest() if arrived.exists() else "no file"
    if got != package.sha256:
        raise SourceError(
            f"{package.name} {package.version}",
            "the mirror's package is not the locked one",
            expected=f"sha256 {package.sha256}",
            got=got,
            hint="resolve the lock again; if it repeats, do not trust that mirror",
        )
    arrived.chmod(0o644)
    os.replace(arrived, packages / package.file_name)
