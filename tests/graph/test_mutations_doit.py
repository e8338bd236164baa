"""A few of the mutations through doit itself, and the same bytes however many work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mutation_rows import ALL, ALPHA, BASE, append, remove
from mutation_site import Disc, write_site

from bootsmith.files.digest import is_settled, sha256_of

DODO = """
from pathlib import Path
from bootsmith.doit_bridge import doit_config, site_tasks
ROOT = Path(__file__).resolve().parent
DOIT_CONFIG = doit_config(ROOT)
def task_site():
    yield from site_tasks(ROOT)
"""
SERIAL, PROCESSES, THREADS = (), ("-n", "2"), ("-n", "2", "-P", "thread")


@pytest.fixture(scope="module")
def disc(tmp_path_factory):
    return Disc(tmp_path_factory.mktemp("disc"))


@pytest.fixture(scope="module")
def site(tmp_path_factory, disc):
    return make_site(tmp_path_factory.mktemp("doit"), disc)


def make_site(root, disc):
    (root / "dodo.py").write_text(DODO)
    return write_site(root, disc)


def build(site, *words):
    """Labels of the steps that a run of doit did."""
    run = subprocess.run(
        [sys.executable, "-m", "doit", "run", *words, "build"],
        cwd=site.root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    return {line.split()[1] for line in run.stderr.splitlines() if line.startswith("built")}


def bytes_of(site):
    """Digests of all that was built; manifests name the moment they were made."""
    built = site.layout.build
    return {
        str(path.relative_to(built)): sha256_of(path)
        for path in sorted(built.rglob("*"))
        if path.is_file()
    }


def settle(directory: Path):
    """Wait until digests of all that is there may be remembered."""
    newest = max((path.lstat() for path in directory.rglob("*")), key=lambda found: found.st_ctime)
    while not is_settled(newest):
        time.sleep(0.05)


@pytest.mark.parametrize("words", [PROCESSES, THREADS], ids=["processes", "threads"])
def test_two_workers_make_the_bytes_of_one(site, disc, tmp_path, words):
    build(site)
    other = make_site(tmp_path, disc)
    assert build(other, *words) == ALL
    assert bytes_of(other) == bytes_of(site)
    settle(other.layout.build)
    assert build(other, *words) == set()
    append("overlays/base/etc/motd", "!")(other)
    # Remembered by the thread that asks while another does the step: each saves its own only.
    settle(other.root / "overlays")
    assert build(other, *words) == BASE
    assert build(other) == set()


@pytest.mark.parametrize(
    "change,expected",
    [
        (append("overlays/alpha/etc/issue", "!"), ALPHA),
        (remove("artifacts/build/usbkey/beta/beta.img"), {"usbkey:beta"}),
        (remove("artifacts/kernel/tiny-virt/current"), {"promote"}),
        (remove("artifacts/state.sqlite3"), ALL),
    ],
    ids=["source", "target", "link", "state"],
)
def test_doit_redoes_exactly_what_it_must(site, change, expected):
    build(site)
    change(site)
    assert build(site) == expected
    assert build(site) == set()
