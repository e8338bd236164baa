"""`doit mac`: MAC addresses as the site's convention makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bootsmith.drafts.hosts_recipe import append_table, check_with
from bootsmith.errors import RecipeError
from bootsmith.formats.mac import SERIALS, Convention, with_serial
from bootsmith.site.inventory import resolve
from bootsmith.site.inventory_explain import fleet_of, netboot_of, surroundings_of
from bootsmith.site.inventory_files import RECIPE
from bootsmith.site.inventory_import import HostRecord
from bootsmith.site.inventory_models import HOST_NAME
from bootsmith.site.inventory_read import Fleet
from bootsmith.site.models import Site
from bootsmith.site.schema import Place, check_reference

Say = Callable[[str], None]
VERB = "doit mac"
_NEW = "new"
_USAGE = f"{VERB} {_NEW} TEMPLATE [--level LEVEL] [--add NAME]"


def make_mac(
    *, site: Site, operands: Sequence[str], level: str | None, add: str | None, say: Say
) -> None:
    """Print the next free MAC of a template; with `add`, put a host with it in hosts.toml.

    Raises RecipeError where the convention knows no such template or level, where no serial is
    free, and where there is a host of that name already.
    """
    netboot_of(site, VERB)
    if len(operands) != 2 or operands[0] != _NEW:
        raise RecipeError(
            VERB,
            "says not what to do" if not operands else "is not said so",
            expected=_USAGE,
            got=" ".join(operands) or None,
            hint=f"{VERB} --help",
        )
    fleet, surroundings = fleet_of(site), surroundings_of(site)
    resolve(fleet, surroundings)
    place = Place(file=site.root, shown=VERB, content="")
    mac = next_mac(fleet, operands[1], level, place, usage=_USAGE)
    if add is None:
        say(mac)
        return
    typed = Place(file=fleet.place.file, shown=f"{VERB} --add", content="")
    host = HostRecord(HOST_NAME.read(add, typed), {"mac": mac}, typed)
    check_with(host, fleet, surroundings)
    line = append_table(site.root, add, f'[host.{add}]\nmac = "{mac}"\n', said=host.said)
    say(f"{mac} is host {add} now: {RECIPE}:{line}")


def next_mac(fleet: Fleet, template: str, level: str | None, place: Place, *, usage: str) -> str:
    """The next free MAC of a template; RecipeError at `place`, the command, if there is none."""
    convention = fleet.convention
    if convention is None:
        raise RecipeError(
            RECIPE,
            "says no convention for MAC addresses",
            expected="a table [mac]",
            hint="add one; docs/inventory.md describes it",
        )
    check_reference(
        template,
        convention.templates,
        place,
        problem="the convention has no such template",
        add=f"give it a byte in [mac] of {RECIPE}",
    )
    prefix = convention.prefix(_level(convention, level, place, usage), template)
    serial = convention.next_serial(prefix, [record.said["mac"] for record in fleet.hosts])
    if serial is None:
        raise RecipeError(
            place.shown,
            f"no serial is free behind {prefix}",
            expected=f"one of {SERIALS[0]} to {SERIALS[-1]}",
            hint="give the template another byte, or remove hosts that are no more",
        )
    return with_serial(prefix, serial)


def _level(convention: Convention, level: str | None, place: Place, usage: str) -> str:
    if level is None:
        if len(convention.levels) > 1:
            raise RecipeError(
                place.shown,
                "there are several levels",
                expected=f"--level {' or '.join(convention.levels)}",
                hint=usage,
            )
        [level] = convention.levels
    check_reference(
        level,
        convention.levels,
        place,
        problem="the convention has no such level",
        add=f"give it a byte in [mac] of {RECIPE}",
    )
    return level
