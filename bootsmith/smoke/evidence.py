"""Evidence: what one smoke run leaves behind, and what it proves.

    evidence/<generation>/<scenario>/evidence.json   this record
                                     console.log     the serial console, raw
                                     screen.log      what BIOS and boot loader showed, raw
                                     qemu.log        what QEMU itself said
                                     replay.sh       the same machine on your terminal

A record proves a boot of exactly the digests it names and of nothing else; any generation
that has the same bytes in the same places is proven by it too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Any, Literal

from bootsmith.errors import SmokeError
from bootsmith.files.atomic import replacing_directory, replacing_file, write_file

EVIDENCE_NAME = "evidence.json"
CONSOLE_NAME = "console.log"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class MachineRecord:
    """What became of one machine."""

    template: str
    nonce: str
    report: Mapping[str, str] = field(default_factory=dict)
    """The words of the guest's report."""
    landmarks_seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage to seconds since power-on."""
    elapsed_seconds: float
    starved_seconds: float
    """How much of it other work on the machine had the processors."""
    complaints: Sequence[str] = ()
    """What looked wrong on the console and did not stop the boot."""
    command: str
    """The machine as a shell line."""


@dataclass(frozen=True, kw_only=True)
class Evidence(MachineRecord):
    """One run of one scenario, with its machine."""

    scenario: str
    generation: str
    """The id of the generation that was booted."""
    verdict: Literal["booted", "failed"]
    cause: str | None
    """Why it failed, in words."""
    artifacts: Mapping[str, str]
    """What was attached: path in the generation to the sha256 read just before the boot."""
    accelerator: str
    qemu: str
    started_epoch: int
    others: Sequence[MachineRecord] = ()
    """The machines that a scenario of several boots beside the first."""

    def to_json(self) -> bytes:
        """The file's bytes: sorted keys, one newline at the end."""
        record = {"schema": SCHEMA, **asdict(self)}
        return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()


