"""A site to publish from."""

from __future__ import annotations

import pytest
from publish_samples import Publisher


@pytest.fixture
def site(tmp_path):
    """A site without generations."""
    return Publisher(tmp_path / "site")
