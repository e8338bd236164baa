"""TOML in, a checked Site out; whatever is wrong is said with file, line and key.

Loading opens the recipes and lists a few directories. It never looks at an ISO, an
artifact or the inside of an overlay, so every command works with none of them there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bootsmith.errors import RecipeError
from bootsmith.site.findings import Findings, Unjudged
from bootsmith.site.inventory_files import IMPORTS, RECIPE
from bootsmith.site.models import (
    COMPRESSION_LEVELS,
    HOSTNAME,
    NAME,
    Image,
    Installer,
    ModloopSettings,
    Overlay,
    PxerdSettings,
    Release,
    Site,
    SiteSettings,
    Template,
)
from bootsmith.site.netboot import (
    check_installers,
    check_network,
    check_no_netboot,
    check_publish,
    check_roles,
)
from bootsmith.site.scenarios import SCENARIOS
from bootsmith.site.schema import Model, Place, check_reference, read_keys
from bootsmith.site.toml_file import read_toml

_SITE = "recipes/site.toml"
_FEATURE_SUFFIXES = (".modules", ".files")
_PATCH_SUFFIXES = (".toml",)
_OWNERS_SUFFIX = ".owners"
_ISO_KEYS = ("iso", "url", "sha256", "sha512", "checksum_url", "signature_url", "keyring")


class _Recipe(NamedTuple):
    """A recipe as read: checked key by key, not yet against other recipes."""

    place: Place
    values: dict[str, Any]


class _Recipes(NamedTuple):
    """All recipes of one kind."""

    read: dict[str, _Recipe]
    """By name, sorted."""
    broken: frozenset[str]
    """Names of those that could not be read; what they say is not known."""


class _Known(NamedTuple):
    """What a check may refer to: the releases, or the overlays."""

    good: dict[str, Any]
    broken: frozenset[str]

    def check(self, name: str, place: Place, *, problem: str, add: str) -> None:
        """RecipeError at `place` unless there is a `name`; Unjudged if there is a bad one."""
        check_reference(name, {*self.good, *self.broken}, place, problem=problem, add=add)
        if name in self.broken:
            raise Unjudged


def load_site(root: Path) -> Site:
    """The site below `root`. Raises RecipeError for all that is wrong with its recipes.

    What follows from a mistake elsewhere is not said, nor what can be judged only without it.
    """
    root = Path(os.path.abspath(root))
    found = Findings()
    settings: _Recipe | None = None
    with found:
        settings = _read_recipe(root, _SITE, SiteSettings)
    if not os.path.exists(root / _SITE):
        found.raise_any()  # no site at all; that all else is missing as well helps nobody
    kinds: dict[str, _Recipes] = {}
    for directory, (model, may_be_missing) in _DIRECTORIES.items():
        kinds[directory] = _Recipes({}, frozenset())
        if may_be_missing and not os.path.isdir(root / "recipes" / directory):
            continue
        with found:
            kinds[directory] = _read_directory(root, directory, model, found)
    feature_directories = (root / "recipes/features.d",)
    # A site that has no patches need not have the directory.
    patch_directories = tuple(path for path in (root / "recipes/patches",) if path.is_dir())
    features = _names_in(feature_directories, _FEATURE_SUFFIXES)
    patches = _names_in(patch_directories, _PATCH_SUFFIXES) | {"auto"}

    releases = _checked(
        kinds["releases"], lambda recipe: _checked_release(recipe, features, patches), found
    )
    defaults = _defaults(settings, releases, found)
    overlays = _find_overlays(root, found)
    images = _checked(
        kinds["images"], lambda recipe: _checked_image(recipe, defaults, releases, overlays), found
    )
    templates = _checked(
        kinds["templates"],
        lambda recipe: _checked_template(recipe, defaults, releases, overlays),
        found,
    )
    installers = {
        name: Installer(**recipe.values) for name, recipe in kinds["installers"].read.items()
    }
    with found:
        check_installers(_places(kinds["installers"]), installers, templates.good)
    if settings is not None:
        with found:
            check_publish(settings.place.at("publish"), settings.values["publish"])
        with found:
            _check_network(root, settings)
    if settings is None or found:
        with found:
            _look_at_hosts(root, settings)
        found.raise_any()
    assert settings is not None, "that it cannot be read has been raised"
    with found:
        _check_scenarios(settings, templates.good, images.good, releases.good)
    with found:
        _check_roles(settings, _places(kinds["templates"]), templates, installers, releases)
    found.raise_any()
    read = [settings, *(recipe for kind in kinds.values() for recipe in kind.read.values())]
    return Site(
        root=root,
        installers=installers,
        releases=releases.good,
        templates=templates.good,
        images=images.good,
        overlays=overlays.good,
        feature_directories=feature_directories,
        patch_directories=patch_directories,
        recipe_files=tuple(recipe.place.file for recipe in read),
        **{name: value for name, value in settings.values.items() if name != "schema"},
    )


_DIRECTORIES: Mapping[str, tuple[type[Model], bool]] = {
    "releases": (Release, False),
    "templates": (Template, False),
    "images": (Image, True),
    "installers": (Installer, True),
}
"""Recipes by kind: what they say, and whether a site may have none."""


def _read_directory(root: Path, directory: str, model: type[Model], found: Findings) -> _Recipes:
    """All recipes of one kind; two of one name are an error."""
    recipes: dict[str, _Recipe] = {}
    broken: set[str] = set()
    shown = f"recipes/{directory}"
    for entry in _listed(root / shown):
        if not entry.endswith(".toml") or entry.startswith("."):
            continue
        stem = entry.removesuffix(".toml")
        broken.add(stem)
        with found:
            recipe = _read_recipe(root, f"{shown}/{entry}", model)
            name = recipe.values["name"] = recipe.values["name"] or _good_stem(stem, recipe.place)
            if name in recipes:
                recipe.place.at("name").fail(
                    f"two {directory} are called {name}",
                    got=f"the other one in {recipes[name].place.shown}",
                    hint='give one of them another name with: name = "..."',
                )
            recipes[name] = recipe
            broken.remove(stem)
    if not recipes and not broken:
        raise RecipeError(
            shown,
            "holds no recipe",
            expected="one or more files NAME.toml",
            hint="add one; docs/recipes.md describes its keys",
        )
    return _Recipes(dict(sorted(recipes.items())), frozenset(broken))


def _checked(recipes: _Recipes, checked: Callable[[_Recipe], Any], found: Findings) -> _Known:
    """Each recipe held against the others."""
    good: dict[str, Any] = {}
    for name, recipe in recipes.read.items():
        with found:
            good[name] = checked(recipe)
    return _Known(good, recipes.broken | (recipes.read.keys() - good.keys()))


def _defaults(settings: _Recipe | None, releases: _Known, found: Findings) -> Mapping[str, Any]:
    """What templates and images inherit of the site, without what is wrong there."""
    if settings is None:
        return {}
    with found:
        _check_machine(settings, releases)
        return settings.values
    return {"smoke": settings.values["smoke"]}


def _inherited(defaults: Mapping[str, Any], name: str) -> Any:
    if name not in defaults:
        raise Unjudged
    return defaults[name]


def _look_at_hosts(root: Path, settings: _Recipe | None) -> None:
    """RecipeError for what is wrong with the inventory alone, since others are wrong anyway.

    No other run that reads the recipes opens it: hosts may be many.
    """
    from bootsmith.site.inventory_read import read_fleet

    says_none = settings is not None and settings.values["netboot"] is None
    if not says_none and os.path.isfile(root / RECIPE):
        read_fleet(root / RECIPE, root / IMPORTS)


def _good_stem(stem: str, place: Place) -> str:
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
    content, table = read_toml(path, shown)
    place = Place(file=path, shown=shown, content=content)
    return _Recipe(place, read_keys(model, table, place))


def _checked_release(recipe: _Recipe, features: Iterable[str], patches: Iterable[str]) -> Release:
    place, values = recipe
    found = Findings()
    with found:
        _check_source(place, values)
    with found:
        _check_pxerd(place.at("pxerd"), values["pxerd"], features, patches)
    for table in ("pxerd", "modloop"):
        with found:
            _check_flavors(place.at(table, "flavor"), values[table].flavor, values["flavors"])
    with found:
        _check_verification(place.at("modloop"), values["modloop"], patches)
    found.raise_any()
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


def _check_pxerd(
    place: Place, pxerd: PxerdSettings, features: Iterable[str], patches: Iterable[str]
) -> None:
    lists = [(pxerd.features, place.at("features"))]
    for name, own in pxerd.flavor.items():
        lists.append((own.features, place.at("flavor", name).at("features")))
    found = Findings()
    for asked, at in lists:
        for index, feature in enumerate(asked):
            with found:
                check_reference(
                    feature,
                    features,
                    at.at(index),
                    problem="there is no such feature",
                    add=f"add recipes/features.d/{feature}.modules or .files",
                )
    for index, patch in enumerate(pxerd.patches):
        with found:
            check_reference(
                patch,
                patches,
                place.at("patches", index),
                problem="there is no such patch",
                add=f"add recipes/patches/{patch}.toml",
            )
    with found:
        _check_level(place, pxerd.compression, pxerd.level)
    found.raise_any()


def _check_level(place: Place, compression: str, level: int | None) -> None:
    if level is None:
        return
    bounds = COMPRESSION_LEVELS.get(compression)
    if bounds is None:
        place.at("level").fail(
            f'is of no use with compression = "{compression}"',
            hint='name a codec: compression = "gzip", "xz" or "zstd"',
        )
    if not bounds[0] <= level <= bounds[1]:
        place.at("level").fail(
            f"{compression} has no such level",
            expected=f"a whole number from {bounds[0]} to {bounds[1]}",
            got=level,
        )


def _check_flavors(place: Place, asked: Iterable[str], flavors: Iterable[str]) -> None:
    for name in asked:
        check_reference(
            name,
            flavors,
            place.at(name),
            problem="the release has no such flavor",
            add=f"add {name} to its flavors",
        )


STRICT_PATCH = "modloop-strict"
"""The patch that `verify = "strict"` stands for."""


def _check_verification(place: Place, modloop: ModloopSettings, patches: Iterable[str]) -> None:
    """What is signed, by which key, and what machines make of it go together."""
    wanted = [(patch, place.at("patches", at)) for at, patch in enumerate(modloop.patches)]
    if modloop.verify == "strict":
        wanted.append((STRICT_PATCH, place.at("verify")))
    for patch, at in wanted:
        check_reference(
            patch,
            patches,
            at,
            problem="there is no such patch",
            add=f"add recipes/patches/{patch}.toml",
        )
    if modloop.signature == "own" and modloop.signing_key is None:
        place.at("signature").fail(
            "there is no key to sign with",
            expected='signing_key = "NAME"',
            hint='make one with: doit key; then add: signing_key = "site"',
        )
    if modloop.signing_key is not None and modloop.signing_key.endswith(".rsa"):
        place.at("signing_key").fail(
            "the name of a key has no ending",
            expected="NAME of recipes/keys/NAME.rsa",
            got=f'"{modloop.signing_key}"',
            hint=f'write "{modloop.signing_key.removesuffix(".rsa")}"',
        )
    if modloop.signing_key is not None and modloop.signature not in ("auto", "own"):
        _useless(place.at("signing_key"), f'signature = "{modloop.signature}"')
    if modloop.verify == "strict" and modloop.signature not in ("auto", "own"):
        place.at("verify").fail(
            f'no modloop would be mounted with signature = "{modloop.signature}"',
            expected='signature = "auto" or "own"',
            hint="sign it, or leave verify out",
        )


def _check_machine(recipe: _Recipe, releases: _Known) -> None:
    """The release and the flavor of `recipe` exist."""
    release, flavor = recipe.values["release"], recipe.values["flavor"]
    releases.check(
        release,
        recipe.place.at("release"),
        problem="there is no such release",
        add=f"add recipes/releases/{release}.toml",
    )
    check_reference(
        flavor,
        releases.good[release].flavors,
        recipe.place.at("flavor"),
        problem=f"release {release} has no such flavor",
        add=f"add it to the flavors of {release}",
    )


def _checked_image(
    recipe: _Recipe, defaults: Mapping[str, Any], releases: _Known, overlays: _Known
) -> Image:
    place, values = recipe
    found = Findings()
    with found:
        _check_role(recipe, defaults, releases, overlays, what="image")
    with found:
        _check_image_source(place, values)
    with found:
        _check_level(place, values["compression"], values["level"])
    with found:
        values["memory_mebibytes"] = (
            values["memory_mebibytes"] or _inherited(defaults, "smoke").memory_mebibytes
        )
    found.raise_any()
    values["hostname"] = values["hostname"] or values["name"]
    return Image(**values)


def _check_image_source(place: Place, values: Mapping[str, Any]) -> None:
    sources = [name for name in ("directory", "tarball", "packages") if values[name]]
    if len(sources) != 1:
        place.fail(
            f"says {' and '.join(sources)}" if sources else "says nothing of its source",
            expected='exactly one of directory = "...", tarball = "..." or packages = [...]',
        )
    if values["disk_owners"] and values["directory"] is None:
        place.at("disk_owners").fail(
            f"is of no use with {sources[0]}, which says owners itself", hint="remove it"
        )


def _check_role(
    recipe: _Recipe, defaults: Mapping[str, Any], releases: _Known, overlays: _Known, *, what: str
) -> None:
    """What templates and images have in common; release, flavor and overlays are filled in."""
    place, values = recipe
    found = Findings()
    for name in ("release", "flavor"):
        with found:
            values[name] = values[name] or _inherited(defaults, name)
    if not found:
        with found:
            _check_machine(recipe, releases)
    for index, overlay in enumerate(values["overlays"]):
        with found:
            overlays.check(
                overlay,
                place.at("overlays", index),
                problem="there is no such overlay",
                add=f"add the directory overlays/{overlay}",
            )
    if not values["hostname"] and not HOSTNAME.accepts(values["name"]):
        with found:
            place.at("hostname").fail(
                f"missing key, since the {what}'s name is not a host name",
                expected=HOSTNAME.expected,
                got=values["name"],
                hint='add: hostname = "..."',
            )
    found.raise_any()
    values["overlays"] = tuple([overlays.good[name] for name in values["overlays"]])


def _checked_template(
    recipe: _Recipe, defaults: Mapping[str, Any], releases: _Known, overlays: _Known
) -> Template:
    place, values = recipe
    _check_role(recipe, defaults, releases, overlays, what="template")
    values["hostname"] = values["hostname"] or values["name"]
    _check_stock_initramfs(place, values, releases.good[values["release"]])
    return Template(**values)


def _check_stock_initramfs(place: Place, values: Mapping[str, Any], release: Release) -> None:
    """A stock initramfs has Alpine's signature, which is of no use for another modloop."""
    if (
        values["boot"].initramfs == "stock"
        and release.modloop.verify == "strict"
        and release.modloop.is_changed(values["flavor"])
    ):
        place.at("boot", "initramfs").fail(
            "would mount no modloop: its signature is for the one that the release came with",
            expected='initramfs = "pxerd"',
            hint=f'boot the pxerd, or leave verify = "strict" out of release {release.name}',
        )


