"""Make another generation current again: the verb for the moment when machines do not boot."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.generations.catalogue import Catalogue, Generation, Say, read_catalogue
from bootsmith.generations.digests import Progress
from bootsmith.generations.history import (
    Move,
    holding_moves,
    one_before,
    order_of,
    read_moves,
    was_current,
)
from bootsmith.generations.promote import point_current
from bootsmith.generations.standing import describe_behind
from bootsmith.generations.verify import check_files, check_kernel_releases
from bootsmith.generations.withdrawal import equal_in


def roll_back(
    *,
    artifacts: Path,
    to: str | None,
    say: Say,
    progress: Progress,
    operands: Sequence[str] = (),
    targets: Collection[str] | None = None,
    remind: Say | None = None,
) -> None:
    """Make generation `to`, or the one that was current before, current.

    A lone operand is taken for `to`: nobody shall have to look up an option at such a time.

    Every byte of it is read first: what machines boot after a bad day is not taken from
    memory. PublishError for one that is missing, damaged, or that never passed its gate and
    lies ahead; `current` then stays where it was. `targets` are those of [publish]; that they
    serve another generation is told by `remind` (None: by `say`).
    """
    wanted = [*operands, *([to] if to is not None else [])]
    if len(wanted) > 1:
        raise PublishError(
            "doit rollback", f"one generation, not {len(wanted)}", hint="doit rollback --to ID"
        )
    with holding_moves(artifacts):
        catalogue = read_catalogue(artifacts)
        moves = read_moves(artifacts)
        target = catalogue.find(wanted[0]) if wanted else _one_before(catalogue, moves)
        now = catalogue.current
        if target.id == now:
            say(f"current is {now} already")
            _remind_of_targets(artifacts, targets, remind or say)
            return
        _check(target, catalogue, moves, progress)
        point_current(artifacts, target.require_manifest(), gate=None)
    if now is not None and order_of(target.id) < order_of(now):
        say(f"current is {target.id} (was {now}); to go forward again: doit rollback --to {now}")
    else:
        say(f"current is {target.id} (was {now or 'nothing'})")
    _remind_of_targets(artifacts, targets, remind or say)


def _remind_of_targets(artifacts: Path, targets: Collection[str] | None, remind: Say) -> None:
    behind = describe_behind(artifacts, targets)
    if behind is not None:
        remind(behind)


def rollback_target(catalogue: Catalogue, moves: Sequence[Move]) -> Generation | None:
    """Where `doit rollback` alone would go: the one current before that is still there.

    Where the history ends, the next older one that was current at some time (or may have
    been, if there is no history at all). None where nothing is left.
    """
    known, name, seen = catalogue.by_id, catalogue.current, set[str]()
    while name is not None and name not in seen:
        seen.add(name)
        name = one_before(moves, name)
        if name in known:
            return known[name]
    now, proven = catalogue.current, was_current(moves)
    older = [
        part
        for part in catalogue.sound
        if now is not None and order_of(part.id) < order_of(now)
        if part.id in proven or not moves
    ]
    return older[-1] if older else None


def _one_before(catalogue: Catalogue, moves: Sequence[Move]) -> Generation:
    target = rollback_target(catalogue, moves)
    if target is None:
        now = catalogue.current
        raise PublishError(
            "rollback",
            f"no generation was current before {now}" if now else "nothing is current",
            hint="choose one: doit rollback --to ID; doit generations lists them"
            if len(catalogue.generations) > 1
            else "it is the only one; what you change makes another: doit build"
            if catalogue.generations
            else "make the first generation: doit build",
        )
    return target


def _check(
    target: Generation, catalogue: Catalogue, moves: Sequence[Move], progress: Progress
) -> None:
    now = catalogue.current
    is_ahead = now is not None and order_of(target.id) > order_of(now)
    if is_ahead and not _has_passed(target, catalogue, moves):
        raise PublishError(
            target.id,
            f"is newer than {now} and never passed its gate",
            hint="put it through: doit promote"
            if target.id == catalogue.latest
            else f"only the newest, {catalogue.latest}, can be put through: doit promote",
        )
    try:
        manifest = target.require_manifest()
        check_files(target.directory, manifest, progress)
        check_kernel_releases(target.directory, manifest)
    except PublishError as error:
        error.hint = _way_out(target, catalogue)
        raise


def _has_passed(target: Generation, catalogue: Catalogue, moves: Sequence[Move]) -> bool:
    """Whether it was current, or one of equal content was: the gate judges content, not names."""
    proven = was_current(moves)
    return target.id in proven or (
        target.manifest is not None and any(equal_in(catalogue.artifacts, target.manifest, proven))
    )


def _way_out(target: Generation, catalogue: Catalogue) -> str:
    mend = (
        f"doit verify --repair {target.id}"
        if target.manifest is not None
        else f"it cannot be mended; remove it ({target.removal})"
    )
    others = [part for part in catalogue.sound if part.id not in (target.id, catalogue.current)]
    older = [part for part in others if order_of(part.id) < order_of(target.id)]
    nearest = older[-1:] or others[:1]
    return f"{mend}, or doit rollback --to {nearest[0].id}" if nearest else mend
