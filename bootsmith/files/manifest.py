"""A generation's MANIFEST.json, read from its directory."""

from __future__ import annotations

from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.formats.manifest import MANIFEST_NAME, Manifest, parse_manifest


def read_manifest(generation: Path) -> Manifest:
    """The manifest of the generation in this directory.

    PublishError if it has none, FormatError if it is not one.
    """
    path = generation / MANIFEST_NAME
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PublishError(
            path, f"cannot be read ({error.strerror})", hint="build again: doit build"
        ) from error
    return parse_manifest(content, subject=path)
