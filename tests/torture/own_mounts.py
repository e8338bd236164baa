"""A small disk and a read-only one, seen by the runs under test and by nobody else.

A process holds a mount namespace of its own; runs enter it, and tests look into it through
/proc/<holder>/root. As a user, a user namespace goes with it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class OwnMounts:
    """A mount namespace; `before` goes before the argv of whatever runs in it."""

    def __init__(self, process_id: int) -> None:
        self.before = ["nsenter", "--target", str(process_id), "--mount"]
        if os.geteuid() != 0:
            self.before += ["--user", "--preserve-credentials"]
        self._root = Path(f"/proc/{process_id}/root")

    def seen(self, path: Path) -> Path:
        """Where we find `path` of the namespace."""
        return Path(f"{self._root}{path}")

    def run(self, *argv: str | Path) -> None:
        """Run a program in it, such as mount(8)."""
        subprocess.run(["env", *self.before, *argv], check=True)


@contextmanager
def own_mounts() -> Iterator[OwnMounts]:
    """A fresh mount namespace; skips the test where this machine allows none."""
    words = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    holder = subprocess.Popen(
        ["unshare", *words, "sh", "-c", "mount --make-rprivate / && echo ready && exec sleep 3600"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if holder.stdout.readline() != "ready\n":
            pytest.skip("needs a mount namespace, and this machine allows none")
        yield OwnMounts(holder.pid)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
