"""One thing that is wrong with a generation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bootsmith.formats.manifest import Artifact

FILE_MODE = 0o444
"""Of every file of a generation but its manifest."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is not as it should be, and what belongs there, if anything does."""

    path: Path
    what: str
    expected: str | None = None
    got: str | None = None
    artifact: Artifact | None = None
    """The file that belongs here."""
    link: str | None = None
    """The text of the symbolic link that belongs here."""
    text: bytes | None = None
    """The content that belongs here and to no other generation."""
    mode: int | None = None
    """The mode that this file should have."""

    def line(self, root: Path) -> str:
        """In words, with the path relative to `root`."""
        facts = [
            f"{word} {value}"
            for word, value in (("expected", self.expected), ("got", self.got))
            if value is not None
        ]
        told = f"{self.path.relative_to(root)}: {self.what}"
        return f"{told}; {', '.join(facts)}" if facts else told
