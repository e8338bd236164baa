"""Programs that are measured against, in a line each; what is missing says so."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(words: Sequence[str | Path], *, cwd: Path | None = None, **environment: str) -> None:
    """Run it; RuntimeError with its last line if it fails or is not there."""
    program = shutil.which(str(words[0]), path=PATH)
    if program is None:
        raise RuntimeError(f"{words[0]} is not installed here")
    done = subprocess.run(
        [program, *map(str, words[1:])],
        cwd=cwd,
        env={"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines() or ["no word"]
        raise RuntimeError(f"{words[0]}: status {done.returncode}: {lines[-1]}")


def needs_root(what: str) -> None:
    """RuntimeError unless we are root."""
    if os.geteuid():
        raise RuntimeError(f"{what} needs root")
