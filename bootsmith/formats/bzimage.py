"""bzImage: the header of an x86 Linux kernel.

Source: kernel Documentation/arch/x86/boot.rst (the real-mode kernel header).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bootsmith.errors import FormatError

# The whole header and the version text lie in the setup part, which is at most this long
# (a boot sector and 255 sectors); reading so much of a kernel is always enough.
HEAD_BYTES = 256 * 512

_SETUP_SECTORS_AT = 0x1F1
_PAGED_SIZE_AT = 0x1F4  # in units of 16 bytes
_BOOT_FLAG_AT = 0x1FE
_MAGIC_AT = 0x202
_PROTOCOL_AT = 0x206
_VERSION_POINTER_AT = 0x20E  # counted from the second sector
_LOAD_FLAGS_AT = 0x236
_COMMAND_LINE_SIZE_AT = 0x238
_HEADER_END = 0x268
_LOAD_FLAGS_SINCE = (2, 12)  # 3.8, 2013
_OLDEST_PROTOCOL = (2, 6)  # 2.6.22, 2007: the first to state how long a command line may be
_LONGEST_VERSION_BYTES = 512


@dataclass(frozen=True, kw_only=True)
class BzImage:
    """What the header says.

    `kernel_release` is what `uname -r` will print; `version_text` adds who built it and
    when; `size_bytes` is what setup and protected-mode parts need, without a signature that
    may follow them; `command_line_limit_bytes` is without the final NUL.
    """

    kernel_release: str
    version_text: str
    protocol: tuple[int, int]
    size_bytes: int
    command_line_limit_bytes: int
    is_64_bit: bool | None
    """None for a kernel that is too old to say it."""


def read_bzimage(
    head: bytes, *, file_size_bytes: int | None = None, subject: str = "kernel"
) -> BzImage:
    """The header of the kernel that starts with `head` (`HEAD_BYTES` of it, or all).

    `file_size_bytes` (default: the length of `head`) tells a kernel that was cut short.
    Raises FormatError for anything that is not a bzImage with a version text.
    """
    if head[_MAGIC_AT : _MAGIC_AT + 4] != b"HdrS" or _word(head, _BOOT_FLAG_AT) != 0xAA55:
        raise FormatError(
            subject,
            "not an x86 kernel (bzImage)",
            expected="boot flag 55aa and magic HdrS",
            got=_looks_like(head),
            hint="use the kernel of an x86 release; one that was renamed or packed anew is none",
        )
    if len(head) < _HEADER_END:
        raise FormatError(
            subject,
            "kernel is cut short",
            got=f"{len(head)} bytes",
            hint="copy or download it again",
        )
    protocol = (head[_PROTOCOL_AT + 1], head[_PROTOCOL_AT])
    if protocol < _OLDEST_PROTOCOL:
        raise FormatError(
            subject,
            "kernel of an unknown boot protocol",
            expected=f"{_OLDEST_PROTOCOL[0]}.{_OLDEST_PROTOCOL[1]:02} or newer",
            got=f"{protocol[0]}.{protocol[1]:02}",
            hint="use a release with Linux 2.6.22 or newer",
        )
    # A setup part of 0 sectors means 4, the size it had before the field existed.
    setup_bytes = ((head[_SETUP_SECTORS_AT] or 4) + 1) * 512
    size_bytes = setup_bytes + 16 * struct.unpack_from("<I", head, _PAGED_SIZE_AT)[0]
    available = len(head) if file_size_bytes is None else file_size_bytes
    if available < size_bytes:
        raise FormatError(
            subject,
            "kernel is cut short",
            expected=f"{size_bytes} bytes",
            got=f"{available} bytes",
            hint="copy or download it again",
        )
    text = _version_text(head[:setup_bytes], subject)
    return BzImage(
        kernel_release=text.split(" ")[0],
        version_text=text,
        protocol=protocol,
        size_bytes=size_bytes,
        command_line_limit_bytes=struct.unpack_from("<I", head, _COMMAND_LINE_SIZE_AT)[0],
        # XLF_KERNEL_64: it has the 64-bit entry point.
        is_64_bit=bool(_word(head, _LOAD_FLAGS_AT) & 1) if protocol >= _LOAD_FLAGS_SINCE else None,
    )


def foreign_machine(head: bytes) -> str | None:
    """Which other machine the kernel that starts with `head` is for, where it is known to be."""
    return {b"ARM\x64": "aarch64", b"RSC\x05": "riscv64"}.get(head[56:60])


def _word(head: bytes, position: int) -> int:
    return int.from_bytes(head[position : position + 2], "little")


def _version_text(setup: bytes, subject: str) -> str:
    pointer = _word(setup, _VERSION_POINTER_AT)
    start = pointer + 512
    end = setup.find(b"\0", start, start + _LONGEST_VERSION_BYTES)
    text = setup[start:end] if pointer and end > start else b""
    if not text.isascii() or not text.decode("ascii").isprintable() or text[:1] in (b"", b" "):
        raise FormatError(
            subject,
            "kernel does not say its version",
            expected="a text in its setup part",
            got=f"pointer {pointer:#x}",
            hint="use the kernel of a release as published",
        )
    return text.decode("ascii")


def _looks_like(head: bytes) -> str:
    if head[56:60] == b"ARM\x64":
        return "an arm64 Image"
    if head[:2] == b"\x1f\x8b":
        return "gzip data"
    if head[:4] == b"\x7fELF":
        return "an ELF file"
    return f"{head[:4].hex(' ')} …" if head else "nothing"
