"""Telling SYSLINUX where it lies: the sector map inside `ldlinux.sys` and its boot sector.

The boot sector knows one number, the first sector of `ldlinux.sys`. That sector holds a list
of extents for the rest, the place of the two ADV sectors at the file's end, the directory to
look for a configuration in, and a checksum over the whole image. The installer fills these in
after it has copied the file; whoever lays the file down can fill them in as well, without a
mount, a second process or a sync(2) of the whole machine.

Source of the facts: syslinux 6.04 libinstaller/syslxint.h (patch areas) and syslxmod.c (the
rules for extents). Tests hold the result against the installer's, byte by byte.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from bootsmith.errors import BuildError, FormatError

SECTOR_BYTES = 512
_ADV_SECTORS = 2
_MAGIC = 0x3EB202FE
_TRANSFER_LIMIT_BYTES = 0x10000
_PATCH_AREA = struct.Struct("<IIHHIIHH")
_PATCH_POINTERS = struct.Struct("<10H")
_EXTENT = struct.Struct("<QH")
_CHECKSUM_OFFSET = 16  # in the patch area


@dataclass(frozen=True, kw_only=True)
class PlacedLoader:
    """A boot sector and the `ldlinux.sys` that it starts, each knowing where the latter lies."""

    boot_sector: bytes
    ldlinux_sys: bytes


@dataclass(frozen=True, kw_only=True)
class _Pointers:
    adv: int
    directory: int
    directory_bytes: int
    extents: int
    extent_count: int
    first_sector_low: int
    first_sector_high: int


def place_loader(
    *, boot_sector: bytes, ldlinux_sys: bytes, sectors: Sequence[int], directory: str
) -> PlacedLoader:
    """The loader patched for `ldlinux.sys` lying on `sectors`, counted from the volume's start.

    `ldlinux_sys` includes the two ADV sectors at its end. `boot_sector` may come from any FAT
    volume: its parameter block (bytes 11 to 89) is not looked at. `directory` is where
    SYSLINUX begins to look for its configuration and modules, such as `/boot/syslinux`.
    FormatError if `ldlinux.sys` is not of a known form, BuildError if the sectors or the
    directory do not fit into it.
    """
    image = bytearray(ldlinux_sys)
    head = bytearray(boot_sector)
    needed = -(-len(image) // SECTOR_BYTES)
    if len(sectors) != needed:
        raise BuildError(
            "ldlinux.sys", "wrong number of sectors", expected=needed, got=len(sectors)
        )
    area = _patch_area_offset(image)
    pointers = _pointers(image, area)
    struct.pack_into("<I", head, pointers.first_sector_low, sectors[0] & 0xFFFF_FFFF)
    struct.pack_into("<I", head, pointers.first_sector_high, sectors[0] >> 32)
    _write_extents(image, pointers, sectors[1:-_ADV_SECTORS])
    struct.pack_into("<2Q", image, pointers.adv, *sectors[-_ADV_SECTORS:])
    _write_directory(image, pointers, directory)
    _write_checksum(image, area)
    return PlacedLoader(boot_sector=bytes(head), ldlinux_sys=bytes(image))


def _patch_area_offset(image: bytearray) -> int:
    needle = struct.pack("<I", _MAGIC)
    offset = image.find(needle)
    while offset % 4 and offset != -1:
        offset = image.find(needle, offset + 1)
    if offset == -1 or offset + _PATCH_AREA.size > len(image):
        raise FormatError(
            "ldlinux.sys",
            "no SYSLINUX patch area in it",
            expected=f"the word {_MAGIC:#x}",
            hint="install Debian's package syslinux",
        )
    return offset


def _pointers(image: bytearray, area: int) -> _Pointers:
    pointer_offset = _PATCH_AREA.unpack_from(image, area)[-1]
    if pointer_offset + _PATCH_POINTERS.size > len(image):
        raise FormatError("ldlinux.sys", "its patch area points outside the file")
    adv, directory, directory_bytes, _, _, extents, count, low, high, _ = (
        _PATCH_POINTERS.unpack_from(image, pointer_offset)
    )
    ends = (adv + 16, directory + directory_bytes, extents + count * _EXTENT.size)
    if max(ends) > len(image) or max(low, high) + 4 > SECTOR_BYTES:
        raise FormatError("ldlinux.sys", "its patch area points outside the file")
    return _Pointers(
        adv=adv,
        directory=directory,
        directory_bytes=directory_bytes,
        extents=extents,
        extent_count=count,
        first_sector_low=low,
        first_sector_high=high,
    )


def _write_extents(image: bytearray, pointers: _Pointers, sectors: Sequence[int]) -> None:
    extents = _extents(sectors)
    if len(extents) > pointers.extent_count:
        raise BuildError(
            "ldlinux.sys",
            "lies in too many pieces",
            expected=f"at most {pointers.extent_count}",
            got=len(extents),
        )
    table = b"".join(_EXTENT.pack(lba, count) for lba, count in extents)
    size_bytes = pointers.extent_count * _EXTENT.size
    image[pointers.extents : pointers.extents + size_bytes] = table.ljust(size_bytes, b"\0")


def _extents(sectors: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of consecutive sectors, each less than 64 KiB: what one BIOS call may be asked for."""
    extents: list[tuple[int, int]] = []
    for sector in sectors:
        if extents:
            lba, count = extents[-1]
            if sector == lba + count and (count + 1) * SECTOR_BYTES < _TRANSFER_LIMIT_BYTES:
                extents[-1] = (lba, count + 1)
                continue
        extents.append((sector, 1))
    return extents


def _write_directory(image: bytearray, pointers: _Pointers, directory: str) -> None:
    text = directory.encode("ascii") + b"\0"
    if len(text) > pointers.directory_bytes:
        raise BuildError(
            directory,
            "directory name is too long for SYSLINUX",
            expected=f"at most {pointers.directory_bytes - 1} bytes",
            got=len(text) - 1,
        )
    image[pointers.directory : pointers.directory + len(text)] = text


def _write_checksum(image: bytearray, area: int) -> None:
    """Make all words of the image (the ADV not counted) add up to the magic."""
    words = _PATCH_AREA.unpack_from(image, area)[4]
    struct.pack_into("<I", image, area + _CHECKSUM_OFFSET, 0)
    total = sum(struct.unpack_from(f"<{words}I", image))
    struct.pack_into("<I", image, area + _CHECKSUM_OFFSET, (_MAGIC - total) & 0xFFFF_FFFF)
