"""The last screen of a console, as a picture whose text can be read and copied.

The raw bytes of a serial console or a boot loader's screen go through a terminal emulator;
what is on its screen at the end becomes one SVG, a line of text for a line.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

import pyte

COLUMNS, LINES = 100, 30
_CELL_WIDTH, _LINE_HEIGHT, _PADDING = 8.4, 17, 12
# Consoles repeat themselves; nothing before this many bytes can still be on the screen.
_LOOKED_AT_BYTES = 200_000


def last_screen(raw: bytes, *, columns: int = COLUMNS, lines: int = LINES) -> list[str]:
    """The lines of the screen, without blanks at their ends and at the foot."""
    screen = pyte.Screen(columns, lines)
    screen.set_mode(pyte.modes.LNM)  # logs hold bare line feeds too
    pyte.ByteStream(screen).feed(raw[-_LOOKED_AT_BYTES:])
    shown = [line.rstrip() for line in screen.display]
    while shown and not shown[-1]:
        shown.pop()
    return shown


def screen_svg(shown: list[str], *, title: str, identifier: str) -> str:
    """The picture. `identifier` must be the only one of its kind on a page."""
    columns = max((len(line) for line in shown), default=20)
    width = round(max(columns, 60) * _CELL_WIDTH + 2 * _PADDING)
    height = max(len(shown), 4) * _LINE_HEIGHT + 2 * _PADDING
    rows = [
        f'<text x="{_PADDING}" y="{_PADDING + 13 + number * _LINE_HEIGHT}" '
        f'textLength="{len(line) * _CELL_WIDTH:.1f}" xml:space="preserve">{_printable(line)}</text>'
        for number, line in enumerate(shown)
        if line
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'role="img" aria-labelledby="{identifier}">\n'
        f'<title id="{identifier}">{escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" rx="6" fill="#16181d"/>\n'
        f'<g font-family="ui-monospace, monospace" font-size="14" fill="#d7dae0">\n'
        + "\n".join(rows)
        + "\n</g>\n</svg>\n"
    )


def _printable(line: str) -> str:
    return escape("".join(letter if letter.isprintable() else "·" for letter in line))
