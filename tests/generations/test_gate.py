"""The gate: nothing becomes current that lacks a file, a matching kernel, or its proof."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from generation_samples import promote

from bootsmith.errors import BootsmithError
from bootsmith.files.digest import sha256_of
from bootsmith.files.manifest import read_manifest
from bootsmith.generations.gate import check_gate
from bootsmith.site.scenarios import SCENARIOS
from bootsmith.smoke.evidence import Evidence, evidence_path, read_evidence, write_evidence
from bootsmith.smoke.parts import choose_parts
from bootsmith.tools.run import run_program

PARTITION = "@@1M"
EVERY_ROW = tuple(row.name for row in SCENARIOS if row.medium == "key")
KEY = "usbkey/alpha/alpha.img"


def check(generation, gate="checks", scenarios=EVERY_ROW, evidence=Path("/nowhere"), facts=None):
    check_gate(
        generation,
        read_manifest(generation),
        gate=gate,
        scenarios=scenarios,
        evidence=evidence,
        facts=facts or generation.parent / "facts.json",
    )


def refusal(generation, *words, **named):
    with pytest.raises(BootsmithError) as caught:
        check(generation, *words, **named)
    return str(caught.value)


# -- gate checks -----------------------------------------------------------------------------


def test_what_was_built_passes(built, changed):
    check(built)
    check(changed())


def test_a_lost_file_is_named(changed):
    generation = changed()
    (generation / "kernel/tiny-lts/vmlinuz-lts").unlink()
    assert refusal(generation).startswith(f"{generation}/kernel/tiny-lts/vmlinuz-lts: is in the ")


def test_kernel_releases_must_agree(changed):
    path = "modloop/tiny-virt/modloop-virt"
    generation = changed(details={path: {"kernel_release": "6.6.8-0-virt"}})
    assert (
        f"{generation}: kernel releases of tiny-virt disagree: "
        "kernel/tiny-virt/vmlinuz-virt has 6.6.7-0-virt, "
        f"{path} has 6.6.8-0-virt, pxerd/tiny-virt/pxerd-virt has 6.6.7-0-virt"
    ) in refusal(generation)


def on_key(tmp_path, path, content):
    """Replaces a file of a key, or removes it, with other people's programs."""

    def edit(image):
        if content is None:
            run_program(["mdel", "-i", f"{image}{PARTITION}", f"::{path}"])
            return
        (tmp_path / "content").write_bytes(content)
        source = tmp_path / "content"
        run_program(["mcopy", "-o", "-i", f"{image}{PARTITION}", source, f"::{path}"])

    return edit


def config(built, path):
    return run_program(["mtype", "-i", f"{built / KEY}{PARTITION}", f"::{path}"]).stdout


def test_what_is_remembered_of_a_key_is_of_its_bytes(built, changed, tmp_path):
    facts = tmp_path / "facts.json"
    check(built, facts=facts)
    remembered = json.loads(facts.read_bytes())["facts"]
    digest = sha256_of(built / KEY)
    assert remembered[f"on key /boot/vmlinuz-virt {digest}"] == sha256_of(
        built / "kernel/tiny-virt/vmlinuz-virt"
    )
    other = changed({KEY: on_key(tmp_path, "boot/vmlinuz-virt", b"of yesterday")})
    assert "/boot/vmlinuz-virt on the key is not" in refusal(other, facts=facts)
    check(built, facts=facts)


@pytest.mark.parametrize(
    "path,origin",
    [
        ("boot/vmlinuz-virt", "kernel/tiny-virt/vmlinuz-virt"),
        ("boot/pxerd-virt", "pxerd/tiny-virt/pxerd-virt"),
        ("boot/modloop-virt", "modloop/tiny-virt/modloop-virt"),
        ("alpha.apkovl.tar.gz", "apkovl/alpha/alpha.apkovl.tar.gz"),
    ],
)
def test_a_key_must_carry_this_generations_files(changed, tmp_path, path, origin):
    generation = changed({KEY: on_key(tmp_path, path, b"of yesterday")})
    expected = sha256_of(generation / origin)
    assert refusal(generation) == (
        f"{generation / KEY}: /{path} on the key is not this generation's {origin}; "
        f"expected sha256 {expected}, got sha256 {sha256_of(tmp_path / 'content')}\n"
        "  next: build it again: doit usbkey:alpha"
    )


