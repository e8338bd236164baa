"""What a run's closing line says: what machines boot here, and what targets serve meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from bootsmith.generations.history import current_id, describe_current
from bootsmith.generations.published import read_published


def describe_standing(artifacts: Path, targets: Collection[str] | None = None) -> str | None:
    """`describe_current`, and `describe_behind` behind it; None if there is nothing to say."""
    parts = (describe_current(artifacts), describe_behind(artifacts, targets))
    return "; ".join(part for part in parts if part) or None


def describe_behind(artifacts: Path, targets: Collection[str] | None) -> str | None:
    """Which of [publish] do not serve what is current; None where all do, or nothing is.

    `targets` are the names in the recipes; None where these cannot be read: all on record then.
    """
    now = current_id(artifacts)
    parts = list(_behind(artifacts, targets, now)) if now is not None else []
    return f"{', '.join(parts)} (next: doit publish)" if parts else None


def _behind(artifacts: Path, targets: Collection[str] | None, now: str | None) -> Iterator[str]:
    known = read_published(artifacts)
    wanted = sorted(known if targets is None else targets)
    others = {known[name].current for name in wanted if name in known} - {now}
    for identifier in sorted(others):
        names = [name for name in wanted if name in known and known[name].current == identifier]
        yield f"{_joined(names)} still serve{'s' * (len(names) == 1)} {identifier}"
    new = [name for name in wanted if name not in known]
    if new:
        yield f"nothing was delivered to {_joined(new)} yet"


def _joined(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
