"""Run machines and watch their consoles until each proves itself, fails or takes too long.

Limits are in seconds of the guest's own time: what passes while the guest is ready to run
but other work on this machine has the processors does not count. So a busy machine makes
a run longer, not red, and a guest that hangs is stopped as soon as on an idle one.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Self

from bootsmith.smoke.watch import ConsoleWatch
from bootsmith.tools.qemu import Machine, qemu_argv
from bootsmith.tools.run import running_program

Outcome = Literal["reported", "failed", "foreign", "unreported", "ended", "silent"]
"""What ended a run: the report came; a console showed a failure; a report with another
nonce came; a login prompt came but no report; the machine stopped by itself; time is up."""

_POLL_SECONDS = 0.05
_SETTLE_SECONDS = 1.0
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ended."""

    outcome: Outcome
    elapsed_seconds: float
    starved_seconds: float
    """How much of it other work on this machine had the processors."""
    exit_status: int | None
    """QEMU's, if it ended by itself."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A machine to run, what looks at its consoles, and where QEMU itself says something."""

    machine: Machine
    watch: ConsoleWatch
    program_log: Path


def run_machines(
    runs: Sequence[Run],
    *,
    timeout_seconds: float,
    report_grace_seconds: float,
    on_progress: Callable[[float], None] | None = None,
    inside: Sequence[str] = (),
) -> tuple[Ending, ...]:
    """Start all machines, feed their watches, stop each when all is known of it.

    A login prompt without a report ends a run `report_grace_seconds` later. Both limits are in
    the guest's own time; what `on_progress` gets is time as it passes. `inside` is as in
    `running_program`. The machines are gone when this returns or raises.
    """
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                _RunningMachine(
                    run,
                    clock=_GuestClock(
                        report_grace_seconds=report_grace_seconds, limit_seconds=timeout_seconds
                    ),
                    inside=inside,
                )
            )
            for run in runs
        ]
        while unfinished := [one for one in running if one.ending is None]:
            select.select([one.exit_watch for one in unfinished], [], [], _POLL_SECONDS)
            for one in unfinished:
                one.look()
            if on_progress:
                on_progress(max(one.clock.elapsed_seconds for one in running))
        return tuple(one.ending for one in running if one.ending is not None)


class _RunningMachine:
    """One of several: started when entered; stopped when it has ended, or left."""

    def __init__(self, run: Run, *, clock: _GuestClock, inside: Sequence[str]) -> None:
        self.ending: Ending | None = None
        self.clock = clock
        self.exit_watch = -1
        self._run = run
        self._inside = inside
        self._stack = ExitStack()
        self._failed_seconds: float | None = None

    def __enter__(self) -> Self:
        machine, run = self._run.machine, self._run
        with ExitStack() as stack:
            self._consoles = {
                name: stack.enter_context(_truncated(path))
                for name, path in (("console", machine.console), ("screen", machine.screen))
                if path is not None
            }
            run.program_log.unlink(missing_ok=True)
            self._process = stack.enter_context(
                running_program(
                    qemu_argv(machine),
                    log=run.program_log,
                    needed_by="smoke tests",
                    inside=self._inside,
                )
            )
            self.exit_watch = os.pidfd_open(self._process.pid)
            stack.callback(os.close, self.exit_watch)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def look(self) -> None:
        """Read what it wrote meanwhile; when all is known, set `ending` and stop it."""
        ended = bool(select.select([self.exit_watch], [], [], 0)[0])
        self.clock.read(self._process.pid)
        _read_all(self._consoles, self._run.watch, self.clock.elapsed_seconds)
        outcome = _outcome(self._run.watch, self.clock, ended=ended)
        if outcome is None or (outcome == "failed" and not ended and not self._is_settled()):
            return
        self.ending = Ending(
            outcome=outcome,
            elapsed_seconds=round(self.clock.elapsed_seconds, 2),
            starved_seconds=round(self.clock.starved_seconds, 2),
            exit_status=self._process.wait() if ended else None,
        )
        self._stack.close()

    def _is_settled(self) -> bool:
        """After a failure the rest of its message is still on its way."""
        if self._failed_seconds is None:
            self._failed_seconds = self.clock.elapsed_seconds
        return self.clock.elapsed_seconds - self._failed_seconds > _SETTLE_SECONDS


class _GuestClock:
    """Time since the start, as it passes and as the guest had it."""

    def __init__(self, *, report_grace_seconds: float, limit_seconds: float) -> None:
        self.elapsed_seconds = 0.0
        self.starved_seconds = 0.0
        self._started = time.monotonic()
        self._login_seconds: float | None = None
        self._grace_seconds = report_grace_seconds
        self._limit_seconds = limit_seconds

    def read(self, process: int) -> None:
        """Look at the clock, and at how long QEMU's busiest thread had to wait."""
        self.elapsed_seconds = time.monotonic() - self._started
        self.starved_seconds = max(self.starved_seconds, starved_seconds(process))

    @property
    def _own_seconds(self) -> float:
        return self.elapsed_seconds - self.starved_seconds

    @property
    def is_over(self) -> bool:
        """Whether the run has had all its time."""
        return self._own_seconds > self._limit_seconds

    def is_report_overdue(self, watch: ConsoleWatch) -> bool:
        """Whether a login prompt was followed by nothing for too long."""
        if watch.login_seconds is None:
            return False
        if self._login_seconds is None:
            self._login_seconds = self._own_seconds
        return self._own_seconds - self._login_seconds > self._grace_seconds


def starved_seconds(process: int) -> float:
    """How long the thread of `process` that waited most was runnable but not running.

    The second field of /proc/PID/task/TID/schedstat, in ns (kernel
    Documentation/scheduler/sched-stats.rst); 0 where a kernel does not count it.
    """
    waits = [0.0]
    for schedstat in Path(f"/proc/{process}/task").glob("*/schedstat"):
        try:
            waits.append(int(schedstat.read_text().split()[1]) / 1e9)
        except (OSError, ValueError, IndexError):
            continue  # the thread has ended, or nothing is counted
    return max(waits)


def _outcome(watch: ConsoleWatch, clock: _GuestClock, *, ended: bool) -> Outcome | None:
    if watch.report is not None:
        return "reported"
    if watch.failure is not None:
        return "failed"
    if watch.foreign_nonce is not None:
        return "foreign"
    if ended:
        return "ended"
    if clock.is_report_overdue(watch):
        return "unreported"
    return "silent" if clock.is_over else None


def _truncated(path: Path) -> BinaryIO:
    path.write_bytes(b"")  # QEMU opens it later; what is read before must not be an old run's
    return open(path, "rb", buffering=0)


def _read_all(consoles: dict[str, BinaryIO], watch: ConsoleWatch, elapsed: float) -> None:
    for name, console in consoles.items():
        while data := console.read(_BLOCK_BYTES):
            watch.feed(name, data, elapsed_seconds=elapsed)
