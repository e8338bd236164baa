"""Put built artifacts together as one generation: complete and re-hashed, or not at all."""

from __future__ import annotations

import json
import mmap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bootsmith.files.atomic import replace_link, replacing_directory, write_file
from bootsmith.files.digest import sha256_of
from bootsmith.files.store import Store
from bootsmith.formats.bzimage import read_bzimage
from bootsmith.formats.modloop import modloop_kernel_release
from bootsmith.formats.squashfs import Squashfs
from bootsmith.generations.manifest import MANIFEST_NAME, Artifact, Manifest, read_manifest
from bootsmith.generations.verify import check_files

Progress = Callable[[str, int, int | None], None]


def assemble_generation(
    *,
    site: str,
    artifacts: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Path],
    store: Path,
    generations: Path,
    candidate: Path,
    output: Path,
    provenance: Callable[[], Mapping[str, Any]],
    progress: Progress,
    today: Callable[[], str] = lambda: time.strftime("%Y-%m-%d", time.gmtime()),
) -> None:
    """Make the newest generation and point `candidate` at it.

    Each of `artifacts` has `path` (in the generation), `source`, `kind`, `name`, `values`
    (a mapping) and `reports` (JSON files whose top level joins the values). `output` is
    the manifest seen through the link `generations/latest`. Content that equals the
    latest generation's makes no new one.
    """
    releases = {name: _release_words(path) for name, path in facts.items()}
    content = _store_all(Store(store), artifacts, releases, progress)
    draft = Manifest(
        id="",
        site=site,
        artifacts=content,
        releases=releases,
        steps=provenance(),
    )
    generations.mkdir(parents=True, exist_ok=True)
    latest = output.parent
    if _holds(latest, draft):
        return
    identifier = _next_id(generations, today())
    manifest = replace(draft, id=identifier)
    progress("verifying", 0, None)
    with replacing_directory(generations / identifier) as directory:
        for artifact in content:
            Store(store).link(artifact.sha256, directory / artifact.path)
        write_file(directory / MANIFEST_NAME, manifest.to_json())
        check_files(directory, manifest)
    replace_link(latest, identifier)
    replace_link(candidate, f"generations/{identifier}")


def _store_all(
    store: Store,
    artifacts: Sequence[Mapping[str, Any]],
    releases: Mapping[str, Any],
    progress: Progress,
) -> tuple[Artifact, ...]:
    stored = []
    for number, artifact in enumerate(artifacts):
        progress(f"storing {artifact['path']}", number, len(artifacts))
        source = artifact["source"]
        sha256 = sha256_of(source)
        store.add(source, sha256)
        stored.append(
            Artifact(
                path=artifact["path"],
                kind=artifact["kind"],
                name=artifact["name"],
                sha256=sha256,
                size_bytes=source.stat().st_size,
                details=_details(artifact, releases),
            )
        )
    return tuple(stored)


def _details(artifact: Mapping[str, Any], releases: Mapping[str, Any]) -> dict[str, Any]:
    details: dict[str, Any] = {}
    read_release = _KERNEL_RELEASE_READERS.get(artifact["kind"])
    if read_release is not None:
        details["kernel_release"] = read_release(artifact["source"])
    for report in artifact["reports"]:
        details.update(json.loads(report.read_bytes()))
    details.update(artifact["values"])
    if details.get("release") in releases:
        # Said of each file, not only once: nobody shall take a stand-in for Alpine.
        details["is_standin"] = releases[details["release"]]["is_standin"]
    return details


def _kernel_release_of_kernel(kernel: Path) -> str:
    return read_bzimage(kernel.read_bytes(), subject=str(kernel)).kernel_release


def _kernel_release_of_modloop(modloop: Path) -> str:
    with open(modloop, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return modloop_kernel_release(Squashfs(view, subject=str(modloop)))


# Read from the bytes that machines will boot, not passed on from an earlier step: the gate
# compares them. (A pxerd says it in its report.)
_KERNEL_RELEASE_READERS = {
    "kernel": _kernel_release_of_kernel,
    "modloop": _kernel_release_of_modloop,
}


def _release_words(facts: Path) -> dict[str, Any]:
    """What a reader of the manifest wants to know of a release; not its file list."""
    words = json.loads(facts.read_bytes())
    return {name: value for name, value in words.items() if name not in ("files", "flavors")}


def _holds(latest: Path, draft: Manifest) -> bool:
    if not (latest / MANIFEST_NAME).is_file():
        return False
    known = read_manifest(latest)
    return known.content_digest == draft.content_digest and known.site == draft.site


def _next_id(generations: Path, date: str) -> str:
    """`<date>.<serial>`, as the users name their dated images; serials start at 1."""
    serials = [
        int(entry.name.rpartition(".")[2])
        for entry in generations.iterdir()
        if entry.name.rpartition(".")[0] == date and entry.name.rpartition(".")[2].isdigit()
    ]
    return f"{date}.{max(serials, default=0) + 1}"
