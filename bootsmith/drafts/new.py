"""`doit new`: recipes to begin with, which build at once."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bootsmith.drafts.recipe_text import recipe_text
from bootsmith.errors import RecipeError, SourceError
from bootsmith.files.atomic import write_file
from bootsmith.files.digest import sha256_of
from bootsmith.files.extents import read_extents
from bootsmith.files.iso9660 import check_volume, read_iso_tree
from bootsmith.formats.release_layout import (
    RELEASE_FILE,
    complete_flavors,
    find_flavors,
    read_release_name,
)
from bootsmith.site.loader import load_site
from bootsmith.site.models import NAME, Release, Site, Template

Say = Callable[[str], None]
_KINDS = ("template", "release")
# What every machine of the shipped site has below its own: see docs/templates.md.
_COMMON_OVERLAYS = ("base", "report")


def write_new(
    *,
    site: Site,
    operands: Sequence[str],
    iso: str | None,
    release: str | None,
    flavor: str | None,
    say: Say,
) -> None:
    """Write the recipe that `operands` name, such as `template web`, and say what comes next.

    Nothing is overwritten. What was written is taken away again if the site does not load with
    it. RecipeError or SourceError otherwise.
    """
    kind, name = _asked_for(operands)
    if kind == "release":
        written, advice = _new_release(site, name, iso)
    else:
        written, advice = _new_template(site, name, release=release, flavor=flavor)
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
    try:
        load_site(site.root)
    except RecipeError:
        for path in written:
            path.unlink()
        raise
    for path in written:
        say(f"wrote {path.relative_to(site.root)}")
    for line in advice:
        say(line)


def _asked_for(operands: Sequence[str]) -> tuple[str, str | None]:
    usage = "doit new --help"
    if not operands or operands[0] not in _KINDS:
        got = operands[0] if operands else "nothing"
        raise RecipeError(
            "doit new", "what is to be new?", expected=" or ".join(_KINDS), got=got, hint=usage
        )
    if len(operands) > 2 or (operands[0] == "template" and len(operands) != 2):
        raise RecipeError(
            f"doit new {operands[0]}",
            "takes one name",
            expected="NAME",
            got=" ".join(operands[1:]) or "none",
            hint=usage,
        )
    name = operands[1] if len(operands) == 2 else None
    if name is not None and not NAME.accepts(name):
        raise RecipeError(
            f"doit new {operands[0]}",
            "not a good name",
            expected=NAME.expected,
            got=name,
            hint="choose another one",
        )
    return operands[0], name


def _free(path: Path, site: Site) -> Path:
    if os.path.lexists(path):
        raise RecipeError(
            path.relative_to(site.root),
            "is there already",
            hint="edit it, or choose another name",
        )
    return path


def _new_template(
    site: Site, name: str | None, *, release: str | None, flavor: str | None
) -> tuple[dict[Path, bytes], list[str]]:
    assert name is not None
    overlays = [other for other in _COMMON_OVERLAYS if other in site.overlays]
    own = [name] if name not in site.overlays else []
    values: dict[str, Any] = {
        "summary": f"machines of the template {name}",
        "overlays": [*overlays, name],
        "packages": ["dropbear"],
        "runlevels": {"boot": ["networking"], "default": ["dropbear", "local"]},
        **({"release": release} if release else {}),
        **({"flavor": flavor} if flavor else {}),
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


def _new_release(
    site: Site, name: str | None, iso: str | None
) -> tuple[dict[Path, bytes], list[str]]:
    if iso is None:
        raise RecipeError("doit new release", "which ISO?", hint="doit new release NAME --iso FILE")
    path = Path(os.path.abspath(iso))
    found = _examined(path)
    name = name or f"alpine-{found['release']}".lower()
    recipe = site.root / f"recipes/releases/{name}.toml"
    flavors = found["flavors"]
    values = {
        "iso": os.path.relpath(path, recipe.parent) if site.root in path.parents else str(path),
        "sha256": found["sha256"],
        "flavors": flavors,
    }
    heading = f"Alpine {found['release']} ({found['profile'] or 'standard'}), from an ISO."
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
