"""What differs between the builds, and how a program is started so that it does.

    build 1   as the person would type it: one step at a time
    build 2   everything else that can be otherwise, all at once
    build 3   where build 1 was, with the caches that it left, two steps at a time

What this machine cannot vary is left out and said, with what would help.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bootsmith.errors import BuildError, ToolFailed, ToolMissing
from bootsmith.tools import catalog
from bootsmith.tools.run import run_program

Testimony = Mapping[str, Any]

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
PACKAGE = Path(__file__).resolve().parents[1]
# Somebody who is in no user database and owns nothing.
_ANOTHER_USER = 54321
# As long again as many a home directory; paths that end up in bytes shift what follows them.
_LONG_NAME = "a-directory-with-a-name-that-is-a-good-deal-longer-than-the-other"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How one build is started."""

    number: int
    root: Path
    """Of the copy of the site that is built."""
    umask: int
    jobs: tuple[str, ...]
    """doit's own options."""
    environment: Mapping[str, str]
    """Added to the caller's environment."""
    prefix: tuple[str, ...] = ()
    """Programs that start the next one after changing something about it."""
    clock: tuple[str, ...] = ()
    """The last of them; it only sets variables."""
    cache: str = "empty"

    @property
    def start(self) -> tuple[str, ...]:
        """What follows `sh -c LAUNCH` up to the interpreter."""
        return ("sh", f"{self.umask:04o}", *self.prefix, *self.clock, sys.executable)


# The umask is the one thing that no small program sets for the next.
LAUNCH = 'umask "$1"; shift; exec "$@"'


def plain(root: Path) -> Conditions:
    """Build 1."""
    return Conditions(
        number=1,
        root=root,
        umask=0o002,
        jobs=("-n", "1"),
        environment=_environment(),
    )


def again(first: Conditions) -> Conditions:
    """Build 3: in the place of the first."""
    return replace(
        first,
        number=3,
        umask=0o000,
        jobs=("-n", "2", "-P", "thread"),
        environment={**first.environment, "PYTHONHASHSEED": "0"},
        cache="of build 1",
    )


def varied(directory: Path) -> Conditions:
    """Build 2, yet without another user: that needs a try, see `ways_to_be_another_user`."""
    return Conditions(
        number=2,
        root=directory / _LONG_NAME / "site",
        umask=0o077,
        jobs=("-n", "2"),
        environment={
            **_environment(Path(__file__).with_name("disorder")),
            "TZ": "<+14>-14",  # as far east as it gets: another day than in most places
            "LC_ALL": _another_locale(),
            "LANG": _another_locale(),
            "HOME": str(directory / "home"),
            "TMPDIR": str(directory / "tmp"),
            "PYTHONHASHSEED": "4294967295",
        },
        prefix=_one_processor(),
        clock=_later(),
    )


def ways_to_be_another_user() -> tuple[tuple[tuple[str, ...], bool], ...]:
    """Prefixes, best first, each with whether the tree must be given to that user.

    Root can really become somebody else. Where that user may not look (a checkout below
    /root), and for everyone who is not root, a user namespace gives another number at least.
    """
    user = str(another_user())
    # Whoever becomes another is no longer bound to our end; so that is said once more.
    bound = ("setpriv", "--pdeathsig", "KILL")
    as_user = (*bound, f"--reuid={user}", f"--regid={user}", "--clear-groups")
    mapped = ("unshare", "--user", f"--map-user={user}", f"--map-group={user}", *bound)
    elsewhere = ("unshare", "--uts", "sh", "-c", 'hostname "$1"; shift; exec "$@"', "sh", "other")
    if os.geteuid() != 0:
        return ((mapped, False),)
    return (((*elsewhere, *as_user), True), (as_user, True), (mapped, False))


def another_user() -> int:
    """A user id that is not the caller's."""
    return _ANOTHER_USER + (os.geteuid() == _ANOTHER_USER)


def question(conditions: Conditions, sources: Sequence[Path]) -> Testimony:
    """The testimony of a process started like this build; BuildError if it cannot build here."""
    try:
        said = run_program(
            [
                "sh",
                "-c",
                LAUNCH,
                *conditions.start,
                "-m",
                "bootsmith.reproduce.witness",
                conditions.root,
                *sources,
            ],
            cwd=conditions.root,
            environment=conditions.environment,
        )
        run_program(
            ["sh", "-c", LAUNCH, *conditions.start, "-m", "doit", "list", "--quiet"],
            cwd=conditions.root,
            environment=conditions.environment,
        )
    except ToolFailed as error:
        raise BuildError(
            f"build {conditions.number}", f"cannot be started: {error.problem}", hint=error.hint
        ) from error
    testimony: Testimony = json.loads(said.text)
    if testimony["unusable"]:
        raise BuildError(
            f"build {conditions.number}",
            f"user {testimony['user']} cannot use {', '.join(testimony['unusable'])}",
            hint="give another place with --scratch, or make it readable",
        )
    return testimony