def _check_scenarios(
    settings: _Recipe,
    templates: Mapping[str, Template],
    images: Mapping[str, Image],
    releases: Mapping[str, Release],
) -> None:
    """Every boot that is asked for has a template, or an image, that can be booted so."""
    rows = {row.name: row for row in SCENARIOS}
    bootable = [template.bootable(releases[template.release]) for template in templates.values()]
    for index, name in enumerate(settings.values["smoke"].scenarios):
        row = rows[name]
        if row.medium == "network":
            if settings.values["netboot"] is None:
                settings.place.at("smoke", "scenarios", index).fail(
                    "no machine boots from the network",
                    expected="a table [netboot]",
                    got=f'"{name}"',
                    hint="add [netboot], or leave the scenario out",
                )
        elif row.medium == "ramroot":
            if not images:
                settings.place.at("smoke", "scenarios", index).fail(
                    "no image can be booted so",
                    expected="a recipe in recipes/images",
                    got=f'"{name}"',
                    hint="add an image, or leave the scenario out",
                )
        elif not any(map(row.boots, bootable)):
            kernel = "a kernel for hardware (flavor lts)" if row.wanted == "hardware" else ""
            medium = "" if row.direct else f"a key for {row.firmware}"
            pxerd = "a release whose pxerd has the feature nfs" if row.medium == "nfs" else ""
            wanted = " and ".join(filter(None, (medium, kernel, pxerd)))
            settings.place.at("smoke", "scenarios", index).fail(
                "no template can be booted so",
                expected=f"a template with {wanted}",
                got=f'"{name}"',
                hint="make a template so, or leave the scenario out",
            )


