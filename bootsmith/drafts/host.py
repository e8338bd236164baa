"""`doit new host`: a machine put behind all others in recipes/hosts.toml."""

from __future__ import annotations

from collections.abc import Mapping

from bootsmith.drafts.hosts_recipe import append_table, check_with
from bootsmith.drafts.mac_address import next_mac
from bootsmith.drafts.recipe_text import entry_text
from bootsmith.errors import RecipeError
from bootsmith.site.inventory import resolve
from bootsmith.site.inventory_explain import fleet_of, netboot_of, surroundings_of
from bootsmith.site.inventory_files import RECIPE
from bootsmith.site.inventory_import import HostRecord
from bootsmith.site.inventory_models import HOST_NAME, HostEntry
from bootsmith.site.inventory_read import Fleet
from bootsmith.site.models import Site
from bootsmith.site.schema import Place, check_reference, read_given

VERB = "doit new host"
_USAGE = f"{VERB} NAME --template TEMPLATE [--mac MAC | --level LEVEL] [--address ADDRESS]"
_HEADING = (
    "What is commented out is inherited: doit explain-host {name} says what, and docs/recipes.md "
    "what each key is for."
)


class _Typed(Place):
    """An option, where errors about keys of a recipe name the key."""

    @property
    def subject(self) -> str:
        """As it was typed."""
        return f"{self.shown} --{self.keys[0]}" if self.keys else self.shown

    def at(self, *keys: str | int) -> Place:
        """The option of this name."""
        return _Typed(file=self.file, shown=self.shown, content="", keys=(*self.keys, *keys))


def add_host(site: Site, name: str, given: Mapping[str, str]) -> list[str]:
    """Write `[host.NAME]`; what to say of it, and what comes next.

    `given` are options by name. Nothing is written unless the inventory is a good one with it.
    """
    netboot = netboot_of(site, VERB)
    fleet, surroundings = fleet_of(site), surroundings_of(site)
    resolve(fleet, surroundings)
    typed = _Typed(file=fleet.place.file, shown=VERB, content="")
    HOST_NAME.read(name, Place(file=typed.file, shown=f"{VERB} {name}", content=""))
    if "template" not in given:
        raise RecipeError(
            VERB,
            "which template?",
            expected=f"--template {' or '.join(site.templates)}",
            hint=_USAGE,
        )
    template = given["template"]
    check_reference(
        template,
        site.templates,
        typed.at("template"),
        problem="there is no such template",
        add=f"add one: doit new template {template}",
    )
    mac = _mac(fleet, given, typed)
    values = {"mac": mac, "template": template}
    if "address" in given:
        values["address"] = given["address"]
    said = read_given(HostEntry, values, typed)
    check_with(HostRecord(name, said, typed), fleet, surroundings)
    table = entry_text(HostEntry, said, header=f"[host.{name}]", heading=_HEADING.format(name=name))
    line = append_table(site.root, name, table, said=said)
    where = said.get("address") or ("an address of the pool" if netboot.pool else "no address")
    return [
        f"{said['mac']} is host {name} now, with {where}: {RECIPE}:{line}",
        f"next: doit && doit explain-host {name}",
        "      then doit publish, and reload the DHCP server (docs/servers.md)",
    ]


def _mac(fleet: Fleet, given: Mapping[str, str], typed: Place) -> str:
    """The one that was typed, or the next free one of the template."""
    if "mac" in given:
        if "level" in given:
            typed.at("level").fail("is of no use with --mac", hint="leave one of the two out")
        return given["mac"]
    template, convention = given["template"], fleet.convention
    if convention is None or template not in convention.templates:
        raise RecipeError(
            VERB,
            f"[mac] of {RECIPE} has no byte for the template {template}",
            expected="the machine's MAC address, or a convention that makes one",
            hint=f"say --mac MAC, or give {template} a byte there (docs/inventory.md)",
        )
    return next_mac(fleet, template, given.get("level"), typed, usage=_USAGE)
