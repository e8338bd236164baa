"""ISO: its whole tree on the disk, beside copying that tree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.measure import FLOOR, OURS, PEER, Candidate, Row
from bench.programs import run
from bench.site import BuiltSite
from bootsmith.builders.iso import build_iso_tree


def rows(site: BuiltSite) -> Iterator[Row]:
    """Of each release."""
    for name in site.site.releases:
        iso, facts = site.input(f"iso:{name}", "iso"), site.input(f"iso:{name}", "facts")

        def tree(place: Path, *, iso: Path = iso, facts: Path = facts) -> None:
            build_iso_tree(
                iso=iso, facts=facts, output=place / "tree", manifest=place / "manifest.json"
            )

        yield Row(
            name=f"ISO {name} to a tree",
            about=f"{iso.stat().st_size / 1e6:.0f} MB",
            candidates=(
                Candidate(name="bootsmith", role=OURS, run=tree),
                Candidate(
                    name="cp -a of the tree",
                    role=FLOOR,
                    prepare=tree,
                    run=lambda place: run(["cp", "-a", place / "tree", place / "copy"]),
                ),
                Candidate(
                    name="bsdtar",
                    role=PEER,
                    prepare=lambda place: (place / "tree").mkdir(),
                    run=lambda place, iso=iso: run(["bsdtar", "-xf", iso, "-C", place / "tree"]),
                ),
                Candidate(
                    name="xorriso",
                    role=PEER,
                    run=lambda place, iso=iso: run(
                        [
                            "xorriso",
                            "-osirrox",
                            "on",
                            "-indev",
                            iso,
                            "-extract",
                            "/",
                            place / "tree",
                        ]
                    ),
                ),
            ),
            bar=1.25,
            bar_text="≤ 1.25 x cp -a",
        )
