"""One measurement: a function in a process of its own, with its time, memory and outcome.

A row's candidates take turns within each round, so that what else the machine does befalls all
of them; ratios are taken within a round and only then put together.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

OURS, FLOOR, PEER = "ours", "floor", "peer"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to do a job. `run` gets an empty directory and leaves its result there."""

    name: str
    role: str
    run: Callable[[Path], None]
    prepare: Callable[[Path], None] | None = None
    """What need not count: done before the clock starts."""
    result: Callable[[Path], int] | None = None
    """Bytes of what it made, from the same directory."""
    count: int = 1
    """How many jobs one run does; times are of one."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One run."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    result_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A job, who does it, and how much more than the floor it may take."""

    name: str
    about: str
    candidates: Sequence[Candidate]
    bar: float | None = None
    """Ours to the floor."""
    bar_text: str = ""


@dataclass(kw_only=True)
class Measured:
    """What came out of a row."""

    row: Row
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float | None:
        """Median wall time in seconds."""
        runs = self.samples.get(name)
        return statistics.median(run.wall_seconds for run in runs) if runs else None

    def ratios(self, name: str, against: str) -> list[float]:
        """Of each round, `name` to `against`."""
        pairs = zip(self.samples.get(name, ()), self.samples.get(against, ()), strict=False)
        return [one.wall_seconds / other.wall_seconds for one, other in pairs]


def measure_row(row: Row, *, rounds: int, scratch: Path) -> Measured:
    """Every candidate, `rounds` times, in turns; the first round only warms caches."""
    measured = Measured(row=row)
    for number in range(rounds + 1):
        for candidate in row.candidates:
            if candidate.name in measured.troubles:
                continue
            try:
                sample = run_once(candidate, scratch)
            except RuntimeError as error:
                measured.troubles[candidate.name] = str(error)
                continue
            if number:
                measured.samples.setdefault(candidate.name, []).append(sample)
    return measured


def run_once(candidate: Candidate, scratch: Path) -> Sample:
    """One run in a child process; RuntimeError with its last words if it fails."""
    place = scratch / "run"
    _remove(place)
    place.mkdir(parents=True)
    os.sync()  # what others wrote shall not be written out on our time
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _in_the_child(candidate, place, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = json.loads(pipe.read() or b'{"error": "it ended without a word"}')
    _, _, usage = os.wait4(child, 0)
    if "error" in said:
        raise RuntimeError(said["error"])
    result = candidate.result(place) if candidate.result else None
    _remove(place)
    return Sample(
        wall_seconds=said["wall"] / candidate.count,
        cpu_seconds=(usage.ru_utime + usage.ru_stime - said["before"]) / candidate.count,
        peak_bytes=usage.ru_maxrss * 1024,
        result_bytes=result,
    )


def _in_the_child(candidate: Candidate, place: Path, writer: int) -> None:
    words: dict[str, object]
    try:
        if candidate.prepare:
            candidate.prepare(place)
        before = sum(os.times()[:4])
        started = time.perf_counter()
        candidate.run(place)
        words = {"wall": time.perf_counter() - started, "before": before}
    except Exception as error:  # said, and the bench goes on
        words = {"error": str(error).splitlines()[0] if str(error) else repr(error)}
        if "BENCH_DEBUG" in os.environ:
            traceback.print_exc()
    os.write(writer, json.dumps(words).encode())
    sys.stderr.flush()
    os._exit(0)


def _remove(place: Path) -> None:
    import shutil

    shutil.rmtree(place, ignore_errors=True)


def tree_bytes(place: Path) -> int:
    """Bytes of all regular files below `place`."""
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
