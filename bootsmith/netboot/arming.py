"""`doit arm`, `doit disarm` and `doit armed`: which machines boot an installer next time.

Arming makes three links a machine, disarming removes them; generations are not touched and
servers need not know. Several machines are armed together or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bootsmith.errors import PublishError
from bootsmith.formats.arming import armed_links, armed_names
from bootsmith.formats.inventory import Host
from bootsmith.netboot.power import power_commands, power_cycle
from bootsmith.netboot.serving_root import ServingRoot, find_serving_root, plain_mac

Say = Callable[[str], None]
# `01-52-54-01-02-00-07.ipxe`: where the MAC stands.
_MAC_IN_NAME = slice(3, 20)


def arm_machines(
    *, roots: Mapping[str, Any], root: str | None, install: str | None, power: bool,
    power_command: Sequence[str], operands: Sequence[str], say: Say,
) -> None:  # fmt: skip
    """Let these machines boot an installer: theirs, or `install`. PublishError changes nothing.

    With `power`, each is power cycled by `power_command` once all are armed.
    """
    if not operands:
        raise PublishError(
            "doit arm", "which machine?", hint="doit arm HOST: a name, MAC or address"
        )
    place = find_serving_root(chosen=root, **roots)
    hosts = [*{host.mac: host for host in map(place.find_host, operands)}.values()]
    commands = power_commands(power_command, hosts) if power else []
    links: dict[str, str | None] = {}
    news = []
    for host in hosts:
        installer = _installer_of(host, install)
        place.check_installer(installer)
        own = armed_links(host.mac, installer)
        is_armed = all(place.links.get(name) == target for name, target in own.items())
        links.update(own)
        news.append(
            f"{host.name} ({host.mac}) {'was armed already' if is_armed else 'is armed'}: "
            f"it boots {installer} until it is disarmed"
        )
    hook_may_write = place.change_links(links)
    for line in news:
        say(line)
    if hook_may_write is False:
        say(place.hook_warning)
    for command, host in zip(commands, hosts, strict=bool(commands)):
        power_cycle(command, host)
        say(f"{host.name} is power cycled")


def disarm_machines(
    *, roots: Mapping[str, Any], root: str | None, everything: bool, operands: Sequence[str],
    say: Say,
) -> None:  # fmt: skip
    """Let these machines, or all, boot as their role says. PublishError changes nothing."""
    if everything == bool(operands):
        raise PublishError(
            "doit disarm",
            "--all takes no names" if everything else "name machines, or say --all",
            hint="doit armed lists the machines that are armed",
        )
    place = find_serving_root(chosen=root, **roots)
    armed = _armed_macs(place)
    # Of a machine that has left the inventory only the MAC is known.
    macs = [*armed] if everything else [_mac_of(place, word, armed) for word in operands]
    place.change_links({name: None for mac in macs for name in armed_names(mac)})
    for mac in dict.fromkeys(macs):
        name = f"{place.names[mac]} ({mac})" if mac in place.names else mac
        say(f"{name} is disarmed" if mac in armed else f"{name} was not armed")
    if not macs:
        say("no machine is armed")


def list_armed(*, roots: Mapping[str, Any], root: str | None, as_json: bool, say: Say) -> None:
    """Print every machine that is armed, sorted by name."""
    place = find_serving_root(chosen=root, **roots)
    rows = [
        {
            "name": place.names.get(mac),
            "mac": mac,
            "install": installer,
            "published": installer in place.installers,
        }
        for mac, installer in _armed_macs(place).items()
    ]
    rows.sort(key=lambda row: (row["name"] or "", row["mac"]))
    if as_json:
        say(json.dumps({"schema": 1, "root": place.where, "armed": rows}, indent=1))
        return
    for line in _table(rows):
        say(line)


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        yield "no machine is armed"
        return
    cells = [("HOST", "MAC", "INSTALL", "")]
    for row in rows:
        note = "" if row["published"] else "not published: boots as its role says"
        cells.append((row["name"] or "-", row["mac"], row["install"], note))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    for line in cells:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        yield "  ".join(padded).rstrip()


def _installer_of(host: Host, install: str | None) -> str:
    """What to arm the host for. Its boot configuration looks for links if it has an `install`."""
    if host.install is None:
        raise PublishError(
            host.name,
            "has no installer, so its boot configuration does not look whether it is armed",
            hint='give it one in recipes/hosts.toml (install = "..."); then doit build and '
            "doit publish",
        )
    return install or host.install


def _armed_macs(place: ServingRoot) -> dict[str, str]:
    """MAC to installer of every machine that has a link, as the first of its links says."""
    found: dict[str, str] = {}
    for name, target in place.links.items():
        mac = plain_mac(name[_MAC_IN_NAME])
        if mac is not None and target is not None and name in armed_names(mac):
            ending = name[_MAC_IN_NAME.stop :]
            configuration = os.path.basename(target).removesuffix(ending)
            found.setdefault(mac, configuration.removeprefix("install-"))
    return found


def _mac_of(place: ServingRoot, word: str, armed: Mapping[str, str]) -> str:
    mac = plain_mac(word)
    return mac if mac is not None and mac in armed else place.find_host(word).mac
