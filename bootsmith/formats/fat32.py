"""A FAT32 volume laid out in one pass.

`plan_fat32` decides where everything goes from names and sizes alone; the volume it returns
says at which byte each file's content belongs and gives the bytes of everything that is not
content (boot sectors, FSInfo, both FATs, directories). Whoever holds the content writes both
into a sparse file: nothing is read back, no byte is written twice, holes stay holes.

Layout: root directory at cluster 2, the other directories by path, then the files in the
order given, each in one run of clusters. Equal arguments give equal bytes: every time stamp is
1980-01-01 00:00:00, the first moment that FAT knows.

Source of the facts: Microsoft Extensible Firmware Initiative FAT32 File System Specification
1.03; kernel fs/fat/namei_vfat.c for which names Linux takes.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bootsmith.errors import BuildError

SECTOR_BYTES = 512
READ_ONLY, HIDDEN, SYSTEM, VOLUME_LABEL, DIRECTORY, ARCHIVE = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
FILE_LIMIT_BYTES = 0xFFFF_FFFF
"""The size field of a directory entry has 32 bits: one byte less than 4 GiB."""

_LONG_NAME = 0x0F
_ENTRY_BYTES = 32
_ENTRIES_LIMIT = 65536  # a directory holds at most 2 MiB
_NAME_LIMIT_UNITS = 255
_UNITS_PER_LONG_ENTRY = 13
_FIRST_DATE = 0x0021  # 1980-01-01
_FIRST_CLUSTER = 2
_END_OF_CHAIN = 0x0FFF_FFFF
_MEDIA_FIXED_DISK = 0xF8
_FATS = 2
_LEAST_RESERVED_SECTORS = 32
_BACKUP_BOOT_SECTOR = 6
# Fewer clusters are FAT16 to a reader. Some readers count a little wrongly, so the
# specification asks to keep a distance of 16 from the limit.
_LEAST_CLUSTERS = 65525 + 16
_MOST_CLUSTERS = 0x0FFF_FFF5
_MOST_SECTORS = 0xFFFF_FFFF
_ALIGNMENT_BYTES = 4096  # of the data area: the page of flash media, the block of filesystems
_SECTORS_PER_MEBIBYTE = 2048
# Largest cluster by size of the volume, as the specification's table; then halved until there
# are enough clusters. (8 GiB, 16 GiB, 32 GiB.)
_CLUSTER_SECTORS = ((16 << 20, 8), (32 << 20, 16), (64 << 20, 32))
_LARGEST_CLUSTER_SECTORS = 64

_FORBIDDEN = frozenset('"*/:<>?\\|')
_SHORT_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'()-@^_`{}~")
_LABEL_LETTERS = _SHORT_LETTERS | {0x20}

# Jump over the parameter block; then INT 18h (tell the firmware to try the next device) and halt.
_NO_LOADER_HEAD = b"\xeb\x58\x90BOOTSMTH"
_NO_LOADER_CODE = b"\xcd\x18\xf4\xeb\xfd"
_CODE_OFFSET = 90
_HEAD_BYTES = 11


@dataclass(frozen=True, kw_only=True)
class FatFile:
    """A file to be: `path` with slashes and no leading one, size of its content, attribute bits."""

    path: str
    size_bytes: int
    attributes: int = ARCHIVE


@dataclass(frozen=True, kw_only=True)
class FatGeometry:
    """Where the areas of the volume lie, in sectors from its start."""

    total_sectors: int
    hidden_sectors: int
    sectors_per_cluster: int
    reserved_sectors: int
    fat_sectors: int
    cluster_count: int

    @property
    def cluster_bytes(self) -> int:
        """Size of one cluster."""
        return self.sectors_per_cluster * SECTOR_BYTES

    @property
    def data_sector(self) -> int:
        """First sector of cluster 2."""
        return self.reserved_sectors + _FATS * self.fat_sectors

    def clusters_for(self, size_bytes: int) -> int:
        """How many clusters hold `size_bytes`."""
        return -(-size_bytes // self.cluster_bytes)

    def sector_of(self, cluster: int) -> int:
        """First sector of a cluster."""
        return self.data_sector + (cluster - _FIRST_CLUSTER) * self.sectors_per_cluster


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a file's content belongs: one run of sectors, from the start of the volume.

    An empty file has no cluster and no sector; both are 0 then.
    """

    first_cluster: int
    first_sector: int
    size_bytes: int

    @property
    def offset_bytes(self) -> int:
        """The first sector as a byte offset from the start of the volume."""
        return self.first_sector * SECTOR_BYTES


