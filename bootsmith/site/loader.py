"""TOML in, a checked Site out; whatever is wrong is said with file, line and key.

Loading opens the recipes and lists a few directories. It never looks at an ISO, an
artifact or the inside of an overlay, so every command works with none of them there.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bootsmith.errors import RecipeError
from bootsmith.site.models import (
    COMPRESSION_LEVELS,
    HOSTNAME,
    NAME,
    Overlay,
    PxerdSettings,
    Release,
    Site,
    SiteSettings,
    Template,
)
from bootsmith.site.schema import Model, Place, check_reference, read_keys

_FEATURE_SUFFIXES = (".modules", ".files")
_OWNERS_SUFFIX = ".owners"
_ISO_KEYS = ("iso", "url", "sha256", "sha512", "checksum_url", "signature_url", "keyring")
_MOST_RECIPE_BYTES = 16 << 20


class _Recipe(NamedTuple):
    """A recipe as read: checked key by key, not yet against other recipes."""

    place: Place
    values: dict[str, Any]


def load_site(root: Path) -> Site:
    """The site below `root`. Raises RecipeError for the first thing that is wrong."""
    root = Path(os.path.abspath(root))
    settings = _read_recipe(root, "recipes/site.toml", SiteSettings)
    feature_directories = (root / "recipes/features.d",)
    release_recipes = _read_directory(root, "releases", Release)
    template_recipes = _read_directory(root, "templates", Template)

    features = _features_in(feature_directories)
    releases = {
        name: _checked_release(recipe, features) for name, recipe in release_recipes.items()
    }
    _check_machine(settings, releases)
    overlays = _find_overlays(root)
    templates = {
        name: _checked_template(recipe, settings, releases, overlays)
        for name, recipe in template_recipes.items()
    }
    return Site(
        root=root,
        releases=releases,
        templates=templates,
        overlays=overlays,
        feature_directories=feature_directories,
        recipe_files=tuple(
            recipe.place.file
            for recipe in (settings, *release_recipes.values(), *template_recipes.values())
        ),
        **{name: value for name, value in settings.values.items() if name != "schema"},
    )


def _read_directory(root: Path, directory: str, model: type[Model]) -> dict[str, _Recipe]:
    """All recipes of one kind by name, sorted; two of one name are an error."""
    found: dict[str, _Recipe] = {}
    shown = f"recipes/{directory}"
    for entry in _listed(root / shown):
        if not entry.endswith(".toml") or entry.startswith("."):
            continue
        recipe = _read_recipe(root, f"{shown}/{entry}", model)
        name = recipe.values["name"] = recipe.values["name"] or _stem_name(entry, recipe.place)
        if name in found:
            recipe.place.at("name").fail(
                f"two {directory} are called {name}",
                got=f"the other one in {found[name].place.shown}",
                hint='give one of them another name with: name = "..."',
            )
        found[name] = recipe
    if not found:
        raise RecipeError(
            shown,
            "holds no recipe",
            expected="one or more files NAME.toml",
            hint="add one; docs/recipes.md describes its keys",
        )
    return dict(sorted(found.items()))


def _stem_name(entry: str, place: Place) -> str:
    stem = entry.removesuffix(".toml")
    if not NAME.accepts(stem):
        place.fail(
            "the file's name does not make a good name",
            expected=NAME.expected,
            got=stem,
            hint='rename the file, or say in it: name = "..."',
        )
    return stem


def _read_recipe(root: Path, shown: str, model: type[Model]) -> _Recipe:
    path = root / shown
    content = _read_text(path, shown)
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        _not_toml(shown, content, str(error))
    except RecursionError:
        raise RecipeError(
            shown, "not TOML: nested too deeply", hint="docs/recipes.md describes every key"
        ) from None
    place = Place(file=path, shown=shown, content=content)
    return _Recipe(place, read_keys(model, table, place))


def _read_text(path: Path, shown: str) -> str:
    try:
        with open(path, "rb") as recipe:
            data = recipe.read(_MOST_RECIPE_BYTES + 1)
    except OSError as error:
        raise RecipeError(
            shown,
            f"cannot be read: {error.strerror}",
            hint="a site has recipes/ and overlays/ at its root; docs/recipes.md describes them",
        ) from None
    if len(data) > _MOST_RECIPE_BYTES:
        raise RecipeError(
            shown,
            "too large for a recipe",
            expected="at most 16 MiB",
            hint="docs/recipes.md describes every key",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError(
            f"{shown}:{line}",
            "not TOML: not UTF-8",
            got=f"byte 0x{data[error.start]:02x}",
            hint="save the file as UTF-8",
        ) from None


def _not_toml(shown: str, content: str, message: str) -> NoReturn:
    """The parser ends its messages in `(at line L, column C)` or `(at end of document)`."""
    match = re.fullmatch(
        r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL
    )
    problem, line, column = match.groups() if match else (message, None, None)
    if line is None:
        lines = content.splitlines() or [""]
        line, column = len(lines), len(lines[-1]) + 1
    raise RecipeError(
        f"{shown}:{line}:{column}", f"not TOML: {problem}", hint="correct the syntax there"
    ) from None


def _checked_release(recipe: _Recipe, features: Iterable[str]) -> Release:
    place, values = recipe
    _check_source(place, values)
    _check_pxerd(place.at("pxerd"), values["pxerd"], features)
    return Release(**values)


def _check_source(place: Place, values: Mapping[str, Any]) -> None:
    if values["kind"] == "standin":
        for name in _ISO_KEYS:
            if values[name] is not None:
                _useless(place.at(name), 'kind = "standin"')
        if values["lock"] is None:
            place.at("lock").fail(
                "missing key",
                expected="a file name without a directory",
                hint=f'add: lock = "{values["name"]}.lock"',
            )
        return
    if values["lock"] is not None:
        _useless(place.at("lock"), 'kind = "iso"')
    if (values["iso"] is None) == (values["url"] is None):
        place.fail(
            "says neither iso nor url" if values["iso"] is None else "says both iso and url",
            expected='exactly one of iso = "...", url = "..." or kind = "standin"',
        )
    if values["url"] is None:
        for name in ("checksum_url", "signature_url", "keyring"):
            if values[name] is not None:
                _useless(place.at(name), "iso; it goes with url")
    elif values["sha256"] is None and values["sha512"] is None:
        place.at("url").fail(
            "a download needs a digest to be checked against",
            expected="sha256 or sha512",
            hint="copy it from the .sha256 or .sha512 file beside the ISO on Alpine's site",
        )
    for one, other in (("signature_url", "keyring"), ("keyring", "signature_url")):
        if values[one] is not None and values[other] is None:
            place.at(one).fail(f"is of no use without {other}", hint=f"add: {other} = ...")


def _useless(place: Place, beside: str) -> NoReturn:
    place.fail(f"is of no use with {beside}", hint="remove one of the two")


def _check_pxerd(place: Place, pxerd: PxerdSettings, features: Iterable[str]) -> None:
    for index, feature in enumerate(pxerd.features):
        check_reference(
            feature,
            features,
            place.at("features", index),
            problem="there is no such feature",
            add=f"add recipes/features.d/{feature}.modules or .files",
        )
    if pxerd.level is None:
        return
    bounds = COMPRESSION_LEVELS.get(pxerd.compression)
    if bounds is None:
        place.at("level").fail(
            f'is of no use with compression = "{pxerd.compression}"',
            hint='name a codec: compression = "gzip", "xz" or "zstd"',
        )
    if not bounds[0] <= pxerd.level <= bounds[1]:
        place.at("level").fail(
            f"{pxerd.compression} has no such level",
            expected=f"a whole number from {bounds[0]} to {bounds[1]}",
            got=pxerd.level,
        )


def _check_machine(recipe: _Recipe, releases: Mapping[str, Release]) -> None:
    """The release and the flavor of `recipe` exist."""
    release, flavor = recipe.values["release"], recipe.values["flavor"]
    check_reference(
        release,
        releases,
        recipe.place.at("release"),
        problem="there is no such release",
        add=f"add recipes/releases/{release}.toml",
    )
    check_reference(
        flavor,
        releases[release].flavors,
        recipe.place.at("flavor"),
        problem=f"release {release} has no such flavor",
        add=f"add it to the flavors of {release}",
    )


def _checked_template(
    recipe: _Recipe,
    settings: _Recipe,
    releases: Mapping[str, Release],
    overlays: Mapping[str, Overlay],
) -> Template:
    place, values = recipe
    for name in ("release", "flavor"):
        values[name] = values[name] or settings.values[name]
    _check_machine(recipe, releases)
    for index, overlay in enumerate(values["overlays"]):
        check_reference(
            overlay,
            overlays,
            place.at("overlays", index),
            problem="there is no such overlay",
            add=f"add the directory overlays/{overlay}",
        )
    values["overlays"] = tuple([overlays[name] for name in values["overlays"]])
    if not values["hostname"] and not HOSTNAME.accepts(values["name"]):
        place.at("hostname").fail(
            "missing key, since the template's name is not a host name",
            expected=HOSTNAME.expected,
            got=values["name"],
            hint='add: hostname = "..."',
        )
    values["hostname"] = values["hostname"] or values["name"]
    return Template(**values)


def _find_overlays(root: Path) -> dict[str, Overlay]:
    """Directories below overlays/, each with its ownership file if there is one."""
    directory = root / "overlays"
    names = _listed(directory)
    owners = {name for name in names if name.endswith(_OWNERS_SUFFIX)}
    overlays = {}
    for name in names:
        if name in owners or name.startswith(".") or not NAME.accepts(name):
            continue
        if (directory / name).is_dir():
            ownership = name + _OWNERS_SUFFIX
            overlays[name] = Overlay(
                name=name,
                tree=directory / name,
                owners=directory / ownership if ownership in owners else None,
            )
    for ownership in sorted(owners):
        name = ownership.removesuffix(_OWNERS_SUFFIX)
        if name not in overlays:
            raise RecipeError(
                f"overlays/{ownership}",
                "an ownership file without its overlay",
                expected=f"a directory overlays/{name}",
                hint="rename or remove the one that is left over",
            )
    return overlays


def _features_in(directories: Iterable[Path]) -> set[str]:
    return {
        name.rpartition(".")[0]
        for directory in directories
        for name in _listed(directory)
        if name.endswith(_FEATURE_SUFFIXES)
    }


def _listed(directory: Path) -> list[str]:
    """Sorted names in `directory`; none if it is not there: then what is looked for is missed."""
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
