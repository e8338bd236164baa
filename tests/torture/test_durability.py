"""What a power cut may find: nothing leads to a generation before all of it is on the disk.

The events of an undisturbed run are read in their order. A name is safe when its directory
was flushed after it appeared there, content when its file was flushed after it was written;
a file system may do the rest in any order it likes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest
from torture import SCENARIOS

from bootsmith.files.manifest import read_manifest


@dataclass
class Disk:
    """What would be lost by a power cut now."""

    known: set[str]
    """Names that were there before."""
    lost_names: set[str] = field(default_factory=set)
    unwritten: set[str] = field(default_factory=set)
    """Names of files whose content is not flushed."""

    def see(self, line: str) -> None:
        event, *words = line.split("\t")
        {
            "create": self._create,
            "open": self._write,
            "os.truncate": self._write,
            "os.mkdir": self._appear,
            "os.symlink": self._appear,
            "os.link": self._link,
            "os.rename": self._rename,
            "fsync": self._flush,
            "syncfs": self._flush_all,
        }.get(event, self._pass)(*words)

    def _pass(self, *words: str) -> None:
        """What a power cut undoes without harm: removals, and what is not of files."""

    def _appear(self, name: str) -> None:
        if name not in self.known:
            self.known.add(name)
            self.lost_names.add(name)

    def _write(self, name: str) -> None:
        self.unwritten.add(name)

    def _create(self, name: str) -> None:
        self._appear(name)
        self._write(name)

    def _link(self, source: str, target: str) -> None:
        self._appear(target)
        if source in self.unwritten:
            self._write(target)

    def _rename(self, source: str, target: str) -> None:
        for names in (self.known, self.lost_names, self.unwritten):
            moved = {name for name in names if name == source or name.startswith(f"{source}/")}
            names.difference_update(moved)
            names.update(target + name.removeprefix(source) for name in moved)
        self.known.add(target)
        self.lost_names.add(target)

    def _flush(self, name: str) -> None:
        self.unwritten.discard(name)
        self.lost_names = {lost for lost in self.lost_names if os.path.dirname(lost) != name}

    def _flush_all(self, *words: str) -> None:
        self.unwritten.clear()
        self.lost_names.clear()

    def missing(self, name: str, top: str) -> list[str]:
        """What of the way from `top` to the content of `name` would be lost."""
        lost = [f"content of {name}"] if name in self.unwritten else []
        while name != top:
            lost += [f"name {name}"] if name in self.lost_names else []
            name = os.path.dirname(name)
        return lost


def test_a_manifest_does_not_tell_how_often_was_built(scenarios):
    steps = [
        read_manifest(scenarios[name].undisturbed / "artifacts/current").steps.keys()
        for name in SCENARIOS
    ]
    assert steps[0] == steps[1] == set(scenarios["cold"].steps) - {"generation", "promote"}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("link", ["current", "candidate", "generations/latest"])
def test_all_is_on_the_disk_before_a_link_leads_there(scenarios, name, link):
    scenario = scenarios[name]
    root = scenario.undisturbed
    artifacts = f"{root}/artifacts"
    disk = Disk({str(path) for path in scenario.start_names(root)})
    for line in scenario.events:
        if line.startswith("os.rename") and line.endswith(f"\t{artifacts}/{link}"):
            break
        disk.see(line)
    else:
        pytest.fail(f"{link} was never moved")
    (newest,) = (
        path
        for path in (root / "artifacts/generations").iterdir()
        if path.name == os.readlink(root / "artifacts/generations/latest")
    )
    files = [str(path) for path in newest.rglob("*") if path.is_file() or path.is_symlink()]
    assert len(files) > 5
    assert any("/netboot/" in name for name in files)
    lost = [what for file in files for what in disk.missing(file, artifacts)]
    if link == "current":
        through = [path for path in (root / "artifacts").glob("*/*/current") if path.is_symlink()]
        assert through
        lost += [what for path in through for what in disk.missing(str(path), artifacts)]
    assert not lost, "\n".join(sorted(set(lost)))
