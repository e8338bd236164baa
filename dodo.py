"""This site as doit tasks. No logic here: see docs/architecture.md."""

from pathlib import Path

from bootsmith.doit_bridge import doit_config, site_tasks

ROOT = Path(__file__).resolve().parent
DOIT_CONFIG = doit_config(ROOT)


def task_site():
    """Everything that recipes/ and overlays/ ask for."""
    yield from site_tasks(ROOT)
