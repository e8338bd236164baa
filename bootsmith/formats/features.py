"""Initramfs features in mkinitfs's `features.d` form.

`<feature>.modules` and `<feature>.files` hold one shell glob a line; lines that are empty
or start with `#` do not count, and there are no comments behind a glob. Leading slashes
are dropped. A glob that names a directory stands for every file below it. Module globs are
relative to the kernel's module directory. Source: Alpine mkinitfs, mkinitfs.in and
features.d.

`<feature>.required`, which mkinitfs does not look at, repeats those of the lines that must
match something.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from bootsmith.errors import RecipeError

_WILDCARDS = re.compile(r"[*?\[\\]")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature: its globs, in the order of their lines, without leading slashes.

    `places` says where each was read (`nfs.modules:2`), `required` where it is said that a
    glob must match. Both know globs of modules as they are, those of files with a slash in
    front.
    """

    name: str
    modules: tuple[str, ...]
    files: tuple[str, ...]
    places: Mapping[str, str] = field(default_factory=dict)
    required: Mapping[str, str] = field(default_factory=dict)


def read_feature(
    name: str, *, modules: bytes | None, files: bytes | None, required: bytes | None = None
) -> Feature:
    """A feature from the text of its files; None stands for one that it does not have.

    RecipeError for a required line that is no line of the others.
    """
    module_lines = _read_lines(modules, f"{name}.modules")
    file_lines = {f"/{glob}": at for glob, at in _read_lines(files, f"{name}.files").items()}
    feature = Feature(
        name=name,
        modules=tuple(module_lines),
        files=tuple(glob.lstrip("/") for glob in file_lines),
        places=module_lines | file_lines,
        required={
            glob if glob in module_lines else f"/{glob}": at
            for glob, at in _read_lines(required, f"{name}.required").items()
        },
    )
    for glob, at in feature.required.items():
        if glob not in feature.places:
            raise RecipeError(
                at,
                f"{glob.lstrip('/')} is no line of {name}.modules or {name}.files",
                hint="repeat a line of theirs, letter by letter, or remove it",
            )
    return feature


def _read_lines(text: bytes | None, name: str) -> dict[str, str]:
    """Each glob of a text, without leading slashes, to the place where it comes first."""
    found: dict[str, str] = {}
    for number, line in enumerate((text or b"").decode("utf-8", "surrogateescape").split("\n"), 1):
        glob = line.rstrip().lstrip("/").rstrip("/")
        if glob and not line.startswith("#"):
            found.setdefault(glob, f"{name}:{number}")
    return found


def expand_globs(globs: Iterable[str], names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    r"""What each glob matches among `names`, which are file paths in sorted order.

    `*` and `?` match no slash and no leading dot, `[...]` a set of letters, `\` takes the
    next letter as it is. A match on a directory stands for every name below it.
    """
    return {glob: _expand(glob, names) for glob in globs}


def _expand(glob: str, names: Sequence[str]) -> tuple[str, ...]:
    wildcard = _WILDCARDS.search(glob)
    if wildcard is None:  # most are plain paths
        below = f"{glob}/"
        return tuple(
            name for name in _beginning(glob, names) if name == glob or name.startswith(below)
        )
    match = _pattern(glob).match
    return tuple(name for name in _beginning(glob[: wildcard.start()], names) if match(name))


def _beginning(start: str, names: Sequence[str]) -> Iterator[str]:
    """Those of the sorted `names` that begin with `start`: they lie side by side, so few are
    looked at for each glob.
    """
    for position in range(bisect_left(names, start), len(names)):
        name = names[position]
        if not name.startswith(start):
            return
        yield name


@lru_cache(maxsize=1024)  # the same few are looked for in every package of a release
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(_regular_expression(glob) + r"(?:/.*)?\Z", re.DOTALL)


def _regular_expression(glob: str) -> str:
    parts = []
    position = 0
    while position < len(glob):
        letter = glob[position]
        at_start = position == 0 or glob[position - 1] == "/"
        not_hidden = r"(?!\.)" if at_start else ""
        position += 1
        if letter == "*":
            parts.append(not_hidden + "[^/]*")
        elif letter == "?":
            parts.append(not_hidden + "[^/]")
        elif letter == "[" and (end := _set_end(glob, position)):
            inside = glob[position:end].replace("\\", "\\\\").replace("[", "\\[")
            negated = inside[0] in "!^"
            parts.append(not_hidden + f"(?!/)[{'^' if negated else ''}{inside[negated:]}]")
            position = end + 1
        elif letter == "\\" and position < len(glob):
            parts.append(re.escape(glob[position]))
            position += 1
        else:
            parts.append(re.escape(letter))
    return "".join(parts)


def _set_end(glob: str, position: int) -> int | None:
    """Where the `]` of a set lies that opened before `position`; None: no set after all."""
    first = position + 1 if glob[position : position + 1] in ("!", "^") else position
    end = glob.find("]", first + 1)  # a `]` in first place belongs to the set
    return end if end != -1 and "/" not in glob[position:end] else None
