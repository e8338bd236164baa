"""squashfs 4.0, read in place.

    image = Squashfs(buffer, offset_bytes=…)      # bytes or an mmap; no process, no unpacking
    for entry in image.walk(): …
    image.read("modules/6.6.32-0-lts/modules.dep")

The buffer may be the image itself or a larger file that holds it (a modloop inside its
ISO). Every size, position and name in the image is taken for hostile: reads stay inside
the image, blocks may not unpack to more than their declared size, names may not leave
their directory, directories may not loop.

Compressors: gzip, xz (with its branch filters), lz4, zstd. lzo and the pre-xz lzma are
refused: no Alpine release used them. Source of the layout: kernel
Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h.
"""

from __future__ import annotations

import lzma
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from mmap import mmap
from typing import NamedTuple, NoReturn

from bootsmith.errors import FormatError
from bootsmith.formats import squashfs_layout as layout
from bootsmith.formats.lz4_block import unpack_lz4_block

FILE, DIRECTORY, LINK, SPECIAL = "file", "dir", "link", "special"

_TYPES = {1: DIRECTORY, 2: FILE, 3: LINK, 8: DIRECTORY, 9: FILE, 10: LINK}
_LARGEST_LINK_TARGET_BYTES = 4096
_DEEPEST_DIRECTORY = 64
_MOST_ENTRIES = 1_000_000
_XZ_MEMORY_BYTES = 64 << 20  # a dictionary larger than the largest block is a bomb
_CACHED_FRAGMENTS = 16
DEFAULT_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Superblock:
    """The header of an image; positions are counted from the start of the image."""

    size_bytes: int
    block_size_bytes: int
    compression: str
    made_epoch: int
    inode_count: int
    fragment_count: int
    flags: int
    has_xattrs: bool
    root_inode: int
    inode_table: int
    directory_table: int
    fragment_table: int


class SquashfsEntry(NamedTuple):
    """One name in the image. (A tuple: of thousands, a frozen dataclass takes three times as long.)

    `path` is relative, without a leading slash; the root itself is "". `type` is `file`,
    `dir`, `link` or `special`; `mode` holds permission bits only. A file's content is its
    data blocks (`block_lengths`: raw length words, one behind the other from
    `first_block`), then a tail inside fragment `fragment` at `fragment_offset` (None: no tail);
    `sparse_bytes` of it are holes. Entries with the same `inode` are hard links.
    """

    path: str
    type: str
    mode: int
    size_bytes: int = 0
    target: str | None = None
    first_block: int = 0
    block_lengths: tuple[int, ...] = ()
    fragment: int | None = None
    fragment_offset: int = 0
    sparse_bytes: int = 0
    inode: int = 0


