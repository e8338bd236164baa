"""Evidence: written, read, and held against a generation."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bootsmith.errors import SmokeError
from bootsmith.smoke.evidence import (
    Evidence,
    check_evidence,
    check_generation_evidence,
    evidence_path,
    read_evidence,
    write_evidence,
)

DIGESTS = {"usbkey/default/key.img": "aa", "kernel/k/vmlinuz": "bb"}
BOOTED = Evidence(
    scenario="key-usb-bios",
    generation="2026-11-21.1",
    template="default",
    verdict="booted",
    cause=None,
    artifacts={"usbkey/default/key.img": "aa"},
    nonce="1f",
    report={"nonce": "1f"},
    landmarks_seconds={"firmware": 0.4, "runlevel": 9.5},
    elapsed_seconds=9.6,
    starved_seconds=0.5,
    complaints=("the service nginx failed",),
    accelerator="tcg",
    qemu="7.2.22",
    command="qemu-system-x86_64 -m 512",
    started_epoch=1_790_000_000,
)


def problem(call, *arguments, **keywords):
    with pytest.raises(SmokeError) as caught:
        call(*arguments, **keywords)
    return str(caught.value)


def test_what_is_written_is_read(tmp_path):
    path = evidence_path(tmp_path, "2026-11-21.1", "key-usb-bios")
    assert path == tmp_path / "2026-11-21.1/key-usb-bios/evidence.json"
    write_evidence(path, BOOTED)
    assert read_evidence(path) == BOOTED
    assert path.read_bytes() == BOOTED.to_json()


def test_no_evidence(tmp_path):
    path = tmp_path / "key-uefi/evidence.json"
    assert problem(read_evidence, path) == (
        f"{path}: there is no evidence of this scenario\n  next: run it: doit smoke:key-uefi"
    )


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"schema": 1}', b'{"schema": 1, "complaints": []}', b"\xff"]
)
def test_damaged_evidence(tmp_path, content):
    path = tmp_path / "key-uefi/evidence.json"
    path.parent.mkdir()
    path.write_bytes(content)
    message = problem(read_evidence, path)
    assert message.startswith(f"{path}: is not evidence (")
    assert message.endswith("\n  next: run it: doit smoke:key-uefi")


def test_evidence_of_another_version(tmp_path):
    path = tmp_path / "key-uefi/evidence.json"
    write_evidence(path, BOOTED)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "schema": 9}))
    assert problem(read_evidence, path) == (
        f"{path}: was written by another version of bootsmith; expected schema 1, got schema 9\n"
        "  next: run it: doit smoke:key-uefi"
    )


def test_a_boot_of_these_bytes_is_proven():
    check_evidence(BOOTED, generation="2026-11-21.1", digests=DIGESTS)


@pytest.mark.parametrize(
    "change,message",
    [
        (
            {"verdict": "failed", "cause": "the kernel panicked: x"},
            "says that it failed: the kernel panicked: x",
        ),
        (
            {"generation": "2026-11-20.3"},
            "is about another generation; expected 2026-11-21.1, got 2026-11-20.3",
        ),
        ({"artifacts": {}}, "names nothing that was booted"),
        (
            {"artifacts": {"usbkey/default/key.img": "aa", "kernel/k/vmlinuz": "cc"}},
            "is about other bytes of kernel/k/vmlinuz; expected sha256 bb, got sha256 cc",
        ),
        (
            {"artifacts": {"g": "aa"}},
            "is about other bytes of g; expected sha256 (not in this generation), got sha256 aa",
        ),
    ],
)
def test_what_proves_nothing(change, message):
    assert problem(
        check_evidence, replace(BOOTED, **change), generation="2026-11-21.1", digests=DIGESTS
    ) == (f"evidence of key-usb-bios: {message}\n  next: run it: doit smoke:key-usb-bios")


def test_every_scenario_needs_its_own_record(tmp_path):
    def check(*scenarios):
        check_generation_evidence(
            evidence_root=tmp_path,
            generation="2026-11-21.1",
            digests=DIGESTS,
            scenarios=scenarios,
        )

    write_evidence(evidence_path(tmp_path, "2026-11-21.1", "key-usb-bios"), BOOTED)
    check("key-usb-bios")
    gone = evidence_path(tmp_path, "2026-11-21.1", "key-uefi")
    assert problem(check, "key-usb-bios", "key-uefi") == (
        f"{gone}: there is no evidence of this scenario\n  next: run it: doit smoke:key-uefi"
    )
    write_evidence(gone, BOOTED)
    assert problem(check, "key-uefi") == (
        "evidence of key-uefi: is the record of another scenario; "
        "expected key-uefi, got key-usb-bios\n  next: run it: doit smoke:key-uefi"
    )
