"""The links that readers follow: do they lead where they should?

current             generations/<id>
candidate           generations/<id>
generations/latest  <id>
<kind>/<name>/current   ../../current/<kind>/<name>
<kind>/<name>/<id>      ../../generations/<id>/<kind>/<name>

The netboot tree is the only one of its kind, so it has netboot/current and netboot/<id>.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bootsmith.generations.catalogue import Catalogue
from bootsmith.generations.history import is_generation_id, standing_id

# Large, and without a link that is meant here.
_NO_KINDS = frozenset({"build", "cache", "evidence", "generations", "store"})


@dataclass(frozen=True, kw_only=True)
class BadLink:
    """One link that is missing, dangles or leads astray; `text` mends it, None removes it."""

    path: Path
    what: str
    text: str | None
    expected: str | None = None
    got: str | None = None


def examine_links(catalogue: Catalogue) -> Iterator[BadLink]:
    """Every bad link below artifacts/."""
    yield from _top_links(catalogue)
    wanted = dict(_wanted(catalogue))
    for path in links_by_kind(catalogue.artifacts):
        place = path.parent.relative_to(catalogue.artifacts).as_posix()
        if path in wanted:
            yield from _examine(path, wanted.pop(path))
        elif path.name in catalogue.by_id:
            yield from _examine(path, text_of_link(place, path.name))
        elif path.name == "current" and catalogue.current not in catalogue.by_id:
            continue  # said once, of the link it leads through
        elif not path.exists():
            yield BadLink(path=path, what="dangles", got=os.readlink(path), text=None)
        elif path.name == "current":
            yield from _examine(path, text_of_link(place, None))
    for path, text in wanted.items():
        yield BadLink(path=path, what="is missing", text=text)


def _top_links(catalogue: Catalogue) -> Iterator[BadLink]:
    artifacts, known = catalogue.artifacts, catalogue.by_id
    newest = catalogue.generations[-1].id if known else None
    was = standing_id(artifacts)
    was = was if was in known else None
    advice = f"the history says {was}: doit rollback --to {was}"
    for path, prefix in (
        (artifacts / "current", "generations/"),
        (artifacts / "candidate", "generations/"),
        (artifacts / "generations" / "latest", ""),
    ):
        if not os.path.lexists(path):
            if path.name == "latest" and newest is not None:
                yield BadLink(path=path, what="is missing", text=newest)
            elif path.name == "current" and was is not None:
                yield BadLink(path=path, what=f"is missing, {advice}", text=None)
            continue
        if not path.is_symlink():
            yield BadLink(path=path, what="is not a symbolic link", text=None)
            continue
        found = os.readlink(path)
        if found.removeprefix(prefix) not in known or not found.startswith(prefix):
            # Where a lost `current` should lead only a person can say: doit rollback --to ID.
            yield BadLink(
                path=path,
                what=f"leads to no generation, {advice}"
                if path.name == "current" and was is not None
                else "leads to no generation",
                expected=f"{prefix}ID",
                got=found,
                text=newest if path.name == "latest" else None,
            )


def _wanted(catalogue: Catalogue) -> Iterator[tuple[Path, str]]:
    """What readers of the current generation count on."""
    current = catalogue.by_id.get(catalogue.current or "")
    if current is None or current.manifest is None:
        return
    for part in current.manifest.artifacts:
        directory = catalogue.artifacts / part.place
        yield directory / "current", text_of_link(part.place, None)
        yield directory / current.id, text_of_link(part.place, current.id)


def text_of_link(place: str, identifier: str | None) -> str:
    """What `<place>/current`, or the link of one generation, says."""
    up = "../" * (place.count("/") + 1)
    target = "current" if identifier is None else f"generations/{identifier}"
    return f"{up}{target}/{place}"


def links_by_kind(artifacts: Path) -> Iterator[Path]:
    """Every link of a kind that is called as they are, wherever it leads."""
    found = []
    for kind in artifacts.iterdir():
        if kind.name not in _NO_KINDS and not kind.is_symlink() and kind.is_dir():
            found += [*kind.glob("*"), *kind.glob("*/*")]
    for path in sorted(found):
        if (path.name == "current" or is_generation_id(path.name)) and path.is_symlink():
            yield path


def _examine(path: Path, text: str) -> Iterator[BadLink]:
    found = os.readlink(path)
    if found != text:
        yield BadLink(path=path, what="leads astray", expected=text, got=found, text=text)
    elif not path.exists():
        yield BadLink(path=path, what="dangles", got=found, text=None)
