"""A disk image of pieces at offsets, written whole or by changing the last one.

All that no piece covers is zero, and a hole where the image was written whole. A record is kept
of what went where, so that an image most of whose pieces are those of the last one costs what
differs: the last one gets another name, is changed where it must be, and takes its own name
again. Either way gives the same bytes.

The last image is changed only if it is still the file that was recorded, by identity
(files.digest), with no other name. The record is kept only once the file system's clock has been
seen to go on, so that every later write shows in the identity, however soon it came. Whoever fails
half-way puts the image back as it was. Killed half-way it is left as a partial file: the next run
removes that and writes the image whole.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bootsmith.files.atomic import renamed_for_a_while, replacing_file, write_file
from bootsmith.files.digest import Identity
from bootsmith.files.extents import copy_extents, read_extents

_PAGE_BYTES = 4096
_MOST_NEW_BYTES = 16 << 20
"""More is written whole: it would have to be held in memory, and gains little."""
_CLOCK_LOOKS, _CLOCK_PAUSE_SECONDS = 10, 0.002
_RECORD_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ImagePiece:
    """Bytes that belong at `offset_bytes`: `content`, or the `extents` of the file `container`.

    `digest` (hex sha256) must be known of those from a file.
    """

    offset_bytes: int
    content: bytes = b""
    container: Path | None = None
    extents: tuple[tuple[int, int], ...] = ()
    digest: str = ""

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""
        return sum(size for _, size in self.extents) if self.container else len(self.content)

    @property
    def end_bytes(self) -> int:
        """Where it ends."""
        return self.offset_bytes + self.size_bytes


@dataclass(frozen=True, kw_only=True)
class DiskImage:
    """What an image is to be; its pieces do not overlap."""

    size_bytes: int
    pieces: Sequence[ImagePiece]


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """Where it is recorded what the last image is made of, and by what code."""

    path: Path
    maker: str


Copied = Callable[[int], None]
"""Told how many more bytes of files are in place."""


def write_image(
    target: Path, image: DiskImage, *, record: ImageRecord | None, copied: Copied
) -> None:
    """Make `target` this image, out of the last one where `record` tells what that is.

    With `record` None nothing is known and nothing is kept. Raises SourceError if a container is
    shorter than its extents say, OSError for what the disk refuses; `target` is as it was then.
    """
    changes = _changes(target, image, record) if record else None
    if record is None or changes is None:
        with replacing_file(target) as partial, open(partial, "r+b", buffering=0) as out:
            out.truncate(image.size_bytes)
            _write_pieces(out.fileno(), image.pieces, copied)
    else:
        record.path.unlink()  # it tells of what will not be there any more
        with renamed_for_a_while(target) as partial, open(partial, "r+b", buffering=0) as out:
            _apply(out.fileno(), changes)
        copied(sum(piece.size_bytes for piece in image.pieces if piece.container))
    if record is not None:
        _keep(record, target, image)


def _write_pieces(out: int, pieces: Sequence[ImagePiece], copied: Copied) -> None:
    with ExitStack() as stack:
        containers: dict[Path, int] = {}
        for piece in pieces:
            if piece.container is None:
                _write_at(out, piece.content, piece.offset_bytes)
                continue
            if piece.container not in containers:
                opened = stack.enter_context(open(piece.container, "rb"))
                containers[piece.container] = opened.fileno()
            source = containers[piece.container]
            copied(copy_extents(source, piece.extents, out, piece.offset_bytes))


def _write_at(out: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(out, view, offset)
        view, offset = view[written:], offset + written


# What differs from the last one


@dataclass(frozen=True, kw_only=True)
class _Change:
    """Bytes to be written, and what they take the place of."""

    offset_bytes: int
    before: bytes
    after: bytes


_Placed = tuple[int, int, str]
"""Offset, size and digest of a piece."""


def _changes(target: Path, image: DiskImage, record: ImageRecord) -> list[_Change] | None:
    """What turns the last image into this one; None if it has to be written whole."""
    last = _recorded(record, target, image.size_bytes)
    if last is None:
        return None
    there = set(last)
    new = [piece for piece in image.pieces if not piece.digest or _placed(piece) not in there]
    if sum(piece.size_bytes for piece in new) > _MOST_NEW_BYTES:
        return None
    kept = {_placed(piece) for piece in image.pieces if piece.digest} & there
    taken = sorted((piece.offset_bytes, piece.end_bytes) for piece in image.pieces)
    changes: list[_Change] = []
    with open(target, "rb", buffering=0) as source:
        for piece in new:
            changes += _differing(source.fileno(), piece.offset_bytes, _content(piece))
        for offset, size, _ in there - kept:
            for start, end in _outside(offset, offset + size, taken):
                changes += _differing(source.fileno(), start, bytes(end - start))
    return changes


def _placed(piece: ImagePiece) -> _Placed:
    return piece.offset_bytes, piece.size_bytes, piece.digest


def _content(piece: ImagePiece) -> bytes:
    if piece.container is None:
        return piece.content
    with open(piece.container, "rb", buffering=0) as source:
        return read_extents(source.fileno(), piece.extents)


def _outside(start: int, end: int, taken: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of a range that lie in none of the others, which are sorted."""
    for taken_start, taken_end in taken:
        if taken_end <= start:
            continue
        if taken_start >= end:
            break
        if taken_start > start:
            yield start, taken_start
        start = taken_end
    if start < end:
        yield start, end


