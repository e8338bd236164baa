"""Files of hosts below recipes/hosts: what people have already, line by line.

`machines` has a line for each machine, `MAC management-address`; `csv` has titles first.
A cell is read as the key of a host is: by the same checks, with the file and the line said.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bootsmith.errors import RecipeError
from bootsmith.site.findings import Findings
from bootsmith.site.inventory_files import IMPORTS
from bootsmith.site.inventory_models import (
    HOST_NAME,
    IGNORE,
    VALUE_COLUMN,
    ImportEntry,
    name_from,
)
from bootsmith.site.inventory_titles import CHECKS, DELIMITERS, Column, cells_of, read_titles
from bootsmith.site.schema import Place, nearest, shown_value

_MOST_BYTES = 64 << 20
_MOST_LINE_CHARACTERS = 8192
_COMMENT = "#"


class HostRecord(NamedTuple):
    """One host as a recipe says it, before anything is inherited."""

    name: str
    said: dict[str, Any]
    table: Place
    """Where hosts.toml says it, or in which file it was imported."""
    line: int | None = None
    """Of an imported file."""
    group: Place | None = None
    """Where its group is said, if its `[[import]]` does."""

    def place(self, *keys: str | int) -> Place:
        """Where this host, or one of its keys, is said."""
        if self.group is not None and keys == ("group",):
            return self.group
        if self.line is None:
            return self.table.at(*keys)
        return _line_place(self.table, self.line).at(*keys)


def read_import(
    directory: Path, entry: ImportEntry, place: Place, *, most: int
) -> list[HostRecord]:
    """The hosts of the file below `directory` that `entry` (at `place`) names, at most `most`.

    Raises RecipeError, located in the file, for every line that is wrong.
    """
    content = _read(directory, entry.file, place.at("file"))
    shown = f"{IMPORTS}/{entry.file}"
    table = Place(file=directory / entry.file, shown=shown, content="")
    reading = _machines if entry.format == "machines" else _rows
    hosts: list[HostRecord] = []
    found = Findings()
    for line, said in reading(_lines(content, table), entry, place, table, found):
        if len(hosts) == most:
            _line_place(table, line).fail(
                "too many hosts", expected=f"at most {most} here", hint="divide the inventory"
            )
        group = None
        if entry.group is not None and "group" not in said:
            said["group"] = entry.group
            group = place.at("group")
        with found:
            name = said.pop("name", None) or _made_name(entry, said, len(hosts), table, line)
            hosts.append(HostRecord(name, said, table, line, group))
    found.raise_any()
    return hosts


def _line_place(table: Place, line: int) -> Place:
    return Place(file=table.file, shown=f"{table.shown}:{line}", content="")


# --- the file ----------------------------------------------------------------------------


def _read(directory: Path, name: str, place: Place) -> str:
    """Its text; never of a file elsewhere, of a pipe, or of one without an end."""
    path = directory / name
    if not f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(directory)}/"):
        place.fail(
            f"leads out of {IMPORTS} through a symbolic link",
            got=shown_value(name),
            hint="put the file itself there",
        )
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        _missing(directory, name, place)
    except OSError as error:
        place.fail(
            f"cannot be read: {error.strerror}", got=shown_value(name), hint="let it be readable"
        )
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            place.fail("is not a regular file", got=shown_value(name), hint="name a file of hosts")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(_MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    shown = f"{IMPORTS}/{name}"
    if len(data) > _MOST_BYTES:
        place.fail("is too large", expected="at most 64 MiB", hint="divide the inventory")
    try:
        return data.decode("utf-8-sig")  # spreadsheets begin their files with a mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        Place(file=path, shown=f"{shown}:{line}", content="").fail(
            "is not UTF-8", got=f"byte 0x{data[error.start]:02x}", hint="save the file as UTF-8"
        )


def _missing(directory: Path, name: str, place: Place) -> NoReturn:
    try:
        there = [entry.name for entry in os.scandir(directory) if entry.is_file()]
    except OSError:
        there = []
    near = nearest(name, there)
    place.fail(
        "there is no such file",
        expected=f"a file below {IMPORTS}",
        got=shown_value(name),
        hint=f"write {shown_value(near)}, or add the file" if near else "add the file",
    )


def _lines(content: str, table: Place) -> Iterator[tuple[int, str]]:
    """Each line that says something, with its number; comments begin with `#`."""
    for number, ended in enumerate(content.split("\n"), 1):
        line = ended.removesuffix("\r")
        if len(line) > _MOST_LINE_CHARACTERS:
            _line_place(table, number).fail(
                "is too long for a line",
                expected=f"at most {_MOST_LINE_CHARACTERS} characters",
                got=len(line),
                hint="give each machine a line of its own",
            )
        if not (line.isprintable() or line.replace("\t", " ").isprintable()):
            _line_place(table, number).fail(
                "holds a control character", hint="save the file as plain text"
            )
        if line and not line.isspace() and line.lstrip()[0] != _COMMENT:
            yield number, line


def _made_name(
    entry: ImportEntry, said: dict[str, Any], count: int, table: Place, line: int
) -> str:
    if entry.name is None:
        _line_place(table, line).at("name").fail(
            "missing",
            expected=HOST_NAME.expected,
            hint='say it, or let names be made: name = "node{number:03}" in its [[import]]',
        )
    return name_from(entry.name, number=entry.first + count, mac=said["mac"])


# --- machines.txt ------------------------------------------------------------------------

_Lines = Iterator[tuple[int, str]]
_Said = Iterator[tuple[int, dict[str, Any]]]


def _machines(
    lines: _Lines, entry: ImportEntry, place: Place, table: Place, found: Findings
) -> _Said:
    if entry.name is None:
        place.at("name").fail(
            "missing key, since such a file has no names",
            expected=_pattern_expected(),
            hint='add: name = "node{number:03}"',
        )
    for name, is_said in (("columns", entry.columns), ("delimiter", entry.delimiter != ",")):
        if is_said:
            place.at(name).fail('is of no use with format = "machines"', hint="remove it")
    for number, line in lines:
        try:
            said = _machine(line, _line_place(table, number))
        except RecipeError as error:
            found.add(error)
        else:
            yield number, said


def _machine(line: str, at: Place) -> dict[str, Any]:
    words = line.partition(_COMMENT)[0].split()
    if len(words) != 2:
        at.fail(
            "bad line",
            expected="a MAC address and a management address",
            got=f"{len(words)} word{'' if len(words) == 1 else 's'}",
            hint="write each machine in a line: aa:bb:cc:dd:ee:ff 10.20.255.1",
        )
    keys = ("mac", "management")
    return {key: CHECKS[key].read(word, at.at(key)) for key, word in zip(keys, words, strict=True)}


def _pattern_expected() -> str:
    return next(one.check.expected for one in ImportEntry.declared_keys() if one.name == "name")


# --- CSV ---------------------------------------------------------------------------------


def _rows(lines: _Lines, entry: ImportEntry, place: Place, table: Place, found: Findings) -> _Said:
    delimiter = DELIMITERS[entry.delimiter]
    number, first = next(lines, (1, ""))
    at = _line_place(table, number)
    if not first:
        at.fail("is empty", expected="a line of titles", hint="write titles first: name,mac")
    following = (line for _, line in lines)
    columns = read_titles(first, entry, place, at, following=following)
    wanted = [column for column in columns if column.key != IGNORE]
    positions = [at for at, column in enumerate(columns) if column.key != IGNORE]
    for number, line in lines:
        try:
            cells = (
                cells_of(line, delimiter, _line_place(table, number))
                if '"' in line
                else line.split(delimiter)
            )
            if len(cells) != len(columns):
                _line_place(table, number).fail(
                    "does not fit the titles",
                    expected=f"{len(columns)} columns",
                    got=len(cells),
                    hint="write a cell for each title, be it an empty one; quote cells that hold "
                    "the delimiter",
                )
            said = _row([cells[at] for at in positions], wanted, table, number)
        except RecipeError as error:
            found.add(error)
        else:
            yield number, said


def _row(
    cells: Sequence[str], columns: Sequence[Column], table: Place, number: int
) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for text, column in zip(cells, columns, strict=True):
        cell = text.strip()
        if not cell:
            continue
        key = column.key
        value = column.accepted(cell)
        if value is None:
            value = column.read(cell, _line_place(table, number).at(key))
        if key.startswith(VALUE_COLUMN):
            said.setdefault("values", {})[key.removeprefix(VALUE_COLUMN)] = value
        else:
            said[key] = value
    if "mac" not in said:
        _line_place(table, number).at("mac").fail(
            "missing", expected=CHECKS["mac"].expected, hint="say it, or remove the line"
        )
    return said
