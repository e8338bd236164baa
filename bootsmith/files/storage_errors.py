"""What a disk refuses, said so that a person knows what to do.

A full or read-only disk is nobody's defect, so it deserves a message and no traceback. It
may show itself wherever something is written; hence one boundary, around each step.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootsmith.errors import PublishError

_AGAIN = "run doit again: what was finished stays finished"
_MORE_ROOM = "free some room, then {again}"
_MAY_WRITE = "let this user write there, then {again}"
_WRITABLE = "mount it writable, then {again}"
_SOUND = "look at the kernel's log (dmesg): the disk or its connection may be failing"

_PROBLEMS = {
    errno.ENOSPC: ("no space left on the disk", _MORE_ROOM),
    errno.EDQUOT: ("this user's disk quota is used up", _MORE_ROOM),
    errno.EFBIG: (
        "larger than a file may become here",
        "raise the limit (ulimit -f), then {again}",
    ),
    errno.EROFS: ("the file system is read-only", _WRITABLE),
    errno.EACCES: ("permission denied", _MAY_WRITE),
    errno.EPERM: ("permission denied", _MAY_WRITE),
    errno.EIO: ("the disk reports an error", _SOUND),
}
# sqlite does not say why it could neither open, read nor write; the disk does.
_SQLITE_UNCLEAR = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
_SQLITE_BUSY = ("is in use by another program", "end it, then {again}")
# What sqlite needs for WAL mode's index and one page; less is as good as nothing.
_NEXT_TO_NOTHING_BYTES = 65536


@contextmanager
def named_storage_errors(place: Path, *, again: str = _AGAIN) -> Iterator[None]:
    """Raise PublishError for a disk that is full, read-only, forbidden or failing.

    `place` is the directory that is named where the error itself names no file; `again` is what
    to do once it is mended. Other errors pass as they are.
    """
    try:
        yield
    except OSError as error:
        known = _PROBLEMS.get(error.errno or 0)
        if known is None:
            raise
        raise _publish_error(error.filename or place, *known, place, again) from error
    except sqlite3.OperationalError as error:
        known = _sqlite_problem(getattr(error, "sqlite_errorcode", 0) & 0xFF, place)
        if known is None:
            raise
        raise _publish_error(f"the state file in {place}", *known, place, again) from error


def said_storage_error(said: str, place: Path) -> PublishError | None:
    """What to raise where a program that wrote below `place` said that there is no room.

    To be asked before anything is cleaned up, for it tells what is free now. None if `said`, what
    the program wrote (without a locale), is about something else. A log on the full disk itself
    is empty.
    """
    disk = os.statvfs(place)
    if not said.strip() and disk.f_bavail * disk.f_frsize < _NEXT_TO_NOTHING_BYTES:
        return _publish_error(place, *_PROBLEMS[errno.ENOSPC], place)
    for number in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(number) in said:
            return _publish_error(place, *_PROBLEMS[number], place)
    return None


def _sqlite_problem(code: int, place: Path) -> tuple[str, str] | None:
    """What a result code means here; its extended part is cut off."""
    if code == sqlite3.SQLITE_BUSY:
        return _SQLITE_BUSY
    if code == sqlite3.SQLITE_FULL:
        return _PROBLEMS[errno.ENOSPC]
    if code not in _SQLITE_UNCLEAR:
        return None
    disk = os.statvfs(place)
    if disk.f_flag & os.ST_RDONLY:
        return _PROBLEMS[errno.EROFS]
    if disk.f_bavail * disk.f_frsize < _NEXT_TO_NOTHING_BYTES:
        return _PROBLEMS[errno.ENOSPC]
    return _PROBLEMS[errno.EIO if code == sqlite3.SQLITE_IOERR else errno.EACCES]


def _publish_error(
    subject: object, problem: str, hint: str, place: Path, again: str = _AGAIN
) -> PublishError:
    got = None
    if hint is _MORE_ROOM:
        try:
            got = f"{shutil.disk_usage(place).free // 1_000_000} MB free below {place}"
        except OSError:
            pass  # no such directory yet; the message says enough
    return PublishError(subject, problem, got=got, hint=hint.format(again=again))
