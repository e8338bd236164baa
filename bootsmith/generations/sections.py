"""How differences between two generations are said: section by section, name by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Names with what they stood for; before and after for those that stayed."""

    added: Mapping[str, Any] = field(default_factory=dict)
    removed: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, kw_only=True)
class Section:
    """Changes of one aspect (`modules`) of one thing (`standin-lts`; "" of the whole)."""

    aspect: str
    subject: str
    changes: Changes
    trouble: str | None = None
    """Why it could not be compared."""
    is_of_many: bool = False
    """Whether its names are those of hosts: as many as there are, and the same said of most."""


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    """The changes between two mappings, names sorted."""
    return Changes(
        added={name: after[name] for name in sorted(after.keys() - before.keys())},
        removed={name: before[name] for name in sorted(before.keys() - after.keys())},
        changed={
            name: (before[name], after[name])
            for name in sorted(before.keys() & after.keys())
            if before[name] != after[name]
        },
    )


def some(
    aspect: str, subject: str, changes: Changes, *, is_of_many: bool = False
) -> Iterator[Section]:
    """A section, if there is anything to say."""
    if changes:
        yield Section(aspect=aspect, subject=subject, changes=changes, is_of_many=is_of_many)
