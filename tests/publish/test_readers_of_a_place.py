"""Who reads through a place's `current` while it moves sees one generation or the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import reading
from publish_samples import listing
from serving import serving_http, serving_nfs

from bootsmith.publish.place import Place
from bootsmith.tools.ganesha import why_not_exportable

FIRST, SECOND = "2026-11-20.1", "2026-11-20.2"
MOVES = 60


@pytest.fixture
def place(site):
    """A place that has two generations, and serves the second."""
    site.targets('[publish.head]\ndirectory = "served"\n')
    for identifier, mark in ((FIRST, b"one"), (SECOND, b"two")):
        site.make(identifier, mark)
        site.publish()
    return Place(name="head", directory=str(site.root / "served"), keep=5)


@pytest.fixture
def server(request, tmp_path):
    """What serves a directory: a context manager that gives its URL."""
    (tmp_path / "scratch").mkdir()
    if request.param == "nginx":
        return serving_http
    reason = why_not_exportable(tmp_path)
    if reason:
        pytest.skip(reason)
    return serving_nfs


@pytest.mark.parametrize("server", ["nginx", "nfs-ganesha"], indirect=True)
def test_no_reader_sees_neither(place, server, tmp_path):
    served = Path(place.directory)
    known = {
        identifier: set(listing(served / "generations" / identifier).values())
        for identifier in (FIRST, SECOND)
    }
    with server(served, tmp_path / "scratch") as url:
        reader = subprocess.Popen(
            [sys.executable, reading.__file__, "holder", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for move in range(MOVES):
            place.flip((FIRST, SECOND)[move % 2])
            time.sleep(0.01)
        rounds, _ = reader.communicate()
    said = [json.loads(line) for line in rounds.splitlines()]
    assert [one for one in said if "error" in one] == []
    assert {one["generation"] for one in said} == {FIRST, SECOND}
    held = [one["held"][1] for one in said if one["held"]]
    assert held
    assert set(held) <= known[FIRST] | known[SECOND]
    assert os.readlink(served / "current") == f"generations/{SECOND}"
