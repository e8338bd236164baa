"""Console bytes to lines."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.smoke.console import ConsoleText

CASES = {
    "plain": (b"one\ntwo\n", ["one", "two"], ""),
    "crlf and crcrlf": (b"one\r\ntwo\r\r\n\r\n", ["one", "two"], ""),
    "prompt": (b"done\r\nhost login: ", ["done"], "host login: "),
    "colours": (b" \x1b[32;01m*\x1b[0m Mounting \x1b[1Gx\n", [" * Mounting x"], ""),
    "reset and title": (b"\x1bc\x1b[?7l\x1b]0;title\x07\x1b(BSeaBIOS\r\n", ["SeaBIOS"], ""),
    "a cursor that stays": (b"boo\x1b[07;04H\x1b[07;05Ht:\n", ["boot:"], ""),
    "a cursor at the first column": (b"5 s\x1b[09;01H4 s\x1b[H3 s", ["5 s", "4 s"], "3 s"),
    "written over": (b" 10%\r 90%\rdone\n", [" 10%", " 90%", "done"], ""),
    "backspaces": (b"abd\b\bc\n", ["ac"], ""),
    "not text": (b"\xff\x00\x07ok\n", ["\ufffdok"], ""),
}


@pytest.mark.parametrize("case", CASES)
def test_lines(case):
    data, lines, partial = CASES[case]
    text = ConsoleText()
    assert text.feed(data) == lines
    assert text.partial == partial


def test_what_was_written_over_is_not_remembered():
    text = ConsoleText()
    text.feed(b"first\n 10%\r 90%\rdone\n")
    assert list(text.lines) == ["first", "done"]
    assert text.kept_count == 2


def test_a_line_without_an_end_is_cut():
    text = ConsoleText()
    assert [len(line) for line in text.feed(b"x" * 9000)] == [4096, 4096]
    assert len(text.partial) == 9000 - 2 * 4096


@given(
    pieces=st.lists(st.sampled_from([data for data, _, _ in CASES.values()]), max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_where_the_bytes_are_cut_does_not_matter(pieces, cuts):
    data = b"".join(pieces)
    whole = ConsoleText()
    expected = whole.feed(data)
    text = ConsoleText()
    got = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        got += text.feed(data[start:end])
    assert got == expected
    assert text.partial == whole.partial
