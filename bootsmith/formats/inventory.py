"""The inventory as steps hand it on: every host and rule with all its values decided.

Recipes inherit; nothing in here does. One JSON object a line, sorted, so that one changed
host changes one line: `{"host": {...}}`, `{"rule": {...}}` and first `{"schema": 1}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bootsmith.errors import FormatError

SCHEMA = 1
BIOS_LOADERS = ("pxelinux", "lpxelinux", "ipxe")
UEFI_LOADERS = ("ipxe", "grub")
MEDIA = ("http", "nfs")
BOOTS = ("template", "disk")
HEAD_NAME = "head"
"""The head node's own name in the zone; no host can have it."""
MANAGEMENT_SUFFIX = "-mgmt"
"""Behind a host's name, that of its management address; no host's name ends so if it is taken."""
RESERVED_NAMES = (HEAD_NAME, "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a machine boots, and how: common to hosts, rules and unknown machines."""

    template: str
    boot: str = "template"
    """`template`, or `disk` for machines that network boot hands on to their own disk."""
    install: str | None = None
    """The installer (or template) that they boot once while armed."""
    loader: str = "pxelinux"
    """What BIOS machines load first: one of BIOS_LOADERS."""
    uefi_loader: str = "ipxe"
    """What UEFI machines load first: one of UEFI_LOADERS."""
    media: str = "http"
    """Where packages and modloop come from: one of MEDIA."""
    options: tuple[str, ...] = ()
    """Kernel words besides those of the template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Role):
    """Machines that are not in the inventory but whose MAC begins like this."""

    prefix: str
    """Whole bytes, lower case, colons: `52:54:01:02`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Role):
    """One machine."""

    name: str
    """A host name without the domain."""
    mac: str
    """Lower case, colons."""
    address: str | None = None
    """Its fixed IPv4 address."""
    management: str | None = None
    """The IPv4 address of its BMC (AMT, IPMI), which is `NAME-mgmt` in the zone."""
    overlays: tuple[str, ...] = ()
    """Overlays laid over those of the template."""
    values: Mapping[str, str] = field(default_factory=dict)
    """The site's own words about it; they reach the machine in its overlay."""

    @property
    def has_own_apkovl(self) -> bool:
        """Whether its apkovl is not simply that of its template."""
        return bool(self.overlays or self.values)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Hosts sorted by name, rules by prefix, and the role of machines that nothing knows."""

    unknown: Role
    rules: tuple[Rule, ...] = ()
    hosts: tuple[Host, ...] = ()


def write_inventory(inventory: Inventory) -> bytes:
    """The file's bytes."""
    lines: list[Any] = [{"schema": SCHEMA}, {"unknown": _plain(inventory.unknown)}]
    lines += [{"rule": _plain(rule)} for rule in inventory.rules]
    lines += [{"host": _plain(host)} for host in inventory.hosts]
    return b"".join(
        json.dumps(line, sort_keys=True, separators=(",", ":")).encode() + b"\n" for line in lines
    )


def read_inventory(content: bytes, *, subject: object) -> Inventory:
    """What `write_inventory` wrote; FormatError for anything else."""
    hosts, rules, unknown = [], [], None
    try:
        lines = iter(content.splitlines())
        if json.loads(next(lines, b"null")) != {"schema": SCHEMA}:
            raise ValueError("another schema")
        for line in lines:
            [(kind, values)] = json.loads(line).items()
            if kind == "host":
                hosts.append(Host(**_from_plain(values)))
            elif kind == "rule":
                rules.append(Rule(**_from_plain(values)))
            else:
                unknown = Role(**_from_plain(values))
        if unknown is None:
            raise ValueError("no role of unknown machines")
    except (ValueError, TypeError, AttributeError) as error:
        raise FormatError(
            subject, f"is not an inventory ({error})", hint="build it again: doit inventory"
        ) from error
    return Inventory(unknown=unknown, rules=tuple(rules), hosts=tuple(hosts))


def merged_words(*lists: Iterable[str]) -> tuple[str, ...]:
    """Every word once, in the order of their first use."""
    return tuple(dict.fromkeys(word for words in lists for word in words))


_DEFAULTS = {kind: [(one.name, one.default) for one in fields(kind)] for kind in (Role, Rule, Host)}


def _plain(role: Role) -> dict[str, Any]:
    # Thousands of times: what is as it is by default is left out without a copy.
    return {
        name: dict(value) if name == "values" else value
        for name, default in _DEFAULTS[type(role)]
        if (value := getattr(role, name)) != default and value != {}
    }


def _from_plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if type(value) is list else value for name, value in values.items()}
