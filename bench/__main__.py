"""`make bench`: measure, print the table, keep the figures, draw the page."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path

from bench.measure import Measured, measure_row
from bench.page import write_page
from bench.record import keep, machine, worse_than_before
from bench.rows import apkovl, iso, modloop, nothing, pxerd, usbkey
from bench.site import BuiltSite
from bench.table import table

_ROWS = {
    "pxerd": pxerd, "modloop": modloop, "iso": iso, "apkovl": apkovl, "usbkey": usbkey,
    "nothing": nothing,
}  # fmt: skip


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"of {', '.join(_ROWS)}; default all"
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each candidate (default 5)")
    parser.add_argument("--scratch", type=Path, help="a directory on the disk to measure on")
    parser.add_argument("--keep", type=Path, help="where figures go (default artifacts/bench)")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {given.rounds}")
    unknown = [name for name in given.rows if name not in _ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(_ROWS)}")
    root = Path(__file__).resolve().parents[1]
    site = BuiltSite(root)
    if not site.layout.current_manifest.exists():
        parser.error("nothing is built here yet; next: make build")
    results: list[Measured] = []
    parent = given.scratch or site.layout.artifacts
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as scratch:
        for name in given.rows or _ROWS:
            for row in _ROWS[name].rows(site):
                sys.stderr.write(f"measuring {row.name}\n")
                results.append(measure_row(row, rounds=given.rounds, scratch=Path(scratch)))
    described = machine()
    say(f"{platform.node() or 'this machine'}: {described['words']}\n")
    for line in table(results):
        say(line)
    directory = given.keep or site.layout.artifacts / "bench"
    for line in worse_than_before(directory, results):
        say(line)
    record = keep(directory, results, described)
    write_page(directory, results, described)
    say(f"\n{record}\n{directory / 'index.html'}")
    return 0


def say(line: str) -> None:
    """A line of the answer."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
