"""Run one machine and watch its consoles until it proves itself, fails or takes too long."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from bootsmith.smoke.watch import ConsoleWatch
from bootsmith.tools.qemu import Machine, bound_to_us, qemu_argv
from bootsmith.tools.run import running_program

Outcome = Literal["reported", "failed", "foreign", "unreported", "ended", "silent"]
"""What ended a run: the report came; a console showed a failure; a report with another
nonce came; a login prompt came but no report; the machine stopped by itself; time is up."""

_POLL_SECONDS = 0.05
# After a failure the rest of its message is still on its way.
_SETTLE_SECONDS = 1.0
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ended."""

    outcome: Outcome
    elapsed_seconds: float
    exit_status: int | None
    """QEMU's, if it ended by itself."""


def run_machine(
    machine: Machine,
    *,
    watch: ConsoleWatch,
    program_log: Path,
    timeout_seconds: float,
    report_grace_seconds: float,
    on_progress: Callable[[float], None] | None = None,
) -> Ending:
    """Start `machine`, feed `watch` what its consoles write, stop it when all is known.

    `program_log` gets what QEMU itself says. A login prompt without a report ends the
    run `report_grace_seconds` later. The machine is gone when this returns or raises.
    """
    consoles = {
        name: _truncated(path)
        for name, path in (("console", machine.console), ("screen", machine.screen))
        if path is not None
    }
    program_log.unlink(missing_ok=True)
    started = time.monotonic()
    try:
        with running_program(
            bound_to_us(qemu_argv(machine)), log=program_log, needed_by="smoke tests"
        ) as process:
            exit_watch = os.pidfd_open(process.pid)
            try:
                while True:
                    ended = bool(select.select([exit_watch], [], [], _POLL_SECONDS)[0])
                    elapsed = time.monotonic() - started
                    _read_all(consoles, watch, elapsed)
                    if on_progress:
                        on_progress(elapsed)
                    outcome = _outcome(watch, elapsed, timeout_seconds, report_grace_seconds)
                    if outcome is None and ended:
                        outcome = "ended"
                    if outcome is not None:
                        break
                if outcome == "failed" and not ended:
                    select.select([exit_watch], [], [], _SETTLE_SECONDS)
                    _read_all(consoles, watch, elapsed)
            finally:
                os.close(exit_watch)
            return Ending(
                outcome=outcome,
                elapsed_seconds=round(elapsed, 2),
                exit_status=process.wait() if ended else None,
            )
    finally:
        for console in consoles.values():
            console.close()


def _outcome(
    watch: ConsoleWatch, elapsed: float, timeout_seconds: float, grace_seconds: float
) -> Outcome | None:
    if watch.report is not None:
        return "reported"
    if watch.failure is not None:
        return "failed"
    if watch.foreign_nonce is not None:
        return "foreign"
    if watch.login_seconds is not None and elapsed - watch.login_seconds > grace_seconds:
        return "unreported"
    return "silent" if elapsed > timeout_seconds else None


def _truncated(path: Path) -> BinaryIO:
    path.write_bytes(b"")  # QEMU opens it later; what is read before must not be an old run's
    return open(path, "rb", buffering=0)


def _read_all(consoles: dict[str, BinaryIO], watch: ConsoleWatch, elapsed: float) -> None:
    for name, console in consoles.items():
        while data := console.read(_BLOCK_BYTES):
            watch.feed(name, data, elapsed_seconds=elapsed)
