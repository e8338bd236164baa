"""apkovl: the gzip'd tar that becomes a diskless machine's /etc and more.

What Alpine's init and apk ask of it (mkinitfs initramfs-init.in, apk-tools' overlay list):

- init runs `tar -zxvf` and hands the listing to apk as the list of overlaid files. Names
  are relative without `./`; directories end in `/`; a line without any slash would end the
  list, so there are no files at the top level. A newline in a name would break it too.
- Names of up to 100 bytes, and 155 more before a slash, fit ustar. Longer names and link
  targets get GNU's `L` and `K` members. busybox 1.35 reads pax records as well, but those
  are a younger addition there, while releases back to 3.1 unpack these files.
- Owners are numbers. Names are given for number 0 only: busybox looks other names up in the
  initramfs's /etc/passwd, where the same name may have another number.

Times are 0, order is by name: the same entries give the same bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

from bootsmith.errors import FormatError

_BLOCK_BYTES = 512
_NAME_BYTES = 100
_PREFIX_BYTES = 155
_MOST_NAME_BYTES = 1024
_MOST_CONTENT_BYTES = 1 << 30
_MOST_ID = 0o7777777
_CONTROL_BYTES = bytes([*range(0x20), 0x7F])
_RECORD_BYTES = 20 * _BLOCK_BYTES  # tar's default record: the end is padded to it
_COMPRESSION_LEVEL = 6  # 9 is 0.5 % smaller for five times the time


@dataclass(frozen=True, kw_only=True)
class ApkovlEntry:
    """One file, directory or symbolic link.

    `name` is relative, without `./` and without a trailing slash; bytes that are not UTF-8
    are surrogate escapes. `mode` has the type bits. `data` is the content of a file or the
    target of a link.
    """

    name: str
    mode: int
    uid: int = 0
    gid: int = 0
    data: bytes = b""


def write_apkovl(entries: Iterable[ApkovlEntry]) -> bytes:
    """The finished `.apkovl.tar.gz`. Raises FormatError for entries that init would trip over."""
    import deflate

    return bytes(deflate.gzip_compress(write_members(entries), _COMPRESSION_LEVEL))


def write_members(entries: Iterable[ApkovlEntry]) -> bytes:
    """The tar inside an apkovl."""
    parts: list[bytes] = []
    total_bytes = 0
    previous = ""
    for entry in sorted(entries, key=_sort_key):
        if entry.name == previous:
            raise FormatError(
                ascii(entry.name),
                "is in the overlay twice",
                hint="remove one of the two",
            )
        previous = entry.name
        total_bytes += len(entry.data)
        if total_bytes > _MOST_CONTENT_BYTES:
            raise FormatError(
                "apkovl",
                "content too large",
                expected="at most 1 GiB, since it is unpacked into memory at boot",
                hint="leave large files to a server or a disk",
            )
        parts += _member(entry)
    parts.append(b"\0" * (2 * _BLOCK_BYTES))
    tar = b"".join(parts)
    return tar + b"\0" * (-len(tar) % _RECORD_BYTES)


def check_entry_name(name: str, *, is_directory: bool) -> None:
    """FormatError for a name that the guest's tar or apk's overlay list cannot carry."""
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) > _MOST_NAME_BYTES:
        raise FormatError(
            ascii(name[:60]) + "...",
            "name too long",
            expected=f"at most {_MOST_NAME_BYTES} bytes",
            got=len(raw),
            hint="give it or its directories shorter names",
        )
    if raw.translate(None, _CONTROL_BYTES) != raw:
        raise FormatError(
            ascii(name), "name holds a control character", hint="rename it: apk reads one per line"
        )
    if not is_directory and "/" not in name:
        raise FormatError(
            ascii(name),
            "only directories can stand at the top of an overlay",
            hint="move it into a directory: apk would end its overlay list at this name",
        )


def _sort_key(entry: ApkovlEntry) -> bytes:
    # As bytes, with the slash first: a directory comes before what is below it.
    return entry.name.encode("utf-8", "surrogateescape").replace(b"/", b"\0")


def _member(entry: ApkovlEntry) -> list[bytes]:
    """Header and content of one entry, with GNU long-name members before it where needed."""
    kind = stat.S_IFMT(entry.mode)
    check_entry_name(entry.name, is_directory=kind == stat.S_IFDIR)
    raw_name = entry.name.encode("utf-8", "surrogateescape")
    if kind == stat.S_IFREG:
        padding = b"\0" * (-len(entry.data) % _BLOCK_BYTES)
        header = _named_header(raw_name, entry, b"0", len(entry.data), b"")
        return [*header, entry.data, padding]
    if kind == stat.S_IFDIR:
        return _named_header(raw_name + b"/", entry, b"5", 0, b"")
    if kind == stat.S_IFLNK:
        return _named_header(raw_name, entry, b"2", 0, entry.data)
    raise FormatError(
        ascii(entry.name),
        "cannot be in an apkovl",
        expected="a file, a directory or a symbolic link",
        got=f"mode {entry.mode:o}",
        hint="leave it out of the overlay",
    )


def _named_header(
    name: bytes, entry: ApkovlEntry, kind: bytes, size_bytes: int, target: bytes
) -> list[bytes]:
    parts: list[bytes] = []
    if b"\0" in target or not (target or kind != b"2"):
        raise FormatError(
            ascii(entry.name),
            "link target is empty or holds a NUL",
            hint="make the link again, or leave it out of the overlay",
        )
    if len(target) > _NAME_BYTES:
        parts += _long_member(b"K", target)
    prefix, short = _split_name(name)
    if short is None:
        parts += _long_member(b"L", name)
        prefix, short = b"", name[:_NAME_BYTES]
    permissions = 0o777 if kind == b"2" else stat.S_IMODE(entry.mode)
    parts.append(
        _header(
            name=short,
            prefix=prefix,
            mode=permissions,
            uid=entry.uid,
            gid=entry.gid,
            size_bytes=size_bytes,
            kind=kind,
            target=target[:_NAME_BYTES],
        )
    )
    return parts


def _split_name(name: bytes) -> tuple[bytes, bytes | None]:
    """Prefix and name of a ustar header, or None for a name that does not fit."""
    if len(name) <= _NAME_BYTES:
        return b"", name
    # Cut at the first slash that leaves a short enough name; never at a trailing one.
    cut = name.find(b"/", len(name) - _NAME_BYTES - 1, len(name) - 1)
    if 0 < cut <= _PREFIX_BYTES:
        return name[:cut], name[cut + 1 :]
    return b"", None


def _long_member(kind: bytes, text: bytes) -> list[bytes]:
    content = text + b"\0"
    header = _header(
        name=b"././@LongLink",
        prefix=b"",
        mode=0o644,
        uid=0,
        gid=0,
        size_bytes=len(content),
        kind=kind,
        target=b"",
    )
    return [header, content, b"\0" * (-len(content) % _BLOCK_BYTES)]


def _header(
    *,
    name: bytes,
    prefix: bytes,
    mode: int,
    uid: int,
    gid: int,
    size_bytes: int,
    kind: bytes,
    target: bytes,
) -> bytes:
    """One ustar header (POSIX.1-1988); time 0, no device numbers."""
    if not 0 <= uid <= _MOST_ID or not 0 <= gid <= _MOST_ID:
        raise FormatError(
            ascii(name),
            "owner number does not fit",
            got=f"{uid}:{gid}",
            hint="use a smaller number in the ownership file",
        )
    header = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\x0000%b%b%b%b" % (
        name.ljust(_NAME_BYTES, b"\0"),
        mode,
        uid,
        gid,
        size_bytes,
        0,
        kind,
        target.ljust(_NAME_BYTES, b"\0"),
        (b"root" if uid == 0 else b"").ljust(32, b"\0"),
        (b"root" if gid == 0 else b"").ljust(32, b"\0"),
        b"0000000\x000000000\0",
        prefix.ljust(_BLOCK_BYTES - 345, b"\0"),
    )
    return b"%b%06o\0 %b" % (header[:148], sum(header), header[156:])
