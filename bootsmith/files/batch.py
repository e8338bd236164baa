"""Many files that appear whole, made durable with one flush instead of one a file.

Ten thousand small files cost minutes of fsync(2), each of which waits for the disk; together
they are a few megabytes, written in a moment.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from bootsmith.files.atomic import PARTIAL_SUFFIX

_MOST_FSYNCS = 32
"""Up to here one by one: syncfs(2) also waits for what others have written to that disk."""


class FileBatch:
    """New files, each beside its target until all are filled; then each becomes its target.

    To be used as a context: at its end all are flushed and renamed. Whoever leaves it with an
    error leaves no target touched and no temporary file behind; a kill between the renames
    leaves some targets new and some old, each of them whole.
    """

    def __init__(self, *, mode: int = 0o644) -> None:
        """`mode` is the final mode of every file, whatever the umask."""
        self._mode = mode
        self._partials: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def new(self, target: str) -> str:
        """The path of an empty new file that is to become `target`, whose directory exists."""
        directory, _, name = target.rpartition("/")
        partial = f"{directory}/.{name}.{secrets.token_hex(6)}{PARTIAL_SUFFIX}"
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._partials[partial] = target
        return partial

    def write(self, target: str, content: bytes) -> None:
        """A new file with this content that is to become `target`."""
        with open(self.new(target), "wb", buffering=0) as out:
            out.write(content)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            for partial in self._partials:
                with suppress(FileNotFoundError):
                    os.unlink(partial)

    def _finish(self) -> None:
        for partial in self._partials:
            os.chmod(partial, self._mode)
        flush(self._partials)
        for partial, target in self._partials.items():
            os.replace(partial, target)
        flush({os.path.dirname(target) for target in self._partials.values()})
        self._partials.clear()


def flush(paths: Iterable[str]) -> None:
    """Make the content of these files, and the names in these directories, survive a power cut."""
    paths = list(paths)
    if len(paths) <= _MOST_FSYNCS or not _flush_filesystems(paths):
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _flush_filesystems(paths: Iterable[str]) -> bool:
    """syncfs(2) of every filesystem that holds one of them; False where libc has none."""
    import ctypes  # few runs have so many files

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    one_of_each = {os.stat(path).st_dev: path for path in paths}
    for path in one_of_each.values():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if syncfs(descriptor) != 0:
                number = ctypes.get_errno() or errno.EIO
                raise OSError(number, os.strerror(number), path)
        finally:
            os.close(descriptor)
        # Python knows no such call, so nobody who watches a run would hear of it.
        sys.audit("bootsmith.syncfs", path)
    return True
