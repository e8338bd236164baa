"""LZ4 blocks, unpacked and packed.

A block is a run of sequences: a token, literals, then a match copied from what was
already written. There is no header, no length and no checksum; the container knows those.
Source: lz4/lz4 doc/lz4_Block_format.md. Written out here because only old or home-made
images use it, which is no reason for another dependency.
"""

from __future__ import annotations

from bootsmith.errors import FormatError

_MIN_MATCH_BYTES = 4
_LITERAL_TAIL_BYTES = 5  # the last five bytes are literals,
_LAST_MATCH_BYTES = 12  # and no match starts in the last twelve
_FARTHEST_MATCH_BYTES = 65535


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
        raise FormatError(
            subject,
            "damaged lz4 data",
            hint="get the file again; it is damaged",
        ) from None
    raise FormatError(
        subject,
        "lz4 data unpacks to more than it may",
        expected=limit_bytes,
        hint="do not use this file; it may be made to exhaust memory",
    )


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


def pack_lz4_block(content: bytes) -> bytes:
    """One LZ4 block with `content`: the first match found is taken, at some 5 MB/s."""
    output = bytearray()
    seen: dict[bytes, int] = {}
    position = start = 0
    last_match = len(content) - _LAST_MATCH_BYTES
    while position < last_match:
        word = content[position : position + _MIN_MATCH_BYTES]
        earlier = seen.get(word)
        seen[word] = position
        if earlier is None or position - earlier > _FARTHEST_MATCH_BYTES:
            position += 1 + (position - start >> 6)  # hurry through what does not compress
            continue
        length = _match_length(content, earlier, position)
        _put_sequence(output, content[start:position], position - earlier, length)
        position += length
        start = position
    _put_sequence(output, content[start:], 0, 0)
    return bytes(output)


def _match_length(content: bytes, earlier: int, position: int) -> int:
    limit = len(content) - _LITERAL_TAIL_BYTES - position
    length = _MIN_MATCH_BYTES
    step = 32
    while length < limit:
        step = min(step, limit - length)
        one = content[earlier + length : earlier + length + step]
        if one == content[position + length : position + length + step]:
            length += step
        elif step == 1:
            break
        else:
            step //= 2
    return length


def _put_sequence(output: bytearray, literals: bytes, distance: int, length: int) -> None:
    """A sequence; `distance` 0 is the last one, which has no match."""
    match = length - _MIN_MATCH_BYTES if distance else 0
    output.append(min(len(literals), 15) << 4 | min(match, 15))
    _put_length(output, len(literals))
    output += literals
    if distance:
        output += distance.to_bytes(2, "little")
        _put_length(output, match)


def _put_length(output: bytearray, length: int) -> None:
    if length >= 15:
        output += b"\xff" * ((length - 15) // 255)
        output.append((length - 15) % 255)
