"""`doit reproduce`: build the site under differing conditions and compare every byte.

What lies where:

    scratch/1/site        build 1, then build 3 in the same place
    scratch/1/artifacts   what build 1 made, put aside for build 3
    scratch/2/…/site      build 2
    scratch/N.log         what doit said

Everything here happens outside of what machines see.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bootsmith.errors import BuildError
from bootsmith.reproduce import compare, trees
from bootsmith.reproduce.build import run_build
from bootsmith.reproduce.conditions import (
    Conditions,
    Testimony,
    again,
    another_user,
    plain,
    question,
    table,
    varied,
    ways_to_be_another_user,
)
from bootsmith.reproduce.explain import diffoscope, explain
from bootsmith.reproduce.trees import BuildStep

Progress = Callable[[str, int, int | None], None]
Say = Callable[[str], None]

# Long ago and odd: files that a clone or a copy made have any time at all.
_SOURCES_EPOCH = 1_000_000_001


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What all parts of one run need."""

    root: Path
    artifacts: Path
    steps: Sequence[BuildStep]
    names: tuple[str, ...]
    scratch: Path
    say: Say
    progress: Progress


def reproduce(
    *,
    root: Path,
    artifacts: Path,
    steps: Sequence[BuildStep],
    operands: tuple[str, ...],
    scratch: str | None,
    quick: bool,
    keep: bool,
    say: Say,
    progress: Progress,
) -> None:
    """Build steps `operands` (default: the whole site) two or three times and compare.

    Says under which conditions, and what differs. Raises BuildError if anything does, and for
    a name of no step.
    """
    _check_names(operands, steps)
    place = Path(scratch).absolute() if scratch else artifacts
    job = _Job(
        root=root,
        artifacts=artifacts,
        steps=steps,
        names=operands or ("build",),
        scratch=trees.new_scratch(place / "reproduce"),
        say=say,
        progress=progress,
    )
    first, second, testimonies = _prepare(job)
    builds = [first, second] if quick else [first, second, again(first)]
    for line in table(builds, _met(builds, testimonies)):
        say(line)
    say("")
    results = _build_all(job, builds)
    count = _report(job, results)
    if keep:
        say(f"kept: {job.scratch}")
    else:
        trees.remove_tree(job.scratch)
    say(f"{count} files and directories in {len(builds)} builds, all identical")


def _check_names(names: Sequence[str], steps: Sequence[BuildStep]) -> None:
    """Before anything is copied: of steps, of kinds, or `build`."""
    known = {"build", *(step.label for step in steps)}
    known |= {label.partition(":")[0] for label in known}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            raise BuildError(
                f"doit reproduce {name}",
                "there is no such step",
                hint=f"did you mean: doit reproduce {near[0]}" if near else "doit list --all",
            )


# -- before -----------------------------------------------------------------------------


def _prepare(job: _Job) -> tuple[Conditions, Conditions, list[Testimony]]:
    """The copies of the site, and what processes say that are started as the builds will be."""
    job.progress("copying the site", 0, None)
    first = plain(job.scratch / "1" / "site")
    trees.copy_site(job.root, first.root, job.steps)
    downloads = trees.downloads_of(job.steps, job.artifacts)
    trees.seed(downloads, source=job.artifacts, target=first.root / "artifacts")
    sources = _outside_sources(job)
    testimony = question(first, sources)
    second = varied(job.scratch / "2")
    trees.copy_site(job.root, second.root, job.steps)
    trees.set_times(second.root, _SOURCES_EPOCH)
    for name in ("home", "tmp"):
        (job.scratch / "2" / name).mkdir()
    second, other = _as_another_user(job, second, sources)
    return first, second, [testimony, other]


def _as_another_user(
    job: _Job, second: Conditions, sources: Sequence[Path]
) -> tuple[Conditions, Testimony]:
    """Build 2 as somebody else, in the first way that works here; else as the caller."""
    for prefix, is_real in ways_to_be_another_user():
        trial = replace(second, prefix=(*second.prefix, *prefix))
        if is_real:
            trees.give_to(job.scratch / "2", another_user())
        try:
            return trial, question(trial, sources)
        except BuildError:
            if is_real:
                trees.give_to(job.scratch / "2", os.geteuid())
    return second, question(second, sources)


