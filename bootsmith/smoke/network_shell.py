"""`doit shell --netboot`: a machine of the inventory, booted from the network on one's terminal."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bootsmith.errors import SmokeError
from bootsmith.files.manifest import read_manifest
from bootsmith.formats.arming import HOOK_INVENTORY
from bootsmith.formats.inventory import Inventory, read_inventory
from bootsmith.formats.manifest import Manifest
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.netboot_tree import NETBOOT
from bootsmith.site.network_guest import Known, NetworkGuest
from bootsmith.site.scenarios import Scenario
from bootsmith.smoke.accelerator import Accelerator
from bootsmith.smoke.guest import RunLogs
from bootsmith.smoke.network_boot import NetworkBoot
from bootsmith.smoke.network_guests import (
    ChosenGuest,
    check_addresses,
    choose_guests,
    describe_guest,
)
from bootsmith.smoke.scenarios import FIRMWARE
from bootsmith.tools.ganesha import why_not_exportable
from bootsmith.tools.qemu import check_firmware, qemu_argv
from bootsmith.tools.run import run_on_terminal

_VERB = "doit shell --netboot"


def boot_from_network(
    name: str,
    *,
    generation: Path,
    network: Network,
    scratch: Path,
    memory_mebibytes: int,
    accelerator: Accelerator,
    uefi: bool,
    say: Callable[[str], None],
) -> int:
    """Boot the host `name`, or a machine of the template `name`; QEMU's status when it is left.

    It boots from a network of its own, served by dnsmasq, nginx and nfs-ganesha with the
    generation's own configurations. `scratch` is a directory on the generation's file system.
    Raises SmokeError for a name that stands for no machine, or where this user may not serve.
    """
    reason = why_not_exportable(scratch)
    if reason is not None:
        raise SmokeError(_VERB, f"servers cannot be run: {reason}", hint=f"as root: {_VERB} {name}")
    manifest = read_manifest(generation)
    row = _row(uefi=uefi, known="host")
    check_firmware(FIRMWARE[row.guests[0].firmware])
    path = generation / NETBOOT / HOOK_INVENTORY
    chosen = _machine_of(name, read_inventory(path.read_bytes(), subject=path), manifest, uefi=uefi)
    check_addresses(row, [chosen], manifest, network)
    boot = NetworkBoot(
        scenario=row,
        generation=generation,
        manifest=manifest,
        network=network,
        machines=(chosen,),
    )
    boot.check_tree()
    machine = boot.machine(0, memory_mebibytes=memory_mebibytes, accelerator=accelerator)
    with (
        tempfile.TemporaryDirectory(prefix="shell-", dir=scratch) as directory,
        boot.serving(RunLogs(Path(directory))) as inside,
    ):
        say(describe_guest(chosen))
        return run_on_terminal(["env", *inside, *qemu_argv(machine)], needed_by=_VERB)


def _row(*, uefi: bool, known: Known) -> Scenario:
    guest = NetworkGuest(known=known, firmware="uefi" if uefi else "bios")
    return Scenario(name="shell", summary="on a terminal", medium="network", guests=(guest,))


def _machine_of(name: str, inventory: Inventory, manifest: Manifest, *, uefi: bool) -> ChosenGuest:
    """The host of this name; else a machine of this template, best one that is written down."""
    row = _row(uefi=uefi, known="host")
    for host in inventory.hosts:
        if host.name == name:
            if host.boot != "template":
                raise SmokeError(
                    f"{_VERB} {name}",
                    "boots its own disk, and has none here",
                    hint="name another host, or a template",
                )
            return ChosenGuest(guest=row.guests[0], mac=host.mac, role=host)
    for known in ("host", "prefix", "unknown"):
        try:
            row = _row(uefi=uefi, known=known)
            return choose_guests(row, inventory, manifest, template=name)[0]
        except SmokeError:
            continue
    names = [*_templates(manifest), *(host.name for host in inventory.hosts)]
    near = difflib.get_close_matches(name, names, n=1)
    raise SmokeError(
        f"{_VERB} {name}",
        "no machine of the inventory is called so, or boots such a template",
        hint=f"did you mean: {_VERB} {near[0]}" if near else "doit hosts lists them",
    )


def _templates(manifest: Manifest) -> Iterator[str]:
    return (part.name for part in manifest.artifacts if part.kind == "apkovl")
