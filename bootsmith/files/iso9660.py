"""The Rock Ridge tree of an ISO 9660 image: names, types and where each file's bytes lie.

pycdlib parses the records; nothing is unpacked, no file content is read. It is shown the
image through `_Window`, because of two of its habits: it shortens files that reach beyond
the end of the image instead of saying that the image is cut short, and it parses the boot
sectors in front of the volume, which vary and are none of our business.

An image is hostile until read: names may not leave their directory, nothing may lie behind
a symbolic link of the same name, links may not lead out of the tree, files lie inside the
image and may not together claim many times its size.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from bootsmith.errors import FormatError
from bootsmith.formats.iso_links import check_links
from bootsmith.formats.member_names import check_member_name
from bootsmith.formats.release_facts import DIRECTORY, FILE, LINK, IsoFile

_SECTOR_BYTES = 2048
_SYSTEM_AREA_BYTES = 16 * _SECTOR_BYTES
_DEEPEST_DIRECTORY = 64
_MOST_ENTRIES = 200_000
_MOST_TIMES_ITS_SIZE = 4  # hard links share extents, yet no real image repeats itself more often
_DOWNLOAD_AGAIN = "download or copy the ISO again"


@dataclass(frozen=True, kw_only=True)
class IsoTree:
    """An image's volume id ("" if it has none) and its entries, sorted by path."""

    volume_id: str
    files: tuple[IsoFile, ...]


def read_iso_tree(source: io.FileIO, *, subject: Path | str) -> IsoTree:
    """The tree of the image open as `source`; FormatError, naming `subject`, otherwise."""
    import pycdlib

    size_bytes = os.fstat(source.fileno()).st_size
    check_volume(source, subject=subject)
    image = pycdlib.PyCdlib()
    try:
        image.open_fp(cast(BinaryIO, _Window(source, size_bytes, subject)))
        if not image.has_rock_ridge():
            raise FormatError(
                subject,
                "ISO without Rock Ridge, so without the real file names",
                hint="use an ISO as Alpine publishes it, or make it with: xorriso -as mkisofs -R",
            )
        volume_id = image.pvd.volume_identifier.decode("utf-8", "replace").rstrip("\0 ")
        reader = _TreeReader(image.pvd.logical_block_size(), size_bytes, subject)
        files = sorted(reader.read(image.pvd.root_directory_record()), key=lambda entry: entry.path)
    except FormatError:
        raise
    except Exception as error:
        # The boundary to pycdlib: on damage it raises its own errors, but also whatever
        # its field access happens to raise (IndexError, struct.error, RecursionError …).
        raise FormatError(
            subject,
            f"damaged ISO 9660 image ({type(error).__name__}: {error})",
            hint=_DOWNLOAD_AGAIN,
        ) from error
    check_links(files, subject=subject)
    return IsoTree(volume_id=volume_id, files=tuple(files))


def check_volume(source: io.FileIO, *, subject: Path | str) -> None:
    """FormatError unless this is an ISO 9660 volume with as many bytes as it declares."""
    size_bytes = os.fstat(source.fileno()).st_size
    descriptor = os.pread(source.fileno(), _SECTOR_BYTES, _SYSTEM_AREA_BYTES)
    if descriptor[1:6] != b"CD001":
        head = os.pread(source.fileno(), 512, 0)
        raise FormatError(
            subject,
            "not an ISO 9660 image",
            expected=f"CD001 at byte {_SYSTEM_AREA_BYTES + 1}",
            got=_looks_like(head, size_bytes),
            hint="check the path or URL in the release's recipe",
        )
    blocks = int.from_bytes(descriptor[80:84], "little")
    declared = blocks * int.from_bytes(descriptor[128:130], "little")
    if declared > size_bytes:
        raise _cut_short(subject, declared, size_bytes)


def _looks_like(head: bytes, size_bytes: int) -> str:
    if not size_bytes:
        return "an empty file"
    if head.lstrip()[:1] == b"<":
        return "a web page"
    for magic, what in (
        (b"\x1f\x8b", "gzip data"),
        (b"\xfd7zXZ", "xz data"),
        (b"PK\x03\x04", "a zip archive"),
        (b"hsqs", "a squashfs image"),
    ):
        if head.startswith(magic):
            return what
    return "zeros" if not any(head) else f"{size_bytes} bytes of something else"


def _cut_short(subject: Path | str, needed_bytes: int, size_bytes: int) -> FormatError:
    return FormatError(
        subject,
        "ISO is cut short",
        expected=f"at least {needed_bytes} bytes",
        got=f"{size_bytes} bytes",
        hint=_DOWNLOAD_AGAIN,
    )


