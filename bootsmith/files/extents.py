"""Byte ranges of files: copied without passing through the process, read, or mapped.

An extent is a pair (offset_bytes, size_bytes). copy_file_range(2) lets the kernel share
blocks (btrfs, XFS) or move them without a copy to user space; where it is not possible
(other filesystem, old kernel, a pipe's end) plain reads and writes take over.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootsmith.errors import SourceError

Extents = Sequence[tuple[int, int]]

_CHUNK_BYTES = 1 << 30  # the kernel caps one call at 2 GiB; one this large stays interruptible
_BUFFER_BYTES = 1 << 20
_NOT_POSSIBLE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF}


def copy_range(src_fd: int, offset: int, dst_fd: int, dst_offset: int, size: int) -> None:
    """Copy `size` bytes between two open files; neither file's position moves.

    Raises SourceError if the source ends before, OSError for what the kernel refuses.
    """
    while size:
        copied = _copy_in_kernel(src_fd, offset, dst_fd, dst_offset, min(size, _CHUNK_BYTES))
        if not copied:
            _copy_by_hand(src_fd, offset, dst_fd, dst_offset, size)
            return
        offset, dst_offset, size = offset + copied, dst_offset + copied, size - copied


def _copy_in_kernel(src_fd: int, offset: int, dst_fd: int, dst_offset: int, size: int) -> int:
    """Bytes copied; 0 where this way is closed (some filesystems answer 0 for no reason)."""
    try:
        return os.copy_file_range(src_fd, dst_fd, size, offset, dst_offset)
    except OSError as error:
        if error.errno in _NOT_POSSIBLE:
            return 0
        raise


def _copy_by_hand(src_fd: int, offset: int, dst_fd: int, dst_offset: int, size: int) -> None:
    buffer = memoryview(bytearray(min(size, _BUFFER_BYTES)))
    while size:
        count = os.preadv(src_fd, [buffer[: min(size, len(buffer))]], offset)
        if not count:
            raise _ends_early(src_fd, offset + size, offset)
        written = 0
        while written < count:
            written += os.pwrite(dst_fd, buffer[written:count], dst_offset + written)
        offset, dst_offset, size = offset + count, dst_offset + count, size - count


def copy_extents(src_fd: int, extents: Extents, dst_fd: int, dst_offset: int = 0) -> int:
    """Copy extents one behind the other to `dst_offset`; return how many bytes that was."""
    start = dst_offset
    for offset, size in extents:
        copy_range(src_fd, offset, dst_fd, dst_offset, size)
        dst_offset += size
    return dst_offset - start


def read_extents(fd: int, extents: Extents, *, size_bytes: int | None = None) -> bytes:
    """Content of the extents, or its first `size_bytes`; SourceError if the file ends before."""
    left = sum(size for _, size in extents) if size_bytes is None else size_bytes
    parts = []
    for start, size in extents:
        position, end = start, start + min(size, left)
        while position < end:
            part = os.pread(fd, end - position, position)  # may give less than asked
            if not part:
                raise _ends_early(fd, end, position)
            parts.append(part)
            position += len(part)
            left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


@contextmanager
def mapped_extents(path: Path, extents: Extents) -> Iterator[tuple[mmap.mmap | bytes, int]]:
    """Yield (buffer, offset_bytes) where the extents' content starts, for random reading.

    One extent is mapped where it lies; several are read into memory. The buffer may hold
    more behind the content. It is closed on the way out.
    """
    with open(path, "rb") as source:
        if len(extents) != 1:
            yield read_extents(source.fileno(), extents), 0
            return
        offset, size = extents[0]
        if offset + size > os.fstat(source.fileno()).st_size:
            raise _ends_early(source.fileno(), offset + size, os.fstat(source.fileno()).st_size)
        if size == 0:
            yield b"", 0
            return
        skip = offset % mmap.ALLOCATIONGRANULARITY
        with mmap.mmap(
            source.fileno(), size + skip, access=mmap.ACCESS_READ, offset=offset - skip
        ) as buffer:
            yield buffer, skip


def _ends_early(fd: int, expected: int, got: int) -> SourceError:
    try:
        name = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        name = f"file descriptor {fd}"
    return SourceError(
        name,
        "file ends before its content",
        expected=f"at least {expected} bytes",
        got=f"{got} bytes",
        hint="copy or download it again",
    )
