"""Reading archives made by others: every format libarchive knows, confined and bounded.

Members are handed over one by one, in memory; nothing is unpacked to a path here. What a
hostile archive could try is refused before its content is read:

- `../x`, `/x`, control characters in names: by the name alone;
- `x -> /etc` and then `x/passwd`: a name check cannot see it, so links are remembered and
  no later member may lead through one;
- hard links to something that is not an earlier file of the same archive;
- device nodes, FIFOs and sockets, unless the caller takes note of them: then they are left
  out, for a root filesystem may have some, and nothing is lost that a booting system needs;
- 10 GB of zeros in 10 KB: sizes are counted against limits by what the headers claim, and
  again by what really comes out.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bootsmith.errors import FormatError
from bootsmith.formats.member_names import LinkGuard, check_member_name

_READ_BLOCK_BYTES = 1 << 18

_DIRECTORY, _SYMLINK = 0o040000, 0o120000
_FILES = (0o100000, 0)  # ar as GNU writes it says nothing of a type
_SPECIAL_KINDS = {
    0o020000: "a character device",
    0o060000: "a block device",
    0o010000: "a FIFO",
    0o140000: "a socket",
}
_DAMAGED_HINT = "get the archive again, and compare its checksum with the publisher's"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much an archive may hold before it is refused."""

    members: int = 200_000
    member_bytes: int = 1 << 30
    total_bytes: int = 4 << 30


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class ArchiveMember:
    """One member: `name` relative and clean ("" is the root), `mode` permission bits only."""

    name: str
    kind: Literal["file", "directory", "symlink", "hardlink"]
    mode: int
    uid: int
    gid: int
    mtime_epoch: int
    target: str
    """Of a symlink: its text, anything; of a hard link: the name of an earlier file."""
    data: bytes
    """Content of a wanted file; empty for all else."""
    attributes: tuple[str, ...] = ()
    """Names of extended attributes, such as `security.capability`; asked for only."""


def read_archive(
    source: Path | bytes,
    *,
    subject: object | None = None,
    wanted: Callable[[str], bool] = lambda _name: True,
    limits: Limits = DEFAULT_LIMITS,
    on_special: Callable[[str, str], None] | None = None,
    with_attributes: bool = False,
) -> Iterator[ArchiveMember]:
    """Every member of the archive in its order; files that are not `wanted` come without data.

    Device nodes, FIFOs and sockets are refused, or left out if `on_special` is told of them
    (name, kind in words). Raises FormatError, naming `subject` (default: the path), for
    damage, for any of the tricks above and for more than `limits` allows.
    """
    import libarchive

    subject = subject or (source if isinstance(source, Path) else "archive")
    try:
        with _open(source) as archive:
            for entry, member in _members(archive, subject, wanted, limits, on_special):
                if with_attributes:
                    yield replace(member, attributes=_attributes(entry))
                else:
                    yield member
    except libarchive.ArchiveError as error:
        raise FormatError(
            subject, f"damaged or not an archive: {_reason(error)}", hint=_DAMAGED_HINT
        ) from None


def _open(source: Path | bytes) -> AbstractContextManager[Any]:
    import libarchive

    # It warns of names that are not UTF-8; they are taken as they are.
    logging.getLogger("libarchive").setLevel(logging.ERROR)
    if isinstance(source, Path):
        return libarchive.file_reader(str(source), block_size=_READ_BLOCK_BYTES)
    return libarchive.memory_reader(source)


def _reason(error: Exception) -> str:
    # libarchive-c appends its own numbers to libarchive's sentence.
    return str(getattr(error, "msg", None) or error).split(" (errno")[0]