class _Window(io.RawIOBase):
    """The image as pycdlib sees it: blank boot sectors, endless, but no reading past its end."""

    def __init__(self, source: io.FileIO, size_bytes: int, subject: Path | str) -> None:
        self._fd = source.fileno()
        self._size_bytes = size_bytes
        self._subject = subject
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        endless = 1 << 62
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: endless}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        start = self._position
        if size < 0 or start + size > self._size_bytes:
            raise _cut_short(self._subject, start + max(size, 1), self._size_bytes)
        self._position = start + size
        if self._position <= _SYSTEM_AREA_BYTES:
            return bytes(size)
        return os.pread(self._fd, size, start)


class _TreeReader:
    """Turns pycdlib's records into IsoFile, checking each."""

    def __init__(self, block_bytes: int, size_bytes: int, subject: Path | str) -> None:
        self._block_bytes = block_bytes
        self._size_bytes = size_bytes
        self._subject = subject
        self._claimed_bytes = 0

    def read(self, root: Any) -> Iterator[IsoFile]:
        """Every entry below `root`, no path twice.

        Names are single components and only true directories are descended into, so an
        entry behind a link takes a link and a directory of one name: a path that is twice.
        """
        seen: set[str] = set()
        pending = [("", root)]
        while pending:
            prefix, directory = pending.pop()
            for record in self._records(directory):
                path = prefix + self._name(record, prefix)
                if path in seen:
                    raise self._refused("one name twice in a directory", path)
                seen.add(path)
                if len(seen) > _MOST_ENTRIES or path.count("/") > _DEEPEST_DIRECTORY:
                    raise self._refused(
                        f"more than {_MOST_ENTRIES} entries or {_DEEPEST_DIRECTORY} levels", path
                    )
                entry, children = self._entry(record, path)
                if children is not None:
                    pending.append((f"{path}/", children))
                yield entry

    def _refused(self, problem: str, path: str) -> FormatError:
        return FormatError(
            self._subject, f"hostile or damaged ISO: {problem}", got=ascii(path[:80]),
            hint="use an ISO from a source you trust",
        )  # fmt: skip

    def _records(self, directory: Any) -> list[Any]:
        """Records of a directory that are entries of its own.

        Left out: `.` and `..`, later parts of large files, associated files, and directories
        that are here only because they are too deep for plain ISO 9660 (they are met again
        through their child link).
        """
        children = directory.children
        later_parts = {
            id(record.data_continuation) for record in children if record.data_continuation
        }
        return [
            record
            for record in children
            if not record.is_dot()
            and not record.is_dotdot()
            and not record.is_associated_file()
            and id(record) not in later_parts
            and not (record.rock_ridge is not None and record.rock_ridge.relocated_record())
        ]

    def _name(self, record: Any, prefix: str) -> str:
        if record.rock_ridge is None:
            shown = record.file_identifier().decode("ascii", "replace")
            raise self._refused("an entry without Rock Ridge attributes", prefix + shown)
        name = os.fsdecode(record.rock_ridge.name())
        if check_member_name(name, subject=self._subject) != name or "/" in name or not name:
            raise self._refused("impossible file name", prefix + name)
        return name

    def _entry(self, record: Any, path: str) -> tuple[IsoFile, Any | None]:
        """The entry, and the directory record to descend into, if it is a directory."""
        rock_ridge = record.rock_ridge
        mode = rock_ridge.get_file_mode()
        bits = stat.S_IMODE(mode)
        if rock_ridge.is_symlink():
            target = os.fsdecode(rock_ridge.symlink_path())
            return IsoFile(path=path, type=LINK, mode=bits, target=target), None
        if rock_ridge.child_link_record_exists():
            moved = rock_ridge.cl_to_moved_dr
            return IsoFile(path=path, type=DIRECTORY, mode=bits), moved
        if record.is_dir():
            return IsoFile(path=path, type=DIRECTORY, mode=bits), record
        if not stat.S_ISREG(mode):
            raise self._refused(f"neither file, directory nor link ({stat.filemode(mode)})", path)
        extents = tuple(self._extents(record, path))
        size_bytes = sum(size for _, size in extents)
        self._claimed_bytes += size_bytes
        if self._claimed_bytes > _MOST_TIMES_ITS_SIZE * self._size_bytes:
            raise self._refused(f"files claim over {_MOST_TIMES_ITS_SIZE} times its size", path)
        return IsoFile(
            path=path, type=FILE, mode=bits, size_bytes=size_bytes, extents=extents
        ), None

    def _extents(self, record: Any, path: str) -> Iterator[tuple[int, int]]:
        """(offset, size) of each run of bytes, neighbours joined."""
        start = end = 0
        part = record
        while part is not None:
            if part.file_unit_size or part.interleave_gap_size:
                raise self._refused("interleaved file", path)
            offset = (part.extent_location() + part.xattr_len) * self._block_bytes
            size = part.get_data_length()
            if size and offset + size > self._size_bytes:
                raise _cut_short(f"{self._subject}: {path}", offset + size, self._size_bytes)
            if size and offset == end:
                end += size
            elif size:
                if end > start:
                    yield start, end - start
                start, end = offset, offset + size
            part = part.data_continuation
        if end > start:
            yield start, end - start
