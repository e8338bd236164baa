"""The inventory resolved: who inherits what, and whether it can be so.

    site -> template -> rule of the MAC's prefix -> groups, parents first -> host

Each level overrides the ones before; `options` and `overlays` add up, each word once, and
`values` add up by name. The template that counts is the one said last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bootsmith.formats.inventory import (
    MANAGEMENT_SUFFIX,
    RESERVED_NAMES,
    Host,
    Inventory,
    Role,
    Rule,
    merged_words,
)
from bootsmith.formats.ipv4 import format_ipv4, parse_ipv4, parse_subnet
from bootsmith.site.findings import Findings, Unjudged
from bootsmith.site.inventory_import import HostRecord
from bootsmith.site.inventory_read import Fleet, RuleRecord, check_group, read_fleet, said_of
from bootsmith.site.models import NOTHING
from bootsmith.site.netboot import NFS
from bootsmith.site.schema import Place, check_reference

_ADDED_UP = ("options", "overlays")
_BY_NAME = "values"
_OWN_KEYS = ("mac", "address", "management", "group")
_MOST_LABEL_CHARACTERS = 63


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the inventory is held against: `site.netboot.inventory_arguments`."""

    levels: Mapping[str, Any]
    network: Mapping[str, Any]
    installers: Sequence[str]
    overlays: Sequence[str]
    nfs_templates: Sequence[str]

    @property
    def templates(self) -> Mapping[str, Mapping[str, Any]]:
        """What each template says."""
        templates: Mapping[str, Mapping[str, Any]] = self.levels["templates"]
        return templates


class Layer(NamedTuple):
    """One level of inheritance: what it is, what it says, and where."""

    label: str
    said: Mapping[str, Any]
    place: Callable[[str], Place]
    """Where it says a key."""


def load_inventory(recipe: Path, imports: Path, surroundings: Surroundings) -> Inventory:
    """The inventory, resolved and checked. RecipeError for all that is wrong with it."""
    return resolve(read_fleet(recipe, imports), surroundings)


def resolve(fleet: Fleet, surroundings: Surroundings) -> Inventory:
    """Every host and rule with all its values; RecipeError for what cannot be."""
    found = Findings()
    with found:
        _check_names(fleet)
    with found:
        _check_addresses(fleet, surroundings.network)
    inventory: Inventory | None = None
    with found:
        inventory = _inherited(fleet, Family(fleet, surroundings))
    found.raise_any()
    assert inventory is not None, "what is wrong with it has been raised"
    return inventory


def _inherited(fleet: Fleet, family: Family) -> Inventory:
    found = Findings()
    hosts: list[Host] = []
    rules: list[Rule] = []
    for rule in fleet.rules:
        with found:
            rules.append(family.rule(rule))
    for host in fleet.hosts:
        with found:
            hosts.append(family.host(host))
    found.raise_any()
    hosts.sort(key=lambda host: host.name)
    return Inventory(unknown=family.unknown(), rules=tuple(rules), hosts=tuple(hosts))


def _where_unsaid(template: str | None) -> Place:
    """Recipes of the site and of templates have been checked: nothing is wrong there."""
    shown = "recipes/site.toml" if template is None else f"template {template}"
    return Place(file=Path(), shown=shown, content="").at("netboot")


