"""A generation is complete and re-hashed before a link points at it, or it does not exist."""

from __future__ import annotations

import json
import os

import pytest

from bootsmith.errors import PublishError
from bootsmith.generations.assemble import assemble_generation
from bootsmith.generations.manifest import read_manifest
from bootsmith.generations.promote import promote_latest
from bootsmith.generations.verify import check_files


def quiet(message, done, total):
    """No one is watching."""


@pytest.fixture
def site(tmp_path):
    build = tmp_path / "artifacts/build"
    build.mkdir(parents=True)
    for name, content in {
        "vmlinuz": b"kernel",
        "pxerd": b"initramfs",
        "modloop": b"modules",
        "k.json": b'{"kernel_release": "6.1.0"}',
        "facts.json": b'{"release": "3.24.0", "is_standin": true, "files": [1], "flavors": {}}',
    }.items():
        (build / name).write_bytes(content)
    return tmp_path


def assemble(site, date="2026-11-20"):
    build = site / "artifacts/build"
    parts = [("boot", "vmlinuz"), ("pxerd", "pxerd"), ("modules", "modloop")]
    assemble_generation(
        site="example",
        artifacts=[
            {
                "path": f"{kind}/virt/{file}",
                "source": build / file,
                "kind": kind,
                "name": "virt",
                "values": {"flavor": "virt", "release": "standin"},
                "reports": (build / "k.json",),
            }
            for kind, file in parts
        ],
        facts={"standin": build / "facts.json"},
        store=site / "artifacts/store",
        generations=site / "artifacts/generations",
        candidate=site / "artifacts/candidate",
        output=site / "artifacts/generations/latest/MANIFEST.json",
        provenance=lambda: {"iso:x": {"key": "k", "inputs": {}, "tools": {}}},
        progress=quiet,
        today=lambda: date,
    )


def promote(site):
    promote_latest(
        latest=site / "artifacts/generations/latest/MANIFEST.json",
        artifacts=site / "artifacts",
        gate="checks",
        output=site / "artifacts/build/promotion.json",
    )


def test_a_manifest_names_every_file_and_where_it_came_from(site):
    assemble(site)
    manifest = json.loads((site / "artifacts/candidate/MANIFEST.json").read_bytes())
    assert manifest["id"] == "2026-11-20.1"
    assert manifest["releases"] == {"standin": {"release": "3.24.0", "is_standin": True}}
    assert [part["path"] for part in manifest["artifacts"]] == [
        "boot/virt/vmlinuz",
        "pxerd/virt/pxerd",
        "modules/virt/modloop",
    ]
    assert manifest["artifacts"][0]["details"] == {
        "kernel_release": "6.1.0",
        "flavor": "virt",
        "release": "standin",
        "is_standin": True,
    }
    assert manifest["steps"] == {"iso:x": {"key": "k", "inputs": {}, "tools": {}}}


def test_unchanged_content_makes_no_new_generation(site):
    assemble(site)
    assemble(site, date="2026-11-21")
    assert sorted(os.listdir(site / "artifacts/generations")) == ["2026-11-20.1", "latest"]


def test_changed_content_makes_one_and_shares_the_rest(site):
    assemble(site)
    (site / "artifacts/build/pxerd").write_bytes(b"another initramfs")
    assemble(site)
    generations = site / "artifacts/generations"
    assert os.readlink(generations / "latest") == "2026-11-20.2"
    first, second = generations / "2026-11-20.1", generations / "2026-11-20.2"
    assert (first / "boot/virt/vmlinuz").samefile(second / "boot/virt/vmlinuz")
    assert (first / "pxerd/virt/pxerd").read_bytes() == b"initramfs"


def test_editing_a_built_file_does_not_reach_a_generation(site):
    assemble(site)
    (site / "artifacts/build/vmlinuz").write_bytes(b"edited in place")
    check_files(site / "artifacts/candidate", read_manifest(site / "artifacts/candidate"))


def test_promotion_moves_every_link_through_one(site):
    assemble(site)
    promote(site)
    artifacts = site / "artifacts"
    assert os.readlink(artifacts / "current") == "generations/2026-11-20.1"
    assert os.readlink(artifacts / "pxerd/virt/current") == "../../current/pxerd/virt"
    assert (artifacts / "pxerd/virt/current/pxerd").read_bytes() == b"initramfs"
    assert (artifacts / "boot/virt/2026-11-20.1/vmlinuz").read_bytes() == b"kernel"
    assert not (artifacts / "candidate").is_symlink()


def test_a_name_that_is_gone_has_no_current(site):
    assemble(site)
    promote(site)
    gone = site / "artifacts/usbkey/web"
    gone.mkdir(parents=True)
    (gone / "current").symlink_to("../../current/usbkey/web")
    (gone / "2026-11-19.1").symlink_to("../../generations/2026-11-19.1/usbkey/web")
    promote(site)
    assert os.listdir(gone) == ["2026-11-19.1"]
    assert (site / "artifacts/pxerd/virt/current").is_symlink()


def test_a_damaged_candidate_is_not_promoted(site):
    assemble(site)
    promote(site)
    (site / "artifacts/build/pxerd").write_bytes(b"another initramfs")
    assemble(site)
    path = (site / "artifacts/candidate").resolve() / "pxerd/virt/pxerd"
    path.chmod(0o644)
    path.write_bytes(b"rotten")
    with pytest.raises(PublishError, match="is damaged"):
        promote(site)
    assert os.readlink(site / "artifacts/current") == "generations/2026-11-20.1"


def test_kernel_releases_that_disagree_are_not_promoted(site):
    assemble(site)
    generation = (site / "artifacts/candidate").resolve()
    manifest = json.loads((generation / "MANIFEST.json").read_bytes())
    manifest["artifacts"][2]["details"]["kernel_release"] = "6.2.0"
    (generation / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(PublishError) as caught:
        promote(site)
    assert "modules/virt/modloop has 6.2.0" in str(caught.value)
    assert not (site / "artifacts/current").exists()


def test_a_failed_assembly_leaves_no_generation(site, monkeypatch):
    (site / "artifacts/build/modloop").unlink()
    with pytest.raises(FileNotFoundError):
        assemble(site)
    assert not (site / "artifacts/generations").exists()
    assert not (site / "artifacts/candidate").exists()


def test_a_damaged_manifest_is_one_clear_error(site):
    assemble(site)
    path = (site / "artifacts/candidate").resolve() / "MANIFEST.json"
    path.write_text("{")
    with pytest.raises(PublishError, match="is damaged"):
        read_manifest(path.parent)
