"""The site as doit tasks. No logic here: see docs/architecture.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bootsmith.doit_bridge import doit_config, site_tasks

ROOT = Path(__file__).resolve().parent
DOIT_CONFIG = doit_config(ROOT)


def task_site() -> Iterator[dict[str, Any]]:
    """Everything that recipes/ and overlays/ ask for."""
    yield from site_tasks(ROOT)
