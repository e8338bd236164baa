"""What all pages have in common: their frame, and how they look by day and by night.

No page asks the network for anything: style is in it, scripts there are none.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from bootsmith.errors import PublishError

_TEMPLATES = Path(__file__).with_name("templates")


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_path(given: str | None, verb: str) -> Path | None:
    """Where a person wants the page, if it can be a file there; None if nobody said."""
    if given is None:
        return None
    path = Path(given)
    if path.is_dir() or not path.parent.is_dir():
        raise PublishError(
            f"{verb} --output {given}",
            "is a directory" if path.is_dir() else "its directory is not there",
            expected="a file in a directory that is there",
            hint="name a file; without --output it goes below artifacts/report",
        )
    return path


def page(template: str, values: Mapping[str, Any]) -> str:
    """The text of a page; a value that its template wants and does not get is a KeyError."""
    return _environment().get_template(template).render(**values)
