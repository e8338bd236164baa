"""The master boot record: boot code, disk signature and four partitions in 512 bytes.

Source of the facts: UEFI specification 2.10, section 5.2 (the legacy MBR).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from bootsmith.errors import BuildError, FormatError

MBR_BYTES = 512
BOOT_CODE_BYTES = 440
FAT32_LBA = 0x0C
"""Partition type: FAT32 reached by sector number."""

_ENTRY = struct.Struct("<B3sB3sII")
_TABLE_OFFSET = 446
_MOST_PARTITIONS = 4
_HEADS, _SECTORS_PER_TRACK, _CYLINDERS = 255, 63, 1024
_BEYOND = b"\xfe\xff\xff"  # cylinder, head and sector where the true ones do not fit


@dataclass(frozen=True, kw_only=True)
class MbrPartition:
    """One primary partition, in sectors of 512 bytes."""

    start_lba: int
    sectors: int
    type_code: int
    is_active: bool = False


def write_mbr(
    *, boot_code: bytes, disk_signature: int, partitions: Sequence[MbrPartition]
) -> bytes:
    """The 512 bytes of sector 0. BuildError for what a partition table cannot say."""
    if len(boot_code) > BOOT_CODE_BYTES:
        raise BuildError(
            "MBR",
            "boot code is too long",
            expected=f"at most {BOOT_CODE_BYTES} bytes",
            got=f"{len(boot_code)} bytes",
        )
    if len(partitions) > _MOST_PARTITIONS:
        raise BuildError(
            "MBR", "too many partitions", expected=_MOST_PARTITIONS, got=len(partitions)
        )
    table = b"".join(_partition_entry(partition) for partition in partitions)
    return (
        boot_code.ljust(BOOT_CODE_BYTES, b"\0")
        + struct.pack("<IH", disk_signature, 0)
        + table.ljust(_MOST_PARTITIONS * _ENTRY.size, b"\0")
        + b"\x55\xaa"
    )


def read_mbr(sector: bytes, *, subject: object = "MBR") -> tuple[int, tuple[MbrPartition, ...]]:
    """Disk signature and the used partitions of sector 0; FormatError if it is no MBR."""
    if len(sector) < MBR_BYTES or sector[510:512] != b"\x55\xaa":
        raise FormatError(
            subject,
            "no master boot record",
            expected="55 aa at byte 510",
            got=_signature(sector),
            hint="build it again",
        )
    (disk_signature,) = struct.unpack_from("<I", sector, BOOT_CODE_BYTES)
    partitions = []
    for number in range(_MOST_PARTITIONS):
        active, _, type_code, _, start, sectors = _ENTRY.unpack_from(
            sector, _TABLE_OFFSET + number * _ENTRY.size
        )
        if active & 0x7F:
            raise FormatError(
                subject,
                f"partition {number + 1} has no valid boot flag",
                expected="00 or 80",
                got=f"{active:02x}",
                hint="build it again",
            )
        if type_code:
            partitions.append(
                MbrPartition(
                    start_lba=start, sectors=sectors, type_code=type_code, is_active=bool(active)
                )
            )
    return disk_signature, tuple(partitions)


def _partition_entry(partition: MbrPartition) -> bytes:
    last = partition.start_lba + partition.sectors - 1
    if partition.sectors < 1 or partition.start_lba < 1 or last > 0xFFFF_FFFF:
        raise BuildError(
            "MBR",
            "partition lies where an MBR cannot point",
            expected=f"sectors 1 to {0xFFFF_FFFF}",
            got=f"{partition.start_lba} to {last}",
        )
    return _ENTRY.pack(
        0x80 if partition.is_active else 0,
        _cylinder_head_sector(partition.start_lba),
        partition.type_code,
        _cylinder_head_sector(last),
        partition.start_lba,
        partition.sectors,
    )


def _cylinder_head_sector(lba: int) -> bytes:
    track, sector = divmod(lba, _SECTORS_PER_TRACK)
    cylinder, head = divmod(track, _HEADS)
    if cylinder >= _CYLINDERS:
        return _BEYOND
    return bytes((head, (sector + 1) | (cylinder >> 2 & 0xC0), cylinder & 0xFF))


def _signature(sector: bytes) -> str:
    return sector[510:512].hex(" ") or f"{len(sector)} bytes"
