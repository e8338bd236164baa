from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.errors import BuildError, FormatError
from bootsmith.formats.mbr import FAT32_LBA, MbrPartition, read_mbr, write_mbr

KEY = MbrPartition(start_lba=2048, sectors=1046528, type_code=FAT32_LBA, is_active=True)

partitions = st.builds(
    MbrPartition,
    start_lba=st.integers(1, 1 << 31),
    sectors=st.integers(1, 1 << 31),
    type_code=st.integers(1, 255),
    is_active=st.booleans(),
)


@given(
    signature=st.integers(0, 0xFFFF_FFFF),
    table=st.lists(partitions, max_size=4),
    code=st.binary(max_size=440),
)
def test_what_is_written_is_read_back(signature, table, code):
    sector = write_mbr(boot_code=code, disk_signature=signature, partitions=table)
    assert len(sector) == 512
    assert sector[: len(code)] == code
    assert read_mbr(sector) == (signature, tuple(table))


def test_sfdisk_reads_the_same(tmp_path):
    image = tmp_path / "disk.img"
    with open(image, "wb") as out:
        out.write(write_mbr(boot_code=b"", disk_signature=0xDEADBEEF, partitions=[KEY]))
        out.truncate(512 << 20)
    dump = subprocess.run(
        ["/usr/sbin/sfdisk", "--json", str(image)], check=True, capture_output=True
    )
    table = json.loads(dump.stdout)["partitiontable"]
    assert table["id"] == "0xdeadbeef"
    (partition,) = table["partitions"]
    del partition["node"]
    assert partition == {"start": 2048, "size": 1046528, "type": "c", "bootable": True}


def test_our_reader_takes_what_sfdisk_writes(tmp_path):
    image = tmp_path / "disk.img"
    with open(image, "wb") as out:
        out.truncate(64 << 20)
    subprocess.run(
        ["/usr/sbin/sfdisk", "-q", str(image)],
        input=b"label: dos\nlabel-id: 0x1\nstart=2048, size=4096, type=83\nstart=8192, type=c\n",
        check=True,
    )
    assert read_mbr(image.read_bytes()[:512]) == (
        1,
        (
            MbrPartition(start_lba=2048, sectors=4096, type_code=0x83),
            MbrPartition(start_lba=8192, sectors=122880, type_code=0x0C),
        ),
    )


def test_old_geometry_is_given_where_it_can_be():
    sector = write_mbr(boot_code=b"", disk_signature=0, partitions=[KEY])
    # 2048 = track 32, sector 33 (counted from 1); the last sector, 1048575, is 65:69:4
    assert sector[446:462].hex(" ") == "80 20 21 00 0c 45 04 41 00 08 00 00 00 f8 0f 00"
    middle = MbrPartition(start_lba=700 * 255 * 63, sectors=1, type_code=FAT32_LBA)
    sector = write_mbr(boot_code=b"", disk_signature=0, partitions=[middle])
    assert sector[447:450].hex(" ") == "00 81 bc"  # cylinder 700 = 2 * 256 + 0xbc, sector 1
    far = MbrPartition(start_lba=2048, sectors=1 << 30, type_code=FAT32_LBA)
    sector = write_mbr(boot_code=b"", disk_signature=0, partitions=[far])
    assert sector[451:454] == b"\xfe\xff\xff"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"boot_code": bytes(441), "partitions": [KEY]},
            "MBR: boot code is too long; expected at most 440 bytes, got 441 bytes",
        ),
        (
            {"boot_code": b"", "partitions": [KEY] * 5},
            "MBR: too many partitions; expected 4, got 5",
        ),
        (
            {
                "boot_code": b"",
                "partitions": [MbrPartition(start_lba=2048, sectors=1 << 32, type_code=12)],
            },
            (
                "MBR: partition lies where an MBR cannot point; "
                "expected sectors 1 to 4294967295, got 2048 to 4294969343"
            ),
        ),
    ],
)
def test_refusal(arguments, message):
    with pytest.raises(BuildError) as caught:
        write_mbr(disk_signature=0, **arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "sector, message",
    [
        (b"", "disk: no master boot record; expected 55 aa at byte 510, got 0 bytes"),
        (bytes(512), "disk: no master boot record; expected 55 aa at byte 510, got 00 00"),
        (
            b"\xff" * 510 + b"\x55\xaa",
            "disk: partition 1 has no valid boot flag; expected 00 or 80, got ff",
        ),
    ],
)
def test_other_sectors_are_refused(sector, message):
    with pytest.raises(FormatError) as caught:
        read_mbr(sector, subject="disk")
    assert str(caught.value) == f"{message}\n  next: build it again"
