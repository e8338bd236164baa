"""Which git commit a directory was checked out from, read from .git itself.

No program is run and nothing outside .git is looked at, so this says nothing about files
that were changed since the checkout. Source of the layout: git's gitrepository-layout(5).
"""

from __future__ import annotations

import re
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"refs/[!-~]+")
_MOST_REFERENCES = 5  # as git: a reference to a reference to … ends somewhere
_LIMIT_BYTES = 64 << 20


def checked_out_commit(directory: Path) -> str | None:
    """Hex digits of the commit that HEAD names; None where that cannot be told."""
    try:
        repository = _repository(directory)
        return _commit(repository) if repository is not None else None
    except (OSError, ValueError):
        return None


def _repository(directory: Path) -> Path | None:
    """The .git of the work tree that `directory` lies in."""
    for place in (directory, *directory.parents):
        found = place / ".git"
        if found.is_dir():
            return found
        if found.is_file():  # a linked work tree, a submodule
            return place / _read(found).removeprefix("gitdir: ")
    return None


def _commit(repository: Path) -> str | None:
    value = _read(repository / "HEAD")
    for _ in range(_MOST_REFERENCES):
        if _COMMIT.fullmatch(value):
            return value
        name = value.removeprefix("ref: ")
        if not _REF.fullmatch(name) or ".." in name:
            return None
        value = _reference(repository, name)
    return None


def _reference(repository: Path, name: str) -> str:
    shared = repository / "commondir"
    places = [repository, repository / _read(shared)] if shared.is_file() else [repository]
    for place in places:
        if (place / name).is_file():
            return _read(place / name)
    for line in _read(places[-1] / "packed-refs").splitlines():
        commit, _, reference = line.partition(" ")
        if reference == name:
            return commit
    return ""


def _read(path: Path) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read(_LIMIT_BYTES).strip()
