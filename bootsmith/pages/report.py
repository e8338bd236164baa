"""`doit report`: one page about a site, which needs nothing beside it.

Which generations there are and how large, what changed between the one that machines boot and
the one that waits, how each scenario booted and what its console showed last, and the graph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bootsmith.errors import BootsmithError, ToolMissing
from bootsmith.files.atomic import write_file
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.formats.plots import bars_svg, stages_svg
from bootsmith.formats.screen_picture import last_screen, screen_svg
from bootsmith.generations.catalogue import Catalogue, Generation, read_catalogue
from bootsmith.generations.changes import sections_between
from bootsmith.generations.diff import gathered_sections
from bootsmith.generations.history import describe_current
from bootsmith.generations.sections import Section
from bootsmith.graph.step import Step
from bootsmith.pages.look import page, page_path
from bootsmith.pages.step_graph import graph_svg, nodes_of
from bootsmith.smoke.evidence import CONSOLE_NAME, EVIDENCE_NAME, Evidence, read_evidence
from bootsmith.smoke.symptoms import STAGES

Progress = Callable[[str, int, int | None], None]
_SHOWN_GENERATIONS = 30
_SHOWN_NAMES = 12


@dataclass(frozen=True, kw_only=True)
class Boot:
    """One scenario as it last ran."""

    record: Evidence
    screen: list[str]
    picture: Markup


def write_report(
    *,
    name: str,
    root: Path,
    artifacts: Path,
    steps: Sequence[Step],
    output: str | None,
    say: Callable[[str], None],
    progress: Progress,
) -> None:
    """Write the page and say where it is."""
    target = page_path(output, "doit report") or artifacts / "report" / "index.html"
    catalogue = read_catalogue(artifacts)
    boots = list(_boots(artifacts / "evidence", catalogue))
    values = {
        "name": name,
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "standing": describe_current(artifacts) or "nothing was promoted yet",
        "generations": list(_rows(catalogue)),
        "sizes": _sizes(catalogue),
        "changes": _changes(catalogue, progress),
        "boots": boots,
        "timeline": _timeline(boots),
        "graph": _graph(root, steps),
        "bench": _bench(artifacts / "bench"),
        "human_bytes": human_bytes,
    }
    write_file(target, page("report.html", values).encode())
    say(f"{target}: generations: {len(catalogue.generations)}, boots: {len(boots)}")
    say(f"next: open file://{target.absolute()}")


def _rows(catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    for generation in reversed(catalogue.generations[-_SHOWN_GENERATIONS:]):
        manifest = generation.manifest
        yield {
            "id": generation.id,
            "marks": _marks(generation, catalogue),
            "files": generation.file_count if manifest else None,
            "size": human_bytes(_size_bytes(generation)) if manifest else "",
            "releases": ", ".join(sorted(manifest.releases)) if manifest else "",
            "made": _date(manifest.created_epoch) if manifest else "",
            "trouble": generation.trouble,
        }


def _marks(generation: Generation, catalogue: Catalogue) -> str:
    pairs = (("current", catalogue.current), ("candidate", catalogue.candidate))
    return ", ".join(word for word, name in pairs if name == generation.id)


def _size_bytes(generation: Generation) -> int:
    return sum(generation.sizes.values())


def _date(epoch: int | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(epoch)) if epoch is not None else ""


def _sizes(catalogue: Catalogue) -> Markup | None:
    shown = catalogue.sound[-_SHOWN_GENERATIONS:]
    if not shown:
        return None
    return Markup(  # noqa: S704 - made by plots.py, which escapes
        bars_svg(
            {generation.id: float(_size_bytes(generation)) for generation in shown},
            title="Size of each generation",
            identifier="sizes-title",
            said=lambda size: human_bytes(int(size)),
            marks={generation.id: _marks(generation, catalogue) for generation in shown},
        )
    )


def _changes(catalogue: Catalogue, progress: Progress) -> dict[str, Any] | None:
    """Between current and candidate, else between the two newest; None if there are no two."""
    if {catalogue.current, catalogue.candidate} <= catalogue.by_id.keys():
        before, after = map(catalogue.find, ("current", "candidate"))
    elif len(catalogue.sound) > 1:
        before, after = list(pairwise(catalogue.sound))[-1]
    else:
        return None
    try:
        sections = list(sections_between(before, after, progress))
    except BootsmithError as error:
        return {"before": before.id, "after": after.id, "trouble": str(error), "sections": []}
    return {
        "before": before.id,
        "after": after.id,
        "trouble": None,
        "sections": [
            _section(section, subjects) for section, subjects in gathered_sections(sections)
        ],
    }


def _section(section: Section, subjects: Sequence[str]) -> dict[str, Any]:
    changes = section.changes
    rows = []
    for word, names in (
        ("added", changes.added), ("removed", changes.removed), ("changed", changes.changed)
    ):  # fmt: skip
        if names:
            shown = sorted(names)[:_SHOWN_NAMES]
            rows.append({"word": word, "names": shown, "more": len(names) - len(shown)})
    subject = f" of {', '.join(subjects)}" if section.subject else ""
    return {"heading": f"{section.aspect}{subject}", "rows": rows, "trouble": section.trouble}


def _boots(evidence: Path, catalogue: Catalogue) -> Iterator[Boot]:
    """The newest run of each scenario, by name."""
    newest: dict[str, tuple[Evidence, Path]] = {}
    for path in sorted(evidence.glob(f"*/*/{EVIDENCE_NAME}")):
        try:
            record = read_evidence(path)
        except BootsmithError:
            continue  # of another version: it says nothing here
        known = newest.get(record.scenario)
        if known is None or known[0].started_epoch <= record.started_epoch:
            newest[record.scenario] = (record, path.parent)
    for scenario, (record, directory) in sorted(newest.items()):
        shown = _screen(directory / CONSOLE_NAME)
        title = f"Last screen of {scenario}, {record.verdict}"
        picture = screen_svg(shown, title=title, identifier=f"screen-{scenario}")
        yield Boot(record=record, screen=shown, picture=Markup(picture))  # noqa: S704 - escaped


def _screen(console: Path) -> list[str]:
    try:
        return last_screen(console.read_bytes())
    except OSError:
        return ["(its console log is gone)"]


def _timeline(boots: Sequence[Boot]) -> Markup | None:
    runs = {
        boot.record.scenario: sorted(
            boot.record.landmarks_seconds.items(),
            key=lambda reached: (reached[1], STAGES.index(reached[0])),
        )
        for boot in boots
        if boot.record.landmarks_seconds
    }
    if not runs:
        return None
    title = "How long each boot took, stage by stage"
    return Markup(  # noqa: S704 - plots.py escapes
        stages_svg(runs, stages=STAGES, title=title, identifier="timeline-title")
    )


def _graph(root: Path, steps: Sequence[Step]) -> Markup | str:
    """The picture; or, where Graphviz is missing, what to do about it."""
    shown = [step for step in steps if step.in_build and not step.by_request]
    try:
        svg = graph_svg(nodes_of(root, shown), title="The steps of this site")
    except ToolMissing as error:
        return str(error)
    return Markup(svg)  # noqa: S704 - drawn by dot of escaped text


def _bench(directory: Path) -> Markup | None:
    """What `make bench` drew last, if it ever ran here."""
    try:
        return Markup((directory / "plots.svg").read_text("utf-8"))  # noqa: S704 - ours
    except OSError:
        return None
