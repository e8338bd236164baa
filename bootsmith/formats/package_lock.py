"""The lock of the stand-in's Debian packages: one line each, sorted, comments with `#`.

    # note: linux-image-amd64: 6.1.192-2 is gone, took 6.1.195-1
    name  version  architecture  size_bytes  sha256

The words are separated by blanks. Notes are comments that the resolver wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bootsmith.errors import FormatError

_NOTE = "# note: "
# Debian policy 5.6.1 and 5.6.12; both become words on a command line and in file names.
_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]+")
_VERSION = re.compile(r"[A-Za-z0-9.+:~-]+")
_ARCHITECTURES = ("amd64", "all")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHAPE = "name version architecture size_bytes sha256"


@dataclass(frozen=True, kw_only=True)
class LockedPackage:
    """One Debian package, down to its bytes."""

    name: str
    version: str
    architecture: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The name apt gives the downloaded file (an epoch's colon is written %3a)."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True, kw_only=True)
class PackageLock:
    """All packages, at most one of each name, and what the resolver had to say."""

    packages: tuple[LockedPackage, ...]
    notes: tuple[str, ...] = ()

    def by_name(self) -> dict[str, LockedPackage]:
        """The packages by their names."""
        return {package.name: package for package in self.packages}


def read_package_lock(text: str, *, subject: object = "lock") -> PackageLock:
    """The lock in `text`. Raises FormatError with the line's number."""
    packages: dict[str, LockedPackage] = {}
    notes = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_NOTE):
            notes.append(line.removeprefix(_NOTE))
        if line.startswith("#") or not line.strip():
            continue
        package = _parse_line(line, f"{subject}:{number}")
        if package.name in packages:
            raise FormatError(
                f"{subject}:{number}",
                f"{package.name} is locked twice",
                hint="keep one of the two lines",
            )
        packages[package.name] = package
    return PackageLock(packages=tuple(packages.values()), notes=tuple(notes))


def write_package_lock(packages: Iterable[LockedPackage], *, notes: Iterable[str] = ()) -> str:
    """The text of a lock: notes, then packages in the order of their names."""
    ordered = sorted(packages, key=lambda package: package.name)
    lines = ["# Debian packages that the stand-in is made of.", f"# {_SHAPE}"]
    lines += [f"{_NOTE}{note}" for note in notes]
    lines += [
        f"{package.name} {package.version} {package.architecture} "
        f"{package.size_bytes} {package.sha256}"
        for package in ordered
    ]
    return "\n".join(lines) + "\n"


def _parse_line(line: str, subject: str) -> LockedPackage:
    words = line.split()
    if len(words) != len(_SHAPE.split()):
        raise FormatError(
            subject,
            "not a locked package",
            expected=_SHAPE,
            got=f"{line[:80]!a}",
            hint="write the lock anew: doit lock",
        )
    name, version, architecture, size, sha256 = words
    for what, is_right, text in (
        ("package name", _NAME.fullmatch(name), name),
        ("version", _VERSION.fullmatch(version), version),
        ("architecture", architecture in _ARCHITECTURES, architecture),
        ("size in bytes", size.isascii() and size.isdigit(), size),
        ("sha256", _SHA256.fullmatch(sha256), sha256),
    ):
        if not is_right:
            raise FormatError(
                subject,
                f"not a valid {what}",
                got=f"{text[:80]!a}",
                hint="write the lock anew: doit lock",
            )
    return LockedPackage(
        name=name, version=version, architecture=architecture, size_bytes=int(size), sha256=sha256
    )
