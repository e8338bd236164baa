"""syslinux: the BIOS boot loader, taken from the real installer once.

The installer writes both loader files and the boot sector onto a volume, by way of eight
mtools processes and a sync(2) of the whole machine. So it is run on an empty floppy image;
what it wrote there is then laid onto each key and told where it lies
(formats/syslinux_loader). The code is the same on FAT12 and FAT32: it begins behind the
larger of the two parameter blocks.
"""

from __future__ import annotations

import functools
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import ToolMissing
from bootsmith.files.atomic import write_file
from bootsmith.tools import catalog
from bootsmith.tools.mtools import format_floppy, read_fat_file
from bootsmith.tools.run import find_program, run_program

MBR_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
_SECTOR_BYTES = 512


@dataclass(frozen=True, kw_only=True)
class SyslinuxLoader:
    """What the installer puts on a volume: the boot sector and both files.

    `ldlinux_sys` includes the two ADV sectors at its end. Of the boot sector, bytes 11 to 89
    belong to the volume it was read from.
    """

    boot_sector: bytes
    ldlinux_sys: bytes
    ldlinux_c32: bytes


def read_mbr_code() -> bytes:
    """SYSLINUX's 440 bytes for the MBR: start the active partition."""
    try:
        return MBR_CODE.read_bytes()
    except FileNotFoundError:
        raise ToolMissing(
            MBR_CODE,
            f"file not found, needed by {catalog.purpose_of(str(MBR_CODE))}",
            hint=f"{catalog.how_to_get(str(MBR_CODE))}, or see all with: make doctor",
        ) from None


def install_syslinux(image: Path, *, offset_bytes: int, directory: str | None) -> None:
    """Run the real installer on the volume that begins at `offset_bytes` of `image`."""
    words: list[str | Path] = ["syslinux", "--install", "-t", str(offset_bytes)]
    if directory is not None:
        words += ["-d", directory]
    # As in tools/mtools: at epoch 0 the mtools that it starts would write the year 2098.
    run_program([*words, image], environment={"SOURCE_DATE_EPOCH": "315532800"})


def read_syslinux_loader(cache: Path | None = None) -> SyslinuxLoader:
    """The loader that this machine's installer writes, not yet told where it lies.

    Kept in the directory `cache`, if given, under the digest of the installer; within one
    process it is kept anyway.
    """
    program = Path(find_program("syslinux"))
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    return _loader_of(digest, cache)


@functools.lru_cache(maxsize=2)
def _loader_of(digest: str, cache: Path | None) -> SyslinuxLoader:
    kept = cache / f"syslinux-{digest[:32]}" if cache else None
    if kept is not None and (loader := _unpack(kept)) is not None:
        return loader
    loader = _install_on_floppy()
    if kept is not None:
        write_file(kept, _pack(loader), durable=False)
    return loader


def _install_on_floppy() -> SyslinuxLoader:
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch, "floppy.img")
        format_floppy(image)
        install_syslinux(image, offset_bytes=0, directory=None)
        with open(image, "rb") as source:
            boot_sector = source.read(_SECTOR_BYTES)
        return SyslinuxLoader(
            boot_sector=boot_sector,
            ldlinux_sys=read_fat_file(image, "ldlinux.sys"),
            ldlinux_c32=read_fat_file(image, "ldlinux.c32"),
        )


def _pack(loader: SyslinuxLoader) -> bytes:
    body = (
        loader.boot_sector
        + len(loader.ldlinux_sys).to_bytes(4, "little")
        + loader.ldlinux_sys
        + loader.ldlinux_c32
    )
    # Not fsynced: the digest tells a whole file from one that a power cut left.
    return hashlib.sha256(body).digest() + body


def _unpack(kept: Path) -> SyslinuxLoader | None:
    try:
        content = kept.read_bytes()
    except FileNotFoundError:
        return None
    digest, body = content[:32], content[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    start = _SECTOR_BYTES + 4
    end = start + int.from_bytes(body[_SECTOR_BYTES:start], "little")
    return SyslinuxLoader(
        boot_sector=body[:_SECTOR_BYTES], ldlinux_sys=body[start:end], ldlinux_c32=body[end:]
    )
