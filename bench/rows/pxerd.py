"""pxerd: beside writing the same members in one go, and beside what distributions use."""

from __future__ import annotations

import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.measure import FLOOR, OURS, PEER, Candidate, Row, tree_bytes
from bench.programs import needs_root, run
from bench.site import BuiltSite
from bootsmith.formats.compression import compress_segment, decompress_initramfs
from bootsmith.formats.cpio import CpioEntry, read_cpio, write_cpio
from bootsmith.formats.squashfs import Squashfs

_LIMIT_BYTES = 1 << 30
_CHECK_BYTES = 4  # behind each entry of the cache


def rows(site: BuiltSite) -> Iterator[Row]:
    """Of each boot set: nothing cached, and one more feature with the rest cached."""
    for name in site.sets():
        label = f"pxerd:{name}"
        floor = Candidate(
            name="the same members, one stream",
            role=FLOOR,
            run=_floor(site, name),
            result=tree_bytes,
        )
        yield Row(
            name=f"pxerd {name}, nothing cached",
            about="stock initramfs and modules in, packed initramfs out; same codec and level",
            candidates=(
                Candidate(name="bootsmith", role=OURS, run=site.job(label), result=_packed(name)),
                floor,
                *_peers(site, name),
            ),
            bar=1.5,
            bar_text="≤ 1.5 x the floor; ≥ 5 x faster than mkinitfs, ≥ 20 x than the others",
        )
        yield _one_more(site, name)


def _one_more(site: BuiltSite, name: str) -> Row:
    label = f"pxerd:{name}"
    features = [one for one in site.steps[label].arguments["features"] if one != "nbd"]
    report = json.loads(site.input(label, "report").read_bytes())
    codec, level = report["compression"]["codec"], report["compression"]["level"]
    fewer, more = (site.job(label, features=(*features, *one)) for one in ((), ("nbd",)))

    def segments(place: Path) -> set[Path]:
        return set(place.glob("cache-*/segment/*"))

    def new_segments(place: Path) -> None:
        fewer(place)
        before = segments(place)
        more(place)
        (place / "plain").mkdir()
        for path in segments(place) - before:
            packed = path.read_bytes()[:-_CHECK_BYTES]
            plain = decompress_initramfs(packed, limit_bytes=_LIMIT_BYTES)
            (place / "plain" / path.name).write_bytes(plain)

    def compress(place: Path) -> None:
        contents = [path.read_bytes() for path in (place / "plain").iterdir()]
        contents.sort(key=len, reverse=True)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(lambda one: compress_segment(one, codec, level), contents))

    return Row(
        name=f"pxerd {name}, one more feature",
        about="everything cached but the feature nbd; the floor has its segments in plain",
        candidates=(
            Candidate(name="bootsmith", role=OURS, prepare=fewer, run=more),
            Candidate(
                name="compressing what is new", role=FLOOR, prepare=new_segments, run=compress
            ),
        ),
        bar_text="≤ 50 ms beyond compressing what is new",
    )


def _packed(name: str) -> Callable[[Path], int]:
    flavor = name.rpartition("-")[2]
    return lambda place: (place / f"pxerd-{flavor}").stat().st_size


def _floor(site: BuiltSite, name: str) -> Callable[[Path], None]:
    label = f"pxerd:{name}"
    stock, modloop = site.input(label, "initramfs"), site.input(label, "modloop")
    report = json.loads(site.input(label, "report").read_bytes())
    made = site.input(label, "output")
    codec, level = report["compression"]["codec"], report["compression"]["level"]
    release = report["kernel_release"]

    def write(place: Path) -> None:
        entries = read_cpio(decompress_initramfs(stock.read_bytes(), limit_bytes=_LIMIT_BYTES))
        with (
            open(modloop, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
        ):
            image = Squashfs(view)
            wanted = [f"modules/{release}/{path}" for path in report["modules"]["added"]]
            for path in wanted:
                entries.append(_module(image, path))
        (place / "initramfs").write_bytes(compress_segment(write_cpio(entries), codec, level))

    assert made.exists()
    return write


def _module(image: Squashfs, path: str) -> CpioEntry:
    from bootsmith.formats.cpio import file_entry

    for spelled in (path, f"{path}.xz", f"{path}.gz", f"{path}.zst"):
        if image.exists(spelled):
            return file_entry(f"lib/{path}", image.read(spelled))
    raise RuntimeError(f"{path} is not in the modloop")


def _peers(site: BuiltSite, name: str) -> Iterator[Candidate]:
    label = f"pxerd:{name}"
    modloop = site.input(label, "modloop")
    kernel = site.input(f"flavor:{name}", "kernel")
    release = json.loads(site.input(label, "report").read_bytes())["kernel_release"]

    def unpacked(place: Path) -> None:
        needs_root("their module directory is /lib/modules of a mount name space, which")
        run(["unsquashfs", "-q", "-n", "-d", place / "tree", modloop])
        (place / "boot").mkdir()
        shutil.copyfile(kernel, place / f"boot/vmlinuz-{release}")
        shutil.copyfile(site.input(f"flavor:{name}", "config"), place / f"boot/config-{release}")

    def inside(place: Path, command: str) -> None:
        script = (
            f"mount --bind {place}/tree/modules /lib/modules && mount --bind {place}/boot /boot && "
            f"{command}"
        )
        run(["unshare", "--mount", "sh", "-ec", script], TMPDIR=str(place))

    yield Candidate(
        name="initramfs-tools",
        role=PEER,
        prepare=unpacked,
        run=lambda place: inside(place, f"mkinitramfs -o {place}/initrd {release}"),
        result=lambda place: (place / "initrd").stat().st_size,
    )
    yield Candidate(
        name="dracut",
        role=PEER,
        prepare=unpacked,
        run=lambda place: inside(
            place,
            f"dracut --force --no-hostonly --modules 'base kernel-modules' --gzip "
            f"{place}/initrd {release}",
        ),
        result=lambda place: (place / "initrd").stat().st_size,
    )
    yield Candidate(
        name="mkinitfs", role=PEER, run=lambda place: run(["mkinitfs", "-o", place / "x", release])
    )
