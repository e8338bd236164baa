"""The graph of steps as text for Graphviz, and its picture made fit for a page.

Nodes are steps, edges the files that one makes and another reads. Kinds differ in colour;
what would be done again has a dashed border and says so, so that colour is not needed to
tell. Colours follow the reader's light or dark screen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

# One hue a kind, in the order of the way of a byte; Okabe and Ito's, told apart by most eyes.
_HUES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999933", "#777777")


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step. `why` is why it would be done again; empty where it would not."""

    label: str
    summary: str
    before: Collection[str]
    """Labels of the steps whose outputs it reads."""
    why: Sequence[str] = ()

    @property
    def kind(self) -> str:
        """What kind of step."""
        return self.label.partition(":")[0]


def dot_text(nodes: Iterable[Node], *, title: str) -> str:
    """The graph in Graphviz' language, left to right."""
    known = tuple(nodes)
    names = {node.label: f"n{number}" for number, node in enumerate(known)}
    lines = [
        "digraph steps {",
        f"graph [rankdir=LR, bgcolor=transparent, tooltip={_quoted(title)}, ranksep=0.9]",
        'node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11]',
        "edge [arrowsize=0.7]",
    ]
    for node in known:
        name, _, what = node.label.partition(":")
        text = f"{name}\\n{what}" if what else name
        classes = f"step kind{_kind_number(node.kind, known)}{' stale' if node.why else ''}"
        told = "; ".join([node.summary, *(f"would be done: {line}" for line in node.why[:3])])
        style = ', style="filled,rounded,dashed", penwidth=2.5' if node.why else ""
        lines.append(
            f"{names[node.label]} [label={_quoted(text, keep=True)}, class={_quoted(classes)}, "
            f"id={_quoted(_identifier(node.label))}, tooltip={_quoted(told)}{style}]"
        )
    for node in known:
        for label in sorted(node.before):
            if label in names:
                lines.append(f"{names[label]} -> {names[node.label]}")
    return "\n".join([*lines, "}", ""])


def page_svg(svg: str, nodes: Iterable[Node], *, title: str) -> str:
    """Graphviz' picture with a title for screen readers, and colours for light and dark."""
    known = tuple(nodes)
    start = svg.index("<svg")
    head, body = svg[start : svg.index(">", start)], svg[svg.index(">", start) + 1 :]
    stale = sum(bool(node.why) for node in known)
    told = f"{len(known)} steps; {stale} would be done again, with dashed borders."
    return (
        f'{head} role="img" aria-labelledby="graph-title graph-told">\n'
        f'<title id="graph-title">{_escaped(title)}</title>\n'
        f'<desc id="graph-told">{_escaped(told)}</desc>\n'
        f"<style>{_style(known)}</style>{body}"
    )


def kinds_of(nodes: Iterable[Node]) -> Mapping[str, str]:
    """The colour of each kind, in the order in which kinds come first."""
    kinds = tuple(dict.fromkeys(node.kind for node in nodes))
    return {kind: _HUES[number % len(_HUES)] for number, kind in enumerate(kinds)}


def _style(nodes: Sequence[Node]) -> str:
    rules = [
        "svg:root { background: #ffffff }",  # a file of its own; a page has its own ground
        ".step path, .step polygon { fill: #ffffff; stroke-width: 1.5 }",
        ".step.stale path { stroke-dasharray: 6 3 }",
        ".step text, .edge text { fill: #111111 }",
        ".edge path { stroke: #666666 } .edge polygon { fill: #666666; stroke: #666666 }",
    ]
    for number, colour in enumerate(kinds_of(nodes).values()):
        rules.append(
            f".kind{number} path {{ stroke: {colour}; fill: {colour}; fill-opacity: .16 }}"
        )
    rules.append(
        "@media (prefers-color-scheme: dark) { svg:root { background: #1c1c1c } "
        ".step text, .edge text { fill: #eeeeee } "
        ".edge path { stroke: #aaaaaa } .edge polygon { fill: #aaaaaa; stroke: #aaaaaa } "
        ".step path { fill-opacity: .35 } }"
    )
    return " ".join(rules)


def _kind_number(kind: str, nodes: Sequence[Node]) -> int:
    return list(kinds_of(nodes)).index(kind)


def _identifier(label: str) -> str:
    return "step-" + re.sub(r"[^A-Za-z0-9_.-]", "-", label)


def _quoted(text: str, *, keep: bool = False) -> str:
    """A string of dot; `keep` leaves the line break that stands in it as two characters."""
    text = text.replace('"', '\\"') if keep else text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", " ") + '"'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
