"""The USB key: a raw disk image that boots on BIOS and on UEFI machines.

One partition with FAT32, laid by our own writer in one pass (formats/fat32). Packages go
from the ISO file into the image by extents, everything else from the files of earlier steps;
nothing is unpacked, mounted or copied twice, and the image stays sparse.

The volume's UUID is made from the digests of all that goes onto it, so that equal content
gives equal bytes and two different keys in one machine are told apart.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import BuildError, FormatError, RecipeError
from bootsmith.files.atomic import make_directory, write_file
from bootsmith.files.batch import FileBatch
from bootsmith.files.cache import Cache
from bootsmith.files.digest import DigestMemory, Identity
from bootsmith.files.disk_image import DiskImage, ImagePiece, ImageRecord, write_image
from bootsmith.files.extents import mapped_extents
from bootsmith.files.overlay_world import unmet_world
from bootsmith.files.release_packages import ReleasePackages
from bootsmith.formats.boot_menu import BootMenu, merge_kernel_options
from bootsmith.formats.fat32 import (
    ARCHIVE,
    HIDDEN,
    READ_ONLY,
    SECTOR_BYTES,
    SYSTEM,
    FatFile,
    FatVolume,
    check_fat_label,
    fitting_sectors,
    plan_fat32,
)
from bootsmith.formats.grub_cfg import write_grub_cfg, write_grub_first_cfg
from bootsmith.formats.iso_links import resolve_path
from bootsmith.formats.mbr import FAT32_LBA, MbrPartition, write_mbr
from bootsmith.formats.release_facts import (
    DIRECTORY,
    FILE,
    LINK,
    IsoFile,
    ReleaseFacts,
    read_release_facts,
)
from bootsmith.formats.syslinux_cfg import write_syslinux_cfg
from bootsmith.formats.syslinux_loader import PlacedLoader, place_loader
from bootsmith.tools.grub_efi import build_grub_image
from bootsmith.tools.syslinux import SyslinuxLoader, read_mbr_code, read_syslinux_loader

Progress = Callable[[str, int, int | None], None]

PARTITION_START_LBA = 2048
"""1 MiB: aligned for every medium, and where Alpine's and everyone's tools begin."""
PARTITION_OFFSET_BYTES = PARTITION_START_LBA * SECTOR_BYTES
DEFAULT_OPTIONS = ("modules=loop,squashfs,sd-mod,usb-storage", "quiet")
SPARE_BYTES = 16 << 20
"""Free room on a key of automatic size: for `lbu commit` on the machine."""

_MEBIBYTE = 1 << 20
_SYSLINUX_DIRECTORY = "boot/syslinux"
_LDLINUX_SYS = f"{_SYSLINUX_DIRECTORY}/ldlinux.sys"
_LDLINUX_C32 = f"{_SYSLINUX_DIRECTORY}/ldlinux.c32"
_LOADER_ATTRIBUTES = READ_ONLY | HIDDEN | SYSTEM | ARCHIVE  # as the installer sets them
_MARKERS = (".alpine-release", "apks/.boot_repository")
_MICROCODE = ("boot/intel-ucode.img", "boot/amd-ucode.img")
_INITRAMFS_NAMES = {"pxerd": "pxerd", "stock": "initramfs"}
_HASHING_THREADS = 2
_NO_VOLUME = "0000-0000"
# syslinux.cfg cannot say more, and nobody waits longer than an hour.
_LONGEST_TIMEOUT_DECISECONDS = 35_999


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A file of the key whose content lies in `extents` of the file `container`."""

    path: str
    container: Path
    extents: tuple[tuple[int, int], ...]

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.extents)


