"""Why steps would be done or not, asked by the name of a step or of any file of the site.

    pxerd:standin-lts                                   the step
    artifacts/build/pxerd/standin-lts/pxerd-lts         what a step makes
    artifacts/pxerd/standin-lts/current/pxerd-lts       what machines see: the step it comes from
    overlays/base/etc/motd                              a source: every step that reads it
    recipes/templates/default.toml                      a recipe: every step that is named by it

Answers come from the walk that makes the key, and from nothing else; nothing is written.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootsmith.errors import PublishError
from bootsmith.graph.execute import Executor
from bootsmith.graph.key import shown
from bootsmith.graph.step import Input, Scratch, Step

_PUBLISHED_THROUGH = ("current", "candidate")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The steps that a name stands for, and how."""

    steps: tuple[Step, ...]
    heading: str | None = None
    """How the steps have to do with the file that was named; None where a step was named."""
    subjects: tuple[str, ...] = ()
    """What of their walks and outputs is about that file."""


def explain(executor: Executor, names: Sequence[str]) -> Iterator[str]:
    """Lines for a person; every step of a build if nothing is named.

    `executor` only looks. PublishError, with the nearest name, for one that is unknown.
    """
    answers = [_answer(executor, name) for name in names] or [
        Answer(steps=tuple(step for step in executor.steps.values() if _is_in_build(step)))
    ]
    for answer in answers:
        if answer.heading is not None:
            yield answer.heading
        for step in answer.steps:
            reasons = executor.reasons_with_sources(step)
            yield f"{step.label}: {'would be done' if reasons else 'up to date'}"
            for line in reasons:
                yield f"    {line}"
            told = {line.partition(": ")[0] for line in reasons}
            for subject, value in executor.recorded(step):
                if subject in answer.subjects and subject not in told:
                    yield f"    {subject}: {value}, as it was"


def _is_in_build(step: Step) -> bool:
    return step.in_build and not step.by_request


def _answer(executor: Executor, name: str) -> Answer:
    step = executor.steps.get(name)
    if step is not None:
        return Answer(steps=(step,))
    path = Path(os.path.normpath(executor.layout.root / name))
    for find in (_maker, _publisher, _readers, _of_recipe):
        answer = find(executor, path)
        if answer is not None:
            return answer
    known = [*executor.steps, *(shown(p, executor.layout.root) for p in _files(executor))]
    close = difflib.get_close_matches(name, known, n=1)
    raise PublishError(
        name,
        "is no step, nor a file that a step makes or reads",
        hint=f"did you mean {close[0]}?" if close else "list the steps: doit list --all",
    )


def _files(executor: Executor) -> Iterator[Path]:
    for step in executor.steps.values():
        yield from (*step.inputs, *step.trees, *step.outputs)


def _maker(executor: Executor, path: Path) -> Answer | None:
    """A file that a step makes. (What is made by request only is a source: see _readers.)"""
    maker = executor.producer_of(path)
    if maker is None or maker.by_request:
        return None
    name = shown(path, executor.layout.root)
    return Answer(
        steps=(maker,), heading=f"{name}: made by {maker.label}", subjects=(f"output {name}",)
    )


def _publisher(executor: Executor, path: Path) -> Answer | None:
    """A published file, or a directory of them: the steps that its content comes from."""
    layout = executor.layout
    try:
        words = path.relative_to(layout.artifacts).parts
    except ValueError:
        return None
    inside = _path_in_generation(words)
    if inside is None:
        return None
    steps, subjects = [], []
    for part in _published_parts(executor):
        if part["path"] == inside or part["path"].startswith(f"{inside}/") or not inside:
            maker = executor.producer_of(part["source"].path)
            if maker is not None:
                steps.append(maker)
                subjects.append(f"output {shown(part['source'].path, layout.root)}")
    if not inside or inside == layout.latest_manifest.name:
        links = {layout.latest_manifest, layout.current_manifest}
        steps = [
            step
            for step in executor.steps.values()
            if _is_in_build(step)
            and (links & {*step.outputs} or links & {one.path for one in step.witnesses})
        ]
    if not steps:
        return None
    makers = tuple({step.label: step for step in steps}.values())
    names = ", ".join(step.label for step in makers)
    return Answer(
        steps=makers,
        heading=f"{shown(path, layout.root)}: published, from {names}",
        subjects=tuple(subjects),
    )


def _path_in_generation(words: tuple[str, ...]) -> str | None:
    """`kind/name/file` of a path below artifacts/ that leads into a generation, else None."""
    if words[:1] == ("generations",) and len(words) >= 2:
        return "/".join(words[2:])
    if words and words[0] in _PUBLISHED_THROUGH:
        return "/".join(words[1:])
    if len(words) >= 3 and words[0] != "build":  # <kind>/<name>/current or <kind>/<name>/<id>
        return "/".join((*words[:2], *words[3:]))
    return None


def _published_parts(executor: Executor) -> Iterator[dict[str, Any]]:
    for step in executor.steps.values():
        if executor.layout.latest_manifest in step.outputs:
            yield from step.arguments["artifacts"]


def _readers(executor: Executor, path: Path) -> Answer | None:
    """A source: a file or a tree that steps read, or something in one of their trees."""
    readers = tuple(
        step
        for step in executor.steps.values()
        if not step.by_request
        and (path in step.inputs or any(path.is_relative_to(tree) for tree in step.trees))
    )
    if not readers:
        return None
    name = shown(path, executor.layout.root)
    names = ", ".join(step.label for step in readers)
    absent = "" if os.path.lexists(path) else " (is not there)"
    return Answer(
        steps=readers, heading=f"{name}{absent}: read by {names}", subjects=(f"input {name}",)
    )


def _of_recipe(executor: Executor, path: Path) -> Answer | None:
    """A recipe. Its values are arguments, of the steps that bear its name or mention it."""
    root = executor.layout.root
    if path.suffix != ".toml" or not path.is_relative_to(root / "recipes") or not path.is_file():
        return None
    name = _name_in(path)
    concerned = tuple(
        step
        for step in executor.steps.values()
        if not step.by_request and (path.parent == root / "recipes" or _is_about(step, name))
    )
    names = ", ".join(step.label for step in concerned)
    heading = f"{shown(path, root)}: its values are arguments of {names or 'no step'}"
    return Answer(steps=concerned, heading=heading)


def _name_in(recipe: Path) -> str:
    try:
        with open(recipe, "rb") as source:
            return str(tomllib.load(source).get("name") or recipe.stem)
    except tomllib.TOMLDecodeError:
        return recipe.stem


def _is_about(step: Step, name: str) -> bool:
    """Steps are named `<template>`, `<release>`, `<release>.<part>` or `<release>-<flavor>`."""
    own = step.name or ""
    return own == name or own.startswith((f"{name}.", f"{name}-")) or _holds(step.arguments, name)


def _holds(value: Any, name: str) -> bool:
    if isinstance(value, (Input, Scratch)):
        return False
    if isinstance(value, dict):
        return any(_holds(part, name) for part in value.values())
    if isinstance(value, (tuple, list)):
        return any(_holds(part, name) for part in value)
    return bool(value == name)
