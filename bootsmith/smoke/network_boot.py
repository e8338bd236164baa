"""A scenario whose machines boot from the network: the machines, and what serves them."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bootsmith.errors import SmokeError
from bootsmith.files.digest import sha256_of
from bootsmith.files.netboot_tree import look_through, tree_of
from bootsmith.formats.arming import HOOK_INVENTORY
from bootsmith.formats.inventory import read_inventory
from bootsmith.formats.manifest import Manifest
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.netboot_tree import INDEX_NAME, NETBOOT, NetbootTree, render_text
from bootsmith.site.scenarios import Scenario
from bootsmith.smoke.accelerator import Accelerator
from bootsmith.smoke.guest import Guest, RunLogs
from bootsmith.smoke.lab import running_lab, tap_name
from bootsmith.smoke.network_guests import (
    ChosenGuest,
    check_addresses,
    choose_guests,
    describe_guest,
    expected_words,
)
from bootsmith.smoke.report import Expected, Report, report_problems, unexpected_words
from bootsmith.smoke.scenarios import FIRMWARE
from bootsmith.tools.qemu import Machine, TapNic

_SCRATCH = "root-"


@dataclass(frozen=True, kw_only=True)
class NetworkBoot:
    """A generation to boot from the network, in the way of a row."""

    scenario: Scenario
    generation: Path
    manifest: Manifest
    network: Network
    machines: tuple[ChosenGuest, ...]

    @classmethod
    def choose(
        cls,
        scenario: Scenario,
        *,
        generation: Path,
        manifest: Manifest,
        network: Network,
        template: str | None,
    ) -> NetworkBoot:
        """With a machine of the inventory for each guest of the row; SmokeError where none fits."""
        path = generation / NETBOOT / HOOK_INVENTORY
        inventory = read_inventory(path.read_bytes(), subject=path)
        machines = choose_guests(scenario, inventory, manifest, template=template)
        check_addresses(scenario, machines, manifest, network)
        return cls(
            scenario=scenario,
            generation=generation,
            manifest=manifest,
            network=network,
            machines=machines,
        )

    def check_tree(self) -> None:
        """SmokeError unless the netboot tree is, at this moment, what the manifest says."""
        wrong = next(self._differences(), None)
        if wrong is not None:
            raise SmokeError(
                f"smoke {self.scenario.name}",
                f"{self.generation / NETBOOT / wrong} is not what the generation's manifest says",
                hint="build again: doit build",
            )

    def guests(
        self, *, memory_mebibytes: int, accelerator: Accelerator, logs: RunLogs
    ) -> tuple[Guest, ...]:
        """The machines, ready to start."""
        return tuple(
            self._guest(one, number, memory_mebibytes, accelerator, logs)
            for number, one in enumerate(self.machines)
        )

    @contextmanager
    def serving(self, logs: RunLogs) -> Iterator[Sequence[str]]:
        """The words that start QEMU beside a head node that serves the generation."""
        for leftover in logs.directory.glob(f"{_SCRATCH}*"):  # of a run that was killed
            shutil.rmtree(leftover)
        with (
            tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=logs.directory) as scratch,
            running_lab(
                self.generation,
                network=self.network,
                servers=self.scenario.servers,
                guests=len(self.machines),
                scratch=Path(scratch),
                logs=logs.directory,
            ) as lab,
        ):
            hosts = filter(None, (one.host for one in self.machines))
            lab.check_names({host.name: host.address for host in hosts if host.address})
            yield lab.inside

    def machine(
        self, number: int, *, memory_mebibytes: int, accelerator: Accelerator, serial: str = ""
    ) -> Machine:
        """The hardware of a machine, its console on the terminal."""
        chosen = self.machines[number]
        is_bios = chosen.guest.firmware == "bios"
        return Machine(
            memory_mebibytes=memory_mebibytes,
            accelerator=accelerator,
            firmware=FIRMWARE[chosen.guest.firmware],
            nics=(TapNic(tap=tap_name(number), mac=chosen.mac, boot_index=0, option_rom=is_bios),),
            network_boot=chosen.guest.network_boot,
            smbios_system={"serial": serial} if serial else {},
        )

    def _guest(
        self,
        chosen: ChosenGuest,
        number: int,
        memory_mebibytes: int,
        accelerator: Accelerator,
        logs: RunLogs,
    ) -> Guest:
        nonce = secrets.token_hex(8)
        files = logs.guest(number)
        words = expected_words(
            chosen, self.manifest, generation=self.generation, network=self.network
        )
        return Guest(
            title=describe_guest(chosen),
            template=chosen.role.template,
            nonce=nonce,
            machine=replace(
                self.machine(
                    number,
                    memory_mebibytes=memory_mebibytes,
                    accelerator=accelerator,
                    serial=f"bootsmith-{nonce}",
                ),
                console=files.console,
                screen=files.screen if chosen.guest.firmware == "bios" else None,
                screen_port=logs.screen_port,
            ),
            logs=files,
            problems=lambda report: _problems(report, chosen.role.template, words),
        )

    def _differences(self) -> Iterator[str]:
        tree = tree_of(self.generation, self.manifest)
        if tree is None:
            yield INDEX_NAME
            return
        found = look_through(self.generation / NETBOOT, wanted=tree.directories)
        yield from (path for path in tree.links if tree.links[path] != found.links.get(path))
        for path, text in tree.texts.items():
            if path not in found.files or self._read(path) != render_text(text, self.manifest.id):
                yield path
        yield from self._different_files(tree)

    def _different_files(self, tree: NetbootTree) -> Iterator[str]:
        for path, file in tree.files.items():
            try:
                if sha256_of(self.generation / NETBOOT / path) != file.sha256:
                    yield path
            except OSError:
                yield path

    def _read(self, path: str) -> bytes:
        return (self.generation / NETBOOT / path).read_bytes()


def _problems(report: Report, template: str, words: dict[str, Expected]) -> tuple[str, ...]:
    return (
        *report_problems(report, template=template, kernel_release=None),
        *unexpected_words(report, words),
    )
