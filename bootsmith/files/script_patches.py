"""The patches of a site: `<name>.toml` below its patch directories, first directory first."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from bootsmith.errors import RecipeError
from bootsmith.formats.script_patch import ScriptPatch, read_patch

AUTO = "auto"
"""Stands for all patches that a feature asked for wants."""

_SUFFIX = ".toml"


def choose_patches(
    names: Iterable[str],
    *,
    script: str,
    features: Sequence[str],
    directories: Sequence[Path],
) -> list[ScriptPatch]:
    """The patches to apply to `script`, in order, each once.

    Raises RecipeError for an unknown name, a damaged patch, or one for another script.
    """
    names = list(names)
    known = _read_patches(directories) if names else {}
    chosen: dict[str, ScriptPatch] = {}
    for name in names:
        if name == AUTO:
            wanted = (one for one in known.values() if set(one.features) & set(features))
            chosen |= {one.name: one for one in wanted if one.script == script}
            continue
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise RecipeError(
                f"patch {name}",
                "there is no such patch",
                expected=f"{AUTO} or one of {', '.join(known) or 'none: there are no patches'}",
                hint=f"did you mean {close[0]}?" if close else f"add recipes/patches/{name}.toml",
            )
        if known[name].script != script:
            raise RecipeError(
                f"patch {name}",
                f"is not for {script}",
                expected=f"a patch for {script}",
                got=f"one for {known[name].script}",
                hint="take it out of this list",
            )
        chosen[name] = known[name]
    return list(chosen.values())


def _read_patches(directories: Sequence[Path]) -> dict[str, ScriptPatch]:
    """All patches by name, sorted."""
    paths: dict[str, Path] = {}
    for directory in directories:
        if directory.is_dir():
            for path in sorted(directory.glob(f"*{_SUFFIX}")):
                paths.setdefault(path.stem, path)
    return {
        name: read_patch(name, paths[name].read_bytes(), subject=paths[name])
        for name in sorted(paths)
    }
