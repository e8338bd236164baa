"""`doit explain-host`: what a machine is, value by value, and who says so."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from bootsmith.errors import RecipeError
from bootsmith.formats.inventory import Role
from bootsmith.formats.ipv4 import parse_ipv4
from bootsmith.formats.mac import parse_mac
from bootsmith.site.inventory import Family, Layer, Surroundings, resolve
from bootsmith.site.inventory_files import IMPORTS, RECIPE
from bootsmith.site.inventory_import import HostRecord
from bootsmith.site.inventory_read import Fleet, read_fleet
from bootsmith.site.models import ROLE_KEYS, NetbootSettings, Site
from bootsmith.site.netboot import inventory_arguments
from bootsmith.site.schema import Place, nearest, shown_value

Say = Callable[[str], None]
VERB = "doit explain-host"
_LISTS = ("options", "overlays")
_VALUES = "values"
_OF_HOST = ("mac", "address", "management", "group")
_KEYS = (*_OF_HOST, "template", *ROLE_KEYS, "overlays", _VALUES)
_SELDOM = (*_LISTS, _VALUES)
_UNSAID = "-"
_POOL = "pool"


def netboot_of(site: Site, verb: str) -> NetbootSettings:
    """The site's `[netboot]`; RecipeError for a site without."""
    if site.netboot is None:
        raise RecipeError(
            verb,
            "this site has no inventory: recipes/site.toml has no table [netboot]",
            hint="add [netboot]; docs/inventory.md describes it",
        )
    return site.netboot


def fleet_of(site: Site) -> Fleet:
    """What recipes/hosts.toml of the site says."""
    return read_fleet(site.root / RECIPE, site.root / IMPORTS)


def surroundings_of(site: Site) -> Surroundings:
    """What the inventory of the site is held against."""
    return Surroundings(**inventory_arguments(site))


def shown_address(address: str | None, netboot: NetbootSettings) -> str:
    """A machine's fixed address, or where it gets one."""
    return address or (_POOL if netboot.pool else _UNSAID)


def explain_host(*, site: Site, operands: Sequence[str], say: Say) -> None:
    """Print each value of a machine and which line of which recipe says it.

    `operands` are a name, MAC or address, and optionally one key, of which every level is
    shown. A MAC that no host has is explained as what an unknown machine would be.
    """
    netboot = netboot_of(site, VERB)
    if not 1 <= len(operands) <= 2:
        raise RecipeError(
            VERB,
            "says no machine" if not operands else "says too much",
            expected="a name, a MAC or an address, and one key at most",
            hint=f"{VERB} NAME [KEY]",
        )
    fleet, surroundings = fleet_of(site), surroundings_of(site)
    resolve(fleet, surroundings)  # so that what is explained is what a build would take
    recipes = _Recipes(site)
    family = Family(fleet, surroundings, where=recipes.place)
    record, mac = _find(operands[0], fleet, netboot)
    if record is None:
        rule = family.rule_of(mac)
        layers = family.layers(rule=rule, group=None, own=None)
        by = "nothing is known of it" if rule is None else f"it begins with {rule.prefix}"
        title = f"{mac}: not in the inventory; {by}"
    else:
        layers, title = family.host_layers(record), record.name
    pool = recipes.place(None).at(_POOL) if netboot.pool else None
    explained = _Explained(layers, record, pool)
    if len(operands) == 2:
        lines = explained.levels(mac if record is None else record.name, operands[1])
    else:
        say(title)
        lines = explained.table()
    for line in lines:
        say(line)


