"""tools/apt: what is said where apt fails. What it does when it does not: builders/test_standin."""

from __future__ import annotations

import re

import pytest

from bootsmith.errors import PublishError, SourceError
from bootsmith.tools import apt, run


@pytest.fixture
def apt_says(tmp_path, monkeypatch):
    """An `apt-get` that fails, as it does, and says what the test wants."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setattr(run, "PROGRAM_PATH", f"{programs}:{run.PROGRAM_PATH}")
    state, directory = tmp_path / "state", tmp_path / "packages"
    (state / "log").mkdir(parents=True)
    directory.mkdir()

    def install(said: str):
        program = programs / "apt-get"
        program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 100\n")
        program.chmod(0o755)
        return state, directory

    return install


@pytest.mark.parametrize(
    "said,problem",
    [
        ("Write error - write (28: No space left on device)", "no space left on the disk"),
        ("Write error - write (122: Disk quota exceeded)", "this user's disk quota is used up"),
    ],
)
def test_a_full_disk_is_not_the_mirrors_fault(apt_says, said, problem):
    state, directory = apt_says(f"E: Failed to fetch http://mirror/a.deb  {said}")
    with pytest.raises(PublishError) as failure:
        apt.download_packages(state, ["a=1"], directory)
    assert re.fullmatch(
        rf"{directory}: {problem}; got \d+ MB free below {directory}\n"
        r"  next: free some room, then run doit again: what was finished stays finished",
        str(failure.value),
    )
    with pytest.raises(PublishError, match=problem):
        apt.update_lists(state)


def test_a_mirror_that_is_not_there(apt_says):
    state, directory = apt_says("E: Could not connect to mirror")
    with pytest.raises(SourceError) as failure:
        apt.download_packages(state, ["a=1"], directory)
    assert str(failure.value) == (
        "apt-get download: could not download all packages:\n"
        "    E: Could not connect to mirror\n"
        "  next: see that this machine reaches its Debian mirror: apt-get update"
    )
    apt.update_lists(state)  # the lists that stand may do