def _places(recipes: _Recipes) -> dict[str, Place]:
    return {name: recipe.place for name, recipe in recipes.read.items()}


def _check_network(root: Path, settings: _Recipe) -> None:
    """The network can be as it is said, and there is an inventory."""
    netboot = settings.values["netboot"]
    if netboot is None:
        return
    found = Findings()
    with found:
        check_network(settings.place.at("netboot"), netboot)
    with found:
        if not os.path.isfile(root / RECIPE):
            raise RecipeError(
                RECIPE,
                "is missing",
                expected="the inventory, since recipes/site.toml has a table [netboot]",
                hint="make it; an empty file is an inventory without hosts (docs/inventory.md)",
            )
    found.raise_any()


def _check_roles(
    settings: _Recipe,
    places: Mapping[str, Place],
    templates: _Known,
    installers: Mapping[str, Installer],
    releases: _Known,
) -> None:
    """What is said about booting from the network can be done."""
    netboot = settings.values["netboot"]
    if netboot is None:
        check_no_netboot(places, templates.good)
        return
    place = settings.place.at("netboot")
    check_roles(place, netboot, places, templates.good, installers, releases.good)


def _find_overlays(root: Path, found: Findings) -> _Known:
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
            found.add(
                RecipeError(
                    f"overlays/{ownership}",
                    "an ownership file without its overlay",
                    expected=f"a directory overlays/{name}",
                    hint="rename or remove the one that is left over",
                )
            )
    return _Known(overlays, frozenset())


def _names_in(directories: Iterable[Path], suffixes: tuple[str, ...]) -> set[str]:
    return {
        name.rpartition(".")[0]
        for directory in directories
        for name in _listed(directory)
        if name.endswith(suffixes)
    }


def _listed(directory: Path) -> list[str]:
    """Sorted names in `directory`; none if it is not there: then what is looked for is missed."""
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
