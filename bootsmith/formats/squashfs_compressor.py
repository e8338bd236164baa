"""Compression as one squashfs image has it: its compressor, its options, its block size.

What is added to an image is packed as the rest of it, so whatever reads the image reads
the addition. Options lie behind the superblock, if they are not mksquashfs's defaults.
Source: kernel fs/squashfs/*_wrapper.c, squashfs-tools *_wrapper.h.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from struct import Struct
from struct import error as struct_error

from bootsmith.errors import FormatError
from bootsmith.formats import squashfs_layout as layout
from bootsmith.formats.lz4_block import pack_lz4_block
from bootsmith.formats.squashfs import Squashfs

_GZIP = Struct("<IHH")  # level, window, strategies
_XZ = Struct("<II")  # dictionary size, branch filters
_LZ4 = Struct("<II")  # version, flags
_ZSTD = Struct("<I")  # level

_DEFAULT_LEVELS = {"gzip": 9, "zstd": 15}
_HIGHEST_LEVELS = {"gzip": 9, "zstd": 22}

# Bits of the option word, and the names that mksquashfs has for them.
_BRANCH_FILTERS = {
    1: (lzma.FILTER_X86, "x86"),
    2: (lzma.FILTER_POWERPC, "powerpc"),
    4: (lzma.FILTER_IA64, "ia64"),
    8: (lzma.FILTER_ARM, "arm"),
    16: (lzma.FILTER_ARMTHUMB, "armthumb"),
    32: (lzma.FILTER_SPARC, "sparc"),
}
_ELF_MAGIC = b"\x7fELF"


@dataclass(frozen=True, kw_only=True)
class SquashfsCompressor:
    """How one image packs its blocks.

    `option_bytes` are the bytes between superblock and content, kept as they are.
    `stored` are the flags of parts that the image does not compress (layout.STORED_…).
    """

    name: str
    block_size_bytes: int
    option_bytes: bytes
    level: int
    dictionary_bytes: int
    branch_filters: tuple[int, ...]
    stored: int

    def pack_block(self, content: bytes, *, flag: int, is_program: bool) -> tuple[int, bytes]:
        """(length word, bytes to store) of one block of content.

        `flag` says whether it holds data or fragments; of a program xz also tries the
        image's branch filters, as mksquashfs does for everything.
        """
        if not self.stored & flag:
            packed = self._pack(content, self.dictionary_bytes, is_program=is_program)
            if len(packed) < len(content):
                return len(packed), packed
        return len(content) | layout.BLOCK_STORED, content

    def pack_metadata(self, content: bytes, *, flag: int) -> bytes:
        """One metadata block of at most 8 KiB, with its length word."""
        if not self.stored & flag:
            packed = self._pack(content, layout.METADATA_BYTES, is_program=False)
            if len(packed) < len(content):
                return len(packed).to_bytes(2, "little") + packed
        word = len(content) | layout.METADATA_STORED
        return word.to_bytes(2, "little") + content

    def _pack(self, content: bytes, dictionary_bytes: int, *, is_program: bool) -> bytes:
        if self.name == "gzip":
            import deflate  # each library only where an image uses it

            return bytes(deflate.zlib_compress(content, self.level))
        if self.name == "zstd":
            import zstandard

            return zstandard.ZstdCompressor(level=self.level).compress(content)
        if self.name == "lz4":
            return pack_lz4_block(content)
        branches = self.branch_filters if is_program else ()
        tries = [_pack_xz(content, dictionary_bytes, branch) for branch in (None, *branches)]
        return min(tries, key=len)


def is_program(content: bytes) -> bool:
    """Whether branch filters may help: an ELF file has machine code."""
    return content.startswith(_ELF_MAGIC)


def _pack_xz(content: bytes, dictionary_bytes: int, branch: int | None) -> bytes:
    dictionary = {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": dictionary_bytes}
    filters = [dictionary] if branch is None else [{"id": branch}, dictionary]
    # The kernel's decoder knows no other checksum.
    return lzma.compress(content, lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=filters)


def read_compressor(image: Squashfs) -> SquashfsCompressor:
    """How `image` is compressed; FormatError for options that make no sense."""
    superblock = image.superblock
    name = superblock.compression
    option_bytes = options = b""
    if superblock.flags & layout.COMPRESSOR_OPTIONS:
        word = int.from_bytes(image.stored_bytes(layout.SUPERBLOCK.size, 2), "little")
        option_bytes = image.stored_bytes(
            layout.SUPERBLOCK.size, 2 + (word & ~layout.METADATA_STORED)
        )
        options = option_bytes[2:] if word & layout.METADATA_STORED else b""
    level = _DEFAULT_LEVELS.get(name, 0)
    dictionary_bytes, branches = superblock.block_size_bytes, 0
    if option_bytes:
        try:
            if name == "gzip":
                level, _window, _strategies = _GZIP.unpack(options)
            elif name == "zstd":
                (level,) = _ZSTD.unpack(options)
            elif name == "xz":
                dictionary_bytes, branches = _XZ.unpack(options)
            else:
                _LZ4.unpack(options)
        except struct_error:
            raise _impossible(image, f"{len(options)} bytes of {name} options") from None
    if not 0 <= level <= _HIGHEST_LEVELS.get(name, 0):
        raise _impossible(image, f"{name} level {level}")
    if not 4096 <= dictionary_bytes <= max(superblock.block_size_bytes, layout.METADATA_BYTES):
        raise _impossible(image, f"xz dictionary of {dictionary_bytes} bytes")
    if branches >= 2 * max(_BRANCH_FILTERS):
        raise _impossible(image, f"xz branch filters {branches:#x}")
    return SquashfsCompressor(
        name=name,
        block_size_bytes=superblock.block_size_bytes,
        option_bytes=option_bytes,
        level=level,
        dictionary_bytes=dictionary_bytes,
        branch_filters=tuple(
            number for bit, (number, _) in _BRANCH_FILTERS.items() if branches & bit
        ),
        stored=superblock.flags
        & (layout.STORED_INODES | layout.STORED_DATA | layout.STORED_FRAGMENTS | layout.STORED_IDS),
    )


def _impossible(image: Squashfs, got: str) -> FormatError:
    return FormatError(
        image.subject,
        "damaged squashfs image: impossible compressor options",
        got=got,
        hint="copy or download it again",
    )
