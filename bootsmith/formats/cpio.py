"""The newc cpio format that kernels unpack as their initramfs.

Facts: kernel Documentation/driver-api/early-userspace/buffer-format.rst. An archive is
a row of entries, each a 110-byte ASCII header, a NUL-terminated name and the content,
name and content padded to four bytes; the entry `TRAILER!!!` ends it. Several archives
may follow each other, with zero bytes between them.

Names are `str` with undecodable bytes as surrogate escapes, relative, without a leading
`./`. The root directory (`.`) is no entry here: the kernel has a root already.
"""

from __future__ import annotations

import stat
from binascii import unhexlify
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from struct import Struct

from bootsmith.errors import FormatError
from bootsmith.formats.member_names import check_member_name

MAGIC = b"070701"
_CHECKSUM_MAGIC = b"070702"  # the same, with a sum over each file's bytes
_HEADER_BYTES = 110
_TRAILER = b"TRAILER!!!"
_FIELDS = Struct(">13I")  # the 13 hexadecimal fields once they are bytes
_LARGEST = 0xFFFFFFFF
_NAME_LIMIT_BYTES = 4096  # PATH_MAX: the kernel skips entries with longer names


@dataclass(frozen=True, kw_only=True, slots=True)
class CpioEntry:
    """One file, directory, link or node; `mode` has the type bits, `data` a link's target.

    Regular files of one archive that share a `linked` word are names of one file: they must
    agree in everything but their name.
    """

    name: str
    mode: int
    data: bytes | memoryview = b""
    uid: int = 0
    gid: int = 0
    mtime_epoch: int = 0
    rdev_major: int = 0
    rdev_minor: int = 0
    linked: str | None = None


def directory_entry(name: str, *, mode: int = 0o755) -> CpioEntry:
    """A directory owned by root."""
    return CpioEntry(name=name, mode=stat.S_IFDIR | mode)


def file_entry(name: str, data: bytes | memoryview, *, mode: int = 0o644) -> CpioEntry:
    """A regular file owned by root."""
    return CpioEntry(name=name, mode=stat.S_IFREG | mode, data=data)


def link_entry(name: str, target: str) -> CpioEntry:
    """A symbolic link; the kernel wants its target without a closing NUL."""
    return CpioEntry(
        name=name, mode=stat.S_IFLNK | 0o777, data=target.encode("utf-8", "surrogateescape")
    )


def read_cpio(data: bytes | memoryview, *, subject: str = "cpio") -> list[CpioEntry]:
    """All entries of all archives in `data`, in their order; contents are views, not copies.

    Every name of a hard-linked file gets the file's content, and, if they agree in all
    else, one `linked` word, which no other file in `data` has. A name that comes twice is
    returned twice (the kernel lets the later one win). A missing last trailer is
    accepted, as the kernel does. Raises FormatError with the offset of the damage.
    """
    view = memoryview(data)
    entries: list[CpioEntry] = []
    links: dict[tuple[int, int, int], list[int]] = {}
    offset = 0
    while (offset := _skip_zeros(view, offset)) < len(view):
        offset, name, fields, content = _read_entry(view, offset, subject)
        if name == _TRAILER:
            _share_linked_data(entries, links)
            links = {}
            continue
        entry = _entry(name, fields, content, subject)
        if entry is None:
            continue
        inode, link_count, major, minor = fields[0], fields[4], fields[7], fields[8]
        if link_count > 1 and not stat.S_ISDIR(entry.mode):
            links.setdefault((inode, major, minor), []).append(len(entries))
        entries.append(entry)
    _share_linked_data(entries, links)
    return entries


def archive_length(data: bytes | memoryview, *, subject: str = "cpio") -> int:
    """Bytes of the first archive in `data`, its trailer included; all of it without one."""
    view = memoryview(data)
    offset = 0
    while offset < len(view):
        if view[offset] == 0:
            return offset
        offset, name, _, _ = _read_entry(view, offset, subject)
        if name == _TRAILER:
            break
    return offset


def write_cpio(entries: Iterable[CpioEntry], *, trailer: bool = True) -> bytes:
    """One archive of `entries` in the order given, inodes numbered from 1.

    An entry has an inode of its own, unless it is `linked`: then all names of the file have
    one inode, their number as link count, and the last of them carries the content, as GNU
    cpio writes it. Owners and times are written as the entries have them. Raises
    FormatError for names or sizes that newc or the kernel cannot take.
    """
    parts: list[bytes | memoryview] = []
    ordered = list(entries)
    names = Counter(entry.linked for entry in ordered if entry.linked is not None)
    inodes: dict[str, int] = {}
    written: Counter[str] = Counter()
    for number, entry in enumerate(ordered, 1):
        if entry.linked is None:
            link_count = 2 if stat.S_ISDIR(entry.mode) else 1
            _append_entry(parts, entry, number, link_count, entry.data)
            continue
        written[entry.linked] += 1
        is_last = written[entry.linked] == names[entry.linked]
        inode = inodes.setdefault(entry.linked, number)
        _append_entry(parts, entry, inode, names[entry.linked], entry.data if is_last else b"")
    if trailer:
        _append(parts, _TRAILER, (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0), b"")
    return b"".join(parts)


