"""Real machines, real firmware and boot loaders; the guest is tiny and behaves as told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bootsmith.errors import SmokeError
from bootsmith.files.manifest import read_manifest
from bootsmith.smoke.accelerator import choose_accelerator, runs_guests
from bootsmith.smoke.evidence import find_proof, read_evidence, shown_path
from bootsmith.smoke.parts import choose_parts
from bootsmith.smoke.run import _stage_progress, run_smoke
from bootsmith.smoke.scenarios import find_scenario
from bootsmith.smoke.watch import ConsoleWatch

SLOW_MACHINE_SECONDS = 240.0
# As Alpine's init says it, in two pieces.
NO_MEDIUM = """
echo 'Mounting boot media failed. '
sleep 0.2
echo 'Launching initramfs emergency recovery shell.'
"""


def smoke(tmp_path, generation, scenario, **keywords):
    return run_smoke(
        scenario=scenario,
        manifest=generation / "MANIFEST.json",
        evidence=tmp_path / "evidence",
        memory_mebibytes=320,  # GRUB wants more than the guest
        accelerator="tcg",
        **{"timeout_seconds": SLOW_MACHINE_SECONDS, **keywords},
    )


def failure(tmp_path, generation, scenario, **keywords):
    """The error's first line; the rest has the same form for all."""
    with pytest.raises(SmokeError) as caught:
        smoke(tmp_path, generation, scenario, **keywords)
    directory = tmp_path / "evidence/2026-11-21.1" / scenario
    evidence = read_evidence(directory / "evidence.json")
    first, *rest = str(caught.value).splitlines()
    assert evidence.verdict == "failed"
    assert first == f"smoke {scenario}: {evidence.cause}"
    assert f"    log: {os.path.relpath(directory / 'console.log')}" in rest or (
        f"    log: {directory / 'console.log'}" in rest
    )
    assert rest[-1].startswith("  next: ")
    assert rest[-1].endswith("replay.sh")
    return evidence.cause


def test_time_passes_in_the_progress_of_a_quiet_guest():
    watch = ConsoleWatch(nonce="0")
    said = []
    say = _stage_progress("key", [("web", watch)], lambda *words: said.append(words[0]))
    say(1.0)
    watch.feed("console", b"SeaBIOS", elapsed_seconds=2.0)
    say(2.0)
    say(30.2)
    assert said == [
        "key: web, start for 1 s",
        "key: web, firmware for 0 s",
        "key: web, firmware for 28 s",
    ]


def test_the_progress_of_several_is_that_of_the_last():
    watches = [ConsoleWatch(nonce="0"), ConsoleWatch(nonce="1")]
    said = []
    machines = list(zip(["host a", "host b"], watches, strict=True))
    say = _stage_progress("two", machines, lambda *words: said.append(words))
    watches[0].feed("console", b"Linux version 6.1\n", elapsed_seconds=2.0)
    say(3.0)
    watches[1].feed("console", b"SeaBIOS", elapsed_seconds=4.0)
    say(4.0)
    assert said == [
        ("two: host b, start for 3 s", 0, 6),
        ("two: host b, firmware for 0 s", 1, 6),
    ]


@pytest.mark.boot
@pytest.mark.network
def test_a_direct_boot_is_proven(tmp_path, guest):
    generation = guest.generation(tmp_path / "g", "report\necho done")
    said, told = [], []
    (tmp_path / "evidence").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path, 1234, 4321)
    path = smoke(
        tmp_path,
        generation,
        "direct-pxerd",
        progress=lambda *words: said.append(words),
        tell=told.append,
    )
    assert told == [f"tiny; evidence: {shown_path(path.parent)}"]
    owners = {(entry.stat().st_uid, entry.stat().st_gid) for entry in path.parent.iterdir()}
    assert owners == {(1234, 4321) if os.geteuid() == 0 else (os.geteuid(), os.getegid())}
    evidence = read_evidence(path)
    assert evidence.verdict == "booted"
    assert evidence.report["nonce"] == evidence.nonce
    assert evidence.report["kernel"] == guest.kernel_release
    stages = ["firmware", "bootloader", "kernel", "init", "runlevel"]
    reached = evidence.landmarks_seconds  # two stages that one look finds have the same time
    assert sorted(reached, key=lambda stage: (reached[stage], stages.index(stage))) == stages
    assert sorted(evidence.artifacts) == [
        "kernel/r-virt/vmlinuz",
        "pxerd/r-virt/pxerd",
        "usbkey/tiny/tiny.img",
    ]
    parts = choose_parts(read_manifest(generation), find_scenario("direct-pxerd"))
    proof = find_proof(tmp_path / "evidence", scenario="direct-pxerd", digests=parts.digests)
    assert proof == path
    assert said[0] == ("direct-pxerd: reading", 0, None)
    assert {words[1] for words in said} >= {0, 3}
    assert path.with_name("console.log").read_bytes().count(b"\r\n") > 50
    assert f"bootsmith_nonce={evidence.nonce}" in path.with_name("replay.sh").read_text()


@pytest.mark.boot
@pytest.mark.network
@pytest.mark.parametrize("scenario", ["key-usb-beside-disk", "key-uefi"])
def test_a_key_is_proven_by_the_machine_serial(tmp_path, guest, scenario):
    key = guest.key(tmp_path, "report")
    generation = guest.generation(tmp_path / "g", "exit 1", key=key, flavor="lts")
    evidence = read_evidence(smoke(tmp_path, generation, scenario))
    assert evidence.verdict == "booted"
    assert list(evidence.artifacts) == ["usbkey/tiny/tiny.img"]
    assert (generation / "usbkey/tiny/tiny.img").read_bytes() == key


