"""A generation is complete and re-hashed before a link points at it, or it does not exist."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from generation_samples import promote

from bootsmith.errors import FormatError, PublishError
from bootsmith.files.manifest import read_manifest
from bootsmith.generations.assemble import assemble_generation
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
    parts = [("boot", "vmlinuz"), ("initramfs", "pxerd"), ("modules", "modloop")]
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


def test_a_manifest_names_every_file_and_where_it_came_from(site):
    assemble(site)
    manifest = json.loads((site / "artifacts/candidate/MANIFEST.json").read_bytes())
    assert manifest["id"] == "2026-11-20.1"
    assert manifest["releases"] == {"standin": {"release": "3.24.0", "is_standin": True}}
    assert [part["path"] for part in manifest["artifacts"]] == [
        "boot/virt/vmlinuz",
        "initramfs/virt/pxerd",
        "modules/virt/modloop",
    ]
    assert manifest["artifacts"][0]["details"] == {
        "kernel_release": "6.1.0",
        "flavor": "virt",
        "release": "standin",
        "is_standin": True,
    }
    assert manifest["steps"] == {"iso:x": {"key": "k", "inputs": {}, "tools": {}}}


def test_servers_may_enter_a_generation_whatever_the_umask(site):
    umask = os.umask(0o077)
    try:
        assemble(site)
    finally:
        os.umask(umask)
    generation = (site / "artifacts/candidate").resolve()
    entries = [generation, *generation.rglob("*")]
    assert {entry.stat().st_mode & 0o777 for entry in entries if entry.is_dir()} == {0o755}
    assert {entry.stat().st_mode & 0o777 for entry in entries if entry.is_file()} == {0o444, 0o644}


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
    assert (first / "initramfs/virt/pxerd").read_bytes() == b"initramfs"


def test_editing_a_built_file_does_not_reach_a_generation(site):
    assemble(site)
    (site / "artifacts/build/vmlinuz").write_bytes(b"edited in place")
    check_files(site / "artifacts/candidate", read_manifest(site / "artifacts/candidate"))


def test_promotion_moves_every_link_through_one(site):
    assemble(site)
    promote(site / "artifacts")
    artifacts = site / "artifacts"
    assert os.readlink(artifacts / "current") == "generations/2026-11-20.1"
    assert os.readlink(artifacts / "initramfs/virt/current") == "../../current/initramfs/virt"
    assert (artifacts / "initramfs/virt/current/pxerd").read_bytes() == b"initramfs"
    assert (artifacts / "boot/virt/2026-11-20.1/vmlinuz").read_bytes() == b"kernel"
    assert not (artifacts / "candidate").is_symlink()


def test_a_name_that_is_gone_has_no_current(site):
    assemble(site)
    promote(site / "artifacts")
    gone = site / "artifacts/usbkey/web"
    gone.mkdir(parents=True)
    (gone / "current").symlink_to("../../current/usbkey/web")
    (gone / "2026-11-19.1").symlink_to("../../generations/2026-11-19.1/usbkey/web")
    promote(site / "artifacts")
    assert os.listdir(gone) == ["2026-11-19.1"]
    assert (site / "artifacts/initramfs/virt/current").is_symlink()


def test_a_damaged_candidate_is_not_promoted(site):
    assemble(site)
    promote(site / "artifacts")
    (site / "artifacts/build/pxerd").write_bytes(b"another initramfs")
    assemble(site)
    path = (site / "artifacts/candidate").resolve() / "initramfs/virt/pxerd"
    path.chmod(0o644)
    path.write_bytes(b"rotten")
    with pytest.raises(PublishError, match="is damaged"):
        promote(site / "artifacts")
    assert os.readlink(site / "artifacts/current") == "generations/2026-11-20.1"


def test_kernel_releases_that_disagree_are_not_promoted(site):
    assemble(site)
    generation = (site / "artifacts/candidate").resolve()
    manifest = json.loads((generation / "MANIFEST.json").read_bytes())
    manifest["artifacts"][2]["details"]["kernel_release"] = "6.2.0"
    (generation / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(PublishError) as caught:
        promote(site / "artifacts")
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
    with pytest.raises(FormatError, match="is damaged"):
        read_manifest(path.parent)


# --- hostile and foreign manifests -----------------------------------------------------------


def forged(site, **changes):
    """A manifest whose first artifact was changed by someone who knows the format."""
    assemble(site)
    generation = (site / "artifacts/candidate").resolve()
    manifest = json.loads((generation / "MANIFEST.json").read_bytes())
    manifest["artifacts"][0].update(changes)
    lines = sorted(f"{part['sha256']} {part['path']}" for part in manifest["artifacts"])
    manifest["content_digest"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    (generation / "MANIFEST.json").write_text(json.dumps(manifest))
    return generation


@pytest.mark.parametrize(
    "changes,said",
    [
        ({"path": "../../etc/passwd"}, "member name climbs out with .."),
        ({"path": "/etc/passwd"}, "member has an absolute name"),
        ({"path": "boot/\0"}, "member name holds a control character"),
        ({"path": "boot//vmlinuz"}, "is not a plain path"),
        ({"path": ""}, "is not a plain path"),
        ({"path": 7}, "is not text"),
        ({"kind": ".."}, "member name climbs out with .."),
        ({"name": "a/b"}, "is not one word"),
        ({"kind": "."}, "is not a plain path"),
        ({"sha256": "../x"}, "has no digest and size"),
        ({"size_bytes": "1"}, "has no digest and size"),
        ({"details": []}, "are no table"),
        ({"extra": 1}, "unexpected keyword argument 'extra'"),
    ],
)
def test_a_manifest_that_leads_out_is_refused(site, changes, said):
    with pytest.raises(FormatError) as caught:
        read_manifest(forged(site, **changes))
    assert said in str(caught.value)


def test_a_manifest_whose_artifacts_were_exchanged_is_refused(site):
    assemble(site)
    path = (site / "artifacts/candidate").resolve() / "MANIFEST.json"
    manifest = json.loads(path.read_bytes())
    manifest["artifacts"].pop()
    path.write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match="content_digest is of other artifacts"):
        read_manifest(path.parent)


@pytest.mark.parametrize("content", [b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"schema": []}'])
def test_what_is_no_manifest_is_one_clear_error(site, content):
    assemble(site)
    path = (site / "artifacts/candidate").resolve() / "MANIFEST.json"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        read_manifest(path.parent)


def test_commit_and_time_are_said_and_are_no_content(fleet):
    commit = "0123456789" * 4
    (fleet.root / ".git").mkdir()
    (fleet.root / ".git/HEAD").write_text(commit)
    fleet.assemble(site_root=fleet.root, clock=lambda: 1_234.5)
    manifest = read_manifest(fleet.artifacts / "candidate")
    assert (manifest.site_revision, manifest.created_epoch) == (commit, 1_234)
    (fleet.root / ".git/HEAD").write_text("f" * 40)
    assert fleet.assemble(site_root=fleet.root, clock=lambda: 9_999) == manifest.id


def test_a_manifest_of_before_these_were_said_is_read(fleet):
    fleet.assemble()
    path = fleet.artifacts / "candidate/MANIFEST.json"
    value = json.loads(path.read_bytes())
    del value["site_revision"], value["created_epoch"]
    path.write_text(json.dumps(value))
    assert read_manifest(path.parent).created_epoch is None
