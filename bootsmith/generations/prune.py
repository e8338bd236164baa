"""Remove old generations, and from the store what then no generation holds.

A generation goes with one rename to a hidden name; only then are its files deleted. So at
every instant each visible generation is complete, and what a kill leaves (hidden
directories, links and evidence of what is gone, unused objects) the next run collects:
everything below the first rename asks what is there, not what was just done.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.files.atomic import PARTIAL_SUFFIX, fsync_directory
from bootsmith.files.store import Store
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.generations.catalogue import Catalogue, Generation, Say, read_catalogue
from bootsmith.generations.history import (
    forget_moves,
    generation_ids,
    holding_moves,
    is_generation_id,
    read_moves,
)
from bootsmith.generations.links import links_by_kind
from bootsmith.generations.pins import Pin, read_pins
from bootsmith.generations.rollback import rollback_target

_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the filesystem's own


@dataclass(frozen=True, kw_only=True)
class _Plan:
    removed: tuple[Generation, ...]
    kept: Mapping[str, str]
    """Id to why, of those that age alone would have removed."""
    links: tuple[Path, ...]
    evidence: tuple[Path, ...]
    objects: tuple[Path, ...]

    def files(self) -> Iterator[os.stat_result]:
        """Every file that goes."""
        for directory in (*(part.directory for part in self.removed), *self.evidence):
            for parent, _, names in os.walk(directory):
                yield from (os.lstat(Path(parent, name)) for name in names)
        yield from (os.lstat(path) for path in self.objects)


def prune_generations(
    *,
    artifacts: Path,
    store: Path,
    evidence: Path,
    keep: int | None,
    default_keep: int | None,
    dry_run: bool,
    say: Say,
) -> None:
    """Keep the newest `keep` generations, and those that must not go; remove the others.

    Never removed are: what is current, candidate, latest or pinned, the one that `doit
    rollback` would go to, the newest that passed gate `boot`, and what cannot be read.
    `default_keep` is the site's word. PublishError where neither says how many.
    """
    count = _count(keep, default_keep)
    with holding_moves(artifacts):
        catalogue = read_catalogue(artifacts)
        plan = _plan(catalogue, Store(store), evidence, count)
        freed_bytes = _freed_bytes(plan.files())
        hidden = [] if dry_run else _hide(artifacts, plan.removed)
    for name, reason in plan.kept.items():
        say(f"kept {name}: {reason}")
    catalogue.say_troubles(say)
    for generation in catalogue.generations:
        if generation.trouble is not None and generation.id != catalogue.current:
            say(f"to remove {generation.id}: {generation.removal}")
    for generation in plan.removed:
        say(f"{'would remove' if dry_run else 'removed'} {generation.id}")
    if not dry_run:
        _remove(hidden, plan, store)
    verb = "would free" if dry_run else "freed"
    say(
        f"{verb} {human_bytes(freed_bytes)}: {_counted(len(plan.removed), 'generation')}, "
        f"{_counted(len(plan.objects), 'object')} of the store"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _count(keep: int | None, default_keep: int | None) -> int:
    count = keep if keep is not None else default_keep
    if count is None:
        raise PublishError(
            "doit prune",
            "the recipes cannot be read, so how many to keep is not known",
            hint="say it: doit prune --keep N",
        )
    if count < 1:
        raise PublishError(
            "doit prune --keep",
            "not a number of generations",
            expected="at least 1",
            got=count,
            hint="doit prune --keep 1",
        )
    return count


def _plan(catalogue: Catalogue, store: Store, evidence: Path, count: int) -> _Plan:
    pins, moves = read_pins(catalogue.artifacts), read_moves(catalogue.artifacts)
    target = rollback_target(catalogue, moves)
    booted = {move.to for move in moves if move.gate == "boot"}
    proven = [part.id for part in catalogue.sound if part.id in booted]
    reasons = _reasons(
        catalogue, pins, target.id if target else None, proven[-1] if proven else None
    )
    old = catalogue.sound[:-count]
    removed = tuple(part for part in old if part.id not in reasons)
    gone = {part.id for part in removed}
    staying = {name for name in catalogue.by_id if name not in gone}
    return _Plan(
        removed=removed,
        kept={part.id: reasons[part.id] for part in old if part.id in reasons},
        links=tuple(_links_without(catalogue.artifacts, staying)),
        evidence=tuple(_evidence_without(evidence, staying)),
        objects=tuple(_unused_objects(catalogue, store, removed)),
    )


def _reasons(
    catalogue: Catalogue, pins: Mapping[str, Pin], target: str | None, proven: str | None
) -> dict[str, str]:
    pinned = {name: f"pinned{f' ({pin.note})' if pin.note else ''}" for name, pin in pins.items()}
    # Later ones are the stronger reasons.
    reasons = [
        (proven, "the newest that passed gate boot"),
        (target, "doit rollback would go there"),
        (catalogue.latest, "the newest"),
        *pinned.items(),
        (catalogue.candidate, "candidate"),
        (catalogue.current, "current"),
    ]
    return {name: words for name, words in reasons if name is not None}


def _links_without(artifacts: Path, staying: Collection[str]) -> Iterator[Path]:
    """`<kind>/<name>/<id>`, and each generation's own link for `current`, where it is gone."""
    for link in links_by_kind(artifacts):
        if link.name != "current" and link.name not in staying:
            yield link
    for link in artifacts.glob(".current.*"):
        name = link.name.removeprefix(".current.")
        if is_generation_id(name) and link.is_symlink() and name not in staying:
            yield link


