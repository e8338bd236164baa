"""LZ4 blocks made by the lz4 program, unpacked by us."""

from __future__ import annotations

import random
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.formats.lz4_block import pack_lz4_block, unpack_lz4_block


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


def unpacked_by_lz4(block: bytes) -> bytes:
    """The block in lz4's legacy frame, through the lz4 program."""
    frame = b"\x02\x21\x4c\x18" + len(block).to_bytes(4, "little") + block
    return subprocess.run(
        ["lz4", "-d", "-c", "-"], input=frame, capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_the_lz4_program_unpacks_what_we_pack(content):
    block = pack_lz4_block(content)
    assert unpacked_by_lz4(block) == content
    assert unpack_lz4_block(block, limit_bytes=len(content)) == content


def test_packing_makes_text_smaller():
    text = CONTENTS["text"]
    assert len(pack_lz4_block(text)) < len(text) // 3


@given(st.lists(st.sampled_from([b"a", b"abcd" * 5, b"x" * 300, bytes(70_000), b"%d" % 2**200])))
def test_what_was_packed_is_unpacked(parts):
    content = b"".join(parts)
    assert unpack_lz4_block(pack_lz4_block(content), limit_bytes=len(content)) == content


@given(st.binary(max_size=60))
def test_short_contents_are_packed(content):
    assert unpack_lz4_block(pack_lz4_block(content), limit_bytes=len(content)) == content
