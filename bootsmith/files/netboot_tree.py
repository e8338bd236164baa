"""The netboot tree of a generation on the disk: laid by its index, and looked through."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bootsmith.errors import BootsmithError
from bootsmith.files.batch import flush
from bootsmith.files.store import Store
from bootsmith.formats.manifest import Artifact, Manifest
from bootsmith.formats.netboot_tree import (
    INDEX_PATH,
    NETBOOT,
    NetbootTree,
    read_netboot_tree,
    render_text,
)

TEXT_MODE = 0o444
Inode = tuple[int, int]
"""Of a device, and in it."""
_NO_SECOND_NAME = (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOENT)


def index_of(manifest: Manifest) -> Artifact | None:
    """The artifact that is the index of its netboot tree; None for a generation without one."""
    return next((part for part in manifest.artifacts if part.path == INDEX_PATH), None)


def tree_of(generation: Path, manifest: Manifest) -> NetbootTree | None:
    """What the netboot tree of this generation holds; none is an empty one.

    None where the index is not what the manifest says: that is told of the index itself.
    """
    index = index_of(manifest)
    if index is None:
        return NetbootTree()
    path = generation / INDEX_PATH
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != index.sha256:
            return None
        return read_netboot_tree(content, subject=path)
    except (OSError, BootsmithError):
        return None


# --- laying -------------------------------------------------------------------------------


@dataclass(frozen=True)
class EarlierTree:
    """The tree of another generation, whose links get second names in a new one."""

    directory: Path
    """That generation."""
    tree: NetbootTree

    def links(self) -> dict[str, str]:
        """By text: the path of a link that has it."""
        top = f"{self.directory}/{NETBOOT}"
        found = {target: f"{top}/{path}" for path, target in self.tree.links.items()}
        return {target: path for target, path in found.items() if _read_link(path) == target}


def lay_tree(
    generation: Path,
    identifier: str,
    tree: NetbootTree,
    store: Store,
    *,
    earlier: EarlierTree | None = None,
) -> None:
    """Make `netboot/` of the directory `generation`, which is to be called `identifier`.

    Files are links into the store; links with one text are names of one inode, that of
    `earlier` where it has such: a tree of ten thousand hosts costs names, and no inodes.
    Content is on the disk on return, names are when the caller has flushed the directories.
    """
    top = f"{generation}/{NETBOOT}"
    os.makedirs(top, exist_ok=True)
    for directory in sorted(tree.directories):
        os.mkdir(f"{top}/{directory}")
    for path, file in tree.files.items():
        store.link(file.sha256, Path(f"{top}/{path}"))
    _lay_links(top, tree.links, earlier.links() if earlier else {})
    for path, text in tree.texts.items():
        _write_text(f"{top}/{path}", render_text(text, identifier))
    flush(f"{top}/{path}" for path in tree.texts)


def _lay_links(top: str, links: Mapping[str, str], known: dict[str, str]) -> None:
    for path, target in links.items():
        name = f"{top}/{path}"
        same = known.get(target)
        if same is None or not _give_second_name(same, name):
            os.symlink(target, name)
            known[target] = name


def _give_second_name(link: str, name: str) -> bool:
    """False where that cannot be: by the filesystem, its limit, or whose the link is."""
    try:
        os.link(link, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_SECOND_NAME:
            raise
        return False
    return True


def _write_text(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb", buffering=0) as out:
        os.fchmod(descriptor, TEXT_MODE)
        out.write(content)


# --- looking ------------------------------------------------------------------------------


@dataclass(frozen=True)
class FoundFile:
    """A regular file as stat(2) has it."""

    inode: Inode
    mode: int


@dataclass
class FoundTree:
    """What lies in a netboot tree, by path; `others` in words, what is neither."""

    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, FoundFile] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    others: dict[str, str] = field(default_factory=dict)


def look_through(top: Path, *, wanted: Iterable[str]) -> FoundTree:
    """Everything below `top`; of directories that are not `wanted` the name only."""
    found = FoundTree()
    if top.is_symlink():  # what machines would see through it is not in this generation
        return found
    descend = frozenset(wanted)
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            with os.scandir(f"{top}/{prefix}") as entries:
                for entry in entries:
                    path = prefix + entry.name
                    if _note(found, path, entry) and path in descend:
                        pending.append(f"{path}/")
        except OSError as error:
            if prefix or os.path.lexists(top):
                found.others[prefix.rstrip("/")] = f"cannot be read ({error.strerror})"
    return found


def _note(found: FoundTree, path: str, entry: os.DirEntry[str]) -> bool:
    """Take note of an entry; True for a directory."""
    if entry.is_symlink():
        found.links[path] = os.readlink(entry.path)
    elif entry.is_dir(follow_symlinks=False):
        found.directories.add(path)
        return True
    elif entry.is_file(follow_symlinks=False):
        status = entry.stat(follow_symlinks=False)
        found.files[path] = FoundFile((status.st_dev, status.st_ino), stat.S_IMODE(status.st_mode))
    else:
        found.others[path] = "is no file, directory or link"
    return False


def _read_link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
