"""What tests of guest files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootsmith.tools.run import run_program


@pytest.fixture(scope="session")
def applets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PATH with nothing but busybox's programs."""
    directory = tmp_path_factory.mktemp("applets")
    run_program(["busybox", "--install", "-s", directory])
    return directory
