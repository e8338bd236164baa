"""The generations there are, as a person speaks of them.

What is damaged, foreign or of another version is listed with its trouble and disturbs
nothing else: one bad directory must not keep anyone from rolling back.
"""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import BootsmithError, PublishError
from bootsmith.files.atomic import PARTIAL_SUFFIX
from bootsmith.files.manifest import read_manifest
from bootsmith.files.netboot_tree import tree_of
from bootsmith.formats.manifest import MANIFEST_NAME, Artifact, Manifest
from bootsmith.formats.netboot_tree import NETBOOT, NetbootTree, render_text
from bootsmith.generations.history import generation_ids, linked_id
from bootsmith.generations.tree_check import artifact_of

Say = Callable[[str], None]
_LISTED_IN_ERRORS = 5


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One directory below generations/; `trouble` says why there is no `manifest`."""

    id: str
    directory: Path
    manifest: Manifest | None
    trouble: str | None = None

    @property
    def removal(self) -> str:
        """The command that removes it, for one that no verb does remove."""
        return f"rm -rf {shlex.quote(str(self.directory))}"

    @property
    def tree(self) -> NetbootTree:
        """Its netboot tree; an empty one where it has none, or none that can be read."""
        manifest = self.manifest
        return (tree_of(self.directory, manifest) if manifest else None) or NetbootTree()

    @property
    def files(self) -> Iterator[Artifact]:
        """Every file that has a digest, of its netboot tree too."""
        yield from self.require_manifest().artifacts
        yield from (artifact_of(path, file) for path, file in self.tree.files.items())

    @property
    def file_count(self) -> int:
        """How many files it has, the manifest too; links are none."""
        tree = self.tree
        return len(self.require_manifest().artifacts) + len(tree.files) + len(tree.texts) + 1

    @property
    def own_sizes(self) -> dict[str, int]:
        """Size by path of what is in no other generation: its manifest and the texts naming it."""
        top = self.directory
        sizes = {
            f"{top}/{NETBOOT}/{path}": len(render_text(text, self.id))
            for path, text in self.tree.texts.items()
        }
        return {**sizes, f"{top}/{MANIFEST_NAME}": os.stat(top / MANIFEST_NAME).st_size}

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each of its files, by digest or as in `own_sizes`: equal content counts once.

        Their sum is the size of a generation, wherever one is told.
        """
        return {**{part.sha256: part.size_bytes for part in self.files}, **self.own_sizes}

    def require_manifest(self) -> Manifest:
        """Its manifest; PublishError if it has none that can be read."""
        if self.manifest is None:
            raise PublishError(
                self.id,
                f"cannot be used: {self.trouble}",
                hint="doit generations lists the others",
            )
        return self.manifest


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Every generation, oldest first, and what else lies among them."""

    artifacts: Path
    generations: tuple[Generation, ...]
    strays: tuple[str, ...]
    """Names below generations/ that are none."""
    current: str | None
    candidate: str | None
    latest: str | None
    """The ids that the links name, there or not."""

    @property
    def by_id(self) -> dict[str, Generation]:
        """The generations by id, oldest first."""
        return {generation.id: generation for generation in self.generations}

    @property
    def sound(self) -> tuple[Generation, ...]:
        """Those whose manifest can be read, oldest first."""
        return tuple(part for part in self.generations if part.manifest is not None)

    def find(self, word: str) -> Generation:
        """The generation that a person means: an id, its unique beginning, its serial, a link.

        PublishError for none and for more than one.
        """
        known = self.by_id
        if word in ("current", "candidate", "latest"):
            identifier = getattr(self, word)
            if identifier not in known:
                raise PublishError(
                    word,
                    "there is none" if identifier is None else f"leads to {identifier}, not there",
                    hint="doit generations lists what there is"
                    if known
                    else "make the first: doit build",
                )
            return known[identifier]
        if word in known:
            return known[word]
        serial = word if word.startswith(".") else f".{word}"
        is_serial = serial[1:].isdigit() and len(serial) < len(".2026")
        matching = [
            name
            for name in known
            if word and (name.endswith(serial) if is_serial else name.startswith(word))
        ]
        if len(matching) == 1:
            return known[matching[0]]
        if matching:
            raise PublishError(
                word, f"can be any of {_listed(matching)}", hint="give more of the id"
            )
        raise PublishError(word, "is not a generation here", hint=self._nearest(word))

    def _nearest(self, word: str) -> str:
        known = [*self.by_id]
        if not known:
            return "make the first: doit build"
        close = difflib.get_close_matches(word, known, n=1) or known[-1:]
        return f"the nearest is {close[0]}; doit generations lists all"

    def say_troubles(self, say: Say) -> None:
        """One line for each thing that is no generation, or none that can be read."""
        for name in self.strays:
            say(f"generations/{name}: not a generation; left alone")
        for generation in self.generations:
            if generation.trouble is not None:
                say(f"generations/{generation.id}: {generation.trouble}; left alone")


def _listed(names: list[str]) -> str:
    shown = names[-_LISTED_IN_ERRORS:]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more


def read_catalogue(artifacts: Path) -> Catalogue:
    """What there is below `artifacts`; nothing there is a catalogue without entries."""
    ids = generation_ids(artifacts)
    return Catalogue(
        artifacts=artifacts,
        generations=tuple(map(_read, (artifacts / "generations" / name for name in ids))),
        strays=_strays(artifacts / "generations", set(ids)),
        current=linked_id(artifacts / "current"),
        candidate=linked_id(artifacts / "candidate"),
        latest=linked_id(artifacts / "generations" / "latest"),
    )


def _read(directory: Path) -> Generation:
    name = directory.name
    try:
        manifest = read_manifest(directory)
    except BootsmithError as error:
        problem = f"{MANIFEST_NAME} {error.problem}"
        trouble = f"{problem}, got {error.got}" if error.got is not None else problem
        return Generation(id=name, directory=directory, manifest=None, trouble=trouble)
    if manifest.id != name:
        trouble = f"{MANIFEST_NAME} is of {manifest.id!a}"
        return Generation(id=name, directory=directory, manifest=None, trouble=trouble)
    return Generation(id=name, directory=directory, manifest=manifest)


def _strays(directory: Path, ids: set[str]) -> tuple[str, ...]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return ()
    return tuple(
        sorted(
            ascii(name)[1:-1]
            for name in names
            if name not in ids
            and name != "latest"
            # Left by a killed run; collected by the next one that changes something.
            and not (name.startswith(".") and name.endswith(PARTIAL_SUFFIX))
        )
    )
