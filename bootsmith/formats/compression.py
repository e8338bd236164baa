"""Compressed initramfs segments: what a kernel unpacks, and what we write.

The kernel takes a row of complete archives, each compressed on its own or not at all,
with zero bytes between them (kernel init/initramfs.c, lib/decompress*.c). What it does
not take, found by booting Linux 6.1: one cpio spread over several zstd frames or gzip
members, xz with its default crc64, anything behind an lz4-legacy segment (silently lost).
"""

from __future__ import annotations

import bz2
import lzma
import re
from collections.abc import Callable
from typing import Any, cast

import deflate
import zstandard
from isal import isal_zlib
from isal.igzip_lib import IsalError

from bootsmith.errors import BuildError, FormatError
from bootsmith.formats.cpio import archive_length
from bootsmith.formats.lz4_block import unpack_lz4_block

CODECS = ("gzip", "xz", "zstd", "none")
"""What `compress_segment` writes."""

DEFAULT_LEVELS = {"gzip": 6, "xz": 6, "zstd": 9, "none": 0}
"""Measured on kernel modules: libdeflate 9 is 0.6 % smaller than 6 for 5 x the time, zstd 19
12 % smaller than 9 for 20 x."""

_LEVELS = {"gzip": range(1, 13), "xz": range(10), "zstd": range(1, 20), "none": range(1)}

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"BZh", "bzip2"),
    (b"\x5d\0\0", "lzma"),
    (b"070701", "none"),
    (b"070702", "none"),
)
_CHUNK_BYTES = 1 << 20
# isal's stub takes its exception class for a value.
_ISAL_ERROR = cast("type[Exception]", IsalError)
_DECODER_ERRORS = (OSError, EOFError, ValueError, lzma.LZMAError, _ISAL_ERROR)
# The kernel's decoder refuses larger windows (lib/decompress_unzstd.c).
_ZSTD_WINDOW_BYTES = 1 << 27
_ZSTD_SINCE = (5, 9)  # the first kernel that can unpack a zstd initramfs
_XZ_SINCE = (2, 6, 38)


def detect_compression(head: bytes | memoryview, *, subject: str = "initramfs") -> str:
    """Which of gzip, xz, zstd, lz4, lzma, bzip2, none the first bytes announce."""
    start = bytes(head[:6])
    for magic, codec in _MAGIC:
        if start.startswith(magic):
            return codec
    raise FormatError(
        subject,
        "unknown compression",
        expected="gzip, xz, zstd, lz4, lzma, bzip2 or a plain newc cpio",
        got=f"first bytes {start.hex(' ')}" if start else "no bytes",
        hint="get the file again; it is damaged or no initramfs",
    )


def decompress_initramfs(
    data: bytes | memoryview, *, limit_bytes: int, subject: str = "initramfs"
) -> bytes:
    """The plain cpio bytes of every segment, in order, as the kernel would read them.

    Raises FormatError for an unknown codec, damage, a total beyond `limit_bytes`, and for
    segments that the kernel refuses or loses.
    """
    view = memoryview(data)
    parts: list[bytes | memoryview] = []
    offset = total = 0
    while offset < len(view):
        if view[offset] == 0:
            offset += 1
            continue
        codec = detect_compression(view[offset : offset + 6], subject=subject)
        if codec == "none" and offset % 4:
            raise FormatError(
                subject,
                f"the plain archive at byte {offset} does not start at a multiple of 4",
                hint="the kernel would drop it and all that follows; pad with zero bytes",
            )
        if codec == "xz":
            _check_xz(view[offset:], subject)
        plain, used = _READERS[codec](view[offset:], limit_bytes - total, subject)
        offset += used
        total += len(plain)
        # A reader stops one byte beyond what it may give.
        if total > limit_bytes:
            raise FormatError(
                subject,
                "unpacks to more than is allowed",
                expected=f"at most {limit_bytes} bytes",
                hint="do not use this file; it may be made to exhaust memory",
            )
        parts.append(plain)
        if len(plain) % 4:
            parts.append(b"\0" * (-len(plain) % 4))
    return b"".join(parts)


def decompress_file(data: bytes, *, limit_bytes: int, subject: str) -> bytes:
    """The content of one compressed file (`.ko.gz`, `.ko.xz`, `.ko.zst`)."""
    codec = detect_compression(data, subject=subject)
    plain, used = _READERS[codec](memoryview(data), limit_bytes, subject)
    if len(plain) > limit_bytes or used < len(data):
        raise _damaged(subject, codec, "it does not end where it should")
    return bytes(plain)


