"""A recipe to begin with: every key with what it is for, most of them commented out."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from bootsmith.site.schema import Choice, Key, Model, Table, TableOf, TablesOf

_WIDTH = 98
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def recipe_text(model: type[Model], values: Mapping[str, Any], *, heading: str) -> str:
    """TOML that sets `values` (text, lists, numbers by key) and shows every other key.

    What has a default is there as a comment, so that removing one sign is all that it takes.
    """
    lines = [*_comment(heading), ""]
    lines += _keys(model, values)
    for one in model.declared_keys():
        if isinstance(one.check, Table):
            lines += [f"[{one.name}]", *_comment(one.about), "", *_keys(one.check.model, {})]
        elif isinstance(one.check, TableOf):
            lines += [f"[{one.name}]", *_comment(one.about)]
            inner = values.get(one.name, {})
            for name, about in one.check.names.items():
                set_here = name in inner
                value = inner[name] if set_here else []
                lines += [f"{'' if set_here else '#'}{name} = {toml_value(value)}  # {about}"]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def entry_text(model: type[Model], values: Mapping[str, Any], *, header: str, heading: str) -> str:
    """One table of a recipe that has many: a line for each key, first those that are set."""
    keys = model.declared_keys()
    unset = [one for one in keys if one.name not in values]
    width = max(len(one.name) for one in unset) + len("# =")
    return "\n".join(
        [
            *_comment(heading),
            header,
            *(f"{one.name} = {toml_value(values[one.name])}" for one in keys if one.name in values),
            *(f"{f'#{one.name} =':<{width}}  # {_in_short(one)}" for one in unset),
            "",
        ]
    )


def _in_short(one: Key) -> str:
    first = _plain(one.about).partition(". ")[0].rstrip(".")
    return f"{first}: {one.check.expected}" if isinstance(one.check, Choice) else first


def _keys(model: type[Model], values: Mapping[str, Any]) -> Iterator[str]:
    for one in model.declared_keys():
        if isinstance(one.check, Table | TableOf | TablesOf):
            continue
        yield from _comment(one.about)
        if one.name in values:
            yield f"{one.name} = {toml_value(values[one.name])}"
        else:
            yield f"#{one.name} = {_shown_default(one)}"
        yield ""


def _shown_default(one: Key) -> str:
    if one.shown_default is not None or one.default is None:
        said = _plain(one.shown_default) if one.shown_default else "not set"
        return f"  ({said}; it must be {_plain(one.check.expected)})"
    return toml_value(one.default)


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(_plain(text), _WIDTH - 2)]


def _plain(text: str) -> str:
    """Without the links and marks of the reference page."""
    return _LINK.sub(r"\1", text).replace("`", "")


def toml_value(value: Any) -> str:
    """As TOML writes it: JSON's text, lists, numbers and truth values are TOML's too."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
