"""Is the netboot tree of a generation what its index says? Names, links, bytes and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from bootsmith.files.netboot_tree import FoundTree, Inode, look_through, tree_of
from bootsmith.formats.manifest import Artifact, Manifest
from bootsmith.formats.netboot_tree import (
    INDEX_NAME,
    NETBOOT,
    NetbootTree,
    TreeFile,
    render_text,
)
from bootsmith.generations.problem import FILE_MODE, Problem

_SHOWN_LETTERS = 60
_SURPLUS = "is not in the index of the netboot tree"


@dataclass(frozen=True, kw_only=True)
class TreeCheck:
    """The netboot tree of one generation: as it should be, and as it was found."""

    top: Path
    generation: str
    tree: NetbootTree
    found: FoundTree

    def paths_to_read(self) -> Iterator[str]:
        """Files whose content must be known."""
        return (f"{self.top}/{path}" for path in self.tree.files if path in self.found.files)

    def contents(self, digest_of: Callable[[Inode], str | None]) -> Iterator[Problem]:
        """What is missing, leads astray or has other bytes.

        `digest_of` knows the `paths_to_read` by their inodes.
        """
        for path, target in self.tree.links.items():
            there = self.found.links.get(path)
            if there != target:
                what = self._instead(path, "symbolic link") if there is None else "leads astray"
                yield Problem(
                    path=self.top / path, what=what, expected=target, got=there, link=target
                )
        for path, file in self.tree.files.items():
            found = self.found.files.get(path)
            digest = digest_of(found.inode) if found else None
            if digest != file.sha256:
                yield damaged_file(
                    self.top / path,
                    artifact_of(path, file),
                    digest,
                    self._instead(path, "regular file"),
                )
        yield from self._texts()

    def _texts(self) -> Iterator[Problem]:
        for path, text in self.tree.texts.items():
            content, place = render_text(text, self.generation), self.top / path
            if path not in self.found.files:
                yield Problem(path=place, what=self._instead(path, "regular file"), text=content)
            elif (got := _content(place)) != content:
                yield Problem(
                    path=place,
                    what="is damaged",
                    expected="the text of this generation",
                    got=_first_difference(content, got),
                    text=content,
                )

    def _instead(self, path: str, wanted: str) -> str:
        """What is wrong where no `wanted` is."""
        is_there = (
            path in self.found.links
            or path in self.found.files
            or path in self.found.directories
            or path in self.found.others
        )
        return f"is not a {wanted}" if is_there else "is in the index but not in the netboot tree"

    def surroundings(self) -> Iterator[Problem]:
        """Entries that the index does not name, and modes that are not as published."""
        found, directories = self.found, self.tree.directories
        names = {*self.tree.paths, INDEX_NAME}
        for path in sorted({*found.links, *found.files, *found.directories, *found.others}):
            place = self.top / path
            if path in directories:
                if path not in found.directories or path in found.others:
                    what = found.others.get(path, "is not a directory")
                    yield Problem(path=place, what=what)
            elif path not in names:
                yield Problem(path=place, what=found.others.get(path, _SURPLUS))
        for path in (INDEX_NAME, *self.tree.files, *self.tree.texts):
            mode = found.files[path].mode if path in found.files else FILE_MODE
            if mode != FILE_MODE:
                yield Problem(
                    path=self.top / path,
                    what="has another mode",
                    expected=f"{FILE_MODE:04o}",
                    got=f"{mode:04o}",
                    mode=FILE_MODE,
                )


def check_of(generation: Path, manifest: Manifest) -> TreeCheck | None:
    """A look through the tree; None where its index is damaged, which is said of that."""
    tree = tree_of(generation, manifest)
    if tree is None:
        return None
    top = generation / NETBOOT
    return TreeCheck(
        top=top,
        generation=manifest.id,
        tree=tree,
        found=look_through(top, wanted=tree.directories),
    )


def artifact_of(path: str, file: TreeFile) -> Artifact:
    """A file of a netboot tree as if the manifest named it."""
    return Artifact(
        path=f"{NETBOOT}/{path}",
        kind=NETBOOT,
        name=NETBOOT,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
    )


def damaged_file(path: Path, artifact: Artifact, digest: str | None, no_file: str) -> Problem:
    """A file with another `digest`, or in words why it has none; `no_file` if it is none."""
    if digest is None:
        return Problem(path=path, what=no_file, artifact=artifact)
    is_digest = len(digest) == len(artifact.sha256)
    return Problem(
        path=path,
        what="is damaged",
        expected=f"sha256 {artifact.sha256}",
        got=f"sha256 {digest}" if is_digest else digest,
        artifact=artifact,
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _first_difference(expected: bytes, got: bytes) -> str:
    pairs = zip_longest(expected.split(b"\n"), got.split(b"\n"), fillvalue=b"")
    for number, (right, line) in enumerate(pairs, 1):
        if line != right:
            return f"line {number}: {line.decode('utf-8', 'replace')[:_SHOWN_LETTERS]!a}"
    return "another end"
