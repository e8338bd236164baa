"""What was measured, kept: one JSON file a run, and a history in which a slower commit shows."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.measure import FLOOR, OURS, Measured
from bootsmith.files.atomic import write_file
from bootsmith.files.checkout import checked_out_commit

_SLOWER = 1.2


def machine() -> dict[str, Any]:
    """What it was measured on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    words = f"{cores}x {model}, {memory} MiB, Linux {os.uname().release}, load {load:.1f}"
    return {"words": words, "cores": cores, "model": model, "load": load}


def keep(directory: Path, results: Sequence[Measured], described: Mapping[str, Any]) -> Path:
    """Write this run and add it to the history; where it is."""
    directory.mkdir(parents=True, exist_ok=True)
    commit = checked_out_commit(Path(__file__).parents[1]) or "unknown"
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    document = {
        "at": stamp,
        "commit": commit,
        "machine": dict(described),
        "rows": {
            one.row.name: {
                "samples": {
                    name: [asdict(run) for run in runs] for name, runs in one.samples.items()
                },
                "troubles": one.troubles,
            }
            for one in results
        },
    }
    target = directory / f"{stamp}-{commit[:12]}.json"
    write_file(target, (json.dumps(document, indent=1) + "\n").encode())
    line = {
        "at": stamp,
        "commit": commit,
        "machine": described["model"],
        "ratios": {one.row.name: ratio for one in results if (ratio := ratio_of(one)) is not None},
    }
    with open(directory / "history.jsonl", "a", encoding="utf-8") as history:
        history.write(json.dumps(line) + "\n")
    return target


def ratio_of(measured: Measured) -> float | None:
    """Ours to the floor, median of the rounds."""
    names = {one.role: one.name for one in reversed(measured.row.candidates)}
    ratios = measured.ratios(names.get(OURS, ""), names.get(FLOOR, ""))
    return statistics.median(ratios) if ratios else None


def worse_than_before(directory: Path, results: Sequence[Measured]) -> Iterator[str]:
    """A line for each row whose ratio grew since this machine measured it last."""
    before = last_ratios(directory)
    for measured in results:
        now, was = ratio_of(measured), before.get(measured.row.name)
        if now is not None and was is not None and now > was[0] * _SLOWER:
            yield (f"slower: {measured.row.name}: {was[0]:.2f}x at {was[1][:12]}, now {now:.2f}x")


def last_ratios(directory: Path) -> dict[str, tuple[float, str]]:
    """Of each row the newest ratio on record, and its commit."""
    found: dict[str, tuple[float, str]] = {}
    model = machine()["model"]
    try:
        lines = (directory / "history.jsonl").read_text("utf-8").splitlines()
    except OSError:
        return {}
    for line in lines:
        known = json.loads(line)
        if known["machine"] == model:
            found.update(
                {name: (ratio, known["commit"]) for name, ratio in known["ratios"].items()}
            )
    return found
