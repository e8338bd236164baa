"""Pins: generations that pruning never removes, each with a note.

artifacts/pins.json maps an id to `note` and `at_epoch`. It is no part of a generation, for
those never change, and it survives rebuilding everything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.files.atomic import write_file
from bootsmith.generations.catalogue import Catalogue, Say, read_catalogue
from bootsmith.generations.history import holding_moves, is_generation_id

PINS_NAME = "pins.json"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """Why a generation is kept, and since when."""

    note: str
    at_epoch: int


def read_pins(artifacts: Path) -> dict[str, Pin]:
    """Every pin by id. PublishError for a damaged file: nothing may be pruned on a guess."""
    path = artifacts / PINS_NAME
    try:
        return _parse(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        trouble = f"line {error.lineno}: not JSON"
    except UnicodeDecodeError:
        trouble = "not JSON"
    except ValueError as error:
        trouble = str(error)
    raise PublishError(
        path,
        f"is damaged ({trouble})",
        hint=f"remove it (rm {path}) and pin again what shall be kept",
    )


def _parse(found: object) -> dict[str, Pin]:
    """ValueError, in words, for anything but a table of pins."""
    match found:
        case dict():
            return {name: _pin(name, value) for name, value in found.items()}
    raise ValueError("it is no table of generations")


def _pin(name: str, value: object) -> Pin:
    match value:
        case {"note": str(note), "at_epoch": int(at_epoch)}:
            return Pin(note=note, at_epoch=at_epoch)
    raise ValueError(f"{name!a} does not have a note and a time")


def _write(artifacts: Path, pins: dict[str, Pin]) -> None:
    text = json.dumps({name: asdict(pin) for name, pin in pins.items()}, indent=1, sort_keys=True)
    write_file(artifacts / PINS_NAME, f"{text}\n".encode())


def pin_generations(
    *,
    artifacts: Path,
    operands: Sequence[str],
    note: str,
    say: Say,
    clock: Callable[[], float] = time.time,
) -> None:
    """Keep these generations from being pruned; another note replaces the one before."""
    _require_some(operands, "pin")
    plain = " ".join(note.split())  # one line in the table
    with holding_moves(artifacts):
        catalogue, pins = read_catalogue(artifacts), read_pins(artifacts)
        ids = [catalogue.find(word).id for word in operands]
        for name in ids:
            before = pins[name].note if name in pins else ""
            pins[name] = Pin(note=plain or before, at_epoch=int(clock()))
        _write(artifacts, pins)
    for name in ids:
        say(f"pinned {name}{f': {pins[name].note}' if pins[name].note else ''}")


def unpin_generations(*, artifacts: Path, operands: Sequence[str], say: Say) -> None:
    """Let these generations be pruned again."""
    _require_some(operands, "unpin")
    with holding_moves(artifacts):
        catalogue, pins = read_catalogue(artifacts), read_pins(artifacts)
        ids = [_pinned_id(catalogue, pins, word) for word in operands]
        for name in ids:
            pins.pop(name, None)
        _write(artifacts, pins)
    for name in ids:
        say(f"unpinned {name}")


def _pinned_id(catalogue: Catalogue, pins: dict[str, Pin], word: str) -> str:
    # A pin may outlive a generation that someone removed by hand.
    name = word if word in pins else catalogue.find(word).id
    if name not in pins:
        listed = ", ".join(sorted(pins)) or "none"
        raise PublishError(name, "is not pinned", hint=f"pinned are: {listed}")
    return name


def _require_some(operands: Sequence[str], verb: str) -> None:
    if not operands:
        raise PublishError(
            f"doit {verb}", "which generation?", hint=f"doit {verb} ID; doit generations lists them"
        )


def missing_pins(catalogue: Catalogue, pins: dict[str, Pin]) -> list[str]:
    """Pinned ids that are no generation any more."""
    known = catalogue.by_id
    return [name for name in pins if name not in known and is_generation_id(name)]
