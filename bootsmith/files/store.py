"""The content store: each distinct file once, named by its sha256.

Objects are copies of what steps built, never hard links to it: a target edited in
place must not reach a published generation. Copies are reflinks where the filesystem
has them and keep holes where it has not.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.files.atomic import replacing_file
from bootsmith.files.digest import sha256_of

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)


class Store:
    """Objects below one directory, as `<first two digits>/<sha256>`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def object_path(self, sha256: str) -> Path:
        """Where the object of this digest lies or would lie."""
        return self.directory / sha256[:2] / sha256

    def add(self, source: Path, sha256: str) -> Path:
        """Make sure that `source`, whose digest is `sha256`, is in the store.

        An object that is there but no longer has its digest is replaced. Raises
        PublishError if `source` changed while it was being copied.
        """
        stored = self.object_path(sha256)
        if stored.is_file() and sha256_of(stored) == sha256:
            return stored
        # Read-only: an editor or a read-write loop mount on a published file shall stumble,
        # for the same inode serves every generation that holds this content.
        with replacing_file(stored, mode=0o444) as partial:
            clone_file(source, partial)
            copied = sha256_of(partial)
            if copied != sha256:
                raise PublishError(
                    source,
                    "changed while it was being stored",
                    expected=f"sha256 {sha256}",
                    got=f"sha256 {copied}",
                    hint="let nothing write below artifacts/build, then build again",
                )
        return stored

    def link(self, sha256: str, target: Path) -> None:
        """Give the object a second name at `target` (a copy where links cannot be)."""
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.object_path(sha256), target)
        except OSError as error:
            # Filesystems without hard links, or an object at its link limit.
            if error.errno not in (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV):
                raise
            with replacing_file(target) as partial:
                clone_file(self.object_path(sha256), partial)


def clone_file(source: Path, target: Path) -> None:
    """Fill the existing empty file `target` with the content and holes of `source`."""
    with open(source, "rb") as reader, open(target, "r+b") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            return
        except OSError:
            pass  # no reflinks here; copy the data ranges instead
        size_bytes = os.fstat(reader.fileno()).st_size
        os.truncate(writer.fileno(), size_bytes)
        for start, end in data_ranges(reader.fileno(), size_bytes):
            _copy_range(reader.fileno(), writer.fileno(), start, end)


def data_ranges(descriptor: int, size_bytes: int) -> list[tuple[int, int]]:
    """The (start, end) byte ranges of a file that are not holes."""
    ranges = []
    position = 0
    while position < size_bytes:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                break
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        ranges.append((start, end))
        position = end
    return ranges


def _copy_range(reader: int, writer: int, start: int, end: int) -> None:
    while start < end:
        copied = os.copy_file_range(reader, writer, end - start, start, start)
        if copied == 0:
            raise PublishError("store", "a file shrank while it was being copied")
        start += copied
