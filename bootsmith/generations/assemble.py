"""Put built artifacts together as one generation: complete and re-hashed, or not at all."""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bootsmith.errors import FormatError, PublishError
from bootsmith.files.atomic import (
    directories_below,
    make_directory,
    replace_link,
    replacing_directory,
    write_file,
)
from bootsmith.files.checkout import checked_out_commit
from bootsmith.files.digest import DigestMemory, remembered_sha256, sha256_of
from bootsmith.files.manifest import read_manifest
from bootsmith.files.netboot_tree import EarlierTree, lay_tree, tree_of
from bootsmith.files.store import Store
from bootsmith.formats.bzimage import read_bzimage
from bootsmith.formats.manifest import MANIFEST_NAME, Artifact, Manifest
from bootsmith.formats.modloop import modloop_kernel_release
from bootsmith.formats.netboot_tree import NetbootTree
from bootsmith.formats.squashfs import Squashfs
from bootsmith.generations.digests import Digests
from bootsmith.generations.history import generation_ids
from bootsmith.generations.netboot_parts import gather_netboot, store_tree
from bootsmith.generations.verify import check_files
from bootsmith.generations.withdrawal import withdrawn_as

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
    memory: DigestMemory | None = None,
    damaged: Collection[Path] = (),
    netboot: Mapping[str, Any] | None = None,
    site_root: Path | None = None,
    today: Callable[[], str] = lambda: time.strftime("%Y-%m-%d", time.gmtime()),
    clock: Callable[[], float] = time.time,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Make the newest generation and point `candidate` at it.

    Each of `artifacts` has `path` (in the generation), `source`, `kind`, `name`, `values`
    (a mapping) and `reports` (JSON files whose top level joins the values). `output` is
    the manifest seen through the link `generations/latest`. Content that equals the
    latest generation's makes no new one, unless that one lost or changed a file, or its
    manifest is `damaged`: generations are replaced, never mended in place. `site_root` is
    where the recipes are, for the commit that they come from; `memory` knows digests of what
    was built. `netboot` has the `indexes`, `media` and `build` of `gather_netboot`; None
    where nothing boots from the network. Every object is read once: it is verified in the store,
    and whatever is then found under its name in the generation must be that very inode or is
    read too. One that is damaged is replaced, which `tell` gets: older generations hold it still.
    """
    releases = {name: _release_words(path) for name, path in facts.items()}
    objects, digests = Store(store), Digests()
    content = _store_all(objects, artifacts, releases, digests, memory, progress)
    tree = NetbootTree()
    if netboot is not None:
        by_path = {artifact.path: artifact for artifact in content}
        parts = gather_netboot(**netboot, artifacts=by_path)
        tree = parts.tree
        content = (*content, store_tree(parts, objects, digests, progress))
    if objects.replaced and tell is not None:
        tell(_damage(objects.replaced))
    draft = Manifest(
        id="",
        site=site,
        artifacts=content,
        releases=releases,
        steps=provenance(),
    )
    make_directory(generations)
    newest = _newest(generations)
    if newest is not None and output not in damaged and _holds(newest, draft):
        if output.parent.resolve() != newest.resolve():
            # A run was killed before it linked to it, or someone removed the link alone.
            _link_newest(output.parent, candidate, newest.name)
        return
    identifier = _next_id(generations, today())
    manifest = replace(
        draft,
        id=identifier,
        site_revision=checked_out_commit(site_root) if site_root is not None else None,
        created_epoch=int(clock()),
    )
    progress("verifying", 0, None)
    with replacing_directory(generations / identifier) as directory:
        for artifact in content:
            objects.link(artifact.sha256, directory / artifact.path)
        if netboot is not None:
            lay_tree(directory, identifier, tree, objects, earlier=_earlier(newest))
        write_file(directory / MANIFEST_NAME, manifest.to_json())
        _open_directories(directory)
        check_files(directory, manifest, digests=digests)
    _link_newest(output.parent, candidate, identifier)


def _damage(replaced: Sequence[Path]) -> str:
    first = "/".join(replaced[0].parts[-4:])
    others = len(replaced) - 1
    found = f"{first} and {others} more of the store were" if others else f"{first} was"
    return (
        f"{found} damaged, and made again; "
        "generations may hold what was there: doit verify --all --repair"
    )


def _link_newest(latest: Path, candidate: Path, identifier: str) -> None:
    """Point both links at a generation; `latest` last, for it tells that both were made."""
    current = candidate.with_name("current")
    manifest = read_manifest(latest.with_name(identifier))
    if withdrawn_as(candidate.parent, manifest) is not None:
        candidate.unlink(missing_ok=True)  # neither it nor an older one waits to be promoted
    elif not (current.is_symlink() and os.readlink(current) == f"generations/{identifier}"):
        replace_link(candidate, f"generations/{identifier}")
    replace_link(latest, identifier)


def _open_directories(generation: Path) -> None:
    """Let servers in, whatever umask this runs under: what is in it is for everybody."""
    for directory in directories_below(generation):
        os.chmod(directory, 0o755)  # noqa: S103 - published, and written by nobody else


def _store_all(
    store: Store,
    artifacts: Sequence[Mapping[str, Any]],
    releases: Mapping[str, Any],
    digests: Digests,
    memory: DigestMemory | None,
    progress: Progress,
) -> tuple[Artifact, ...]:
    stored = []
    for number, artifact in enumerate(artifacts):
        progress(f"storing {artifact['path']}", number, len(artifacts))
        source = artifact["source"]
        status = source.stat()
        sha256 = remembered_sha256(source, memory, status) if memory else sha256_of(source)
        digests.take(store.add(source, sha256), sha256)
        stored.append(
            Artifact(
                path=artifact["path"],
                kind=artifact["kind"],
                name=artifact["name"],
                sha256=sha256,
                size_bytes=status.st_size,
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


def _earlier(generation: Path | None) -> EarlierTree | None:
    """Its netboot tree, if it can be read: a new one shares the links of it."""
    if generation is None:
        return None
    try:
        tree = tree_of(generation, read_manifest(generation))
    except (PublishError, FormatError):
        return None
    return EarlierTree(generation, tree) if tree is not None else None


def _newest(generations: Path) -> Path | None:
    ids = generation_ids(generations.parent)
    return generations / ids[-1] if ids else None


def _holds(generation: Path, draft: Manifest) -> bool:
    """Whether it is what `draft` asks for, with every byte of it; a damaged one is not."""
    try:
        known = read_manifest(generation)
        if known.content_digest != draft.content_digest or known.site != draft.site:
            return False
        check_files(generation, known)
    except (PublishError, FormatError):
        return False
    return True


def _next_id(generations: Path, date: str) -> str:
    """`<date>.<serial>`, as the users name their dated images; serials start at 1."""
    serials = [
        int(entry.name.rpartition(".")[2])
        for entry in generations.iterdir()
        if entry.name.rpartition(".")[0] == date and entry.name.rpartition(".")[2].isdigit()
    ]
    return f"{date}.{max(serials, default=0) + 1}"
