"""A 1440 KiB floppy image with FAT12, as UEFI firmware reads it from a CD.

Source of the numbers: Microsoft's FAT specification (fatgen103), the 3½-inch high-density
geometry. Only short names, only as much as an El Torito EFI image needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bootsmith.errors import FormatError

_SECTOR_BYTES = 512
_SECTORS = 2880
_FAT_SECTORS = 9
_ROOT_ENTRIES = 224
_ROOT_SECTORS = _ROOT_ENTRIES * 32 // _SECTOR_BYTES
_FIRST_DATA_SECTOR = 1 + 2 * _FAT_SECTORS + _ROOT_SECTORS
_CLUSTERS = _SECTORS - _FIRST_DATA_SECTOR  # one sector each
_MEDIA = 0xF0
_END_OF_CHAIN = 0xFFF
_DATE_1980 = 1 << 5 | 1  # 1 January 1980, the earliest that FAT can say
_SHORT_NAME = re.compile(r"[A-Z0-9_-]{1,8}(\.[A-Z0-9_-]{1,3})?")


def write_floppy(files: Mapping[str, bytes]) -> bytes:
    """The image holding `files`, whose names are upper-case paths such as `EFI/BOOT/X.EFI`.

    Raises FormatError for names FAT's 8.3 cannot hold and for content that does not fit.
    """
    writer = _Writer()
    tree: dict = {}
    for path, content in sorted(files.items()):
        *directories, name = path.split("/")
        node = tree
        for part in directories:
            node = node.setdefault(part, {})
        node[name] = content
    root = writer.entries_of(tree, own_cluster=0, parent_cluster=0)
    if len(root) > _ROOT_ENTRIES * 32:
        raise FormatError("floppy image", "too many files in its root directory")
    return writer.image(root)


class _Writer:
    """Hands out clusters, one after another, and remembers the chains."""

    def __init__(self) -> None:
        self._chain = [0xF00 | _MEDIA, _END_OF_CHAIN]
        self._data: list[bytes] = []

    def entries_of(self, tree: dict, *, own_cluster: int, parent_cluster: int) -> bytes:
        """Directory entries of `tree`; contents below it get their clusters."""
        entries = []
        if own_cluster:
            entries.append(_entry(b".".ljust(11), 0x10, own_cluster, 0))
            entries.append(_entry(b"..".ljust(11), 0x10, parent_cluster, 0))
        for name, content in tree.items():
            if isinstance(content, dict):
                # A directory knows its own cluster, so it is reserved before it is filled.
                size_bytes = (len(content) + 2) * 32
                cluster, position = self._reserve(size_bytes)
                inner = self.entries_of(content, own_cluster=cluster, parent_cluster=own_cluster)
                self._fill(position, inner, size_bytes)
                entries.append(_entry(_short_name(name), 0x10, cluster, 0))
            else:
                cluster = 0
                if content:
                    cluster, position = self._reserve(len(content))
                    self._fill(position, content, len(content))
                entries.append(_entry(_short_name(name), 0x20, cluster, len(content)))
        return b"".join(entries)

    def image(self, root: bytes) -> bytes:
        """Boot sector, both tables, root directory, data."""
        table = _packed_table(self._chain).ljust(_FAT_SECTORS * _SECTOR_BYTES, b"\0")
        root = root.ljust(_ROOT_SECTORS * _SECTOR_BYTES, b"\0")
        image = _boot_sector() + table + table + root + b"".join(self._data)
        return image.ljust(_SECTORS * _SECTOR_BYTES, b"\0")

    def _reserve(self, size_bytes: int) -> tuple[int, int]:
        count = -(-size_bytes // _SECTOR_BYTES)
        first = len(self._chain)
        if first - 2 + count > _CLUSTERS:
            raise FormatError(
                "floppy image",
                "content does not fit",
                expected=f"at most {_CLUSTERS * _SECTOR_BYTES} bytes",
            )
        self._chain += [*range(first + 1, first + count), _END_OF_CHAIN]
        self._data += [b""] * count
        return first, first - 2

    def _fill(self, position: int, content: bytes, size_bytes: int) -> None:
        for offset in range(0, size_bytes, _SECTOR_BYTES):
            sector = content[offset : offset + _SECTOR_BYTES].ljust(_SECTOR_BYTES, b"\0")
            self._data[position + offset // _SECTOR_BYTES] = sector


def _boot_sector() -> bytes:
    words = (
        b"\xeb\x3c\x90BOOTSMTH"
        + _SECTOR_BYTES.to_bytes(2, "little")
        + bytes([1, 1, 0, 2])  # sectors a cluster, reserved sectors (2 bytes), tables
        + _ROOT_ENTRIES.to_bytes(2, "little")
        + _SECTORS.to_bytes(2, "little")
        + bytes([_MEDIA])
        + _FAT_SECTORS.to_bytes(2, "little")
        + (18).to_bytes(2, "little")  # sectors a track
        + (2).to_bytes(2, "little")  # heads
        + bytes(8)  # hidden sectors, sectors of a large volume
        + b"\0\0\x29"  # drive, reserved, extended signature
        + bytes(4)  # serial number
        + b"NO NAME    FAT12   "
    )
    return words.ljust(510, b"\0") + b"\x55\xaa"


def _packed_table(chain: list[int]) -> bytes:
    packed = bytearray()
    for even, odd in zip(chain[::2], [*chain[1::2], 0][: len(chain[::2])], strict=True):
        packed += (even | odd << 12).to_bytes(3, "little")
    return bytes(packed)


def _entry(name: bytes, attributes: int, cluster: int, size_bytes: int) -> bytes:
    return (
        name
        + bytes([attributes, 0, 0])
        + bytes(2)
        + _DATE_1980.to_bytes(2, "little") * 2  # created, accessed
        + bytes(4)
        + _DATE_1980.to_bytes(2, "little")
        + cluster.to_bytes(2, "little")
        + size_bytes.to_bytes(4, "little")
    )


def _short_name(name: str) -> bytes:
    if not _SHORT_NAME.fullmatch(name):
        raise FormatError(
            "floppy image",
            "not a short file name",
            expected="at most 8 capitals or digits, a dot and 3 more",
            got=f"{name!a}",
        )
    stem, _, suffix = name.partition(".")
    return stem.ljust(8).encode("ascii") + suffix.ljust(3).encode("ascii")
