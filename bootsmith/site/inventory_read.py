"""recipes/hosts.toml and the files that it imports, read and not yet resolved.

Everything is judged by itself here: each key, and whether what it names is there. What one
level inherits from another is `site.inventory`'s.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bootsmith.formats.mac import Convention
from bootsmith.site.findings import Findings
from bootsmith.site.inventory_files import RECIPE
from bootsmith.site.inventory_import import HostRecord, read_import
from bootsmith.site.inventory_models import (
    HOST_NAME,
    MOST_HOSTS,
    MOST_RULES,
    GroupEntry,
    HostEntry,
    HostsRecipe,
    ImportEntry,
    MacConvention,
    RuleEntry,
)
from bootsmith.site.schema import Model, Place, check_reference, read_given, read_keys
from bootsmith.site.toml_file import read_toml

_HOST_TABLE = "host"


class RuleRecord(NamedTuple):
    """What machines of one prefix do, as the recipe says it."""

    prefix: str
    said: dict[str, Any]
    label: str
    table: Place | None = None
    """The `[[rule]]`; None for what only the convention makes."""
    byte: Place | None = None
    """Where the convention names the template; None for what it does not make."""

    def place(self, key: str) -> Place:
        """Where the rule says `key`."""
        if self.byte is not None and (self.table is None or key == "template"):
            return self.byte
        assert self.table is not None, "a rule is said, or made by the convention"
        return self.table.at(key)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Everything that hosts.toml says."""

    place: Place
    convention: Convention | None
    rules: tuple[RuleRecord, ...]
    """Sorted by prefix; no prefix begins with another."""
    groups: Mapping[str, GroupEntry]
    hosts: tuple[HostRecord, ...]
    """In the order of the recipe, imported ones last."""


def read_fleet(recipe: Path, imports: Path) -> Fleet:
    """What the recipe says, and the files of hosts below `imports` that it names.

    Raises RecipeError for all that is wrong with any of them.
    """
    content, table = read_toml(recipe, RECIPE)
    place = Place(file=recipe, shown=RECIPE, content=content)
    # Hosts may be ten thousand: they are read without a model's object for each.
    said_hosts = table.pop(_HOST_TABLE, {})
    found = Findings()
    hosts: list[HostRecord] = []
    with found:
        hosts = _hosts_said(said_hosts, place)
    with found:
        values = read_keys(HostsRecipe, table, place)
        with found:
            _check_imported_once(values["imports"], place)
        for at, entry in enumerate(values["imports"]):
            with found:
                own, most = place.at("import", at), MOST_HOSTS - len(hosts)
                if entry.group is not None:
                    check_group(entry.group, values["group"], own.at("group"))
                hosts += read_import(imports, entry, own, most=most)
        convention = _convention(values["mac"], place.at("mac"))
        rules = _rules(values["rule"], convention, place)
    found.raise_any()
    return Fleet(
        place=place,
        convention=convention,
        rules=rules,
        groups=values["group"],
        hosts=tuple(hosts),
    )


def check_group(name: str, groups: Iterable[str], place: Place) -> None:
    """RecipeError at `place` unless there is such a group."""
    check_reference(
        name, groups, place, problem="there is no such group", add=f"add [group.{name}]"
    )


