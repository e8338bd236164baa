"""Evidence: written, read, and held against a generation."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bootsmith.errors import SmokeError
from bootsmith.smoke.evidence import (
    Evidence,
    MachineRecord,
    check_evidence,
    evidence_path,
    find_proof,
    keep_proof,
    read_evidence,
    require_proof,
    write_evidence,
)

KEY = "usbkey/default/key.img"
DIGESTS = {KEY: "aa"}
ROW = "key-usb-bios"
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


OTHER = MachineRecord(
    template="web",
    nonce="2f",
    report={"nonce": "2f"},
    landmarks_seconds={"firmware": 0.5},
    elapsed_seconds=9.7,
    starved_seconds=0.6,
    complaints=(),
    command="qemu-system-x86_64 -m 513",
)


def test_every_machine_must_have_reported(tmp_path):
    path = evidence_path(tmp_path, "2026-11-21.1", "netboot-two")
    two = replace(BOOTED, others=(OTHER,))
    write_evidence(path, two)
    assert read_evidence(path) == two
    check_evidence(two, scenario=ROW, digests=DIGESTS)
    silent = replace(two, others=(replace(OTHER, report={}),))
    assert problem(check_evidence, silent, scenario=ROW, digests=DIGESTS) == (
        "evidence of key-usb-bios: has no report of the guest's own; "
        "expected the nonce 2f, got none\n  next: run it: doit smoke:key-usb-bios"
    )


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


@pytest.mark.parametrize(
    "name,value",
    [
        ("scenario", 1),
        ("verdict", ["booted"]),
        ("nonce", None),
        ("artifacts", [KEY]),
        ("artifacts", {KEY: None}),
        ("report", "booted"),
        ("started_epoch", "now"),
        ("extra", "field"),
    ],
)
def test_evidence_of_wrong_types(tmp_path, name, value):
    path = tmp_path / "key-uefi/evidence.json"
    write_evidence(path, BOOTED)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), name: value}))
    assert f"{path}: is not evidence (" in problem(read_evidence, path)


def test_a_boot_of_these_bytes_is_proven():
    check_evidence(BOOTED, scenario=ROW, digests=DIGESTS)


@pytest.mark.parametrize(
    "change,message",
    [
        (
            {"verdict": "failed", "cause": "the kernel panicked: x"},
            "says that it failed: the kernel panicked: x",
        ),
        (
            {"scenario": "key-uefi"},
            "is the record of another scenario; expected key-usb-bios, got key-uefi",
        ),
        (
            {"artifacts": {}},
            f"is about other bytes of {KEY}; expected sha256 aa, got no boot of it",
        ),
        (
            {"artifacts": {KEY: "cc"}},
            f"is about other bytes of {KEY}; expected sha256 aa, got sha256 cc",
        ),
        (
            {"artifacts": {KEY: "aa", "g": "aa"}},
            "is about other bytes of g; expected this part not to be booted, got sha256 aa",
        ),
        (
            {"report": {}},
            "has no report of the guest's own; expected the nonce 1f, got none",
        ),
        (
            {"report": {"nonce": "2f"}},
            "has no report of the guest's own; expected the nonce 1f, got 2f",
        ),
        (
            {"nonce": "", "report": {"nonce": ""}},
            "has no report of the guest's own; expected the nonce of the run, got ",
        ),
    ],
)
def test_what_proves_nothing(change, message):
    record = replace(BOOTED, **change)
    assert problem(check_evidence, record, scenario=ROW, digests=DIGESTS) == (
        f"evidence of key-usb-bios: {message}\n  next: run it: doit smoke:key-usb-bios"
    )


def record(root, generation, **change):
    path = evidence_path(root, generation, ROW)
    write_evidence(path, replace(BOOTED, generation=generation, **change))
    return path


def proof(root):
    return find_proof(root, scenario=ROW, digests=DIGESTS)


def demand(root):
    return require_proof(root, generation="2026-11-22.1", scenario=ROW, digests=DIGESTS)


def test_the_same_bytes_booted_for_another_generation_are_proven(tmp_path):
    older = record(tmp_path, "2026-11-20.1")
    record(tmp_path, "2026-11-22.1", artifacts={KEY: "cc"})
    assert (proof(tmp_path), demand(tmp_path)) == (older, older)


def test_the_newest_boot_of_these_bytes_decides(tmp_path):
    record(tmp_path, "2026-11-20.1", started_epoch=10)
    newest = record(tmp_path, "2026-11-21.1", started_epoch=11)
    assert (proof(tmp_path), demand(tmp_path)) == (newest, newest)
    record(tmp_path, "2026-11-21.2", started_epoch=12, verdict="failed", cause="no report")
    assert proof(tmp_path) is None
    assert problem(demand, tmp_path) == (
        "generation 2026-11-22.1: key-usb-bios is not proven to boot: "
        "evidence of key-usb-bios: says that it failed: no report\n"
        f"    log: {tmp_path / '2026-11-21.2/key-usb-bios/console.log'}\n"
        "  next: boot what is not proven: doit release"
    )


def test_no_boot_of_these_bytes(tmp_path):
    own = evidence_path(tmp_path, "2026-11-22.1", ROW)
    assert proof(tmp_path) is None
    assert problem(demand, tmp_path) == (
        f"generation 2026-11-22.1: key-usb-bios is not proven to boot: {own}: "
        "there is no evidence of this scenario\n  next: boot what is not proven: doit release"
    )
    record(tmp_path, "2026-11-22.1", artifacts={KEY: "cc"})
    assert proof(tmp_path) is None
    assert f"is about other bytes of {KEY}" in problem(demand, tmp_path)


def test_records_that_cannot_be_read_neither_prove_nor_stand_in_the_way(tmp_path):
    own = record(tmp_path, "2026-11-22.1", started_epoch=99)
    own.write_bytes(own.read_bytes()[:-20])
    assert proof(tmp_path) is None
    assert f"{own}: is not evidence (" in problem(demand, tmp_path)
    older = record(tmp_path, "2026-11-20.1")
    assert (proof(tmp_path), demand(tmp_path)) == (older, older)


def test_a_proof_is_kept_with_the_generation_it_counts_for(tmp_path):
    older = record(tmp_path, "2026-11-20.1")
    (older.parent / "console.log").write_bytes(b"Linux version")
    (older.parent / "replay.sh").write_text("exec qemu")
    (older.parent / "replay.sh").chmod(0o755)
    stale = record(tmp_path, "2026-11-22.1", artifacts={KEY: "cc"})
    (stale.parent / "screen.log").write_bytes(b"of the other boot")
    kept = keep_proof(tmp_path, generation="2026-11-22.1", scenario=ROW, proof=older)
    assert kept == stale
    assert read_evidence(kept).generation == "2026-11-20.1"
    assert {path.name for path in kept.parent.iterdir()} == {
        "console.log",
        "evidence.json",
        "replay.sh",
    }
    assert (kept.parent / "replay.sh").stat().st_mode & 0o777 == 0o755
    (older.parent / "console.log").write_bytes(b"the next boot there")
    assert (kept.parent / "console.log").read_bytes() == b"Linux version"
    assert keep_proof(tmp_path, generation="2026-11-22.1", scenario=ROW, proof=kept) == kept
