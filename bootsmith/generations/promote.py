"""Move `current`: the one link that says which generation machines boot."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.files.atomic import replace_link, write_file
from bootsmith.generations.manifest import Manifest, read_manifest
from bootsmith.generations.verify import check_files, check_kernel_releases


def promote_latest(*, latest: Path, artifacts: Path, gate: str, output: Path) -> None:
    """Check the newest generation as `gate` demands and make it current.

    `latest` is its manifest, seen through generations/latest. A gate that fails leaves
    `current` where it was. `output` records what was promoted.
    """
    generation = latest.parent.resolve()
    manifest = read_manifest(generation)
    check_gate(generation, manifest, gate)
    point_current(artifacts, manifest)
    write_file(output, (json.dumps({"id": manifest.id, "gate": gate}) + "\n").encode())


def check_gate(generation: Path, manifest: Manifest, gate: str) -> None:
    """Raise PublishError unless the generation may become current under this gate."""
    if gate != "checks":
        raise PublishError(
            "recipes/site.toml: generation.gate",
            "is not a gate",
            expected="checks",
            got=gate,
            hint='set gate = "checks"',
        )
    check_files(generation, manifest)
    check_kernel_releases(generation, manifest)


def point_current(artifacts: Path, manifest: Manifest) -> None:
    """One rename moves everything; what goes through the link follows by itself.

    `artifacts/<kind>/<name>/current` leads through `artifacts/current`, so kinds cannot
    disagree; `artifacts/<kind>/<name>/<id>` stays with its generation. They are made
    before the move: until it, they lead to the old generation or nowhere.
    """
    for kind, name in sorted({(part.kind, part.name) for part in manifest.artifacts}):
        directory = artifacts / kind / name
        _link(directory / "current", f"../../current/{kind}/{name}")
        _link(directory / manifest.id, f"../../generations/{manifest.id}/{kind}/{name}")
    replace_link(artifacts / "current", f"generations/{manifest.id}")
    _drop_dangling(artifacts)
    candidate = artifacts / "candidate"
    if candidate.is_symlink() and os.readlink(candidate) == f"generations/{manifest.id}":
        candidate.unlink()  # a candidate is a generation *not yet* promoted


def _drop_dangling(artifacts: Path) -> None:
    """Remove `<kind>/<name>/current` of names that the current generation does not have."""
    for directory in artifacts.glob("*/*"):
        link = directory / "current"
        if link.is_symlink() and not link.exists():
            link.unlink()


def _link(link: Path, destination: str) -> None:
    if not (link.is_symlink() and os.readlink(link) == destination):
        replace_link(link, destination)
