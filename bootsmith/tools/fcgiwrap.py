"""fcgiwrap: programs behind a web server, for as long as they are needed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootsmith.errors import ToolFailed
from bootsmith.tools.listening import last_words
from bootsmith.tools.run import RunningProgram, find_program, running_program
from bootsmith.tools.unshare import Place, own_places

_PROGRAM = "fcgiwrap"
USER = "www-data"
"""Of the web server and of fcgiwrap, in Debian's packages; its group has the same name."""
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.02


@contextmanager
def running_fcgiwrap(
    socket: Path, *, places: Sequence[Place], log: Path, inside: Sequence[str], needed_by: str
) -> Iterator[None]:
    """fcgiwrap at `socket`, which lies in the places that `inside` leads to.

    It becomes the user that Debian's does, and the programs that it starts see `places` besides.
    What they write to standard error goes to the web server. ToolMissing, or ToolFailed.
    """
    wrapper = find_program(_PROGRAM, needed_by=needed_by)
    # What systemd does on a head node: the socket is made by root, for the web server's user.
    argv: list[str | Path] = [
        "spawn-fcgi",
        "-n",
        "-s",
        socket,
        "-M",
        "0660",
        "-U",
        USER,
        "-G",
        USER,
    ]
    argv += ["-u", USER, "-g", USER, "--", wrapper, "-f"]
    words = (*inside, *own_places(places))
    with running_program(argv, log=log, inside=words, needed_by=needed_by) as process:
        _wait_for(process, socket, log)
        yield


def _wait_for(process: RunningProgram, socket: Path, log: Path) -> None:
    """Asked of the kernel's list: the file alone may be another's, of long ago."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if f" {socket}\n" in Path(f"/proc/{process.pid}/net/unix").read_text("utf-8", "replace"):
            return
        time.sleep(_POLL_SECONDS)
    raise ToolFailed(_PROGRAM, f"did not come up at {socket}{last_words(log)}", hint=f"read {log}")
