"""What tests do with generations over and over."""

from __future__ import annotations

from pathlib import Path

from bootsmith.generations.promote import promote_latest


def promote(artifacts: Path, *, gate="checks", scenarios=(), evidence: Path | None = None) -> None:
    """Make the newest generation below `artifacts` current, as the step does."""
    promote_latest(
        latest=artifacts / "generations/latest/MANIFEST.json",
        artifacts=artifacts,
        gate=gate,
        scenarios=scenarios,
        evidence=evidence or artifacts / "evidence",
        output=artifacts / "build/promotion.json",
    )
