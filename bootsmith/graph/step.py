"""Step: the declaration of one piece of work. Declaring is not doing.

A builder is named, never imported, and takes keyword arguments. What an argument *is*
to the step is said by wrapping it, so inputs and outputs are declared exactly once:

    Input(path)    one regular file that must exist and whose content decides
    Tree(path)     a source directory; every entry below it decides
    Output(path)   one regular file that the builder makes, whole or not at all
    Scratch(path)  a place for caches; never decides

Plain values (text, numbers, booleans, None, tuples and mappings of them) decide by value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Input:
    """One regular file that must exist and whose content decides."""

    path: Path


@dataclass(frozen=True)
class Tree:
    """A source directory; every entry below it decides. None there is one without entries."""

    path: Path


@dataclass(frozen=True)
class Output:
    """One regular file that the builder makes."""

    path: Path


@dataclass(frozen=True)
class Scratch:
    """A place for caches; never decides."""

    path: Path


Role = Input | Tree | Output | Scratch


@dataclass(frozen=True, kw_only=True)
class Witness:
    """Something beside the outputs that must stand for a step to count as done.

    Asked with stat(2) alone. A path must lead to something; where `text` is given it must
    be a symbolic link with this text; where `like` is given it must have the size of that
    file. What is asked counts only while `where`, if given, leads to something.
    """

    path: Path
    text: str | None = None
    like: Path | None = None
    where: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One piece of work, as doit will show it: `kind:name` (or `kind` if unnamed)."""

    kind: str
    name: str | None = None
    summary: str
    builder: str
    """`package.module:function`"""
    arguments: Mapping[str, Any]
    tools: tuple[str, ...] = ()
    """Programs that the builder runs; their versions are part of the key."""
    machine_files: tuple[str, ...] = ()
    """Files, or directories of them, that came to the machine with such programs and are read
    beside them; they count as programs do."""
    witnesses: tuple[Witness, ...] = ()
    """What must stand for the step to count as done; never part of the key."""
    by_request: bool = False
    """Not part of `doit build`; done each time it is asked for."""
    by_name: bool = False
    """Not done for whoever asks for all steps of its kind."""
    in_build: bool = True
    """Part of `doit build`, unless it is done by request."""

    @property
    def label(self) -> str:
        """The step's name in doit."""
        return f"{self.kind}:{self.name}" if self.name else self.kind

    def roles(self) -> Iterator[Role]:
        """Every wrapped path among the arguments, depth first."""
        yield from _roles(self.arguments)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Regular files that the step reads."""
        return tuple(role.path for role in self.roles() if isinstance(role, Input))

    @property
    def trees(self) -> tuple[Path, ...]:
        """Source directories that the step reads."""
        return tuple(role.path for role in self.roles() if isinstance(role, Tree))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Regular files that the step makes."""
        return tuple(role.path for role in self.roles() if isinstance(role, Output))


@dataclass(frozen=True, kw_only=True)
class Group:
    """A verb over several steps: `doit build`, `doit smoke`."""

    name: str
    summary: str
    members: tuple[str, ...] = field(default=())


def _roles(value: Any) -> Iterator[Role]:
    if isinstance(value, Role):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _roles(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _roles(part)


def unwrapped(value: Any) -> Any:
    """The arguments as the builder gets them: roles become their paths."""
    if isinstance(value, Role):
        return value.path
    if isinstance(value, Mapping):
        return {name: unwrapped(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(unwrapped(part) for part in value)
    return value
