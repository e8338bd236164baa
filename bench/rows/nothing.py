"""A build with nothing to do: the shipped site from the shell, and 30,000 inputs beside ninja."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.measure import FLOOR, OURS, PEER, Candidate, Row
from bench.programs import run
from bench.site import BuiltSite

_FILES, _STEPS = 30_000, 300
_DODO = """
from pathlib import Path
from bootsmith.doit_bridge import doit_config, step_tasks
from bootsmith.graph.layout import Layout
from bootsmith.graph.step import Group, Output, Step, Tree

ROOT = Path(__file__).resolve().parent
DOIT_CONFIG = doit_config(ROOT)


def task_all():
    steps = [
        Step(
            kind="sum", name=f"n{number}", summary="", builder="bench.rows.nothing:add_up",
            arguments={
                "tree": Tree(ROOT / f"in/{number}"),
                "output": Output(ROOT / f"artifacts/build/sum/{number}"),
            },
        )
        for number in range(%d)
    ]
    group = Group(name="build", summary="", members=tuple(step.label for step in steps))
    yield from step_tasks(Layout(ROOT), steps, [group])
"""


def add_up(*, tree: Path, output: Path) -> None:
    """The builder of the large graph: reads every file of a directory."""
    output.parent.mkdir(parents=True, exist_ok=True)
    size = sum((tree / name).stat().st_size for name in os.listdir(tree))
    output.write_text(f"{size}\n")


def rows(site: BuiltSite) -> Iterator[Row]:
    """Both."""
    front = [sys.executable, "-c", "from bootsmith.front import main; import sys; sys.exit(main())"]
    doit = site.root / ".venv/bin/doit"
    shell: Sequence[str | Path] = [doit] if doit.exists() else front

    def settled(_: Path) -> None:
        _quiet(shell, site.root)  # in the very environment: what it knows holds for no other

    yield Row(
        name="no-op doit build, shipped site, from the shell",
        about=f"{len(site.steps)} steps",
        candidates=(
            Candidate(
                name="bootsmith",
                role=OURS,
                prepare=settled,
                run=lambda _: _quiet(shell, site.root),
            ),
            Candidate(
                name="looking for itself",
                role=PEER,
                prepare=settled,
                run=lambda _: _quiet([sys.executable, "-m", "doit"], site.root),
            ),
        ),
        bar_text="≤ 80 ms",
    )
    with tempfile.TemporaryDirectory(prefix="bench-large-") as directory:
        _lay_large(Path(directory))
        yield _of_30_000(Path(directory), front)


def _of_30_000(large: Path, front: Sequence[str]) -> Row:
    return Row(
        name="no-op build, 30,000 inputs",
        about=f"{_STEPS} steps of {_FILES // _STEPS} files each",
        candidates=(
            Candidate(name="bootsmith", role=OURS, run=lambda _: _quiet(front, large)),
            Candidate(
                name="looking for itself",
                role=PEER,
                run=lambda _: _quiet([sys.executable, "-m", "doit"], large),
            ),
            Candidate(name="ninja", role=FLOOR, run=lambda _: run(["ninja"], cwd=large)),
        ),
        bar=2.0,
        bar_text="≤ 2 x ninja",
    )


def _quiet(words: Sequence[str | Path], where: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        list(map(str, words)), cwd=where, env=environment, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1])


def _lay_large(root: Path) -> None:
    lines = ["rule sum", "  command = cat $in | wc -c > $out"]
    for number in range(_STEPS):
        directory = root / f"in/{number}"
        directory.mkdir(parents=True)
        names = [f"in/{number}/{name}" for name in range(_FILES // _STEPS)]
        for name in names:
            (root / name).write_text(name)
        lines.append(f"build out/{number}: sum {' '.join(names)}")
    (root / "build.ninja").write_text("\n".join(lines) + "\n")
    (root / "dodo.py").write_text(_DODO % _STEPS)
    for part in ("recipes", "overlays"):
        (root / part).mkdir()
    time.sleep(2.5)  # what changed within two seconds is looked at again
    front = [sys.executable, "-c", "from bootsmith.front import main; import sys; sys.exit(main())"]
    _quiet(front, root)
    time.sleep(2.5)
    _quiet(front, root)
    _quiet(front, root)
    try:
        run(["ninja"], cwd=root)
    except RuntimeError:
        pass  # its row says that it is missing