def compress_segment(data: bytes, codec: str, level: int) -> bytes:
    """One complete segment that the kernel takes with others before and behind it."""
    if codec == "gzip":
        return bytes(deflate.gzip_compress(data, level))  # libdeflate writes time 0 and no name
    if codec == "xz":
        # The kernel has no crc64, which liblzma would choose.
        return lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC32, level)
    if codec == "zstd":
        # One frame of known size; never threads, whose frames depend on their number.
        return zstandard.ZstdCompressor(level=level, write_content_size=True).compress(data)
    if codec == "none":
        return data + b"\0" * (-len(data) % 4)
    raise _unknown_codec(codec)


def check_level(codec: str, level: int) -> None:
    """Raise BuildError if `codec` has no such level."""
    if codec not in CODECS:
        raise _unknown_codec(codec)
    if level not in _LEVELS[codec]:
        allowed = _LEVELS[codec]
        raise BuildError(
            "compression level",
            f"{codec} has no level {level}",
            expected=f"{allowed[0]} to {allowed[-1]}",
            hint="set level in the [pxerd] table of the release recipe, or leave it out",
        )


def codec_version(codec: str) -> str:
    """Name and version of the library that decides the bytes of this codec."""
    if codec == "gzip":
        from importlib.metadata import version  # slow to import, and only gzip asks

        return f"libdeflate {version('deflate')}"
    if codec == "zstd":
        return "zstd " + ".".join(map(str, zstandard.ZSTD_VERSION))
    return codec


def choose_codec(
    *, asked: str, kernel_config: bytes | None, kernel_release: str | None
) -> tuple[str, str]:
    """The codec to write and why, in words.

    `asked` is a codec or "auto". A kernel configuration (text of `/boot/config-*`) decides
    if there is one; else the kernel release; gzip, which every Alpine kernel takes, is the
    answer to doubt. Raises BuildError for a codec that this kernel is known not to unpack.
    """
    if asked != "auto" and asked not in CODECS:
        raise _unknown_codec(asked)
    if asked == "none":
        return "none", "asked for; every kernel takes it"
    if kernel_config:
        return _codec_by_config(asked, kernel_config)
    if asked == "auto":
        return "gzip", "no kernel configuration to read; every kernel takes gzip"
    since = {"zstd": _ZSTD_SINCE, "xz": _XZ_SINCE}.get(asked)
    if since and kernel_release and _version_of(kernel_release) < since:
        raise BuildError(
            f"kernel {kernel_release}",
            f"cannot unpack a {asked} initramfs",
            expected=f"Linux {'.'.join(map(str, since))} or newer",
            hint="set compression to auto, gzip or xz in the release recipe",
        )
    return asked, "asked for"


def _codec_by_config(asked: str, kernel_config: bytes) -> tuple[str, str]:
    options = set(re.findall(rb"^CONFIG_RD_([A-Z0-9]+)=y$", kernel_config, re.MULTILINE))
    # In the order of preference: zstd is smallest for its speed; xz takes the guest longest.
    able = [codec for codec in ("zstd", "gzip", "xz") if codec.upper().encode() in options]
    if asked == "auto":
        if able:
            return able[0], f"CONFIG_RD_{able[0].upper()}=y"
        return "none", "the kernel configuration has none of CONFIG_RD_ZSTD, _GZIP, _XZ"
    if asked in able:
        return asked, f"asked for; CONFIG_RD_{asked.upper()}=y"
    raise BuildError(
        "kernel configuration",
        f"the kernel cannot unpack a {asked} initramfs",
        expected=f"CONFIG_RD_{asked.upper()}=y",
        got=", ".join(able) or "no codec that is written here",
        hint="set compression to auto in the release recipe",
    )


