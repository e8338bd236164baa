"""Graphviz' dot: lays out a graph and draws it."""

from __future__ import annotations

from bootsmith.tools.run import run_program


def draw_svg(dot: str) -> str:
    """The picture of a graph, as SVG. ToolMissing or ToolFailed."""
    done = run_program(["dot", "-Tsvg"], stdin=dot.encode(), needed_by="doit graph and doit report")
    return done.text