class Squashfs:
    """A squashfs image inside `buffer`, from `offset_bytes` on; `subject` names it in errors.

    Safe to be read by several threads. Raises FormatError for anything that is not a
    sound squashfs 4.0 image; damage further inside is found when it is reached.
    """

    def __init__(
        self,
        buffer: bytes | mmap | memoryview,
        *,
        offset_bytes: int = 0,
        subject: str = "squashfs image",
    ) -> None:
        self.subject = subject
        self._buffer = buffer
        self._offset = offset_bytes
        self._end = len(buffer)
        self.superblock = self._read_superblock()
        self._end = offset_bytes + self.superblock.size_bytes
        self._unpack = self._unpacker(self.superblock.compression)
        self._metadata: dict[int, tuple[bytes, int]] = {}
        self._fragments: OrderedDict[int, bytes] = OrderedDict()
        self._listings: dict[int, dict[str, tuple[int, str]]] = {}

    # -- what callers ask ------------------------------------------------------------

    def walk(self, top: str = "") -> Iterator[SquashfsEntry]:
        """Every entry below the directory `top`, a directory before what it holds,
        each directory in the image's (bytewise) order.
        """
        seen: set[int] = set()
        count = 0
        reference, kind = self._lookup(top)
        pending = [(top, reference, kind)]
        while pending:
            path, reference, kind = pending.pop()
            if path != top:
                count += 1
                if count > _MOST_ENTRIES:
                    self._damaged(f"more than {_MOST_ENTRIES} entries")
                yield self._entry(path, reference)
            if kind != DIRECTORY:
                continue
            if reference in seen or path.count("/") >= _DEEPEST_DIRECTORY:
                self._damaged(f"directories loop or nest too deeply at {path!r}")
            seen.add(reference)
            prefix = f"{path}/" if path else ""
            listing = self._listing(reference)
            pending += [
                (prefix + name, child, child_kind)
                for name, (child, child_kind) in reversed(listing.items())
            ]

    def names(self, directory: str = "") -> tuple[str, ...]:
        """Names directly inside `directory`, in order; FormatError if it is none."""
        reference, _ = self._lookup(directory)
        return tuple(self._listing(reference))

    def exists(self, path: str) -> bool:
        """Whether the image has something called `path` (links are not followed)."""
        return self._find(path) is not None

    def entry(self, path: str) -> SquashfsEntry:
        """The entry called `path`; links are not followed. FormatError if there is none."""
        return self._entry(path, self._lookup(path)[0])

    def read(self, path: str, *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> bytes:
        """Content of the regular file `path`, at most `limit_bytes` of it or FormatError."""
        return self.read_entry(self.entry(path), limit_bytes=limit_bytes)

    def read_entry(self, entry: SquashfsEntry, *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> bytes:
        """Content of a regular file that `walk` or `entry` gave."""
        self._check_readable(entry, limit_bytes)
        parts = []
        for position, length, size in self.blocks(entry):
            parts.append(self.unpacked_block(position, length, size, entry.path))
        if entry.fragment is not None:
            parts.append(self._tail(entry, self._fragment(entry.fragment)))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_many(
        self, paths: Iterable[str], *, limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> list[bytes]:
        """Contents of several regular files, in the order asked, on all processors.

        The limit holds for their sum. Unpacking runs outside the interpreter lock, and
        each fragment block is unpacked once however many files share it.
        """
        entries = [self.entry(path) for path in paths]
        left = limit_bytes
        for entry in entries:
            self._check_readable(entry, left)
            left -= entry.size_bytes
        wanted = sorted({entry.fragment for entry in entries if entry.fragment is not None})
        blocks = [
            (position, length, size, entry.path)
            for entry in entries
            for position, length, size in self.blocks(entry)
        ]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            unpacked = pool.map(lambda block: self.unpacked_block(*block), blocks)
            tails = dict(zip(wanted, pool.map(self._fragment, wanted), strict=True))
            contents = []
            for entry in entries:
                parts = [next(unpacked) for _ in entry.block_lengths]
                if entry.fragment is not None:
                    parts.append(self._tail(entry, tails[entry.fragment]))
                contents.append(parts[0] if len(parts) == 1 else b"".join(parts))
        return contents

    def fragment_place(self, index: int) -> tuple[int, int]:
        """(position, length word) of a fragment block."""
        if index >= self.superblock.fragment_count:
            self._damaged("no such fragment", got=index)
        block, place = divmod(index, layout.FRAGMENTS_PER_BLOCK)
        pointer = self._bytes(self.superblock.fragment_table + 8 * block, 8)
        record = self._metadata_bytes(
            int.from_bytes(pointer, "little"), place * layout.FRAGMENT.size, layout.FRAGMENT.size
        )
        start, length, _ = layout.FRAGMENT.unpack(record)
        return start, length

    def stored_bytes(self, position: int, size_bytes: int) -> bytes:
        """Bytes of the image as they lie there; FormatError for a range beyond its end."""
        return self._bytes(position, size_bytes)

    # -- superblock and raw bytes ------------------------------------------------------

    def _damaged(self, problem: str, *, expected: object = None, got: object = None) -> NoReturn:
        raise FormatError(
            self.subject,
            f"damaged squashfs image: {problem}",
            expected=expected,
            got=got,
            hint="copy or download it again",
        )

    def _bytes(self, position: int, size: int) -> bytes:
        start = self._offset + position
        if position < 0 or size < 0 or start + size > self._end:
            self._damaged(
                "content beyond its end", expected=f"at most byte {self._end - self._offset}",
                got=f"{position}+{size}",
            )  # fmt: skip
        return bytes(self._buffer[start : start + size])

    def _read_superblock(self) -> Superblock:
        available = max(0, self._end - self._offset)
        head = bytes(self._buffer[self._offset : self._offset + layout.SUPERBLOCK.size])
        if head[:4] != layout.MAGIC:
            raise FormatError(
                self.subject,
                "not a squashfs image",
                expected=f"magic {layout.MAGIC!r}",
                got=head[:4],
                hint="use the release's own; one that is encrypted or in another container must "
                "be taken out of it first",
            )
        if len(head) < layout.SUPERBLOCK.size:
            self._damaged("shorter than its header")
        (_, inodes, made, block_size, fragments, compression, block_log, flags, _ids, major,
         minor, root, used, _id_table, xattr_table, inode_table, directory_table,
         fragment_table, _export_table) = layout.SUPERBLOCK.unpack(head)  # fmt: skip
        if (major, minor) != (4, 0):
            raise FormatError(
                self.subject,
                "squashfs of another version",
                expected="4.0",
                got=f"{major}.{minor}",
                hint="make the image again with: mksquashfs",
            )
        if not 12 <= block_log <= 20 or block_size != 1 << block_log:
            self._damaged("impossible block size", got=block_size)
        if used > available:
            raise FormatError(
                self.subject,
                "squashfs image is cut short",
                expected=f"{used} bytes",
                got=f"{available} bytes",
                hint="copy or download it again",
            )
        return Superblock(
            size_bytes=used,
            block_size_bytes=block_size,
            compression=layout.COMPRESSIONS.get(compression, f"number {compression}"),
            made_epoch=made,
            inode_count=inodes,
            fragment_count=fragments,
            flags=flags,
            has_xattrs=xattr_table != layout.NO_TABLE,
            root_inode=root,
            inode_table=inode_table,
            directory_table=directory_table,
            fragment_table=fragment_table,
        )

    def _unpacker(self, compression: str) -> Callable[[bytes, int], bytes]:
        unpackers = {
            "gzip": _unpack_gzip,
            "xz": _unpack_xz,
            "lz4": lambda data, limit: unpack_lz4_block(data, limit_bytes=limit),
            "zstd": _unpack_zstd,
        }
        if compression not in unpackers:
            raise FormatError(
                self.subject,
                "squashfs with a compressor that is not supported",
                expected=" or ".join(unpackers),
                got=compression,
                hint="make the image again with: mksquashfs … -comp xz",
            )
        return unpackers[compression]

    def _unpacked(self, data: bytes, limit_bytes: int, what: str) -> bytes:
        try:
            content = self._unpack(data, limit_bytes)
        except (FormatError, ValueError, EOFError, zlib.error, lzma.LZMAError) as error:
            self._damaged(f"{what} does not unpack ({error})")
        if len(content) > limit_bytes:
            self._damaged(f"{what} unpacks to more than {limit_bytes} bytes")
        return content

    # -- metadata ------------------------------------------------------------------------

    def _metadata_block(self, position: int) -> tuple[bytes, int]:
        """Unpacked metadata block at `position`, and the position of the one behind it."""
        cached = self._metadata.get(position)
        if cached is None:
            word = int.from_bytes(self._bytes(position, 2), "little")
            size = word & ~layout.METADATA_STORED
            raw = self._bytes(position + 2, size)
            if not word & layout.METADATA_STORED:
                raw = self._unpacked(raw, layout.METADATA_BYTES, "metadata")
            if not 0 < len(raw) <= layout.METADATA_BYTES:
                self._damaged("impossible metadata block", got=f"{len(raw)} bytes")
            cached = self._metadata[position] = (raw, position + 2 + size)
        return cached

    def _metadata_bytes(self, block: int, offset: int, size: int) -> bytes:
        """`size` bytes from byte `offset` of the metadata block at `block` on."""
        content, following = self._metadata_block(block)
        while offset > len(content):  # a field of an inode that began in the block before
            offset -= len(content)
            content, following = self._metadata_block(following)
        if offset + size <= len(content):
            return content[offset : offset + size]
        parts = [content[offset:]]
        missing = size - len(parts[0])
        while missing > 0:
            content, following = self._metadata_block(following)
            parts.append(content[:missing])
            missing -= len(parts[-1])
        return b"".join(parts)

    def _inode(self, reference: int, size: int) -> bytes:
        """`size` bytes of the inode that `reference` (block << 16 | offset) points at."""
        block = self.superblock.inode_table + (reference >> 16)
        return self._metadata_bytes(block, reference & 0xFFFF, size)

    def _entry(self, path: str, reference: int) -> SquashfsEntry:
        block, at = self.superblock.inode_table + (reference >> 16), reference & 0xFFFF
        content, _ = self._metadata_block(block)
        if at + layout.FILE_INODE.size <= len(content):
            number, mode, _, _, _, _, *fields = layout.FILE_INODE.unpack_from(content, at)
            if number == layout.FILE_TYPE:
                return self._file_entry(path, mode, reference, layout.FILE_INODE.size, *fields)
        return self._rare_entry(path, reference)

    def _rare_entry(self, path: str, reference: int) -> SquashfsEntry:
        """As _entry, for what is no small file, or an inode that two blocks share."""
        number, mode, *_ = layout.INODE.unpack(self._inode(reference, layout.INODE.size))
        kind = _TYPES.get(number, SPECIAL)
        body = reference + layout.INODE.size
        if kind == FILE and number == layout.FILE_TYPE:
            fields = layout.FILE.unpack(self._inode(body, layout.FILE.size))
            return self._file_entry(path, mode, reference, layout.FILE_INODE.size, *fields)
        if kind == FILE:
            start, size, sparse, _links, fragment, fragment_offset, _xattr = (
                layout.LONG_FILE.unpack(self._inode(body, layout.LONG_FILE.size))
            )
            head = layout.INODE.size + layout.LONG_FILE.size
            return self._file_entry(
                path, mode, reference, head, start, fragment, fragment_offset, size, sparse
            )
        if kind == LINK:
            _, size = layout.LINK.unpack(self._inode(body, layout.LINK.size))
            if not 0 < size <= _LARGEST_LINK_TARGET_BYTES:
                self._damaged(f"impossible link {path!r}", got=f"target of {size} bytes")
            target = os.fsdecode(self._inode(body + layout.LINK.size, size))
            return SquashfsEntry(path=path, type=LINK, mode=mode, target=target, inode=reference)
        return SquashfsEntry(path=path, type=kind, mode=mode, inode=reference)

    def _file_entry(
        self,
        path: str,
        mode: int,
        inode: int,
        head_bytes: int,
        start: int,
        fragment: int,
        fragment_offset: int,
        size: int,
        sparse: int = 0,
    ) -> SquashfsEntry:
        block_size = self.superblock.block_size_bytes
        has_tail = fragment != layout.NO_FRAGMENT
        blocks = size // block_size if has_tail else -(-size // block_size)
        # Each block has a length word in the inode table, which lies inside the image.
        if blocks * 4 > self.superblock.size_bytes * layout.METADATA_BYTES:
            self._damaged(f"impossible size of {path!r}", got=f"{size} bytes")
        lengths = ()
        if blocks:
            lengths = struct.unpack(f"<{blocks}I", self._inode(inode + head_bytes, 4 * blocks))
        return SquashfsEntry(
            path=path,
            type=FILE,
            mode=mode,
            size_bytes=size,
            first_block=start,
            block_lengths=lengths,
            fragment=fragment if has_tail else None,
            fragment_offset=fragment_offset if has_tail else 0,
            sparse_bytes=sparse,
            inode=inode,
        )

    # -- directories ---------------------------------------------------------------------

    def _find(self, path: str) -> tuple[int, str] | None:
        reference, kind = self.superblock.root_inode, DIRECTORY
        for part in path.split("/") if path else ():
            if kind != DIRECTORY:
                return None
            found = self._listing(reference).get(part)
            if found is None:
                return None
            reference, kind = found
        return reference, kind

    def _lookup(self, path: str) -> tuple[int, str]:
        found = self._find(path)
        if found is None:
            raise FormatError(
                self.subject,
                f"has no {path!r}",
                hint="use an image of the same release",
            )
        return found

    def _listing(self, reference: int) -> dict[str, tuple[int, str]]:
        """Name → (inode reference, type) of the directory whose inode is at `reference`."""
        cached = self._listings.get(reference)
        if cached is not None:
            return cached
        number, *_ = layout.INODE.unpack(self._inode(reference, layout.INODE.size))
        body = reference + layout.INODE.size
        if number == 1:
            block, _links, size, offset, _ = layout.DIRECTORY.unpack(
                self._inode(body, layout.DIRECTORY.size)
            )
        elif number == 8:
            fields = layout.LONG_DIRECTORY.unpack(self._inode(body, layout.LONG_DIRECTORY.size))
            _links, size, block, _parent, _indexes, offset, _xattr = fields
        else:
            raise FormatError(
                self.subject,
                "a path leads through something not a directory",
                hint="use an image as published",
            )
        content = b""
        if size > layout.EMPTY_DIRECTORY_BYTES:
            position = self.superblock.directory_table + block
            content = self._metadata_bytes(position, offset, size - layout.EMPTY_DIRECTORY_BYTES)
        listing = self._listings[reference] = self._read_listing(content)
        return listing

    def _read_listing(self, content: bytes) -> dict[str, tuple[int, str]]:
        listing: dict[str, tuple[int, str]] = {}
        position = 0
        try:
            while position < len(content):
                count, block, _ = layout.DIRECTORY_HEADER.unpack_from(content, position)
                position += layout.DIRECTORY_HEADER.size
                for _ in range(count + 1):
                    offset, _, number, size = layout.DIRECTORY_ENTRY.unpack_from(content, position)
                    start = position + layout.DIRECTORY_ENTRY.size
                    position = start + size + 1
                    raw = content[start:position]
                    name = os.fsdecode(raw)
                    if position > len(content) or not _is_plain_name(raw) or name in listing:
                        self._damaged("impossible directory entry", got=repr(raw))
                    listing[name] = block << 16 | offset, _TYPES.get(number, SPECIAL)
        except struct.error:
            self._damaged("a directory ends in the middle of an entry")
        return listing

    # -- file content --------------------------------------------------------------------

    def _check_readable(self, entry: SquashfsEntry, limit_bytes: int) -> None:
        if entry.type != FILE:
            raise FormatError(
                self.subject,
                f"{entry.path!r} is not a regular file",
                got=entry.type,
                hint="use an image as published",
            )
        if entry.size_bytes > limit_bytes:
            raise FormatError(
                self.subject,
                f"{entry.path!r} is larger than it may be",
                expected=f"at most {limit_bytes} bytes",
                got=f"{entry.size_bytes} bytes",
                hint="do not use this image; it may be made to exhaust memory",
            )

    def blocks(self, entry: SquashfsEntry) -> Iterator[tuple[int, int, int]]:
        """(position, length word, unpacked size) of each data block of a regular file."""
        position = entry.first_block
        left = entry.size_bytes
        for length in entry.block_lengths:
            size = min(left, self.superblock.block_size_bytes)
            yield position, length, size
            position += length & ~layout.BLOCK_STORED
            left -= size

    def check_place(self, entry: SquashfsEntry) -> None:
        """FormatError unless all of a file's content lies inside the image, packed as it is."""
        places = [(position, length) for position, length, _ in self.blocks(entry)]
        if entry.fragment is not None:
            places.append(self.fragment_place(entry.fragment))
        for position, length in places:
            size_bytes = length & ~layout.BLOCK_STORED
            if position + size_bytes > self.superblock.size_bytes:
                self._damaged(
                    f"{entry.path!r} lies beyond its end",
                    expected=f"at most byte {self.superblock.size_bytes}",
                    got=f"{position}+{size_bytes}",
                )

    def unpacked_block(self, position: int, length: int, size: int, what: str) -> bytes:
        """Content of one data block that `blocks` gave; `what` names its file in errors."""
        if length == 0:
            return bytes(size)  # a hole
        raw = self._bytes(position, length & ~layout.BLOCK_STORED)
        content = raw if length & layout.BLOCK_STORED else self._unpacked(raw, size, repr(what))
        if len(content) != size:
            self._damaged(
                f"a block of {what!r} has the wrong size", expected=size, got=len(content)
            )
        return content

    def _fragment(self, index: int) -> bytes:
        cached = self._fragments.get(index)
        if cached is not None:
            return cached
        start, length = self.fragment_place(index)
        content = self._bytes(start, length & ~layout.BLOCK_STORED)
        if not length & layout.BLOCK_STORED:
            content = self._unpacked(content, self.superblock.block_size_bytes, "a fragment")
        self._fragments[index] = content
        while len(self._fragments) > _CACHED_FRAGMENTS:
            try:
                self._fragments.popitem(last=False)
            except KeyError:  # another thread emptied it first
                break
        return content

    def _tail(self, entry: SquashfsEntry, fragment: bytes) -> bytes:
        size = entry.size_bytes % self.superblock.block_size_bytes
        tail = fragment[entry.fragment_offset : entry.fragment_offset + size]
        if len(tail) != size:
            self._damaged(f"the tail of {entry.path!r} lies outside its fragment")
        return tail


def _is_plain_name(name: bytes) -> bool:
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


# Each unpacker is asked for one byte more than the limit: that it can give one shows a
# block that lies about its size, and that it cannot means the whole stream was checked.


def _unpack_gzip(data: bytes, limit_bytes: int) -> bytes:
    stream = zlib.decompressobj()
    content = stream.decompress(data, limit_bytes + 1)
    if not stream.eof and len(content) <= limit_bytes:
        raise EOFError("the data ends early")
    return content


def _unpack_xz(data: bytes, limit_bytes: int) -> bytes:
    stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
    content = stream.decompress(data, limit_bytes + 1)
    if not stream.eof and len(content) <= limit_bytes:
        raise EOFError("the data ends early")
    return content


def _unpack_zstd(data: bytes, limit_bytes: int) -> bytes:
    import zstandard  # only where an image uses it

    try:
        # A declared size is allocated before anything is unpacked.
        declared = zstandard.get_frame_parameters(data).content_size
        if declared != zstandard.CONTENTSIZE_UNKNOWN and declared > limit_bytes:
            raise ValueError(f"it declares {declared} bytes")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=limit_bytes)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