def _read_entry(
    view: memoryview, offset: int, subject: str
) -> tuple[int, bytes, tuple[int, ...], memoryview]:
    """The entry at `offset`: (offset behind it, raw name, the 13 fields, its content)."""
    header = bytes(view[offset : offset + _HEADER_BYTES])
    magic = header[:6]
    if magic not in (MAGIC, _CHECKSUM_MAGIC):
        raise FormatError(
            subject,
            f"no newc header at byte {offset}",
            expected=MAGIC.decode(),
            got=magic.decode("ascii", "backslashreplace") or "nothing",
            hint="the archive is damaged or in another cpio format; get the file again",
        )
    if len(header) < _HEADER_BYTES:
        raise _cut_short(subject, offset, "header")
    try:
        fields = _FIELDS.unpack(unhexlify(header[6:]))
    except ValueError:
        raise FormatError(
            subject,
            f"the header at byte {offset} holds something other than hexadecimal digits",
            hint="the archive is damaged; get the file again",
        ) from None
    name_start = offset + _HEADER_BYTES
    name_end = name_start + fields[11]
    content_start = name_end + (offset - name_end) % 4
    content_end = content_start + fields[6]
    if name_end > len(view):
        raise _cut_short(subject, offset, "name")
    if content_end > len(view):
        raise _cut_short(subject, offset, "content")
    name = bytes(view[name_start:name_end])
    if not name.endswith(b"\0") or b"\0" in name[:-1]:
        raise FormatError(
            subject,
            f"the name of the entry at byte {offset} does not end at its NUL byte",
            hint="the archive is damaged; get the file again",
        )
    content = view[content_start:content_end]
    if (
        magic == _CHECKSUM_MAGIC
        and stat.S_ISREG(fields[1])
        and sum(content) & _LARGEST != fields[12]
    ):
        raise FormatError(
            subject,
            f"the content of {_text(name[:-1])} does not match its checksum",
            hint="the archive is damaged; get the file again",
        )
    # The last entry of an archive without a trailer may lack its padding.
    behind = min(content_end + (offset - content_end) % 4, len(view))
    return behind, name[:-1], fields, content


def _entry(
    raw_name: bytes, fields: tuple[int, ...], content: memoryview, subject: str
) -> CpioEntry | None:
    name = check_member_name(_text(raw_name), subject=subject)
    if not name:
        return None
    _, mode, uid, gid, _, mtime_epoch, _, _, _, rdev_major, rdev_minor, _, _ = fields
    return CpioEntry(
        name=name,
        mode=mode,
        data=content,
        uid=uid,
        gid=gid,
        mtime_epoch=mtime_epoch,
        rdev_major=rdev_major,
        rdev_minor=rdev_minor,
    )


def _share_linked_data(
    entries: list[CpioEntry], links: dict[tuple[int, int, int], list[int]]
) -> None:
    """Give each name of a file the content that one of them carries (GNU cpio: the last)."""
    for positions in links.values():
        content = next((entries[at].data for at in positions if len(entries[at].data)), b"")
        for at in positions:
            if not len(entries[at].data):
                entries[at] = replace(entries[at], data=content)
        first = entries[positions[0]]
        alike = all(replace(entries[at], name=first.name) == first for at in positions)
        if len(positions) > 1 and alike and stat.S_ISREG(first.mode):
            for at in positions:
                entries[at] = replace(entries[at], linked=str(positions[0]))


def _append_entry(
    parts: list[bytes | memoryview],
    entry: CpioEntry,
    inode: int,
    link_count: int,
    data: bytes | memoryview,
) -> None:
    name = entry.name.encode("utf-8", "surrogateescape")
    if (
        not name
        or name == _TRAILER
        or b"\0" in name
        or len(name) >= _NAME_LIMIT_BYTES
        or any(part in (b"", b".", b"..") for part in name.split(b"/"))
    ):
        raise FormatError(
            "cpio",
            f"{entry.name!r} cannot name an entry",
            expected=f"a relative name below {_NAME_LIMIT_BYTES} bytes, without . or .. in it",
            hint="rename it, or leave it out",
        )
    if len(entry.data) > _LARGEST:
        raise FormatError(
            "cpio",
            f"{entry.name} is too large for newc",
            expected="less than 4 GiB",
            got=f"{len(entry.data)} bytes",
            hint="leave it out; what is so large belongs on a disk or a server",
        )
    _append(
        parts,
        name,
        (
            *(inode, entry.mode, entry.uid, entry.gid, link_count, entry.mtime_epoch),
            *(len(data), 0, 0, entry.rdev_major, entry.rdev_minor),
        ),
        data,
    )


_HEADER = MAGIC + b"%08X" * 12 + b"00000000"  # the last field is the sum that 070702 uses


def _append(
    parts: list[bytes | memoryview],
    name: bytes,
    fields: tuple[int, ...],
    data: bytes | memoryview,
) -> None:
    parts.append(_HEADER % (*fields, len(name) + 1))
    parts.append(name + b"\0" * (1 + (-_HEADER_BYTES - len(name) - 1) % 4))
    if len(data):
        parts.append(data)
        parts.append(b"\0" * (-len(data) % 4))


def _skip_zeros(view: memoryview, offset: int) -> int:
    end = len(view)
    while offset < end and view[offset] == 0:
        step = min(4096, end - offset)
        chunk = bytes(view[offset : offset + step])
        stripped = chunk.lstrip(b"\0")
        offset += step - len(stripped)
        if stripped:
            break
    return offset


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _cut_short(subject: str, offset: int, part: str) -> FormatError:
    return FormatError(
        subject,
        f"the archive ends inside the {part} of the entry at byte {offset}",
        hint="the file is truncated; get it again",
    )
