from __future__ import annotations

import os
import struct

import pytest

from bootsmith.errors import BuildError, FormatError
from bootsmith.formats.fat32 import SECTOR_BYTES, FatFile, plan_fat32
from bootsmith.formats.syslinux_loader import place_loader
from bootsmith.tools.mtools import read_fat_file
from bootsmith.tools.run import run_program
from bootsmith.tools.syslinux import install_syslinux, read_syslinux_loader

OFFSET_SECTORS = 2048


@pytest.fixture(scope="module")
def loader():
    return read_syslinux_loader()


# The installer calls sync(2), which may take long; so each size has one directory.
@pytest.mark.parametrize(
    "mebibytes, directory",
    [(35, "boot/syslinux"), (140, "syslinux"), (600, "a/rather/long/way/down")],
)
def test_result_is_the_installers_byte_for_byte(tmp_path, loader, mebibytes, directory):
    total = (mebibytes << 11) - OFFSET_SECTORS
    ours = plan_fat32(
        files=[FatFile(path=f"{directory}/ldlinux.sys", size_bytes=len(loader.ldlinux_sys))],
        total_sectors=total,
        hidden_sectors=OFFSET_SECTORS,
        label="X",
    )
    place = ours.placements[f"{directory}/ldlinux.sys"]
    placed = place_loader(
        boot_sector=loader.boot_sector,
        ldlinux_sys=loader.ldlinux_sys,
        sectors=range(
            place.first_sector, place.first_sector + len(loader.ldlinux_sys) // SECTOR_BYTES
        ),
        directory=f"/{directory}",
    )

    # The real installer on the same volume without the file: it takes the same clusters.
    empty = plan_fat32(
        files=[],
        total_sectors=total,
        hidden_sectors=OFFSET_SECTORS,
        label="X",
        directories=[directory],
    )
    image = tmp_path / "key.img"
    with open(image, "wb") as out:
        out.truncate(mebibytes << 20)
        for offset, content in empty.metadata(volume_id=1):
            os.pwrite(out.fileno(), content, OFFSET_SECTORS * SECTOR_BYTES + offset)
    start = OFFSET_SECTORS * SECTOR_BYTES
    install_syslinux(image, offset_bytes=start, directory=f"/{directory}")
    assert (
        read_fat_file(image, f"{directory}/ldlinux.c32", offset_bytes=start) == loader.ldlinux_c32
    )
    assert (
        read_fat_file(image, f"{directory}/ldlinux.sys", offset_bytes=start) == placed.ldlinux_sys
    )
    (_, reserved), *_ = ours.metadata(volume_id=1, boot_sector=placed.boot_sector)
    with open(image, "rb") as source:
        assert os.pread(source.fileno(), SECTOR_BYTES, start) == reserved[:SECTOR_BYTES]


def test_scattered_file_is_mapped_as_the_installer_does(tmp_path, loader):
    """Every second cluster is taken, so that each of the installer's extents is one cluster."""
    files = [FatFile(path=f"f{number:03}", size_bytes=1) for number in range(400)]
    volume = plan_fat32(files=files, total_sectors=35 << 11, label="X")
    image = tmp_path / "volume.img"
    with open(image, "wb") as out:
        out.truncate(35 << 20)
        for offset, content in volume.metadata(volume_id=1):
            os.pwrite(out.fileno(), content, offset)
    doomed = [f"::f{number:03}" for number in range(0, 400, 2)]
    run_program(["mdel", "-i", image, *doomed])
    # Tell mtools to look for free clusters from the start, as after a check of the volume.
    with open(image, "r+b") as out:
        os.pwrite(out.fileno(), struct.pack("<II", 0xFFFF_FFFF, 0xFFFF_FFFF), 512 + 488)
    install_syslinux(image, offset_bytes=0, directory=None)
    installed = read_fat_file(image, "ldlinux.sys")
    first = volume.placements["f000"].first_sector
    count = len(loader.ldlinux_sys) // SECTOR_BYTES
    placed = place_loader(
        boot_sector=loader.boot_sector,
        ldlinux_sys=loader.ldlinux_sys,
        sectors=[first + 2 * number for number in range(count)],
        directory="",
    )
    assert placed.ldlinux_sys == installed
    with open(image, "rb") as source:
        assert placed.boot_sector[90:] == source.read(SECTOR_BYTES)[90:]


def test_placing_again_forgets_the_first_place(loader):
    def place(sectors, sysfile):
        return place_loader(
            boot_sector=loader.boot_sector,
            ldlinux_sys=sysfile,
            sectors=sectors,
            directory="/boot/syslinux",
        )

    count = len(loader.ldlinux_sys) // SECTOR_BYTES
    once = place(range(5000, 5000 + count), loader.ldlinux_sys)
    scattered = place(range(1000, 1000 + 3 * count, 3), loader.ldlinux_sys)
    assert scattered != once
    assert place(range(5000, 5000 + count), scattered.ldlinux_sys) == once


def refusal(kind, **changes):
    arguments = {
        "boot_sector": bytes(512),
        "ldlinux_sys": bytes(4096),
        "sectors": range(8),
        "directory": "/",
    }
    with pytest.raises(kind) as caught:
        place_loader(**(arguments | changes))
    return str(caught.value)


def test_bytes_that_are_not_syslinux_are_refused():
    assert refusal(FormatError) == (
        "ldlinux.sys: no SYSLINUX patch area in it; expected the word 0x3eb202fe\n"
        "  next: install Debian's package syslinux"
    )


@pytest.mark.parametrize("pointer", [0xFFFF, 4000])
def test_damaged_patch_area_is_refused(pointer):
    image = bytearray(4096)
    struct.pack_into("<IIHHIIHH", image, 8, 0x3EB202FE, 0, 8, 2, 0, 0, 0, pointer)
    struct.pack_into("<10H", image, 4000, 0, 0, 0, 0, 0, 0, 0xFFFF, 0, 0, 0)
    assert refusal(FormatError, ldlinux_sys=bytes(image)) == (
        "ldlinux.sys: its patch area points outside the file"
    )


def test_wrong_number_of_sectors_is_refused(loader):
    assert refusal(BuildError, ldlinux_sys=loader.ldlinux_sys) == (
        "ldlinux.sys: wrong number of sectors; expected 116, got 8"
    )


def test_too_long_a_directory_is_refused(loader):
    count = len(loader.ldlinux_sys) // SECTOR_BYTES
    message = refusal(
        BuildError,
        boot_sector=loader.boot_sector,
        ldlinux_sys=loader.ldlinux_sys,
        sectors=range(1, count + 1),
        directory="/" + "d" * 300,
    )
    assert message.endswith(
        "directory name is too long for SYSLINUX; expected at most 255 bytes, got 301"
    )