@pytest.mark.parametrize("menu", ["boot/syslinux/syslinux.cfg", "boot/grub/grub.cfg"])
@pytest.mark.parametrize("name", ["vmlinuz", "pxerd"])
def test_a_menu_must_name_what_is_on_the_key(built, changed, tmp_path, menu, name):
    wrong = config(built, menu).replace(f"/boot/{name}-virt".encode(), b"/boot/other")
    generation = changed({KEY: on_key(tmp_path, menu, wrong)})
    assert refusal(generation) == (
        f"{generation / KEY}: {menu} names /boot/other, which is not on the key\n"
        "  next: build it again: doit usbkey:alpha"
    )


def test_a_modloop_named_by_the_command_line_counts(built, changed, tmp_path):
    menu = "boot/grub/grub.cfg"
    wrong = config(built, menu).replace(b"quiet", b"quiet modloop=/boot/modloop-old")
    generation = changed({KEY: on_key(tmp_path, menu, wrong)})
    assert "grub.cfg names /boot/modloop-old, which is not on the key" in refusal(generation)


@pytest.mark.parametrize(
    "path,message",
    [
        ("boot/syslinux/syslinux.cfg", "is not on the key, and bios boots by it"),
        ("boot/grub/grub.cfg", "is not on the key, and uefi boots by it"),
        ("boot/modloop-virt", "names /boot/modloop-virt, which is not on the key"),
    ],
)
def test_a_key_must_have_what_it_boots_by(changed, tmp_path, path, message):
    generation = changed({KEY: on_key(tmp_path, path, None)})
    assert message in refusal(generation)


def test_a_stock_initramfs_is_what_contents_json_says(built, changed, tmp_path):
    """Such a key has no artifact to be held against; its list of contents speaks for it."""

    def edit(image):
        for menu in ("boot/syslinux/syslinux.cfg", "boot/grub/grub.cfg"):
            text = config(built, menu).replace(b"/boot/pxerd-virt", b"/boot/initramfs-virt")
            on_key(tmp_path, menu, text)(image)
        on_key(tmp_path, "boot/initramfs-virt", b"own")(image)

    def listing(sha256):
        contents = json.loads((built / "usbkey/alpha/contents.json").read_bytes())
        contents["boot/initramfs-virt"] = {"sha256": sha256, "size_bytes": 3}
        return json.dumps(contents).encode()

    wrong = {KEY: edit, "usbkey/alpha/contents.json": listing("0" * 64)}
    assert "boot/initramfs-virt on the key is not what contents.json lists" in refusal(
        changed(wrong)
    )


@pytest.mark.parametrize(
    "content,message",
    [
        (b"\0" * 4096, "no master boot record"),
        (bytes(510) + b"\x55\xaa" + bytes(512), "has no partition"),
    ],
)
def test_an_image_that_is_no_key(changed, content, message):
    generation = changed({KEY: content})
    assert refusal(generation).startswith(f"{generation / KEY}: ")
    assert message in refusal(generation)


@pytest.mark.parametrize("detail", ["set", "flavor", "template", "firmware"])
def test_a_key_of_which_nothing_is_said_does_not_pass(changed, detail):
    generation = changed(details={KEY: {detail: None}})
    assert f"the manifest does not say the {detail} of this key" in refusal(generation)


# -- gate boot -------------------------------------------------------------------------------


def record(evidence, directory, scenario, **change):
    manifest = read_manifest(directory)
    row = next(row for row in SCENARIOS if row.name == scenario)
    proof = Evidence(
        scenario=scenario,
        generation=manifest.id,
        template="alpha",
        verdict="booted",
        cause=None,
        artifacts=choose_parts(manifest, row).digests,
        nonce="1f",
        report={"nonce": "1f"},
        elapsed_seconds=9.6,
        starved_seconds=0.0,
        accelerator="tcg",
        qemu="7.2.22",
        command="qemu-system-x86_64",
        started_epoch=1_790_000_000,
    )
    proof = replace(proof, **change)
    path = evidence_path(evidence, proof.generation, scenario)
    write_evidence(path, proof)
    return path


@pytest.fixture
def evidence(tmp_path, built):
    for name in EVERY_ROW:
        record(tmp_path / "evidence", built, name)
    return tmp_path / "evidence"


def test_a_generation_that_booted_passes(built, evidence):
    check(built, "boot", evidence=evidence)


def test_only_what_the_site_asks_for_is_demanded(built, tmp_path):
    record(tmp_path, built, "key-uefi")
    check(built, "boot", scenarios=["key-uefi"], evidence=tmp_path)
    assert "key-usb-bios is not proven to boot" in refusal(built, "boot", evidence=tmp_path)


