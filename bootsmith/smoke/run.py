"""Run one scenario against one generation: proven, or a SmokeError that says why not."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bootsmith.errors import SmokeError
from bootsmith.files.atomic import write_file
from bootsmith.smoke.accelerator import choose_accelerator
from bootsmith.smoke.evidence import EVIDENCE_NAME, Evidence, evidence_path, write_evidence
from bootsmith.smoke.machine import Ending, run_machine
from bootsmith.smoke.parts import Chosen, digests_now, read_generation
from bootsmith.smoke.report import report_problems
from bootsmith.smoke.scenarios import Scenario, choose_for, find_scenario, machine_of
from bootsmith.smoke.symptoms import STAGES, STARVED_TIMER
from bootsmith.smoke.watch import ConsoleWatch
from bootsmith.tools.qemu import SCREEN_PORT, Machine, check_firmware, qemu_argv, qemu_version
from bootsmith.tools.run import replay_line

Progress = Callable[[str, int, int | None], None]
_REPORT_GRACE_SECONDS = 60.0
_WORTH_SAYING_SECONDS = 10.0
_SHOWN_LINES = 15
_STARVED_TRIES = 3
_SHOWN_COMPLAINTS = 5


@dataclass(frozen=True, kw_only=True)
class _Failure:
    cause: str
    look: str | None = None


def run_smoke(
    *,
    scenario: str,
    manifest: Path,
    evidence: Path,
    memory_mebibytes: int,
    accelerator: str,
    template: str | None = None,
    cache: Path | None = None,
    timeout_seconds: float | None = None,
    progress: Progress | None = None,
) -> Path:
    """Boot a generation as `scenario` says; return the path of the evidence.

    `manifest` is the generation's, also through a link that moves on meanwhile;
    `evidence` is the directory of all evidence. `accelerator` is `auto`, `tcg` or `kvm`.
    `template` boots that one instead of the first that fits. `cache` keeps what is known
    of this machine's KVM (default: beside the evidence). Raises SmokeError if the guest
    does not prove its boot; evidence of the failure is left as well.
    """
    row = find_scenario(scenario)
    row = replace(row, timeout_seconds=timeout_seconds or row.timeout_seconds)
    parts = read_generation(manifest.resolve().parent)
    chosen = choose_for(row, parts, template=template)
    check_firmware(row.firmware)
    logs = _Logs.at(evidence_path(evidence.absolute(), parts.id, row.name), template)
    # From here to the end of the run nothing claims that this scenario boots.
    logs.evidence.unlink(missing_ok=True)
    if progress:
        progress(f"{row.name}: reading", 0, None)
    digests = digests_now(chosen, scenario=row.name)
    nonce = secrets.token_hex(8)
    machine = machine_of(
        row,
        chosen,
        nonce=nonce,
        memory_mebibytes=memory_mebibytes,
        accelerator=choose_accelerator(accelerator, memory=cache or evidence),
        console=logs.console,
        screen=logs.screen,
        screen_port=logs.screen_port,
    )
    _write_replay(logs, machine)
    started_epoch = int(time.time())
    watch, ending = _boot(machine, row, logs, nonce, progress)
    failure = _failure(row, chosen, watch, ending, logs)
    write_evidence(
        logs.evidence,
        Evidence(
            scenario=row.name,
            generation=parts.id,
            template=chosen.template,
            verdict="failed" if failure else "booted",
            cause=failure.cause if failure else None,
            artifacts=digests,
            nonce=nonce,
            report=dict(watch.report.words) if watch.report else {},
            landmarks_seconds=watch.landmarks,
            elapsed_seconds=ending.elapsed_seconds,
            starved_seconds=ending.starved_seconds,
            complaints=tuple(watch.complaints),
            accelerator=machine.accelerator,
            qemu=qemu_version(),
            command=replay_line(qemu_argv(machine)),
            started_epoch=started_epoch,
        ),
    )
    if failure:
        raise _error(row, chosen, watch, ending, logs, failure)
    return logs.evidence


def _boot(
    machine: Machine, row: Scenario, logs: _Logs, nonce: str, progress: Progress | None
) -> tuple[ConsoleWatch, Ending]:
    """Run the machine; once more where emulation, not the guest, broke it."""
    for _ in range(_STARVED_TRIES):
        watch = ConsoleWatch(nonce=nonce)
        ending = run_machine(
            machine,
            watch=watch,
            program_log=logs.program,
            timeout_seconds=row.timeout_seconds,
            report_grace_seconds=_REPORT_GRACE_SECONDS,
            on_progress=_stage_progress(row.name, watch, progress) if progress else None,
        )
        if watch.failure is None or watch.failure.cause != STARVED_TIMER:
            break
    return watch, ending


@dataclass(frozen=True, kw_only=True)
class _Logs:
    """The files of one run."""

    directory: Path

    @classmethod
    def at(cls, evidence: Path, template: str | None) -> _Logs:
        directory = evidence.parent
        # A run of a template that was asked for by name must not stand where the gate
        # looks for the scenario's own evidence.
        if template is not None:
            directory = directory.with_name(f"{directory.name}.{template}")
        directory.mkdir(parents=True, exist_ok=True)
        return cls(directory=directory)

    @property
    def evidence(self) -> Path:
        return self.directory / EVIDENCE_NAME

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    @property
    def screen(self) -> Path:
        return self.directory / "screen.log"

    @property
    def screen_port(self) -> Path:
        return self.directory / "screen.port"

    @property
    def program(self) -> Path:
        return self.directory / "qemu.log"

    @property
    def replay(self) -> Path:
        return self.directory / "replay.sh"


def _write_replay(logs: _Logs, machine: Machine) -> None:
    """The same machine for a person: its console on the terminal, no logs."""
    write_file(logs.screen_port, SCREEN_PORT, durable=False)
    terminal = replace(machine, console=None, screen=None)
    script = (
        "#!/bin/sh\n"
        "# The machine of this run, its console on your terminal. Ctrl-a x leaves.\n"
        f"exec {replay_line(qemu_argv(terminal))}\n"
    )
    write_file(logs.replay, script.encode(), mode=0o755, durable=False)


def _stage_progress(name: str, watch: ConsoleWatch, progress: Progress) -> Callable[[float], None]:
    def say(elapsed_seconds: float) -> None:
        stage = watch.stage
        done = STAGES.index(stage) + 1 if stage in STAGES else 0
        since = watch.landmarks.get(stage, 0.0)
        progress(f"{name}: {stage} since {since:.1f} s", done, len(STAGES))

    return say


def _failure(
    row: Scenario, chosen: Chosen, watch: ConsoleWatch, ending: Ending, logs: _Logs
) -> _Failure | None:
    if watch.report is not None:
        problems = report_problems(
            watch.report, template=chosen.template, kernel_release=chosen.kernel_release
        )
        if not problems:
            return None
        return _Failure(cause="; ".join(problems))
    if watch.failure is not None:
        return _Failure(cause=watch.failure.cause, look=watch.failure.look)
    if ending.outcome == "foreign":
        return _Failure(
            cause=f"the guest reports the nonce {watch.foreign_nonce}, not this run's "
            f"{watch.nonce}: its report proves nothing",
            look="bootsmith-report.start in the overlays: it must read the nonce of this boot",
        )
    if ending.outcome == "unreported":
        return _Failure(
            cause="the guest reached its login prompt but never reported",
            look="the overlay `report` in the template, `local` in its default runlevel",
        )
    if ending.outcome == "ended":
        if ending.exit_status:
            return _Failure(cause=f"QEMU gave up: {_last_words(logs.program)}")
        return _Failure(cause="the guest restarted or switched itself off before it reported")
    return _silence(row, watch, ending)


def _silence(row: Scenario, watch: ConsoleWatch, ending: Ending) -> _Failure:
    limit = f"{row.timeout_seconds:g} s"
    if ending.starved_seconds > _WORTH_SAYING_SECONDS:
        limit += f" (and {ending.starved_seconds:.0f} s that went to other work on this machine)"
    if not watch.landmarks:
        return _Failure(cause=f"no report within {limit}; the consoles stayed empty")
    look = "what the last lines wait for"
    if watch.stage in ("firmware", "bootloader"):
        look = "whether the template's boot options name console=ttyS0"
    return _Failure(cause=f"no report within {limit}; it had reached: {watch.stage}", look=look)


def _error(
    row: Scenario,
    chosen: Chosen,
    watch: ConsoleWatch,
    ending: Ending,
    logs: _Logs,
    failure: _Failure,
) -> SmokeError:
    lines = [
        failure.cause,
        f"    template {chosen.template}, {watch.stage} reached, {ending.elapsed_seconds:g} s",
    ]
    if watch.complaints:
        lines.append("    the console also complained:")
        lines += [f"      - {complaint}" for complaint in watch.complaints[-_SHOWN_COMPLAINTS:]]
    tail = watch.tail(_SHOWN_LINES)
    if tail:
        lines.append("    last console lines:")
        lines += [f"      | {line}" for line in tail]
    lines.append(f"    log: {_shown(logs.console)}")
    look = f"look at {failure.look}; " if failure.look else ""
    return SmokeError(
        f"smoke {row.name}",
        "\n".join(lines),
        hint=f"{look}see it on your terminal: {_shown(logs.replay)}",
    )


def _last_words(program_log: Path) -> str:
    """What QEMU itself said last, without its remark about our firmware file."""
    lines = program_log.read_text("utf-8", "replace").splitlines()
    said = [line for line in lines if line.strip() and "etc/sercon-port" not in line]
    return said[-1] if said else "it said nothing"


def _shown(path: Path) -> str:
    """Relative to where the person stands, if that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
