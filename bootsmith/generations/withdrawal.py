"""What someone has rolled back from, by its content: no run brings that back by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from bootsmith.errors import BootsmithError
from bootsmith.files.manifest import read_manifest
from bootsmith.formats.manifest import Manifest
from bootsmith.generations.history import (
    order_of,
    read_moves,
    rolled_back_from,
    standing_id,
)


def withdrawn_as(artifacts: Path, manifest: Manifest) -> str | None:
    """The id under which this content was rolled back from; None if it was not.

    Told from the history and not from what the last build remembers: a build that starts
    from nothing must not bring back either what was withdrawn, nor one that finds `current`
    lost.
    """
    now = standing_id(artifacts)
    if now is None:
        return None
    ahead = {
        name for name in rolled_back_from(read_moves(artifacts)) if order_of(name) > order_of(now)
    }
    if manifest.id in ahead:
        return manifest.id
    return next(equal_in(artifacts, manifest, ahead), None)


def equal_in(artifacts: Path, manifest: Manifest, ids: Collection[str]) -> Iterator[str]:
    """Those of `ids`, newest first, whose generation has this very content."""
    for name in sorted(ids, key=order_of, reverse=True):
        with suppress(BootsmithError):  # gone or damaged: it can be told by its id only
            known = read_manifest(artifacts / "generations" / name)
            if known.content_digest == manifest.content_digest:
                yield name
