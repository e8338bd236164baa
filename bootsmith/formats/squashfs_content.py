"""Which files of squashfs images have the same content, told without unpacking them.

Equal compressed blocks unpack to equal bytes. A fragment block is shared by many files and
read once. So a file's identity costs a hash over its compressed bytes, a fifth of its size,
and it survives an image being made again around it.
"""

from __future__ import annotations

import hashlib
from mmap import mmap

from bootsmith.formats.squashfs import Squashfs, SquashfsEntry
from bootsmith.formats.squashfs_layout import BLOCK_STORED


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
        size = sum(length & ~BLOCK_STORED for length in entry.block_lengths)
        digest.update(self._bytes(entry.first_block, size))
        if entry.fragment is not None:
            digest.update(self._fragment_identity(entry.fragment))
        return digest.hexdigest()

    def _fragment_identity(self, index: int) -> bytes:
        identities = self._fragment_identities
        if index not in identities:
            start, length = self.fragment_place(index)
            raw = self._bytes(start, length & ~BLOCK_STORED)
            header = f"{length} ".encode()
            identities[index] = hashlib.blake2b(header + raw, digest_size=32).digest()
        return identities[index]