def _outside_sources(job: _Job) -> list[Path]:
    return [path for path in trees.sources_of(job.steps) if not path.is_relative_to(job.root)]


def _met(builds: Sequence[Conditions], testimonies: Sequence[Testimony]) -> list[Testimony]:
    """Testimonies of all builds: the third is asked now, in the place of the first."""
    return [*testimonies, *(question(build, ()) for build in builds[len(testimonies) :])]


# -- the builds -------------------------------------------------------------------------


def _build_all(job: _Job, builds: Sequence[Conditions]) -> list[compare.Products]:
    """What each build made."""
    first, second, *others = builds
    downloads = trees.downloads_of(job.steps, job.artifacts)
    made = _build(job, first)
    trees.seed(downloads, source=made, target=second.root / "artifacts")
    if second.root.stat().st_uid == another_user():
        trees.give_to(second.root, another_user())
    places = [made, _build(job, second)]
    for third in others:
        places[0] = job.scratch / "1" / "artifacts"
        trees.put_aside(made, places[0])
        trees.seed(downloads, source=places[0], target=third.root / "artifacts")
        places.append(_build(job, third))
    return [_products(job, build, place) for build, place in zip(builds, places, strict=True)]


def _build(job: _Job, conditions: Conditions) -> Path:
    """Do one build; return its artifacts."""

    def said(line: str) -> None:
        job.progress(f"build {conditions.number}: {line}", 0, None)

    log = job.scratch / f"{conditions.number}.log"
    seconds = run_build(conditions, job.names, log, said)
    job.say(f"build {conditions.number} done in {seconds:.1f} s")
    return conditions.root / "artifacts"


def _products(job: _Job, conditions: Conditions, artifacts: Path) -> compare.Products:
    count = 0

    def seen() -> None:
        nonlocal count
        count += 1
        job.progress(f"reading what build {conditions.number} made:", count, None)

    return compare.products_of(artifacts, job.steps, job.artifacts, seen)


# -- after ------------------------------------------------------------------------------


def _report(job: _Job, results: Sequence[compare.Products]) -> int:
    """The number of things compared; BuildError, after the details, if any differ."""
    first, *others = results
    for number, other in enumerate(others, 2):
        names = compare.differing(first, other)
        if names:
            _tell(job, number, names, first, other)
    return len(first)


def _tell(
    job: _Job,
    number: int,
    names: Sequence[str],
    first: compare.Products,
    other: compare.Products,
) -> None:
    """Say what differs between build 1 and build `number`, then raise BuildError."""
    causes = compare.causes_of(names, job.steps, job.artifacts)
    name, step = causes[0].names[0], causes[0].step
    job.say(f"builds 1 and {number} differ; first by {step}: artifacts/{name}")
    ours, theirs = first.get(name), other.get(name)
    if ours is None or theirs is None:
        job.say(f"  made by build {number if ours is None else 1} only")
    elif not (_is_file(ours.path) and _is_file(theirs.path)) or _same_bytes(ours, theirs):
        job.say(f"  {ours.about}, then {theirs.about}")
    else:
        for line in explain(ours.path, theirs.path, job.scratch):
            job.say(f"  {line}")
        for line in diffoscope(ours.path, theirs.path, job.scratch / "diffoscope.txt"):
            job.say(line)
    for cause in causes[1:]:
        job.say(f"also by {cause.step}: {', '.join(f'artifacts/{name}' for name in cause.names)}")
    _say_consequences(job, names, causes)
    raise BuildError(
        step,
        f"made another artifacts/{name} in build {number}; "
        f"{len(names)} of {len(first)} files and directories differ",
        hint=f"compare the trees in {job.scratch}; its next run removes them",
    )


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _same_bytes(ours: compare.Made, theirs: compare.Made) -> bool:
    return ours.about.split()[1:] == theirs.about.split()[1:]


def _say_consequences(job: _Job, names: Sequence[str], causes: Sequence[compare.Cause]) -> None:
    rest = [name for name in names if not any(name in cause.names for cause in causes)]
    if rest:
        job.say(f"made from these, and so differing too: {len(rest)} more")
        for name in rest:
            job.say(f"  artifacts/{name}")
