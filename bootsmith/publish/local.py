"""Delivering into a directory on this machine: hard links where they can be, else copies."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import BootsmithError
from bootsmith.files.atomic import PARTIAL_SUFFIX
from bootsmith.files.manifest import read_manifest
from bootsmith.files.netboot_tree import tree_of
from bootsmith.files.store import clone_file
from bootsmith.formats.netboot_tree import NETBOOT
from bootsmith.generations.digests import Digests
from bootsmith.publish.contents import Contents
from bootsmith.publish.transfer import Progress

_FILE_MODE, _DIRECTORY_MODE = 0o444, 0o755
# Another file system, one without hard links, another's file (fs.protected_hardlinks), or a
# file that has as many names as it may have.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)


@dataclass(frozen=True, kw_only=True)
class LocalTransfer:
    """See Transfer. Nothing below the place is followed where it is a symbolic link."""

    contents: Contents
    place: Path
    name: str
    progress: Progress

    def would_send(self, path: str, earlier: Sequence[str]) -> int:
        """See Transfer."""
        if self._is_same_file_system():
            return 0
        directory = self.place / path
        # What a manifest in `path` itself says may not have come yet.
        others = [other for other in earlier if other != path]
        known = {sha256 for sha256, _ in self._known(directory, others)}
        wanted = {self.contents.files[name] for name in self.contents.distinct}
        return sum(file.size_bytes for file in wanted if file.sha256 not in known)

    def send(self, path: str, earlier: Sequence[str]) -> int:
        """See Transfer."""
        directory = self.place / path
        self._clear(directory)
        missing = [name for name in self.contents.files if not self._has_size(directory, name)]
        return self._lay(directory, missing, dict(self._known(directory, earlier)))

    def mend(self, path: str, wrong: Collection[str]) -> int:
        """See Transfer."""
        directory = self.place / path
        self._clear(directory)
        return self._lay(directory, [name for name in wrong if name in self.contents.files], {})

    def find_wrong(self, path: str) -> list[str]:
        """See Transfer."""
        directory, files, links = self.place / path, self.contents.files, self.contents.links
        there = dict(_names(directory, ""))
        wrong = [name for name in there if not self._is_wanted(directory, name, there[name])]
        wrong += [name for name in (*files, *links) if name not in there]
        digests = Digests(lambda words, *of: self.progress(f"{self.name}: {words}", *of))
        sound = [name for name in files if name not in set(wrong)]
        digests.read(directory / name for name in sound)
        wrong += [name for name in sound if digests.of(directory / name) != files[name].sha256]
        return sorted(wrong)

    def _is_same_file_system(self) -> bool:
        where = self.place if self.place.exists() else self.place.parent
        return os.stat(where).st_dev == os.stat(self.contents.directory).st_dev

    def _known(self, directory: Path, earlier: Sequence[str]) -> Iterator[tuple[str, Path]]:
        """Digest and place of files that are there, as the manifests there say."""
        for other in (self.place / path for path in earlier):
            try:
                manifest = read_manifest(other)
            except BootsmithError:
                continue  # damaged: then it is of no help
            for part in manifest.artifacts:
                yield part.sha256, other / part.path
            tree = tree_of(other, manifest)
            for path, file in tree.files.items() if tree else ():
                yield file.sha256, other / NETBOOT / path
        for name, file in self.contents.files.items():
            if self._has_size(directory, name):
                yield file.sha256, directory / name

    def _has_size(self, directory: Path, name: str) -> bool:
        try:
            status = os.lstat(directory / name)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and (
            status.st_size == self.contents.files[name].size_bytes
        )

    def _is_wanted(self, directory: Path, name: str, mode: int) -> bool:
        if stat.S_ISLNK(mode):
            return os.readlink(directory / name) == self.contents.links.get(name)
        if stat.S_ISDIR(mode):
            return name in self.contents.directories
        return stat.S_ISREG(mode) and name in self.contents.files

    def _clear(self, directory: Path) -> None:
        """Remove what has no place there, so that no name leads out of it."""
        for name, mode in sorted(_names(directory, ""), reverse=True):
            if not self._is_wanted(directory, name, mode):
                if stat.S_ISDIR(mode):
                    shutil.rmtree(directory / name)
                else:
                    os.unlink(directory / name)

    def _lay(self, directory: Path, files: Sequence[str], known: dict[str, Path]) -> int:
        for name in sorted(self.contents.directories):
            if not (directory / name).is_dir():
                os.mkdir(directory / name)
                os.chmod(directory / name, _DIRECTORY_MODE)
        sent = done = 0
        total = sum(self.contents.files[name].size_bytes for name in files)
        for name in files:
            file = self.contents.files[name]
            sources = [self.contents.directory / name]
            sources += [known[file.sha256]] if file.sha256 in known else []
            if not _put(directory / name, sources):
                sent += file.size_bytes
            known[file.sha256] = directory / name
            done += file.size_bytes
            self.progress(f"{self.name}: laying {name}", done, total)
        for name, text in self.contents.links.items():
            if not (directory / name).is_symlink():
                os.symlink(text, directory / name)
        return sent


def _names(top: Path, prefix: str) -> Iterator[tuple[str, int]]:
    """Every name below `top` with its mode; links are not followed."""
    with os.scandir(top / prefix) as entries:
        for entry in entries:
            yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False).st_mode
            if entry.is_dir(follow_symlinks=False):
                yield from _names(top, f"{prefix}{entry.name}/")


def _put(target: Path, sources: Sequence[Path]) -> bool:
    """Give the file another name at `target`, at once; False if its first source was copied."""
    partial = target.with_name(f".{secrets.token_hex(6)}{PARTIAL_SUFFIX}")
    try:
        linked = any(_link(source, partial) for source in sources)
        if not linked:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            clone_file(sources[0], partial)
            os.chmod(partial, _FILE_MODE)
        os.replace(partial, target)
    finally:
        # Two names of one file: then rename(2) has left both.
        partial.unlink(missing_ok=True)
    return linked


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (*_NO_LINK, errno.ENOENT):
            raise
        return False
    return True
