"""`doit diff A B`: what is different between two generations, for people and for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bootsmith.errors import PublishError
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.generations.catalogue import Catalogue, Generation, Say, read_catalogue
from bootsmith.generations.changes import sections_between
from bootsmith.generations.digests import Progress
from bootsmith.generations.sections import Section

_MOST_LINES = 20
"""Of each sign of a section; --json has all."""
_SHOWN_LETTERS = 100
"""Of a changed line."""
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def diff_generations(
    *, artifacts: Path, operands: Sequence[str], as_json: bool, say: Say, progress: Progress
) -> None:
    """Say what changed from the first generation to the second.

    One word: from current to that. None: from current to candidate, else between the two
    newest.
    """
    before, after = _chosen(read_catalogue(artifacts), operands)
    sections = list(sections_between(before, after, progress))
    if as_json:
        say(_document(before, after, sections))
        return
    for line in _lines(before, after, sections):
        say(line)


def _chosen(catalogue: Catalogue, operands: Sequence[str]) -> tuple[Generation, Generation]:
    words = tuple(operands)
    if len(words) > 2:
        raise PublishError("doit diff", f"two generations, not {len(words)}", hint="doit diff A B")
    if len(words) == 1:
        words = ("current", *words)
    elif not words and {catalogue.current, catalogue.candidate} <= catalogue.by_id.keys():
        words = ("current", "candidate")
    elif not words:
        words = tuple(part.id for part in catalogue.sound[-2:])
        if len(words) < 2:
            raise PublishError(
                "doit diff", "there are no two generations yet", hint="doit generations"
            )
    before, after = map(catalogue.find, words)
    before.require_manifest()
    after.require_manifest()
    return before, after


def _document(before: Generation, after: Generation, sections: Sequence[Section]) -> str:
    aspects: dict[str, dict[str, Any]] = {}
    for section in sections:
        words = asdict(section.changes)
        if section.trouble is not None:
            words["trouble"] = section.trouble
        aspects.setdefault(section.aspect.replace(" ", "_"), {})[section.subject] = words
    document = {
        "schema": 1,
        "before": _head(before),
        "after": _head(after),
        "changes": aspects,
    }
    return json.dumps(document, indent=1)


def _head(generation: Generation) -> dict[str, Any]:
    manifest = generation.require_manifest()
    return {
        "id": generation.id,
        "site_revision": manifest.site_revision,
        "created_epoch": manifest.created_epoch,
        "content_digest": manifest.content_digest,
    }


def _lines(before: Generation, after: Generation, sections: Sequence[Section]) -> Iterator[str]:
    was, now = before.require_manifest(), after.require_manifest()
    yield f"{before.id} -> {after.id}"
    if was.site_revision != now.site_revision:
        yield f"site revision {was.site_revision or '-'} -> {now.site_revision or '-'}"
    if was.content_digest == now.content_digest:
        yield "machines see the same files"
    for section, subjects in gathered_sections(sections):
        yield ""
        yield f"{section.aspect} of {', '.join(subjects)}" if section.subject else section.aspect
        if section.trouble is not None:
            yield f"  ! {section.trouble}"
        for sign, listed in (
            ("+", {name: _shown(value) for name, value in section.changes.added.items()}),
            ("-", {name: _shown(value) for name, value in section.changes.removed.items()}),
            ("~", {name: _both(*pair) for name, pair in section.changes.changed.items()}),
        ):
            yield from _signed(sign, _alike(listed) if section.is_of_many else listed)


def gathered_sections(sections: Sequence[Section]) -> list[tuple[Section, list[str]]]:
    """Each section once, with all that changed in just the same way."""
    gathered: list[tuple[Section, list[str]]] = []
    for section in sections:
        for first, subjects in gathered:
            if replace(section, subject=first.subject) == first:
                subjects.append(section.subject)
                break
        else:
            gathered.append((section, [section.subject]))
    return gathered


def _signed(sign: str, listed: Mapping[str, str]) -> Iterator[str]:
    names = list(listed)[:_MOST_LINES]
    width = max(map(len, names), default=0)
    for name in names:
        yield f"  {sign} {name:<{width}}  {listed[name]}".rstrip()
    if len(listed) > len(names):
        yield f"  {sign} … and {len(listed) - len(names)} more; all: doit diff --json"


def _alike(listed: Mapping[str, str]) -> Mapping[str, str]:
    """Where there are too many: those of which the very same is said, as one."""
    if len(listed) <= _MOST_LINES:
        return listed
    alike: dict[str, list[str]] = {}
    for name, value in listed.items():
        alike.setdefault(value, []).append(name)
    return {
        name if len(names) == 1 else f"{name} and {len(names) - 1} like it": value
        for value, names in alike.items()
        for name in names[:1]
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "link" in value:
        return f"-> {value['link']}"
    if isinstance(value, dict) and "size_bytes" in value:
        return human_bytes(value["size_bytes"])
    return _DIGEST.sub(r"\1", value if isinstance(value, str) else json.dumps(value))


def _both(was: Any, now: Any) -> str:
    if isinstance(was, dict) and "lines" in was:
        return _lines_between(was["lines"], now["lines"])
    if isinstance(was, dict) and isinstance(now, dict) and "link" in was and "link" in now:
        return f"{was['link']} -> {now['link']}"
    before, after = _shown(was), _shown(now)
    if before == after:  # the same size, or a word that stands for nothing
        return f"{before}, other content" if before else ""
    return f"{before} -> {after}"


def _lines_between(gone: Sequence[str], come: Sequence[str]) -> str:
    """What was said otherwise: the words of one line, the number of several."""
    if len(gone) == len(come) == 1:
        old, new = gone[0].split(), come[0].split()
        words = (
            " ".join(word for word in old if word not in new),
            " ".join(word for word in new if word not in old),
        )
        if any(words):
            return " -> ".join(_cut(side) or "-" for side in words)
    if not gone and not come:
        return "other order of lines"
    parts = [f"{sign}{len(lines)} lines" for sign, lines in (("-", gone), ("+", come)) if lines]
    return f"{', '.join(parts)}: {_cut((*come, *gone)[0].strip())}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_LETTERS else f"{text[: _SHOWN_LETTERS - 1]}…"
