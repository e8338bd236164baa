"""Counts what a run does to the disk, and kills it just before the event that was asked for.

Put on PYTHONPATH of a run under test. KILLPOINTS_ROOT is the site; only what happens below
it counts. KILLPOINTS_LOG names a file that gets one line an event; KILLPOINTS_AT is the
number of the event before which the process gets SIGKILL (a signal of KILLPOINTS_SIGNAL, if
given), as if it had come from outside at the worst of times.

Events are Python's audit events of opening for writing, renaming, linking, removing and
starting programs, beside fsync and sqlite's statements, which raise none. A flush of a whole
filesystem raises an event of bootsmith's own.

The clock stands still, so that two runs give their generations the same names and times.
"""

import itertools
import os
import signal
import sqlite3
import sys
import time

ROOT = os.environ.get("KILLPOINTS_ROOT")
AT = int(os.environ.get("KILLPOINTS_AT", "0"))
SIGNAL = int(os.environ.get("KILLPOINTS_SIGNAL", signal.SIGKILL))
LOG = os.environ.get("KILLPOINTS_LOG")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Which of an event's arguments are paths.
PATHS = {
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.truncate": (0,),
}
NOON_EPOCH = 1795176000  # of 2026-11-20

numbers = itertools.count(1)
log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600) if LOG else -1


def happened(event, *words):
    number = next(numbers)
    if log >= 0:
        os.write(log, "\t".join([event, *words]).encode() + b"\n")
    if number == AT:
        os.kill(os.getpid(), SIGNAL)


def path_of(value):
    if isinstance(value, int):
        return os.readlink(f"/proc/self/fd/{value}") if value >= 0 else ""
    return os.path.abspath(os.fsdecode(value))


def hook(event, arguments):
    if event == "subprocess.Popen":
        happened(event, *map(str, arguments[1][:5]))
    elif event == "bootsmith.syncfs":
        happened("syncfs", *map(path_of, arguments))
    elif event == "open":
        path, _, flags = arguments
        if flags & WRITING and not isinstance(path, int) and path_of(path).startswith(ROOT):
            happened("create" if flags & os.O_CREAT else "open", path_of(path))
    elif event in PATHS:
        paths = [path_of(arguments[number]) for number in PATHS[event]]
        if paths[-1].startswith(ROOT):
            happened(event, *paths)


class Connection(sqlite3.Connection):
    def execute(self, statement, *arguments):
        if not statement.startswith("select"):
            happened("sqlite", statement.partition(" values")[0], str(arguments)[:40])
        return super().execute(statement, *arguments)

    def executescript(self, script):
        happened("sqlite", "schema")
        return super().executescript(script)


def fsync(descriptor, _fsync=os.fsync):
    happened("fsync", path_of(descriptor))
    return _fsync(descriptor)


if ROOT:
    ROOT += "/"
    connect = sqlite3.connect
    sqlite3.connect = lambda path, **options: connect(path, **options, factory=Connection)
    os.fsync = fsync
    gmtime = time.gmtime
    time.gmtime = lambda epoch=None: gmtime(NOON_EPOCH if epoch is None else epoch)
    time.time = lambda: float(NOON_EPOCH)
    sys.addaudithook(hook)
