"""`doit mac`: MAC addresses as the site's convention makes them."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bootsmith.errors import RecipeError
from bootsmith.files.atomic import write_file
from bootsmith.formats.mac import SERIALS, Convention, with_serial
from bootsmith.site.inventory import Surroundings, resolve
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
    mac = _next_mac(fleet, operands[1], level, Place(file=site.root, shown=VERB, content=""))
    if add is None:
        say(mac)
        return
    _check_name(add, mac, fleet, surroundings)
    line = _append(site.root / RECIPE, add, mac)
    say(f"{mac} is host {add} now: {RECIPE}:{line}")


def _next_mac(fleet: Fleet, template: str, level: str | None, place: Place) -> str:
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
    prefix = convention.prefix(_level(convention, level, place), template)
    serial = convention.next_serial(prefix, [record.said["mac"] for record in fleet.hosts])
    if serial is None:
        raise RecipeError(
            VERB,
            f"no serial is free behind {prefix}",
            expected=f"one of {SERIALS[0]} to {SERIALS[-1]}",
            hint="give the template another byte, or remove hosts that are no more",
        )
    return with_serial(prefix, serial)


def _level(convention: Convention, level: str | None, place: Place) -> str:
    if level is None:
        if len(convention.levels) > 1:
            raise RecipeError(
                VERB,
                "there are several levels",
                expected=f"--level {' or '.join(convention.levels)}",
                hint=_USAGE,
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


def _check_name(name: str, mac: str, fleet: Fleet, surroundings: Surroundings) -> None:
    """The inventory would be a good one with this host too; nothing is written before."""
    typed = Place(file=fleet.place.file, shown=f"{VERB} --add", content="")
    host = HostRecord(HOST_NAME.read(name, typed), {"mac": mac}, typed)
    resolve(replace(fleet, hosts=(*fleet.hosts, host)), surroundings)


def _append(recipe: Path, name: str, mac: str) -> int:
    """Add the host behind all else; the line where it stands."""
    path = Path(os.path.realpath(recipe))  # where the recipe is a link, it stays one
    text = path.read_text("utf-8")
    before = text if not text or text.endswith("\n") else f"{text}\n"
    added = f'{before}\n[host.{name}]\nmac = "{mac}"\n'
    try:
        tomllib.loads(added)
    except tomllib.TOMLDecodeError:
        raise RecipeError(
            RECIPE,
            "writes hosts so that no table [host.NAME] can follow",
            expected="each host as a table of its own",
            hint=f'add the host there yourself: {name} = {{ mac = "{mac}" }}',
        ) from None
    write_file(path, added.encode(), mode=stat.S_IMODE(path.stat().st_mode))
    return before.count("\n") + 2
