"""The results as a page with plots, and the plots for `doit report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bench.measure import Measured
from bench.record import ratio_of
from bench.table import seconds, table
from bootsmith.files.atomic import write_file
from bootsmith.formats.plots import bars_svg
from bootsmith.pages.look import page


def write_page(directory: Path, results: Sequence[Measured], described: Mapping[str, Any]) -> None:
    """`index.html`, and `plots.svg` with every ratio to its floor."""
    ratios = {one.row.name: ratio for one in results if (ratio := ratio_of(one)) is not None}
    summary = bars_svg(
        {name: round(ratio, 2) for name, ratio in ratios.items()},
        title="Time as a multiple of the floor of the same job",
        identifier="bench-title",
        said=lambda ratio: f"{ratio:g}x",
    )
    write_file(directory / "plots.svg", summary.encode())
    rows = [
        {
            "name": one.row.name,
            "about": one.row.about,
            "text": "\n".join(list(table([one]))[1:-1]),
            "plot": Markup(  # noqa: S704 - plots.py escapes
                bars_svg(
                    {
                        candidate.name: median
                        for candidate in one.row.candidates
                        if (median := one.median(candidate.name)) is not None
                    },
                    title=f"{one.row.name}, median time",
                    identifier=f"bench-{number}",
                    said=seconds,
                )
            ),
        }
        for number, one in enumerate(results)
    ]
    values = {"machine": described["words"], "summary": Markup(summary), "rows": rows}  # noqa: S704
    write_file(directory / "index.html", page("bench.html", values).encode())
