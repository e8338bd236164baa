"""LZ4 blocks, unpacked.

A block is a run of sequences: a token, literals, then a match copied from what was
already written. There is no header, no length and no checksum; the container knows those.
Source: lz4/lz4 doc/lz4_Block_format.md. Written out here because only old or home-made
images use it, which is no reason for another dependency.
"""

from __future__ import annotations

from bootsmith.errors import FormatError

_MIN_MATCH_BYTES = 4


def unpack_lz4_block(block: bytes, *, limit_bytes: int, subject: str = "lz4 block") -> bytes:
    """The content of one LZ4 block, at most `limit_bytes`; FormatError for damage."""
    output = bytearray()
    position = 0
    try:
        while True:
            token = block[position]
            length, position = _length(block, position + 1, token >> 4)
            literals = block[position : position + length]
            if len(literals) != length:
                raise IndexError
            output += literals
            position += length
            if len(output) > limit_bytes:
                break
            if position == len(block):  # the last sequence has literals only
                return bytes(output)
            distance = int.from_bytes(block[position : position + 2], "little")
            length, position = _length(block, position + 2, token & 15)
            if not 0 < distance <= len(output):
                raise IndexError
            _copy_match(output, distance, length + _MIN_MATCH_BYTES, limit_bytes)
            if len(output) > limit_bytes:
                break
    except IndexError:
        raise FormatError(subject, "damaged lz4 data") from None
    raise FormatError(subject, "lz4 data unpacks to more than it may", expected=limit_bytes)


def _length(block: bytes, position: int, nibble: int) -> tuple[int, int]:
    """A length that starts with `nibble`, and the position behind it."""
    length = nibble
    if nibble == 15:
        while True:
            more = block[position]
            position += 1
            length += more
            if more != 255:
                break
    return length, position


def _copy_match(output: bytearray, distance: int, length: int, limit_bytes: int) -> None:
    length = min(length, limit_bytes + 1 - len(output))  # one too many shows as overflow
    start = len(output) - distance
    if distance >= length:
        output += output[start : start + length]
        return
    # A match may reach into what it writes itself: the last `distance` bytes repeat.
    pattern = bytes(output[start:])
    output += (pattern * (length // distance + 1))[:length]
