"""Volumes that others made are read as they were written; damaged ones are refused."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.formats.fat32 import SECTOR_BYTES, FatFile, plan_fat32
from bootsmith.formats.fat32_reader import Fat32
from bootsmith.tools.run import run_program

OFFSET_BYTES = 1 << 20
MIBS = 40
LONG = "apks/x86_64/a-package-with-a-long-name-1.2.3-r0.apk"


def noise(size_bytes, seed=1):
    return random.Random(seed).randbytes(size_bytes)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A volume behind an offset, made with mkfs.vfat and mtools; one file lies in pieces."""
    directory = tmp_path_factory.mktemp("fat")
    image = directory / "image"
    with open(image, "wb") as out:
        out.truncate(OFFSET_BYTES + (MIBS << 20))
    offset = str(OFFSET_BYTES // SECTOR_BYTES)
    run_program(["mkfs.vfat", "-F", "32", "--offset", offset, image, str(MIBS << 10)])
    inside = f"{image}@@{OFFSET_BYTES}"
    run_program(["mmd", "-i", inside, "::boot", "::apks", "::apks/x86_64"])
    contents = {
        "boot/vmlinuz-lts": noise(700_001),
        LONG: noise(12_345, 2),
        "UPPER.TXT": b"short name",
        "empty": b"",
        "boot/hole": noise(40_000, 3),
    }
    for name, content in contents.items():
        (directory / "file").write_bytes(content)
        run_program(["mcopy", "-i", inside, directory / "file", f"::{name}"])
    run_program(["mdel", "-i", inside, "::boot/hole"])
    contents["boot/pieces"] = noise((MIBS << 20) - 1_400_000, 4)  # fits only with the hole
    del contents["boot/hole"]
    (directory / "file").write_bytes(contents["boot/pieces"])
    run_program(["mcopy", "-i", inside, directory / "file", "::boot/pieces"])
    return image.read_bytes(), contents


def volume(image, offset_bytes=OFFSET_BYTES):
    return Fat32(image, offset_bytes=offset_bytes, subject="k.img")


def test_what_mtools_wrote_is_read(theirs):
    image, contents = theirs
    for name, content in contents.items():
        assert volume(image).read(name, limit_bytes=1 << 30) == content
        assert volume(image).read(f"/{name.swapcase()}", limit_bytes=1 << 30) == content
    assert len(volume(image).runs("boot/pieces")) > 1
    assert len(volume(image).runs("boot/vmlinuz-lts")) == 1


@pytest.mark.parametrize("name", ["boot/hole", "boot", "none/x", "UPPER.TXT/x", "", "boot/vmlinuz"])
def test_what_is_no_file_there(theirs, name):
    assert volume(theirs[0]).runs(name) is None


def test_what_we_lay_is_read():
    contents = {"boot/grub/grub.cfg": b"linux /x", "a name that is long": noise(70_000)}
    laid = plan_fat32(
        files=[FatFile(path=path, size_bytes=len(data)) for path, data in contents.items()],
        total_sectors=80_000,
        label="TEST",
    )
    image = bytearray(80_000 * SECTOR_BYTES)
    pieces = laid.metadata(volume_id=1) + [
        (place.offset_bytes, contents[path]) for path, place in laid.placements.items()
    ]
    for offset, content in pieces:
        image[offset : offset + len(content)] = content
    for path, content in contents.items():
        assert volume(image, 0).read(path, limit_bytes=1 << 20) == content


def message(call, *words, **named):
    with pytest.raises(FormatError) as caught:
        call(*words, **named)
    return str(caught.value)


def test_a_file_beyond_the_limit_is_not_read(theirs):
    assert "UPPER.TXT is too large: 10 bytes, limit 9" in message(
        volume(theirs[0]).read, "UPPER.TXT", limit_bytes=9
    )


@pytest.mark.parametrize(
    "size_bytes,problem",
    [(0, "no FAT32 boot sector"), (400, "no FAT32 boot sector"), (1 << 20, "is cut short")],
)
def test_an_image_that_ends_early(theirs, size_bytes, problem):
    assert problem in message(volume, theirs[0][: OFFSET_BYTES + size_bytes])


def chained(image, links):
    """The image with other links in its first FAT: cluster to the one that follows."""
    damaged = bytearray(image)
    (reserved,) = struct.unpack_from("<H", image, OFFSET_BYTES + 14)
    for cluster, following in links.items():
        at = OFFSET_BYTES + reserved * SECTOR_BYTES + 4 * cluster
        struct.pack_into("<I", damaged, at, following)
    return damaged


def test_a_directory_that_never_ends(theirs):
    damaged = chained(theirs[0], {2: 2})
    assert "chain of clusters does not end" in message(volume(damaged).find, "none")


@pytest.mark.parametrize("following", [0, 1, 0x0FFF_FFF7, 0x00F0_0000])
def test_a_chain_that_leaves_the_volume(theirs, following):
    entry = volume(theirs[0]).find("boot/vmlinuz-lts")
    damaged = chained(theirs[0], {entry.first_cluster: following})
    assert f"cluster {following}," in message(volume(damaged).runs, "boot/vmlinuz-lts")


def test_a_chain_that_ends_before_its_file(theirs):
    entry = volume(theirs[0]).find("boot/vmlinuz-lts")
    damaged = chained(theirs[0], {entry.first_cluster: 0x0FFF_FFFF})
    assert "a chain leads to cluster" in message(volume(damaged).runs, "boot/vmlinuz-lts")


@given(
    changes=st.lists(
        st.tuples(st.integers(0, (64 << 10) - 1), st.integers(0, 255)), min_size=1, max_size=8
    )
)
def test_damage_is_refused_or_harmless(small, changes):
    before = [(at, small[at]) for at, _ in changes]
    for at, value in changes:
        small[at] = value
    try:
        found = Fat32(small, subject="k.img").read("boot/file", limit_bytes=1 << 20)
    except FormatError:
        found = None
    finally:
        for at, value in before:
            small[at] = value
    assert found is None or len(found) <= 1 << 20


@pytest.fixture(scope="module")
def small():
    laid = plan_fat32(
        files=[FatFile(path="boot/file", size_bytes=5_000)], total_sectors=70_000, label="TEST"
    )
    image = bytearray(70_000 * SECTOR_BYTES)
    for offset, content in laid.metadata(volume_id=1):
        image[offset : offset + len(content)] = content
    return image
