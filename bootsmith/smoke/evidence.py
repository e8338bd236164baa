"""Evidence: what one smoke run leaves behind, and what it proves.

    evidence/<generation>/<scenario>/evidence.json   this record
                                     console.log     the serial console, raw
                                     screen.log      what BIOS and boot loader showed, raw
                                     qemu.log        what QEMU itself said
                                     replay.sh       the same machine on your terminal

A record proves a boot of exactly the digests it names and of nothing else. Reading and
checking here is pure but for opening that one file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bootsmith.errors import SmokeError
from bootsmith.files.atomic import write_file

EVIDENCE_NAME = "evidence.json"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One run of one scenario."""

    scenario: str
    generation: str
    """The generation's id."""
    template: str
    verdict: Literal["booted", "failed"]
    cause: str | None
    """Why it failed, in words."""
    artifacts: Mapping[str, str]
    """What was attached: path in the generation to the sha256 read just before the boot."""
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
    accelerator: str
    qemu: str
    command: str
    """The machine as a shell line."""
    started_epoch: int

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
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        schema = record.pop("schema")
        if schema != SCHEMA:
            raise SmokeError(
                path,
                "was written by another version of bootsmith",
                expected=f"schema {SCHEMA}",
                got=f"schema {schema}",
                hint=again,
            )
        record["complaints"] = tuple(record["complaints"])
        return Evidence(**record)
    except FileNotFoundError:
        raise SmokeError(path, "there is no evidence of this scenario", hint=again) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SmokeError(path, f"is not evidence ({error})", hint=again) from error


def check_evidence(evidence: Evidence, *, generation: str, digests: Mapping[str, str]) -> None:
    """Raise SmokeError unless `evidence` proves a boot of this generation's very bytes.

    `generation` is its id; `digests` maps each artifact's path in the generation to the
    sha256 its manifest gives.
    """
    subject = f"evidence of {evidence.scenario}"
    again = f"run it: doit smoke:{evidence.scenario}"
    if evidence.verdict != "booted":
        raise SmokeError(subject, f"says that it failed: {evidence.cause}", hint=again)
    if evidence.generation != generation:
        raise SmokeError(
            subject,
            "is about another generation",
            expected=generation,
            got=evidence.generation,
            hint=again,
        )
    if not evidence.artifacts:
        raise SmokeError(subject, "names nothing that was booted", hint=again)
    for path, booted in sorted(evidence.artifacts.items()):
        if digests.get(path) != booted:
            raise SmokeError(
                subject,
                f"is about other bytes of {path}",
                expected=f"sha256 {digests.get(path, '(not in this generation)')}",
                got=f"sha256 {booted}",
                hint=again,
            )


def check_generation_evidence(
    *,
    evidence_root: Path,
    generation: str,
    digests: Mapping[str, str],
    scenarios: Sequence[str],
) -> None:
    """Raise SmokeError for the first of `scenarios` that is not proven for these digests."""
    for scenario in scenarios:
        record = read_evidence(evidence_path(evidence_root, generation, scenario))
        if record.scenario != scenario:
            raise SmokeError(
                f"evidence of {scenario}",
                "is the record of another scenario",
                expected=scenario,
                got=record.scenario,
                hint=f"run it: doit smoke:{scenario}",
            )
        check_evidence(record, generation=generation, digests=digests)
