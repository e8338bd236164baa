r"""What a guest writes to its console, as lines of plain text.

Bytes come in pieces cut anywhere. Escape sequences are removed, also when cut in two;
`\r\n`, `\r\r\n` and a cursor move to the first column end a line; a lone `\r` starts
the line again (progress bars); backspaces erase. The raw bytes stay in the log.
"""

from __future__ import annotations

import codecs
import re
from collections import deque

# ECMA-48: control sequences, operating system commands, two-character escapes.
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])"
)
_UNFINISHED_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*|[ -/]*)$")
# Cursor position `row;column H`: SeaBIOS also sends it in the middle of a word, to where
# the cursor already is; only the first column begins a line.
_FIRST_COLUMN = re.compile(r"\x1b\[(?:\d*(?:;0*1?)?)?[Hf]$")
_LONGEST_ESCAPE = 256
_LONGEST_LINE = 4096
_REMEMBERED_LINES = 400


class ConsoleText:
    """The lines of one console. `partial` is the line that has not ended yet (a prompt)."""

    def __init__(self) -> None:
        self.partial = ""
        self.lines: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        """The last complete lines, without those that were written over."""
        self.kept_count = 0
        """How many lines were ever put into `lines`."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._returned = False

    def feed(self, data: bytes) -> list[str]:
        """Take bytes; return the lines that ended, also those that were written over."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED_ESCAPE.search(text)
        self._held = ""
        if unfinished and len(unfinished.group()) < _LONGEST_ESCAPE:
            self._held = unfinished.group()
            text = text[: unfinished.start()]
        ended: list[str] = []
        for character in _ESCAPE.sub(_escape_meaning, text):
            self._take(character, ended)
        return ended

    def _take(self, character: str, ended: list[str]) -> None:
        if character == "\n":
            self._end_line(ended, keep=True)
        elif character == "\r":
            self._returned = True
        elif character == "\b":
            self.partial = self.partial[:-1]
        elif character == "\t" or character.isprintable():
            if self._returned:
                self._end_line(ended, keep=False)
            self.partial += character if character != "\t" else " "
            if len(self.partial) >= _LONGEST_LINE:
                self._end_line(ended, keep=True)

    def _end_line(self, ended: list[str], *, keep: bool) -> None:
        line = self.partial.rstrip()
        self.partial = ""
        self._returned = False
        if line:
            ended.append(line)
            if keep:
                self.lines.append(line)
                self.kept_count += 1


def _escape_meaning(escape: re.Match[str]) -> str:
    return "\n" if _FIRST_COLUMN.match(escape.group()) else ""
