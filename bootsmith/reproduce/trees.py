"""The copies of the site that are built, and what they get so as to download nothing twice.

A copy is made from the steps' own declarations: recipes, overlays and whatever else below
the root some step reads and no step makes. Modes are kept, for they decide bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from bootsmith.errors import BuildError
from bootsmith.files.store import clone_file

_MARK = "made by doit reproduce; removed by its next run\n"
_MARK_NAME = ".reproduce"
_PACKAGE = Path(__file__).resolve().parents[1]
_SITE = ("recipes", "overlays", "dodo.py")
# What was downloaded: checked against digests by whoever uses it, so sharing it hides nothing.
_DOWNLOADS = ("cache/packages", "cache/apt")
_DOWNLOADERS = frozenset({"bootsmith.builders.iso:fetch_iso"})


class BuildStep(Protocol):
    """What is asked of a step (graph.step.Step)."""

    builder: str
    by_request: bool

    @property
    def label(self) -> str:
        """Its name."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files that it reads."""

    @property
    def trees(self) -> tuple[Path, ...]:
        """Directories that it reads."""

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Files that it makes."""


def sources_of(steps: Sequence[BuildStep]) -> list[Path]:
    """Files and directories that steps read and no step makes; those of the package apart."""
    made = {path for step in steps if not step.by_request for path in step.outputs}
    read = {path for step in steps for path in (*step.inputs, *step.trees)}
    return sorted(path for path in read - made if not path.is_relative_to(_PACKAGE))


def copy_site(root: Path, target: Path, steps: Sequence[BuildStep]) -> None:
    """Make `target` a site like the one at `root`, with nothing built."""
    wanted = [root / name for name in _SITE]
    wanted += [path for path in sources_of(steps) if path.is_relative_to(root)]
    target.mkdir(parents=True)
    for source in wanted:
        place = target / source.relative_to(root)
        if source.is_dir() and not place.exists():
            _copy_tree(source, place)
        elif source.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy_file(source, place)
    (target / "artifacts").mkdir(exist_ok=True)


def downloads_of(steps: Sequence[BuildStep], artifacts: Path) -> list[str]:
    """Names below `artifacts` of everything that was downloaded."""
    names = list(_DOWNLOADS)
    for step in steps:
        if step.builder in _DOWNLOADERS:
            names += [path.relative_to(artifacts).as_posix() for path in step.outputs]
    return names


def seed(names: Sequence[str], *, source: Path, target: Path) -> None:
    """Copy what there is of `names` from the artifacts `source` to the artifacts `target`."""
    for name in names:
        if (source / name).is_dir():
            _copy_tree(source / name, target / name)
        elif (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            _copy_file(source / name, target / name)


def _copy_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        place = target / entry.name
        if entry.is_symlink():
            place.symlink_to(os.readlink(entry.path))
        elif entry.is_dir():
            _copy_tree(Path(entry.path), place)
        elif entry.is_file():
            _copy_file(Path(entry.path), place)
    # Last: it may say that nobody writes here.
    shutil.copystat(source, target)


def _copy_file(source: Path, target: Path) -> None:
    target.touch()
    clone_file(source, target)
    shutil.copystat(source, target)


def give_to(directory: Path, user: int) -> None:
    """Make `user` the owner of `directory` and everything below it (and of its group)."""
    for path in _everything(directory):
        os.chown(path, user, user, follow_symlinks=False)


def set_times(directory: Path, epoch: int) -> None:
    """Let everything below `directory` look last changed at `epoch`."""
    for path in _everything(directory):
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _everything(directory: Path) -> Iterator[Path]:
    yield directory
    for parent, directories, files in os.walk(directory):
        yield from (Path(parent, name) for name in (*directories, *files))


def new_scratch(directory: Path) -> Path:
    """An empty `directory`; what an earlier run left there is removed first.

    Raises BuildError where something else lies there: it is not ours to remove.
    """
    if directory.exists():
        if not (directory / _MARK_NAME).is_file():
            raise BuildError(
                directory,
                "was not made by doit reproduce",
                expected="a directory that is not there yet",
                hint="give another one with --scratch, or remove it yourself",
            )
        remove_tree(directory)
    directory.mkdir(parents=True)
    (directory / _MARK_NAME).write_text(_MARK)
    return directory


def remove_tree(directory: Path) -> None:
    """Remove `directory`, though overlays may hold directories that nobody may write."""
    for parent, _, _ in os.walk(directory):
        os.chmod(parent, 0o700)
    shutil.rmtree(directory)


def put_aside(artifacts: Path, place: Path) -> None:
    """Move everything that was built to `place`; only the caches stay in `artifacts`."""
    os.rename(artifacts, place)
    artifacts.mkdir()
    if (place / "cache").is_dir():
        os.rename(place / "cache", artifacts / "cache")
