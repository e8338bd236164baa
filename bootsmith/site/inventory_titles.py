"""The first line of a CSV of hosts: what its columns are called, and what they stand for.

A spreadsheet has its own delimiter and its own titles, so this is where most files fail at first:
the error says what was seen there, and the very lines to write.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bootsmith.errors import RecipeError
from bootsmith.formats.ipv4 import parse_ipv4
from bootsmith.formats.mac import parse_mac
from bootsmith.site.inventory_models import (
    COLUMN,
    HOST_COLUMNS,
    HOST_NAME,
    IGNORE,
    VALUE,
    VALUE_COLUMN,
    HostEntry,
    ImportEntry,
    is_column_meaning,
)
from bootsmith.site.schema import Check, ListOf, Place, Text, check_reference, nearest, shown_value

CHECKS: Mapping[str, Check] = {
    **{one.name: one.check for one in HostEntry.declared_keys()},
    "name": HOST_NAME,
}
"""By the key of a host."""
DELIMITERS = {",": ",", ";": ";", "tab": "\t"}
"""As a recipe says them."""


class Column:
    """One column: its title, and how its cells are read."""

    def __init__(self, title: str, key: str) -> None:
        self.title = title
        self.key = key
        """Of HOST_COLUMNS, `values.NAME` or `ignore`."""
        self.check = VALUE if key.startswith(VALUE_COLUMN) else CHECKS.get(key, VALUE)
        self._known: dict[str, Any] = {}
        self.accepted: Callable[[str], Any] = self._known.get
        """The value of a cell if it is surely a good one; None to have it read."""
        if key == "mac":
            self.accepted = parse_mac
        elif isinstance(self.check, Text):
            accepts = self.check.accepts
            self.accepted = lambda text: text if accepts(text) else None

    def read(self, text: str, place: Place) -> Any:
        """The value of a cell, or RecipeError. Few words stand in many rows: each once."""
        words = text.split() if isinstance(self.check, ListOf) else text
        self._known[text] = self.check.read(words, place)
        return self._known[text]


def read_titles(
    line: str, entry: ImportEntry, place: Place, at: Place, *, following: Iterator[str]
) -> list[Column]:
    """The columns that `line` (at `at`) says; `place` is that of the `[[import]]`.

    RecipeError where one of them is nothing that a host has: then the line `following` it
    shows what it may be.
    """
    columns = _columns(_titles(line, entry.delimiter, at), entry)
    unknown = [column.title for column in columns if not is_column_meaning(column.key)]
    if unknown:
        _refuse(unknown, line, entry, place, at, next(following, ""))
    seen: dict[str, str] = {}
    for column in columns:
        if column.key in seen and column.key != IGNORE:
            at.fail(
                f"two columns say the {column.key}",
                got=f"{seen[column.key]} and {column.title}",
                hint='remove one, or ignore it: columns = { "TITLE" = "ignore" }',
            )
        seen[column.key] = column.title
    for title in entry.columns:
        check_reference(
            title,
            [column.title for column in columns],
            place.at("columns", title),
            problem="the file has no such column",
            add="remove it",
        )
    for key in ("mac",) if entry.name is not None else ("mac", "name"):
        if key not in seen:
            at.fail(
                f"no column says the {key}",
                expected=f"{', '.join(column.title for column in columns)} and {key}, with "
                f"{shown_value(entry.delimiter)} between them",
                got=shown_value(line),
                hint="the first line holds the titles of the columns",
            )
    return columns


def cells_of(line: str, delimiter: str, place: Place) -> list[str]:
    """The cells of one line. A quote that is left open would swallow every host behind it."""
    try:
        cells: list[str] = next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        place.fail(
            f"is no line of a CSV: {error}",
            hint='write a quote inside quotes twice, and close it on its line: "a ""b"" c"',
        )
    return cells


def _titles(line: str, delimiter: str, place: Place) -> list[str]:
    return [text.strip() for text in cells_of(line, DELIMITERS[delimiter], place)]


def _columns(titles: Sequence[str], entry: ImportEntry) -> list[Column]:
    return [Column(title, _meaning(title, entry)) for title in titles]


def _meaning(title: str, entry: ImportEntry) -> str:
    lower = title.lower()
    return entry.columns.get(title, lower if lower in HOST_COLUMNS else title)


# --- what cannot be, and what would do ---------------------------------------------------


def _refuse(
    unknown: Sequence[str], line: str, entry: ImportEntry, place: Place, at: Place, row: str
) -> NoReturn:
    """RecipeError with the lines that make the titles good ones."""
    delimiter = _delimiter_seen(line, row, entry, at)
    titles = _titles(line, delimiter, at)
    if not all(map(COLUMN.accepts, titles)):
        at.fail(
            "a column has no title that a recipe can name",
            expected=f"{COLUMN.expected} for each, with {shown_value(delimiter)} between them",
            got=shown_value(line),
            hint="give each column a title there, or remove it",
        )
    said = _guessed(titles, _split(row, delimiter, at), entry)
    if len(titles) == 1 and "mac" not in said.values():
        at.fail(
            "holds one column",
            expected=f"a delimiter of {', '.join(map(shown_value, DELIMITERS))} between several",
            got=shown_value(line),
            hint="save the file with one of these",
        )
    lines = []
    if delimiter != entry.delimiter:
        lines.append(f"delimiter = {shown_value(delimiter)}")
    if said != entry.columns:
        lines.append(f"columns = {_table(said)}")
    key = "columns" if entry.columns else "file"
    where = place.at(key).subject.partition(": ")[0]
    hint = "\n    ".join([f"write in its [[import]] ({where}):", *lines])
    if delimiter != entry.delimiter:
        at.fail(
            "its titles are not separated so",
            expected=f"{shown_value(entry.delimiter)} between them",
            got=shown_value(line),
            hint=hint,
        )
    at.fail(
        f"unknown column{'s' * (len(unknown) > 1)} {', '.join(map(shown_value, unknown))}",
        expected=f"{', '.join(HOST_COLUMNS)} or {VALUE_COLUMN}NAME, with "
        f"{shown_value(delimiter)} between them",
        got=shown_value(line),
        hint=hint,
    )


def _delimiter_seen(line: str, row: str, entry: ImportEntry, at: Place) -> str:
    """The delimiter with which most titles are known ones, and the line behind them fits."""

    def fitness(delimiter: str) -> tuple[int, bool, int, bool]:
        titles, cells = _split(line, delimiter, at), _split(row, delimiter, at)
        known = sum(is_column_meaning(_meaning(title, entry)) for title in titles)
        fits = len(titles) == len(cells) > 1
        return known, fits, len(titles), delimiter == entry.delimiter

    return max(DELIMITERS, key=fitness)


def _split(line: str, delimiter: str, at: Place) -> list[str]:
    """The cells of a line that may have another delimiter, and then be no line of a CSV."""
    try:
        return _titles(line, delimiter, at)
    except RecipeError:
        return []


def _guessed(titles: Sequence[str], cells: Sequence[str], entry: ImportEntry) -> dict[str, str]:
    """`columns` with something for every title, by what stands below it."""
    cells = [*cells, *[""] * len(titles)]
    meanings = {title: _meaning(title, entry) for title in titles}
    used = {meaning for meaning in meanings.values() if is_column_meaning(meaning)}
    if entry.name is not None:
        used.add("name")
    columns = {title: key for title, key in entry.columns.items() if title in titles}
    below = dict(zip(titles, cells, strict=False))
    for title in titles:
        if not is_column_meaning(meanings[title]):
            free = (key for key in _likely(title, below[title]) if key not in used)
            columns[title] = next(free, IGNORE)
            used.add(columns[title])
    if "name" not in used:
        looks_so = (
            title
            for title, key in columns.items()
            if key == IGNORE
            and title not in entry.columns
            and HOST_NAME.accepts(below[title])
            and not below[title].isdecimal()
        )
        columns.update(dict.fromkeys([*looks_so][:1], "name"))
    return columns


def _likely(title: str, cell: str) -> Iterator[str]:
    """Keys that the column may stand for, the likeliest first."""
    near = nearest(title, HOST_COLUMNS)
    if parse_mac(cell) is not None:
        yield "mac"
    elif parse_ipv4(cell) is not None:
        yield from ("address", "management")
    elif near is not None and (not cell or _is_one(near, cell)):
        yield near


def _is_one(key: str, cell: str) -> bool:
    try:
        Column("", key).read(cell, Place(file=Path(), shown="", content=""))
    except RecipeError:
        return False
    return True


def _table(columns: Mapping[str, str]) -> str:
    """As TOML writes it on one line."""
    pairs = [
        f"{json.dumps(title, ensure_ascii=False)} = {json.dumps(columns[title])}"
        for title in columns
    ]
    return f"{{ {', '.join(pairs)} }}"
