"""The content store: each distinct file once, named by its sha256.

Objects are copies of what steps built, never hard links to it: a target edited in
place must not reach a published generation. Copies are reflinks where the filesystem
has them and keep holes where it has not.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.files.atomic import make_directory, replacing_file
from bootsmith.files.batch import FileBatch
from bootsmith.files.digest import sha256_of

_DIGITS = frozenset("0123456789abcdef")
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)


@dataclass(frozen=True)
class Content:
    """What an object is to be made of: `fill` writes it to the empty file that it is given."""

    subject: str
    """Where it comes from, for errors."""
    fill: Callable[[Path], None]
    hint: str
    """What to do if it turns out to be something else."""


class Store:
    """Objects below one directory, as `<first two digits>/<sha256>`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.replaced: list[Path] = []
        """Objects that were there without having their digest any more."""

    def object_path(self, sha256: str) -> Path:
        """Where the object of this digest lies or would lie."""
        return self.directory / sha256[:2] / sha256

    def is_place(self, path: Path) -> bool:
        """Whether an object could lie at `path`."""
        name = path.name
        return len(name) == 64 and set(name) <= _DIGITS and path == self.object_path(name)

    def add(self, source: Path, sha256: str) -> Path:
        """Make sure that `source`, whose digest is `sha256`, is in the store.

        An object that is there but no longer has its digest is replaced. Raises
        PublishError if `source` changed while it was being copied.
        """
        stored = self.object_path(sha256)
        if stored.is_file():
            if sha256_of(stored) == sha256:
                return stored
            self.replaced.append(stored)
        # Read-only: an editor or a read-write loop mount on a published file shall stumble,
        # for the same inode serves every generation that holds this content.
        with replacing_file(stored, mode=0o444) as partial:
            clone_file(source, partial)
            _check_copy(partial, source, sha256, _WRITTEN_MEANWHILE)
        return stored

    def add_all(self, contents: Mapping[str, Content]) -> None:
        """Make an object of each of `contents`, by digest: all or none.

        What is there under these digests is taken for damaged. Made durable together, for there
        may be thousands. PublishError for one that turns out to have another digest.
        """
        self.replaced += [path for path in map(self.object_path, contents) if path.exists()]
        for directory in {self.object_path(sha256).parent for sha256 in contents}:
            make_directory(directory)
        with FileBatch(mode=0o444) as batch:
            for sha256, content in contents.items():
                partial = Path(batch.new(str(self.object_path(sha256))))
                content.fill(partial)
                _check_copy(partial, content.subject, sha256, content.hint)

    def link(self, sha256: str, target: Path) -> None:
        """Give the object a second name at `target` (a copy where links cannot be)."""
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.object_path(sha256), target)
        except OSError as error:
            # Filesystems without hard links, or an object at its link limit.
            if error.errno not in (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV):
                raise
            with replacing_file(target, mode=0o444) as partial:
                clone_file(self.object_path(sha256), partial)


_WRITTEN_MEANWHILE = "let nothing write below artifacts/build, then build again"


def _check_copy(copy: Path, source: object, sha256: str, hint: str) -> None:
    copied = sha256_of(copy)
    if copied != sha256:
        raise PublishError(
            source,
            "changed while it was being stored",
            expected=f"sha256 {sha256}",
            got=f"sha256 {copied}",
            hint=hint,
        )


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
        copied = _copy_some(reader, writer, start, end - start)
        if copied == 0:
            raise PublishError(
                "store",
                "a file shrank while it was being copied",
                hint="let nothing write below artifacts/build while doit runs, then run it again",
            )
        start += copied


def _copy_some(reader: int, writer: int, start: int, size_bytes: int) -> int:
    try:
        return os.copy_file_range(reader, writer, size_bytes, start, start)
    except OSError as error:
        # Kernels since 5.19 do it between file systems of one kind only.
        if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
    os.lseek(writer, start, os.SEEK_SET)
    return os.sendfile(writer, reader, start, size_bytes)
