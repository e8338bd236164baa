"""An armed machine installs itself once, says that it is done, and boots its disk ever after.

Real machines on a wire with real servers, by nothing but what `doit build` publishes. The
machine's number is given to it as its serial number; it comes back from the disk.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from armed_site import BARE, CHECKOUT, PRESEEDED, UEFI, boot_sector, write_site

from bootsmith.formats.arming import HOOK_PROGRAM, HOOK_SOCKET
from bootsmith.formats.netboot_network import Network
from bootsmith.netboot.arming import arm_machines
from bootsmith.site.loader import load_site
from bootsmith.smoke.lab import Lab, running_lab, tap_name
from bootsmith.smoke.machine import Ending, Run, run_machines
from bootsmith.smoke.watch import ConsoleWatch
from bootsmith.tools.fcgiwrap import running_fcgiwrap
from bootsmith.tools.qemu import SCREEN_PORT, Drive, Firmware, Machine, TapNic
from bootsmith.tools.unshare import Place

pytestmark = [
    pytest.mark.boot,
    pytest.mark.network,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root"),
]
DISK_BYTES = 1 << 20
TIMEOUT_SECONDS = 600.0  # ten times what the slower one takes without KVM, of its own time


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built; of the release that the checkout's own stand-in is."""
    subprocess.run([sys.executable, "-m", "doit", "source:standin"], cwd=CHECKOUT, check=True)
    root = tmp_path_factory.mktemp("armed")
    write_site(root, CHECKOUT / "artifacts/build/source/standin/standin.iso")
    subprocess.run([sys.executable, "-m", "doit", "build"], cwd=root, check=True)
    return load_site(root)


@dataclass
class Bench:
    """A head node, and one machine with a disk."""

    here: Path
    lab: Lab
    mac: str
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def disk(self) -> Path:
        return self.here / "disk"

    @property
    def armed(self) -> list[str]:
        return sorted(os.listdir(self.lab.root / "armed"))

    def arm(self, *names: str) -> None:
        arm_machines(
            roots={"usual": str(self.lab.root), "targets": {}},
            root=None,
            install=None,
            power=False,
            power_command=(),
            operands=names,
            say=lambda _line: None,
        )

    def boot(
        self, *, memory_mebibytes: int = 512, firmware: Firmware = "bios"
    ) -> tuple[Ending, ConsoleWatch, str]:
        """Run the machine until it restarts or its disk has said its number."""
        consoles = self.here / "console", self.here / "screen"
        (self.here / "port").write_bytes(SCREEN_PORT)
        machine = Machine(
            memory_mebibytes=memory_mebibytes,
            drives=[Drive(file=self.disk, attach="virtio", snapshot=False, boot_index=1)],
            firmware=firmware,
            nics=[
                TapNic(tap=tap_name(0), mac=self.mac, boot_index=0, option_rom=firmware == "bios")
            ],
            smbios_system={"serial": f"bootsmith-{self.nonce}"},
            console=consoles[0],
            screen=consoles[1] if firmware == "bios" else None,
            screen_port=self.here / "port",
        )
        watch = ConsoleWatch(nonce=self.nonce)
        (ending,) = run_machines(
            [Run(machine=machine, watch=watch, program_log=self.here / "qemu.log")],
            timeout_seconds=TIMEOUT_SECONDS,
            report_grace_seconds=TIMEOUT_SECONDS,
            inside=self.lab.inside,
        )
        return ending, watch, consoles[0].read_text("utf-8", "replace")

    @property
    def requests(self) -> str:
        """What nginx says that it was asked for."""
        return (self.here / "logs/http.log").read_text()


@pytest.fixture
def bench(site):
    """A function: the head node that serves the site, and the machine with this MAC."""
    with ExitStack() as stack:

        def make(mac: str) -> Bench:
            # Not pytest's directory: the hook runs as www-data, who may not enter that.
            here = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="armed-")))
            here.chmod(0o755)
            for name in ("scratch", "logs", "hook"):
                (here / name).mkdir()
            shutil.copy(CHECKOUT / "contrib/boot-default", here / "hook")
            lab = stack.enter_context(
                running_lab(
                    (site.root / "artifacts/current").resolve(),
                    network=Network(**site.netboot.network_values),
                    servers="dnsmasq",
                    guests=1,
                    scratch=here / "scratch",
                    logs=here / "logs",
                )
            )
            stack.enter_context(
                running_fcgiwrap(
                    Path(HOOK_SOCKET),
                    places=[Place(directory=Path(HOOK_PROGRAM).parent, shows=here / "hook")],
                    log=here / "fcgiwrap.log",
                    inside=lab.inside,
                    needed_by="tests",
                )
            )
            return Bench(here, lab, mac)

        yield make


def test_a_template_installs_itself_once(bench):
    """PXELINUX finds the link; the template writes the disk, and asks to be disarmed."""
    machine = bench(BARE)
    machine.disk.write_bytes(bytes(DISK_BYTES))
    machine.arm("bare", "preseeded")
    ending, watch, console = machine.boot()
    assert (ending.outcome, watch.failure) == ("ended", None), watch.tail(40)
    assert f"bare ({BARE}) is disarmed: it boots as its role says from now on" in console
    assert [name[3:20] for name in machine.armed] == [PRESEEDED.replace(":", "-")] * 3
    assert machine.disk.read_bytes()[:512] == boot_sector(machine.nonce)
    ending, watch, _ = machine.boot()
    assert ending.outcome == "reported", "\n".join([str(watch.failure), *watch.tail(40)])
    assert watch.report.words == {"nonce": machine.nonce, "template": "disk"}


def test_grub_finds_the_link_too(bench):
    """UEFI; what follows the disk's own loader is not ours."""
    machine = bench(UEFI)
    machine.disk.write_bytes(bytes(DISK_BYTES))
    machine.arm("uefi")
    ending, watch, console = machine.boot(firmware="ovmf")
    assert (ending.outcome, watch.failure) == ("ended", None), watch.tail(40)
    assert f"uefi ({UEFI}) is disarmed" in console
    assert machine.armed == []
    assert machine.disk.read_bytes()[:512] == boot_sector(machine.nonce)


def test_debian_s_installer_is_preseeded_and_disarms(bench):
    """iPXE finds the link; the real installer gets its preseed file, which does what it says."""
    machine = bench(PRESEEDED)
    machine.disk.write_bytes(boot_sector(machine.nonce).ljust(DISK_BYTES, b"\0"))
    machine.arm("preseeded")
    ending, watch, console = machine.boot(memory_mebibytes=1024)
    assert (ending.outcome, watch.failure) == ("ended", None), watch.tail(40)
    assert "preseeded by 10.20.0.1" in console
    assert f"preseeded ({PRESEEDED}) is disarmed" in console
    assert '/netboot/http/installers/debian/preseed.cfg HTTP/1.1" 200' in machine.requests
    assert machine.armed == []
    ending, watch, _ = machine.boot()
    assert ending.outcome == "reported", "\n".join([str(watch.failure), *watch.tail(40)])
    assert watch.report.words == {"nonce": machine.nonce, "template": "disk"}
