"""What was delivered where: artifacts/published.json, as `doit publish` left it.

A word to people and programs: it is written after a target's `current` has moved, so the target
itself knows better where somebody else moves it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bootsmith.files.atomic import write_file

RECORD_NAME = "published.json"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Published:
    """One target."""

    place: str
    """Where it is: a directory, or `user@host:/directory`."""
    current: str
    """The generation that it serves."""
    before: str | None
    """The one that it served before."""
    at_epoch: int


def read_published(artifacts: Path) -> dict[str, Published]:
    """By target; nothing where there is no record, or none that can be read."""
    try:
        value = json.loads((artifacts / RECORD_NAME).read_bytes())
        if value["schema"] != SCHEMA:
            return {}
        return {name: Published(**words) for name, words in value["targets"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_published(artifacts: Path, targets: Mapping[str, Published]) -> None:
    """Replace the record."""
    value = {
        "schema": SCHEMA,
        "targets": {name: asdict(targets[name]) for name in sorted(targets)},
    }
    content = json.dumps(value, indent=1, sort_keys=True) + "\n"
    write_file(artifacts / RECORD_NAME, content.encode())
