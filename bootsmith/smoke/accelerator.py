"""May guests run on KVM here? Asked by running one, remembered per machine.

/dev/kvm can exist and still hang a guest at its first instruction or abort QEMU, and
`accel=kvm:tcg` does not fall back then. So a boot sector of seven instructions has to
run to its end; until it does, guests run on TCG, which works everywhere.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast

from bootsmith.errors import SmokeError, ToolFailed
from bootsmith.files.atomic import write_file
from bootsmith.tools.qemu import PROGRAM, bound_to_us, qemu_version
from bootsmith.tools.run import run_program

Accelerator = Literal["tcg", "kvm"]
MEMORY_NAME = "accelerator.json"
_KVM = Path("/dev/kvm")
_AUTO = 'set accel = "auto" below [smoke] in recipes/site.toml'
_PROBE_SECONDS = 3.0
_EXIT_PORT = 0xF4
_EXIT_VALUE = 0x10
# isa-debug-exit ends QEMU with (value << 1) | 1 (QEMU hw/misc/debugexit.c).
_EXIT_STATUS = (_EXIT_VALUE << 1) | 1
# Count to 65536 and down again (mov cx,0; loop $), then write the exit port.
_PROBE_CODE = bytes(
    [0xB9, 0x00, 0x00, 0xE2, 0xFE, 0xB0, _EXIT_VALUE, 0xE6, _EXIT_PORT, 0xF4, 0xEB, 0xFD]
)
_SECTOR_BYTES = 512


def choose_accelerator(wanted: str, *, memory: Path) -> Accelerator:
    """The accelerator to use for `wanted` (`auto`, `tcg` or `kvm`).

    `memory` is a directory where the answer for this machine is kept. SmokeError if KVM
    is demanded and does not work, or the word is unknown.
    """
    if wanted not in ("auto", "tcg", "kvm"):
        raise SmokeError(
            "recipes/site.toml: smoke.accel",
            "is not an accelerator",
            expected="auto, tcg or kvm",
            got=wanted,
            hint=_AUTO,
        )
    if wanted == "tcg" or (wanted == "auto" and not _KVM.exists()):
        return "tcg"
    if _remembered_kvm(memory):
        return "kvm"
    if wanted == "kvm":
        raise SmokeError(
            "smoke",
            f"KVM is demanded, but a guest on it did not end within {_PROBE_SECONDS:g} s",
            hint=f"allow this user to open {_KVM}, or {_AUTO}",
        )
    return "tcg"


def runs_guests(accelerator: Accelerator, *, limit_seconds: float = _PROBE_SECONDS) -> bool:
    """Whether a guest on `accelerator` runs to its end within `limit_seconds`."""
    with TemporaryDirectory(prefix="bootsmith-probe-") as scratch:
        disk = Path(scratch, "disk")
        sector = _PROBE_CODE.ljust(_SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"
        disk.write_bytes(sector.ljust(1 << 20, b"\0"))
        argv = [
            PROGRAM,
            *("-no-user-config", "-nodefaults", "-no-reboot", "-display", "none"),
            *("-machine", f"pc,accel={accelerator}", "-m", "16"),
            *("-device", f"isa-debug-exit,iobase={_EXIT_PORT},iosize=1"),
            *("-drive", f"if=ide,format=raw,file={disk}"),
        ]
        try:
            run_program(
                bound_to_us(argv),
                accepted_statuses=(_EXIT_STATUS,),
                timeout_seconds=limit_seconds,
                needed_by="smoke tests",
            )
        except ToolFailed:
            return False  # it hung, aborted or was refused: all the same to us
        return True


def _remembered_kvm(memory: Path) -> bool:
    identity = _machine_identity()
    record = memory / MEMORY_NAME
    try:
        known = json.loads(record.read_bytes())
        if known["machine"] == identity:
            return cast("bool", known["kvm"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing remembered, or not by us: ask again
    answer = os.access(_KVM, os.R_OK | os.W_OK) and runs_guests("kvm")
    write_file(record, json.dumps({"machine": identity, "kvm": answer}).encode(), durable=False)
    return answer


def _machine_identity() -> str:
    """Changes with the machine, its boot, its QEMU and who may open /dev/kvm."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.geteuid()} {os.access(_KVM, os.R_OK | os.W_OK)} {qemu_version()}"
