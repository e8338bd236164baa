"""A boot medium on a server: what is on it, and who may not serve it."""

from __future__ import annotations

import os

import pytest

from bootsmith.errors import SmokeError
from bootsmith.formats.release_facts import (
    DIRECTORY,
    FILE,
    LINK,
    FlavorFacts,
    IsoFile,
    ReleaseFacts,
    write_release_facts,
)
from bootsmith.smoke.medium import lay_medium
from bootsmith.smoke.scenarios import find_scenario
from bootsmith.smoke.servers import check_servers, serving

DIGEST = "a" * 64
CONTENT = b"kernel-initramfs-modloop-package"
PLACES = {
    "apks/.boot_repository": (0, 0),
    "apks/x86_64/one.apk": (25, 7),
    "boot/initramfs-virt": (7, 9),
    "boot/modloop-virt": (17, 7),
    "boot/vmlinuz-virt": (0, 6),
}


@pytest.fixture
def release(tmp_path):
    """An ISO of a few bytes, and its facts."""
    files = {
        path: IsoFile(path=path, type=FILE, mode=0o600, size_bytes=place[1], extents=(place,))
        for path, place in PLACES.items()
    }
    names = ("apks", "apks/x86_64", "boot")
    entries = [IsoFile(path=name, type=DIRECTORY, mode=0o700) for name in names]
    entries += [*files.values(), IsoFile(path="latest", type=LINK, mode=0o777, target="apks")]
    facts = ReleaseFacts(
        release="3.24.0",
        profile="virt",
        arch="x86_64",
        generation="G5",
        is_standin=False,
        volume_id="alpine",
        iso_size_bytes=len(CONTENT),
        iso_sha256=DIGEST,
        flavors={
            "virt": FlavorFacts(
                kernel_release="6.1",
                kernel=files["boot/vmlinuz-virt"],
                initramfs=files["boot/initramfs-virt"],
                modloop=files["boot/modloop-virt"],
            )
        },
        files=tuple(sorted(entries, key=lambda entry: entry.path)),
    )
    (tmp_path / "iso").write_bytes(CONTENT)
    (tmp_path / "facts.json").write_bytes(write_release_facts(facts))
    return {"iso": tmp_path / "iso", "facts": tmp_path / "facts.json"}


def test_our_files_take_the_place_of_the_isos_boot_files(release, tmp_path):
    ours = tmp_path / "modloop"
    ours.write_bytes(b"ours")
    medium = tmp_path / "medium"
    medium.mkdir()
    files = {"boot/modloop-virt": ours, "web.apkovl.tar.gz": ours, "new/file": ours}
    lay_medium(medium, **release, iso_sha256=DIGEST, files=files)
    found = {f"{path.relative_to(medium)}" for path in medium.rglob("*") if path.is_file()}
    assert found == {"apks/.boot_repository", "apks/x86_64/one.apk", *files}
    assert (medium / "apks/x86_64/one.apk").read_bytes() == CONTENT[25:]
    assert (medium / "apks/x86_64/one.apk").stat().st_mode & 0o777 == 0o644
    assert (medium / "boot/modloop-virt").read_bytes() == b"ours"
    assert os.readlink(medium / "latest") == "apks"


def test_facts_of_another_iso_are_refused(release, tmp_path):
    (tmp_path / "medium").mkdir()
    with pytest.raises(SmokeError) as caught:
        lay_medium(tmp_path / "medium", **release, iso_sha256="b" * 64, files={})
    assert str(caught.value) == (
        f"{release['facts']}: is about another ISO than the generation was built from; "
        f"expected sha256 {'b' * 64}, got sha256 {DIGEST}\n  next: build again: doit build"
    )
    assert os.listdir(tmp_path / "medium") == []


def test_only_root_serves_a_medium(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check_servers(find_scenario("direct-pxerd"))
    with pytest.raises(SmokeError) as caught:
        check_servers(find_scenario("nfs-v3"))
    assert str(caught.value) == (
        "smoke nfs-v3: its medium cannot be served: nfs-ganesha opens files by handle, "
        "which only root may\n"
        "  next: as root: doit smoke:nfs-v3; or leave it out of [smoke] scenarios in "
        "recipes/site.toml"
    )


def test_what_is_attached_needs_no_servers(tmp_path):
    (tmp_path / "nfs.log").write_text("of another run")
    row = find_scenario("key-uefi")
    with serving(row, None, generation=tmp_path, releases={}, logs=tmp_path) as inside:
        assert inside == ()
    assert os.listdir(tmp_path) == []
