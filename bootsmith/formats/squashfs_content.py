"""Which files of squashfs images have the same content, told without unpacking them.

Equal compressed blocks unpack to equal bytes. A fragment block is shared by many files and
read once. So a file's identity costs a hash over its compressed bytes, a fifth of its size,
and it survives an image being made again around it.
"""

from __future__ import annotations

import hashlib
from mmap import mmap

from bootsmith.formats.squashfs import Squashfs, SquashfsEntry

_STORED = 1 << 24  # in a length word: the block is not compressed
_FRAGMENT_RECORD_BYTES = 16
_FRAGMENTS_PER_BLOCK = 512


class IdentifiedSquashfs(Squashfs):
    """A squashfs image that also says which files are the same."""

    def __init__(self, buffer: bytes | mmap | memoryview, *, subject: str) -> None:
        super().__init__(buffer, subject=subject)
        self._fragment_identities: dict[int, bytes] = {}

    def identity(self, entry: SquashfsEntry) -> str:
        """Hex text that two regular files share only if their content is the same."""
        digest = hashlib.blake2b(digest_size=32)
        superblock = self.superblock
        digest.update(
            f"{superblock.compression} {superblock.block_size_bytes} {entry.size_bytes} "
            f"{entry.fragment_offset} {entry.block_lengths}".encode()
        )
        size = sum(length & ~_STORED for length in entry.block_lengths)
        digest.update(self._bytes(entry.first_block, size))
        if entry.fragment is not None:
            digest.update(self._fragment_identity(entry.fragment))
        return digest.hexdigest()

    def _fragment_identity(self, index: int) -> bytes:
        identities = self._fragment_identities
        if index not in identities:
            if index >= self.superblock.fragment_count:
                self._damaged("no such fragment", got=index)
            block, place = divmod(index, _FRAGMENTS_PER_BLOCK)
            pointer = self._bytes(self.superblock.fragment_table + 8 * block, 8)
            record = self._metadata_bytes(
                int.from_bytes(pointer, "little"),
                place * _FRAGMENT_RECORD_BYTES,
                _FRAGMENT_RECORD_BYTES,
            )
            start = int.from_bytes(record[:8], "little")
            length = int.from_bytes(record[8:12], "little")
            raw = self._bytes(start, length & ~_STORED)
            header = f"{length} ".encode()
            identities[index] = hashlib.blake2b(header + raw, digest_size=32).digest()
        return identities[index]
