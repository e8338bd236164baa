"""rsync: a tree made equal to another one, over ssh, sending what is not there yet.

Symbolic links stay links with their text, files that are one stay one, owners are those of
whoever logs in, and modes are those of what is published: readable by all, written by none.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bootsmith.errors import BootsmithError, ToolFailed
from bootsmith.tools.run import RunningProgram, running_program
from bootsmith.tools.ssh import CONNECTION_FAILED, Login, connection_error, ssh_environment

Progress = Callable[[int], None]
"""Told how many per cent are done."""
_POLL_SECONDS = 0.1
_TAIL_BYTES = 8192
# The protocol stream broke, or nothing came for --timeout seconds (rsync(1), EXIT VALUES).
_BROKEN_STATUSES = frozenset({CONNECTION_FAILED, 10, 12, 20, 30})
_WIRE_BYTES = "Total bytes sent"
_DISK_FULL = "No space left on device"
_PERCENT = re.compile(r"\s(\d{1,3})%\s")
_SHOWN_LINES = 8
_SAME_TREE = (
    "--recursive",
    "--times",  # with the size they tell an unchanged file
    "--omit-dir-times",
    "--omit-link-times",
    "--perms",
    "--chmod=D755,F444",
    "--delete",
    "--secluded-args",  # the shell on the other side sees no path
    "--timeout=120",
)
# Two passes: file systems limit the names of one inode (ext4: 65000), and of links a tree may
# have that many with one text. As far as they are one inode there, they are so by generation.
_FILES = ("--hard-links", "--info=nonreg0")
_LINKS = ("--links",)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a run sent."""

    wire_bytes: int
    """On the wire, with what was said about files that are there already."""
    content_bytes: int
    """Of files that were not there, or differed."""


def send_tree(
    source: Path,
    target: str,
    *,
    login: Login,
    linked_from: Sequence[str] = (),
    by_content: bool = False,
    only_count: bool = False,
    progress: Progress,
) -> Sent:
    """Make the directory `target` there equal to `source`; a run that broke is gone on with.

    Files that are in a directory of `linked_from` (relative to `target`) get another name
    instead of being sent. `by_content` compares bytes, not sizes and times. `only_count` changes
    nothing. ToolMissing, or ToolFailed with what ssh or rsync said.
    """
    options = ["--partial", "--no-inc-recursive", "--stats", "--outbuf=N"]
    # Digits without commas, whatever the locale.
    options += ["--no-human-readable", *(f"--link-dest={place}" for place in linked_from)]
    options += ["--dry-run"] * only_count
    files = [*_FILES, "--info=progress2", *options, *["--checksum"] * by_content]
    said = _run(files, source, target, login, progress)
    said_of_links = _run([*_LINKS, *options], source, target, login, _unsaid)
    return Sent(
        wire_bytes=_figure(said, _WIRE_BYTES) + _figure(said_of_links, _WIRE_BYTES),
        content_bytes=_figure(said, "Total transferred file size"),
    )


def differences(source: Path, target: str, *, login: Login) -> list[str]:
    """Every name there that is missing, too much or another; none if equal.

    Contents are taken to be equal where size and time are. Errors as of `send_tree`.
    """
    options = ["--dry-run", "--itemize-changes"]
    said = [_run([*kind, *options], source, target, login, _unsaid) for kind in (_FILES, _LINKS)]
    return list(dict.fromkeys(_name_in(line) for text in said for line in text.splitlines()))


def _name_in(line: str) -> str:
    """Of a line of --itemize-changes: `cL+++++++++ NAME -> TEXT`, `*deleting   NAME`."""
    name = line.partition(" ")[2].lstrip()
    arrow = " -> " if line[1:2] == "L" else " => "
    return name.partition(arrow)[0].rstrip("/")


def _run(
    options: Sequence[str],
    source: Path,
    target: str,
    login: Login,
    progress: Progress,
) -> str:
    shell = " ".join(map(_shell_word, ("ssh", *login.options)))
    words = [*_SAME_TREE, *options, "--rsh", shell]
    argv: list[str | Path] = ["rsync", *words]
    argv += ["--", f"{source}/", f"{login.destination}:{target}/"]
    # A log without a name: whatever happens, nothing of it is left.
    with tempfile.TemporaryFile() as log:
        with running_program(
            argv,
            log=Path(f"/proc/self/fd/{log.fileno()}"),
            environment=ssh_environment(),
            needed_by="doit publish, to deliver to other machines",
        ) as process:
            _follow(process, log, progress)
        said = _read(log)
    if process.returncode != 0:
        raise _error(process.returncode, said, login)
    return said


def _follow(process: RunningProgram, log: BinaryIO, progress: Progress) -> None:
    while process.poll() is None:
        size = os.fstat(log.fileno()).st_size
        tail = os.pread(log.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        found = _PERCENT.findall(tail.decode("utf-8", "replace"))
        if found:
            progress(int(found[-1]))
        time.sleep(_POLL_SECONDS)


def _read(log: BinaryIO) -> str:
    log.seek(0)
    return log.read().decode("utf-8", "replace").replace("\r", "\n")


def _figure(said: str, name: str) -> int:
    found = re.search(rf"^{name}: (\d+)", said, re.MULTILINE)
    return int(found[1]) if found else 0


def _error(status: int, said: str, login: Login) -> BootsmithError:
    if _DISK_FULL in said:
        return ToolFailed(
            login.destination,
            "no space left on the disk there",
            hint="free some room there, then doit publish again: it goes on from what is there",
        )
    if status in _BROKEN_STATUSES:
        return connection_error(login, _of_ssh(said))
    lines = [line for line in said.splitlines() if line.strip() and not _PERCENT.search(line)]
    return ToolFailed(
        "rsync",
        "\n".join([f"exit status {status}", *(f"    {line}" for line in lines[-_SHOWN_LINES:])]),
        hint="see to what it names, then doit publish again: it goes on from what is there",
    )


def _of_ssh(said: str) -> str:
    """Without rsync's own closing words, which say less."""
    lines = [line for line in said.splitlines() if not line.startswith("rsync")]
    return "\n".join(line for line in lines if not _PERCENT.search(line))


def _shell_word(word: str) -> str:
    """As rsync splits the words of --rsh: quotes hold, and are doubled inside (rsync(1))."""
    return "'" + word.replace("'", "''") + "'"


def _unsaid(percent: int) -> None:
    """Progress that nobody waits for."""
