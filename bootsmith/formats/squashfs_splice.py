"""A squashfs image with some files changed, and the compressed rest of it as it was.

    plan = splice_squashfs(image, {"modules/6.6/extra/a.ko": NewFile(content=…), "x": None})
    for part in plan.parts: …        # ranges of the old image, and new bytes, in order

Blocks of files that stay are neither unpacked nor packed; a fragment block stays as long
as one file has its tail there, so it may still hold tails of files that are gone. What is
new is packed as the image is (compressor, options, block size), in blocks behind the old
ones. A file that takes another's place takes over those of its blocks that are the same,
so a longer index of modules costs what lies behind its first difference. Inodes,
directories and the other tables are written anew (see squashfs_write).
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from bootsmith.errors import FormatError
from bootsmith.formats import squashfs_layout as layout
from bootsmith.formats.squashfs import DIRECTORY, FILE, LINK, Squashfs, SquashfsEntry
from bootsmith.formats.squashfs_compressor import (
    SquashfsCompressor,
    is_program,
    read_compressor,
)
from bootsmith.formats.squashfs_write import (
    DirectoryNode,
    FileNode,
    LinkNode,
    Node,
    write_tables,
)

_LONGEST_NAME_BYTES = 255
_LONGEST_TARGET_BYTES = 4095


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """A regular file; it takes the place of what had its name, unless that is a directory."""

    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class NewLink:
    """A symbolic link."""

    target: str


Edits = Mapping[str, NewFile | NewLink | None]
"""By path: what shall be there. None: nothing, and nothing below it either."""


@dataclass(frozen=True, kw_only=True)
class KeptRange:
    """Bytes of the old image that go over as they are."""

    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class SplicePlan:
    """The new image, part behind part."""

    parts: tuple[KeptRange | bytes, ...]

    @property
    def kept_bytes(self) -> int:
        """How much comes from the old image."""
        return sum(part.size_bytes for part in self.parts if isinstance(part, KeptRange))


def splice_squashfs(
    image: Squashfs,
    edits: Edits,
    *,
    keeping: Callable[[int, Sequence[KeptRange]], None] | None = None,
) -> SplicePlan:
    """How to write `image` with `edits`: first what shall go goes, then the rest comes.

    Missing parents are made, mode 0755. `keeping` is told where most of the kept ranges go,
    one behind the other, before anything new is packed: so they may be copied meanwhile.

    Raises FormatError for an edit that contradicts the image or another edit, for device
    nodes in the image, and for damage.
    """
    compressor = read_compressor(image)
    tree = _Tree(image)
    tree.apply(edits)
    kept = _KeptContent(image, compressor, tree)
    if keeping:
        keeping(kept.start, kept.ranges)
    added = _AddedContent(image, compressor, kept.end)
    added.add(tree.new_files, first_fragment=len(kept.fragments))
    tables = write_tables(
        tree.root,
        fragments=[*kept.fragments, *added.fragments],
        content_end=added.end,
        compressor=compressor,
        flags=image.superblock.flags,
    )
    return SplicePlan(parts=(tables.head, *kept.ranges, *added.parts, tables.tail))


class _Tree:
    """The tree of an image while it is edited.

    `entries` tells where the content of a node lies in the old image, `contents` what that
    of a new one is, and `replaced` what was there before.
    """

    def __init__(self, image: Squashfs) -> None:
        self._subject = image.subject
        self.root = DirectoryNode(mode=image.entry("").mode)
        self._entries: dict[FileNode, SquashfsEntry] = {}
        self._contents: dict[FileNode, bytes] = {}
        self._replaced: dict[FileNode, SquashfsEntry] = {}
        directories = {"": self.root}
        # By inode: names of one file lead to one node.
        nodes: dict[int, Node] = {image.superblock.root_inode: self.root}
        for entry in image.walk():
            node = nodes.get(entry.inode)
            if node is None:
                node = nodes[entry.inode] = self._node(entry)
            elif isinstance(node, DirectoryNode):
                raise FormatError(
                    self._subject,
                    f"damaged squashfs image: {entry.path!r} is a directory with another name",
                    hint="copy or download it again",
                )
            parent, _, name = entry.path.rpartition("/")
            directories[parent].children[os.fsencode(name)] = node
            if isinstance(node, DirectoryNode):
                directories[entry.path] = node

    def _node(self, entry: SquashfsEntry) -> Node:
        if entry.type == DIRECTORY:
            return DirectoryNode(mode=entry.mode)
        if entry.type == LINK:
            return LinkNode(mode=entry.mode, target=os.fsencode(entry.target or ""))
        if entry.type == FILE:
            node = FileNode(
                mode=entry.mode,
                size_bytes=entry.size_bytes,
                block_lengths=entry.block_lengths,
                fragment_offset=entry.fragment_offset,
                sparse_bytes=entry.sparse_bytes,
            )
            self._entries[node] = entry
            return node
        raise FormatError(
            self._subject,
            f"{entry.path!r} is a device, pipe or socket",
            expected="files, directories and links",
            hint="use the release's own modloop: it holds none",
        )

    def apply(self, edits: Edits) -> None:
        """Take out what shall go, then put in what shall come, parents first."""
        for path, edit in sorted(edits.items()):
            if edit is None:
                self._remove(path)
        for path, edit in sorted(edits.items()):
            if edit is not None:
                self._put(path, edit)

    @property
    def kept_files(self) -> list[tuple[FileNode, SquashfsEntry]]:
        """Files of the old image that are still there, and their entries."""
        return [(node, self._entries[node]) for node in self._files if node in self._entries]

    @property
    def new_files(self) -> list[tuple[FileNode, bytes, SquashfsEntry | None]]:
        """Files that are new, their contents, and what each one replaces, by path."""
        return [
            (node, self._contents[node], self._replaced.get(node))
            for node in self._files
            if node in self._contents
        ]

    @cached_property
    def _files(self) -> list[FileNode]:
        """All there are, to be asked for once all edits are applied."""
        found: dict[FileNode, None] = {}
        pending: list[Node] = [self.root]
        while pending:
            node = pending.pop()
            if isinstance(node, DirectoryNode):
                pending += [child for _, child in sorted(node.children.items(), reverse=True)]
            elif isinstance(node, FileNode):
                found[node] = None
        return list(found)

    def _remove(self, path: str) -> None:
        parent, name = self._place(path)
        directory = self._directory(parent)
        if directory is None or directory.children.pop(name, None) is None:
            raise self._refused(path, "cannot be removed: it is not there")

    def _put(self, path: str, edit: NewFile | NewLink) -> None:
        parent, name = self._place(path)
        directory = self._made_directory(parent)
        there = directory.children.get(name)
        if isinstance(there, DirectoryNode):
            raise self._refused(path, "cannot be replaced by a file or a link: it is a directory")
        node = directory.children[name] = self._new_node(path, edit)
        if isinstance(node, FileNode) and isinstance(there, FileNode) and there in self._entries:
            self._replaced[node] = self._entries[there]

    def _new_node(self, path: str, edit: NewFile | NewLink) -> FileNode | LinkNode:
        if isinstance(edit, NewLink):
            target = os.fsencode(edit.target)
            if not 0 < len(target) <= _LONGEST_TARGET_BYTES or b"\0" in target:
                raise self._refused(path, "cannot be a link with this target")
            return LinkNode(mode=0o777, target=target)
        node = FileNode(mode=edit.mode, size_bytes=len(edit.content))
        self._contents[node] = edit.content
        return node

    def _place(self, path: str) -> tuple[list[bytes], bytes]:
        parts = os.fsencode(path).split(b"/")
        if any(
            part in (b"", b".", b"..") or b"\0" in part or len(part) > _LONGEST_NAME_BYTES
            for part in parts
        ):
            raise self._refused(path, "is no name for a file in an image")
        return parts[:-1], parts[-1]

    def _directory(self, parts: Sequence[bytes]) -> DirectoryNode | None:
        node: Node | None = self.root
        for part in parts:
            if not isinstance(node, DirectoryNode):
                return None
            node = node.children.get(part)
        return node if isinstance(node, DirectoryNode) else None

    def _made_directory(self, parts: Sequence[bytes]) -> DirectoryNode:
        node = self.root
        for depth, part in enumerate(parts, 1):
            child = node.children.get(part)
            if child is None:
                child = node.children[part] = DirectoryNode(mode=0o755)
            if not isinstance(child, DirectoryNode):
                path = os.fsdecode(b"/".join(parts[:depth]))
                raise self._refused(path, "cannot hold anything: it is a file or a link")
            node = child
        return node

    def _refused(self, path: str, problem: str) -> FormatError:
        return FormatError(self._subject, f"{path!r} {problem}", hint="correct the changes")


class _KeptContent:
    """Blocks of the old image that are still wanted, moved together without gaps.

    Fills in where the content of each kept file lies in the new image.
    """

    def __init__(self, image: Squashfs, compressor: SquashfsCompressor, tree: _Tree) -> None:
        self._image = image
        self.start = layout.SUPERBLOCK.size + len(compressor.option_bytes)
        files = tree.kept_files
        fragments = sorted({entry.fragment for _, entry in files if entry.fragment is not None})
        places = [image.fragment_place(index) for index in fragments]
        wanted = [self._wanted(entry.first_block, entry.block_lengths) for _, entry in files]
        wanted += [self._wanted(start, (word,)) for start, word in places]
        self._merge(found for found in wanted if found is not None)
        self.fragments = [(self._moved(start), word) for start, word in places]
        index_of = {old: new for new, old in enumerate(fragments)}
        for node, entry in files:
            if any(entry.block_lengths):
                node.first_block = self._moved(entry.first_block)
            if entry.fragment is not None:
                node.fragment = index_of[entry.fragment]

    @property
    def end(self) -> int:
        """Where the new image goes on."""
        return self.start + sum(part.size_bytes for part in self.ranges)

    def _wanted(self, start: int, words: Iterable[int]) -> tuple[int, int] | None:
        size = sum(word & ~layout.BLOCK_STORED for word in words)
        if not size:
            return None
        if start < self.start or start + size > self._image.superblock.inode_table:
            raise FormatError(
                self._image.subject,
                "damaged squashfs image: content outside of its place",
                expected=f"between byte {self.start} and {self._image.superblock.inode_table}",
                got=f"{start}+{size}",
                hint="copy or download it again",
            )
        return start, start + size

    def _merge(self, wanted: Iterable[tuple[int, int]]) -> None:
        merged: list[list[int]] = []
        for start, end in sorted(wanted):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        self.ranges = [
            KeptRange(offset_bytes=start, size_bytes=end - start) for start, end in merged
        ]
        self.starts = [start for start, _ in merged]
        self._shifts = []
        position = self.start
        for start, end in merged:
            self._shifts.append(position - start)
            position += end - start

    def _moved(self, position: int) -> int:
        if not self.starts:
            return self.start
        return position + self._shifts[max(0, bisect_right(self.starts, position) - 1)]


@dataclass(kw_only=True, slots=True)
class _Block:
    """A block that is to be packed."""

    content: bytes
    flag: int
    is_program: bool
    before: tuple[int, int] | None = None
    """(position, length word) of the block that it replaces, if that is as large."""
    word: int = 0
    stored: bytes | KeptRange = b""


@dataclass(kw_only=True, slots=True)
class _Placed:
    """The blocks of one content, and where its tail lies in a new fragment block."""

    blocks: list[_Block] = field(default_factory=list)
    fragment: int | None = None
    fragment_offset: int = 0


class _AddedContent:
    """New contents, packed into blocks and fragment blocks behind what was kept."""

    def __init__(self, image: Squashfs, compressor: SquashfsCompressor, start: int) -> None:
        self._image = image
        self._compressor = compressor
        self._flags = image.superblock.flags
        self._tails: list[bytearray] = []
        self.end = start
        self.parts: list[bytes | KeptRange] = []
        self.fragments: list[tuple[int, int]] = []

    def add(
        self,
        files: Sequence[tuple[FileNode, bytes, SquashfsEntry | None]],
        *,
        first_fragment: int,
    ) -> None:
        """Pack all contents, equal ones once, and tell each node where its own lies."""
        placed: dict[bytes, _Placed] = {}
        for _, content, replaced in files:
            if content not in placed:
                placed[content] = self._cut(content, replaced)
        tails = [
            _Block(content=tail, flag=layout.STORED_FRAGMENTS, is_program=is_program(tail))
            for tail in map(bytes, self._tails)
        ]
        blocks = [block for one in placed.values() for block in one.blocks]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(self._pack, [*blocks, *tails]))
        starts = {content: self._append(one.blocks) for content, one in placed.items()}
        self.fragments = [(self._append([tail]), tail.word) for tail in tails]
        for node, content, _ in files:
            one = placed[content]
            node.block_lengths = tuple(block.word for block in one.blocks)
            if any(node.block_lengths):
                node.first_block = starts[content]
            node.sparse_bytes = sum(len(block.content) for block in one.blocks if not block.word)
            if one.fragment is not None:
                node.fragment = first_fragment + one.fragment
                node.fragment_offset = one.fragment_offset

    def _cut(self, content: bytes, replaced: SquashfsEntry | None) -> _Placed:
        size = self._compressor.block_size_bytes
        rest = len(content) % size
        has_tail = rest and not self._flags & layout.WITHOUT_FRAGMENTS
        if has_tail and rest < len(content) and not self._flags & layout.ALWAYS_FRAGMENTS:
            has_tail = False  # as mksquashfs: only of files that are smaller than a block
        end = len(content) - rest if has_tail else len(content)
        program = is_program(content)
        one = _Placed(
            blocks=[
                _Block(content=content[at : at + size], flag=layout.STORED_DATA, is_program=program)
                for at in range(0, end, size)
            ]
        )
        if replaced is not None:
            for block, (at, word, old_size) in zip(
                one.blocks, self._image.blocks(replaced), strict=False
            ):
                if word and old_size == len(block.content):
                    block.before = at, word
        if has_tail:
            self._place_tail(one, content[end:])
        return one

    def _place_tail(self, one: _Placed, tail: bytes) -> None:
        size = self._compressor.block_size_bytes
        if not self._tails or len(self._tails[-1]) + len(tail) > size:
            self._tails.append(bytearray())
        one.fragment = len(self._tails) - 1
        one.fragment_offset = len(self._tails[-1])
        self._tails[-1] += tail

    def _pack(self, block: _Block) -> None:
        """Fill in what to store, on any processor."""
        if block.flag == layout.STORED_DATA and not block.content.strip(b"\0"):
            return  # a hole: nothing at all
        if block.before is not None and self._is_as_before(block.content, *block.before):
            position, block.word = block.before
            size = block.word & ~layout.BLOCK_STORED
            block.stored = KeptRange(offset_bytes=position, size_bytes=size)
            return
        block.word, block.stored = self._compressor.pack_block(
            block.content, flag=block.flag, is_program=block.is_program
        )

    def _is_as_before(self, content: bytes, position: int, word: int) -> bool:
        try:
            return content == self._image.unpacked_block(position, word, len(content), "a file")
        except FormatError:  # damaged: a reason more to replace it
            return False

    def _append(self, blocks: Iterable[_Block]) -> int:
        start = self.end
        for block in blocks:
            self.parts.append(block.stored)
            self.end += block.word & ~layout.BLOCK_STORED
        return start