def build_usbkey(
    *,
    iso: Path,
    facts: Path,
    flavor: str,
    kernel: Path,
    initramfs: Path,
    modloop: Path,
    apkovl: Path,
    template: str,
    options: Sequence[str],
    timeout_deciseconds: int,
    serial_console: bool,
    size_bytes: int | None,
    label: str,
    firmware: Sequence[str],
    output: Path,
    contents: Path,
    report: Path | None = None,
    initramfs_kind: str = "pxerd",
    modloop_name: str | None = None,
    cache: Path | None = None,
    memory: DigestMemory | None = None,
    maker: str | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Write the key image `output` and `contents`, JSON of each file's sha256 and size_bytes.

    `report`, if given, becomes JSON of what the boot loader gives the kernel.

    From `iso` come `.alpine-release`, all of `apks/` and processor microcode, if it has any.
    `kernel`, `initramfs` and `modloop` become `boot/vmlinuz-FLAVOR`, `boot/pxerd-FLAVOR`
    (`boot/initramfs-FLAVOR` for `initramfs_kind="stock"`) and `boot/MODLOOP_NAME`, which is
    `modloop-FLAVOR` if None; `apkovl` becomes `TEMPLATE.apkovl.tar.gz` in the root. `options`
    are added to DEFAULT_OPTIONS and stand for those of the same name. `timeout_deciseconds` 0
    boots at once. `size_bytes` None means: what the content needs and SPARE_BYTES. `firmware`
    is one or both of `bios`, `uefi`. `cache` is a directory where boot loaders, the digests of
    the ISO's packages and a record of the last image are kept between runs; GRUB and that record
    count only for the code that `maker` stands for. `memory` may have digests of the other files.
    `tell` is told of packages that the overlay wants and the medium lacks.

    Raises RecipeError for values that make no key, BuildError for content that does not fit or
    that FAT cannot hold, SourceError, FormatError, ToolMissing. Neither output is touched then.
    """
    _check_choices(firmware, initramfs_kind, timeout_deciseconds, size_bytes, label)
    release = read_release_facts(facts.read_bytes(), subject=str(facts))
    _check_arch(release, firmware)
    modloop_name = modloop_name or f"modloop-{flavor}"
    initramfs_path = f"boot/{_INITRAMFS_NAMES[initramfs_kind]}-{flavor}"
    packages, directories = _iso_sources(release, iso)
    parts = [
        _whole_file(f"boot/vmlinuz-{flavor}", kernel),
        _whole_file(initramfs_path, initramfs),
        _whole_file(f"boot/{modloop_name}", modloop),
        _whole_file(f"{template}.apkovl.tar.gz", apkovl),
    ]
    # The ISO's digest stands for its packages', which are the same on every key made of it.
    kept = cache / f"packages-{release.iso_sha256[:32]}.json" if cache else None
    digests = _known_digests(kept, packages, progress) | _part_digests(parts, memory, progress)
    sources = packages + parts
    identity = _identity(
        digests, label, flavor, options, timeout_deciseconds, serial_console, firmware, size_bytes
    )
    volume_id = int.from_bytes(identity[:4], "little")
    volume_uuid = f"{volume_id >> 16:04X}-{volume_id & 0xFFFF:04X}"
    microcode = tuple(path for path in _MICROCODE if path in digests)
    menu = BootMenu(
        flavor=flavor,
        kernel=f"/boot/vmlinuz-{flavor}",
        initrds=tuple(f"/{path}" for path in (*microcode, initramfs_path)),
        options=merge_kernel_options(
            _default_options(release, modloop_name, volume_uuid, serial_console), options
        ),
        timeout_deciseconds=timeout_deciseconds,
        serial_console=serial_console,
    )
    loader = read_syslinux_loader(cache) if "bios" in firmware else None
    grub = _grub_image(volume_uuid, cache, maker) if "uefi" in firmware else None
    made = _made_files(menu, loader, grub)
    volume = _plan(sources, made, directories, size_bytes, label, template)
    boot_sector = None
    if loader is not None:
        placed = _placed(loader, volume)
        made[_LDLINUX_SYS], boot_sector = placed.ldlinux_sys, placed.boot_sector
    head = write_mbr(
        boot_code=read_mbr_code() if loader else b"",
        disk_signature=int.from_bytes(identity[4:8], "little"),
        partitions=[
            MbrPartition(
                start_lba=PARTITION_START_LBA,
                sectors=volume.geometry.total_sectors,
                type_code=FAT32_LBA,
                is_active=True,
            )
        ],
    )
    metadata = volume.metadata(volume_id=volume_id, boot_sector=boot_sector)
    sizes = {source.path: source.size_bytes for source in sources}
    record = None
    if cache is not None and maker is not None:
        record = ImageRecord(path=cache / f"key-{template}.json", maker=maker)
    write_image(
        output,
        _image(head, volume, metadata, sources, digests, made),
        record=record,
        copied=_counting(progress, sum(sizes.values())),
    )
    make_directory(contents.parent)
    with FileBatch() as batch:
        batch.write(str(contents), _contents(digests, sizes, made))
        if report is not None:
            make_directory(report.parent)
            batch.write(str(report), json.dumps({"kernel_options": menu.options}).encode() + b"\n")
    if tell is not None and cache is not None:
        packages_there = ReleasePackages(iso=iso, facts=facts, cache=Cache(cache))
        _tell_of_packages(tell, packages_there, apkovl, template)


def _tell_of_packages(
    tell: Callable[[str], None], packages: ReleasePackages, apkovl: Path, template: str
) -> None:
    """No error: what runs on the machine may find a server of packages later."""
    try:
        on_medium = packages.on_medium
    except FormatError:
        return  # the gate and the boots judge media; here is only something to tell
    unmet = unmet_world(on_medium, apkovl)
    if unmet is not None:
        tell(
            f"{template}: {unmet.problem}: its machines come up without it; an overlay can name "
            "another repository in etc/apk/repositories"
        )


def _check_choices(
    firmware: Sequence[str],
    initramfs_kind: str,
    timeout_deciseconds: int,
    size_bytes: int | None,
    label: str,
) -> None:
    if not firmware or set(firmware) - {"bios", "uefi"}:
        raise RecipeError(
            "firmware",
            "no firmware that a key can boot on",
            expected="bios, uefi or both",
            got=", ".join(firmware) or "nothing",
            hint='write firmware = ["bios", "uefi"] in [usbkey] of the template',
        )
    if initramfs_kind not in _INITRAMFS_NAMES:
        raise RecipeError(
            "initramfs",
            "unknown kind",
            expected=" or ".join(_INITRAMFS_NAMES),
            got=initramfs_kind,
            hint="correct it in the template's [usbkey]",
        )
    if not 0 <= timeout_deciseconds <= _LONGEST_TIMEOUT_DECISECONDS:
        raise RecipeError(
            "timeout",
            "cannot be told to a boot loader",
            expected=f"0 to {_LONGEST_TIMEOUT_DECISECONDS} tenths of a second",
            got=timeout_deciseconds,
            hint="correct it in the template's [boot]",
        )
    if size_bytes is not None and size_bytes % _MEBIBYTE:
        raise RecipeError(
            "size",
            "not in whole MiB",
            expected=f"a multiple of {_MEBIBYTE} bytes",
            got=f"{size_bytes} bytes",
            hint='write the size as "512M", or "auto"',
        )
    check_fat_label(label)


def _check_arch(release: ReleaseFacts, firmware: Sequence[str]) -> None:
    able = {"x86_64": {"bios", "uefi"}, "x86": {"bios"}}.get(release.arch, set())
    if set(firmware) - able:
        raise BuildError(
            f"release {release.release}",
            f"no boot loader for {' and '.join(sorted(set(firmware) - able))} on {release.arch}",
            expected="x86_64 (bios, uefi) or x86 (bios)",
            got=release.arch,
            hint="leave it out of firmware in [usbkey] of the template, or take another release",
        )


def _iso_sources(release: ReleaseFacts, iso: Path) -> tuple[list[_Source], list[str]]:
    """What the ISO contributes: files (links followed, FAT has none) and directories."""
    tree = {entry.path: entry for entry in release.files}
    for marker in _MARKERS:
        if marker not in tree:
            raise BuildError(
                iso,
                f"has no {marker}: a key made of it would not be taken for a boot medium",
                hint="use a release ISO that carries packages (standard, extended or virt)",
            )
    wanted = [
        entry
        for entry in release.files
        if entry.path in (".alpine-release", *_MICROCODE) or entry.path.startswith("apks/")
    ]
    sources = [
        _Source(path=entry.path, container=iso, extents=_content(tree, entry, iso).extents)
        for entry in wanted
        if entry.type != DIRECTORY
    ]
    return sources, [entry.path for entry in wanted if entry.type == DIRECTORY]


def _content(tree: dict[str, IsoFile], entry: IsoFile, iso: Path) -> IsoFile:
    if entry.type != LINK:
        return entry
    target = tree.get(resolve_path(tree, entry.path, subject=iso))
    if target is None or target.type != FILE:
        raise BuildError(
            iso,
            f"link {entry.path} leads to no file, and FAT has no links",
            got=ascii(entry.target),
            hint="use an ISO as Alpine publishes it",
        )
    return target


def _whole_file(path: str, container: Path) -> _Source:
    return _Source(path=path, container=container, extents=((0, container.stat().st_size),))


def _known_digests(
    kept: Path | None, sources: Sequence[_Source], progress: Progress | None
) -> dict[str, str]:
    """Hex sha256 by path, from the file `kept` where that names them all, else read and kept."""
    if kept is None:
        return _digests(sources, progress)
    try:
        digests = json.loads(kept.read_bytes())
    except (FileNotFoundError, ValueError):  # not there, or cut short by a power cut
        digests = {}
    if digests.keys() != {source.path for source in sources}:
        digests = _digests(sources, progress)
        write_file(kept, json.dumps(digests, sort_keys=True).encode("ascii"), durable=False)
    return digests


def _part_digests(
    parts: Sequence[_Source], memory: DigestMemory | None, progress: Progress | None
) -> dict[str, str]:
    """Hex sha256 by path of whole files, read where `memory` has none."""
    recalled = {
        part.path: memory.recall(str(part.container), Identity.of(os.stat(part.container)))
        for part in parts
        if memory is not None
    }
    known = {path: digest for path, digest in recalled.items() if digest is not None}
    return known | _digests([part for part in parts if part.path not in known], progress)


def _digests(sources: Sequence[_Source], progress: Progress | None) -> dict[str, str]:
    """Hex sha256 by path; two at a time, the largest first, so that both threads end together."""
    total = sum(source.size_bytes for source in sources)
    ordered = sorted(sources, key=lambda source: (-source.size_bytes, source.path))
    digests: dict[str, str] = {}
    done = 0
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        for source, digest in zip(ordered, pool.map(_sha256, ordered), strict=True):
            digests[source.path] = digest
            done += source.size_bytes
            if progress:
                progress("reading what goes onto the key", done, total)
    return digests


def _sha256(source: _Source) -> str:
    with (
        mapped_extents(source.container, source.extents) as (buffer, start),
        memoryview(buffer) as view,
        view[start : start + source.size_bytes] as content,
    ):
        return hashlib.sha256(content).hexdigest()


def _identity(digests: dict[str, str], *choices: object) -> bytes:
    """A digest of all that decides the bytes: it names the volume and the disk."""
    document = {"files": digests, "choices": choices}
    text = json.dumps(document, sort_keys=True, default=list)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _default_options(
    release: ReleaseFacts, modloop_name: str, volume_uuid: str, serial_console: bool
) -> tuple[str, ...]:
    options: tuple[str, ...] = DEFAULT_OPTIONS
    if release.generation == "G1":
        # A3.1-3.2 look for the medium that they are told. Their own `usbdisk:vfat` does not
        # find a key that is attached as another kind of disk; the UUID finds it on all.
        options = (f"alpine_dev=UUID={volume_uuid}", *options)
    if release.generation == "G2":
        # A3.3-3.4: the modloop service wants to be told.
        options = (f"modloop=/boot/{modloop_name}", *options)
    if serial_console:
        # The last one becomes /dev/console; the kernel writes its messages to both.
        options = (*options, "console=tty0", "console=ttyS0,115200")
    return options


def _grub_image(volume_uuid: str, cache: Path | None, maker: str | None) -> bytes:
    """GRUB for UEFI, which looks for this volume.

    Made for no volume in particular, it is kept in `cache` for `maker`: only its text differs.
    """
    text = write_grub_first_cfg(volume_uuid=volume_uuid)
    if cache is None or maker is None:
        return build_grub_image(first_configuration=text)
    no_text = write_grub_first_cfg(volume_uuid=_NO_VOLUME)
    head = maker.encode() + b"\n"
    kept = Cache(cache).recall("grub", "medium") or b""
    image = kept.removeprefix(head) if kept.startswith(head) else b""
    if not image:
        image = build_grub_image(first_configuration=no_text)
        Cache(cache).keep("grub", "medium", head + image)
    if len(no_text) != len(text) or image.count(no_text.encode("ascii")) != 1:
        return build_grub_image(first_configuration=text)
    return image.replace(no_text.encode("ascii"), text.encode("ascii"))


def _made_files(
    menu: BootMenu, loader: SyslinuxLoader | None, grub: bytes | None
) -> dict[str, bytes]:
    """Files of the key that are made here, with their content (`ldlinux.sys` not yet placed)."""
    made: dict[str, bytes] = {}
    if loader is not None:
        made[_LDLINUX_SYS] = loader.ldlinux_sys
        made[_LDLINUX_C32] = loader.ldlinux_c32
        made[f"{_SYSLINUX_DIRECTORY}/syslinux.cfg"] = write_syslinux_cfg(menu)
    if grub is not None:
        made["efi/boot/bootx64.efi"] = grub
        made["boot/grub/grub.cfg"] = write_grub_cfg(menu)
    return made


def _plan(
    sources: Sequence[_Source],
    made: dict[str, bytes],
    directories: Sequence[str],
    size_bytes: int | None,
    label: str,
    template: str,
) -> FatVolume:
    # The loader first: its place then depends on nothing but the directories' sizes. The
    # overlay, which changes most often, comes last.
    files = [
        FatFile(
            path=path,
            size_bytes=len(content),
            attributes=_LOADER_ATTRIBUTES if path in (_LDLINUX_SYS, _LDLINUX_C32) else ARCHIVE,
        )
        for path, content in made.items()
    ] + [FatFile(path=source.path, size_bytes=source.size_bytes) for source in sources]
    subject = f"key {template}"
    least = PARTITION_START_LBA + fitting_sectors(
        files=files,
        spare_bytes=0 if size_bytes else SPARE_BYTES,
        hidden_sectors=PARTITION_START_LBA,
        directories=directories,
        subject=subject,
    )
    sectors = size_bytes // SECTOR_BYTES if size_bytes else least
    if sectors < least:
        mebibytes = least * SECTOR_BYTES // _MEBIBYTE
        recipe = f"recipes/templates/{template}.toml"
        raise BuildError(
            subject,
            "content is larger than the asked size",
            expected=f"at least {least * SECTOR_BYTES} bytes ({mebibytes} MiB)",
            got=f"{size_bytes} bytes ({sectors * SECTOR_BYTES // _MEBIBYTE} MiB)",
            hint=f'set size = "{mebibytes}M" or "auto" in [usbkey] of {recipe}',
        )
    return plan_fat32(
        files=files,
        total_sectors=sectors - PARTITION_START_LBA,
        hidden_sectors=PARTITION_START_LBA,
        label=label,
        directories=directories,
        subject=subject,
    )


def _placed(loader: SyslinuxLoader, volume: FatVolume) -> PlacedLoader:
    place = volume.placements[_LDLINUX_SYS]
    count = -(-place.size_bytes // SECTOR_BYTES)
    return place_loader(
        boot_sector=loader.boot_sector,
        ldlinux_sys=loader.ldlinux_sys,
        sectors=range(place.first_sector, place.first_sector + count),
        directory=f"/{_SYSLINUX_DIRECTORY}",
    )


def _counting(progress: Progress | None, total: int) -> Callable[[int], None]:
    done = 0

    def count(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        if progress:
            progress("writing the key", done, total)

    return count


def _image(
    head: bytes,
    volume: FatVolume,
    metadata: Sequence[tuple[int, bytes]],
    sources: Sequence[_Source],
    digests: dict[str, str],
    made: dict[str, bytes],
) -> DiskImage:
    """Where each byte that is not zero by layout belongs."""
    offset_of = {
        path: PARTITION_OFFSET_BYTES + place.offset_bytes
        for path, place in volume.placements.items()
    }
    contents = [(0, head)]
    contents += [(PARTITION_OFFSET_BYTES + offset, content) for offset, content in metadata]
    contents += [(offset_of[path], content) for path, content in made.items()]
    pieces = [ImagePiece(offset_bytes=offset, content=content) for offset, content in contents]
    pieces += [
        ImagePiece(
            offset_bytes=offset_of[source.path],
            container=source.container,
            extents=source.extents,
            digest=digests[source.path],
        )
        for source in sources
        if source.size_bytes
    ]
    total_bytes = PARTITION_OFFSET_BYTES + volume.geometry.total_sectors * SECTOR_BYTES
    return DiskImage(size_bytes=total_bytes, pieces=pieces)


def _contents(digests: dict[str, str], sizes: dict[str, int], made: dict[str, bytes]) -> bytes:
    """JSON: every file of the key with its sha256 and size_bytes, sorted by path."""
    document = {path: {"sha256": digests[path], "size_bytes": sizes[path]} for path in digests}
    document |= {
        path: {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        for path, content in made.items()
    }
    return json.dumps(document, indent=1, sort_keys=True).encode("ascii") + b"\n"
