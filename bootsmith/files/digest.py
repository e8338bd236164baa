"""Content digests of files and trees, remembered by identity.

A digest may be taken from memory only when nothing says the file could have changed:
device, inode, size, mtime_ns *and* ctime_ns are those of the remembered reading.
(ctime cannot be set back by a program, so `cp -p`, `touch -r` and edits that keep
size and mtime are seen.) A file that changed within the clock's granularity before it
was read is not remembered at all: a second write in the same tick would look the same.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# Kernels stamp files with a clock that ticks every 1 to 10 ms; FAT and some network
# filesystems are far coarser. Two seconds covers all of them, as git assumes too.
_UNSETTLED_NS = 2_000_000_000
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What stat(2) says that decides whether a remembered digest still holds."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """The identity in a stat result."""
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
        )


class DigestMemory(Protocol):
    """Where digests are remembered between runs (the state file)."""

    def recall(self, path: str, identity: Identity) -> str | None:
        """The digest remembered for exactly this identity, or None."""

    def remember(self, path: str, identity: Identity, sha256: str) -> None:
        """Keep a digest."""


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's content, read now."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as source:
        block = bytearray(_BLOCK_BYTES)
        view = memoryview(block)
        while count := source.readinto(block):
            digest.update(view[:count])
    return digest.hexdigest()


def remembered_sha256(path: Path, memory: DigestMemory, status: os.stat_result) -> str:
    """Hex sha256 of the file that `status` describes, read only if memory has none."""
    identity = Identity.of(status)
    known = memory.recall(str(path), identity)
    if known is not None:
        return known
    digest = sha256_of(path)
    # The reading counts for `identity` only if the file still has it.
    if is_settled(status) and Identity.of(os.stat(path)) == identity:
        memory.remember(str(path), identity, digest)
    return digest


def is_settled(status: os.stat_result) -> bool:
    """True when another write to the file would show in its times, by any clock's tick."""
    return time.time_ns() - max(status.st_ctime_ns, status.st_mtime_ns) > _UNSETTLED_NS


def describe_file(path: Path, memory: DigestMemory) -> str:
    """One line that changes whenever content, type, mode, owner or link target change.

    Follows no link: a symbolic link is described by its own target text, and, where it
    leads to a regular file, by that file too. Returns `missing` for nothing there, and says
    `unreadable` where a digest cannot be had: whoever reads the file will say why.
    """
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return f"link -> {os.readlink(path)} ({_describe_link_end(path, memory)})"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as error:
        return f"unreadable ({error.strerror})"
    return _describe(path, status, memory)


def _describe_link_end(path: Path, memory: DigestMemory) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "dangling"
    return _describe(path, status, memory)


def _describe(path: Path, status: os.stat_result, memory: DigestMemory) -> str:
    mode = status.st_mode
    owner = f"{stat.S_IMODE(mode):04o} {status.st_uid}:{status.st_gid}"
    if stat.S_ISDIR(mode):
        return f"directory {owner}"
    if not stat.S_ISREG(mode):
        return f"special {stat.filemode(mode)} {owner}"
    try:
        return f"file {owner} {remembered_sha256(path, memory, status)}"
    except OSError as error:  # also: gone since
        return f"unreadable {owner} ({error.strerror})"


def describe_tree(root: Path, memory: DigestMemory) -> Iterator[tuple[str, str]]:
    """Every entry below `root`, in sorted order, as (relative path, description).

    Links inside a tree are described by their target text alone: they are copied as
    links. The root itself comes first, as `.`.
    """
    yield ".", describe_file(root, memory)
    yield from _describe_below(root, "", memory)


def _describe_below(
    directory: Path, prefix: str, memory: DigestMemory
) -> Iterator[tuple[str, str]]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        yield f"{prefix}*", f"unreadable ({error.strerror})"
        return
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if entry.is_symlink():
            yield name, f"link -> {os.readlink(entry.path)}"
        elif entry.is_dir():
            yield name, describe_file(Path(entry.path), memory)
            yield from _describe_below(Path(entry.path), f"{name}/", memory)
        else:
            yield name, describe_file(Path(entry.path), memory)
