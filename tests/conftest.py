"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a test never asserts on time. The same examples each run: a build that is
# reproducible deserves tests that are.
settings.register_profile("bootsmith", deadline=None, derandomize=True)
settings.load_profile("bootsmith")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of this checkout."""
    return Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Boots first: they take minutes, and the rest fills whatever processor is left."""
    items.sort(key=lambda item: item.get_closest_marker("boot") is None)