class _Recipes:
    """Where the site and its templates say something of netboot, with the text to find lines."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def place(self, template: str | None) -> Place:
        """The table `[netboot]` of a template, or (None) of the site."""
        for path in self._site.recipe_files:
            if path.parent.name != ("recipes" if template is None else "templates"):
                continue
            content = path.read_text("utf-8")
            if template is None or tomllib.loads(content).get("name", path.stem) == template:
                shown = path.relative_to(self._site.root).as_posix()
                return Place(file=path, shown=shown, content=content).at("netboot")
        raise AssertionError(f"no recipe of {template}, which the site has")


def _find(word: str, fleet: Fleet, netboot: NetbootSettings) -> tuple[HostRecord | None, str]:
    """The host that `word` means; None, and its MAC, for a machine that is none."""
    name = word.lower().removesuffix(f".{netboot.domain}")
    mac, number = parse_mac(word), parse_ipv4(word)
    for record in fleet.hosts:
        said = record.said
        if record.name == name or said["mac"] == mac:
            return record, said["mac"]
        if number is not None and word in (said.get("address"), said.get("management")):
            return record, said["mac"]
    if mac is not None:
        return None, mac
    near = nearest(name, [record.name for record in fleet.hosts])
    raise RecipeError(
        VERB,
        "no host has this address" if number is not None else "there is no such host",
        expected=near,
        got=shown_value(word),
        hint=f"{VERB} {near}" if near else "doit hosts lists them",
    )


class _Saying(NamedTuple):
    """What one level says of one key, or one word of a list."""

    key: str
    value: str
    level: str
    where: str


class _Explained:
    """The values of one machine with the levels that say them."""

    def __init__(
        self, layers: Sequence[Layer], record: HostRecord | None, pool: Place | None
    ) -> None:
        self._layers = layers
        self._record = record
        self._pool = pool

    def table(self) -> Iterator[str]:
        """Every value that holds, the level that says it, and where."""
        rows: list[Sequence[str]] = []
        for key in _KEYS:
            if key in _OF_HOST and key != "address" and self._record is None:
                continue
            counting = _counting(key, self._said(key))
            if counting or key not in _SELDOM:
                rows += counting or [(key, *self._default(key))]
        return _aligned(rows)

    def levels(self, subject: str, key: str) -> Iterator[str]:
        """What each level says of one key; marked is what another level overrides."""
        said = self._said(key)
        if not said and key not in _KEYS:
            self._unknown(subject, key)
        counting = _counting(key, said)
        rows = [(*one[1:], "" if one in counting else "(overridden)") for one in said]
        yield f"{subject} {key}"
        yield from _aligned(rows or [self._default(key)])

    def _said(self, key: str) -> list[_Saying]:
        """What the levels say of `key`, in their order."""
        if key in _OF_HOST:
            if self._record is None or key not in self._record.said:
                return []
            value, place = self._record.said[key], self._record.place(key)
            is_own = key != "group" or self._record.group is None
            level = (
                f"host {self._record.name}" if is_own else f"import {self._record.table.file.name}"
            )
            return [_Saying(key, value, level, place.subject)]
        outer, _, inner = key.partition(".")
        return [
            _Saying(name, value, layer.label, place.subject)
            for layer in self._layers
            if outer in layer.said
            for name, value, place in _spread(outer, layer.said[outer], layer.place(outer))
            if not inner or name == key
        ]

    def _default(self, key: str) -> tuple[str, str, str]:
        """Value, level and place of what no level says."""
        if key == "address" and self._pool is not None:
            return _POOL, "site", self._pool.subject
        value = getattr(Role(template=""), key, None)
        return (value, "default", "") if value else (_UNSAID, "", "")

    def _unknown(self, subject: str, key: str) -> NoReturn:
        known = list(dict.fromkeys([*_KEYS, *(one.key for one in self._said(_VALUES))]))
        near = nearest(key, known)
        raise RecipeError(
            VERB,
            "there is no such key",
            expected=near or ", ".join(known),
            got=shown_value(key),
            hint=f"{VERB} {subject}{f' {near}' if near else ''}",
        )


def _spread(key: str, value: Any, place: Place) -> Iterator[tuple[str, str, Place]]:
    """(key, text, place) of a value: of each word of a list, and of each value by its name."""
    if key in _LISTS:
        yield from ((key, word, place.at(index)) for index, word in enumerate(value))
    elif key == _VALUES:
        yield from ((f"{key}.{name}", text, place.at(name)) for name, text in value.items())
    else:
        yield key, value, place


def _counting(key: str, said: Sequence[_Saying]) -> list[_Saying]:
    """Those that hold: of lists each word where it came first, else the last one said."""
    if key not in _LISTS:
        return list({one.key: one for one in said}.values())
    first: dict[str, _Saying] = {}
    for one in said:
        first.setdefault(one.value, one)
    return list(first.values())


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        yield f"  {'  '.join(cells)}".rstrip()