def evidence_path(evidence_root: Path, generation: str, scenario: str) -> Path:
    """Where the record of a scenario's latest run on this generation lies."""
    return evidence_root / generation / scenario / EVIDENCE_NAME


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Write the record, whole or not at all."""
    write_file(path, evidence.to_json())


def read_evidence(path: Path) -> Evidence:
    """The record in `path`; SmokeError if there is none or it is not one of ours."""
    again = f"run it: doit smoke:{path.parent.name}"
    subject = shown_path(path)
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        schema = record.pop("schema")
        if schema != SCHEMA:
            raise SmokeError(
                subject,
                "was written by another version of bootsmith",
                expected=f"schema {SCHEMA}",
                got=f"schema {schema}",
                hint=again,
            )
        evidence = Evidence(**_with_machines(record))
        _check_types(evidence)
    except FileNotFoundError:
        raise SmokeError(subject, "there is no evidence of this scenario", hint=again) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SmokeError(subject, f"is not evidence ({error})", hint=again) from error
    return evidence


def _with_machines(record: dict[str, Any]) -> dict[str, Any]:
    """The record with lists as they were before they were JSON."""
    others = [MachineRecord(**_with_tuples(other)) for other in record["others"]]
    return {**_with_tuples(record), "others": tuple(others)}


def _with_tuples(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "complaints": tuple(record.get("complaints", ()))}


def _check_types(evidence: Evidence) -> None:
    """TypeError for a field that is not what its reader counts on."""
    _check_texts(evidence, "scenario", "generation", "verdict")
    _check_words(evidence, "artifacts")
    machines: tuple[MachineRecord, ...] = (evidence, *evidence.others)
    for machine in machines:
        _check_texts(machine, "template", "nonce")
        _check_words(machine, "report")
    if not isinstance(evidence.started_epoch, int):
        raise TypeError("started_epoch is no whole number")


def _check_texts(machine: MachineRecord, *names: str) -> None:
    for name in names:
        if not isinstance(getattr(machine, name), str):
            raise TypeError(f"{name} is no text")


def _check_words(machine: MachineRecord, name: str) -> None:
    words = getattr(machine, name)
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise TypeError(f"{name} is no table of words")


def check_evidence(evidence: Evidence, *, scenario: str, digests: Mapping[str, str]) -> None:
    """Raise SmokeError unless `evidence` proves that these very bytes booted as `scenario` says.

    `digests` maps path in the generation to the sha256 that its manifest gives, for exactly
    the parts that the scenario boots. Which generation they were booted from does not matter.
    """
    subject = f"evidence of {scenario}"
    again = f"run it: doit smoke:{scenario}"
    if evidence.scenario != scenario:
        raise SmokeError(
            subject,
            "is the record of another scenario",
            expected=scenario,
            got=evidence.scenario,
            hint=again,
        )
    for path in sorted(digests.keys() | evidence.artifacts.keys()):
        wanted, booted = digests.get(path), evidence.artifacts.get(path)
        if wanted != booted:
            raise SmokeError(
                subject,
                f"is about other bytes of {path}",
                expected=f"sha256 {wanted}" if wanted else "this part not to be booted",
                got=f"sha256 {booted}" if booted else "no boot of it",
                hint=again,
            )
    if evidence.verdict != "booted":
        raise SmokeError(subject, f"says that it failed: {evidence.cause}", hint=again)
    machines: tuple[MachineRecord, ...] = (evidence, *evidence.others)
    for machine in machines:
        if not machine.nonce or machine.report.get("nonce") != machine.nonce:
            raise SmokeError(
                subject,
                "has no report of the guest's own",
                expected=f"the nonce {machine.nonce or 'of the run'}",
                got=machine.report.get("nonce", "none"),
                hint=again,
            )


def find_proof(evidence_root: Path, *, scenario: str, digests: Mapping[str, str]) -> Path | None:
    """The newest record about a boot of exactly `digests`, of any generation, if it proves it.

    None if there is no such record, or if the newest says that it failed: what booted once
    and fails now is not proven.
    """
    newest = _newest_record(evidence_root, scenario, digests)
    if newest is None or not _is_proof(newest[1], scenario, digests):
        return None
    return newest[0]


def require_proof(
    evidence_root: Path, *, generation: str, scenario: str, digests: Mapping[str, str]
) -> Path:
    """As `find_proof`, or SmokeError with the reason: nothing booted, other bytes, or failed.

    `generation` is the id whose own record is looked at for the reason.
    """
    newest = _newest_record(evidence_root, scenario, digests)
    path = newest[0] if newest else evidence_path(evidence_root, generation, scenario)
    try:
        check_evidence(read_evidence(path), scenario=scenario, digests=digests)
    except SmokeError as error:
        log = f"\n    log: {shown_path(path.with_name(CONSOLE_NAME))}" if newest else ""
        raise SmokeError(
            f"generation {generation}",
            f"{scenario} is not proven to boot: {error.message}{log}",
            hint="boot what is not proven: doit release",
        ) from error
    return path


def shown_path(path: Path) -> str:
    """Relative to where the person stands, if that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def keep_proof(evidence_root: Path, *, generation: str, scenario: str, proof: Path) -> Path:
    """See to it that the record and logs of `proof` lie with this generation; where they do.

    What a generation was promoted on stays with it, whatever becomes of the generation that
    was booted. The copy says which one that was.
    """
    own = evidence_path(evidence_root, generation, scenario)
    if own != proof:
        with replacing_directory(own.parent) as directory:
            for entry in sorted(proof.parent.iterdir()):
                with replacing_file(
                    directory / entry.name, mode=entry.stat().st_mode & 0o777
                ) as copy:
                    copyfile(entry, copy)
    return own


def _newest_record(
    evidence_root: Path, scenario: str, digests: Mapping[str, str]
) -> tuple[Path, Evidence] | None:
    found = []
    for path in sorted(evidence_root.glob(f"*/{scenario}/{EVIDENCE_NAME}")):
        try:
            record = read_evidence(path)
        except SmokeError:
            continue  # it says nothing, so it says nothing against others
        if record.scenario == scenario and record.artifacts == digests:
            found.append((record.started_epoch, path, record))
    return max(found, key=lambda one: one[:2])[1:] if found else None


def _is_proof(evidence: Evidence, scenario: str, digests: Mapping[str, str]) -> bool:
    try:
        check_evidence(evidence, scenario=scenario, digests=digests)
    except SmokeError:
        return False
    return True
