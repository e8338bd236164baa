"""The one door to other programs.

Each program gets: an argv list (never a shell line), an environment built from
nothing, a closed standard input unless bytes are given, and its output captured. A
failure shows the command to replay, its status and the end of what it said.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import ToolFailed, ToolMissing

# Debian keeps mkfs.vfat, depmod, sfdisk and others where a user's PATH does not look.
PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RunningProgram = subprocess.Popen
"""What `running_program` gives: its `pid`, `poll()` for its status if it has ended, `wait()`."""
_SHOWN_BYTES = 4000
_DISK_IS_FULL = b"No space left on device"  # as strerror(3) says it without a locale
# The kernel kills the program when the thread that started it ends, so not even SIGKILL of
# ours leaves one behind (prctl PR_SET_PDEATHSIG; it survives the exec of the program). Whoever
# was killed before the kernel knew of that is no longer the parent: the shell looks, and
# takes back what shells add to an environment.
_BOUND_TO_US = ("setpriv", "--pdeathsig", "KILL", "--")
_WHILE_WE_LIVE = ("/bin/sh", "-c", '[ "$PPID" = "$0" ] && unset PWD OLDPWD SHLVL _ && exec "$@"')
# Names of further variables that programs get of the caller's environment. `doit reproduce`
# sets it, to show them the date that it shows us; nobody else does.
_ALSO_PASSED = "BOOTSMITH_PROGRAMS_SEE"


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What a program that succeeded said: raw bytes of both streams."""

    stdout: bytes
    stderr: bytes
    status: int = 0
    """Not 0 only where the caller accepts others."""

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode("utf-8", "replace")


def program_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that programs see: nothing of the caller's reaches the bytes."""
    environment = {
        "PATH": PROGRAM_PATH,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HOME": "/nonexistent",
        "SOURCE_DATE_EPOCH": "0",
        "TMPDIR": tempfile.gettempdir(),
    }
    for name in os.environ.get(_ALSO_PASSED, "").split():
        if name in os.environ:
            environment[name] = os.environ[name]
    for name, value in (extra or {}).items():
        if value == "":
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment


def find_program(name: str, *, needed_by: str | None = None) -> str:
    """Absolute path of `name`; ToolMissing says what needs it and how to get it."""
    path = shutil.which(name, path=PROGRAM_PATH)
    if path is None:
        from bootsmith.tools import catalog  # the catalog reads a file; only needed on this path

        raise ToolMissing(
            name,
            f"program not found, needed by {needed_by or catalog.purpose_of(name)}",
            expected=f"an executable in {PROGRAM_PATH}",
            hint=f"{catalog.how_to_get(name)}, or see all with: make doctor",
        )
    return path


def replay_line(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    """The command as one shell line a person can paste."""
    line = shlex.join(argv)
    return f"cd {shlex.quote(str(cwd))} && {line}" if cwd else line


def _bound_to_us(command: Sequence[str]) -> list[str]:
    setpriv = find_program(_BOUND_TO_US[0])
    return [setpriv, *_BOUND_TO_US[1:], *_WHILE_WE_LIVE, str(os.getpid()), *command]


def run_program(
    argv: Sequence[str | Path],
    *,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    accepted_statuses: Sequence[int] = (0,),
    timeout_seconds: float | None = None,
    needed_by: str | None = None,
    hint: str | None = None,
) -> Completed:
    """Run a program to its end.

    `environment` is added to `program_environment()`; an empty value removes the name.
    Raises ToolMissing, or ToolFailed for a status outside `accepted_statuses` or a
    time-out (the whole process group is killed then).
    """
    words = [str(word) for word in argv]
    command = [find_program(words[0], needed_by=needed_by), *words[1:]]
    process = subprocess.Popen(
        _bound_to_us(command),
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=program_environment(environment),
        start_new_session=True,  # so that a time-out reaches the children too
    )
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        raise ToolFailed(
            words[0],
            f"did not finish within {timeout_seconds:g} s",
            hint=hint or f"replay: {replay_line(command, cwd=cwd)}",
        ) from None
    except BaseException:
        _kill_group(process)
        raise
    if process.returncode not in accepted_statuses:
        if hint is None and _DISK_IS_FULL in stderr + stdout:
            hint = "free some room, then run doit again"
        raise ToolFailed(
            words[0],
            f"{_ending(process.returncode)}\n{_tail(stderr or stdout)}".rstrip(),
            hint=f"{hint + '; ' if hint else ''}replay: {replay_line(command, cwd=cwd)}",
        )
    return Completed(stdout=stdout, stderr=stderr, status=process.returncode)


def run_on_terminal(argv: Sequence[str | Path], *, needed_by: str | None = None) -> int:
    """Give a program the caller's terminal until it ends; its status, negative for a signal.

    Its environment is built as for others, and TERM besides.
    """
    words = [str(word) for word in argv]
    command = [find_program(words[0], needed_by=needed_by), *words[1:]]
    environment = program_environment({"TERM": os.environ.get("TERM", "dumb")})
    # The same session: a terminal's keys reach only those of its own.
    return subprocess.call(_bound_to_us(command), env=environment)


@contextmanager
def running_program(
    argv: Sequence[str | Path],
    *,
    log: Path | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    pass_descriptors: Sequence[int] = (),
    needed_by: str | None = None,
    inside: Sequence[str] = (),
) -> Iterator[subprocess.Popen]:
    """A program that runs beside us (a server, a guest) and never outlives the block.

    Output of both streams goes to `log`. `inside` is a command that becomes the one behind
    it, somewhere else (see tools/unshare.py). On the way out the process group gets SIGTERM,
    after five seconds SIGKILL.
    """
    words = [str(word) for word in argv]
    command = [*inside, find_program(words[0], needed_by=needed_by), *words[1:]]
    output = open(log, "ab") if log else None
    try:
        process = subprocess.Popen(
            _bound_to_us(command),
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=program_environment(environment),
            pass_fds=tuple(pass_descriptors),
            start_new_session=True,
        )
    finally:
        if output:
            output.close()
    try:
        yield process
    finally:
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                _kill_group(process)
        _kill_group(process)  # children that outlived their leader


def _signal_group(process: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _kill_group(process: subprocess.Popen) -> None:
    _signal_group(process, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr, process.stdin):
        if stream is not None:
            stream.close()


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"ended by signal {-status} ({signal.strsignal(-status)})"


def _tail(output: bytes) -> str:
    text = output[-_SHOWN_BYTES:].decode("utf-8", "replace").rstrip()
    return "\n".join(f"    {line}" for line in text.splitlines())
