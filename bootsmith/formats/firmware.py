"""Which files of a firmware tree answer what a module asks for.

A module names `vendor/blob.bin`; the kernel also takes `vendor/blob.bin.xz` or `.zst`, and
follows links, of which linux-firmware has many, to files and to directories.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from bootsmith.formats.features import expand_globs
from bootsmith.formats.kernel_modules import COMPRESSED_SUFFIXES

_MOST_LINKS = 40  # as the kernel counts them


class FirmwareTree:
    """Names below the firmware directory: a link's target, or None for a file."""

    def __init__(self, links: Mapping[str, str | None]) -> None:
        self._links = links
        self._names = sorted(links)

    def matching(self, globs: list[str]) -> set[str]:
        """Names that match one of `globs`; a directory stands for all below it."""
        return {name for found in expand_globs(globs, self._names).values() for name in found}

    def answering(self, wanted: str) -> set[str]:
        """Files that answer `wanted` (a path, or a glob), and the links that lead to them.

        Empty if there is no such file. Links in a circle, or out of the tree, answer nothing.
        """
        answer: set[str] = set()
        for suffix in ("", *COMPRESSED_SUFFIXES):
            passed, place = self._through_links(wanted + suffix)
            for name in self.matching([place]) if place else ():
                target = self._links[name]
                if target is None:
                    answer |= {name, *passed}
                else:
                    further, end = self._through_links(name)
                    ends = self.matching([end]) if end else set()
                    if ends:
                        answer |= {*passed, *further, *ends}
        return answer

    def _through_links(self, name: str) -> tuple[set[str], str | None]:
        """Links on the way, and where it ends; None where it never does."""
        passed: set[str] = set()
        for _ in range(_MOST_LINKS):
            link = next((part for part in _parents(name) if self._links.get(part)), None)
            if link is None:
                return passed, name
            passed.add(link)
            end = posixpath.join(posixpath.dirname(link), self._links[link] or "")
            name = posixpath.normpath(end + name[len(link) :])
            if name.startswith(("/", "..")):
                return passed, None
        return passed, None


def _parents(name: str) -> list[str]:
    """`a`, `a/b` and `a/b/c` for `a/b/c`."""
    ends = [at for at, letter in enumerate(name) if letter == "/"]
    return [*(name[:end] for end in ends), name]