def _version_of(kernel_release: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", kernel_release)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _unknown_codec(codec: str) -> BuildError:
    return BuildError(
        "compression",
        f"unknown codec {codec!r}",
        expected=f"auto, {', '.join(CODECS)}",
        hint="correct compression in the release recipe",
    )


# Readers: (bytes from the segment's start on, bytes allowed) -> (plain bytes, bytes used).
# They give at most one byte more than allowed, which tells the caller that it was too much.


def _read_none(view: memoryview, allowed_bytes: int, subject: str) -> tuple[memoryview, int]:
    used = archive_length(view, subject=subject)
    return view[:used], used


def _read_gzip(view: memoryview, allowed_bytes: int, subject: str) -> tuple[bytes, int]:
    return _read_by_decoder(isal_zlib.decompressobj(31), view, allowed_bytes, subject, "gzip")


def _read_xz(view: memoryview, allowed_bytes: int, subject: str) -> tuple[bytes, int]:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    return _read_by_decoder(decoder, view, allowed_bytes, subject, "xz")


def _check_xz(view: memoryview, subject: str) -> None:
    """The check is named in the second flag byte of the stream's header (xz format, 2.1.1.2)."""
    if view[7:8] and view[7] & 15 not in (lzma.CHECK_NONE, lzma.CHECK_CRC32):
        raise FormatError(
            subject,
            "the xz segment has a checksum that the kernel does not know",
            expected="crc32",
            hint="make it with: xz --check=crc32",
        )


def _read_lzma(view: memoryview, allowed_bytes: int, subject: str) -> tuple[bytes, int]:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    return _read_by_decoder(decoder, view, allowed_bytes, subject, "lzma")


def _read_bzip2(view: memoryview, allowed_bytes: int, subject: str) -> tuple[bytes, int]:
    return _read_by_decoder(bz2.BZ2Decompressor(), view, allowed_bytes, subject, "bzip2")


def _read_by_decoder(
    decoder: Any, view: memoryview, allowed_bytes: int, subject: str, codec: str
) -> tuple[bytes, int]:
    """Drive one of the standard library's (or isal's) stream decoders to its stream's end."""
    parts = []
    left = allowed_bytes + 1
    fed = 0
    pending: bytes | memoryview = b""
    try:
        while not decoder.eof and left > 0:
            if not pending and _wants_input(decoder):
                if fed == len(view):
                    raise _damaged(subject, codec, "the file is truncated")
                # In chunks: what lies behind the stream's end comes back as a copy.
                pending = view[fed : fed + _CHUNK_BYTES]
                fed += len(pending)
            part = decoder.decompress(pending, left)
            pending = getattr(decoder, "unconsumed_tail", b"")
            left -= len(part)
            parts.append(part)
    except _DECODER_ERRORS as error:
        raise _damaged(subject, codec, str(error)) from None
    return b"".join(parts), fed - len(decoder.unused_data)


def _wants_input(decoder: Any) -> bool:
    return getattr(decoder, "needs_input", True)


def _read_zstd(view: memoryview, allowed_bytes: int, subject: str) -> tuple[bytes, int]:
    used = _zstd_frame_length(view, subject)
    frame = view[:used]
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    try:
        declared = zstandard.frame_content_size(frame)
        if 0 <= declared <= allowed_bytes:
            return decoder.decompress(frame), used
        parts, left = [], allowed_bytes + 1
        with decoder.stream_reader(frame) as reader:
            while left > 0 and (part := reader.read(min(left, _CHUNK_BYTES))):
                parts.append(part)
                left -= len(part)
    except zstandard.ZstdError as error:
        raise _damaged(subject, "zstd", str(error)) from None
    return b"".join(parts), used


def _zstd_frame_length(view: memoryview, subject: str) -> int:
    """Bytes of the first frame, by its block headers (RFC 8878, 3.1.1)."""
    try:
        at = zstandard.frame_header_size(view)
        has_checksum = zstandard.get_frame_parameters(view).has_checksum
    except zstandard.ZstdError as error:
        raise _damaged(subject, "zstd", str(error)) from None
    last = False
    while not last:
        header = int.from_bytes(view[at : at + 3], "little")
        last = bool(header & 1)
        is_repeated_byte = header >> 1 & 3 == 1
        at += 3 + (1 if is_repeated_byte else header >> 3)
        if at > len(view):
            raise _damaged(subject, "zstd", "the file is truncated")
    at += 4 if has_checksum else 0
    if at > len(view):
        raise _damaged(subject, "zstd", "the file is truncated")
    return at


def _read_lz4(view: memoryview, allowed_bytes: int, subject: str) -> tuple[bytes, int]:
    """The legacy frame (lz4_Frame_format.md): blocks with a length each, and no end mark."""
    parts, left, at = [], allowed_bytes, 4
    while at + 4 <= len(view) and (size := int.from_bytes(view[at : at + 4], "little")):
        block = bytes(view[at + 4 : at + 4 + size])
        if len(block) < size:
            raise _damaged(subject, "lz4", "the file is truncated")
        parts.append(unpack_lz4_block(block, limit_bytes=left, subject=subject))
        left -= len(parts[-1])
        at += 4 + size
    if any(view[at:]):
        raise FormatError(
            subject,
            f"something follows the lz4 segment at its byte {at}",
            hint="kernels lose what follows lz4; use gzip, xz or zstd",
        )
    return b"".join(parts), len(view)


_READERS: dict[
    str, Callable[[memoryview, int, str], tuple[bytes, int] | tuple[memoryview, int]]
] = {
    "none": _read_none,
    "gzip": _read_gzip,
    "xz": _read_xz,
    "lzma": _read_lzma,
    "bzip2": _read_bzip2,
    "zstd": _read_zstd,
    "lz4": _read_lz4,
}


def _damaged(subject: str, codec: str, problem: str) -> FormatError:
    return FormatError(
        subject, f"damaged {codec} data ({problem})", hint="get the file again; it is damaged"
    )
