"""`doit shell` and `doit console`: a machine on one's own terminal, and what one said in a test."""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bootsmith.errors import SmokeError
from bootsmith.files.manifest import read_manifest
from bootsmith.formats.netboot_network import Network
from bootsmith.site.models import LEAST_MEMORY_MEBIBYTES
from bootsmith.site.scenarios import SCENARIOS, Scenario
from bootsmith.smoke.accelerator import Accelerator, choose_accelerator
from bootsmith.smoke.evidence import CONSOLE_NAME, EVIDENCE_NAME, shown_path
from bootsmith.smoke.network_shell import boot_from_network
from bootsmith.smoke.parts import choose_parts
from bootsmith.smoke.scenarios import FIRMWARE, machine_of
from bootsmith.tools.qemu import Machine, UserNic, check_firmware, qemu_argv
from bootsmith.tools.run import run_on_terminal

Say = Callable[[str], None]
_LEAVE = "leave with Ctrl-A X; Ctrl-A H shows more keys"
# Of each firmware, the rows that boot a key as people would: the first that fits.
_KEY_ROWS = ("key-virtio-bios", "key-usb-bios", "key-uefi")


def open_shell(
    *,
    templates: Sequence[str],
    artifacts: Path,
    memory_mebibytes: int,
    accelerator: str,
    network: Mapping[str, Any] | None,
    operands: Sequence[str],
    uefi: bool,
    netboot: bool,
    memory: int | None,
    say: Say,
) -> None:
    """Boot a machine of the newest generation on this terminal; what it boots stays as it is.

    From a template's key; or, for `netboot`, a template or host from the network, of which
    `network` holds the keywords of Network (None where nothing boots from one). Raises SmokeError
    for an unknown name, or where nothing is built.
    """
    _check_memory(memory)
    _check_name(operands, templates, network, netboot=netboot)
    manifest = artifacts / "generations" / "latest" / "MANIFEST.json"
    if not manifest.exists():
        raise SmokeError("doit shell", "nothing is built yet", hint="doit build")
    _check_terminal()
    generation = manifest.resolve().parent
    chosen_accelerator = choose_accelerator(accelerator, memory=artifacts / "evidence")
    memory_mebibytes = memory or memory_mebibytes
    if netboot:
        assert network is not None, "its absence was refused"
        status = boot_from_network(
            operands[0],
            generation=generation,
            network=Network(**network),
            scratch=_made(artifacts / "cache"),
            memory_mebibytes=memory_mebibytes,
            accelerator=chosen_accelerator,
            uefi=uefi,
            say=lambda machine: say(f"{machine}, from {generation.name}; {_LEAVE}"),
        )
    else:
        row, machine = _key_machine(
            generation, operands[0], memory_mebibytes, chosen_accelerator, uefi=uefi
        )
        say(f"{operands[0]} of {generation.name}, {row.summary}; {_LEAVE}")
        status = run_on_terminal(qemu_argv(machine), needed_by="doit shell")
    if status:
        raise SmokeError(
            "doit shell",
            f"QEMU ended with status {status}",
            hint="its own words are above; make doctor",
        )


def _check_memory(memory: int | None) -> None:
    if memory is not None and memory < LEAST_MEMORY_MEBIBYTES:
        raise SmokeError(
            "doit shell --memory",
            "too little to boot in",
            expected=f"at least {LEAST_MEMORY_MEBIBYTES} (MiB)",
            got=str(memory),
            hint="leave it out, for what [smoke] in recipes/site.toml says",
        )


def _check_name(
    operands: Sequence[str],
    templates: Sequence[str],
    network: Mapping[str, Any] | None,
    *,
    netboot: bool,
) -> None:
    if netboot and network is None:
        raise SmokeError(
            "doit shell --netboot",
            "nothing of this site boots from the network",
            hint="add [netboot] to recipes/site.toml; or leave it out, for the template's key",
        )
    if len(operands) == 1 and (netboot or operands[0] in templates):
        return
    near = difflib.get_close_matches(" ".join(operands), templates, n=1)
    raise SmokeError(
        "doit shell",
        "which template?" if len(operands) != 1 else "there is no such template",
        expected=f"one of {', '.join(templates)}",
        got=" ".join(operands) or "none",
        hint=f"doit shell {near[0] if near else templates[0]}",
    )


