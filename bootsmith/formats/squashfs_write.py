"""The tables of a squashfs 4.0 image, written anew for content that already has its place.

    [superblock][options][data and fragment blocks][inodes][directories][fragments]
    [inode numbers, if exportable][ids][padding]

Everything is owned by root, no time is but 0, and there are no extended attributes. Equal
trees give equal bytes. Inodes of files come first, those of directories behind them, each
after what it holds: an entry of a directory says where its inode lies, so that must be
known by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from struct import Struct, pack

from bootsmith.formats import squashfs_layout as layout
from bootsmith.formats.squashfs_compressor import SquashfsCompressor

_ALIGNMENT_BYTES = 4096  # a loop device wants whole pages
_POINTER = Struct("<Q")
_WORD = Struct("<I")
_NUMBER_OF_COMPRESSION = {name: number for number, name in layout.COMPRESSIONS.items()}


@dataclass(kw_only=True, eq=False, slots=True)
class FileNode:
    """A regular file whose blocks lie at `first_block` of the new image."""

    mode: int
    size_bytes: int
    first_block: int = 0
    block_lengths: tuple[int, ...] = ()
    fragment: int | None = None
    fragment_offset: int = 0
    sparse_bytes: int = 0


@dataclass(kw_only=True, eq=False, slots=True)
class LinkNode:
    """A symbolic link."""

    mode: int
    target: bytes


@dataclass(kw_only=True, eq=False, slots=True)
class DirectoryNode:
    """A directory; a child that several names lead to is a hard link."""

    mode: int
    children: dict[bytes, Node] = field(default_factory=dict)


Node = FileNode | LinkNode | DirectoryNode


@dataclass(frozen=True, kw_only=True)
class SquashfsTables:
    """What belongs in front of the content and behind it."""

    head: bytes
    tail: bytes


def write_tables(
    root: DirectoryNode,
    *,
    fragments: Sequence[tuple[int, int]],
    content_end: int,
    compressor: SquashfsCompressor,
    flags: int,
) -> SquashfsTables:
    """Head and tail of an image whose content ends at byte `content_end`.

    `fragments` are the (position, length word) of its fragment blocks; of `flags`, those
    of the image that it continues, EXPORTABLE decides whether inode numbers are indexed.
    """
    pack = compressor.pack_metadata
    tree = _TreeWriter(partial(pack, flag=layout.STORED_INODES))
    tree.write(root)
    tables = _Tables(content_end)
    inode_table = tables.append(tree.inodes.finished())
    directory_table = tables.append(tree.directories.finished())
    records = b"".join(layout.FRAGMENT.pack(start, word, 0) for start, word in fragments)
    pack_fragments = _MetadataWriter(partial(pack, flag=layout.STORED_FRAGMENTS))
    fragment_table = tables.append_indexed(records, pack_fragments)
    export_table = layout.NO_TABLE
    if flags & layout.EXPORTABLE:
        references = b"".join(map(_POINTER.pack, tree.references))
        pack_references = _MetadataWriter(partial(pack, flag=layout.STORED_INODES))
        export_table = tables.append_indexed(references, pack_references)
    pack_ids = _MetadataWriter(partial(pack, flag=layout.STORED_IDS))
    id_table = tables.append_indexed(_WORD.pack(0), pack_ids)
    head = layout.SUPERBLOCK.pack(
        layout.MAGIC,
        len(tree.references),
        0,
        compressor.block_size_bytes,
        len(fragments),
        _NUMBER_OF_COMPRESSION[compressor.name],
        compressor.block_size_bytes.bit_length() - 1,
        flags | layout.WITHOUT_XATTRS,
        *(1, 4, 0),  # one owner; version 4.0
        tree.references[-1],
        tables.end,
        *(id_table, layout.NO_TABLE, inode_table, directory_table, fragment_table, export_table),
    )
    padding = bytes(-tables.end % _ALIGNMENT_BYTES)
    return SquashfsTables(
        head=head + compressor.option_bytes, tail=b"".join((*tables.parts, padding))
    )


class _Tables:
    """Parts of the tail, and where each lies in the image."""

    def __init__(self, start: int) -> None:
        self.end = start
        self.parts: list[bytes] = []

    def append(self, part: bytes) -> int:
        """Add `part`; returns its position."""
        position = self.end
        self.parts.append(part)
        self.end += len(part)
        return position

    def append_indexed(self, records: bytes, writer: _MetadataWriter) -> int:
        """Add metadata blocks with `records`, then their positions; where those lie."""
        starts = [
            writer.write(records[at : at + layout.METADATA_BYTES])[0]
            for at in range(0, len(records), layout.METADATA_BYTES)
        ]
        position = self.append(writer.finished())
        return self.append(b"".join(_POINTER.pack(position + start) for start in starts))


class _MetadataWriter:
    """Cuts what is written into metadata blocks."""

    def __init__(self, pack: partial[bytes]) -> None:
        self._pack = pack
        self._blocks: list[bytes] = []
        self._packed_bytes = 0
        self._pending = bytearray()

    def write(self, data: bytes) -> tuple[int, int]:
        """Append `data`; returns (position of its block in the table, offset in that block)."""
        place = self._packed_bytes, len(self._pending)
        self._pending += data
        while len(self._pending) >= layout.METADATA_BYTES:
            self._flush()
        return place

    def finished(self) -> bytes:
        """The whole table."""
        if self._pending:
            self._flush()
        return b"".join(self._blocks)

    def _flush(self) -> None:
        block = self._pack(bytes(self._pending[: layout.METADATA_BYTES]))
        del self._pending[: layout.METADATA_BYTES]
        self._blocks.append(block)
        self._packed_bytes += len(block)


class _TreeWriter:
    """Inode and directory table of one tree."""

    def __init__(self, pack: partial[bytes]) -> None:
        self.inodes = _MetadataWriter(pack)
        self.directories = _MetadataWriter(pack)
        self.references: list[int] = []  # of inode 1, 2, …; the root is the last
        self._numbers: dict[int, int] = {}  # by id(): nodes are alive as long as we are
        self._links: Counter[int] = Counter()
        self._parents: dict[int, DirectoryNode] = {}
        self._sorted: dict[int, list[tuple[bytes, Node]]] = {}

    def _children(self, directory: DirectoryNode) -> list[tuple[bytes, Node]]:
        found = self._sorted.get(id(directory))
        if found is None:
            found = self._sorted[id(directory)] = sorted(directory.children.items())
        return found

    def write(self, root: DirectoryNode) -> None:
        directories = list(self._directories_inside_out(root))
        files: list[FileNode | LinkNode] = []
        for directory in directories:
            for _, child in self._children(directory):
                if not isinstance(child, DirectoryNode):
                    if not self._links[id(child)]:
                        files.append(child)
                    self._links[id(child)] += 1
        for number, node in enumerate([*files, *directories], 1):
            self._numbers[id(node)] = number
        for node in files:
            self._write_inode(self._file_inode(node))
        for directory in directories:
            self._write_inode(self._directory_inode(directory))

    def _directories_inside_out(self, directory: DirectoryNode) -> Iterator[DirectoryNode]:
        for _, child in self._children(directory):
            if isinstance(child, DirectoryNode):
                self._parents[id(child)] = directory
                yield from self._directories_inside_out(child)
        yield directory

    def _write_inode(self, inode: bytes) -> None:
        block, offset = self.inodes.write(inode)
        self.references.append(block << 16 | offset)

    def _inode_head(self, kind: int, node: Node) -> bytes:
        # Owner and group are the first of the id table, the time is 0.
        return layout.INODE.pack(kind, node.mode, 0, 0, 0, self._numbers[id(node)])

    def _file_inode(self, node: FileNode | LinkNode) -> bytes:
        links = self._links[id(node)]
        if isinstance(node, LinkNode):
            fields = layout.LINK.pack(links, len(node.target))
            return self._inode_head(layout.LINK_TYPE, node) + fields + node.target
        fragment = layout.NO_FRAGMENT if node.fragment is None else node.fragment
        lengths = pack(f"<{len(node.block_lengths)}I", *node.block_lengths)
        if links > 1 or node.sparse_bytes or max(node.first_block, node.size_bytes) >> 32:
            fields = layout.LONG_FILE.pack(
                *(node.first_block, node.size_bytes, node.sparse_bytes, links),
                *(fragment, node.fragment_offset, layout.NO_XATTRS),
            )
            return self._inode_head(layout.LONG_FILE_TYPE, node) + fields + lengths
        inode = layout.FILE_INODE.pack(
            *(layout.FILE_TYPE, node.mode, 0, 0, 0, self._numbers[id(node)]),
            *(node.first_block, fragment, node.fragment_offset, node.size_bytes),
        )
        return inode + lengths

    def _directory_inode(self, node: DirectoryNode) -> bytes:
        size = layout.EMPTY_DIRECTORY_BYTES
        place = first_place = self.directories.write(b"")
        indexes: list[tuple[int, int, bytes]] = []
        for run_block, run in self._runs(node):
            listed = _listed(run_block, run)
            place = self.directories.write(listed)
            if place[0] != (indexes[-1][1] if indexes else first_place[0]):
                # Where a look-up by name may skip to: the first run of each metadata block.
                indexes.append((size - layout.EMPTY_DIRECTORY_BYTES, place[0], run[0][0]))
            size += len(listed)
        links = 2 + sum(isinstance(child, DirectoryNode) for child in node.children.values())
        parent = self._parents.get(id(node))
        # The root's parent is a number that no inode has, as mksquashfs writes it.
        parent_number = self._numbers[id(parent)] if parent else len(self._numbers) + 1
        block, offset = first_place
        if size >> 16 or indexes:
            return b"".join(
                (
                    self._inode_head(layout.LONG_DIRECTORY_TYPE, node),
                    layout.LONG_DIRECTORY.pack(
                        *(links, size, block, parent_number),
                        *(len(indexes), offset, layout.NO_XATTRS),
                    ),
                    *(
                        layout.DIRECTORY_INDEX.pack(at, start, len(name) - 1) + name
                        for at, start, name in indexes
                    ),
                )
            )
        return self._inode_head(layout.DIRECTORY_TYPE, node) + layout.DIRECTORY.pack(
            block, links, size, offset, parent_number
        )

    def _runs(self, node: DirectoryNode) -> Iterator[tuple[int, list[_Listed]]]:
        """Children that may stand behind one header, and the block that their inodes are in.

        Their numbers are near each other then, as the header wants it too.
        """
        run: list[_Listed] = []
        run_block = 0
        for name, child in self._children(node):
            number = self._numbers[id(child)]
            reference = self.references[number - 1]
            if run and (
                len(run) == layout.MOST_ENTRIES_OF_A_HEADER or reference >> 16 != run_block
            ):
                yield run_block, run
                run = []
            run_block = reference >> 16
            run.append((name, number, reference & 0xFFFF, _TYPE_OF[type(child)]))
        if run:
            yield run_block, run


_Listed = tuple[bytes, int, int, int]
"""A child's name, and its inode: number, offset in its block, type."""


def _listed(block: int, run: list[_Listed]) -> bytes:
    first = run[0][1]
    parts = [layout.DIRECTORY_HEADER.pack(len(run) - 1, block, first)]
    for name, number, offset, kind in run:
        parts.append(layout.DIRECTORY_ENTRY.pack(offset, number - first, kind, len(name) - 1))
        parts.append(name)
    return b"".join(parts)


_TYPE_OF = {
    FileNode: layout.FILE_TYPE,
    LinkNode: layout.LINK_TYPE,
    DirectoryNode: layout.DIRECTORY_TYPE,
}
