"""On which line of a TOML text a key stands.

The parser tells values, not lines. So it is asked: a key stands where the text so far
first becomes TOML that holds the key. Only errors pay for this.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any


def line_of(content: str, keys: Sequence[str | int]) -> int | None:
    """The line (from 1) where the value at `keys` begins, or None if there is none.

    Members of a list written over several lines have lines of their own.
    """
    lines = content.splitlines(keepends=True)
    path = keys[:-1] if keys and isinstance(keys[-1], int) else keys
    if not path or not _holds(_parsed(lines), path):
        return None
    without, holding = 0, len(lines)
    while holding - without > 1:
        middle = (without + holding) // 2
        if _holds(_parsed(lines[: _last_complete(lines, middle)]), path):
            holding = middle
        else:
            without = middle
    first = _last_complete(lines, holding - 1) + 1
    if path is keys:
        return first
    return _member_line(lines, first, holding, keys)


def _last_complete(lines: Sequence[str], count: int) -> int:
    """How many of the first `count` lines do not end inside a value of several lines."""
    while _parsed(lines[:count]) is None:
        count -= 1
    return count


def _member_line(lines: Sequence[str], first: int, last: int, keys: Sequence[str | int]) -> int:
    for line in range(first, last):
        if _holds(_parsed([*lines[:line], "\n]"]), keys):
            return line
    return last if last == first else first


def _parsed(lines: Sequence[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _holds(value: Any, keys: Sequence[str | int]) -> bool:
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return False
    return value is not None