def _attributes(entry: Any) -> tuple[str, ...]:
    """Names of extended attributes; the binding gives no access to them."""
    import libarchive.ffi

    library, pointer = libarchive.ffi.libarchive, entry._entry_p  # noqa: SLF001
    names = []
    name, value, size = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_size_t()
    found = (ctypes.byref(name), ctypes.byref(value), ctypes.byref(size))
    library.archive_entry_xattr_reset(ctypes.c_void_p(pointer))
    while library.archive_entry_xattr_next(ctypes.c_void_p(pointer), *found) == 0:
        names.append(_text(name.value))
    return tuple(sorted(names))


def _members(
    archive: Any,
    subject: object,
    wanted: Callable[[str], bool],
    limits: Limits,
    on_special: Callable[[str, str], None] | None,
) -> Iterator[tuple[Any, ArchiveMember]]:
    guard = LinkGuard(subject)
    files: set[str] = set()
    total_bytes = 0
    for count, entry in enumerate(archive, 1):
        if count > limits.members:
            raise _too_much(subject, f"more than {limits.members} members")
        name = check_member_name(_text(entry.pathname), subject=subject)
        if on_special is not None and entry.filetype in _SPECIAL_KINDS and not entry.islnk:
            on_special(name, _SPECIAL_KINDS[entry.filetype])
            continue
        kind = _kind_of(entry, name, subject)
        guard.admit(name, is_link=kind == "symlink")
        target = _target_of(entry, kind, files, subject)
        size_bytes = (entry.size or 0) if kind == "file" else 0
        total_bytes += size_bytes
        _check_sizes(size_bytes, total_bytes, name, subject, limits)
        data = b""
        if kind == "file":
            files.add(name)
            if wanted(name):
                data = _content(entry, name, subject, limits)
                total_bytes += max(0, len(data) - size_bytes)
        member = ArchiveMember(
            name=name,
            kind=kind,
            mode=entry.mode & 0o7777,
            uid=entry.uid,
            gid=entry.gid,
            mtime_epoch=int(entry.mtime or 0),
            target=target,
            data=data,
        )
        yield entry, member


def _text(name: str | bytes | None) -> str:
    if isinstance(name, bytes):
        return name.decode("utf-8", "surrogateescape")
    return name or ""


def _kind_of(
    entry: Any, name: str, subject: object
) -> Literal["file", "directory", "symlink", "hardlink"]:
    if entry.islnk:
        return "hardlink"
    kind = entry.filetype
    if kind in _FILES:
        return "file"
    if kind == _DIRECTORY:
        return "directory"
    if kind == _SYMLINK:
        return "symlink"
    raise FormatError(
        subject,
        f"member {name!a} is {_SPECIAL_KINDS.get(kind, 'of no known kind')}",
        expected="files, directories and links",
        hint="do not use this archive",
    )


def _target_of(entry: Any, kind: str, files: set[str], subject: object) -> str:
    if kind == "symlink":
        return _text(entry.linkpath)
    if kind != "hardlink":
        return ""
    target = check_member_name(_text(entry.linkpath), subject=subject)
    if target not in files:
        raise FormatError(
            subject,
            "hard link to something that is no earlier file of the archive",
            got=f"{target!a}",
            hint="do not use this archive",
        )
    return target


def _check_sizes(
    size_bytes: int, total_bytes: int, name: str, subject: object, limits: Limits
) -> None:
    if size_bytes > limits.member_bytes:
        raise _too_much(subject, f"{name!a} is larger than {limits.member_bytes} bytes")
    if total_bytes > limits.total_bytes:
        raise _too_much(subject, f"more than {limits.total_bytes} bytes in all")


def _content(entry: Any, name: str, subject: object, limits: Limits) -> bytes:
    blocks = []
    size_bytes = 0
    for block in entry.get_blocks(_READ_BLOCK_BYTES):
        size_bytes += len(block)
        _check_sizes(size_bytes, 0, name, subject, limits)  # some formats announce no size
        blocks.append(block)
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def _too_much(subject: object, what: str) -> FormatError:
    return FormatError(
        subject,
        f"unpacks to more than is allowed: {what}",
        hint="do not use this archive unless you know why it is so large",
    )
