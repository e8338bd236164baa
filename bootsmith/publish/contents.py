"""What is delivered of a generation: every name in its directory, and what must be there.

Files are known by the manifest and by the index of the netboot tree, which the manifest knows.
The directory is read too, for its names, types and sizes: what nobody vouches for is not sent.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.files.netboot_tree import tree_of
from bootsmith.formats.manifest import MANIFEST_NAME
from bootsmith.formats.netboot_tree import (
    INDEX_PATH,
    NETBOOT,
    TreeFile,
    render_text,
)
from bootsmith.generations.catalogue import Generation


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A generation, path by path, relative to `directory`."""

    id: str
    site: str
    """Whose machines it is for."""
    directory: Path
    files: Mapping[str, TreeFile]
    links: Mapping[str, str]
    distinct: tuple[str, ...]
    """Of files that are one file under several names, one name each."""

    @functools.cached_property
    def directories(self) -> frozenset[str]:
        """Every directory that holds something."""
        found: set[str] = set()
        for path in (*self.files, *self.links):
            parent = path.rpartition("/")[0]
            while parent and parent not in found:
                found.add(parent)
                parent = parent.rpartition("/")[0]
        return frozenset(found)

    @functools.cached_property
    def content_bytes(self) -> int:
        """Size of all files, each counted once."""
        return sum(self.files[path].size_bytes for path in self.distinct)

    @property
    def manifest_sha256(self) -> str:
        """What tells it from a generation of another site with the same id."""
        return self.files[MANIFEST_NAME].sha256


def read_contents(generation: Generation) -> Contents:
    """The contents of a generation; PublishError if its directory holds something else.

    Bytes of files are not read: they are compared where they arrive.
    """
    expected, links = _expected(generation)
    found: dict[str, tuple[int, int]] = {}
    for path, status in _walk(generation.directory, ""):
        found[path] = (status.st_dev, status.st_ino)
        if path in links:
            if not stat.S_ISLNK(status.st_mode):
                raise _damaged(generation, path, "is not a symbolic link")
            if os.readlink(generation.directory / path) != links[path]:
                raise _damaged(generation, path, "leads elsewhere than the manifest says")
        elif path not in expected:
            raise _damaged(generation, path, "is not in the manifest")
        elif not stat.S_ISREG(status.st_mode):
            raise _damaged(generation, path, "is not a regular file")
        elif status.st_size != expected[path].size_bytes:
            raise _damaged(generation, path, "has another size than the manifest says")
    for path in (*expected, *links):
        if path not in found:
            raise _damaged(generation, path, "is in the manifest but not in the generation")
    # Of several names of one file the first.
    first_names = {found[path]: path for path in sorted(expected, reverse=True)}
    return Contents(
        id=generation.id,
        site=generation.require_manifest().site,
        directory=generation.directory,
        files=expected,
        links=links,
        distinct=tuple(sorted(first_names.values())),
    )


def _expected(generation: Generation) -> tuple[dict[str, TreeFile], dict[str, str]]:
    manifest = generation.require_manifest()
    files = {part.path: TreeFile(part.sha256, part.size_bytes) for part in manifest.artifacts}
    content = (generation.directory / MANIFEST_NAME).read_bytes()
    files[MANIFEST_NAME] = _file_of(content)
    tree = tree_of(generation.directory, manifest)
    if tree is None:
        raise _damaged(generation, INDEX_PATH, "is damaged")
    for path, file in tree.files.items():
        files[f"{NETBOOT}/{path}"] = file
    for path, text in tree.texts.items():
        files[f"{NETBOOT}/{path}"] = _file_of(render_text(text, generation.id))
    return files, {f"{NETBOOT}/{path}": text for path, text in tree.links.items()}


def _file_of(content: bytes) -> TreeFile:
    return TreeFile(hashlib.sha256(content).hexdigest(), len(content))


def _walk(top: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every name but those of directories; links are not followed."""
    with os.scandir(top / prefix) as entries:
        for entry in entries:
            path = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(top, f"{path}/")
            else:
                yield path, entry.stat(follow_symlinks=False)


def _damaged(generation: Generation, path: str, problem: str) -> PublishError:
    return PublishError(
        generation.directory / path,
        problem,
        hint=f"doit verify --repair {generation.id}",
    )
