"""One machine of a run: what it is, where it leaves its logs, what its report must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bootsmith.smoke.evidence import CONSOLE_NAME, EVIDENCE_NAME
from bootsmith.smoke.machine import Ending, Run
from bootsmith.smoke.report import Report
from bootsmith.smoke.watch import ConsoleWatch
from bootsmith.tools.qemu import Machine


@dataclass(frozen=True, kw_only=True)
class GuestLogs:
    """The files of one machine."""

    console: Path
    screen: Path
    program: Path
    """What QEMU itself says."""


@dataclass(frozen=True)
class RunLogs:
    """The files of one run."""

    directory: Path

    @classmethod
    def at(cls, evidence: Path, template: str | None) -> RunLogs:
        """Those beside the record `evidence`, or, of a template by name, apart from it.

        A run of a template that was asked for by name must not stand where the gate looks for
        the scenario's own evidence.
        """
        directory = evidence.parent
        if template is not None:
            directory = directory.with_name(f"{directory.name}.{template}")
        directory.mkdir(parents=True, exist_ok=True)
        return cls(directory)

    @property
    def evidence(self) -> Path:
        """The record."""
        return self.directory / EVIDENCE_NAME

    @property
    def screen_port(self) -> Path:
        """For all machines."""
        return self.directory / "screen.port"

    @property
    def replay(self) -> Path:
        """The machine as a script, where it needs nothing beside it."""
        return self.directory / "replay.sh"

    def guest(self, number: int) -> GuestLogs:
        """Those of one machine; the first has the plain names."""
        suffix = f"-{number + 1}" if number else ""
        console, dot, ending = CONSOLE_NAME.partition(".")
        return GuestLogs(
            console=self.directory / f"{console}{suffix}{dot}{ending}",
            screen=self.directory / f"screen{suffix}.log",
            program=self.directory / f"qemu{suffix}.log",
        )


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A machine that is to boot."""

    title: str
    """For people, where there are several: `host web-1`."""
    template: str
    nonce: str
    machine: Machine
    logs: GuestLogs
    problems: Callable[[Report], tuple[str, ...]]
    """What its report lacks for a proven boot, in words."""
    is_unpatched: bool = False
    """Whether its init is known to have no patch to boot from NFS, which it needs."""

    def run(self) -> Run:
        """It, with a new look at its consoles."""
        return Run(
            machine=self.machine,
            watch=ConsoleWatch(nonce=self.nonce),
            program_log=self.logs.program,
        )


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A guest that was run, and how it ended."""

    guest: Guest
    watch: ConsoleWatch
    ending: Ending


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a guest proves nothing, and where to look."""

    attempt: Attempt
    cause: str
    look: str | None = None


_WORTH_SAYING_SECONDS = 10.0


def failure_of(attempt: Attempt, *, timeout_seconds: float) -> Failure | None:
    """Why this guest did not prove its boot; None if it did."""
    watch, ending = attempt.watch, attempt.ending

    def failed(cause: str, look: str | None = None) -> Failure:
        return Failure(attempt=attempt, cause=cause, look=look)

    if watch.report is not None:
        problems = attempt.guest.problems(watch.report)
        return failed("; ".join(problems)) if problems else None
    if watch.failure is not None and attempt.guest.is_unpatched:
        return failed(
            f"{watch.failure.cause}; its init has no patch to boot from NFS",
            "patches in [pxerd] of the release: nfs-medium is not in it",
        )
    if watch.failure is not None:
        return failed(watch.failure.cause, watch.failure.look)
    if ending.outcome == "foreign":
        return failed(
            f"the guest reports the nonce {watch.foreign_nonce}, not this run's "
            f"{watch.nonce}: its report proves nothing",
            "bootsmith-report.start in the overlays: it must read the nonce of this boot",
        )
    if ending.outcome == "unreported":
        return failed(
            "the guest reached its login prompt but never reported",
            "the overlay `report` in the template, `local` in its default runlevel",
        )
    if ending.outcome == "ended":
        if ending.exit_status:
            return failed(f"QEMU gave up: {_last_words(attempt.guest.logs.program)}")
        return failed("the guest restarted or switched itself off before it reported")
    return _silence(attempt, timeout_seconds)


def _silence(attempt: Attempt, timeout_seconds: float) -> Failure:
    watch, starved_seconds = attempt.watch, attempt.ending.starved_seconds
    limit = f"{timeout_seconds:g} s"
    if starved_seconds > _WORTH_SAYING_SECONDS:
        limit += f" (and {starved_seconds:.0f} s that went to other work on this machine)"
    if not watch.landmarks:
        return Failure(
            attempt=attempt, cause=f"no report within {limit}; the consoles stayed empty"
        )
    look = "what the last lines wait for"
    if watch.stage in ("firmware", "bootloader"):
        look = "whether the template's boot options name console=ttyS0"
    cause = f"no report within {limit}; it had reached: {watch.stage}"
    return Failure(attempt=attempt, cause=cause, look=look)


def _last_words(program_log: Path) -> str:
    """What QEMU itself said last, without its remark about our firmware file."""
    lines = program_log.read_text("utf-8", "replace").splitlines()
    said = [line for line in lines if line.strip() and "etc/sercon-port" not in line]
    return said[-1] if said else "it said nothing"
