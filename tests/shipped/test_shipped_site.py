"""The site as it is shipped: built, published, checked from outside, booted, broken.

These tests build in the checkout itself, so they show what `make build` leaves there and
cost little where it has already run. Two workers may ask for the build at once: the
second waits at the run's lock and finds everything done.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from published_samples import Published

from bootsmith.errors import SmokeError
from bootsmith.files.digest import sha256_of
from bootsmith.files.manifest import read_manifest
from bootsmith.files.store import clone_file
from bootsmith.formats.compression import compress_segment, decompress_initramfs
from bootsmith.formats.cpio import read_cpio, write_cpio
from bootsmith.formats.netboot_tree import INDEX_PATH
from bootsmith.generations.gate import check_gate
from bootsmith.generations.history import gate_passed, read_moves
from bootsmith.generations.promote import promote_latest
from bootsmith.site.loader import load_site
from bootsmith.site.scenarios import SCENARIOS
from bootsmith.smoke.evidence import check_evidence, evidence_path, read_evidence
from bootsmith.smoke.parts import choose_parts
from bootsmith.smoke.run import run_smoke
from bootsmith.tools.ganesha import why_not_exportable
from bootsmith.tools.guestfs import build_appliance, check_key_with_guestfs
from bootsmith.tools.mksquashfs import make_squashfs
from bootsmith.tools.run import run_program

ROOT = Path(__file__).resolve().parents[2]
CURRENT = ROOT / "artifacts/current"
EVIDENCE = ROOT / "artifacts/evidence"
TEMPLATES = ("default", "lxc-repo", "pxeboot")
PARTITION = "@@1M"


def doit(*words, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "doit", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def without_artifacts(directory):
    for name in ("recipes", "overlays"):
        shutil.copytree(ROOT / name, directory / name, symlinks=True)
    shutil.copy(ROOT / "dodo.py", directory)


def test_planning_needs_no_iso(tmp_path):
    without_artifacts(tmp_path)
    (tmp_path / "recipes/releases/alpine.toml").write_text(
        'iso = "/nowhere/alpine-standard-3.20.3-x86_64.iso"\nflavors = ["lts"]\n'
    )
    listed = doit("list", "--all", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    steps = {line.split()[0] for line in listed.stdout.splitlines()}
    assert {"pxerd:alpine-lts", "usbkey:default", "smoke:key-uefi", "build"} <= steps
    assert not (tmp_path / "artifacts").exists()


def test_a_bad_recipe_is_one_message_and_status_2(tmp_path):
    without_artifacts(tmp_path)
    (tmp_path / "recipes/templates/web.toml").write_text('summary = "web"\noverlay = ["base"]\n')
    run = doit("list", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == (
        "recipes/templates/web.toml:2: overlay: unknown key; expected overlays\n"
        "  next: rename it to overlays\n"
    )


def test_an_iso_that_is_not_there_is_one_message(tmp_path):
    without_artifacts(tmp_path)
    (tmp_path / "recipes/releases/alpine.toml").write_text(
        'iso = "/nowhere/alpine.iso"\nflavors = ["lts"]\n'
    )
    run = doit("iso:alpine", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith(
        "FAILED iso:alpine\n"
        "/nowhere/alpine.iso: is needed by iso:alpine and is not there\n"
        "  next: put it there, or correct the recipe that names it\n"
    )


@pytest.fixture(scope="module")
def built():
    """The shipped site, built; the generation that is current then."""
    run = doit("build")
    assert run.returncode == 0, run.stdout + run.stderr
    return CURRENT.resolve()


@pytest.mark.network
def test_current_holds_everything(built):
    manifest = read_manifest(built)
    paths = {artifact.path for artifact in manifest.artifacts}
    for flavor in ("virt", "lts"):
        assert {
            f"kernel/standin-{flavor}/vmlinuz-{flavor}",
            f"pxerd/standin-{flavor}/pxerd-{flavor}",
            f"modloop/standin-{flavor}/modloop-{flavor}",
        } <= paths
    for template in TEMPLATES:
        assert f"apkovl/{template}/{template}.apkovl.tar.gz" in paths
        assert f"usbkey/{template}/{template}.img" in paths
    for artifact in manifest.artifacts:
        assert sha256_of(built / artifact.path) == artifact.sha256
    assert manifest.releases["standin"]["is_standin"] is True
    inputs = {name for step in manifest.steps.values() for name in step["inputs"]}
    assert "recipes/releases/standin.lock" in inputs
    assert "recipes/features.d/nfs.modules" in inputs
    assert "overlays/base/etc/network/interfaces" in inputs


@pytest.mark.network
def test_a_second_build_does_nothing(built):
    run = doit("build")
    assert run.returncode == 0
    # Another worker of the test run may be building in the checkout at that moment.
    assert run.stderr.splitlines()[-1].startswith("0 built, ")


@pytest.mark.network
@pytest.mark.parametrize("kind,name", [("pxerd", "standin-virt"), ("usbkey", "default")])
def test_links_by_kind_lead_through_current(built, kind, name):
    link = ROOT / "artifacts" / kind / name / "current"
    assert os.readlink(link) == f"../../current/{kind}/{name}"
    assert link.resolve() == built / kind / name


@pytest.fixture(scope="module")
def appliance(built, tmp_path_factory):
    """A libguestfs appliance on the generation's own lts kernel: nothing of the host's."""
    directory = tmp_path_factory.mktemp("appliance")
    modloop = built / "modloop/standin-lts/modloop-lts"
    run_program(["unsquashfs", "-quiet", "-dest", directory / "modloop", modloop])
    (modules,) = (
        path for path in (directory / "modloop/modules").iterdir() if path.name != "firmware"
    )
    build_appliance(
        kernel=built / "kernel/standin-lts/vmlinuz-lts",
        modules=modules,
        directory=directory / "appliance",
    )
    return directory / "appliance"


@pytest.mark.network
@pytest.mark.boot
def test_a_real_kernel_finds_every_file_on_the_key(built, appliance):
    check_key_with_guestfs(
        built / "usbkey/default/default.img",
        built / "usbkey/default/contents.json",
        appliance=appliance,
    )


@pytest.fixture(scope="module")
def released(built):
    """The shipped site, released: booted, unless the same bytes have booted here before."""
    run = doit("run", "-n", "2", "release")  # two boots at a time, as two workers would
    assert run.returncode == 0, run.stdout + run.stderr
    return built


@pytest.mark.network
@pytest.mark.boot
@pytest.mark.parametrize("scenario", [row.name for row in SCENARIOS if not row.needs_root])
def test_what_was_released_has_booted(released, scenario):
    row = next(row for row in SCENARIOS if row.name == scenario)
    record = read_evidence(evidence_path(EVIDENCE, released.name, scenario))
    manifest = read_manifest(released)
    check_evidence(record, scenario=scenario, digests=choose_parts(manifest, row).digests)
    assert CURRENT.resolve() == released
    assert gate_passed(read_moves(ROOT / "artifacts"), released.name) == "boot"


@pytest.mark.network
@pytest.mark.boot
def test_a_second_release_boots_nothing(released):
    def boots():
        return {path: path.stat().st_mtime_ns for path in EVIDENCE.rglob("*")}

    before = boots()
    run = doit("release")
    assert run.returncode == 0
    assert run.stderr.startswith("0 built, ")
    assert boots() == before


@pytest.mark.network
@pytest.mark.boot
@pytest.mark.parametrize("scenario", ["nfs-v4", "nfs-v3", "nfs-http-modloop"])
def test_it_boots_from_nfs_when_asked_to(released, scenario):
    reason = why_not_exportable(ROOT / "artifacts")
    if reason:
        pytest.skip(reason)
    run = doit(f"smoke:{scenario}")
    assert run.returncode == 0, run.stdout + run.stderr
    record = read_evidence(evidence_path(EVIDENCE, released.name, scenario))
    assert "iso/standin" in record.artifacts


def smoke(scenario, generation, directory, template=None):
    return run_smoke(
        scenario=scenario,
        manifest=generation / "MANIFEST.json",
        evidence=directory / "evidence",
        memory_mebibytes=512,
        accelerator="auto",
        template=template,
    )


# -- what is broken must be seen, and the message must name the cause ------------------------


@pytest.fixture
def broken(built, tmp_path):
    """A function that makes a copy of the generation with one file of one key replaced.

    Without the netboot tree, which holds the same files: it is the key that is booted.
    """

    def make(template, path, content, artifact=None):
        """`artifact` is where the generation has the same file: it is replaced as well."""
        generation = tmp_path / "artifacts/generations" / built.name
        manifest, parts = read_manifest(built), []
        (tmp_path / "content").write_bytes(content)
        for part in manifest.artifacts:
            if part.path == INDEX_PATH:
                continue
            target = generation / part.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if part.path == artifact:
                target.write_bytes(content)
            elif part.path == f"usbkey/{template}/{template}.img":
                target.touch()
                clone_file(built / part.path, target)
                inside = f"{target}{PARTITION}"
                run_program(["mcopy", "-o", "-i", inside, tmp_path / "content", f"::{path}"])
            else:
                os.link(built / part.path, target)
            parts.append(replace(part, sha256=sha256_of(target)))
        manifest = replace(manifest, artifacts=tuple(parts))
        (generation / "MANIFEST.json").write_bytes(manifest.to_json())
        return generation

    return make


def message_of(scenario, generation, directory):
    with pytest.raises(SmokeError) as caught:
        smoke(scenario, generation, directory)
    return str(caught.value)


@pytest.mark.network
@pytest.mark.boot
def test_a_pxerd_without_squashfs_is_seen(built, broken, tmp_path):
    pxerd = (built / "pxerd/standin-virt/pxerd-virt").read_bytes()
    entries = read_cpio(decompress_initramfs(pxerd, limit_bytes=1 << 30))
    poorer = [entry for entry in entries if "/fs/squashfs/" not in entry.name]
    assert len(poorer) < len(entries)
    content = compress_segment(write_cpio(poorer), "gzip", 1)
    artifact = "pxerd/standin-virt/pxerd-virt"
    generation = broken("lxc-repo", "/boot/pxerd-virt", content, artifact)
    assert "modloop" in message_of("key-virtio-bios", generation, tmp_path)
    # It passes every check of its structure; only the boot tells. Nothing may move.
    artifacts = tmp_path / "artifacts"
    (artifacts / "generations/latest").symlink_to(generation.name)
    (artifacts / "current").symlink_to("generations/older")
    check_gate(
        generation,
        read_manifest(generation),
        gate="checks",
        scenarios=(),
        evidence=tmp_path / "evidence",
        facts=tmp_path / "facts.json",
    )
    with pytest.raises(SmokeError, match=r"key-virtio-bios is not proven to boot: .*modloop"):
        promote_latest(
            latest=artifacts / "generations/latest/MANIFEST.json",
            artifacts=artifacts,
            gate="boot",
            scenarios=("key-virtio-bios",),
            evidence=tmp_path / "evidence",
            output=tmp_path / "promotion.json",
        )
    assert os.readlink(artifacts / "current") == "generations/older"
    assert not (tmp_path / "promotion.json").exists()


@pytest.mark.network
@pytest.mark.boot
def test_what_only_a_boot_from_the_network_tells(built, tmp_path):
    """A card's driver is there, what makes the machine's bus visible is not: no list says so."""
    if os.geteuid():
        pytest.skip("only root makes networks of its own")
    published = Published(built, tmp_path / "artifacts")
    for path in ("pxerd/standin-virt/pxerd-virt", "pxerd/standin-lts/pxerd-lts"):
        plain = decompress_initramfs((built / path).read_bytes(), limit_bytes=1 << 30)
        left = [entry for entry in read_cpio(plain) if "/virtio/virtio_pci.ko" not in entry.name]
        published.replace_part(path, compress_segment(write_cpio(left), "gzip", 1))
    assert published.problems() == []
    with pytest.raises(SmokeError, match="IP requested but no network device was found"):
        run_smoke(
            scenario="netboot-unknown",
            manifest=published.generation / "MANIFEST.json",
            evidence=tmp_path / "evidence",
            memory_mebibytes=512,
            accelerator="auto",
            network=load_site(ROOT).netboot.network_values,
        )
    message = published.refusal(
        gate="boot", scenarios=("netboot-unknown",), evidence=tmp_path / "evidence"
    )
    assert "netboot-unknown is not proven to boot: " in message


@pytest.mark.network
@pytest.mark.boot
def test_a_modloop_of_another_kernel_is_seen(built, broken, tmp_path):
    (tmp_path / "other/modules/6.1.0-other/kernel").mkdir(parents=True)
    make_squashfs(tmp_path / "other", tmp_path / "modloop")
    generation = broken("lxc-repo", "/boot/modloop-virt", (tmp_path / "modloop").read_bytes())
    assert "modloop" in message_of("key-virtio-bios", generation, tmp_path)


@pytest.mark.network
@pytest.mark.boot
def test_an_overlay_that_is_no_gzip_is_seen(built, broken, tmp_path):
    generation = broken("lxc-repo", "/lxc-repo.apkovl.tar.gz", b"this is not gzip\n" * 100)
    assert "apkovl" in message_of("key-virtio-bios", generation, tmp_path)


@pytest.mark.network
@pytest.mark.boot
def test_a_wrong_path_in_the_boot_menu_is_seen(built, broken, tmp_path):
    menu = run_program(
        [
            "mtype",
            "-i",
            f"{built / 'usbkey/lxc-repo/lxc-repo.img'}{PARTITION}",
            "::/boot/syslinux/syslinux.cfg",
        ]
    ).stdout
    wrong = menu.replace(b"/boot/vmlinuz-virt", b"/boot/vmlinux-virt")
    generation = broken("lxc-repo", "/boot/syslinux/syslinux.cfg", wrong)
    assert "vmlinux-virt" in message_of("key-virtio-bios", generation, tmp_path)