def _differing(source: int, offset: int, after: bytes) -> Iterator[_Change]:
    """The pages in which the image is not yet as it shall be."""
    before = read_extents(source, [(offset, len(after))])
    if before == after:
        return
    for at in range(0, len(after), _PAGE_BYTES):
        old, new = before[at : at + _PAGE_BYTES], after[at : at + _PAGE_BYTES]
        if old != new:
            yield _Change(offset_bytes=offset + at, before=old, after=new)


def _apply(out: int, changes: Sequence[_Change]) -> None:
    begun: list[_Change] = []
    try:
        for change in changes:
            begun.append(change)
            _write_at(out, change.after, change.offset_bytes)
    except BaseException:
        for change in begun:
            _write_at(out, change.before, change.offset_bytes)
        raise


# What the last one is


def _recorded(record: ImageRecord, target: Path, size_bytes: int) -> set[_Placed] | None:
    """The pieces of the image at `target`; None where that is not known for certain."""
    try:
        known = json.loads(record.path.read_bytes())
        status = os.lstat(target)
        head = {key: known[key] for key in ("schema", "maker", "path", "image")}
        pieces = {(offset, size, digest) for offset, size, digest in known["pieces"]}
    except (OSError, ValueError, KeyError, TypeError):  # also: cut short by a power cut
        return None
    is_it = (
        stat.S_ISREG(status.st_mode)
        and status.st_nlink == 1
        and status.st_size == size_bytes
        and head == _head(record, target, Identity.of(status))
    )
    return pieces if is_it else None


def _head(record: ImageRecord, target: Path, identity: Identity) -> dict[str, object]:
    return {
        "schema": _RECORD_SCHEMA,
        "maker": record.maker,
        "path": os.path.abspath(target),
        "image": asdict(identity),
    }


def _keep(record: ImageRecord, target: Path, image: DiskImage) -> None:
    """Record what the image is made of, if every later write to it will show."""
    identity = Identity.of(os.lstat(target))
    document = _head(record, target, identity) | {"pieces": list(map(_placed, image.pieces))}
    content = json.dumps(document).encode()
    for _ in range(_CLOCK_LOOKS):
        write_file(record.path, content, durable=False)
        if _is_later(record.path, identity):
            break
        time.sleep(_CLOCK_PAUSE_SECONDS)
    else:
        record.path.unlink()


def _is_later(path: Path, identity: Identity) -> bool:
    """Whether the clock that stamped `identity` has gone on when `path` was written."""
    status = os.stat(path)
    newest = max(identity.ctime_ns, identity.mtime_ns)
    return status.st_dev == identity.device and status.st_mtime_ns > newest
