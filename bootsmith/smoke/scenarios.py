"""A row of the table of boots, and the machine that it describes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from bootsmith.errors import SmokeError
from bootsmith.site.scenarios import SCENARIOS, Scenario
from bootsmith.smoke.accelerator import Accelerator
from bootsmith.smoke.parts import Chosen
from bootsmith.tools.qemu import (
    BlankDrive,
    DirectKernel,
    Drive,
    Firmware,
    Machine,
    UserNic,
)

_EMPTY_DISK = BlankDrive(size_bytes=1 << 30, attach="sata")
FIRMWARE: Mapping[str, Firmware] = {"bios": "bios", "uefi": "ovmf"}
"""What QEMU is given for each firmware that a row names."""

# What Alpine's own boot loader configurations say since 3.5, and a console to watch.
_CONSOLES = "console=tty0 console=ttyS0,115200"
_DIRECT_WORDS = f"modules=loop,squashfs,sd-mod,usb-storage {_CONSOLES}"

SERVER = "10.0.2.2"
"""What a guest on QEMU's own network calls the machine that QEMU runs on."""
EXPORT = "medium"
NFS_PORTS: Mapping[str, int] = {"3": 2049, "4.1": 12049}
"""By version: the usual one, which a client of version 3 asks rpcbind for, and another."""
_NFS_OPTIONS: Mapping[str, str] = {"3": "", "4.1": f":vers=4.1,port={NFS_PORTS['4.1']}"}
HTTP_PORT = 80


def modloop_file_system(scenario: Scenario) -> str | None:
    """On what the modloop must lie, in the kernel's words; None where it is all the same."""
    if scenario.medium != "nfs":
        return None
    if scenario.modloop == "medium":
        return {"3": "nfs", "4.1": "nfs4"}[scenario.nfs_version]
    # What is downloaded lies in the root, which is in memory.
    return {"http": "tmpfs", "key": "vfat"}[scenario.modloop]


def find_scenario(name: str) -> Scenario:
    """The row called `name`; SmokeError with the nearest name otherwise."""
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    names = [scenario.name for scenario in SCENARIOS]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    raise SmokeError(
        f"smoke {name}",
        "is not a scenario",
        expected=f"one of {', '.join(names)}",
        hint=f"doit smoke:{near[0]}",
    )


def machine_of(
    scenario: Scenario,
    chosen: Chosen,
    *,
    generation: Path,
    nonce: str,
    memory_mebibytes: int,
    accelerator: Accelerator,
    console: Path | None = None,
    screen: Path | None = None,
    screen_port: Path | None = None,
) -> Machine:
    """The machine of a row; `generation` is the directory that holds what was chosen.

    A key boots as it is, byte for byte: it gets the nonce as the machine's serial number.
    A direct kernel gets it on its command line, and its medium is read-only.
    """
    drives: list[Drive | BlankDrive] = []
    if scenario.beside_disk:
        # The empty disk comes first: only the boot index makes the firmware take the key.
        drives.append(_EMPTY_DISK)
    if chosen.key is not None:
        key = Drive(
            file=generation / chosen.key.path,
            attach=scenario.attach,
            boot_index=None if scenario.direct else 0,
            read_only=scenario.direct,
        )
        drives.append(key)
    kernel = None
    initramfs = chosen.ramroot or chosen.pxerd
    if scenario.direct and chosen.kernel is not None and initramfs is not None:
        words = _CONSOLES if chosen.ramroot else f"{_DIRECT_WORDS}{_nfs_words(scenario, chosen)}"
        kernel = DirectKernel(
            image=generation / chosen.kernel.path,
            initramfs=generation / initramfs.path,
            command_line=f"{words} bootsmith_nonce={nonce}",
        )
    return Machine(
        memory_mebibytes=memory_mebibytes,
        accelerator=accelerator,
        firmware=FIRMWARE[scenario.firmware],
        drives=tuple(drives),
        kernel=kernel,
        # An isolated one would not reach the servers. They are on a network of their own, with
        # QEMU, so that it leads nowhere else all the same.
        nics=(UserNic(isolated=scenario.medium != "nfs"),),
        smbios_system={} if scenario.direct else {"serial": f"bootsmith-{nonce}"},
        console=console,
        # OVMF writes to every serial port by itself: a second one would only say it again.
        screen=screen if scenario.firmware == "bios" else None,
        screen_port=screen_port,
    )


def _nfs_words(scenario: Scenario, chosen: Chosen) -> str:
    if scenario.medium != "nfs":
        return ""
    medium = f"nfs:{SERVER}:/{EXPORT}{_NFS_OPTIONS[scenario.nfs_version]}"
    place = f"http://{SERVER}" if scenario.modloop == "http" else "/boot"
    return f" ip=dhcp alpine_dev={medium} modloop={place}/{chosen.modloop_name}"
