"""What is read and changed in a serving root, here or on another machine.

Nothing but the standard library is imported: over ssh this very text is run by the other
machine's Python (3.7 or newer), which gets a request as JSON and answers in JSON.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import json
import os
import secrets
import shutil
import sys
from typing import Any, Iterator  # noqa: UP035 - as long as Python 3.8 is about

_PARTIAL = ".partial"
_NEW, _OLD = "new-", "old-"
# Debian's web servers and fcgiwrap run as this user, and so does the hook.
HOOK_GROUP = "www-data"
_WRITE_AND_ENTER = 0o3


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what `request` says of the directory `armed`; OSError where it cannot be.

    With `links` (name to target, None to remove it): make all of these changes, or none. Answers
    `in_the_way`, a name that is not a link, or None, and `hook_may_write` (there; None if nobody
    can say). Otherwise: answers `inventory` (the text of that file, None if it is not there),
    `current` (where that link leads, None if it is none), whether it `leads` to a directory,
    `installs` (names in that directory) and `links`.
    """
    if "links" in request:
        in_the_way = _change(request["armed"], request["links"])
        return {"in_the_way": in_the_way, "hook_may_write": _hook_may_write(request["armed"])}
    try:
        with open(request["inventory"], encoding="ascii") as source:
            inventory = source.read()
    except FileNotFoundError:
        inventory = None
    armed = request["armed"]
    links = {name: _link_at(os.path.join(armed, name)) for name in _names_in(armed)}
    current = request["current"]
    return {
        "inventory": inventory,
        "current": _link_at(current),
        "leads": os.path.isdir(current),
        "installs": _names_in(request["installs"]),
        "links": links,
    }


def _names_in(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _link_at(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:  # not there, or no link
        return None


def _change(armed: str, links: dict[str, str | None]) -> str | None:
    """Each link changes in one step, but all of them or none.

    What needs room on the disk is made before anything changes, so a full one spoils nothing;
    only a kill can leave some changed, and doing it again does the rest.
    """
    _make_directory(armed)
    with _locked(armed):
        before = {name: _link_at(os.path.join(armed, name)) for name in links}
        for name in links:
            if before[name] is None and os.path.lexists(os.path.join(armed, name)):
                return name
        changes = {name: target for name, target in links.items() if before[name] != target}
        if changes:
            with _staging(armed) as staging:
                _change_staged(armed, staging, changes, before)
    return None


def _change_staged(
    armed: str, staging: str, changes: dict[str, str | None], before: dict[str, str | None]
) -> None:
    for name, target in changes.items():
        for kind, leads_to in ((_NEW, target), (_OLD, before[name])):
            if leads_to is not None:
                os.symlink(leads_to, os.path.join(staging, kind + name))
    try:
        for name in changes:
            _move_or_remove(os.path.join(staging, _NEW + name), os.path.join(armed, name))
    except BaseException:
        for name in changes:
            if _link_at(os.path.join(armed, name)) != before[name]:
                _move_or_remove(os.path.join(staging, _OLD + name), os.path.join(armed, name))
        raise
    descriptor = os.open(armed, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_or_remove(source: str, link: str) -> None:
    """Let `source` be `link`; where there is no source there shall be no link."""
    if os.path.islink(source):
        os.replace(source, link)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)


def _make_directory(armed: str) -> None:
    """One that the hook may write in, if root makes it on a machine that has the hook's group."""
    if os.path.isdir(armed):
        return
    os.mkdir(armed)
    if os.geteuid() == 0:
        try:
            group = grp.getgrnam(HOOK_GROUP).gr_gid
        except KeyError:
            return
        os.chown(armed, -1, group)
        os.chmod(armed, 0o2775)  # noqa: S103 - for the hook to write


def _hook_may_write(armed: str) -> bool | None:
    """None where there is no such group: the hook runs as somebody else then, or not at all."""
    try:
        group = grp.getgrnam(HOOK_GROUP)
    except KeyError:
        return None
    status = os.stat(armed)
    bits = status.st_mode
    if status.st_gid == group.gr_gid:
        bits >>= 3
    return bits & _WRITE_AND_ENTER == _WRITE_AND_ENTER


@contextlib.contextmanager
def _locked(armed: str) -> Iterator[None]:
    """One change at a time. The hook is not held up: it only removes, whatever there is."""
    descriptor = os.open(armed, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for name in os.listdir(armed):  # what a kill has left
            if name.startswith(".") and name.endswith(_PARTIAL):
                shutil.rmtree(os.path.join(armed, name), ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _staging(armed: str) -> Iterator[str]:
    staging = os.path.join(armed, f".{secrets.token_hex(6)}{_PARTIAL}")
    os.mkdir(staging, 0o700)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def main() -> None:
    """The other end of ssh: a request on standard input, the answer on standard output."""
    try:
        told = answer(json.load(sys.stdin))
    except OSError as error:
        told = {"refused": [error.errno, error.strerror, error.filename]}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
