"""LZ4 blocks made by the lz4 program, unpacked by us."""

from __future__ import annotations

import random
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.formats.lz4_block import unpack_lz4_block


def packed(content: bytes) -> bytes:
    """One raw block: what lz4's legacy frame holds behind its magic and block length."""
    frame = subprocess.run(
        ["lz4", "-l", "-9", "-c", "-"], input=content, capture_output=True, check=True
    ).stdout
    return frame[8:]


CONTENTS = {
    "one byte": b"x",
    "a run": b"a" * 100_000,
    "a pattern that overlaps itself": b"abc" * 50_000,
    "noise": random.Random(1).randbytes(50_000),
    "text": b"".join(b"line %d of a log\n" % (number % 700) for number in range(9000)),
    "long literals": random.Random(2).randbytes(700) + bytes(5000) + b"end",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_what_lz4_packed_is_unpacked(content):
    assert unpack_lz4_block(packed(content), limit_bytes=len(content)) == content


def test_more_than_the_limit_is_refused():
    with pytest.raises(FormatError) as caught:
        unpack_lz4_block(packed(b"a" * 100_000), limit_bytes=99_999)
    assert caught.value.message == (
        "lz4 block: lz4 data unpacks to more than it may; expected 99999"
    )


@pytest.mark.parametrize(
    "block",
    [b"", b"\xf0", b"\x50ab", b"\x10a\x00\x00", b"\x10a\x02\x00", b"\x1fa\x01\x00\xff"],
    ids=[
        "empty",
        "no length",
        "literals end",
        "distance 0",
        "before the start",
        "length ends",
    ],
)
def test_damage_is_a_format_error(block):
    with pytest.raises(FormatError, match="damaged lz4 data"):
        unpack_lz4_block(block, limit_bytes=1000)


@given(st.binary(max_size=200))
def test_any_bytes_give_at_most_the_limit_or_a_format_error(block):
    try:
        assert len(unpack_lz4_block(block, limit_bytes=500)) <= 500
    except FormatError:
        pass
