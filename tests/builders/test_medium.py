"""The files of an ISO by digest, as sha256sum has them."""

from __future__ import annotations

import subprocess

import pytest

from bootsmith.builders.medium import build_medium_digests
from bootsmith.errors import FormatError, SourceError
from bootsmith.files.iso9660 import read_iso_tree
from bootsmith.formats.medium_digests import MediumDigests, read_medium_digests
from bootsmith.formats.release_facts import ReleaseFacts, write_release_facts
from bootsmith.tools.run import run_program

ISO_SHA256 = "5" * 64


@pytest.fixture
def medium(tmp_path):
    """A function that digests an ISO of these files; the tree that it was made of."""
    tree = tmp_path / "tree"
    for name, content in {
        ".alpine-release": b"alpine-virt-3.20.3 240906\n",
        "apks/x86_64/busybox-1.36.1-r29.apk": b"package" * 50_000,
        "apks/.boot_repository": b"",
        "boot/two words": b"same",
        "boot/again": b"same",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    (tree / "boot/link").symlink_to("again")
    iso = tmp_path / "tiny.iso"
    run_program(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-lJR", tree])
    with open(iso, "rb", buffering=0) as source:
        found = read_iso_tree(source, subject=iso)
    facts = ReleaseFacts(
        release="3.20.3",
        profile="virt",
        arch="x86_64",
        generation="G4",
        is_standin=False,
        volume_id=found.volume_id,
        iso_size_bytes=iso.stat().st_size,
        iso_sha256=ISO_SHA256,
        flavors={},
        files=found.files,
    )
    (tmp_path / "facts.json").write_bytes(write_release_facts(facts))
    return tmp_path


def digest(site):
    output = site / "build/digests.json"
    seen = []
    build_medium_digests(
        iso=site / "tiny.iso",
        facts=site / "facts.json",
        output=output,
        progress=lambda message, done, total: seen.append((done, total)),
    )
    assert seen[-1][0] == seen[-1][1]
    return read_medium_digests(output.read_bytes(), subject=output)


def test_every_file_has_the_digest_that_sha256sum_gives(medium):
    said = subprocess.run(
        ["find", ".", "-type", "f", "-exec", "sha256sum", "--", "{}", "+"],
        cwd=medium / "tree",
        capture_output=True,
        text=True,
        check=True,
    )
    expected = {}
    for line in said.stdout.splitlines():
        sha256, _, name = line.partition("  ./")
        expected[name] = (sha256, (medium / "tree" / name).stat().st_size)
    found = digest(medium)
    assert found.files == expected
    assert found.iso_sha256 == ISO_SHA256


def test_the_same_iso_gives_the_same_bytes(medium):
    digest(medium)
    first = (medium / "build/digests.json").read_bytes()
    digest(medium)
    assert (medium / "build/digests.json").read_bytes() == first


def test_an_iso_that_was_cut_short_since_is_told(medium):
    iso = medium / "tiny.iso"
    iso.write_bytes(iso.read_bytes()[:70_000])
    with pytest.raises(SourceError) as caught:
        digest(medium)
    assert caught.value.problem == "file ends before its content"
    assert not (medium / "build/digests.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema": 2, "iso_sha256": "5", "files": {}}',
        b'{"schema": 1, "iso_sha256": "5"}',
        b'{"schema": 1, "iso_sha256": "5", "files": {"a": ["5", 1]}}',
        b'{"schema": 1, "iso_sha256": "5", "files": {"a": ["%b", "1"]}}' % (b"5" * 64),
        b'{"schema": 1, "iso_sha256": "5", "files": {"a": ["%b"]}}' % (b"5" * 64),
    ],
)
def test_what_says_no_digests_is_refused(content):
    with pytest.raises(FormatError, match="does not say the digests of an ISO's files"):
        read_medium_digests(content, subject="digests.json")


def test_digests_are_read_back():
    content = b'{"schema": 1, "iso_sha256": "5", "files": {"a": ["%b", 7]}}' % (b"5" * 64)
    assert read_medium_digests(content, subject="x") == MediumDigests(
        iso_sha256="5", files={"a": ("5" * 64, 7)}
    )
