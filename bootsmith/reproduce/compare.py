"""Everything that two builds made, file by file, and which step was the first to differ.

Compared are all outputs of steps and every file, link and directory of the generation, by
digest and mode. Not compared are the records of the run itself, which name its day, its user and
its keys: promotion.json, and of MANIFEST.json all but what it says of artifacts and releases.
Texts that name their generation are held against what its index says of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootsmith.files.digest import sha256_of
from bootsmith.files.manifest import read_manifest
from bootsmith.files.netboot_tree import tree_of
from bootsmith.formats.manifest import MANIFEST_NAME
from bootsmith.formats.netboot_tree import NETBOOT, NetbootTree, render_text
from bootsmith.reproduce.trees import BuildStep

_RECORDERS = "bootsmith.generations."
GENERATION = "generation"
_LATEST = "generations/latest"


@dataclass(frozen=True, kw_only=True)
class Made:
    """One file or directory of a build: the step that made it, and what it is."""

    step: str
    about: str
    """`0644 <sha256>` of a file, `0755 directory` of a directory."""
    path: Path


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A step that made other files from the same ones."""

    step: str
    names: tuple[str, ...]
    """Its outputs that differ."""


Products = Mapping[str, Made]


def products_of(
    artifacts: Path, steps: Sequence[BuildStep], site_artifacts: Path, seen: Callable[[], None]
) -> Products:
    """Name below artifacts to what was made, in the order of the graph.

    `artifacts` is the build's directory, `site_artifacts` the one that `steps` name.
    """
    found = {}
    for step in steps:
        if step.by_request or step.builder.startswith(_RECORDERS):
            continue
        for output in step.outputs:
            name = output.relative_to(site_artifacts).as_posix()
            path = artifacts / name
            if path.is_file():
                found[name] = Made(step=step.label, about=_about(path), path=path)
                seen()
    if (artifacts / _LATEST).is_dir():
        for name, made in _generation_files((artifacts / _LATEST).resolve()):
            found[f"{_LATEST}/{name}".rstrip("/")] = made
            seen()
    return found


def _generation_files(directory: Path) -> Iterator[tuple[str, Made]]:
    manifest = read_manifest(directory)
    tree = tree_of(directory, manifest) or NetbootTree()
    texts = {f"{NETBOOT}/{path}": text for path, text in tree.texts.items()}
    for parent, directories, files in os.walk(directory):
        directories.sort()
        where = Path(parent)
        links = [name for name in directories if (where / name).is_symlink()]
        for path in (where, *(where / name for name in sorted([*files, *links]))):
            name = path.relative_to(directory).as_posix().removeprefix(".")
            if name == MANIFEST_NAME:
                about = _about_manifest(directory)
            elif name in texts and path.read_bytes() == render_text(texts[name], manifest.id):
                about = f"{stat.S_IMODE(path.stat().st_mode):04o} (the text that its index has)"
            else:
                about = _about(path)
            yield name, Made(step=GENERATION, about=about, path=path)


def _about(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {os.readlink(path)}"
    what = "directory" if stat.S_ISDIR(mode) else sha256_of(path)
    return f"{stat.S_IMODE(mode):04o} {what}"


def _about_manifest(directory: Path) -> str:
    """Of a manifest, the part that is the same wherever it was made."""
    manifest = read_manifest(directory)
    content = [[vars(artifact) for artifact in manifest.artifacts], manifest.releases]
    mode = stat.S_IMODE((directory / MANIFEST_NAME).stat().st_mode)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{mode:04o} {digest} (of its artifacts and releases)"


def differing(first: Products, second: Products) -> list[str]:
    """Names that are in one only or are not the same, in the order of the graph."""
    names = [*first, *(name for name in second if name not in first)]
    return [name for name in names if _about_of(first, name) != _about_of(second, name)]


def _about_of(products: Products, name: str) -> str | None:
    made = products.get(name)
    return made.about if made else None


def causes_of(
    names: Sequence[str], steps: Sequence[BuildStep], site_artifacts: Path
) -> list[Cause]:
    """The steps whose outputs differ though all that they read is the same, in order.

    Every other difference may be nothing but their consequence.
    """
    changed = {site_artifacts / name for name in names}
    causes = []
    for step in steps:
        made = [path for path in step.outputs if path in changed]
        if made and not step.by_request and not changed.intersection(step.inputs):
            outputs = tuple(path.relative_to(site_artifacts).as_posix() for path in made)
            causes.append(Cause(step=step.label, names=outputs))
    if not causes:
        causes.append(Cause(step=GENERATION, names=tuple(names)))
    return causes
