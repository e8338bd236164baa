"""Move `current`: the one link that says which generation machines boot."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from bootsmith.errors import BootsmithError, PublishError
from bootsmith.files.atomic import fsync_directory, replace_link, write_file
from bootsmith.files.manifest import read_manifest
from bootsmith.formats.manifest import Manifest
from bootsmith.generations.current_link import move_current
from bootsmith.generations.gate import FACTS_PATH, check_gate
from bootsmith.generations.history import (
    Move,
    current_id,
    gate_passed,
    generation_ids,
    holding_moves,
    read_moves,
    record_move,
    standing_id,
)
from bootsmith.generations.links import links_by_kind, text_of_link
from bootsmith.generations.verify import check_files, check_kernel_releases
from bootsmith.generations.withdrawal import withdrawn_as
from bootsmith.smoke.evidence import read_evidence


def promote_latest(
    *,
    latest: Path,
    artifacts: Path,
    gate: str,
    scenarios: Sequence[str],
    evidence: Path,
    output: Path,
    proofs: Sequence[Path] = (),
) -> None:
    """Check the newest generation as `gate` demands and make it current.

    `latest` is its manifest, seen through generations/latest; `scenarios` and `evidence` are
    the gate's; `proofs` are records of boots that were made for it. A gate that fails leaves
    `current` where it was. `output` records what was promoted, and what had been booted.
    """
    generation = latest.parent.resolve()
    manifest = read_manifest(generation)
    held = withdrawn_as(artifacts, manifest)
    if held is None:
        check_gate(
            generation,
            manifest,
            gate=gate,
            scenarios=scenarios,
            evidence=evidence,
            facts=artifacts / FACTS_PATH,
        )
    elif proofs:
        raise _refusal(artifacts, manifest, held)
    with holding_moves(artifacts):
        if held is not None:
            _restore_current(artifacts)
        else:
            point_current(artifacts, manifest, gate=gate)
    record = {
        "id": manifest.id,
        "gate": gate,
        "held_back": held is not None,
        "booted": {proof.stem: read_evidence(proof).generation for proof in proofs},
    }
    write_file(output, (json.dumps(record) + "\n").encode())


def _refusal(artifacts: Path, manifest: Manifest, held: str) -> PublishError:
    return PublishError(
        manifest.id,
        f"is held back: current stays {standing_id(artifacts)}, rolled back from {held}"
        + ("" if held == manifest.id else ", which has the same content"),
        hint=f"to go forward again: doit rollback --to {manifest.id}, then doit release; "
        "or change what was wrong with it",
    )


def _restore_current(artifacts: Path) -> None:
    """Make the links that are missing; `current` too, as the history has it, if that is whole.

    PublishError for one that is gone or damaged: what then to boot is for a person to choose.
    """
    is_lost = current_id(artifacts) is None
    now = standing_id(artifacts)
    directory = artifacts / "generations" / str(now)
    try:
        manifest = read_manifest(directory)
        if is_lost:
            check_files(directory, manifest)
            check_kernel_releases(directory, manifest)
    except BootsmithError as error:
        error.hint = "choose what machines boot: doit rollback --to ID; doit generations lists them"
        raise
    point_current(artifacts, manifest, gate=None)


def point_current(artifacts: Path, manifest: Manifest, *, gate: str | None) -> None:
    """One rename moves everything; what goes through the link follows by itself.

    The history gets a line before: with the `gate` that was passed, or None for a rollback.
    To be called inside holding_moves().

    `artifacts/<kind>/<name>/current` leads through `artifacts/current`, so kinds cannot
    disagree; `artifacts/<kind>/<name>/<id>` stays with its generation. They are made
    before the move: until it, they lead to the old generation or nowhere.
    """
    for place in sorted({part.place for part in manifest.artifacts}):
        _link(artifacts / place / "current", text_of_link(place, None))
        _link(artifacts / place / manifest.id, text_of_link(place, manifest.id))
    left = current_id(artifacts)
    if left is None and (was := standing_id(artifacts)) in generation_ids(artifacts):
        left = was  # the link alone was lost; an id that is gone may come to be used anew
    # What is current already may have passed the stronger gate now; never the weaker.
    if left != manifest.id or (
        gate == "boot" and gate_passed(read_moves(artifacts), manifest.id) != gate
    ):
        move = Move(to=manifest.id, left=left, gate=gate, at_epoch=int(time.time()))
        record_move(artifacts, move)
    move_current(artifacts, manifest.id)
    _drop_dangling(artifacts)
    candidate = artifacts / "candidate"
    if candidate.is_symlink() and os.readlink(candidate) == f"generations/{manifest.id}":
        candidate.unlink()  # a candidate is a generation *not yet* promoted
        fsync_directory(artifacts)


def _drop_dangling(artifacts: Path) -> None:
    """Remove `<kind>/<name>/current` of names that the current generation does not have."""
    for link in links_by_kind(artifacts):
        if link.name == "current" and not link.exists():
            link.unlink()


def _link(link: Path, destination: str) -> None:
    if not (link.is_symlink() and os.readlink(link) == destination):
        replace_link(link, destination)
