"""`doit new`: recipes to begin with, which build at once."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bootsmith.drafts.host import add_host
from bootsmith.drafts.recipe_text import recipe_text
from bootsmith.errors import RecipeError, SourceError
from bootsmith.files.atomic import write_file
from bootsmith.files.digest import sha256_of
from bootsmith.files.extents import read_extents
from bootsmith.files.iso9660 import check_volume, read_iso_tree
from bootsmith.formats.release_layout import (
    RELEASE_FILE,
    STANDIN_PROFILE,
    complete_flavors,
    find_flavors,
    read_release_name,
)
from bootsmith.site.loader import load_site
from bootsmith.site.models import NAME, Release, Site, Template
from bootsmith.site.schema import nearest

Say = Callable[[str], None]
_TAKES = {
    "template": ("release", "flavor"),
    "release": ("iso",),
    "host": ("template", "mac", "level", "address"),
}
"""What can be new, with the options that are of use for it."""
_NAMELESS = "release"
"""Named by what is in its ISO, unless a name is given."""
# What every machine of the shipped site has below its own: see docs/templates.md.
_COMMON_OVERLAYS = ("base", "report")


def write_new(*, site: Site, operands: Sequence[str], say: Say, **options: str | None) -> None:
    """Write the recipe that `operands` name, such as `template web`, and say what comes next.

    Nothing is overwritten. What was written is taken away again if the site does not load with
    it. RecipeError or SourceError otherwise.
    """
    kind, name = _asked_for(operands)
    given = {option: value for option, value in options.items() if value is not None}
    _check_options(kind, given)
    if kind == "host":
        assert name is not None
        for line in add_host(site, name, given):
            say(line)
        return
    if kind == "release":
        written, advice = _new_release(site, name, given.get("iso"))
    else:
        written, advice = _new_template(site, name, given)
    new_directories = {parent for path in written for parent in path.parents if not parent.exists()}
    for path, content in written.items():
        write_file(path, content)
    try:
        load_site(site.root)
    except RecipeError:
        for path in written:
            path.unlink()
        for directory in sorted(new_directories, reverse=True):
            directory.rmdir()
        raise
    for path in written:
        say(f"wrote {path.relative_to(site.root)}")
    for line in advice:
        say(line)


def _asked_for(operands: Sequence[str]) -> tuple[str, str | None]:
    usage = "doit new --help"
    if not operands or operands[0] not in _TAKES:
        near = nearest(operands[0], _TAKES) if operands else None
        raise RecipeError(
            "doit new",
            "what is to be new?",
            expected=" or ".join(_TAKES),
            got=operands[0] if operands else "nothing",
            hint=" ".join(["doit new", near, *operands[1:]]) if near else usage,
        )
    kind, *names = operands
    if len(names) > 1 or (not names and kind != _NAMELESS):
        raise RecipeError(
            f"doit new {kind}",
            "takes one name",
            expected="NAME",
            got=" ".join(names) or "none",
            hint=usage,
        )
    if names and kind != "host" and not NAME.accepts(names[0]):
        raise RecipeError(
            f"doit new {kind}",
            "not a good name",
            expected=NAME.expected,
            got=names[0],
            hint="choose another one",
        )
    return kind, names[0] if names else None


def _check_options(kind: str, given: Iterable[str]) -> None:
    for option in given:
        if option not in _TAKES[kind]:
            raise RecipeError(
                f"doit new {kind} --{option}",
                "is of no use here",
                expected=" or ".join(f"--{known}" for known in _TAKES[kind]),
                hint="leave it out",
            )


def _free(path: Path, site: Site) -> Path:
    if os.path.lexists(path):
        raise RecipeError(
            path.relative_to(site.root),
            "is there already",
            hint="edit it, or choose another name",
        )
    return path


def _new_template(
    site: Site, name: str | None, given: Mapping[str, str]
) -> tuple[dict[Path, bytes], list[str]]:
    assert name is not None
    _check_names(site, given)
    overlays = [other for other in _COMMON_OVERLAYS if other in site.overlays]
    own = [name] if name not in site.overlays else []
    values: dict[str, Any] = {
        "summary": f"machines of the template {name}",
        "overlays": [*overlays, name],
        "packages": ["dropbear"],
        "runlevels": {"boot": ["networking"], "default": ["dropbear", "local"]},
        **given,
    }
    text = recipe_text(Template, values, heading="A role of machine. Correct the summary first.")
    written = {_free(site.root / f"recipes/templates/{name}.toml", site): text.encode()}
    if own:
        motd = f"This is a machine of the template {name}.\n"
        written[_free(site.root / f"overlays/{name}/etc/motd", site)] = motd.encode()
    return written, [
        f"next: doit usbkey:{name}",
        f"      files of these machines go below overlays/{name}/",
    ]


def _check_names(site: Site, given: Mapping[str, str]) -> None:
    """What is given must be there: else the recipe would be wrong that says so."""
    release = given.get("release", site.release)
    known = {"release": list(site.releases)}
    if release in site.releases:
        known["flavor"] = list(site.releases[release].flavors)
    for option, names in known.items():
        if option in given and given[option] not in names:
            near = nearest(given[option], names)
            raise RecipeError(
                f"doit new template --{option}",
                f"there is no such {option}",
                expected=" or ".join(names),
                got=given[option],
                hint=f"--{option} {near or names[0]}",
            )


def _new_release(
    site: Site, name: str | None, iso: str | None
) -> tuple[dict[Path, bytes], list[str]]:
    if iso is None:
        raise RecipeError("doit new release", "which ISO?", hint="doit new release NAME --iso FILE")
    path = Path(os.path.abspath(iso))
    found = _examined(path)
    is_standin = found["profile"] == STANDIN_PROFILE
    name = name or f"{'standin' if is_standin else 'alpine'}-{found['release']}".lower()
    recipe = site.root / f"recipes/releases/{name}.toml"
    flavors = found["flavors"]
    values = {
        "iso": os.path.relpath(path, recipe.parent) if site.root in path.parents else str(path),
        "sha256": found["sha256"],
        "flavors": flavors,
    }
    kind = "A stand-in for Alpine" if is_standin else "Alpine"
    profile = "" if is_standin else f" ({found['profile'] or 'standard'})"
    heading = f"{kind} {found['release']}{profile}, from an ISO."
    text = recipe_text(Release, values, heading=heading)
    return {_free(recipe, site): text.encode()}, [
        f"next: doit pxerd:{name}-{flavors[0]}",
        f'      templates use it with: release = "{name}" and flavor = "{flavors[0]}"',
    ]


def _examined(iso: Path) -> Mapping[str, Any]:
    try:
        source = io.FileIO(iso)
    except OSError as error:
        raise SourceError(
            iso, f"cannot be read ({error.strerror})", hint="name an ISO of an Alpine release"
        ) from None
    with source:
        check_volume(source, subject=iso)
        tree = read_iso_tree(source, subject=iso)
        marker = next((entry for entry in tree.files if entry.path == RELEASE_FILE), None)
        if marker is None:
            raise SourceError(
                iso, f"has no {RELEASE_FILE}", hint="name an ISO of an Alpine release"
            )
        text = read_extents(source.fileno(), marker.extents, size_bytes=4096)
        named = read_release_name(text, subject=iso)
        flavors = complete_flavors(find_flavors(tree.files, subject=iso), subject=iso)
    return {
        "release": named.release,
        "profile": named.profile,
        "flavors": flavors,
        "sha256": sha256_of(iso),
    }