class Family:
    """Who inherits from whom. Making one checks that all that groups and rules name is there.

    `where` leads to the table `[netboot]` of a template, or (None) of the site.
    """

    def __init__(
        self,
        fleet: Fleet,
        surroundings: Surroundings,
        *,
        where: Callable[[str | None], Place] = _where_unsaid,
    ) -> None:
        self._fleet = fleet
        self._surroundings = surroundings
        self._where = where
        self._installs = {NOTHING, *surroundings.installers, *surroundings.templates}
        self._overlays = set(surroundings.overlays)
        self._rules = {rule.prefix: rule for rule in fleet.rules}
        self._widths = sorted({len(prefix) for prefix in self._rules})
        self._chains: dict[str, tuple[str, ...]] = {}
        self._bases: dict[tuple[str | None, str | None, str | None], dict[str, Any]] = {}
        self._check_levels()

    def host(self, record: HostRecord) -> Host:
        """The host with all its values; RecipeError for what cannot be."""
        said = record.said
        group = said.get("group")
        if group is not None and group not in self._chains:
            check_group(group, self._chains, record.place("group"))
        self._check_named(said, record.place)
        rule = self.rule_of(said["mac"])
        if rule is None:
            self._check_convention(record)
        values = self._values(rule, group, _role_said(record))
        if self._lacks_nfs(values):
            self._refuse_nfs(self.host_layers(record), values["template"])
        return Host(
            name=record.name,
            mac=said["mac"],
            address=said.get("address"),
            management=said.get("management"),
            **values,
        )

    def rule(self, record: RuleRecord) -> Rule:
        """The rule with all its values; RecipeError for what cannot be."""
        layers = self.layers(rule=record, group=None, own=None)
        values = _merged(layer.said for layer in layers)
        if self._lacks_nfs(values):
            self._refuse_nfs(layers, values["template"])
        return Rule(prefix=record.prefix, **values)

    def unknown(self) -> Role:
        """What machines do that nothing is known about."""
        return Role(**_merged(layer.said for layer in self.layers(rule=None, group=None, own=None)))

    def rule_of(self, mac: str) -> RuleRecord | None:
        """The rule whose prefix the MAC begins with; there is one at most."""
        for width in self._widths:
            rule = self._rules.get(mac[:width])
            if rule is not None:
                return rule
        return None

    def host_layers(self, record: HostRecord) -> list[Layer]:
        """Every level that says something about a host, itself last."""
        own = Layer(f"host {record.name}", _role_said(record), record.place)
        rule = self.rule_of(record.said["mac"])
        return self.layers(rule=rule, group=record.said.get("group"), own=own)

    def layers(
        self, *, rule: RuleRecord | None, group: str | None, own: Layer | None
    ) -> list[Layer]:
        """Every level that says something about a machine, the site first."""
        above = [Layer("site", self._surroundings.levels["site"], self._where(None).at)]
        below = [] if rule is None else [Layer(rule.label, rule.said, rule.place)]
        for name in () if group is None else self._chains[group]:
            said = said_of(self._fleet.groups[name], without=("parent",))
            below.append(Layer(f"group {name}", said, self._fleet.place.at("group", name).at))
        if own is not None:
            below.append(own)
        template = _merged(layer.said for layer in (*above, *below))["template"]
        of_template = self._surroundings.templates[template]
        above.append(Layer(f"template {template}", of_template, self._where(template).at))
        return above + below

    def _values(
        self, rule: RuleRecord | None, group: str | None, own: dict[str, Any]
    ) -> dict[str, Any]:
        """What a host inherits, and its own. Thousands of hosts inherit the same."""
        key = (None if rule is None else rule.prefix, group, own.get("template"))
        if key not in self._bases:
            said = {} if key[2] is None else {"template": key[2]}
            layers = self.layers(
                rule=rule, group=group, own=Layer("host", said, self._fleet.place.at)
            )
            self._bases[key] = _merged(layer.said for layer in layers)
        return _merged((self._bases[key], own)) if own else self._bases[key]

    # --- what cannot be --------------------------------------------------------------

    def _check_levels(self) -> None:
        """All that rules, groups and the convention name is there, and parents end."""
        fleet, found = self._fleet, Findings()
        for rule in fleet.rules:
            with found:
                self._check_named(rule.said, lambda key, *_, rule=rule: rule.place(key))
        for name in fleet.groups:
            with found:
                self._chains[name] = _chain(name, fleet)
            with found:
                self._check_named(said_of(fleet.groups[name]), fleet.place.at("group", name).at)
        if fleet.convention is not None:
            at = fleet.place.at("mac", "templates")
            for template in fleet.convention.templates:
                with found:
                    self._check_template(template, at.at(template))
        found.raise_any()

    def _check_named(self, said: Mapping[str, Any], place: Callable[..., Place]) -> None:
        """The template, installer and overlays that one level names are there."""
        if "template" in said and said["template"] not in self._surroundings.templates:
            self._check_template(said["template"], place("template"))
        if "install" in said and said["install"] not in self._installs:
            check_reference(
                said["install"],
                self._installs,
                place("install"),
                problem="there is no such installer or template",
                add=f"add recipes/installers/{said['install']}.toml",
            )
        for index, overlay in enumerate(said.get("overlays", ())):
            if overlay not in self._overlays:
                check_reference(
                    overlay,
                    self._overlays,
                    place("overlays", index),
                    problem="there is no such overlay",
                    add=f"add the directory overlays/{overlay}",
                )

    def _check_template(self, template: str, place: Place) -> None:
        check_reference(
            template,
            self._surroundings.templates,
            place,
            problem="there is no such template",
            add=f"add recipes/templates/{template}.toml",
        )

    def _check_convention(self, record: HostRecord) -> None:
        """A MAC that begins as the convention's do is one of them."""
        convention, mac = self._fleet.convention, record.said["mac"]
        if convention is None or not convention.covers(mac):
            return
        _, _, level, template, *_ = mac.split(":")
        levels = {f"{byte:02x}" for byte in convention.levels.values()}
        what, byte = ("template", template) if level in levels else ("level", level)
        record.place("mac").fail(
            f"is none that the convention makes: no {what} has the byte 0x{byte}",
            expected=f"one of those in {self._fleet.place.at('mac', f'{what}s').subject}",
            got=f'"{mac}"',
            hint="doit mac new TEMPLATE gives the next free one",
        )

    def _lacks_nfs(self, values: Mapping[str, Any]) -> bool:
        return (
            values.get("media") == NFS
            and values["template"] not in self._surroundings.nfs_templates
        )

    def _refuse_nfs(self, layers: Sequence[Layer], template: str) -> NoReturn:
        says = [layer for layer in layers if "media" in layer.said][-1]
        says.place("media").fail(
            f"template {template} cannot mount it: the pxerd of its release lacks the feature "
            f"{NFS}",
            expected='media = "http", or the feature',
            got=f'"nfs" for {layers[-1].label}',
            hint=f'add "{NFS}" to the features of [pxerd] in its release',
        )


