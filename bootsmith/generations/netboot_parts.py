"""From the indexes that steps wrote to one netboot tree, and where its content comes from."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from bootsmith.errors import BootsmithError, FormatError, PublishError
from bootsmith.files.extents import Extents, copy_extents
from bootsmith.files.store import Content, Store, clone_file
from bootsmith.formats.manifest import Artifact
from bootsmith.formats.medium_digests import read_medium_digests
from bootsmith.formats.netboot_index import NetbootEntry, read_netboot_index
from bootsmith.formats.netboot_tree import (
    INDEX_NAME,
    INDEX_PATH,
    NETBOOT,
    NetbootTree,
    TreeFile,
    write_netboot_tree,
)
from bootsmith.formats.release_facts import read_release_facts
from bootsmith.generations.digests import Digests, Progress

_BUILD_AGAIN = "doit build"


@dataclass(frozen=True, kw_only=True)
class NetbootParts:
    """The tree, and by digest what its files can be made of."""

    tree: NetbootTree
    contents: Mapping[str, Content]


def gather_netboot(
    *,
    indexes: Sequence[Path],
    media: Mapping[str, Mapping[str, Path]],
    build: Path,
    artifacts: Mapping[str, Artifact],
) -> NetbootParts:
    """Join `indexes` to one tree.

    `artifacts` are the other files of the generation by path, already in the store; `media`
    maps releases to `iso`, `facts` and `digests`; `build` is what files of indexes are relative
    to. PublishError for what names nothing, FormatError for one name of two indexes.
    """
    gathering = _Gathering(media={name: _Medium(**paths) for name, paths in media.items()})
    for index in indexes:
        for entry in read_netboot_index(index.read_bytes(), subject=index):
            gathering.take(entry, index, build, artifacts)
    tree = NetbootTree(links=gathering.links, files=gathering.files, texts=gathering.texts)
    _check_links(tree)
    return NetbootParts(tree=tree, contents=gathering.contents)


def contents_of_indexes(
    *, indexes: Sequence[Path], media: Mapping[str, Mapping[str, Path]], build: Path
) -> Mapping[str, Content]:
    """By digest, what files of a netboot tree can be made of; arguments as of `gather_netboot`.

    What cannot be read is left out: this is for mending, where some of it may be lost.
    """
    gathering = _Gathering(media={name: _Medium(**paths) for name, paths in media.items()})
    found: dict[str, Content] = {}
    for index in indexes:
        with suppress(BootsmithError, OSError):
            for entry in read_netboot_index(index.read_bytes(), subject=index):
                if entry.link is not None or entry.part is not None or entry.text:
                    continue
                with suppress(BootsmithError, OSError):  # its ISO, perhaps
                    file, content = gathering.new_file(entry, index, build)
                    found.setdefault(file.sha256, content)
    return found


def index_content(index: bytes) -> Content:
    """What the object of a tree's index is made of."""
    return Content(INDEX_PATH, partial(_write, index), _BUILD_AGAIN)


def store_tree(parts: NetbootParts, store: Store, digests: Digests, progress: Progress) -> Artifact:
    """Put all content of the tree into the store; its index, in there too, as an artifact.

    What is there is read, for a damaged object must not be published again.
    """
    index = write_netboot_tree(parts.tree)
    sha256 = hashlib.sha256(index).hexdigest()
    contents = {
        **parts.contents,
        sha256: index_content(index),
    }
    places = {digest: store.object_path(digest) for digest in contents}
    progress(f"storing {NETBOOT}", 0, None)
    digests.read(places.values())
    new = {
        digest: content
        for digest, content in contents.items()
        if digests.of(places[digest]) != digest
    }
    store.add_all(new)
    for digest in new:
        digests.take(places[digest], digest)
    return Artifact(
        path=INDEX_PATH,
        kind=NETBOOT,
        name=NETBOOT,
        sha256=sha256,
        size_bytes=len(index),
        details={
            "files": len(parts.tree.files),
            "links": len(parts.tree.links),
            "texts": len(parts.tree.texts),
        },
    )