@dataclass(frozen=True, kw_only=True)
class _Entry:
    name: str
    short_name: bytes
    has_long_name: bool
    attributes: int
    path: str


@dataclass(frozen=True, kw_only=True)
class _Directory:
    path: str
    entries: tuple[_Entry, ...]
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class FatVolume:
    """A planned volume. `placements` has every file and, as directories, their clusters."""

    geometry: FatGeometry
    label: str
    placements: Mapping[str, Placement]
    _directories: tuple[_Directory, ...]
    _directory_placements: Mapping[str, Placement]
    _runs: tuple[int, ...]

    @property
    def used_clusters(self) -> int:
        """Clusters taken by directories and files."""
        return sum(self._runs)

    @property
    def free_bytes(self) -> int:
        """What can still be added, directories not counted."""
        return (self.geometry.cluster_count - self.used_clusters) * self.geometry.cluster_bytes

    def metadata(
        self, *, volume_id: int, boot_sector: bytes | None = None
    ) -> list[tuple[int, bytes]]:
        """All bytes that are not file content, as (offset from the volume's start, bytes).

        `volume_id` is the 32-bit serial that `blkid` shows as UUID. `boot_sector` is a sector
        of a boot loader: its jump, name and code are taken, its parameter block is not.
        """
        boot = self._boot_sector(volume_id, boot_sector)
        head = (boot + self._fsinfo() + _signed_sector()).ljust(
            _BACKUP_BOOT_SECTOR * SECTOR_BYTES, b"\0"
        )
        fat = self._fat()
        fat_offset = self.geometry.reserved_sectors * SECTOR_BYTES
        second_offset = fat_offset + self.geometry.fat_sectors * SECTOR_BYTES
        return [
            (0, head + head[: 3 * SECTOR_BYTES]),  # the backup of all three follows
            (fat_offset, fat),
            (second_offset, fat),
            (self.geometry.data_sector * SECTOR_BYTES, self._directory_area),
        ]

    def _boot_sector(self, volume_id: int, loader: bytes | None) -> bytes:
        geometry = self.geometry
        parameters = struct.pack(
            "<HBHBHHBHHHII IHHIHH12xBBBI11s8s",
            SECTOR_BYTES,
            geometry.sectors_per_cluster,
            geometry.reserved_sectors,
            _FATS,
            0,  # root entries: FAT32 has none
            0,  # 16-bit sector count: the 32-bit one is used
            _MEDIA_FIXED_DISK,
            0,  # 16-bit FAT size
            63,  # the geometry that firmware invents for large disks
            255,
            geometry.hidden_sectors,
            geometry.total_sectors,
            geometry.fat_sectors,
            0,  # both FATs are live
            0,  # version
            _FIRST_CLUSTER,
            1,  # FSInfo sector
            _BACKUP_BOOT_SECTOR,
            0x80,  # first hard disk
            0,
            0x29,  # serial, label and type follow
            volume_id,
            _label_bytes(self.label),
            b"FAT32   ",
        )
        head = loader[:_HEAD_BYTES] if loader else _NO_LOADER_HEAD
        code = loader[_CODE_OFFSET : SECTOR_BYTES - 2] if loader else _NO_LOADER_CODE
        return (head + parameters + code).ljust(SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"

    def _fsinfo(self) -> bytes:
        free = self.geometry.cluster_count - self.used_clusters
        # Where to look for a free one: Linux and mtools take it for the last one taken.
        last = _FIRST_CLUSTER + self.used_clusters - 1
        return struct.pack("<4s480x4sII12xI", b"RRaA", b"rrAa", free, last, 0xAA55_0000)

    def _fat(self) -> bytes:
        """The used head of a FAT; what follows is zero, which means free."""
        chain = array("I", [0x0FFF_FF00 | _MEDIA_FIXED_DISK, _END_OF_CHAIN])
        for clusters in self._runs:
            chain.extend(range(len(chain) + 1, len(chain) + clusters))
            chain.append(_END_OF_CHAIN)
        if struct.pack("=I", 1) != struct.pack("<I", 1):  # a big-endian machine
            chain.byteswap()
        return chain.tobytes()

    @cached_property
    def _directory_area(self) -> bytes:
        cluster_bytes = self.geometry.cluster_bytes
        area = bytearray()
        for directory in self._directories:
            area += self._directory_bytes(directory)
            area += bytes(-len(area) % cluster_bytes)
        return bytes(area)

    def _directory_bytes(self, directory: _Directory) -> bytes:
        if directory.path:
            parent = directory.path.rpartition("/")[0]
            # The root is written as cluster 0 in `..`, wherever it lies.
            above = self._directory_placements[parent].first_cluster if parent else 0
            own = self._directory_placements[directory.path].first_cluster
            parts = [
                _short_entry(b".          ", DIRECTORY, own, 0),
                _short_entry(b"..         ", DIRECTORY, above, 0),
            ]
        else:
            parts = [_short_entry(_label_bytes(self.label), VOLUME_LABEL, 0, 0)]
        for entry in directory.entries:
            if entry.has_long_name:
                parts.append(_long_entries(entry.name, entry.short_name))
            if entry.attributes & DIRECTORY:
                place, size_bytes = self._directory_placements[entry.path], 0
            else:
                place = self.placements[entry.path]
                size_bytes = place.size_bytes
            parts.append(
                _short_entry(entry.short_name, entry.attributes, place.first_cluster, size_bytes)
            )
        return b"".join(parts)


def plan_fat32(
    *,
    files: Sequence[FatFile],
    total_sectors: int,
    label: str,
    hidden_sectors: int = 0,
    directories: Iterable[str] = (),
    subject: object = "FAT32 volume",
) -> FatVolume:
    """Lay `files` on a volume of `total_sectors` sectors.

    `hidden_sectors` is the volume's own place on its disk, in sectors. Parents of files need
    not be in `directories`. Raises BuildError, with `subject` for what concerns the volume as
    a whole: names FAT cannot hold or tell apart, a file too large, content too large, a size
    that FAT32 cannot have.
    """
    check_fat_label(label)
    geometry = _geometry(total_sectors, hidden_sectors, subject)
    tree = _directory_tree(files, directories)
    return _place(geometry, label, tree, files, subject)


def fitting_sectors(
    *,
    files: Sequence[FatFile],
    spare_bytes: int,
    hidden_sectors: int = 0,
    directories: Iterable[str] = (),
    subject: object = "FAT32 volume",
) -> int:
    """Sectors of the smallest volume, in whole MiB, with room for `files` and `spare_bytes`."""
    tree = _directory_tree(files, directories)
    mebibytes = 1 + (spare_bytes + sum(entry.size_bytes for entry in files)) // (1 << 20)
    while True:
        geometry = _geometry_or_none(mebibytes * _SECTORS_PER_MEBIBYTE, hidden_sectors)
        if geometry is None:
            mebibytes += 1
            if mebibytes * _SECTORS_PER_MEBIBYTE > _MOST_SECTORS:
                raise BuildError(
                    subject,
                    "content is larger than a FAT32 volume can be",
                    expected=f"less than {_MOST_SECTORS * SECTOR_BYTES} bytes",
                    got=f"{sum(entry.size_bytes for entry in files)} bytes",
                    hint="leave something out",
                )
            continue
        runs = _runs(geometry, tree, files)
        missing = sum(runs) + geometry.clusters_for(spare_bytes) - geometry.cluster_count
        if missing <= 0:
            return geometry.total_sectors
        mebibytes += max(1, missing * geometry.cluster_bytes >> 20)


def check_fat_label(label: str) -> None:
    """BuildError unless `label` is 1 to 11 characters of those that every system shows alike."""
    if not (1 <= len(label) <= 11) or not all(ord(letter) in _LABEL_LETTERS for letter in label):
        raise BuildError(
            f"label {label!r}",
            "not a FAT volume label",
            expected="1 to 11 upper-case letters, digits, blanks or !#$%&'()-@^_`{}~",
            hint="choose another label",
        )
    if label != label.strip(" "):
        raise BuildError(
            f"label {label!r}",
            "blanks at an end of a FAT volume label are lost",
            hint="choose another label",
        )


def check_fat_path(path: str) -> None:
    """BuildError unless FAT can hold every part of `path` just as it is written."""
    for name in path.split("/"):
        problem = _name_problem(name)
        if problem:
            raise BuildError(
                ascii(path)[1:-1],
                f"FAT cannot hold the name {name!a}: {problem}",
                hint="rename the file",
            )


def short_names(names: Iterable[str]) -> dict[str, bytes]:
    """The 8.3 name of each name of one directory: 11 bytes, blank padded, no dot.

    Names that fit 8.3 apart from case keep their letters; the others get a numeric tail, in
    sorted order, so that the result does not depend on the order given.
    """
    result: dict[str, bytes] = {}
    others = []
    for name in sorted(names):
        plain = _plain_short_name(name)
        if plain is None:
            others.append(name)
        else:
            result[name] = plain
    taken = set(result.values())
    next_number: dict[tuple[bytes, bytes], int] = {}
    for name in others:
        base, extension = _short_basis(name)
        # Counted per basis, so that a thousand alike names do not each try from 1.
        number = next_number.get((base, extension), 1)
        while (candidate := _with_tail(base, extension, number)) in taken:
            number += 1
        next_number[base, extension] = number + 1
        taken.add(candidate)
        result[name] = candidate
    return result


def _name_problem(name: str) -> str | None:
    if name in ("", ".", ".."):
        return "it is not a file name"
    bad = next((letter for letter in name if letter in _FORBIDDEN or ord(letter) < 0x20), None)
    if bad is not None:
        return f"it has {bad!a}"
    if name[-1] in ". ":
        return "it ends in a dot or a blank"
    try:
        units = len(name.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        return "it is not Unicode"
    if units > _NAME_LIMIT_UNITS:
        return f"it has {units} characters, {_NAME_LIMIT_UNITS} are the limit"
    return None


def _folded(name: str) -> str:
    """What FAT compares: each character in upper case, where that is one character."""
    return "".join(upper if len(upper := letter.upper()) == 1 else letter for letter in name)


def _directory_tree(files: Sequence[FatFile], directories: Iterable[str]) -> tuple[_Directory, ...]:
    """All directories with their entries, the root first, then by path."""
    attributes = {"": DIRECTORY}
    for path in directories:
        check_fat_path(path)
        attributes.update(dict.fromkeys((path, *_parents(path)), DIRECTORY))
    for entry in files:
        _check_file(entry)
        attributes.update(dict.fromkeys(_parents(entry.path), DIRECTORY))
    for entry in files:
        if entry.path in attributes:
            raise BuildError(
                ascii(entry.path)[1:-1], "is on the volume twice", hint="leave one of them out"
            )
        attributes[entry.path] = entry.attributes
    _check_distinct(attributes)
    children: dict[str, list[str]] = {
        path: [] for path in sorted(attributes) if attributes[path] & DIRECTORY
    }
    for path in attributes:
        if path:
            children[path.rpartition("/")[0]].append(path)
    return tuple(
        _directory(path, {below: attributes[below] for below in sorted(children[path])})
        for path in children
    )


def _parents(path: str) -> Iterator[str]:
    position = path.find("/")
    while position != -1:
        yield path[:position]
        position = path.find("/", position + 1)


def _check_file(entry: FatFile) -> None:
    check_fat_path(entry.path)
    if entry.size_bytes > FILE_LIMIT_BYTES:
        raise BuildError(
            ascii(entry.path)[1:-1],
            "file is too large for FAT32",
            expected=f"at most {FILE_LIMIT_BYTES} bytes",
            got=f"{entry.size_bytes} bytes",
            hint="leave the file out or make it smaller",
        )


def _check_distinct(paths: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(_folded(path), path)
        if other != path:
            raise BuildError(
                ascii(path)[1:-1],
                "FAT does not tell upper from lower case: another file has this name",
                got=ascii(other)[1:-1],
                hint="rename one of the two",
            )


def _directory(path: str, attributes: Mapping[str, int]) -> _Directory:
    names = {below.rpartition("/")[2]: below for below in attributes}
    shorts = short_names(names)
    entries = tuple(
        _Entry(
            name=name,
            short_name=shorts[name],
            has_long_name=_shown(shorts[name]) != name,
            attributes=attributes[below],
            path=below,
        )
        for name, below in names.items()
    )
    # The root begins with the label, every other directory with `.` and `..`.
    count = (2 if path else 1) + sum(
        1 + (_long_entry_count(entry.name) if entry.has_long_name else 0) for entry in entries
    )
    if count > _ENTRIES_LIMIT:
        raise BuildError(
            ascii(path)[1:-1] or "/",
            "directory is too large for FAT",
            expected=f"at most {_ENTRIES_LIMIT} entries (a long name takes several)",
            got=count,
            hint="spread the files over several directories",
        )
    return _Directory(path=path, entries=entries, size_bytes=count * _ENTRY_BYTES)


def _place(
    geometry: FatGeometry,
    label: str,
    tree: tuple[_Directory, ...],
    files: Sequence[FatFile],
    subject: object,
) -> FatVolume:
    runs = _runs(geometry, tree, files)
    if sum(runs) > geometry.cluster_count:
        raise BuildError(
            subject,
            "content does not fit",
            expected=f"at most {geometry.cluster_count * geometry.cluster_bytes} bytes",
            got=f"{sum(runs) * geometry.cluster_bytes} bytes",
            hint="make the volume larger or leave something out",
        )
    cluster = _FIRST_CLUSTER
    places: list[dict[str, Placement]] = [{}, {}]
    sized = [
        *((0, directory.path, directory.size_bytes) for directory in tree),
        *((1, entry.path, entry.size_bytes) for entry in files),
    ]
    for kind, path, size_bytes in sized:
        clusters = geometry.clusters_for(size_bytes)
        places[kind][path] = Placement(
            first_cluster=cluster if clusters else 0,
            first_sector=geometry.sector_of(cluster) if clusters else 0,
            size_bytes=size_bytes,
        )
        cluster += clusters
    return FatVolume(
        geometry=geometry,
        label=label,
        placements=places[1],
        _directories=tree,
        _directory_placements=places[0],
        _runs=runs,
    )


def _runs(
    geometry: FatGeometry, tree: tuple[_Directory, ...], files: Sequence[FatFile]
) -> tuple[int, ...]:
    """Lengths in clusters of all chains, in the order in which they are laid."""
    sizes = [directory.size_bytes for directory in tree] + [entry.size_bytes for entry in files]
    return tuple(clusters for size in sizes if (clusters := geometry.clusters_for(size)))


def _geometry(total_sectors: int, hidden_sectors: int, subject: object) -> FatGeometry:
    if total_sectors + hidden_sectors > _MOST_SECTORS:
        raise BuildError(
            subject,
            "FAT32 cannot be this large",
            expected=f"less than {_MOST_SECTORS * SECTOR_BYTES} bytes",
            got=f"{(total_sectors + hidden_sectors) * SECTOR_BYTES} bytes",
            hint="ask for a smaller size",
        )
    geometry = _geometry_or_none(total_sectors, hidden_sectors)
    if geometry is None:
        raise BuildError(
            subject,
            "FAT32 cannot be this small",
            expected=f"room for at least {_LEAST_CLUSTERS} clusters (about 34 MiB)",
            got=f"{total_sectors * SECTOR_BYTES} bytes",
            hint="ask for a larger size",
        )
    return geometry


def _geometry_or_none(total_sectors: int, hidden_sectors: int) -> FatGeometry | None:
    """The geometry with the largest sane clusters; None where no size gives enough of them."""
    sectors_per_cluster = next(
        (cluster for limit, cluster in _CLUSTER_SECTORS if total_sectors <= limit),
        _LARGEST_CLUSTER_SECTORS,
    )
    while sectors_per_cluster:
        geometry = _geometry_with(total_sectors, hidden_sectors, sectors_per_cluster)
        if geometry.cluster_count >= _LEAST_CLUSTERS:
            return geometry
        sectors_per_cluster //= 2
    return None


def _geometry_with(
    total_sectors: int, hidden_sectors: int, sectors_per_cluster: int
) -> FatGeometry:
    per_fat_sector = SECTOR_BYTES // 4
    # A sector of FAT serves per_fat_sector clusters, and there are two FATs; two entries are
    # taken by the head. Rounded up, so that no cluster goes without an entry.
    served = total_sectors - _LEAST_RESERVED_SECTORS + 2 * sectors_per_cluster
    fat_sectors = -(-served // (per_fat_sector * sectors_per_cluster + _FATS))
    alignment = max(_ALIGNMENT_BYTES // SECTOR_BYTES, sectors_per_cluster)
    reserved = _LEAST_RESERVED_SECTORS
    reserved += -(hidden_sectors + reserved + _FATS * fat_sectors) % alignment
    data_sectors = total_sectors - reserved - _FATS * fat_sectors
    return FatGeometry(
        total_sectors=total_sectors,
        hidden_sectors=hidden_sectors,
        sectors_per_cluster=sectors_per_cluster,
        reserved_sectors=reserved,
        fat_sectors=fat_sectors,
        cluster_count=min(data_sectors // sectors_per_cluster, _MOST_CLUSTERS - 1),
    )


def _plain_short_name(name: str) -> bytes | None:
    """The 8.3 name that equals `name` in upper case, or None."""
    base, dot, extension = name.partition(".")
    if not base or len(base) > 8 or len(extension) > 3 or bool(dot) != bool(extension):
        return None
    if not name.isascii():
        return None
    letters = (base.ljust(8) + extension.ljust(3)).upper().encode("ascii")
    if any(letter not in _SHORT_LETTERS for letter in (base + extension).upper().encode("ascii")):
        return None
    return letters


def _short_basis(name: str) -> tuple[bytes, bytes]:
    """Base and extension that a short name is made from: what 8.3 cannot hold is replaced."""
    stem, _, extension = name.lstrip(". ").rpartition(".")
    if not stem:
        stem, extension = extension, ""
    return _short_part(stem)[:8] or b"_", _short_part(extension)[:3]


def _short_part(text: str) -> bytes:
    kept = text.replace(" ", "").replace(".", "").upper().encode("ascii", "replace")
    return bytes(letter if letter in _SHORT_LETTERS else 0x5F for letter in kept)


def _with_tail(base: bytes, extension: bytes, number: int) -> bytes:
    tail = b"~%d" % number
    return (base[: 8 - len(tail)] + tail).ljust(8) + extension.ljust(3)


def _shown(short_name: bytes) -> str:
    """A short name as a reader shows it."""
    base, extension = short_name[:8].rstrip(), short_name[8:].rstrip()
    return (base + b"." + extension if extension else base).decode("ascii")


def _label_bytes(label: str) -> bytes:
    return label.encode("ascii").ljust(11)


def _long_entry_count(name: str) -> int:
    return -(-(len(name.encode("utf-16-le")) // 2) // _UNITS_PER_LONG_ENTRY)


def _long_entries(name: str, short_name: bytes) -> bytes:
    """The long name's entries, last part first, tied to `short_name` by its checksum."""
    checksum = 0
    for letter in short_name:
        checksum = ((checksum >> 1 | (checksum & 1) << 7) + letter) & 0xFF
    count = _long_entry_count(name)
    room_bytes = count * _UNITS_PER_LONG_ENTRY * 2
    # A name that fills its last entry has no room for the closing zero, and needs none.
    units = (name.encode("utf-16-le") + b"\0\0").ljust(room_bytes, b"\xff")
    entries = []
    for number in range(count, 0, -1):
        part = units[(number - 1) * 26 : number * 26]
        ordinal = number | (0x40 if number == count else 0)
        entries.append(
            struct.pack(
                "<B10sBBB12sH4s",
                ordinal,
                part[:10],
                _LONG_NAME,
                0,
                checksum,
                part[10:22],
                0,
                part[22:],
            )
        )
    return b"".join(entries)


def _short_entry(short_name: bytes, attributes: int, cluster: int, size_bytes: int) -> bytes:
    return struct.pack(
        "<11sBBBHHHHHHHI",
        short_name,
        attributes,
        0,
        0,  # hundredths of a second
        0,
        _FIRST_DATE,  # made
        _FIRST_DATE,  # read
        cluster >> 16,
        0,
        _FIRST_DATE,  # changed
        cluster & 0xFFFF,
        size_bytes,
    )


def _signed_sector() -> bytes:
    return bytes(SECTOR_BYTES - 2) + b"\x55\xaa"
