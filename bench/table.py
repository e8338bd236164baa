"""The results as a table for a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bench.measure import FLOOR, OURS, Measured
from bootsmith.formats.human_bytes import human_bytes


def table(results: Sequence[Measured]) -> Iterator[str]:
    """A block a row: each candidate with time, spread, ratio to the floor, memory, bytes."""
    for measured in results:
        row = measured.row
        yield f"{row.name}  ({row.about})"
        floor = next((one.name for one in row.candidates if one.role == FLOOR), None)
        for candidate in row.candidates:
            if candidate.name in measured.troubles:
                yield f"  {candidate.name:<34} not measured: {measured.troubles[candidate.name]}"
                continue
            yield f"  {candidate.name:<34} {_figures(measured, candidate.name, floor)}"
        if row.bar_text:
            yield f"  bar: {row.bar_text}{_verdict(measured, floor)}"
        yield ""


def _figures(measured: Measured, name: str, floor: str | None) -> str:
    runs = measured.samples[name]
    walls = sorted(run.wall_seconds for run in runs)
    ratio = ""
    if floor in measured.samples and floor != name:
        ratios = sorted(measured.ratios(name, floor or ""))
        ratio = f"{statistics.median(ratios):6.2f}x ({ratios[0]:.2f}-{ratios[-1]:.2f})"
    size = next((run.result_bytes for run in runs if run.result_bytes is not None), None)
    peak = max(run.peak_bytes for run in runs)
    return (
        f"{seconds(statistics.median(walls)):>9} ({seconds(walls[0])}-{seconds(walls[-1])})"
        f"  {ratio:<22} {human_bytes(peak):>9} peak"
        + (f"  {human_bytes(size)}" if size is not None else "")
    )


def _verdict(measured: Measured, floor: str | None) -> str:
    ours = next((one.name for one in measured.row.candidates if one.role == OURS), None)
    if measured.row.bar is None or ours not in measured.samples or floor not in measured.samples:
        return ""
    ratio = statistics.median(measured.ratios(ours or "", floor or ""))
    return f": {'met' if ratio <= measured.row.bar else 'MISSED'} with {ratio:.2f}"


def seconds(value: float) -> str:
    """In the unit that fits."""
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.1f} ms" if value >= 1e-3 else f"{value * 1e6:.0f} µs"