@dataclass
class _Gathering:
    media: Mapping[str, _Medium]
    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, TreeFile] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)

    def take(
        self, entry: NetbootEntry, index: Path, build: Path, artifacts: Mapping[str, Artifact]
    ) -> None:
        """Put one line where it belongs."""
        path = entry.path
        if path in self.links or path in self.files or path in self.texts or path == INDEX_NAME:
            raise FormatError(
                f"{NETBOOT}/{path}",
                "is made twice",
                hint="give one of the two another name; templates, installers and hosts share "
                "these names",
            )
        if entry.link is not None:
            self.links[path] = entry.link
        elif entry.content is not None and entry.text:
            self.texts[path] = entry.content
        elif entry.part is not None:
            part = artifacts.get(entry.part)
            if part is None:
                raise _names_nothing(index, entry, f"{entry.part}, which this generation lacks")
            self.files[path] = TreeFile(part.sha256, part.size_bytes)
        else:
            file, content = self.new_file(entry, index, build)
            self.files[path] = file
            self.contents.setdefault(file.sha256, content)

    def new_file(self, entry: NetbootEntry, index: Path, build: Path) -> tuple[TreeFile, Content]:
        """A file that only the tree has, and what it is made of."""
        if entry.content is not None:
            data = entry.content.encode()
            made = TreeFile(hashlib.sha256(data).hexdigest(), len(data))
            return made, Content(f"{index}: {entry.path}", partial(_write, data), _BUILD_AGAIN)
        if entry.file is not None:
            assert entry.sha256 is not None
            assert entry.size_bytes is not None
            source = build / entry.file
            again = f"rm -r {build / entry.file.split('/')[0]}, then doit build"
            copy = partial(_copy, source, again)
            return TreeFile(entry.sha256, entry.size_bytes), Content(str(source), copy, again)
        assert entry.iso is not None
        assert entry.from_path is not None
        medium = self.media.get(entry.iso)
        if medium is None:
            raise _names_nothing(index, entry, f"release {entry.iso}, which is not known")
        known = medium.files.get(entry.from_path)
        if known is None:
            raise _names_nothing(index, entry, f"{entry.from_path}, which is no file of that ISO")
        again = f"get the ISO again, then doit iso:{entry.iso} medium:{entry.iso}"
        copy = partial(medium.copy, entry.from_path)
        return TreeFile(*known), Content(f"{medium.iso}: {entry.from_path}", copy, again)


def _names_nothing(index: Path, entry: NetbootEntry, what: str) -> PublishError:
    return PublishError(
        index, f"{entry.path} is to be made of {what}", hint=f"build it again: {_BUILD_AGAIN}"
    )


@dataclass(kw_only=True)
class _Medium:
    """The ISO of a release, of which each file is known by its digest."""

    iso: Path
    facts: Path
    digests: Path

    @cached_property
    def files(self) -> Mapping[str, tuple[str, int]]:
        """Digest and size by path."""
        return read_medium_digests(self.digests.read_bytes(), subject=self.digests).files

    @cached_property
    def _extents(self) -> Mapping[str, Extents]:
        facts = read_release_facts(self.facts.read_bytes(), subject=str(self.facts))
        return {entry.path: entry.extents for entry in facts.files}

    def copy(self, path: str, target: Path) -> None:
        """Copy a file of the ISO into the empty file `target`."""
        with open(self.iso, "rb") as source, open(target, "r+b") as out:
            copy_extents(source.fileno(), self._extents[path], out.fileno())


def _write(content: bytes, target: Path) -> None:
    target.write_bytes(content)


def _copy(source: Path, again: str, target: Path) -> None:
    try:
        clone_file(source, target)
    except FileNotFoundError:
        raise PublishError(
            source, "is in the index of its step and not there", hint=again
        ) from None


def _check_links(tree: NetbootTree) -> None:
    """PublishError for a link that leads to nothing in the tree."""
    names = {*tree.paths, *tree.directories}
    # Ten thousand links of a directory lead to a few places.
    seen: dict[tuple[str, str], bool] = {}
    for path, target in tree.links.items():
        where = (path.rpartition("/")[0], target)
        if where not in seen:
            seen[where] = posixpath.normpath(posixpath.join(*where)) in names
        if not seen[where]:
            raise PublishError(
                f"{NETBOOT}/{path}",
                "would lead nowhere",
                got=target,
                hint="this is a defect of the step that made it; please report it",
            )
