"""`doit graph`: the steps of the site as a picture."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.files.atomic import write_file
from bootsmith.formats.step_graph import Node, dot_text, page_svg
from bootsmith.graph.execute import Executor
from bootsmith.graph.layout import Layout
from bootsmith.graph.step import Step
from bootsmith.pages.look import page_path
from bootsmith.tools.graphviz import draw_svg


def draw_graph(
    *,
    root: Path,
    steps: Sequence[Step],
    operands: Sequence[str],
    output: str | None,
    dot: bool,
    say: Callable[[str], None],
) -> None:
    """Write the picture and say where it is, or print the graph in Graphviz' language.

    `operands` are labels: only those steps, and what leads to them.
    """
    nodes = nodes_of(root, _wanted(steps, operands))
    title = f"Steps of {root.name}"
    if dot:
        say(dot_text(nodes, title=title).rstrip())
        return
    target = page_path(output, "doit graph") or Layout(root).artifacts / "report" / "graph.svg"
    write_file(target, graph_svg(nodes, title=title).encode())
    stale = [node.label for node in nodes if node.why]
    say(f"{target}: {len(nodes)} steps, {len(stale)} would be done again")


def graph_svg(nodes: Sequence[Node], *, title: str) -> str:
    """The picture, fit for a page."""
    return page_svg(draw_svg(dot_text(nodes, title=title)), nodes, title=title)


def nodes_of(root: Path, steps: Sequence[Step]) -> tuple[Node, ...]:
    """Each step, with what leads to it and why it would be done again."""
    executor = Executor(Layout(root), steps, only_looks=True)
    return tuple(
        Node(
            label=step.label,
            summary=step.summary,
            before={
                source.label
                for path in step.inputs
                if (source := executor.producer_of(path)) is not None and source is not step
            },
            why=() if step.by_request else tuple(executor.reasons_with_sources(step)),
        )
        for step in steps
    )


def _wanted(steps: Sequence[Step], labels: Sequence[str]) -> tuple[Step, ...]:
    """What a build does; or the steps named by label or kind, with all that leads to them."""
    if not labels:
        return tuple(step for step in steps if step.in_build and not step.by_request)
    makers = {path: step for step in steps for path in step.outputs}
    found: dict[str, Step] = {}
    for label in labels:
        named = [step for step in steps if label in (step.label, step.kind)]
        if not named:
            known = [name for step in steps for name in (step.label, step.kind)]
            near = difflib.get_close_matches(label, known, n=1)
            hint = f"did you mean: doit graph {near[0]}" if near else "doit list --all"
            raise PublishError(f"doit graph {label}", "there is no such step", hint=hint)
        ahead = named
        while ahead:
            step = ahead.pop()
            if step.label not in found:
                found[step.label] = step
                ahead += [makers[path] for path in step.inputs if path in makers]
    return tuple(step for step in steps if step.label in found)
