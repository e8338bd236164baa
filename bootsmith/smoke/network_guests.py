"""Machines that a scenario boots from the network: which of the inventory, and what they must say.

What a machine must report comes from the inventory and the manifest, and from the overlay that
the manifest names. It never comes from the boot configurations: those are what is to be proven.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootsmith.errors import SmokeError
from bootsmith.formats.arming import hardware_name
from bootsmith.formats.inventory import Host, Inventory, Role, Rule
from bootsmith.formats.ipv4 import parse_ipv4
from bootsmith.formats.manifest import Artifact, Manifest
from bootsmith.formats.netboot_network import GENERATION, HERE, Network
from bootsmith.site.network_guest import NetworkGuest
from bootsmith.site.scenarios import Scenario, is_virtual
from bootsmith.smoke.report import Expected, beginning, ending, exactly, one_of

_MAC_BYTES = 6
_HOSTNAME, _OVERLAY = "etc/hostname", "etc/bootsmith/overlay"
_NAMED_BY_DHCP = "etc/udhcpc/post-bound/hostname"
"""The hook of the overlay `base`, by which machines that share an overlay get their own names."""
_NFS = ("nfs", "nfs4")
# Where a modloop is put that was downloaded; /lib may be a link.
_DOWNLOADED = ("/lib/", "/usr/lib/")


@dataclass(frozen=True, kw_only=True)
class ChosenGuest:
    """A machine as the head node knows it: its card's address, and its role."""

    guest: NetworkGuest
    mac: str
    role: Role

    @property
    def host(self) -> Host | None:
        """Its entry of the inventory; None where it has none."""
        return self.role if isinstance(self.role, Host) else None

    @property
    def loader(self) -> str:
        """What its role names for its firmware."""
        return self.role.uefi_loader if self.guest.firmware == "uefi" else self.role.loader


def choose_guests(
    scenario: Scenario,
    inventory: Inventory,
    manifest: Manifest,
    *,
    template: str | None = None,
) -> tuple[ChosenGuest, ...]:
    """A machine for each guest of a row, each another one; SmokeError where none fits.

    Of those that fit, one with a kernel for virtual machines comes first. `template` is what the
    first guest must boot.
    """
    flavors = {
        part.name: str(part.details.get("flavor"))
        for part in manifest.artifacts
        if part.kind == "apkovl"
    }
    chosen: list[ChosenGuest] = []
    for guest in scenario.guests:
        wanted = template if not chosen else None
        fitting = [
            one
            for one in _candidates(guest, inventory)
            if _fits(one, wanted, chosen) and one.role.template in flavors
        ]
        # Stable: of equals the first of the inventory.
        fitting.sort(key=lambda one: not is_virtual(flavors[one.role.template]))
        if not fitting:
            raise _none_fits(scenario, guest, manifest, wanted, chosen)
        chosen.append(fitting[0])
    return tuple(chosen)


def _candidates(guest: NetworkGuest, inventory: Inventory) -> Iterator[ChosenGuest]:
    taken = {host.mac for host in inventory.hosts}
    prefixes = tuple(rule.prefix for rule in inventory.rules)
    if guest.known == "host":
        for host in inventory.hosts:
            yield ChosenGuest(guest=guest, mac=host.mac, role=host)
    elif guest.known == "prefix":
        for rule in inventory.rules:
            longer = tuple(one for one in prefixes if _is_within(one, rule.prefix))
            mac = _free_mac(rule.prefix, taken, longer)
            if mac is not None:
                yield ChosenGuest(guest=guest, mac=mac, role=rule)
    else:
        # The first byte says that an address was made by whoever runs the machine.
        for first in ("02", "06", "0a", "0e"):
            mac = _free_mac(first, taken, prefixes)
            if mac is not None:
                yield ChosenGuest(guest=guest, mac=mac, role=inventory.unknown)


def _fits(one: ChosenGuest, template: str | None, others: Sequence[ChosenGuest]) -> bool:
    guest, role = one.guest, one.role
    has_own_overlay = isinstance(role, Host) and role.has_own_apkovl
    return (
        role.boot == "template"
        and template in (None, role.template)
        and guest.loader in (None, one.loader)
        and guest.media in (None, role.media)
        and guest.has_own_overlay in (None, has_own_overlay)
        and all(one.mac != other.mac for other in others)
        and not (
            guest.has_other_template
            and any(role.template == other.role.template for other in others)
        )
    )


def _free_mac(prefix: str, taken: set[str], longer: Sequence[str]) -> str | None:
    """An address that begins so, is nobody's, and begins with no longer prefix of a rule."""
    missing = _MAC_BYTES - len(prefix.split(":"))
    for number in range(1, 256):
        mac = f"{prefix}{':fe' * (missing - 1)}:{number:02x}"
        if mac not in taken and not any(_is_within(mac, other) for other in longer):
            return mac
    return None


def _is_within(mac: str, prefix: str) -> bool:
    return mac.startswith(f"{prefix}:")


