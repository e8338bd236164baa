"""Lists every directory backwards, in each Python process that finds this on its path.

`doit reproduce` puts it there for one of its builds. The same file system lists the same
names in the same order wherever they lie, so a build that depends on that order would look
reproducible on this machine and differ on the next one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Self

_listdir = os.listdir
_scandir = os.scandir


class _Backwards:
    """What os.scandir returns: an iterator that is its own context."""

    def __init__(self, entries: list[os.DirEntry[Any]]) -> None:
        self._entries = reversed(entries)

    def __iter__(self) -> Iterator[os.DirEntry[Any]]:
        return self

    def __next__(self) -> os.DirEntry[Any]:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open: every entry was read at once."""


def listdir(*path: Any) -> Any:
    """As os.listdir, backwards."""
    return _listdir(*path)[::-1]


def scandir(*path: Any) -> Any:
    """As os.scandir, backwards."""
    with _scandir(*path) as entries:
        return _Backwards(list(entries))


os.listdir = listdir  # type: ignore[assignment]  # theirs is overloaded by type of path
os.scandir = scandir  # type: ignore[assignment]
