"""The snapshot that lets the next `doit build` see at a glance that nothing changed.

It names more than what decides: all of recipes/, overlays/ and the package, whether or not a
step reads it. Naming too much costs one slower run; naming too little would be a stale build.
`front.py` reads it.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bootsmith.files.atomic import write_file
from bootsmith.front import SNAPSHOT, VERSION, context, identity
from bootsmith.graph.code import package_directory
from bootsmith.graph.layout import Layout
from bootsmith.graph.step import Step

_SOURCES = ("dodo.py", "recipes", "overlays")
# What the closing line tells of, below artifacts/.
_TOLD = (
    "current", "candidate", "generations", "generations/latest", "history.jsonl",
    "published.json",
)  # fmt: skip
# As files.digest: a second change within a clock's tick would look like none.
_UNSETTLED_NS = 2_000_000_000


def write_snapshot(
    layout: Layout, steps: Sequence[Step], closing: str, *, looked_epoch_ns: int
) -> None:
    """Note that all of `steps` are done; `closing` is said while that holds.

    `looked_epoch_ns` is when this run began to look at them. Where something changed since, or
    so shortly before that another change might not show, nothing is noted, and the next run
    looks for itself.
    """
    if Path.cwd() != layout.root:
        return
    noted = _noted(sorted(set(_paths(layout, steps))))
    found = (*noted["files"], *noted["link_ends"])
    newest = max((ctime_ns for _, ctime_ns, *_ in found), default=0)
    if looked_epoch_ns - newest <= _UNSETTLED_NS:
        return
    content = {
        "version": VERSION,
        "context": context(),
        **noted,
        "state": os.stat(layout.state).st_ino,
        "closing": closing,
    }
    write_file(layout.root / SNAPSHOT, marshal.dumps(content), durable=False)


def _noted(paths: Iterable[str]) -> dict[str, list[Any]]:
    """What front.py compares: names that are there, what links lead to, names that are not."""
    noted: dict[str, list[Any]] = {"files": [], "link_ends": [], "absent": [], "dangling": []}
    for path in paths:
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            noted["absent"].append(path)
            continue
        noted["files"].append((path, *identity(found)))
        if stat.S_ISLNK(found.st_mode):
            try:
                noted["link_ends"].append((path, *identity(os.stat(path))))
            except OSError:
                noted["dangling"].append(path)
    return noted


def _paths(layout: Layout, steps: Sequence[Step]) -> Iterator[str]:
    for name in _SOURCES:
        yield from _everything_below(str(layout.root / name))
    yield from _machine_paths(steps)
    for step in steps:
        for path in (*step.inputs, *step.outputs):
            yield str(path)
        for tree in step.trees:
            yield from _everything_below(str(tree))
        for witness in step.witnesses:
            yield str(witness.path)
            yield from (str(path) for path in (witness.like, witness.where) if path)
    for name in _TOLD:
        yield str(layout.artifacts / name)


def _machine_paths(steps: Iterable[Step]) -> Iterator[str]:
    """The package, its libraries, the interpreter, and the programs that steps run."""
    from bootsmith.tools.catalog import files_of_program  # read only where a snapshot is made

    yield from _everything_below(str(package_directory()))
    yield from (entry for entry in sys.path if entry.endswith("-packages"))
    lzma = find_spec("_lzma")
    programs = {os.path.realpath(sys.executable), *([lzma.origin] if lzma and lzma.origin else [])}
    programs.update(name for step in steps for name in (*step.tools, *step.machine_files))
    for program in sorted(programs):
        yield from files_of_program(program)


def _everything_below(top: str) -> Iterator[str]:
    yield top
    for parent, directories, files in os.walk(top):
        directories[:] = [name for name in directories if name != "__pycache__"]
        for name in (*directories, *files):
            yield f"{parent}/{name}"