def said_of(entry: Model, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The keys that an entry says, with their values."""
    return {
        name: value
        for name, value in vars(entry).items()
        if value is not None and value not in ((), {}) and name not in without
    }


def _hosts_said(table: object, place: Place) -> list[HostRecord]:
    at = place.at(_HOST_TABLE)
    if type(table) is not dict:
        at.fail("wrong type", expected="a table of tables", hint="write each host as [host.NAME]")
    if len(table) > MOST_HOSTS:
        at.fail("too many hosts", expected=f"at most {MOST_HOSTS}", hint="divide the inventory")
    hosts = []
    found = Findings()
    for name, inner in table.items():
        own = at.at(name)
        with found:
            if not HOST_NAME.accepts(name):
                HOST_NAME.read(name, own)
            hosts.append(HostRecord(name, read_given(HostEntry, inner, own), own))
    found.raise_any()
    return hosts


def _check_imported_once(imports: tuple[ImportEntry, ...], place: Place) -> None:
    seen: dict[str, int] = {}
    for at, entry in enumerate(imports):
        if entry.file in seen:
            place.at("import", at, "file").fail(
                "is imported twice",
                got=f"{entry.file}, also at {place.at('import', seen[entry.file], 'file').subject}",
                hint="remove one of the two",
            )
        seen[entry.file] = at


# --- MAC prefixes ------------------------------------------------------------------------


def _convention(said: MacConvention | None, place: Place) -> Convention | None:
    if said is None:
        return None
    for name in ("levels", "templates"):
        bytes_of: dict[str, int] = getattr(said, name)
        if not bytes_of:
            place.at(name).fail("is empty", expected=f"one of the {name} at least")
        _check_bytes_differ(bytes_of, place.at(name), name)
    if len(said.levels) * len(said.templates) > MOST_RULES:
        place.fail(
            "makes too many rules",
            expected=f"at most {MOST_RULES} pairs of a level and a template",
            got=len(said.levels) * len(said.templates),
            hint="name only levels and templates that there are",
        )
    return Convention(fixed=said.fixed, levels=said.levels, templates=said.templates)


def _check_bytes_differ(bytes_of: Mapping[str, int], place: Place, what: str) -> None:
    seen: dict[int, str] = {}
    for name, byte in bytes_of.items():
        if byte in seen:
            place.at(name).fail(
                f"two {what} have one byte",
                expected="another byte",
                got=f"0x{byte:02x}, which is that of {seen[byte]}",
            )
        seen[byte] = name


def _rules(
    entries: tuple[RuleEntry, ...], convention: Convention | None, place: Place
) -> tuple[RuleRecord, ...]:
    """Those of the recipe and those that the convention makes.

    A rule with a prefix of the convention adds to that one; its template stays.
    """
    made: dict[str, RuleRecord] = {}
    for prefix, level, template in convention.prefixes() if convention else ():
        label = f"level {level}, template {template}"
        byte = place.at("mac", "templates", template)
        made[prefix] = RuleRecord(prefix, {"template": template}, label, byte=byte)
    rules: dict[str, RuleRecord] = {}
    for index, entry in enumerate(entries):
        at = place.at("rule", index)
        said = said_of(entry, without=("prefix",))
        rule = RuleRecord(entry.prefix, said, f"rule {entry.prefix}", table=at)
        if entry.prefix in rules:
            _overlap(rule, rules[entry.prefix])
        if entry.prefix in made:
            rule = _added_to(made[entry.prefix], rule)
        rules[entry.prefix] = rule
    ordered = sorted({**made, **rules}.values(), key=lambda rule: rule.prefix)
    for before, after in itertools.pairwise(ordered):
        # Sorted, whatever begins with a prefix stands right behind it.
        if f"{after.prefix}:".startswith(f"{before.prefix}:"):
            _overlap(after, before)
    return tuple(ordered)


def _added_to(base: RuleRecord, rule: RuleRecord) -> RuleRecord:
    """What the convention says of a prefix, and what a rule says besides."""
    assert base.byte is not None
    template = base.said["template"]
    if rule.said.get("template", template) != template:
        rule.place("template").fail(
            "is not what the convention says of this prefix",
            expected=f'"{template}", by {base.byte.subject}',
            got=f'"{rule.said["template"]}"',
            hint="leave template out here, or change [mac]",
        )
    return rule._replace(said={**base.said, **rule.said}, label=base.label, byte=base.byte)


def _overlap(rule: RuleRecord, other: RuleRecord) -> None:
    rule.place("prefix").fail(
        "begins as another prefix does",
        expected="prefixes of which none begins with another",
        got=f"{rule.prefix} here, {other.prefix} at {other.place('prefix').subject}",
        hint="remove one, write longer prefixes that differ, or name the machines as hosts",
    )