def _environment(*before: Path) -> dict[str, str]:
    """The caller's environment, our door's additions taken back, the running package first."""
    path = [*map(str, before), str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    fixed = ("LANG", "LC_ALL", "TZ", "HOME", "SOURCE_DATE_EPOCH")
    return {
        **{name: os.environ.get(name, "") for name in fixed},
        **os.environ,
        "PYTHONPATH": os.pathsep.join(word for word in path if word),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _later() -> tuple[str, ...]:
    """Thirty days ahead, for Python and for the programs that it starts.

    libfaketime makes a semaphore for a process and its children, and leaves it behind where a
    program becomes another; so it comes in where nothing but the interpreter follows, and
    programs share the interpreter's.
    """
    if not FAKETIME.exists():
        return ()
    clock = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": "+30d",
        # Times of files stay as they are: two builds write at different times anyway, and
        # not every way to ask for them is covered.
        "NO_FAKE_STAT": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # time-outs count on it
    }
    clock["BOOTSMITH_PROGRAMS_SEE"] = " ".join([*clock, "FAKETIME_SHARED"])
    return ("env", *(f"{name}={value}" for name, value in clock.items()))


def _another_locale() -> str:
    """One that this machine has, with other words and sorting than English; else POSIX."""
    try:
        known = run_program(["locale", "-a"]).text.split()
    except (ToolMissing, ToolFailed):
        return "POSIX"
    plain_ones = ("C", "POSIX", "en")
    return next((name for name in known if not name.startswith(plain_ones)), "POSIX")


def _one_processor() -> tuple[str, ...]:
    return ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))


# --- what a person reads -----------------------------------------------------------------


def table(builds: Sequence[Conditions], testimonies: Sequence[Testimony]) -> list[str]:
    """The conditions that each build met, a line each; then what could not be varied."""
    rows = [("condition", [f"build {build.number}" for build in builds], True)]
    for name, values in _rows(builds, testimonies):
        rows.append((name, values, len(set(values)) > 1))
    widths = [max(len(values[index]) for _, values, _ in rows) for index in range(len(builds))]
    lines = []
    for name, values, _ in rows:
        cells = "  ".join(f"{value:<{width}}" for value, width in zip(values, widths, strict=True))
        lines.append(f"{name:<14}  {cells}".rstrip())
    lines += [
        f"not varied: {name}: {_what_would_help(name)}"
        for name, _, is_varied in rows
        if not is_varied
    ]
    return lines


def _rows(
    builds: Sequence[Conditions], testimonies: Sequence[Testimony]
) -> list[tuple[str, list[str]]]:
    first = testimonies[0]
    rows = {
        "directory": [f"{len(said['directory'])} letters" for said in testimonies],
        "jobs": [" ".join(build.jobs) for build in builds],
        "cache": [build.cache for build in builds],
        "file order": [
            "as listed" if said["listing"] == first["listing"] else "backwards"
            for said in testimonies
        ],
        "source times": [
            "as they are" if said["newest source"] == first["newest source"] else "of the copy"
            for said in testimonies
        ],
        "date": [_date(said) for said in testimonies],
        "locale": [f"{said['locale']} ({said['encoding']})" for said in testimonies],
        "home": ["own" if said["home"] == first["home"] else "another" for said in testimonies],
    }
    for name in ("user", "host", "umask", "time zone", "processors", "hash seed"):
        rows[name] = [str(said[name]) for said in testimonies]
    return [(name, rows[name]) for name in _ORDER]


_ORDER = (
    "directory", "user", "host", "umask", "date", "time zone", "locale", "home", "processors",
    "jobs", "hash seed", "file order", "source times", "cache",
)  # fmt: skip

_HELP = {
    "user": "neither setpriv nor a user namespace works here; run it as root",
    "host": "only root can change it, and not in every container",
    "cache": "that is the third build, which --quick leaves out",
}


def _what_would_help(name: str) -> str:
    if name == "date":
        return f"libfaketime is not installed: {catalog.how_to_get(str(FAKETIME))}"
    return _HELP.get(name, "this machine offers one only")


def _date(said: Testimony) -> str:
    day_seconds = 86400
    if abs(said["programs_epoch"] - said["epoch"]) > day_seconds:
        return f"{said['date']}, not for programs"
    return str(said["date"])
