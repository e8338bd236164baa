"""Reading files off a FAT32 volume in place: what a key's image really holds.

    volume = Fat32(buffer, offset_bytes=…, subject=…)     # bytes or an mmap
    for start, end in volume.runs("boot/vmlinuz-lts"): buffer[start:end]

Written for images that others may have damaged: every number is bounded by the volume, a
chain of clusters that loops or leaves the volume is a FormatError, and names are only ever
compared.

Source of the facts: Microsoft Extensible Firmware Initiative FAT32 File System Specification
1.03.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import NoReturn

from bootsmith.errors import FormatError

_ENTRY = struct.Struct("<11sB8xH4xHI")
_LONG_PART = struct.Struct("<B10sBBB12sH4s")
_BOOT_SECTOR_BYTES = 512
_LONG_NAME, _VOLUME_LABEL, _DIRECTORY = 0x0F, 0x08, 0x10
_LAST_LONG_PART = 0x40
_DELETED, _END = 0xE5, 0x00
_FIRST_CLUSTER = 2
_CLUSTER_MASK = 0x0FFF_FFFF
_END_OF_CHAIN = 0x0FFF_FFF8
_MOST_DIRECTORY_BYTES = 2 << 20
"""65536 entries: the specification's limit."""


@dataclass(frozen=True, kw_only=True)
class FatEntry:
    """A file or directory of the volume."""

    name: str
    is_directory: bool
    first_cluster: int
    size_bytes: int


class Fat32:
    """One volume, which begins `offset_bytes` into `buffer`. `subject` is what errors name."""

    def __init__(
        self, buffer: bytes | mmap | memoryview, *, offset_bytes: int = 0, subject: object
    ) -> None:
        self._buffer = buffer
        self._offset_bytes = offset_bytes
        self._subject = subject
        sector = bytes(buffer[offset_bytes : offset_bytes + _BOOT_SECTOR_BYTES])
        if len(sector) < _BOOT_SECTOR_BYTES or sector[510:] != b"\x55\xaa":
            self._damaged("no FAT32 boot sector")
        sector_bytes, cluster_sectors, reserved, fats = struct.unpack_from("<HBHB", sector, 11)
        total_sectors, fat_sectors = struct.unpack_from("<II", sector, 32)
        (self._root_cluster,) = struct.unpack_from("<I", sector, 44)
        if sector_bytes not in (512, 1024, 2048, 4096) or not cluster_sectors or not fats:
            self._damaged("no FAT32 boot sector")
        self._cluster_bytes = sector_bytes * cluster_sectors
        self._fat_offset = offset_bytes + reserved * sector_bytes
        data_sector = reserved + fats * fat_sectors
        self._data_offset = offset_bytes + data_sector * sector_bytes
        clusters = (total_sectors - data_sector) // cluster_sectors
        # A table that is shorter than the volume cannot name clusters beyond its end.
        self._cluster_limit = min(clusters + _FIRST_CLUSTER, fat_sectors * sector_bytes // 4)
        if offset_bytes + total_sectors * sector_bytes > len(buffer):
            self._damaged("is cut short")
        if self._cluster_limit <= _FIRST_CLUSTER:
            self._damaged("no FAT32 boot sector")

    def find(self, path: str) -> FatEntry | None:
        """The entry at `path` (slashes, a leading one may be there), or None.

        Names are compared as FAT does: upper and lower case are the same.
        """
        entry = FatEntry(name="", is_directory=True, first_cluster=self._root_cluster, size_bytes=0)
        for part in path.strip("/").split("/"):
            found = None
            if entry.is_directory:
                folded = part.upper()
                found = next(
                    (one for one in self._entries(entry) if one.name.upper() == folded), None
                )
            if found is None:
                return None
            entry = found
        return entry

    def runs(self, path: str) -> list[tuple[int, int]] | None:
        """(start, end) offsets in the buffer of a file's bytes in their order; None if no file."""
        entry = self.find(path)
        if entry is None or entry.is_directory:
            return None
        count = -(-entry.size_bytes // self._cluster_bytes)
        return list(self._runs(entry.first_cluster, count, entry.size_bytes))

    def read(self, path: str, *, limit_bytes: int) -> bytes | None:
        """A file's content, None if there is no such file; FormatError if it is larger."""
        runs = self.runs(path)
        if runs is None:
            return None
        size_bytes = sum(end - start for start, end in runs)
        if size_bytes > limit_bytes:
            self._damaged(f"{path} is too large: {size_bytes} bytes, limit {limit_bytes}")
        return b"".join(bytes(self._buffer[start:end]) for start, end in runs)

    def _entries(self, directory: FatEntry) -> Iterator[FatEntry]:
        content = self._directory_bytes(directory.first_cluster)
        long_name: list[bytes] = []
        for position in range(0, len(content) - _ENTRY.size + 1, _ENTRY.size):
            short, attributes, high, low, size_bytes = _ENTRY.unpack_from(content, position)
            if short[0] == _END:
                return
            if short[0] == _DELETED:
                long_name = []
            elif attributes & _LONG_NAME == _LONG_NAME:
                part = _LONG_PART.unpack_from(content, position)
                if part[0] & _LAST_LONG_PART:
                    long_name = []
                long_name.insert(0, part[1] + part[5] + part[7])
            else:
                name = _long_text(long_name) if long_name else _short_text(short)
                long_name = []
                if not attributes & _VOLUME_LABEL:
                    yield FatEntry(
                        name=name,
                        is_directory=bool(attributes & _DIRECTORY),
                        first_cluster=high << 16 | low,
                        size_bytes=size_bytes,
                    )

    def _directory_bytes(self, first_cluster: int) -> bytes:
        content = bytearray()
        cluster = first_cluster
        while cluster < _END_OF_CHAIN:
            start = self._offset_of(cluster)
            content += self._buffer[start : start + self._cluster_bytes]
            if len(content) > _MOST_DIRECTORY_BYTES:
                self._damaged("a directory's chain of clusters does not end")
            cluster = self._next(cluster)
        return bytes(content)

    def _runs(
        self, first_cluster: int, clusters: int, size_bytes: int
    ) -> Iterator[tuple[int, int]]:
        """Runs of neighbouring clusters, the last one cut to the file's size."""
        cluster, left = first_cluster, size_bytes
        start = end = 0
        for number in range(clusters):
            here = self._offset_of(cluster)
            if here != end:
                if end > start:
                    yield start, end
                start = here
            length = min(left, self._cluster_bytes)
            end, left = here + length, left - length
            if number + 1 < clusters:
                cluster = self._next(cluster)
        if end > start:
            yield start, end

    def _offset_of(self, cluster: int) -> int:
        if not _FIRST_CLUSTER <= cluster < self._cluster_limit:
            self._damaged(f"a chain leads to cluster {cluster}, which the volume does not have")
        return self._data_offset + (cluster - _FIRST_CLUSTER) * self._cluster_bytes

    def _next(self, cluster: int) -> int:
        (following,) = struct.unpack_from("<I", self._buffer, self._fat_offset + 4 * cluster)
        return int(following) & _CLUSTER_MASK

    def _damaged(self, problem: str) -> NoReturn:
        raise FormatError(
            self._subject, f"its FAT32 file system is damaged: {problem}", hint="build it again"
        )


def _short_text(short: bytes) -> str:
    base, extension = short[:8].rstrip(b" "), short[8:].rstrip(b" ")
    return (base + b"." + extension if extension else base).decode("ascii", "replace")


def _long_text(parts: list[bytes]) -> str:
    return b"".join(parts).decode("utf-16-le", "replace").partition("\0")[0].rstrip("\uffff")
