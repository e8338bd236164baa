"""May guests run on KVM here? Asked by running one, remembered per machine.

/dev/kvm can exist and still hang a guest at its first instruction, abort QEMU, or emulate each
instruction (a KVM without the processor's help, inside of a virtual machine: there a kernel
never gets past its first second). `accel=kvm:tcg` does not fall back then. So a boot sector has
to enter 64-bit mode and count as far as TCG does in a fraction of a second; until it does so in
time, guests run on TCG, which works everywhere.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast

from bootsmith.errors import SmokeError, ToolFailed
from bootsmith.files.atomic import write_file
from bootsmith.tools.qemu import PROGRAM, processor_words, qemu_version
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
# From real mode into 64-bit mode, as a kernel goes: every step by the Intel manual, volume 3,
# "Initializing IA-32e Mode". Addresses are those of a boot sector, loaded at 0x7c00.
_PROBE_CODE = bytes.fromhex(
    "fa 31c0 8ed8 8ec0 8ed0 bc007c fc"  # cli; ds, es and ss are 0; a stack; cld
    "bf0010 b90018 f3ab"  # clear three pages from 0x1000
    "c70600100320 c70600200330 c70600308300"  # page tables: the first 2 MiB as they are
    "0f20e0 0c20 0f22e0"  # cr4.PAE
    "66b800100000 0f22d8"  # cr3 leads to the tables
    "66b9800000c0 0f32 660d00010000 0f30"  # EFER.LME
    "0f20c0 660d01000080 0f22c0"  # cr0.PG and .PE
    "660f0116807c ea5f7c0800"  # lgdt; ljmp to what follows, in 64-bit mode
    "b900000004 48ffc9 75fb"  # mov ecx, 2^26; count down
    f"b0{_EXIT_VALUE:02x} e6{_EXIT_PORT:02x} f4 ebfd"  # write the exit port; hlt for ever
    "0000000000000000 00000000009a2000"  # the table of segments: none, 64-bit code
    "0f00 707c0000"  # its size and address
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
            # The same processor as in earnest: with KVM one may run and another abort QEMU.
            *processor_words(accelerator),
            *("-device", f"isa-debug-exit,iobase={_EXIT_PORT},iosize=1"),
            *("-drive", f"if=ide,format=raw,file={disk}"),
        ]
        try:
            run_program(
                argv,
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
    """Changes with the machine, its boot, its QEMU, its processor, who may open /dev/kvm, and
    with what is asked of it.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    processor = " ".join(processor_words("kvm"))
    may_open = os.access(_KVM, os.R_OK | os.W_OK)
    asked = zlib.crc32(_PROBE_CODE)
    return f"{boot} {os.geteuid()} {may_open} {qemu_version()} {processor} {asked}"
