"""Files and directories that appear whole or not at all.

Each writer makes a uniquely named sibling of its target (same directory, so the
rename cannot cross filesystems), fills it, fsyncs it, renames it over the target
and fsyncs the directory. Every path out is spoken for:

- success: the target holds the new bytes, no temporary is left;
- an exception or signal in the body: the temporary is removed, the old target stays;
- SIGKILL or power loss: the old target stays; the temporary may leak. It is named
  `.<target>.<random>.partial`; `collect_partials` removes the leaked ones.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL_SUFFIX = ".partial"


def _sibling(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(6)}{PARTIAL_SUFFIX}")


def fsync_directory(directory: Path) -> None:
    """Make renames inside `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Make a directory with its parents, each name of which survives a power cut."""
    missing = []
    while not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        fsync_directory(path.parent)


def _fsync_directories(top: Path) -> None:
    """Make every name below `top` survive a power cut."""
    for directory in directories_below(top):
        fsync_directory(directory)


def directories_below(top: Path) -> Iterator[Path]:
    """`top` and every directory below it, links to directories left out.

    As os.walk, which asks of every link whether it leads to a directory: a netboot tree is
    nearly nothing but links.
    """
    pending = [str(top)]
    while pending:
        directory = pending.pop()
        yield Path(directory)
        with os.scandir(directory) as entries:
            pending += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


@contextmanager
def replacing_file(target: Path, *, mode: int = 0o644, durable: bool = True) -> Iterator[Path]:
    """Yield the path of an empty new file; on success it becomes `target`.

    The body may write the path, reopen it or hand it to a program that rewrites it in
    place. `mode` is the final mode whatever the umask. `durable=False` skips fsync, for
    caches that can be made again.
    """
    if durable:
        make_directory(target.parent)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
    partial = _sibling(target)
    try:
        # In here: a signal may come as soon as the file is there.
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield partial
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(partial, target)
        if durable:
            fsync_directory(target.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def renamed_for_a_while(target: Path) -> Iterator[Path]:
    """Yield another name of the file `target`, for the body to change it in place.

    It has its own name again afterwards, durably if the body succeeded; if it did not, the
    body must have put the file back as it was. A kill leaves it as a `.partial` sibling, so
    this is for files that can be made again, and that nothing else is made of meanwhile.
    """
    partial = _sibling(target)
    os.rename(target, partial)
    try:
        # First of all, or a power cut could find changed bytes in a file that looks untouched.
        fsync_directory(target.parent)
        yield partial
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        os.rename(partial, target)
    fsync_directory(target.parent)


def write_file(target: Path, content: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Replace `target` by `content` in one step."""
    with replacing_file(target, mode=mode, durable=durable) as partial, open(partial, "wb") as out:
        out.write(content)


@contextmanager
def replacing_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory; on success it becomes `target`.

    A directory cannot be renamed over a full one, so an old `target` is moved aside
    first and removed last; a kill between the two renames leaves it as a `.partial`
    sibling. Callers that need a target at every instant publish through a link. Names in
    it survive a power cut; content does if it was written by the functions of this module.
    """
    make_directory(target.parent)
    partial = _sibling(target)
    retired = None
    try:
        partial.mkdir(mode=0o755)  # in here: a signal may come as soon as it is there
        yield partial
        _fsync_directories(partial)
        if target.exists():
            retired = _sibling(target)
            os.rename(target, retired)
        os.rename(partial, target)
        fsync_directory(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if retired is not None:
            shutil.rmtree(retired, ignore_errors=True)


def replace_link(link: Path, destination: str) -> None:
    """Point the symbolic link `link` at `destination` with one rename(2)."""
    make_directory(link.parent)
    partial = _sibling(link)
    try:
        os.symlink(destination, partial)
        os.replace(partial, link)
        fsync_directory(link.parent)
    finally:
        partial.unlink(missing_ok=True)


def keep_temporary_files_in(directory: Path) -> None:
    """Send the temporary files of `tempfile` there, after removing what is there.

    What a killed run leaves in /tmp nobody removes for it. As `collect_partials`, only for
    whoever holds the run's lock.
    """
    shutil.rmtree(directory, ignore_errors=True)
    make_directory(directory)
    tempfile.tempdir = str(directory)


def collect_partials(directory: Path, *, whole: Path | None = None) -> list[Path]:
    """Remove what killed writers left below `directory`; return what was removed.

    What stands in the directory `whole` is complete: only names in it are looked at, for there
    may be a hundred thousand below. Only to be called while no writer runs (the caller holds
    the run's lock).
    """
    removed = []
    for parent, directories, files in os.walk(directory):
        for name in [*directories, *files]:
            if name.startswith(".") and name.endswith(PARTIAL_SUFFIX):
                path = Path(parent, name)
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                    directories.remove(name)
                else:
                    path.unlink(missing_ok=True)
                removed.append(path)
        if whole is not None and parent == str(whole):
            directories.clear()
    return removed
