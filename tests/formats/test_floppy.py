"""The EFI floppy image, read back by mtools and checked by fsck.vfat."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.floppy import write_floppy


@pytest.mark.parametrize("size", [0, 1, 512, 513, 700_001, 1_400_000])
def test_mtools_reads_what_we_wrote(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    image = tmp_path / "efi.img"
    image.write_bytes(write_floppy({"EFI/BOOT/BOOTX64.EFI": content, "README.TXT": b"hello"}))
    assert image.stat().st_size == 1440 * 1024
    subprocess.run(["fsck.vfat", "-n", image], check=True, stdout=subprocess.DEVNULL)
    for path, expected in (("EFI/BOOT/BOOTX64.EFI", content), ("README.TXT", b"hello")):
        read = subprocess.run(["mtype", "-i", image, f"::{path}"], check=True, capture_output=True)
        assert read.stdout == expected
    listing = subprocess.run(["mdir", "-i", image, "-b", "-/"], check=True, capture_output=True)
    assert sorted(listing.stdout.decode().split()) == [
        "::/EFI/",
        "::/EFI/BOOT/",
        "::/EFI/BOOT/BOOTX64.EFI",
        "::/README.TXT",
    ]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(FormatError) as caught:
        write_floppy({"EFI/BOOT/BOOTX64.EFI": bytes(1_500_000)})
    assert caught.value.message == (
        "floppy image: content does not fit; expected at most 1457664 bytes"
    )


def test_long_names_are_refused() -> None:
    with pytest.raises(FormatError) as caught:
        write_floppy({"bootx64.efi": b""})
    assert caught.value.message == (
        "floppy image: not a short file name; "
        "expected at most 8 capitals or digits, a dot and 3 more, got 'bootx64.efi'"
    )