def _check_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SmokeError(
            "doit shell",
            "needs a terminal, for the machine's console and the keys that end it",
            got="a pipe or a file",
            hint="call it on a terminal; doit smoke boots without one",
        )


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _key_machine(
    generation: Path,
    template: str,
    memory_mebibytes: int,
    accelerator: Accelerator,
    *,
    uefi: bool,
) -> tuple[Scenario, Machine]:
    """The machine that boots a template's key, and the row whose hardware it has."""
    row = _row_of(generation, template, uefi=uefi)
    chosen = choose_parts(read_manifest(generation), row, template=template)
    check_firmware(FIRMWARE[row.firmware])
    machine = machine_of(
        row,
        chosen,
        generation=generation,
        nonce="",
        memory_mebibytes=memory_mebibytes,
        accelerator=accelerator,
    )
    # Outward to the network of this machine, and nothing that only a test wants.
    nics = tuple(replace(nic, isolated=False) for nic in machine.nics if isinstance(nic, UserNic))
    return row, replace(machine, smbios_system={}, nics=nics)


def _row_of(generation: Path, template: str, *, uefi: bool) -> Scenario:
    """The row that fits the key; one of the firmware that is asked for."""
    manifest = read_manifest(generation)
    wanted = "uefi" if uefi else "bios"
    for row in SCENARIOS:
        if row.name in _KEY_ROWS and row.firmware == wanted:
            try:
                choose_parts(manifest, row, template=template)
            except SmokeError:
                continue
            return row
    raise SmokeError(
        f"doit shell {template}",
        f"its key does not start from {wanted.upper()}",
        hint=f"doit shell {template}{'' if uefi else ' --uefi'}",
    )


def show_console(*, evidence: Path, operands: Sequence[str], raw: bool, say: Say) -> None:
    """Print what the console of a scenario's newest run showed; SmokeError if there is none."""
    found = _newest_runs(evidence)
    if len(operands) != 1 or operands[0] not in found:
        names = sorted(found)
        near = difflib.get_close_matches(" ".join(operands), names, n=1)
        example = near[0] if near else names[0] if names else None
        raise SmokeError(
            "doit console",
            "which scenario?" if len(operands) != 1 else "no run of it is on record",
            expected=f"one of {', '.join(names)}" if names else "a scenario that was booted",
            got=" ".join(operands) or "none",
            hint=f"doit console {example}" if example else "doit smoke",
        )
    console = found[operands[0]] / CONSOLE_NAME
    try:
        text = console.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise SmokeError(
            shown_path(console),
            f"cannot be read ({error.strerror})",
            hint=f"doit smoke:{operands[0]}",
        ) from None
    say(text if raw else _readable(text))
    say(f"({shown_path(console)})")


def _newest_runs(evidence: Path) -> dict[str, Path]:
    """By scenario, the directory of its newest record."""
    found: dict[str, tuple[int, Path]] = {}
    for path in sorted(evidence.glob(f"*/*/{EVIDENCE_NAME}")):
        try:
            started = int(json.loads(path.read_bytes())["started_epoch"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # cut short, or of another version
        name = path.parent.name
        if name not in found or found[name][0] <= started:
            found[name] = (started, path.parent)
    return {name: directory for name, (_, directory) in found.items()}


def _readable(text: str) -> str:
    """Without what would move the cursor or change colours of the reader's terminal."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    kept = ("".join(letter for letter in line if letter.isprintable() or letter == "\t")
            for line in map(_without_escapes, lines))  # fmt: skip
    return os.linesep.join(kept).rstrip()


def _without_escapes(line: str) -> str:
    import re

    return re.sub(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()][A-Za-z0-9]|[=>78cDEHM])", "", line)
