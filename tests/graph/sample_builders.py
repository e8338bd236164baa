"""Builders for tests of the graph: real functions that write real files."""

from __future__ import annotations

from pathlib import Path

from bootsmith.errors import BuildError
from bootsmith.files.atomic import replacing_file, write_file


def build_upper(*, source: Path, output: Path, suffix: str = "") -> None:
    """Upper-case a file; only letters count, so some edits change nothing."""
    text = "".join(letter for letter in source.read_text() if letter.isalpha())
    write_file(output, (text.upper() + suffix).encode())


def build_joined(*, parts: tuple[Path, ...], output: Path) -> None:
    """Concatenate files."""
    write_file(output, b"".join(part.read_bytes() for part in parts))


def build_listing(*, tree: Path, output: Path) -> None:
    """Names below a tree."""
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    write_file(output, "\n".join(names).encode())


def build_nothing(*, output: Path) -> None:
    """Forget to make the output."""


def build_half(*, source: Path, output: Path) -> None:
    """Fail in the middle of writing."""
    with replacing_file(output) as partial:
        partial.write_bytes(source.read_bytes()[:1])
        raise BuildError("half", "failed in the middle", hint="try again")


def build_maker(*, source: Path, output: Path, maker: str) -> None:
    """What stands for the code that makes it."""
    write_file(output, maker.encode())
