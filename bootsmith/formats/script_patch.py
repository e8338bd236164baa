"""Patches to shell scripts of a release: data that says where text goes, by content.

A patch is a TOML text:

    schema = 1
    summary = "what it is for"
    script = "init"                      what is patched
    features = ["nfs"]                   features that want it
    [texts]
    early = '''...'''                    lines to put in, by name
    [[ranges]]
    versions = ">=3.0.3 <3.8.0"          of the script; ranges never overlap
    edition = "..."                      optional: whose script, as it prints it
    hunks = [{ before = "anchor", texts = ["early"] }]
    fixes = "line"                       optional: scripts without this line need nothing
    [[ranges]]
    versions = ">=2.0 <3.0.0"
    not_needed = "why the script is fine as it is"

An *anchor* is one or a few whole lines that must stand in the script exactly once; a hunk
puts its texts `before` it, `after` it, or in its place (`replace`). All hunks of a range are
looked up in the script as it was, and either all of them are applied or the script is
refused.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, NoReturn

from bootsmith.errors import BuildError, FormatError, RecipeError

PLACES: Final = ("before", "after", "replace")
_SCHEMA = 1
_MOST_SCRIPT_BYTES = 1 << 20
_MOST_PATCH_BYTES = 1 << 20
_VERSION = re.compile(
    r"(?P<numbers>\d{1,9}(?:\.\d{1,9}){0,7})"
    # apk's suffixes: what comes before the release itself, and what behind it.
    r"(?:_(?P<word>alpha|beta|pre|rc|cvs|svn|git|hg|p)(?P<count>\d{0,18}))?"
    # `git describe` of a tree between two releases.
    r"(?:-(?P<commits>\d{1,9})-g[0-9a-f]+)?"
    r"(?:-r(?P<revision>\d{1,9}))?"
)
_BEFORE_RELEASE = ("alpha", "beta", "pre", "rc")
_RANGE = re.compile(r">=(?P<first>\S+) <(?P<end>\S+)")
_PRINTED = re.compile(r'"Alpine Init \$VERSION(?: \((?P<edition>[^"()$`\\]*)\))?"')


@dataclass(frozen=True, kw_only=True)
class ScriptVersion:
    """A version, by number and by name, and whose script it is; "" is Alpine's."""

    text: str
    edition: str = ""
    rank: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.text} ({self.edition})" if self.edition else self.text


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """`text` goes before, after, or in place of the lines of `anchor`."""

    place: str
    anchor: str
    text: str


@dataclass(frozen=True, kw_only=True)
class PatchRange:
    """What a patch does to scripts of these versions; `not_needed` says why it is nothing.

    `fixes` is the line that is wrong in them: those that lack it are fine already.
    """

    first: ScriptVersion
    end: ScriptVersion
    not_needed: str | None
    hunks: tuple[Hunk, ...]
    fixes: str | None = None

    def __str__(self) -> str:
        edition = f" ({self.first.edition})" if self.first.edition else ""
        return f">={self.first.text} <{self.end.text}{edition}"

    def covers(self, version: ScriptVersion) -> bool:
        """True for a version of the same edition from `first` on, but before `end`."""
        return (
            self.first.edition == version.edition
            and self.first.rank <= version.rank < self.end.rank
        )


@dataclass(frozen=True, kw_only=True)
class ScriptPatch:
    """One patch; `source` is where it was read, for messages."""

    name: str
    source: str
    summary: str
    script: str
    features: tuple[str, ...]
    ranges: tuple[PatchRange, ...]

    def range_for(self, version: ScriptVersion, *, subject: object) -> PatchRange:
        """The range that covers `version`. Raises BuildError if there is none."""
        for one in self.ranges:
            if one.covers(version):
                return one
        raise BuildError(
            subject,
            f"patch {self.name} knows no {self.script} of version {version}",
            expected=f"one of {', '.join(map(str, self.ranges))}",
            hint=f"compare this script with the one before and add a range to {self.source}, "
            "or leave the patch out",
        )


