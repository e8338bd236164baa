"""Small plots as SVG: bars over a row of names, and the stages of several runs.

Colours come from the page's style (`--mark`, `--ink`, `--line`); every bar says its value in
words, for screen readers and for those who point at it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

_HUES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999933", "#777777")
_WIDTH = 900
_STYLE = (
    ".plot text { fill: var(--ink, #222); font: 12px system-ui, sans-serif } "
    ".plot line { stroke: var(--line, #ccc) }"
)


def bars_svg(
    values: Mapping[str, float],
    *,
    title: str,
    identifier: str,
    said: Callable[[float], str],
    marks: Mapping[str, str] | None = None,
) -> str:
    """One bar a name, in the order given; `said` puts a value into words.

    `marks` are words to stand below some names, such as `current`.
    """
    count = max(len(values), 1)
    room, top, foot = 220, 26, 44
    step = (_WIDTH - 20) / count
    highest = max(values.values(), default=0) or 1
    parts = []
    for number, (name, value) in enumerate(values.items()):
        height = room * value / highest
        x = 10 + number * step
        middle = x + step / 2
        mark = (marks or {}).get(name, "")
        words = f"{name}{f' ({mark})' if mark else ''}: {said(value)}"
        parts.append(
            f'<g role="listitem" aria-label="{_attribute(words)}"><title>{escape(words)}</title>'
            f'<rect x="{x + step * 0.15:.1f}" y="{top + room - height:.1f}" '
            f'width="{step * 0.7:.1f}" height="{height:.1f}" fill="{_HUES[1 if mark else 0]}"/>'
            f"</g>"
        )
        if count <= 12:
            parts.append(_text(middle, top + room - height - 6, said(value)))
            parts.append(_text(middle, top + room + 16, name))
            parts.append(_text(middle, top + room + 32, mark))
    line = f'<line x1="10" x2="{_WIDTH - 10}" y1="{top + room}" y2="{top + room}"/>'
    return _framed([line, *parts], title, identifier, top + room + foot)


def stages_svg(
    runs: Mapping[str, Sequence[tuple[str, float]]],
    *,
    stages: Sequence[str],
    title: str,
    identifier: str,
) -> str:
    """One row a run: its stages, each with the second at which it ended, from left to right.

    `stages` is the order in which they are explained.
    """
    longest = max((ends[-1][1] for ends in runs.values() if ends), default=0) or 1
    seen = {stage for ends in runs.values() for stage, _ in ends}
    names = [stage for stage in stages if stage in seen]
    colour = {stage: _HUES[number % len(_HUES)] for number, stage in enumerate(names)}
    left, row, top = 210, 30, 30
    scale = (_WIDTH - left - 70) / longest
    parts = []
    for number, stage in enumerate(names):
        x = 10 + number * (_WIDTH - 20) / max(len(names), 1)
        parts.append(f'<rect x="{x:.1f}" y="6" width="12" height="12" fill="{colour[stage]}"/>')
        parts.append(f'<text x="{x + 17:.1f}" y="16">{escape(stage)}</text>')
    for number, (name, ends) in enumerate(runs.items()):
        y = top + number * row
        parts.append(f'<text x="10" y="{y + 15}">{escape(name)}</text>')
        start = 0.0
        for stage, end in ends:
            words = f"{name}: {stage} after {end:.1f} s, {end - start:.1f} s of it"
            parts.append(
                f'<g role="listitem" aria-label="{_attribute(words)}">'
                f"<title>{escape(words)}</title>"
                f'<rect x="{left + start * scale:.1f}" y="{y}" '
                f'width="{max((end - start) * scale, 0.5):.1f}" height="20" '
                f'fill="{colour[stage]}"/></g>'
            )
            start = end
        parts.append(f'<text x="{left + start * scale + 6:.1f}" y="{y + 15}">{start:.1f} s</text>')
    return _framed(parts, title, identifier, top + len(runs) * row + 10)


def _framed(parts: Sequence[str], title: str, identifier: str, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {_WIDTH} {height}" '
        f'role="list" aria-labelledby="{identifier}">\n<style>{_STYLE}</style>\n'
        f'<title id="{identifier}">{escape(title)}</title>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>' if text else ""
    )


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
