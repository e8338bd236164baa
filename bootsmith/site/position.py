"""On which line of a TOML text a key stands.

The parser tells values, not lines. So it is asked: a key stands where the text so far
first becomes TOML that holds the key. Only errors pay for this.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

_LARGE_BYTES = 1 << 12
"""From here on a text is not parsed over and over if a part of it will do."""


def line_of(content: str, keys: Sequence[str | int]) -> int | None:
    """The line (from 1) where the value at `keys` begins, or None if there is none.

    Members of a list written over several lines have lines of their own.
    """
    if len(content) < _LARGE_BYTES or len(keys) < 2:
        return _line_in(content, keys)
    found = _section_of(content, keys)
    if found is None:
        return _line_in(content, keys)
    section, before, inner = found
    line = _line_in(section, inner)
    return None if line is None else before + line


def _section_of(
    content: str, keys: Sequence[str | int]
) -> tuple[str, int, Sequence[str | int]] | None:
    """The table with a header of its own that `keys` lead into: its text, how many lines stand
    before it, and the keys there. None where it is written otherwise.
    """
    outer, inner = keys[0], keys[1]
    lines = content.splitlines(keepends=True)
    headers = [at for at, line in enumerate(lines) if line.lstrip().startswith("[")]
    wanted = f"{inner}" if isinstance(inner, str) else f"{outer}"
    matching = [
        at for at in headers if wanted in lines[at] and _is_header(_parsed([lines[at]]), keys)
    ]
    position = inner if isinstance(inner, int) else 0
    if position >= len(matching):
        return None
    first = matching[position]
    # Tables inside it, such as `[host.NAME.values]`, have headers of their own.
    last = next(
        (at for at in headers if at > first and not _is_inside(lines[at], keys)), len(lines)
    )
    section = "".join(lines[first:last])
    keys_there = (outer, 0, *keys[2:]) if isinstance(inner, int) else keys
    return (section, first, keys_there) if _holds(_parsed([section]), keys_there[:2]) else None


def _is_header(table: dict[str, Any] | None, keys: Sequence[str | int]) -> bool:
    """Whether a line alone is `[outer.inner]`, or `[[outer]]`."""
    inner = keys[1]
    return table == ({keys[0]: [{}]} if isinstance(inner, int) else {keys[0]: {inner: {}}})


def _is_inside(line: str, keys: Sequence[str | int]) -> bool:
    """Whether a line alone is the header of a table inside `[outer.inner]`."""
    inner = keys[1]
    return isinstance(inner, str) and inner in line and _holds(_parsed([line]), keys[:2])


def _line_in(content: str, keys: Sequence[str | int]) -> int | None:
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