def read_script_version(text: str, *, edition: str = "", subject: object) -> ScriptVersion:
    """A version in apk's spelling, `3.4.0_rc1-r2`, or git's, `3.4.0-5-g0a1b2c3`."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise FormatError(
            subject,
            "is no version",
            expected="numbers like 3.4.0, perhaps with _rc1 or -r2 behind them",
            got=repr(text),
            hint="correct it, or take the script from an unchanged release",
        )
    numbers = [int(number) for number in found["numbers"].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return ScriptVersion(
        text=text, edition=edition, rank=(numbers, *_suffix_rank(found), _number(found["revision"]))
    )


def _suffix_rank(found: re.Match[str]) -> tuple[int, str, int, int]:
    """Sorts release candidates before their release, and what came later behind it."""
    word, commits = found["word"], _number(found["commits"])
    if word in _BEFORE_RELEASE:
        return (-1, word, _number(found["count"]), commits)
    return (1, word, _number(found["count"]), commits) if word else (0, "", 0, commits)


def _number(digits: str | None) -> int:
    return int(digits or 0)


def read_init_version(script: bytes, *, subject: object) -> ScriptVersion:
    """The version that an Alpine init prints, from its `VERSION=` line."""
    lines = _lines_of(script, subject=subject)
    versions = [line.removeprefix("VERSION=") for line in lines if line.startswith("VERSION=")]
    editions = {found["edition"] or "" for line in lines for found in _PRINTED.finditer(line)}
    if len(versions) != 1 or len(editions) != 1:
        raise FormatError(
            subject,
            "does not say which version of Alpine's init it is",
            expected='one line VERSION=... and one spelling of "Alpine Init $VERSION"',
            got=f"{len(versions)} and {len(editions)}",
            hint="use the initramfs of an Alpine ISO, or leave all patches out: patches = []",
        )
    return read_script_version(
        versions[0].strip("\"'"), edition=editions.pop(), subject=f"{subject}: VERSION"
    )


def _lines_of(script: bytes, *, subject: object) -> list[str]:
    """Lines of a shell script without their ends. Raises FormatError for anything else."""
    wrong = None
    if len(script) > _MOST_SCRIPT_BYTES:
        wrong = f"is too long for a script: {len(script)} bytes"
    elif not script.startswith(b"#!"):
        wrong = "is no script: it does not start with #!"
    elif b"\0" in script:
        wrong = "is no script: it holds a zero byte"
    elif b"\r" in script:
        wrong = "has carriage returns, which no shell takes as the end of a line"
    if wrong:
        raise FormatError(subject, wrong, hint="take the script from an unchanged release")
    return script.decode("utf-8", "surrogateescape").split("\n")


def apply_patch(
    patch: ScriptPatch, script: bytes, version: ScriptVersion, *, subject: object
) -> tuple[bytes, PatchRange]:
    """The patched script, and the range of the patch that did it.

    Raises BuildError, naming the anchor, unless every anchor is there exactly once.
    """
    chosen = patch.range_for(version, subject=subject)
    lines = _lines_of(script, subject=subject)
    if chosen.fixes is not None and chosen.fixes not in lines:
        reason = f"this script does not have {_shown(chosen.fixes)}"
        return script, replace(chosen, not_needed=reason, hunks=())
    edits = sorted(_edits(patch, chosen, lines, version, subject=subject))
    for (_, end, first), (start, _, second) in pairwise(edits):
        if start < end or (start, end) == (end, start):
            raise BuildError(
                subject,
                f"two hunks of patch {patch.name} meet in {patch.script} {version}",
                got=f"{_shown(chosen.hunks[first].anchor)} and "
                f"{_shown(chosen.hunks[second].anchor)}",
                hint=f"make them one hunk in {patch.source}",
            )
    for start, end, number in reversed(edits):
        lines[start:end] = chosen.hunks[number].text.removesuffix("\n").split("\n")
    return "\n".join(lines).encode("utf-8", "surrogateescape"), chosen


def _edits(
    patch: ScriptPatch,
    chosen: PatchRange,
    lines: Sequence[str],
    version: ScriptVersion,
    *,
    subject: object,
) -> Iterator[tuple[int, int, int]]:
    """(first line, line behind the last, hunk number) of what each hunk puts its text for."""
    for number, hunk in enumerate(chosen.hunks):
        anchor = hunk.anchor.split("\n")
        found = [at for at in range(len(lines)) if lines[at : at + len(anchor)] == anchor]
        if len(found) != 1:
            raise BuildError(
                subject,
                f"patch {patch.name} for {chosen} does not apply to {patch.script} {version}; "
                f"its anchor is {_shown(hunk.anchor)}",
                expected="the anchor once",
                got=f"{len(found)} times" if found else "not at all",
                hint=f"this script is not as released; add a range for it to {patch.source}, "
                "or leave the patch out",
            )
        start, end = found[0], found[0] + len(anchor)
        yield {
            "before": (start, start, number),
            "after": (end, end, number),
            "replace": (start, end, number),
        }[hunk.place]


def _shown(anchor: str) -> str:
    return " / ".join(f'"{line.strip()}"' for line in anchor.split("\n"))


# Reading a patch


def read_patch(name: str, text: bytes, *, subject: object) -> ScriptPatch:
    """The patch in a TOML text. Raises RecipeError for the first thing that is wrong."""
    reader = _PatchReader(str(subject))
    document = reader.document(text)
    texts = reader.texts(document["texts"])
    used: set[str] = set()
    ranges = tuple(
        [
            reader.range(value, f"ranges[{number}]", texts, used)
            for number, value in enumerate(document["ranges"])
        ]
    )
    for unused in sorted(texts.keys() - used):
        reader.fail(f"texts.{unused}", "is used by no hunk", hint="remove it")
    reader.check_overlap(ranges)
    return ScriptPatch(
        name=name,
        source=str(subject),
        summary=reader.text(document, "summary", "summary"),
        script=reader.text(document, "script", "script"),
        features=tuple(reader.strings(document.get("features", []), "features")),
        ranges=ranges,
    )


class _PatchReader:
    """Takes a patch apart; every complaint says where."""

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def fail(self, where: str, problem: str, *, got: object = None, hint: str) -> NoReturn:
        raise RecipeError(f"{self._subject}: {where}", problem, got=got, hint=hint)

    def document(self, text: bytes) -> dict[str, Any]:
        try:
            if len(text) > _MOST_PATCH_BYTES:
                raise ValueError(f"{len(text)} bytes are too many")
            document = tomllib.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise RecipeError(
                self._subject, f"is no TOML: {error}", hint="correct the file"
            ) from None
        self._keys(
            document,
            "the patch",
            must={"schema": int, "summary": str, "script": str, "texts": dict, "ranges": list},
            may={"features": list},
        )
        if document["schema"] != _SCHEMA:
            self.fail("schema", f"is not {_SCHEMA}", got=document["schema"], hint="convert it")
        if not document["ranges"]:
            self.fail("ranges", "there are none", hint="add [[ranges]]")
        return document

    def _keys(
        self,
        table: object,
        where: str,
        *,
        must: Mapping[str, type],
        may: Mapping[str, type],
    ) -> None:
        kinds = {**must, **may}
        if not isinstance(table, dict):
            self.fail(where, "should be a table", got=repr(table), hint="correct the file")
        for name, value in table.items():
            if name not in kinds:
                self.fail(where, f"has no key {name!r}", hint=f"keys are {', '.join(kinds)}")
            if type(value) is not kinds[name]:
                self.fail(where, f"{name} is of another type", got=repr(value), hint="correct it")
        for name in must:
            if name not in table:
                self.fail(where, f"{name} is missing", hint="add it")

    def text(self, table: Mapping[str, Any], name: str, where: str) -> str:
        """A text of one or more lines that a shell can read."""
        value: str = table[name]
        if not value.strip() or any(letter in value for letter in "\0\r"):
            self.fail(where, "should be lines of text", got=repr(value), hint="correct it")
        return value

    def strings(self, values: Sequence[object], where: str) -> list[str]:
        """A list of texts."""
        for value in values:
            if not isinstance(value, str):
                self.fail(where, "should hold texts", got=repr(value), hint="correct it")
        return [str(value) for value in values]

    def texts(self, table: Mapping[str, Any]) -> dict[str, str]:
        """The named texts, each ending with the end of a line."""
        self._keys(table, "texts", must={}, may=dict.fromkeys(table, str))
        texts = {name: self.text(table, name, f"texts.{name}") for name in table}
        return {name: text if text.endswith("\n") else f"{text}\n" for name, text in texts.items()}

    def range(
        self, table: dict[str, Any], where: str, texts: Mapping[str, str], used: set[str]
    ) -> PatchRange:
        """One range; the names of the texts that it uses are added to `used`."""
        self._keys(
            table,
            where,
            must={"versions": str},
            may={"edition": str, "not_needed": str, "hunks": list, "fixes": str},
        )
        if ("not_needed" in table) == ("hunks" in table):
            self.fail(where, "needs either hunks or not_needed", hint="say which it is")
        bounds = _RANGE.fullmatch(table["versions"])
        if bounds is None:
            self.fail(
                f"{where}.versions",
                "is no range",
                got=repr(table["versions"]),
                hint='write it like this: versions = ">=3.4.0 <3.13"',
            )
        first, end = (
            read_script_version(
                bounds[bound],
                edition=table.get("edition", ""),
                subject=f"{self._subject}: {where}.versions",
            )
            for bound in ("first", "end")
        )
        if first.rank >= end.rank:
            self.fail(f"{where}.versions", "is empty", got=table["versions"], hint="correct it")
        hunks = [
            self._hunk(value, f"{where}.hunks[{number}]", texts)
            for number, value in enumerate(table.get("hunks", []))
        ]
        if "hunks" in table and not hunks:
            self.fail(f"{where}.hunks", "there are none", hint="add one, or not_needed")
        used.update(name for value in table.get("hunks", []) for name in value["texts"])
        reason = self.text(table, "not_needed", where) if "not_needed" in table else None
        fixes = self.text(table, "fixes", f"{where}.fixes") if "fixes" in table else None
        return PatchRange(first=first, end=end, not_needed=reason, hunks=tuple(hunks), fixes=fixes)

    def _hunk(self, table: dict[str, Any], where: str, texts: Mapping[str, str]) -> Hunk:
        self._keys(table, where, must={"texts": list}, may=dict.fromkeys(PLACES, str))
        places = [place for place in PLACES if place in table]
        if len(places) != 1:
            self.fail(where, f"needs one of {', '.join(PLACES)}", hint="give it one anchor")
        names = self.strings(table["texts"], f"{where}.texts")
        for name in names:
            if name not in texts:
                self.fail(where, f"there is no text {name!r}", hint=f"add it to [texts]: {name}")
        if not names:
            self.fail(where, "has no texts", hint="name one or more of [texts]")
        anchor = self.text(table, places[0], f"{where}.{places[0]}")
        return Hunk(
            place=places[0],
            anchor=anchor.removesuffix("\n"),
            text="".join(texts[name] for name in names),
        )

    def check_overlap(self, ranges: Sequence[PatchRange]) -> None:
        """No version may be in two ranges."""
        ordered = sorted(ranges, key=lambda one: (one.first.edition, one.first.rank))
        for one, other in pairwise(ordered):
            if one.first.edition == other.first.edition and other.first.rank < one.end.rank:
                self.fail("ranges", f"{one} and {other} overlap", hint="let one end earlier")
