"""Versions of Alpine packages and the constraints over them.

A version is numbers with dots, then optionally a letter, suffixes (`_rc1`, `_p2` …), a commit
after `~` and `-r` with the number of the build; facts from apk-tools doc/apk-package.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bootsmith.errors import FormatError

# Before the release itself, and after it.
_SUFFIXES = {
    "alpha": -4,
    "beta": -3,
    "pre": -2,
    "rc": -1,
    "cvs": 1,
    "svn": 2,
    "git": 3,
    "hg": 4,
    "p": 5,
}
_VERSION = re.compile(
    r"(\d+(?:\.\d+)*)([a-z]?)((?:_(?:" + "|".join(_SUFFIXES) + r")\d*)*)"
    r"(?:~[0-9a-f]+)?(?:-r(\d+))?",
    re.ASCII,
)
_SUFFIX = re.compile(r"_([a-z]+)(\d*)", re.ASCII)
_CONSTRAINT = re.compile(r"(!?)([^<>=~@]+)(?:(=~|~=|<=|>=|<|>|=|~)([^@<>=]+))?(?:@.*)?")

Key = tuple[tuple[int, ...], str, tuple[tuple[int, int], ...], int]


def version_key(version: str) -> Key:
    """Something that sorts as apk sorts versions; FormatError for what is none."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise FormatError(
            version,
            "is not a package version",
            expected='something like "1.36.1-r29"',
            hint="correct it where it is asked for",
        )
    numbers, letter, suffixes, build = match.groups()
    return (
        tuple(int(number) for number in numbers.split(".")),
        letter,
        # The pair of zeros stands for the release itself: `_rc1` is before it, `_p1` behind.
        (*((_SUFFIXES[word], int(at or 0)) for word, at in _SUFFIX.findall(suffixes)), (0, 0)),
        int(build or 0),
    )


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """What a package needs: a name (or what is provided: `so:x`, `/bin/sh`) and versions of it.

    `operator` is "" where every version will do. `forbids` is the form with `!`.
    """

    text: str
    name: str
    operator: str = ""
    version: str = ""
    forbids: bool = False

    def accepts(self, version: str | None) -> bool:
        """Whether this version will do; None is something provided without a version."""
        if not self.operator:
            return True
        if version is None:
            return False
        if "~" in self.operator:
            wanted, got = version_key(self.version), version_key(version)
            is_exact = self.version.partition("-")[0] != self.version
            return got[0][: len(wanted[0])] == wanted[0] and (not is_exact or got == wanted)
        wanted, got = version_key(self.version), version_key(version)
        return (
            ("=" in self.operator and got == wanted)
            or ("<" in self.operator and got < wanted)
            or (">" in self.operator and got > wanted)
        )


def read_constraint(text: str) -> Constraint:
    """A constraint as `depends` and `world` spell it; a repository tag is passed over."""
    match = _CONSTRAINT.fullmatch(text)
    if match is None:
        raise FormatError(
            text,
            "is not a package constraint",
            expected='"name" or "name>1.2"',
            hint="correct it where it is asked for",
        )
    forbids, name, operator, version = match.groups()
    return Constraint(
        text=text,
        name=name,
        operator=operator or "",
        version=version or "",
        forbids=bool(forbids),
    )
