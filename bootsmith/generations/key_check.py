"""Do the keys of a generation boot *this* generation? Read off the images themselves.

A key holds copies of kernel, initramfs, modloop and overlay. What its boot configurations
name must be on it, and must be the bytes of this generation's own artifacts: a key with
yesterday's kernel beside today's modloop passes every check of a single file.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bootsmith.errors import BootsmithError, FormatError, PublishError
from bootsmith.formats.boot_files import BootFiles, files_of_grub_cfg, files_of_syslinux_cfg
from bootsmith.formats.fat32 import SECTOR_BYTES
from bootsmith.formats.fat32_reader import Fat32
from bootsmith.formats.manifest import Artifact, Manifest
from bootsmith.formats.mbr import MBR_BYTES, read_mbr
from bootsmith.generations.fact_memory import FactMemory

_MOST_CONFIG_BYTES = 1 << 20
_CONFIGS: Mapping[str, tuple[str, Callable[..., BootFiles]]] = {
    "bios": ("boot/syslinux/syslinux.cfg", files_of_syslinux_cfg),
    "uefi": ("boot/grub/grub.cfg", files_of_grub_cfg),
}


class _Wanted(NamedTuple):
    """A file that a key must have, why, and which digest it must have (None: any)."""

    path: str
    named_by: str
    sha256: str | None
    origin: str


def key_problems(
    generation: Path, manifest: Manifest, memory: FactMemory
) -> Iterator[BootsmithError]:
    """For each key that would not boot this generation's files, the first reason.

    The keys' bytes have been held against the manifest: what `memory` knows of files on a key
    with that digest is taken. FormatError where an image cannot be read, else PublishError.
    """
    for key in manifest.artifacts:
        if key.kind == "usbkey" and key.path.endswith(".img"):
            image = generation / key.path
            try:
                with (
                    open(image, "rb") as file,
                    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
                ):
                    _check_key(image, view, generation, manifest, key, memory)
            except BootsmithError as error:
                yield error


def _check_key(
    image: Path,
    view: mmap.mmap,
    generation: Path,
    manifest: Manifest,
    key: Artifact,
    memory: FactMemory,
) -> None:
    _, partitions = read_mbr(view[:MBR_BYTES], subject=image)
    if not partitions:
        raise FormatError(image, "has no partition", hint="build it again")
    volume = Fat32(view, offset_bytes=partitions[0].start_lba * SECTOR_BYTES, subject=image)
    for wanted in _wanted_files(image, volume, generation, manifest, key):
        read = partial(_digest_on, view, volume, wanted.path)
        found = memory.recall(f"on key {wanted.path}", key.sha256, read)
        if found is None:
            _refuse(image, key, f"{wanted.named_by} names {wanted.path}, which is not on the key")
        if wanted.sha256 not in (None, found):
            _refuse(
                image,
                key,
                f"{wanted.path} on the key is not {wanted.origin}",
                expected=f"sha256 {wanted.sha256}",
                got=f"sha256 {found}",
            )


def _wanted_files(
    image: Path, volume: Fat32, generation: Path, manifest: Manifest, key: Artifact
) -> Iterator[_Wanted]:
    for name in ("set", "flavor", "template", "firmware"):
        if not key.details.get(name):
            _refuse(image, key, f"the manifest does not say the {name} of this key")
    parts = {
        part.kind: part
        for part in manifest.artifacts
        if part.details.get("set") == key.details["set"] and part.kind in _BOOT_KINDS
    }
    for kind in _BOOT_KINDS:
        if kind not in parts:
            _refuse(image, key, f"the generation has no {kind} of {key.details['set']}")
    listed = _listed(generation, manifest, key)
    for firmware in key.details["firmware"]:
        config, read = _CONFIGS[firmware]
        content = volume.read(config, limit_bytes=_MOST_CONFIG_BYTES)
        if content is None:
            _refuse(image, key, f"{config} is not on the key, and {firmware} boots by it")
        files = read(content, subject=f"{image}: {config}")
        yield _of_part(files.kernel, config, parts["kernel"])
        for initrd in files.initrds:
            if Path(initrd).name == Path(parts["pxerd"].path).name:
                yield _of_part(initrd, config, parts["pxerd"])
            else:  # the release's own initramfs, processor microcode: of no artifact here
                digest = listed.get(initrd.strip("/"))
                yield _Wanted(initrd, config, digest, "what contents.json lists")
        modloop = files.option("modloop") or f"/boot/{Path(parts['modloop'].path).name}"
        yield _of_part(modloop, config, parts["modloop"])
    for part in manifest.artifacts:
        if part.kind == "apkovl" and part.details.get("template") == key.details["template"]:
            yield _of_part(f"/{Path(part.path).name}", "Alpine's init", part)


_BOOT_KINDS = ("kernel", "pxerd", "modloop")


def _of_part(path: str, named_by: str, part: Artifact) -> _Wanted:
    return _Wanted(path, named_by, part.sha256, f"this generation's {part.path}")


def _listed(generation: Path, manifest: Manifest, key: Artifact) -> dict[str, str]:
    """Path on the key to sha256, as the step that made the key wrote them down."""
    for part in manifest.artifacts:
        if part.kind == key.kind and part.name == key.name and part.path.endswith("contents.json"):
            contents: dict[str, Any] = json.loads((generation / part.path).read_bytes())
            return {path: entry["sha256"] for path, entry in contents.items()}
    return {}


def _digest_on(view: mmap.mmap, volume: Fat32, path: str) -> str | None:
    runs = volume.runs(path)
    if runs is None:
        return None
    digest = hashlib.sha256()
    with memoryview(view) as whole:
        for start, end in runs:
            with whole[start:end] as part:
                digest.update(part)
    return digest.hexdigest()


def _refuse(image: Path, key: Artifact, problem: str, **facts: object) -> NoReturn:
    raise PublishError(image, problem, hint=f"build it again: doit usbkey:{key.name}", **facts)
