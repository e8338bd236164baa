"""`doit hosts`: every host and every MAC prefix, as a table for people and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from bootsmith.formats.inventory import Host, Inventory, Role
from bootsmith.site.inventory import resolve
from bootsmith.site.inventory_explain import fleet_of, netboot_of, shown_address, surroundings_of
from bootsmith.site.models import NetbootSettings, Site
from bootsmith.site.schema import Place, check_reference

Say = Callable[[str], None]
VERB = "doit hosts"
_COLUMNS = ("NAME", "MAC", "ADDRESS", "MANAGEMENT", "TEMPLATE", "BOOTS", "MEDIA", "OVERLAY")
_UNSAID = "-"


def list_hosts(*, site: Site, template: str | None, as_json: bool, say: Say) -> None:
    """Print every host, or those of one template, with what it boots; then prefixes."""
    netboot = netboot_of(site, VERB)
    if template is not None:
        _check_template(template, site)
    inventory = resolve(fleet_of(site), surroundings_of(site))
    if as_json:
        say(_document(inventory, template))
        return
    for line in _table(inventory, template, netboot):
        say(line)


def _check_template(template: str, site: Site) -> None:
    check_reference(
        template,
        site.templates,
        Place(file=site.root, shown=f"{VERB} --template", content=""),
        problem="there is no such template",
        add="leave it out",
    )


def _is_asked(role: Role, template: str | None) -> bool:
    return template in (None, role.template)


def _document(inventory: Inventory, template: str | None) -> str:
    hosts = [{**asdict(host), "own_apkovl": host.has_own_apkovl} for host in inventory.hosts]
    rules = [asdict(rule) for rule in inventory.rules]
    document = {
        "schema": 1,
        "hosts": [host for host in hosts if template in (None, host["template"])],
        "rules": [rule for rule in rules if template in (None, rule["template"])],
        "unknown": asdict(inventory.unknown),
    }
    return json.dumps(document, indent=2, sort_keys=True)


def _table(inventory: Inventory, template: str | None, netboot: NetbootSettings) -> Iterator[str]:
    hosts = [host for host in inventory.hosts if _is_asked(host, template)]
    rules = [rule for rule in inventory.rules if _is_asked(rule, template)]
    rows = [_COLUMNS, *(_row(host, netboot) for host in hosts)]
    unfixed = shown_address(None, netboot)
    rows += [("", f"{rule.prefix}:*", unfixed, "", *_role(rule), "") for rule in rules]
    if _is_asked(inventory.unknown, template):
        rows.append(("", "*", unfixed, "", *_role(inventory.unknown), ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
    yield _summary(len(inventory.hosts), len(hosts), len(rules))


def _row(host: Host, netboot: NetbootSettings) -> Sequence[str]:
    own = "own" if host.has_own_apkovl else "template"
    address, management = shown_address(host.address, netboot), host.management or _UNSAID
    return (host.name, host.mac, address, management, *_role(host), own)


def _role(role: Role) -> tuple[str, str, str]:
    """Template, what it boots, and its media."""
    boots = "disk" if role.boot == "disk" else f"{role.loader}, {role.uefi_loader}"
    if role.install is not None:
        boots += f" (if armed: {role.install})"
    return role.template, boots, role.media


def _summary(count: int, shown: int, rules: int) -> str:
    hosts = f"{shown} of {count} hosts" if shown != count else f"{count} host{'s' * (count != 1)}"
    return f"{hosts}, {rules} MAC prefix{'es' * (rules != 1)}"
