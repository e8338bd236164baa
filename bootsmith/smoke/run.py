"""Run one scenario against one generation: proven, or a SmokeError that says why not."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bootsmith.errors import SmokeError
from bootsmith.files.atomic import write_file
from bootsmith.files.manifest import read_manifest
from bootsmith.files.owner import owned_as
from bootsmith.formats.manifest import Manifest
from bootsmith.formats.netboot_network import Network
from bootsmith.site.scenarios import Scenario
from bootsmith.smoke.accelerator import Accelerator, choose_accelerator
from bootsmith.smoke.evidence import (
    Evidence,
    MachineRecord,
    evidence_path,
    find_proof,
    read_evidence,
    shown_path,
    write_evidence,
)
from bootsmith.smoke.guest import Attempt, Failure, Guest, RunLogs, failure_of
from bootsmith.smoke.machine import run_machines
from bootsmith.smoke.network_boot import NetworkBoot
from bootsmith.smoke.parts import Chosen, choose_parts, digests_now
from bootsmith.smoke.report import report_problems
from bootsmith.smoke.scenarios import FIRMWARE, find_scenario, machine_of, modloop_file_system
from bootsmith.smoke.servers import ReleaseFiles, check_servers, serving
from bootsmith.smoke.symptoms import STAGES, STARVED_TIMER
from bootsmith.smoke.watch import ConsoleWatch
from bootsmith.tools.qemu import SCREEN_PORT, check_firmware, qemu_argv, qemu_version
from bootsmith.tools.run import replay_line

Progress = Callable[[str, int, int | None], None]
Tell = Callable[[str], None]
_REPORT_GRACE_SECONDS = 60.0
_SHOWN_LINES = 15
_STARVED_TRIES = 3
_SHOWN_COMPLAINTS = 5


def run_smoke(
    *,
    scenario: str,
    manifest: Path,
    evidence: Path,
    memory_mebibytes: int,
    accelerator: str,
    releases: Mapping[str, ReleaseFiles] | None = None,
    network: Mapping[str, Any] | None = None,
    template: str | None = None,
    cache: Path | None = None,
    timeout_seconds: float | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> Path:
    """Boot a generation as `scenario` says; return the path of the evidence.

    `manifest` is the generation's, also through a link that moves on meanwhile;
    `evidence` is the directory of all evidence, and belongs to whom the one above it does, also
    when root boots. `accelerator` is `auto`, `tcg` or `kvm`.
    `releases` are those that the generation is of, for rows whose medium is a copy of an ISO;
    `network` holds the keywords of Network, for rows whose machines boot from it.
    `template` boots that one instead of the first that fits. `cache` keeps what is known
    of this machine's KVM (default: beside the evidence). `tell` gets which machines booted, and
    where the evidence lies. Raises SmokeError if a guest does not prove its boot; evidence of
    the failure is left as well.
    """
    row = find_scenario(scenario)
    row = replace(row, timeout_seconds=timeout_seconds or row.timeout_seconds)
    generation = manifest.resolve().parent
    booted = read_manifest(generation)
    chosen = choose_parts(booted, row, template=template)
    for firmware in {row.firmware, *(guest.firmware for guest in row.guests)}:
        check_firmware(FIRMWARE[firmware])
    check_servers(row)
    with owned_as(evidence.absolute().parent, evidence):
        logs = RunLogs.at(evidence_path(evidence.absolute(), booted.id, row.name), template)
        # From here to the end of the run nothing claims that this scenario boots.
        logs.evidence.unlink(missing_ok=True)
        if progress:
            progress(f"{row.name}: reading", 0, None)
        isos = {name: files["iso"] for name, files in (releases or {}).items()}
        digests = digests_now(chosen, generation=generation, scenario=row.name, isos=isos)
        prepared = _prepare(
            row=row,
            generation=generation,
            manifest=booted,
            chosen=chosen,
            template=template,
            releases=releases or {},
            network=network,
            memory_mebibytes=memory_mebibytes,
            accelerator=choose_accelerator(accelerator, memory=cache or evidence),
            logs=logs,
        )
        _write_replay(logs, prepared)
        started_epoch = int(time.time())
        with prepared.serving as inside:
            attempts = _boot(prepared, progress, inside)
        failure = _first_failure(attempts, row)
        record = _record(prepared, digests, started_epoch, attempts, failure)
        write_evidence(logs.evidence, record)
        if failure:
            raise _error(row, failure, logs)
        if tell:
            machines = ", ".join(guest.title for guest in prepared.guests)
            tell(f"{machines}; evidence: {shown_path(logs.directory)}")
        return logs.evidence


def prove_scenario(
    *,
    scenario: str,
    manifest: Path,
    evidence: Path,
    memory_mebibytes: int,
    accelerator: str,
    output: Path,
    releases: Mapping[str, ReleaseFiles] | None = None,
    network: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> None:
    """Write to `output` the record of a boot of the very bytes that this generation has.

    Where such a record exists, of this generation or of an older one with the same parts,
    nothing is booted. Otherwise as `run_smoke`.
    """
    row = find_scenario(scenario)
    chosen = choose_parts(read_manifest(manifest.resolve().parent), row)
    proof = find_proof(evidence, scenario=scenario, digests=chosen.digests)
    if proof is None:
        proof = run_smoke(
            scenario=scenario,
            manifest=manifest,
            evidence=evidence,
            memory_mebibytes=memory_mebibytes,
            accelerator=accelerator,
            releases=releases,
            network=network,
            progress=progress,
            tell=tell,
        )
    elif tell:
        tell(f"booted before; evidence: {shown_path(proof.parent)}")
    write_file(output, read_evidence(proof).to_json())


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """All that a run needs."""

    row: Scenario
    generation: str
    guests: Sequence[Guest]
    serving: AbstractContextManager[Sequence[str]]
    """Gives the words that start QEMU where it finds what it needs."""


def _prepare(
    *,
    row: Scenario,
    generation: Path,
    manifest: Manifest,
    chosen: Chosen,
    template: str | None,
    releases: Mapping[str, ReleaseFiles],
    network: Mapping[str, Any] | None,
    memory_mebibytes: int,
    accelerator: Accelerator,
    logs: RunLogs,
) -> _Prepared:
    if row.medium == "network":
        assert network is not None, "the site has [netboot], or it had not this row"
        boot = NetworkBoot.choose(
            row,
            generation=generation,
            manifest=manifest,
            network=Network(**network),
            template=template,
        )
        boot.check_tree()
        guests = boot.guests(memory_mebibytes=memory_mebibytes, accelerator=accelerator, logs=logs)
        return _Prepared(row=row, generation=manifest.id, guests=guests, serving=boot.serving(logs))
    memory_mebibytes = max(memory_mebibytes, chosen.memory_mebibytes)
    guest = _attached_guest(row, chosen, generation, memory_mebibytes, accelerator, logs)
    return _Prepared(
        row=row,
        generation=manifest.id,
        guests=(guest,),
        serving=serving(row, chosen, generation=generation, releases=releases, logs=logs.directory),
    )


def _attached_guest(
    row: Scenario,
    chosen: Chosen,
    generation: Path,
    memory_mebibytes: int,
    accelerator: Accelerator,
    logs: RunLogs,
) -> Guest:
    nonce = secrets.token_hex(8)
    files = logs.guest(0)
    return Guest(
        title=chosen.template,
        template=chosen.template,
        nonce=nonce,
        machine=machine_of(
            row,
            chosen,
            generation=generation,
            nonce=nonce,
            memory_mebibytes=memory_mebibytes,
            accelerator=accelerator,
            console=files.console,
            screen=files.screen,
            screen_port=logs.screen_port,
        ),
        logs=files,
        problems=lambda report: report_problems(
            report,
            template=chosen.template,
            kernel_release=chosen.kernel_release,
            modloop_file_system=modloop_file_system(row),
            needs_modloop=row.medium != "ramroot",
        ),
        is_unpatched=row.medium == "nfs" and _is_unpatched(chosen),
    )


def _is_unpatched(chosen: Chosen) -> bool:
    """Whether the pxerd says that nobody looked at its init; one that says nothing may do."""
    return chosen.pxerd is not None and chosen.pxerd.details.get("patches") == []


def _boot(
    prepared: _Prepared, progress: Progress | None, inside: Sequence[str]
) -> tuple[Attempt, ...]:
    """Run the machines; once more where emulation, not a guest, broke one."""
    for _ in range(_STARVED_TRIES):
        runs = [guest.run() for guest in prepared.guests]
        watches = [run.watch for run in runs]
        titles = [guest.title for guest in prepared.guests]
        machines = list(zip(titles, watches, strict=True))
        say = _stage_progress(prepared.row.name, machines, progress) if progress else None
        endings = run_machines(
            runs,
            timeout_seconds=prepared.row.timeout_seconds,
            report_grace_seconds=_REPORT_GRACE_SECONDS,
            on_progress=say,
            inside=inside,
        )
        if all(one.failure is None or one.failure.cause != STARVED_TIMER for one in watches):
            break
    return tuple(
        Attempt(guest=guest, watch=watch, ending=ending)
        for guest, watch, ending in zip(prepared.guests, watches, endings, strict=True)
    )


def _first_failure(attempts: Sequence[Attempt], row: Scenario) -> Failure | None:
    for attempt in attempts:
        failure = failure_of(attempt, timeout_seconds=row.timeout_seconds)
        if failure is not None and len(attempts) > 1:
            return replace(failure, cause=f"{attempt.guest.title}: {failure.cause}")
        if failure is not None:
            return failure
    return None


def _record(
    prepared: _Prepared,
    digests: Mapping[str, str],
    started_epoch: int,
    attempts: Sequence[Attempt],
    failure: Failure | None,
) -> Evidence:
    first, *others = attempts
    return Evidence(
        scenario=prepared.row.name,
        generation=prepared.generation,
        **_said_of(first),
        verdict="failed" if failure else "booted",
        cause=failure.cause if failure else None,
        artifacts=digests,
        others=tuple(MachineRecord(**_said_of(other)) for other in others),
        accelerator=first.guest.machine.accelerator,
        qemu=qemu_version(),
        started_epoch=started_epoch,
    )


def _said_of(attempt: Attempt) -> dict[str, Any]:
    guest, watch, ending = attempt.guest, attempt.watch, attempt.ending
    return {
        "template": guest.template,
        "nonce": guest.nonce,
        "report": dict(watch.report.words) if watch.report else {},
        "landmarks_seconds": watch.landmarks,
        "elapsed_seconds": ending.elapsed_seconds,
        "starved_seconds": ending.starved_seconds,
        "complaints": tuple(watch.complaints),
        "command": replay_line(qemu_argv(guest.machine)),
    }


def _write_replay(logs: RunLogs, prepared: _Prepared) -> None:
    """The same machine for a person: its console on the terminal, no logs.

    None where it needs servers as well: they end with the run.
    """
    write_file(logs.screen_port, SCREEN_PORT, durable=False)
    logs.replay.unlink(missing_ok=True)
    if prepared.row.medium in ("nfs", "network"):
        return
    terminal = replace(prepared.guests[0].machine, console=None, screen=None)
    script = (
        "#!/bin/sh\n"
        "# The machine of this run, its console on your terminal. Ctrl-a x leaves.\n"
        f"exec {replay_line(qemu_argv(terminal))}\n"
    )
    write_file(logs.replay, script.encode(), mode=0o755, durable=False)


def _stage_progress(
    name: str, machines: Sequence[tuple[str, ConsoleWatch]], progress: Progress
) -> Callable[[float], None]:
    def say(elapsed_seconds: float) -> None:
        # Of several machines that which is furthest behind.
        title, watch = min(machines, key=lambda one: _stages_done(one[1].stage))
        stage = watch.stage
        # The time grows while a guest is quiet: emulated kernels are for half a minute.
        in_stage_seconds = elapsed_seconds - watch.landmarks.get(stage, 0.0)
        words = f"{name}: {title}, {stage} for {in_stage_seconds:.0f} s"
        progress(words, _stages_done(stage), len(STAGES))

    return say


def _stages_done(stage: str) -> int:
    return STAGES.index(stage) + 1 if stage in STAGES else 0


def _error(row: Scenario, failure: Failure, logs: RunLogs) -> SmokeError:
    guest, watch, ending = failure.attempt.guest, failure.attempt.watch, failure.attempt.ending
    lines = [
        failure.cause,
        f"    template {guest.template}, {watch.stage} reached, {ending.elapsed_seconds:g} s",
    ]
    if watch.complaints:
        lines.append("    the console also complained:")
        lines += [f"      - {complaint}" for complaint in watch.complaints[-_SHOWN_COMPLAINTS:]]
    tail = watch.tail(_SHOWN_LINES)
    if tail:
        lines.append("    last console lines:")
        lines += [f"      | {line}" for line in tail]
    console = shown_path(guest.logs.console)
    lines.append(f"    log: {console}")
    look = f"look at {failure.look}; " if failure.look else ""
    then = f"see it on your terminal: {shown_path(logs.replay)}"
    if not logs.replay.exists():
        then = f"read what the servers say, beside {console}"
    return SmokeError(f"smoke {row.name}", "\n".join(lines), hint=look + then)
