"""`doit verify`: re-hash what machines boot, name each thing that is wrong, mend what is safe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootsmith.errors import BootsmithError, PublishError
from bootsmith.files.store import Store
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.generations.catalogue import Catalogue, Generation, Say, read_catalogue
from bootsmith.generations.digests import Digests, Progress
from bootsmith.generations.gate import FACTS_PATH, problems_of
from bootsmith.generations.history import standing_id
from bootsmith.generations.links import examine_links
from bootsmith.generations.problem import Problem
from bootsmith.generations.remake import Remake
from bootsmith.generations.repair import Repair, give_up, remove_by_hand
from bootsmith.generations.verify import examine_contents, examine_surroundings


@dataclass(kw_only=True)
class _Findings:
    """What is wrong, by how it is mended."""

    contents: list[tuple[Generation, Problem]] = field(default_factory=list)
    surroundings: list[Problem] = field(default_factory=list)
    objects: list[Problem] = field(default_factory=list)
    unreadable: list[Generation] = field(default_factory=list)
    unfit: list[BootsmithError] = field(default_factory=list)
    """Why machines would not boot with files that are as they should be."""

    @property
    def foreign(self) -> list[Path]:
        """What lies in a generation and is not of it: only a person knows whether to keep it."""
        return [problem.path for problem in self.surroundings if problem.mode is None]


def verify_generations(
    *,
    artifacts: Path,
    store: Path,
    build: Path,
    operands: Sequence[str],
    everything: bool,
    repair: bool,
    say: Say,
    progress: Progress,
    netboot: Mapping[str, Any] | None = None,
) -> None:
    """Read every byte of these generations (none named: current and candidate) and their links.

    Where all is as it was built, also what the gate asks of it: `doit promote` would refuse it.
    With `everything`, of every generation and of every object of the store. `netboot` is what
    `Remake` mends of. PublishError if anything is wrong and was not mended.
    """
    catalogue = read_catalogue(artifacts)
    chosen = _chosen(catalogue, operands, everything=everything)
    digests = Digests(progress)
    findings = _examine(catalogue, chosen, Store(store), digests, everything=everything)
    left = 0
    mending = Repair(
        catalogue=catalogue, store=Store(store), build=build, remake=Remake(netboot=netboot)
    )
    for line, mended in _lines(catalogue, findings, mending if repair else None):
        say(line)
        left += not mended
    own_bytes = sum(sum(part.own_sizes.values()) for part in chosen if part.manifest is not None)
    say(
        f"{', '.join(part.id for part in chosen)}: "
        f"{human_bytes(digests.read_bytes + own_bytes)} read, "
        + (f"{left} wrong" if left else "nothing wrong")
    )
    if left:
        raise PublishError(
            "verify",
            f"{left} {'thing is' if left == 1 else 'things are'} wrong, named above",
            hint=_next_step(chosen, findings, left, everything=everything, repaired=repair),
        )


def _chosen(
    catalogue: Catalogue, operands: Sequence[str], *, everything: bool
) -> tuple[Generation, ...]:
    if everything and operands:
        raise PublishError(
            "doit verify", "--all and ids exclude each other", hint="leave out one of the two"
        )
    if "all" in operands:
        raise PublishError(
            "all", "is not a generation here", hint="every generation: doit verify --all"
        )
    if everything:
        chosen = catalogue.generations
    elif operands:
        chosen = tuple({part.id: part for part in map(catalogue.find, operands)}.values())
    else:
        names = (standing_id(catalogue.artifacts), catalogue.candidate)
        chosen = tuple(part for part in catalogue.generations if part.id in names)
    if not chosen:
        raise PublishError(
            "doit verify",
            "nothing is current and nothing is candidate",
            hint="doit verify --all, or make a generation: doit build",
        )
    return chosen


def _next_step(
    chosen: Sequence[Generation],
    findings: _Findings,
    left: int,
    *,
    everything: bool,
    repaired: bool,
) -> str:
    if left == len(findings.unreadable):
        return "do what stands beside it"
    if left == len(findings.unfit):
        return "do what stands below each, then build again: doit build"
    if repaired:
        return "do what stands beside each, then doit verify again"
    foreign = findings.foreign
    if left == len(foreign) == 1:
        return remove_by_hand(foreign[0])
    if left == len(foreign) + len(findings.unreadable):
        return "do what stands below each, then doit verify again"
    words = "--all" if everything else " ".join(part.id for part in chosen)
    rest = ", then remove what it leaves" if foreign else ""
    return f"doit verify --repair {words}{rest}"


# --- looking -------------------------------------------------------------------------------


def _examine(
    catalogue: Catalogue,
    chosen: Sequence[Generation],
    store: Store,
    digests: Digests,
    *,
    everything: bool,
) -> _Findings:
    findings = _Findings(unreadable=[part for part in chosen if part.manifest is None])
    sound = [part for part in chosen if part.manifest is not None]
    for part in sound:
        manifest = part.require_manifest()
        problems = list(examine_contents(part.directory, manifest, digests))
        findings.contents += [(part, problem) for problem in problems]
        if not problems:
            facts = catalogue.artifacts / FACTS_PATH
            findings.unfit += problems_of(part.directory, manifest, facts)
        findings.surroundings += examine_surroundings(part.directory, manifest, digests)
    findings.objects += _examine_store(sound, store, digests, everything=everything)
    return findings


def _examine_store(
    sound: Sequence[Generation], store: Store, digests: Digests, *, everything: bool
) -> Iterator[Problem]:
    held = {artifact.sha256: artifact for part in sound for artifact in part.files}
    paths = {store.object_path(sha256) for sha256 in held}
    if everything:
        paths |= {path for path in store.directory.glob("*/*") if not path.name.startswith(".")}
    digests.read(sorted(paths))
    for path in sorted(paths):
        artifact = held.get(path.name)
        found = digests.of(path)
        if not store.is_place(path) or (found is None and artifact is None):
            yield Problem(path=path, what="is not an object of the store")
        elif found is None:
            yield Problem(path=path, what="is missing from the store", artifact=artifact)
        elif found != path.name:
            yield Problem(
                path=path, what="is damaged", expected=path.name, got=found, artifact=artifact
            )


# --- saying and mending ---------------------------------------------------------------------


def _lines(
    catalogue: Catalogue, findings: _Findings, mending: Repair | None
) -> Iterator[tuple[str, bool]]:
    """Each finding as a line, and whether it is mended now.

    Links are looked at last: one that led to a lost file is right when that is back.
    """
    root = catalogue.artifacts.parent
    for generation in findings.unreadable:
        line = f"{generation.directory.relative_to(root)}: {generation.trouble}"
        yield f"{line}\n  {give_up(generation, catalogue)}", False
    for part, problem in findings.contents:
        yield _told(problem.line(root), mending.put_back(part, problem) if mending else None)
    for error in findings.unfit:
        yield str(error), False
    for problem in findings.objects:
        yield _told(problem.line(root), mending.replace_object(problem) if mending else None)
    for problem in findings.surroundings:
        advice = None if problem.mode is not None else remove_by_hand(problem.path)
        yield _told(problem.line(root), mending.tidy(problem) if mending else advice)
    for link in examine_links(catalogue):
        shown = Problem(path=link.path, what=link.what, expected=link.expected, got=link.got)
        yield _told(shown.line(root), mending.mend_link(link) if mending else None)


def _told(line: str, outcome: str | None) -> tuple[str, bool]:
    """`outcome` is what Repair said: it begins with "mended" or says what to do."""
    if outcome is None:
        return line, False
    return f"{line}\n  {outcome}", outcome.startswith("mended")