@pytest.mark.parametrize("row", ["nfs-v4", "nfs-key-modloop"])
def test_a_boot_from_nfs_is_proof_for_its_iso_as_well(changed, tmp_path, row):
    with_nfs = {"features": {"nfs": {}}}
    generation = changed(details={"pxerd/tiny-virt/pxerd-virt": with_nfs})
    path = record(tmp_path, generation, row)
    check(generation, "boot", scenarios=[row], evidence=tmp_path)
    proof = read_evidence(path)
    assert "iso/tiny" in proof.artifacts
    other = {**proof.artifacts, "iso/tiny": "0" * 64}
    write_evidence(path, replace(proof, artifacts=other))
    assert f"{row} is not proven to boot" in refusal(
        generation, "boot", scenarios=[row], evidence=tmp_path
    )


def test_nothing_to_boot_proves_nothing(built, evidence):
    assert refusal(built, "boot", scenarios=(), evidence=evidence) == (
        f"generation {built.name}: nothing of it can be booted, so nothing can be proven\n"
        '  next: set gate = "checks" in [generation] of recipes/site.toml'
    )


FORGERIES = {
    "another key": {"artifacts": {KEY: "0" * 64}},
    "fewer parts": {"artifacts": {}},
    "more parts": {"artifacts": {KEY: "0" * 64, "x": "0" * 64}},
    "another template's key": {"artifacts": {"usbkey/beta/beta.img": "0" * 64}},
    "a failure": {"verdict": "failed", "cause": "the kernel panicked: no init"},
    "a verdict of no kind": {"verdict": "fine"},
    "no report": {"report": {}},
    "the report of another run": {"report": {"nonce": "2f"}},
    "another scenario": {"scenario": "key-virtio-bios"},
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES)
def test_forged_evidence_proves_nothing(built, evidence, change):
    path = evidence_path(evidence, built.name, "key-uefi")
    write_evidence(path, replace(read_evidence(path), **change))
    message = refusal(built, "boot", evidence=evidence)
    assert message.startswith(f"generation {built.name}: key-uefi is not proven to boot: ")
    assert message.endswith("\n  next: boot what is not proven: doit release")


def test_evidence_that_lacks_a_field_or_its_end_proves_nothing(built, evidence):
    path = evidence_path(evidence, built.name, "key-uefi")
    whole = json.loads(path.read_bytes())
    for name in sorted(whole):
        path.write_text(json.dumps({key: whole[key] for key in whole if key != name}))
        if name in ("landmarks_seconds", "complaints"):  # say nothing about the verdict
            check(built, "boot", evidence=evidence)
        else:
            assert "key-uefi is not proven to boot" in refusal(built, "boot", evidence=evidence)
    content = json.dumps(whole).encode()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        assert "is not evidence" in refusal(built, "boot", evidence=evidence)
    path.unlink()
    assert "there is no evidence" in refusal(built, "boot", evidence=evidence)


def test_a_boot_of_an_older_generation_with_the_same_bytes_counts(built, tmp_path):
    for name in EVERY_ROW:
        record(tmp_path, built, name, generation="2020-01-01.1")
    check(built, "boot", evidence=tmp_path)
    kept = evidence_path(tmp_path, built.name, "key-uefi")
    assert read_evidence(kept).generation == "2020-01-01.1"


def test_a_gate_that_fails_moves_nothing(changed, tmp_path, built, evidence):
    generation = changed()
    artifacts = tmp_path / "artifacts"
    (artifacts / "generations/latest").symlink_to(generation.name)
    (artifacts / "candidate").symlink_to(f"generations/{generation.name}")
    path = evidence_path(evidence, built.name, "direct-pxerd")
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(BootsmithError, match="direct-pxerd is not proven to boot"):
        promote(artifacts, gate="boot", scenarios=EVERY_ROW, evidence=evidence)
    assert sorted(os.listdir(artifacts)) == ["cache", "candidate", "generations"]
    path.write_bytes(content)
    promote(artifacts, gate="boot", scenarios=EVERY_ROW, evidence=evidence)
    assert os.readlink(artifacts / "current") == f"generations/{generation.name}"
    assert not (artifacts / "candidate").is_symlink()
    history = [json.loads(line) for line in (artifacts / "history.jsonl").read_text().splitlines()]
    assert [line["gate"] for line in history] == ["boot"]


def test_passing_the_stronger_gate_later_is_recorded_the_weaker_is_not(changed, tmp_path, evidence):
    generation = changed()
    artifacts = tmp_path / "artifacts"
    (artifacts / "generations/latest").symlink_to(generation.name)
    for gate in ("checks", "boot", "checks", "boot"):
        promote(artifacts, gate=gate, scenarios=EVERY_ROW, evidence=evidence)
    history = [json.loads(line) for line in (artifacts / "history.jsonl").read_text().splitlines()]
    assert [line["gate"] for line in history] == ["checks", "boot"]