def _evidence_without(evidence: Path, staying: Collection[str]) -> Iterator[Path]:
    for directory in sorted(evidence.glob("*")):
        if is_generation_id(directory.name) and directory.name not in staying:
            yield directory


def _unused_objects(
    catalogue: Catalogue, store: Store, removed: Sequence[Generation]
) -> Iterator[Path]:
    """Objects whose only other names, if any, are in generations that go.

    The count of links says so too for a generation whose manifest cannot be read, and for
    whoever has linked an object elsewhere.
    """
    gone = {part.id for part in removed}
    used = {
        part.sha256
        for generation in catalogue.sound
        if generation.id not in gone
        for part in generation.files
    }
    going = _names_by_inode(
        os.lstat(Path(parent, name))
        for generation in removed
        for parent, _, names in os.walk(generation.directory)
        for name in names
    )
    for path in sorted(store.directory.glob("??/*")):
        status = os.lstat(path)
        if (
            path.name in used
            or not stat.S_ISREG(status.st_mode)
            or path != store.object_path(path.name)
        ):
            continue
        if status.st_nlink - going[status.st_dev, status.st_ino] <= 1:
            yield path


def _names_by_inode(files: Iterable[os.stat_result]) -> Counter[tuple[int, int]]:
    return Counter((status.st_dev, status.st_ino) for status in files)


def _freed_bytes(files: Iterator[os.stat_result]) -> int:
    """What the disk gets back: the blocks of files whose last name goes."""
    found = list(files)
    names = _names_by_inode(found)
    sizes = {
        (status.st_dev, status.st_ino): status.st_blocks * _BLOCK_BYTES
        for status in found
        if status.st_nlink == names[status.st_dev, status.st_ino]
    }
    return sum(sizes.values())


def _hide(artifacts: Path, removed: Sequence[Generation]) -> list[Path]:
    """Give each a name that no reader looks for and that the next run collects."""
    hidden = []
    for generation in removed:
        directory = generation.directory
        aside = directory.with_name(f".{directory.name}.{secrets.token_hex(6)}{PARTIAL_SUFFIX}")
        os.rename(directory, aside)
        hidden.append(aside)
    if hidden:
        # Before any file goes: a power cut must not bring back a directory that lacks some.
        fsync_directory(artifacts / "generations")
        forget_moves(artifacts, kept=generation_ids(artifacts))
    return hidden


def _remove(hidden: Sequence[Path], plan: _Plan, store: Path) -> None:
    for link in plan.links:
        link.unlink(missing_ok=True)
    for directory in (*hidden, *plan.evidence):
        shutil.rmtree(directory)
    for path in plan.objects:
        path.unlink(missing_ok=True)
    for directory in {path.parent for path in plan.objects}:
        if not os.listdir(directory):
            directory.rmdir()
