"""`doit generations`: what there is, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bootsmith.formats.human_bytes import human_bytes
from bootsmith.formats.manifest import MANIFEST_NAME
from bootsmith.generations.catalogue import Catalogue, Generation, Say, read_catalogue
from bootsmith.generations.history import (
    Move,
    gate_passed,
    order_of,
    read_moves,
    rolled_back_from,
)
from bootsmith.generations.pins import Pin, missing_pins, read_pins
from bootsmith.generations.published import Published, read_published

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_REVISION_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Row:
    """One generation as it is shown. Sizes are of content, equal content once, not of blocks."""

    id: str
    created_epoch: int | None
    files: int | None
    size_bytes: int | None
    new_bytes: int | None
    """Of files that no earlier generation holds."""
    gate: str | None
    marks: tuple[str, ...]
    note: str
    site_revision: str | None
    trouble: str | None


def list_generations(
    *, artifacts: Path, as_json: bool, say: Say, clock: Callable[[], float] = time.time
) -> None:
    """Print every generation, oldest first."""
    catalogue, pins = read_catalogue(artifacts), read_pins(artifacts)
    rows = list(_rows(catalogue, pins, read_moves(artifacts), read_published(artifacts)))
    if as_json:
        say(_document(catalogue, rows))
        return
    for line in table(rows, now_epoch=clock()):
        say(line)
    catalogue.say_troubles(say)
    for name in missing_pins(catalogue, pins):
        say(f"{name} is pinned and not there; doit unpin {name}")


def _rows(
    catalogue: Catalogue,
    pins: Mapping[str, Pin],
    moves: Sequence[Move],
    published: Mapping[str, Published],
) -> Iterator[Row]:
    seen: set[str] = set()
    withdrawn = {
        name
        for name in rolled_back_from(moves)
        if catalogue.current is not None and order_of(name) > order_of(catalogue.current)
    }
    for generation in catalogue.generations:
        manifest = generation.manifest
        sizes = generation.sizes if manifest else {}
        marks = [
            word
            for word, name in (("current", catalogue.current), ("candidate", catalogue.candidate))
            if name == generation.id
        ]
        marks += ["pinned"] if generation.id in pins else []
        marks += ["rolled back"] if generation.id in withdrawn else []
        marks += [f"on {name}" for name, one in published.items() if one.current == generation.id]
        yield Row(
            id=generation.id,
            created_epoch=_created_epoch(generation),
            files=generation.file_count if manifest else None,
            size_bytes=sum(sizes.values()) if manifest else None,
            new_bytes=sum(size for sha256, size in sizes.items() if sha256 not in seen)
            if manifest
            else None,
            gate=gate_passed(moves, generation.id),
            marks=tuple(marks),
            note=pins[generation.id].note if generation.id in pins else "",
            site_revision=manifest.site_revision if manifest else None,
            trouble=generation.trouble,
        )
        seen.update(sizes)


def _created_epoch(generation: Generation) -> int | None:
    if generation.manifest is None:
        return None  # its file was written who knows when
    if generation.manifest.created_epoch is not None:
        return generation.manifest.created_epoch
    try:  # of a generation that does not say it: its manifest was never written again
        return int(os.stat(generation.directory / MANIFEST_NAME).st_mtime)
    except OSError:
        return None


def _document(catalogue: Catalogue, rows: Sequence[Row]) -> str:
    document = {
        "schema": 1,
        "current": catalogue.current,
        "candidate": catalogue.candidate,
        "latest": catalogue.latest,
        "generations": [asdict(row) for row in rows],
        "strays": catalogue.strays,
    }
    return json.dumps(document, indent=1)


def table(rows: Sequence[Row], *, now_epoch: float) -> Iterator[str]:
    """Aligned lines, a heading first; one line of words where there is nothing."""
    if not rows:
        yield "no generation yet; doit build makes the first"
        return
    heading = ("ID", "AGE", "SIZE", "NEW", "GATE", "REVISION", "MARKS")
    cells = [heading, *(_cells(row, now_epoch) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heading))]
    for line in cells:
        padded = [
            # Numbers to the right.
            cell.rjust(width) if column in (1, 2, 3) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(padded).rstrip()


def _cells(row: Row, now_epoch: float) -> tuple[str, ...]:
    marks = ", ".join(row.marks) + (f' "{row.note}"' if row.note else "")
    if row.trouble is not None:
        marks = f"{marks}, unreadable" if marks else "unreadable"
    return (
        row.id,
        "?" if row.created_epoch is None else age(now_epoch - row.created_epoch),
        _size(row.size_bytes),
        _size(row.new_bytes),
        row.gate or "-",
        (row.site_revision or "-")[:_REVISION_DIGITS],
        marks,
    )


def age(seconds: float) -> str:
    """`5 min`, `3 h`, `12 d`: the largest unit that gives at least 1."""
    if seconds < _MINUTE:
        return "now"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h"
    return f"{seconds // _DAY:.0f} d"


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else human_bytes(size_bytes)
