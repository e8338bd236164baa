"""Initramfs features by name, from the directories that hold them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from bootsmith.errors import RecipeError
from bootsmith.formats.features import Feature, read_feature


def find_feature(name: str, directories: Sequence[Path]) -> Feature:
    """The feature called `name`; the first directory that has a file of it wins.

    What is required of it counts where the first of its lists lies. RecipeError if there
    is no such feature, or one of its required lines is none of the lists.
    """
    paths = {kind: _first(f"{name}.{kind}", directories) for kind in ("modules", "files")}
    lists = [path for path in paths.values() if path is not None]
    if not lists:
        known = known_features(directories)
        close = difflib.get_close_matches(name, known, n=1)
        raise RecipeError(
            f"feature {name}",
            "unknown initramfs feature",
            expected=f"one of {', '.join(known) or 'none: the directories hold no features'}",
            hint=f"did you mean {close[0]}?"
            if close
            else f"add {name}.modules or {name}.files to recipes/features.d",
        )
    paths["required"] = _first(f"{name}.required", [lists[0].parent])
    texts = {kind: path.read_bytes() if path else None for kind, path in paths.items()}
    return read_feature(name, **texts)


def _first(name: str, directories: Sequence[Path]) -> Path | None:
    paths = (directory / name for directory in directories)
    return next((path for path in paths if path.is_file()), None)


def known_features(directories: Sequence[Path]) -> list[str]:
    """Names of all features in `directories`, sorted."""
    return sorted(
        {
            path.stem
            for directory in directories
            if directory.is_dir()
            for path in directory.iterdir()
            if path.suffix in (".modules", ".files")
        }
    )
