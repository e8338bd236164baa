"""The snapshot of a build that had nothing to do: it holds until anything that decides changes."""

from __future__ import annotations

import fcntl
import marshal
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mutation_rows import ALL, rows
from mutation_site import Disc, Original, write_site

from bootsmith import front
from bootsmith.graph import code
from bootsmith.graph.snapshot import write_snapshot

CLOSING = "0 built, 13 unchanged in {seconds} s"
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    copy = tmp_path_factory.mktemp("package") / "bootsmith"
    shutil.copytree(code._PACKAGE_DIRECTORY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "_PACKAGE_DIRECTORY", copy)
        yield copy


@pytest.fixture(scope="module")
def original(tmp_path_factory, package):
    directory = tmp_path_factory.mktemp("snapshot")
    (directory / "site").mkdir()
    site = write_site(directory / "site", Disc(directory / "disc"))
    assert site.run() == ALL
    return Original(site, directory)


@pytest.fixture
def site(original, monkeypatch):
    monkeypatch.chdir(original.site.root)
    note(original.site)
    yield original.site
    original.restore()


def note(site, *, looked_epoch_ns=None):
    later = time.time_ns() + 10**10  # as if all changes were long ago
    looked = later if looked_epoch_ns is None else looked_epoch_ns
    (site.root / front._LOCK).touch()
    write_snapshot(site.layout, site.steps(), CLOSING, looked_epoch_ns=looked)


# With a damaged state nothing is redone: what was built is as it was, and the next run that
# has something to look up says what is wrong.
STILL_BUILT = "published: the state damaged"
ROWS = [row for row in rows() if (row.redone or row.fails) and row.name != STILL_BUILT]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_nothing_that_would_be_redone_is_called_unchanged(site, row):
    assert front.closing_line_if_unchanged() == CLOSING
    row.change(site)
    if site.programs or site.python != "3.11.2 as tested":
        return  # an answer of the tests' machine: nothing on the disk changed
    assert front.closing_line_if_unchanged() is None


def test_a_change_during_the_run_leaves_no_snapshot(site):
    (site.root / front.SNAPSHOT).unlink()
    site.path("recipes/site.toml").touch()
    note(site, looked_epoch_ns=time.time_ns())
    assert not (site.root / front.SNAPSHOT).exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda site, patch: (site.root / "artifacts/state.sqlite3").unlink(),
        lambda site, patch: site.path("artifacts/current").unlink(),
        lambda site, patch: (site.root / "artifacts/candidate").symlink_to("generations/x"),
        lambda site, patch: (site.root / "artifacts/published.json").write_text("{}"),
        lambda site, patch: site.path(front.SNAPSHOT).write_bytes(b"cut"),
        lambda site, patch: site.path(front.SNAPSHOT).write_bytes(marshal.dumps({"version": 0})),
        lambda site, patch: site.path(front.SNAPSHOT).write_bytes(marshal.dumps([])),
        lambda site, patch: site.path("dodo.py").write_text(""),
        lambda site, patch: patch.setenv("PYTHONPATH", "/elsewhere"),
        lambda site, patch: patch.setattr(sys, "version", "4.0"),
        lambda site, patch: patch.chdir(site.root.parent),
        lambda site, patch: (code._PACKAGE_DIRECTORY / "new.py").write_text(""),
    ],
    ids=["state", "current", "candidate", "published", "cut", "version", "list", "dodo", "path",
         "python", "place", "package"],
)  # fmt: skip
def test_what_else_is_seen(site, monkeypatch, change):
    change(site, monkeypatch)
    try:
        assert front.closing_line_if_unchanged() is None
    finally:
        (code._PACKAGE_DIRECTORY / "new.py").unlink(missing_ok=True)


def test_while_another_run_is_at_work_nothing_is_said(site):
    with open(front._LOCK, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert front.closing_line_if_unchanged() is None
    assert front.closing_line_if_unchanged() == CLOSING


def test_the_command_answers_without_doit(site):
    words = "import sys; from bootsmith.front import main; sys.argv = ['doit', *sys.argv[1:]]; "
    words += "status = main(); print('doit' in sys.modules); sys.exit(status)"

    def asked(*arguments):
        return subprocess.run(
            [sys.executable, "-c", words, *arguments],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=False,
        )

    document = marshal.loads(site.path(front.SNAPSHOT).read_bytes())
    document["context"] = (document["context"][0], *front.context()[1:-1], str(CHECKOUT))
    site.path(front.SNAPSHOT).write_bytes(marshal.dumps(document))
    for arguments in ([], ["build"]):
        run = asked(*arguments)
        assert (run.returncode, run.stdout) == (0, "False\n")
        assert run.stderr.startswith("0 built, 13 unchanged in 0.")
    assert "unchanged" not in asked("list").stderr  # there is no dodo.py, which is said
    site.path("overlays/base/etc/new").write_text("")
    assert "unchanged" not in asked().stderr
