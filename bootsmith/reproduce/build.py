"""One build of a copied site, under its conditions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bootsmith.errors import BuildError
from bootsmith.reproduce.conditions import LAUNCH, Conditions
from bootsmith.tools.run import running_program

_POLL_SECONDS = 0.2
_SHOWN_LINES = 12


def run_build(
    conditions: Conditions,
    names: Sequence[str],
    log: Path,
    said: Callable[[str], None],
) -> float:
    """Run doit for `names`; return the seconds it took. BuildError with the end of its log.

    `said` gets doit's newest line whenever there is one.
    """
    started = time.monotonic()
    with running_program(
        [
            "sh",
            "-c",
            LAUNCH,
            *conditions.start,
            "-m",
            "doit",
            "run",
            *conditions.jobs,
            *names,
        ],
        cwd=conditions.root,
        log=log,
        environment=conditions.environment,
    ) as process:
        while process.poll() is None:
            said(_last_line(log))
            time.sleep(_POLL_SECONDS)
    if process.returncode != 0:
        end = log.read_text("utf-8", "replace").splitlines()[-_SHOWN_LINES:]
        raise BuildError(
            f"build {conditions.number}",
            "failed\n" + "\n".join(f"    {line}" for line in end),
            hint=f"everything it said is in {log}; does doit build work?",
        )
    return time.monotonic() - started


def _last_line(log: Path) -> str:
    with log.open("rb") as source:
        source.seek(max(0, log.stat().st_size - 400))
        lines = source.read().decode("utf-8", "replace").splitlines()
    return lines[-1] if lines else ""
