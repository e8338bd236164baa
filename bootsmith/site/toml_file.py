"""The text of a recipe, and the table that it says; located errors for what is neither."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from bootsmith.errors import RecipeError
from bootsmith.site.position import line_of

_MOST_BYTES = 16 << 20


def read_toml(path: Path, shown: str) -> tuple[str, dict[str, Any]]:
    """The text of the recipe at `path`, which errors call `shown`, and its table."""
    content = read_text(path, shown)
    try:
        return content, tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        _not_toml(shown, content, str(error))
    except RecursionError:
        raise RecipeError(
            shown, "not TOML: nested too deeply", hint="docs/recipes.md describes every key"
        ) from None


def read_text(path: Path, shown: str) -> str:
    """The text of the recipe at `path`; RecipeError if it is no UTF-8, or too much."""
    try:
        with open(path, "rb") as recipe:
            data = recipe.read(_MOST_BYTES + 1)
    except OSError as error:
        raise RecipeError(
            shown,
            f"cannot be read: {error.strerror}",
            hint="a site has recipes/ and overlays/ at its root; docs/recipes.md describes them",
        ) from None
    if len(data) > _MOST_BYTES:
        raise RecipeError(
            shown,
            "too large for a recipe",
            expected="at most 16 MiB",
            hint="docs/recipes.md describes every key",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError(
            f"{shown}:{line}",
            "not TOML: not UTF-8",
            got=f"byte 0x{data[error.start]:02x}",
            hint="save the file as UTF-8",
        ) from None


def _not_toml(shown: str, content: str, message: str) -> NoReturn:
    """The parser ends its messages in `(at line L, column C)` or `(at end of document)`."""
    match = re.fullmatch(
        r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL
    )
    problem, line, column = match.groups() if match else (message, None, None)
    lines = content.splitlines() or [""]
    if line is None:
        line, column = len(lines), len(lines[-1]) + 1
    twice = re.fullmatch(r"Cannot declare \((.*)\) twice", problem)
    if twice:
        _declared_twice(shown, content, int(line), re.findall(r"'([^']*)'", twice[1]))
    raise RecipeError(
        f"{shown}:{line}:{column}", f"not TOML: {problem}", hint="correct the syntax there"
    ) from None


def _declared_twice(shown: str, content: str, line: int, keys: list[str]) -> NoReturn:
    before = "".join(content.splitlines(keepends=True)[: line - 1])
    first = line_of(before, keys)
    raise RecipeError(
        f"{shown}:{line}: {'.'.join(keys)}",
        "is there already",
        expected="each table once",
        got=f"another one in line {first}" if first else None,
        hint="rename or remove one of the two",
    ) from None
