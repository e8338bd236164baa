"""Which generation was current when: one line a move of `current`, never rewritten in place.

artifacts/history.jsonl, oldest first:

    {"at_epoch": 1795248000, "from": "2026-11-20.1", "gate": "checks", "to": "2026-11-21.1"}

`gate` is null for a rollback. A line is on the disk *before* the link moves: whoever asks
looks for the last line about the generation that is current, so a line whose move never
came is harmless, and a move without a line cannot be.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootsmith.files.atomic import fsync_directory, write_file

LOCK_NAME = "moves.lock"
HISTORY_NAME = "history.jsonl"
_ID = re.compile(r"(\d{4}-\d{2}-\d{2})\.([1-9]\d*)")


@dataclass(frozen=True, kw_only=True)
class Move:
    """`current` went from generation `left` (None: there was none) to generation `to`."""

    to: str
    left: str | None
    gate: str | None
    """The gate that `to` passed for it; None for a rollback."""
    at_epoch: int

    @property
    def is_backward(self) -> bool:
        """To an older generation than the one that was left."""
        return self.left is not None and order_of(self.to) < order_of(self.left)

    def to_line(self) -> str:
        """The line, with its newline."""
        value = {"at_epoch": self.at_epoch, "from": self.left, "gate": self.gate, "to": self.to}
        return json.dumps(value, sort_keys=True) + "\n"


def is_generation_id(name: str) -> bool:
    """`<date>.<serial>`, as generations are named."""
    return _ID.fullmatch(name) is not None


def order_of(identifier: str) -> tuple[str, int]:
    """Sorts ids by date, then by serial as a number."""
    date, _, serial = identifier.rpartition(".")
    return date, int(serial)


def generation_ids(artifacts: Path) -> list[str]:
    """Ids of the generations there are, oldest first; damaged ones too."""
    try:
        with os.scandir(artifacts / "generations") as entries:
            found = [
                entry.name
                for entry in entries
                if is_generation_id(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except FileNotFoundError:
        return []
    return sorted(found, key=order_of)


def linked_id(link: Path) -> str | None:
    """The id of the generation that `current`, `candidate` or `latest` names, there or not."""
    try:
        name = os.path.basename(os.readlink(link))
    except OSError:
        return None
    return name if is_generation_id(name) else None


def current_id(artifacts: Path) -> str | None:
    """The id of the generation that machines boot."""
    return linked_id(artifacts / "current")


def standing_id(artifacts: Path) -> str | None:
    """What machines boot, or booted until `current` was lost: then the history's last word."""
    now = current_id(artifacts)
    if now is not None:
        return now
    moves = read_moves(artifacts)
    return moves[-1].to if moves else None


@contextmanager
def holding_moves(artifacts: Path) -> Iterator[None]:
    """Be the only one who moves `current`, pins or removes generations; for moments only.

    Beside the lock of runs, for a rollback must not wait until a long build has ended.
    """
    with open(artifacts / LOCK_NAME, "a", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# --- the record ----------------------------------------------------------------------------


def read_moves(artifacts: Path) -> tuple[Move, ...]:
    """Every recorded move, oldest first. What is no line of ours is passed over."""
    try:
        text = (artifacts / HISTORY_NAME).read_text("utf-8", "replace")
    except FileNotFoundError:
        return ()
    return tuple(move for line in text.splitlines() if (move := _parse(line)) is not None)


def _parse(line: str) -> Move | None:
    try:
        value = json.loads(line)
        move = Move(
            to=value["to"], left=value["from"], gate=value["gate"], at_epoch=int(value["at_epoch"])
        )
        ids = [move.to] if move.left is None else [move.to, move.left]
        return move if all(is_generation_id(name) for name in ids) else None
    except (ValueError, KeyError, TypeError):
        return None  # the end of a line that a power cut tore


def record_move(artifacts: Path, move: Move) -> None:
    """Append `move`, durably before returning; OSError where that cannot be."""
    path = artifacts / HISTORY_NAME
    is_new = not path.exists()
    with open(path, "a+b") as file:
        torn = file.tell() > 0 and _last_byte(file.fileno()) != b"\n"
        file.write(b"\n" * torn + move.to_line().encode())
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        fsync_directory(artifacts)


def _last_byte(descriptor: int) -> bytes:
    return os.pread(descriptor, 1, os.fstat(descriptor).st_size - 1)


def forget_moves(artifacts: Path, *, kept: Collection[str]) -> None:
    """Drop lines about none of the generations `kept`; written whole or not at all."""
    moves = read_moves(artifacts)
    lines = [move.to_line() for move in moves if move.to in kept or move.left in kept]
    if len(lines) != len(moves):
        write_file(artifacts / HISTORY_NAME, "".join(lines).encode())


# --- what it says --------------------------------------------------------------------------


def one_before(moves: Sequence[Move], identifier: str) -> str | None:
    """What was current before this generation became so; None if nothing says.

    Moves backward do not count: rolling back twice goes on backward, and does not return to
    what was just left.
    """
    for move in reversed(moves):
        if move.to == identifier != move.left and not move.is_backward:
            return move.left
    return None


def rolled_back_from(moves: Sequence[Move]) -> set[str]:
    """Generations that were left for an older one and have not been current since."""
    found: set[str] = set()
    for move in moves:
        found.discard(move.to)
        if move.is_backward and move.left is not None:
            found.add(move.left)
    return found


def gate_passed(moves: Sequence[Move], identifier: str) -> str | None:
    """The gate that this generation passed last; None if it never passed one here."""
    gates = [move.gate for move in moves if move.to == identifier and move.gate is not None]
    return gates[-1] if gates else None


def was_current(moves: Sequence[Move]) -> set[str]:
    """Every generation that was current at some time, as far as the record goes back."""
    return {name for move in moves for name in (move.to, move.left) if name is not None}


def describe_current(artifacts: Path) -> str | None:
    """What a run's closing line says of `current` and what waits; None if there is nothing."""
    now, was = current_id(artifacts), standing_id(artifacts)
    candidate = linked_id(artifacts / "candidate")
    waiting = f", candidate is {candidate} (next: doit release)" if candidate else ""
    if now is None and was is not None:
        to = was if was in generation_ids(artifacts) else "ID"
        return f"current is lost{waiting}; it was {was}: doit rollback --to {to}"
    if now is None:
        return f"current is not there yet{waiting}" if candidate else None
    withdrawn = [
        name for name in rolled_back_from(read_moves(artifacts)) if order_of(name) > order_of(now)
    ]
    if not withdrawn:
        return f"current is {now}{waiting}"
    newest = max(withdrawn, key=order_of)
    return (
        f"current is {now}, rolled back from {newest}{waiting}; "
        f"to go forward again: doit rollback --to {newest}"
    )
