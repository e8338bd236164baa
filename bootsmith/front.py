"""The command `doit`: where nothing changed since a build that had nothing to do, say so at once.

Importing doit and reading the recipes takes longer than asking the kernel about every file.
So a build that finds everything done leaves a snapshot: what stat(2) said of every file and
directory that decided it (graph/snapshot.py writes it). While all of that still holds there
is nothing to find out. In every other case, and for every other command, doit is run.

Only the standard library's smallest modules are imported here, and doit where it is needed.
"""

from __future__ import annotations

import fcntl
import gc
import marshal
import os
import sys
import time

TYPE_CHECKING = False  # as typing says, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, TextIO

SNAPSHOT = "artifacts/cache/unchanged"
_STATE = "artifacts/state.sqlite3"
_LOCK = "artifacts/lock"
REPORT = "BOOTSMITH_REPORT"
COMPLETION = "__complete"
"""What the shells' completion asks with: contrib/completion."""
UNFINISHED: list[str] = []
"""The words of the line up to the cursor, where completion asks."""
_BAD_WORDS = 3  # as doit for words that it does not know
_ONLY_SAY = ("help", "-h", "--help", "--version", "list", "info", "explain", COMPLETION)
"""What begins a command line that changes nothing."""
_TAKES_VALUE = ("-n", "--process", "-P", "--parallel-type", "-d", "--dir", "-f", "--file")
_EXIT_UNREAD = 128 + 13  # as shells report a program that SIGPIPE ended
VERSION = 2
_SECONDS = "{seconds}"


def main() -> int:
    """Run `doit`, or answer for it."""
    started = time.monotonic()
    take_report_option(sys.argv)
    if sys.argv[1:2] and sys.argv[1] in _ONLY_SAY:
        import signal

        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `doit list | head` ends as others do
    report = os.environ.get(REPORT)
    if is_plain_build(sys.argv) and report != "json":
        closing = closing_line_if_unchanged()
        if closing is not None:
            seconds = f"{time.monotonic() - started:.2f}"
            if report != "quiet":
                sys.stderr.write(closing.replace(_SECONDS, seconds) + "\n")
            return 0
    if sys.argv[1:2] == [COMPLETION]:
        UNFINISHED[:] = sys.argv[2:]
        del sys.argv[2:]  # doit would trip over an empty word
    if "" in sys.argv:
        sys.stderr.write("doit: there is an empty word\n  next: doit list --all\n")
        return _BAD_WORDS
    if sys.argv[1:2] != [COMPLETION]:
        from bootsmith.errors import PublishError
        from bootsmith.overview import seen_to

        try:
            answer = seen_to(sys.argv[1:], is_site=os.path.exists("dodo.py"))
        except PublishError as error:
            sys.stderr.write(f"{error}\n")
            return _BAD_WORDS
        if isinstance(answer, str):
            sys.stdout.write(f"{answer}\n")
            return 0
        sys.argv[1:] = answer
    _let_early_interrupts_end_us()
    from doit.__main__ import main as run_doit

    return int(run_doit() or 0)


def _let_early_interrupts_end_us() -> None:
    """Until a run has begun and is told to stop tidily, Ctrl-C simply ends it.

    As Python has it, it would be a traceback out of the middle of an import.
    """
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def take_report_option(argv: list[str]) -> None:
    """Turn `--quiet`, `--plain` or `--json` of a run into BOOTSMITH_REPORT.

    Before the first name, or right behind `build`: verbs have a `--json` of their own.
    """
    position = 1
    while position < len(argv):
        word = argv[position]
        if word in ("--quiet", "--plain", "--json"):
            os.environ[REPORT] = word.removeprefix("--")
            del argv[position]
        elif word[:1] == "-" or word in ("run", "build") or "=" in word:
            position += 2 if word in _TAKES_VALUE else 1
        else:
            return


def end_unread(stream: TextIO) -> NoReturn:
    """Leave because nobody reads on: `doit hosts | head`. What is finished stays finished."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(_EXIT_UNREAD)


def is_plain_build(argv: list[str]) -> bool:
    """Whether a command line asks for the build and nothing else."""
    return argv[1:] in ([], ["build"])


def closing_line_if_unchanged() -> str | None:
    """What a build here would say if it had nothing to do; None if it may have something."""
    gc.disable()  # tens of thousands of small tuples, and none of them garbage
    try:
        with open(SNAPSHOT, "rb") as file:
            known = marshal.loads(file.read())  # noqa: S302 - our own cache, as .pyc files are
        if known["version"] != VERSION or known["context"] != context():
            return None
        # Its content changes with each look at the files; that it was removed must be seen.
        if os.stat(_STATE).st_ino != known["state"]:
            return None
        if not _all_as_noted(known["files"], os.lstat):
            return None
        if not _all_as_noted(known["link_ends"], os.stat):
            return None
        if any(os.path.lexists(path) for path in known["absent"]):
            return None
        if any(os.path.exists(path) for path in known["dangling"]):
            return None
        with open(_LOCK, "rb") as lock:  # another run may be changing things
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return str(known["closing"])
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        return None
    finally:
        gc.enable()


def context() -> tuple[str, ...]:
    """What else decides: where we are, and the interpreter with its environment."""
    return (os.getcwd(), sys.version, sys.executable, sys.prefix, os.environ.get("PYTHONPATH", ""))


def identity(found: os.stat_result) -> tuple[int, int, int, int, int]:
    """What stat(2) says of a file that changes whenever anything of it does.

    A program cannot set back ctime: content, mode, owner and entries are all behind it. The
    others are for file systems that keep none.
    """
    return (found.st_ctime_ns, found.st_ino, found.st_size, found.st_mtime_ns, found.st_dev)


def _all_as_noted(
    noted: list[tuple[str, int, int, int, int, int]], ask: Callable[[str], os.stat_result]
) -> bool:
    """Whether every file still is what it was. Spelled out, since there may be very many."""
    for path, ctime_ns, inode, size_bytes, mtime_ns, device in noted:
        found = ask(path)  # FileNotFoundError says no as well
        if (
            found.st_ctime_ns != ctime_ns
            or found.st_ino != inode
            or found.st_size != size_bytes
            or found.st_mtime_ns != mtime_ns
            or found.st_dev != device
        ):
            return False
    return True
