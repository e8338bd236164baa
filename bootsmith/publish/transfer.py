"""What both ways of delivering have in common: names go in, and what is wrong comes out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

Progress = Callable[[str, int, int | None], None]


class Transfer(Protocol):
    """Brings the contents of one generation to one place. Paths are below the place."""

    def would_send(self, path: str, earlier: Sequence[str]) -> int:
        """Bytes that `send` would send now, at most; nothing is changed.

        `path` is among `earlier` if some of it is there.
        """

    def send(self, path: str, earlier: Sequence[str]) -> int:
        """Make the directory `path` equal to the contents; how many bytes were sent for it.

        What is there already is gone on with. Files that a directory of `earlier` has get
        another name instead of being sent.
        """

    def mend(self, path: str, wrong: Collection[str]) -> int:
        """Put in order what `find_wrong` found, trusting no size or time; bytes sent."""

    def find_wrong(self, path: str) -> list[str]:
        """Everything in the directory `path` that is missing, too much, or not as it should be.

        Every byte there is read.
        """
