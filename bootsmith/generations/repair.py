"""Put back what a generation has lost, from a copy that is proven good, or not at all."""

from __future__ import annotations

import os
import secrets
import shlex
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bootsmith.errors import BootsmithError
from bootsmith.files.atomic import (
    PARTIAL_SUFFIX,
    fsync_directory,
    make_directory,
    replace_link,
    write_file,
)
from bootsmith.files.digest import sha256_of
from bootsmith.files.store import Store
from bootsmith.formats.manifest import Artifact
from bootsmith.formats.netboot_tree import INDEX_PATH
from bootsmith.generations.catalogue import Catalogue, Generation
from bootsmith.generations.history import standing_id
from bootsmith.generations.links import BadLink
from bootsmith.generations.problem import FILE_MODE, Problem
from bootsmith.generations.remake import Remake


@dataclass(kw_only=True)
class Repair:
    """Mends one problem at a time; each answer begins with `mended`, or says what to do.

    A digest is mended once: in the store, and in every generation that holds it.
    """

    catalogue: Catalogue
    store: Store
    build: Path
    remake: Remake
    _mended: set[str] = field(default_factory=set)
    _held: dict[str, list[tuple[Path, str]]] | None = None

    def put_back(self, generation: Generation, problem: Problem) -> str:
        """Give the generation what is missing or damaged: a good copy, a link or a text."""
        path = problem.path.relative_to(generation.directory).as_posix()
        link = _no_directory_on_the_way(generation.directory, path)
        if link is not None:
            # Through a link we would write somewhere else.
            what = "link" if link.is_symlink() else "file"
            return f"{link} is a {what}: remove it (rm {link}), then doit verify --repair"
        if problem.path.is_dir() and not problem.path.is_symlink():
            return f"a directory stands in its place: remove it (rm -r {problem.path})"
        if problem.link is not None:
            self._put(problem.path, partial(os.symlink, problem.link))
            return f"mended: leads to {problem.link}"
        if problem.text is not None:
            self._put(problem.path, partial(_write, problem.text))
            return "mended: written as the index has it"
        artifact = problem.artifact
        assert artifact is not None
        outcome = self._mend(artifact) or self._make_again(generation, artifact)
        if artifact.path == INDEX_PATH and outcome.startswith("mended"):
            return f"is {outcome}; what it names comes next: doit verify --repair {generation.id}"
        return outcome

    def replace_object(self, problem: Problem) -> str:
        """Give the store a good copy of an object."""
        if problem.artifact is None:
            if self.store.is_place(problem.path) and problem.path.is_file():
                problem.path.unlink()
                return "mended: removed, no generation that was looked at holds it"
            return f"nothing of ours: remove it if it is nothing of yours (rm {problem.path})"
        return self._mend(problem.artifact) or "comes back with the file named above"

    def tidy(self, problem: Problem) -> str:
        """Make a published file read-only again; what is not in the manifest stays."""
        if problem.mode is None:
            return f"left there: {remove_by_hand(problem.path)}"
        os.chmod(problem.path, problem.mode)
        return f"mended: mode {problem.mode:04o}"

    def mend_link(self, link: BadLink) -> str:
        """Point a link where it belongs, or remove it where nothing is left to lead to."""
        if link.text is not None:
            replace_link(link.path, link.text)
            return f"mended: leads to {link.text}"
        if link.path == self.catalogue.artifacts / "current" or not link.path.is_symlink():
            was = standing_id(self.catalogue.artifacts)
            chosen = was if was in self.catalogue.by_id else "ID"
            return f"choose what machines boot: doit rollback --to {chosen}"
        link.path.unlink()
        return "mended: removed"

    def _mend(self, artifact: Artifact) -> str | None:
        if artifact.sha256 in self._mended:
            return "mended with the one above"
        source = next(self._good_copies(artifact), None)
        if source is None:
            return None
        self.store.add(source, artifact.sha256)
        self._hand_out(artifact)
        return f"mended from {self._shown(source)}"

    def _make_again(self, generation: Generation, artifact: Artifact) -> str:
        content = self.remake.content_of(artifact, generation.require_manifest())
        if content is None:
            return _rebuild(generation, artifact)
        try:
            self.store.add_all({artifact.sha256: content})
        except (BootsmithError, OSError):
            return (
                f"no good copy is left: {content.hint}; "
                f"then doit verify --repair {generation.id} takes it from there"
            )
        self._hand_out(artifact)
        return f"mended: made again from {self._shown(content.subject)}"

    def _shown(self, place: Path | str) -> str:
        return str(place).removeprefix(f"{self.catalogue.artifacts.parent}/")

    def _hand_out(self, artifact: Artifact) -> None:
        """Link the good object wherever a generation holds this content."""
        stored = self.store.object_path(artifact.sha256)
        for directory, path in self._holders(artifact.sha256):
            target = directory / path
            if _no_directory_on_the_way(directory, path) is None and not (
                _is_same(target, stored) or (target.is_dir() and not target.is_symlink())
            ):
                self._put(target, partial(self.store.link, artifact.sha256))
        self._mended.add(artifact.sha256)

    def _good_copies(self, artifact: Artifact) -> Iterator[Path]:
        """Files whose content has just been read and is right: store, generations, build."""
        yield from (
            path
            for path in (
                self.store.object_path(artifact.sha256),
                *(directory / path for directory, path in self._holders(artifact.sha256)),
                *(
                    Path(parent, name)
                    for parent, _, names in os.walk(self.build)
                    for name in sorted(names)
                ),
            )
            if _is_good(path, artifact)
        )

    def _holders(self, sha256: str) -> Iterator[tuple[Path, str]]:
        """(directory, path) in every generation that has this content."""
        if self._held is None:
            self._held = defaultdict(list)
            for generation in self.catalogue.sound:
                for artifact in generation.files:
                    self._held[artifact.sha256].append((generation.directory, artifact.path))
        yield from self._held.get(sha256, ())

    def _put(self, target: Path, make: Callable[[Path], None]) -> None:
        """With one rename: a reader sees the old file or the new.

        `make` makes it where a kill leaves it to be collected, not among what is complete.
        """
        unfinished = self.catalogue.artifacts / "generations"
        unfinished /= f".{target.name}.{secrets.token_hex(6)}{PARTIAL_SUFFIX}"
        try:
            make(unfinished)
            lost = [path for path in target.parents if not path.is_dir()]
            make_directory(target.parent)
            for directory in lost:
                os.chmod(directory, 0o755)  # noqa: S103 - as all of a generation
            os.replace(unfinished, target)
            fsync_directory(target.parent)
        finally:
            unfinished.unlink(missing_ok=True)


