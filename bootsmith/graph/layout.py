"""Where everything lies below a site's root. Paths only; nothing here touches a disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one site.

    build/ holds what steps make; generations/ and the links are all that machines see.
    """

    root: Path

    @property
    def artifacts(self) -> Path:
        """Everything generated."""
        return self.root / "artifacts"

    @property
    def build(self) -> Path:
        """Outputs of steps, one directory a kind."""
        return self.artifacts / "build"

    @property
    def cache(self) -> Path:
        """Segments, downloads and the like: safe to remove, only costs time."""
        return self.artifacts / "cache"

    @property
    def temporary(self) -> Path:
        """Temporary files of a run; emptied by the next one."""
        return self.cache / "tmp"

    @property
    def state(self) -> Path:
        """The record of finished steps."""
        return self.artifacts / "state.sqlite3"

    @property
    def lock(self) -> Path:
        """Held by the run that is changing artifacts."""
        return self.artifacts / "lock"

    @property
    def evidence(self) -> Path:
        """What smoke tests left behind, by generation and scenario."""
        return self.artifacts / "evidence"

    @property
    def keys(self) -> Path:
        """Key pairs of the site: NAME.rsa, which git ignores, and NAME.rsa.pub."""
        return self.root / "recipes" / "keys"

    @property
    def latest_manifest(self) -> Path:
        """The manifest of the newest assembled generation, through its link."""
        return self.artifacts / "generations" / "latest" / "MANIFEST.json"

    @property
    def current_manifest(self) -> Path:
        """The manifest of the generation that machines boot."""
        return self.artifacts / "current" / "MANIFEST.json"

    def of(self, kind: str, *parts: str) -> Path:
        """The path of an output of `kind`."""
        return self.build.joinpath(kind, *parts)