def _none_fits(
    scenario: Scenario,
    guest: NetworkGuest,
    manifest: Manifest,
    template: str | None,
    others: Sequence[ChosenGuest],
) -> SmokeError:
    kind = {"host": "a host", "prefix": "a MAC prefix", "unknown": "unknown machines"}[guest.known]
    loader = "uefi_loader" if guest.firmware == "uefi" else "loader"
    words = [f'{loader} = "{guest.loader}"'] if guest.loader else []
    words += [f'media = "{guest.media}"'] if guest.media else []
    words += [f'template = "{template}"'] if template else []
    if guest.has_other_template and others:
        words.append(f'a template other than "{others[0].role.template}"')
    if guest.has_own_overlay:
        words.append("overlays or values of its own")
    expected = f"{kind} with {' and '.join(words)}" if words else f"{kind} to boot a template"
    return SmokeError(
        f"smoke {scenario.name}",
        f"generation {manifest.id} knows no machine for it",
        expected=expected,
        hint="say so of one in recipes/hosts.toml, or leave this scenario out",
    )


def check_addresses(
    scenario: Scenario, guests: Sequence[ChosenGuest], manifest: Manifest, network: Network
) -> None:
    """SmokeError if a machine could get no address at all."""
    for one in guests:
        if network.pool is None and (one.host is None or one.host.address is None):
            raise SmokeError(
                f"smoke {scenario.name}",
                f"generation {manifest.id} has no address for {describe_guest(one)}",
                expected="a pool in [netboot], or an address of its own",
                hint="give [netboot] a pool, or leave this scenario out",
            )


def expected_words(
    chosen: ChosenGuest, manifest: Manifest, *, generation: Path, network: Network
) -> dict[str, Expected]:
    """What this machine must report, by word; SmokeError where the generation lacks a part."""
    role, template = chosen.role, chosen.role.template
    overlay = _part(manifest, "apkovl", name=template)
    details = overlay.details
    kernel = _part(manifest, "kernel", set=details.get("set"))
    modloop = _part(manifest, "modloop", set=details.get("set"))
    modloop_name = modloop.path.rpartition("/")[2]
    here = HERE.replace(GENERATION, manifest.id)
    release = str(details.get("release"))
    host = chosen.host
    path = overlay.path
    if host is not None and host.has_own_apkovl:
        path = f"netboot/http/apkovl/{host.mac}.apkovl.tar.gz"
    hostname, digest, asks_dhcp = _said_by_overlay(generation / path)
    if host is not None and asks_dhcp:
        hostname = host.name
    words = {
        "template": exactly(template),
        "hostname": exactly(hostname),
        "overlay_sha": exactly(digest),
        "kernel": exactly(str(kernel.details.get("kernel_release"))),
        "mac": exactly(chosen.mac),
        "boot_image": _boot_image(chosen, network, here),
    }
    if host is not None and host.address is not None:
        words["address"] = exactly(host.address)
    else:
        words["address"] = _pool(network)
    if role.media == "nfs":
        export = f"nfs:{network.server}:{network.root}/{here}/nfs/{release}"
        return words | {
            "modloop": ending(f"/boot/{modloop_name}"),
            "modloop_fs": one_of(*_NFS),
            "medium": beginning(export),
        }
    return words | {
        "modloop": one_of(*(f"{place}{modloop_name}" for place in _DOWNLOADED)),
        "modloop_fs": exactly("tmpfs"),
        "medium": exactly(f"{network.url}/{here}/http/{release}/apks"),
    }


def _boot_image(chosen: ChosenGuest, network: Network, here: str) -> Expected:
    """The kernel's name as the loader gives it to the kernel; iPXE gives none."""
    start = {"pxelinux": f"::{here}/", "lpxelinux": f"{network.url}/{here}/", "grub": f"/{here}/"}
    if chosen.loader == "ipxe":
        return exactly("none")
    return beginning(start[chosen.loader])


def _pool(network: Network) -> Expected:
    assert network.pool is not None, "check_addresses has asked"
    first, last = map(parse_ipv4, network.pool)
    assert first is not None, "the site was read"
    assert last is not None, "the site was read"

    def accepts(address: str) -> bool:
        number = parse_ipv4(address)
        return number is not None and first <= number <= last

    return Expected(words=f"one of {' to '.join(network.pool)}", accepts=accepts)


def _part(manifest: Manifest, kind: str, *, name: str | None = None, **details: Any) -> Artifact:
    for part in manifest.artifacts:
        if part.kind != kind or name not in (None, part.name) or part.path.endswith(".json"):
            continue
        if all(part.details.get(key) == value for key, value in details.items()):
            return part
    raise SmokeError(
        f"generation {manifest.id}",
        f"has no {kind} of {name or ' '.join(map(str, details.values()))}",
        hint="build a whole generation: doit build",
    )


def _said_by_overlay(path: Path) -> tuple[str, str, bool]:
    """Host name and digest, as a machine with this overlay would say them; and whether it lets
    DHCP name it.
    """
    try:
        with tarfile.open(path) as archive:
            members = {name: archive.extractfile(name) for name in (_HOSTNAME, _OVERLAY)}
            said = {name: file.read().decode().strip() for name, file in members.items() if file}
            return said[_HOSTNAME], said[_OVERLAY], _NAMED_BY_DHCP in archive.getnames()
    except (OSError, KeyError, tarfile.TarError) as error:
        raise SmokeError(
            path, f"does not say whose it is ({error})", hint="build again: doit build"
        ) from error


def describe_guest(chosen: ChosenGuest) -> str:
    """For people: which machine it is."""
    role = chosen.role
    if isinstance(role, Host):
        return f"host {role.name}"
    if isinstance(role, Rule):
        return f"a machine whose MAC begins {role.prefix}"
    return f"the unknown machine {hardware_name(chosen.mac)}"
