"""Facts survive the way through their file, and a release's word decides its generation."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.formats.release_facts import (
    FlavorFacts,
    IsoFile,
    ReleaseFacts,
    generation_of,
    read_release_facts,
    write_release_facts,
)

paths = st.binary(min_size=1, max_size=20).map(os.fsdecode)
extents = st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 1 << 40)), max_size=3)
entries = st.one_of(
    st.builds(
        lambda path, mode, runs: IsoFile(
            path=path,
            type="file",
            mode=mode,
            extents=tuple(runs),
            size_bytes=sum(n for _, n in runs),
        ),
        paths,
        st.integers(0, 0o7777),
        extents,
    ),
    st.builds(lambda path: IsoFile(path=path, type="dir", mode=0o755), paths),
    st.builds(
        lambda path, to: IsoFile(path=path, type="link", mode=0o777, target=to), paths, paths
    ),
)


def facts(**changes):
    kernel = IsoFile(
        path="boot/vmlinuz-lts", type="file", mode=0o644, size_bytes=3, extents=((0, 3),)
    )
    flavor = FlavorFacts(
        kernel_release="6.6.32-0-lts", kernel=kernel, initramfs=kernel, modloop=kernel, config=None
    )
    values = {
        "release": "3.20.3",
        "profile": "standard",
        "arch": "x86_64",
        "generation": "G4",
        "is_standin": False,
        "volume_id": "alpine-std 3.20.3 x86_64",
        "iso_size_bytes": 4096,
        "iso_sha256": "ab" * 32,
        "flavors": {"lts": flavor},
        "files": (kernel,),
    }
    return ReleaseFacts(**{**values, **changes})


@given(st.lists(entries, max_size=5))
def test_what_was_written_is_read_back_equal_and_written_again_the_same(files):
    before = facts(files=tuple(files))
    content = write_release_facts(before)
    after = read_release_facts(content)
    assert after == before
    assert write_release_facts(after) == content


def test_a_config_is_kept():
    config = IsoFile(
        path="boot/config-lts", type="file", mode=0o644, size_bytes=1, extents=((9, 1),)
    )
    flavor = facts().flavors["lts"]
    with_config = facts(
        flavors={
            "lts": FlavorFacts(
                kernel_release=None,
                kernel=flavor.kernel,
                initramfs=flavor.initramfs,
                modloop=flavor.modloop,
                config=config,
            )
        }
    )
    assert read_release_facts(write_release_facts(with_config)) == with_config


def test_file_finds_an_entry_by_its_path():
    assert facts().file("boot/vmlinuz-lts").size_bytes == 3
    assert facts().file("boot/none") is None


def test_facts_of_another_schema_are_refused():
    document = json.loads(write_release_facts(facts()))
    document["schema"] = 99
    with pytest.raises(FormatError) as caught:
        read_release_facts(json.dumps(document).encode(), subject="x/facts.json")
    assert str(caught.value) == (
        "x/facts.json: facts of another schema; expected 1, got 99\n"
        "  next: remove x/facts.json and run again: doit build"
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"schema":1}', b"\xff", b"null"])
def test_anything_else_is_no_facts(content):
    with pytest.raises(FormatError, match=r"^facts\.json: not release facts \("):
        read_release_facts(content)


@pytest.mark.parametrize(
    "release,generation",
    [
        ("2.7.9", "G1"),
        ("3.0.6", "G1"),
        ("3.1.0_rc3", "G1"),
        ("3.2.3", "G1"),
        ("3.3.0", "G2"),
        ("3.4.6", "G2"),
        ("3.5.0", "G2b"),
        ("3.8.5", "G2b"),
        ("3.9.0", "G3"),
        ("3.19.9", "G3"),
        ("v3.19", "G3"),
        ("3.20.0", "G4"),
        ("3.21.0_alpha20240923", "G4"),
        ("3.22.1", "G4"),
        ("3.23.0_rc1", "G5"),
        ("3.24.0", "G5"),
        ("4.0.0", "G5"),
        ("edge", "G5"),
        ("150122", "G1"),
        ("151009", "G2"),
        ("20161201", "G2b"),
        ("20230901", "G3"),
        ("20240329", "G4"),
        ("260101", "G5"),
    ],
)
def test_generation_follows_the_release(release, generation):
    assert generation_of(release) == generation


@pytest.mark.parametrize("release", ["", "lts", "3", "2024", "3.x", "edgy"])
def test_a_word_that_is_no_release_has_no_generation(release):
    with pytest.raises(FormatError) as caught:
        generation_of(release)
    assert str(caught.value) == (
        ".alpine-release: unknown form of release; expected a version (3.24.0), edge, or a "
        f"snapshot day (yymmdd), got {release!r}\n  next: use an ISO of an Alpine release"
    )
