"""fcgiwrap that cannot start says why. That it serves, tests/contrib shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootsmith.errors import ToolFailed
from bootsmith.tools.fcgiwrap import running_fcgiwrap
from bootsmith.tools.unshare import private_network


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")
def test_no_place_for_the_socket(tmp_path):
    log = tmp_path / "log"
    with (
        private_network(log=tmp_path / "network", needed_by="tests") as inside,
        pytest.raises(ToolFailed) as caught,
        running_fcgiwrap(
            Path("/run/none/socket"), places=(), log=log, inside=inside, needed_by="tests"
        ),
    ):
        pass
    assert str(caught.value) == (
        "fcgiwrap: did not come up at /run/none/socket\n"
        "    spawn-fcgi: bind failed: No such file or directory\n"
        f"  next: read {log}"
    )
