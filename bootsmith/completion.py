"""What may stand where a person pressed Tab. The shells' scripts are in contrib/completion.

They run `doit __complete WORDS...`, where WORDS are those of the line up to the cursor, the last
of them unfinished, and get one candidate a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bootsmith.graph.verb import Verb

_RUN_OPTIONS = ("--help", "--json", "--plain", "--quiet", "-n")
_STEP_WORDS = ("explain", "clean", "list")
_OPTIONS_OF_DOIT = {"list": ("--all", "--help", "-q"), "clean": ("--clean-all", "--help", "-n")}
_DRAFTS = ("host", "release", "template")  # what `doit new` takes


def candidates(
    words: Sequence[str],
    *,
    tasks: Iterable[str],
    verbs: Sequence[Verb],
    named: Callable[[str], Iterable[str]],
) -> list[str]:
    """Words that may take the place of the last of `words`, sorted.

    `named` gives the names of a kind of thing: `generation`, `template`, `host` and so on, as
    verbs name them.
    """
    *before, unfinished = words or [""]
    by_name = {verb.name: verb for verb in verbs}
    first = next((word for word in before if not word.startswith("-")), None)
    if first in by_name:
        found = _of_verb(by_name[first], before, unfinished, named)
    elif unfinished.startswith("-"):
        found = iter(_OPTIONS_OF_DOIT.get(first or "", _RUN_OPTIONS))
    elif first is None:
        found = iter([*tasks, *by_name, *_STEP_WORDS])
    else:
        found = iter(tasks)
    return sorted({word for word in found if word.startswith(unfinished)})


def _of_verb(
    verb: Verb, before: Sequence[str], unfinished: str, named: Callable[[str], Iterable[str]]
) -> Iterator[str]:
    option = next((one for one in verb.options if before[-1] == f"--{one.name}"), None)
    if option is not None and not isinstance(option.default, bool):
        yield from named(option.completes) if option.completes else ()
    elif unfinished.startswith("-"):
        yield from (f"--{one.name}" for one in verb.options)
        yield "--help"
    elif verb.completes:
        yield from named(verb.completes)


def names_below(root: Path, known: Mapping[str, Iterable[str]]) -> Callable[[str], Iterable[str]]:
    """`named` for the site below `root`; `known` are the names that its recipes give."""
    artifacts = root / "artifacts"

    def named(kind: str) -> Iterable[str]:
        if kind == "generation":
            return ("current", "candidate", "latest", *_generations(artifacts))
        if kind == "draft":
            return _DRAFTS
        if kind == "mac":  # `doit mac new TEMPLATE`
            return ("new", *known.get("template", ()))
        if kind == "host":
            return _hosts(artifacts / "build/inventory/inventory.jsonl")
        if kind == "scenario":
            return {path.parent.name for path in (artifacts / "evidence").glob("*/*/evidence.json")}
        return known.get(kind, ())

    return named


def _generations(artifacts: Path) -> list[str]:
    try:
        return [name for name in os.listdir(artifacts / "generations") if name[:1].isdigit()]
    except OSError:
        return []


def _hosts(inventory: Path) -> Iterator[str]:
    try:
        with open(inventory, encoding="utf-8") as lines:
            for line in lines:
                if line.startswith('{"host"'):
                    yield json.loads(line)["host"]["name"]
    except (OSError, ValueError, KeyError):
        return
