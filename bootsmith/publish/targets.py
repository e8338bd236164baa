"""The places that a person means: [publish] of the site, and the words of the command."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bootsmith.errors import PublishError
from bootsmith.publish.place import Place
from bootsmith.tools.ssh import Login

_EXAMPLE = """\
[publish.head]
    directory = "/srv/boot"          # on this machine
    [publish.rack-2]
    ssh = "deploy@rack-2:/srv/boot"  # on another one"""


def chosen_places(
    targets: Mapping[str, Mapping[str, Any]], words: Sequence[str], artifacts: Path
) -> list[Place]:
    """The places with these names, or all, in the site's order; PublishError for none."""
    if not targets:
        raise PublishError(
            "recipes/site.toml",
            f"says nowhere to publish to; expected a table such as\n    {_EXAMPLE}",
            hint="add one; docs/publish.md tells what a place needs",
        )
    for word in words:
        if word not in targets:
            near = difflib.get_close_matches(word, targets, n=1)
            raise PublishError(
                ascii(word)[1:-1],
                "is no target of [publish] in recipes/site.toml",
                expected=" or ".join(targets),
                hint=f"the nearest is {near[0]}" if near else "doit publish alone takes all",
            )
    places = [
        _place(name, values) for name, values in targets.items() if not words or name in words
    ]
    for place in places:
        if place.login is None:
            _check_outside(place, artifacts)
    return places


def _place(name: str, values: Mapping[str, Any]) -> Place:
    login = None
    directory = values["directory"]
    if values["ssh"] is not None:
        destination, _, directory = values["ssh"].partition(":")
        login = Login(
            destination=destination,
            port=values["port"],
            identity=values["identity"],
            known_hosts=values["known_hosts"],
        )
    return Place(name=name, directory=str(directory), keep=values["keep"], login=login)


def _check_outside(place: Place, artifacts: Path) -> None:
    """Our own `current` and `generations/` have the same names."""
    home, there = os.path.realpath(artifacts), os.path.realpath(place.directory)
    if there == home or there.startswith(f"{home}/"):
        raise place.error(
            "is inside of artifacts/, where the generations come from",
            hint="take a directory elsewhere: directory of this target in recipes/site.toml",
        )
