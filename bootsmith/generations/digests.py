"""Digests of what lies in generations and in the store, each inode read once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bootsmith.files.digest import sha256_of
from bootsmith.files.netboot_tree import Inode
from bootsmith.formats.manifest import Manifest
from bootsmith.generations.tree_check import TreeCheck, check_of

Progress = Callable[[str, int, int | None], None]
_THREADS = 2  # hashing lets go of the interpreter's lock; more would starve other work
_FILES_AT_ONCE = 64
"""Small files are handed to a thread by the armful: handing over costs as much as reading one."""
_BYTES_AT_ONCE = 1 << 20


class Digests:
    """sha256 of files, each inode read once, on two threads."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._known: dict[Inode, str] = {}
        self._trees: dict[Path, TreeCheck | None] = {}
        self.read_bytes = 0

    def read(self, paths: Iterable[Path | str]) -> None:
        """Read those of `paths` that are regular files and not known yet."""
        wanted: dict[Inode, tuple[Path | str, int]] = {}
        for path in paths:
            status = _regular(path)
            if status is not None and _inode(status) not in self._known:
                wanted.setdefault(_inode(status), (path, status.st_size))
        total = sum(size_bytes for _, size_bytes in wanted.values())
        done = 0
        with ThreadPoolExecutor(_THREADS) as pool:
            batches = list(_batches(wanted))
            for batch, digests in zip(batches, pool.map(_read_all, batches), strict=True):
                for (inode, _, size_bytes), digest in zip(batch, digests, strict=True):
                    self._known[inode] = digest
                    done += size_bytes
                if self._progress:
                    self._progress(f"reading {os.path.basename(batch[-1][1])}", done, total)
        self.read_bytes += done

    def take(self, path: Path | str, sha256: str) -> None:
        """Believe the caller, who has just read this file: what links to it need not be read."""
        self._known[_inode(os.lstat(path))] = sha256

    def tree(self, generation: Path, manifest: Manifest) -> TreeCheck | None:
        """The netboot tree of a generation, looked through once; None if its index is damaged."""
        if generation not in self._trees:
            self._trees[generation] = check_of(generation, manifest)
        return self._trees[generation]

    def of_inode(self, inode: Inode) -> str | None:
        """Hex digits, or in words why not; None if it was not read."""
        return self._known.get(inode)

    def of(self, path: Path | str) -> str | None:
        """Hex digits, or in words why not; None where there is no regular file."""
        status = _regular(path)
        if status is None:
            return None
        if _inode(status) not in self._known:
            self.read([path])
        return self._known[_inode(status)]


_Work = tuple[Inode, Path | str, int]


def _batches(wanted: dict[Inode, tuple[Path | str, int]]) -> Iterator[list[_Work]]:
    batch: list[_Work] = []
    size_bytes = 0
    for inode, (path, size) in wanted.items():
        batch.append((inode, path, size))
        size_bytes += size
        if len(batch) >= _FILES_AT_ONCE or size_bytes >= _BYTES_AT_ONCE:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _read_all(batch: list[_Work]) -> list[str]:
    return [_digest_or_trouble(path) for _, path, _ in batch]


def _digest_or_trouble(path: Path | str) -> str:
    try:
        return sha256_of(Path(path))
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _regular(path: Path | str) -> os.stat_result | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _inode(status: os.stat_result) -> Inode:
    return status.st_dev, status.st_ino