@pytest.mark.boot
@pytest.mark.network
@pytest.mark.parametrize(
    "behaviour,cause",
    [
        (
            "nonce=0ld; report",
            "the guest reports the nonce 0ld, not this run's *: its report proves nothing",
        ),
        ("echo c > /proc/sysrq-trigger", "the kernel panicked: sysrq triggered crash"),
        (
            NO_MEDIUM,
            "the initramfs found no boot medium (no apks/.boot_repository on any device)",
        ),
        ("poweroff -f", "the guest restarted or switched itself off before it reported"),
    ],
    ids=["nonce", "panic", "recovery", "poweroff"],
)
def test_what_is_not_proven(tmp_path, guest, behaviour, cause):
    generation = guest.generation(tmp_path / "g", behaviour)
    got = failure(tmp_path, generation, "direct-pxerd")
    before, _, after = cause.partition("*")
    assert got.startswith(before)
    assert got.endswith(after)


@pytest.mark.boot
@pytest.mark.network
def test_a_report_that_lacks_something(tmp_path, guest):
    generation = guest.generation(
        tmp_path / "g", "template=other modloop=none; report", kernel_release="5.10.0-virt"
    )
    assert failure(tmp_path, generation, "direct-pxerd") == (
        "the guest reports template other, expected tiny; "
        f"the guest reports kernel {guest.kernel_release}, expected 5.10.0-virt; "
        "the guest runs without its modloop"
    )


@pytest.mark.boot
@pytest.mark.network
def test_silence_ends_with_the_time(tmp_path, guest):
    generation = guest.generation(tmp_path / "g", "report")
    cause = failure(tmp_path, generation, "direct-pxerd", timeout_seconds=0.5)
    assert cause.startswith("no report within 0.5 s")


@pytest.mark.boot
@pytest.mark.network
def test_a_wrong_path_in_syslinux_cfg(tmp_path, guest):
    key = guest.key(tmp_path, "report", syslinux_kernel="/boot/wrong")
    generation = guest.generation(tmp_path / "g", "report", key=key)
    assert failure(tmp_path, generation, "key-virtio-bios") == (
        "SYSLINUX could not load /boot/wrong: No such file or directory"
    )


@pytest.mark.boot
@pytest.mark.network
def test_a_key_without_a_boot_sector(tmp_path, guest):
    generation = guest.generation(tmp_path / "g", "report", key=bytes(1 << 20))
    assert failure(tmp_path, generation, "key-virtio-bios") == "the firmware found nothing to boot"


@pytest.mark.boot
@pytest.mark.network
def test_qemu_itself_gives_up(tmp_path, guest):
    generation = guest.generation(tmp_path / "g", "report", key=bytes(1 << 20))
    with pytest.raises(SmokeError) as caught:
        run_smoke(
            scenario="key-virtio-bios",
            manifest=generation / "MANIFEST.json",
            evidence=tmp_path / "evidence",
            memory_mebibytes=1 << 40,
            accelerator="tcg",
        )
    assert str(caught.value).startswith("smoke key-virtio-bios: QEMU gave up: qemu-system-x86_64: ")


@pytest.mark.boot
@pytest.mark.network
def test_a_guest_dies_with_us(tmp_path, guest):
    """Even when we get SIGKILL and cannot clean up."""
    generation = guest.generation(tmp_path / "g", "echo sleeping")
    script = (
        "import sys; from pathlib import Path; from bootsmith.smoke.run import run_smoke\n"
        "run_smoke(scenario='direct-pxerd', manifest=Path(sys.argv[1], 'MANIFEST.json'), "
        "evidence=Path(sys.argv[2]), memory_mebibytes=192, accelerator='tcg')\n"
    )
    ours = subprocess.Popen(
        [sys.executable, "-c", script, generation, tmp_path / "evidence"],
        cwd=Path(__file__).parents[2],
    )
    console = tmp_path / "evidence/2026-11-21.1/direct-pxerd/console.log"
    try:
        wait_for(lambda: console.exists() and console.stat().st_size > 0)
        (machine,) = machines_of(tmp_path)
    finally:
        ours.send_signal(signal.SIGKILL)
        ours.wait()
    wait_for(lambda: machines_of(tmp_path) == [])
    assert not Path(f"/proc/{machine}/exe").exists()


@pytest.mark.boot
def test_the_probe_runs_a_guest(tmp_path):
    assert runs_guests("tcg", limit_seconds=SLOW_MACHINE_SECONDS)
    assert not runs_guests("tcg", limit_seconds=0.01)
    wanted = choose_accelerator("auto", memory=tmp_path)
    assert choose_accelerator("auto", memory=tmp_path) == wanted


def test_an_unknown_accelerator(tmp_path):
    with pytest.raises(SmokeError) as caught:
        choose_accelerator("hvf", memory=tmp_path)
    assert str(caught.value) == (
        "recipes/site.toml: smoke.accel: is not an accelerator; "
        "expected auto, tcg or kvm, got hvf\n"
        '  next: set accel = "auto" below [smoke] in recipes/site.toml'
    )


def machines_of(directory: Path) -> list[int]:
    """Process ids of QEMUs that were given a path below `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            program = os.path.basename(words.partition(b"\0")[0])
            if program.startswith(b"qemu") and os.fsencode(directory) in words and state != "Z":
                found.append(int(entry.name))
    return found


def wait_for(condition) -> None:
    deadline = time.monotonic() + SLOW_MACHINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