def _role_said(record: HostRecord) -> dict[str, Any]:
    """What a host says about its role, besides who it is."""
    return {
        name: value
        for name, value in record.said.items()
        if name not in _OWN_KEYS and value not in ((), {})
    }


def _chain(name: str, fleet: Fleet) -> tuple[str, ...]:
    """The groups that `name` inherits from, the first parent first, itself last.

    RecipeError for a mistake of its own; Unjudged for one of a group that it inherits from.
    """
    chain = [name]
    while (parent := fleet.groups[chain[-1]].parent) is not None:
        place = fleet.place.at("group", chain[-1], "parent")
        if parent not in fleet.groups and len(chain) > 1:
            raise Unjudged
        check_group(parent, fleet.groups, place)
        chain.append(parent)
        if parent in chain[:-1]:
            around = chain[chain.index(parent) :]
            # Said once, and not of every group that leads into it.
            if name != next(group for group in fleet.groups if group in around):
                raise Unjudged
            place.fail(
                "leads round in a circle",
                expected="parents that end",
                got=" -> ".join(around),
                hint="remove one of these parents",
            )
    return tuple(reversed(chain))


def _merged(levels: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What holds of all that the levels say, later ones over earlier ones."""
    values: dict[str, Any] = {}
    for said in levels:
        for name, value in said.items():
            if name in _ADDED_UP:
                values[name] = merged_words(values.get(name, ()), value)
            elif name == _BY_NAME:
                values[name] = {**values.get(name, {}), **value}
            else:
                # An inherited installer is taken back by a word, since TOML has no null.
                values[name] = None if (name, value) == ("install", NOTHING) else value
    return values


# --- names and addresses -----------------------------------------------------------------


def _check_names(fleet: Fleet) -> None:
    """Every host has a MAC and a name in the zone that no other one has."""
    names: dict[str, HostRecord] = {}
    macs: dict[str, HostRecord] = {}
    found = Findings()
    for record in fleet.hosts:
        with found:
            _check_name(record, names)
        with found:
            mac = record.said["mac"]
            other = macs.setdefault(mac, record)
            if other is not record:
                _taken("MAC address", mac, record.place("mac"), other.place("mac"))
    for record in fleet.hosts:
        if "management" in record.said:
            with found:
                _check_management_name(record, names)
    found.raise_any()


def _check_name(record: HostRecord, names: dict[str, HostRecord]) -> None:
    if record.name in RESERVED_NAMES:
        _name_place(record).fail(
            "is no name for a host",
            expected=f"another name than {' and '.join(RESERVED_NAMES)}",
            got=f'"{record.name}"',
            hint="rename the host",
        )
    other = names.setdefault(record.name, record)
    if other is not record:
        _taken("name", f'"{record.name}"', _name_place(record), _name_place(other))


def _check_management_name(record: HostRecord, names: Mapping[str, HostRecord]) -> None:
    name = record.name + MANAGEMENT_SUFFIX
    if name in names:
        _name_place(names[name]).fail(
            "has the name that a management address has in the zone",
            expected="another name",
            got=f'"{name}", of {record.place("management").subject}',
            hint="rename one of the two hosts",
        )
    if len(name) > _MOST_LABEL_CHARACTERS:
        _name_place(record).fail(
            f"is too long with the {MANAGEMENT_SUFFIX} of its management address",
            expected=f"at most {_MOST_LABEL_CHARACTERS - len(MANAGEMENT_SUFFIX)} characters",
            got=len(record.name),
            hint="shorten it",
        )


def _name_place(record: HostRecord) -> Place:
    return record.place() if record.line is None else record.place("name")


def _taken(what: str, value: str, place: Place, other: Place) -> NoReturn:
    place.fail(
        f"another host has this {what}",
        expected=f"each {what} once",
        got=f"{value}, also at {other.subject}",
        hint="correct or remove one of the two",
    )


def _check_addresses(fleet: Fleet, network: Mapping[str, Any]) -> None:
    """Every address is one machine's, and fixed ones are fit for the subnet."""
    subnet, server = parse_subnet(network["subnet"]), parse_ipv4(network["server"])
    assert subnet is not None, "the site's recipe has been read"
    ends = [parse_ipv4(address) or 0 for address in network["pool"] or ()]
    pool = range(ends[0], ends[1] + 1) if ends else range(0)
    infrastructure = {server: "head node"}
    if network["gateway"] is not None:
        infrastructure.setdefault(parse_ipv4(network["gateway"]), "gateway")
    owners: dict[str, tuple[HostRecord, str]] = {}
    found = Findings()
    for record in fleet.hosts:
        for key in ("address", "management"):
            address = record.said.get(key)
            if address is None:
                continue
            number = parse_ipv4(address) or 0
            if number in subnet:
                is_free = subnet.holds_host(number) and number not in pool
            else:
                # Management controllers often have a network of their own.
                is_free = key == "management"
            with found:
                if not is_free:
                    _refuse_address(record.place(key), address, network)
                if number in infrastructure:
                    record.place(key).fail(
                        f"is the address of the {infrastructure[number]}",
                        expected="an address of its own",
                        got=f'"{address}"',
                    )
            with found:
                _check_owner(owners, record, key, address)
    found.raise_any()


def _check_owner(
    owners: dict[str, tuple[HostRecord, str]], record: HostRecord, key: str, address: str
) -> None:
    other, other_key = owners.setdefault(address, (record, key))
    if other is not record:
        _taken("address", address, record.place(key), other.place(other_key))
    if other_key != key:
        record.place(key).fail(
            "is the address of the machine itself",
            expected="an address of its management controller",
            got=f'"{address}"',
        )


def _refuse_address(place: Place, address: str, network: Mapping[str, Any]) -> NoReturn:
    subnet, number = parse_subnet(network["subnet"]), parse_ipv4(address)
    assert subnet is not None
    assert number is not None
    if number not in subnet:
        place.fail(
            "is outside the subnet",
            expected=f"an address of {network['subnet']}",
            got=f'"{address}"',
            hint="correct it, or the subnet of [netboot] in recipes/site.toml",
        )
    if number in (subnet.first, subnet.last):
        what = "network" if number == subnet.first else "broadcast"
        place.fail(
            f"is the {what} address of the subnet",
            expected=f"{format_ipv4(subnet.first + 1)} to {format_ipv4(subnet.last - 1)}",
            got=f'"{address}"',
        )
    place.fail(
        "is in the pool, so another machine may have it",
        expected=f"an address outside {network['pool'][0]} to {network['pool'][1]}",
        got=f'"{address}"',
        hint="give it another one, or make the pool of [netboot] in recipes/site.toml smaller",
    )