def _write(content: bytes, target: Path) -> None:
    write_file(target, content, mode=FILE_MODE)


def _no_directory_on_the_way(directory: Path, path: str) -> Path | None:
    """The first name between the two that is there and no directory of its own."""
    place = directory
    for part in Path(path).parts[:-1]:
        place /= part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            return place
    return None


def _is_same(path: Path, stored: Path) -> bool:
    return not path.is_symlink() and path.exists() and path.samefile(stored)


def _is_good(path: Path, artifact: Artifact) -> bool:
    # Read again, whatever was read before: files have been replaced since.
    try:
        status = os.lstat(path)
        return (
            stat.S_ISREG(status.st_mode)
            and status.st_size == artifact.size_bytes
            and sha256_of(path) == artifact.sha256
        )
    except OSError:
        return False


def give_up(generation: Generation, catalogue: Catalogue) -> str:
    """What to do with one whose manifest cannot be read: nothing says what its files were."""
    remove = f"remove it ({generation.removal}), then doit verify --all --repair"
    if generation.id == catalogue.current:
        # With none to go back to, a build makes one: it takes a damaged one for none.
        other = "doit rollback" if catalogue.sound else "doit build makes it"
        remove = f"go to another first ({other}), then {remove}"
    return f"it cannot be mended: {remove}"


def remove_by_hand(path: Path) -> str:
    """What to do about something that is not of the generation it lies in."""
    return f"remove it if it is nothing of yours (rm -r {shlex.quote(str(path))})"


def _rebuild(generation: Generation, artifact: Artifact) -> str:
    manifest = generation.require_manifest()
    # The netboot tree has names for files of other steps; `netboot` makes none of them.
    same = [one for one in manifest.artifacts if one.sha256 == artifact.sha256]
    labels = [
        label
        for one in (*same, artifact)
        for label in (f"{one.kind}:{one.name}", f"flavor:{one.details.get('set')}")
    ]
    step = next((label for label in labels if label in manifest.steps), "build")
    return (
        f"no good copy is left: if doit {step} makes these bytes again, "
        f"doit verify --repair {generation.id} takes them from there"
    )
