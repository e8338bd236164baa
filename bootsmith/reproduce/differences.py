"""Where two files differ: sizes, the first offset, how many bytes, and what stands there."""

from __future__ import annotations

from dataclasses import dataclass

_BLOCK_BYTES = 1 << 20
_ROW_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class ByteDifference:
    """Two contents that are not the same.

    `offset` is that of the first byte that differs or that only one has; `count` is the
    number of such bytes.
    """

    sizes: tuple[int, int]
    offset: int
    count: int
    rows: tuple[bytes, bytes]
    """The 16 bytes of each around the offset, from a multiple of 16 on."""

    @property
    def lines(self) -> list[str]:
        """As a person reads it."""
        first, second = self.sizes
        size = f"{first:,} bytes" if first == second else f"{first:,} and {second:,} bytes"
        start = self.offset - self.offset % _ROW_BYTES
        return [
            f"{size}; first difference at offset {self.offset:,} ({self.offset:#x}), "
            f"{self.count:,} bytes differ",
            *(f"  {start:08x}  {_hexdump(row)}" for row in self.rows),
        ]


def compare_bytes(first: bytes, second: bytes) -> ByteDifference | None:
    """The difference of two contents; None if there is none."""
    common = min(len(first), len(second))
    offset, count = None, abs(len(first) - len(second))
    for start in range(0, common, _BLOCK_BYTES):
        end = min(start + _BLOCK_BYTES, common)
        ours, theirs = first[start:end], second[start:end]
        if ours == theirs:
            continue
        # Byte by byte in one go: as numbers, for a loop over millions of bytes takes minutes.
        mixed = int.from_bytes(ours) ^ int.from_bytes(theirs)
        differing = mixed.to_bytes(len(ours))
        count += len(differing) - differing.count(0)
        if offset is None:
            offset = start + len(differing) - len(differing.lstrip(b"\0"))
    if offset is None:
        if not count:
            return None
        offset = common
    start = offset - offset % _ROW_BYTES
    return ByteDifference(
        sizes=(len(first), len(second)),
        offset=offset,
        count=count,
        rows=(first[start : start + _ROW_BYTES], second[start : start + _ROW_BYTES]),
    )


def _hexdump(row: bytes) -> str:
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
    return f"{row.hex(' '):<{3 * _ROW_BYTES - 1}}  |{text}|" if row else "(ends before)"
