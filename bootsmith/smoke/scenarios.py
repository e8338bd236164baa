"""The boots that a generation has to survive: a table, and the machine of each row."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import SmokeError
from bootsmith.smoke.accelerator import Accelerator
from bootsmith.smoke.parts import Chosen, Generation, Wanted, choose_parts
from bootsmith.tools.qemu import (
    Attachment,
    BlankDrive,
    DirectKernel,
    Drive,
    Firmware,
    Machine,
    UserNic,
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One row: which key, how it is attached, what else is in the machine."""

    name: str
    summary: str
    wanted: Wanted
    attach: Attachment
    firmware: Firmware = "bios"
    direct: bool = False
    """QEMU loads kernel and pxerd; the key is only the boot medium."""
    beside: Sequence[BlankDrive] = ()
    timeout_seconds: float = 240.0
    """Ends a silent guest, in seconds of its own time (see machine.py); a failing one
    ends by itself long before. Ten times what a boot takes without KVM."""


_EMPTY_DISK = BlankDrive(size_bytes=1 << 30, attach="sata")

SCENARIOS = (
    Scenario(
        name="key-usb-bios",
        summary="the key as a USB stick (xHCI), BIOS",
        wanted="hardware",
        attach="usb",
    ),
    Scenario(
        name="key-usb-beside-disk",
        summary="the key as a USB stick beside an empty hard disk, BIOS",
        wanted="hardware",
        attach="usb",
        beside=(_EMPTY_DISK,),
    ),
    Scenario(
        name="key-virtio-bios",
        summary="the key as a virtio disk, BIOS",
        wanted="virtual",
        attach="virtio",
    ),
    Scenario(
        name="key-uefi",
        # virtio, not USB: any kernel finds its medium then, and the firmware is the point
        summary="the key as a virtio disk, UEFI",
        wanted="any",
        attach="virtio",
        firmware="ovmf",
    ),
    Scenario(
        name="direct-pxerd",
        summary="kernel and pxerd loaded directly, the key as a virtio medium",
        wanted="virtual",
        attach="virtio",
        direct=True,
    ),
)

# What Alpine's own boot loader configurations say since 3.5, and a console to watch.
_DIRECT_WORDS = "modules=loop,squashfs,sd-mod,usb-storage console=tty0 console=ttyS0,115200"


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


def choose_for(scenario: Scenario, generation: Generation, *, template: str | None) -> Chosen:
    """What the scenario boots of this generation; SmokeError if nothing fits."""
    return choose_parts(
        generation,
        scenario=scenario.name,
        wanted=scenario.wanted,
        firmware="uefi" if scenario.firmware == "ovmf" else "bios",
        direct=scenario.direct,
        template=template,
    )


def fitting_scenarios(generation: Generation) -> list[str]:
    """Names of the scenarios that this generation has parts for."""
    names = []
    for scenario in SCENARIOS:
        try:
            choose_for(scenario, generation, template=None)
        except SmokeError:
            continue
        names.append(scenario.name)
    return names


def machine_of(
    scenario: Scenario,
    chosen: Chosen,
    *,
    nonce: str,
    memory_mebibytes: int,
    accelerator: Accelerator,
    console: Path | None = None,
    screen: Path | None = None,
    screen_port: Path | None = None,
) -> Machine:
    """The machine of a row.

    A key boots as it is, byte for byte: it gets the nonce as the machine's serial number.
    A direct kernel gets it on its command line, and its medium is read-only.
    """
    key = Drive(
        file=chosen.key.file,
        attach=scenario.attach,
        boot_index=None if scenario.direct else 0,
        read_only=scenario.direct,
    )
    kernel = None
    if scenario.direct and chosen.kernel is not None and chosen.pxerd is not None:
        kernel = DirectKernel(
            image=chosen.kernel.file,
            initramfs=chosen.pxerd.file,
            command_line=f"{_DIRECT_WORDS} bootsmith_nonce={nonce}",
        )
    return Machine(
        memory_mebibytes=memory_mebibytes,
        accelerator=accelerator,
        firmware=scenario.firmware,
        # The empty disk comes first: only the boot index makes the firmware take the key.
        drives=(*scenario.beside, key),
        kernel=kernel,
        nics=(UserNic(),),
        smbios_system={} if scenario.direct else {"serial": f"bootsmith-{nonce}"},
        console=console,
        # OVMF writes to every serial port by itself: a second one would only say it again.
        screen=screen if scenario.firmware == "bios" else None,
        screen_port=screen_port,
    )
