"""modloop: one module more beside copying the image and packing that module; all of it anew."""

from __future__ import annotations

import lzma
import mmap
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard

from bench.measure import FLOOR, OURS, PEER, Candidate, Row
from bench.programs import run
from bench.site import BuiltSite
from bootsmith.formats.squashfs import Squashfs
from bootsmith.tools.mksquashfs import make_squashfs

_BLOCK_BYTES = 128 << 10


def rows(site: BuiltSite) -> Iterator[Row]:
    """Of each boot set."""
    for name in site.sets():
        yield _one_more(site, name)
        yield _all_anew(site, name)


def _one_more(site: BuiltSite, name: str) -> Row:
    label = f"modloop:{name}"
    job, stock = site.job(label), site.input(label, "stock")
    path, content, compression = _some_module(stock)

    def module(place: Path) -> Path:
        return place / "new" / Path(path).name.replace(".ko", "_again.ko")

    def prepare(place: Path) -> None:
        module(place).parent.mkdir()
        module(place).write_bytes(content)

    def floor(place: Path) -> None:
        shutil.copyfile(stock, place / "copy")
        (place / "packed").write_bytes(_packed(content, compression))

    def repacked(place: Path) -> None:
        run(["unsquashfs", "-q", "-n", "-d", place / "tree", stock])
        shutil.copyfile(module(place), place / "tree" / Path(path).parent / module(place).name)
        _pack(place, compression)

    return Row(
        name=f"modloop {name}, one module more",
        about=f"{len(content) / 1e6:.2f} MB of module into {stock.stat().st_size / 1e6:.0f} MB",
        candidates=(
            Candidate(
                name="bootsmith",
                role=OURS,
                prepare=prepare,
                run=lambda place: job(place, add=(module(place),)),
            ),
            Candidate(
                name="copy the image, pack the module", role=FLOOR, prepare=prepare, run=floor
            ),
            Candidate(name="unsquashfs, mksquashfs", role=PEER, prepare=prepare, run=repacked),
        ),
        bar=2.0,
        bar_text="≤ 2 x (copying the image + compressing that module)",
    )


def _all_anew(site: BuiltSite, name: str) -> Row:
    label = f"modloop:{name}"
    stock = site.input(label, "stock")
    # Another one than the stock's, or nothing would be packed.
    other = "zstd" if _some_module(stock)[2] != "zstd" else "xz"
    config = site.input(f"flavor:{name}", "config")

    def unpacked(place: Path) -> None:
        run(["unsquashfs", "-q", "-n", "-d", place / "tree", stock])

    return Row(
        name=f"modloop {name}, packed anew with {other}",
        about="every block compressed again; the floor has the tree on the disk already",
        candidates=(
            Candidate(
                name="bootsmith",
                role=OURS,
                run=site.job(label, compression=other, kernel_config=config),
            ),
            Candidate(
                name=f"mksquashfs -comp {other}",
                role=FLOOR,
                prepare=unpacked,
                run=lambda place: _pack(place, other),
            ),
        ),
        bar=1.1,
        bar_text="≤ 1.1 x mksquashfs with the same options",
    )


def _some_module(image_path: Path) -> tuple[str, bytes, str]:
    """A module of middling size: its path, its content, and how the image is compressed."""
    with (
        open(image_path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
    ):
        image = Squashfs(view)
        modules = sorted(
            (entry.size_bytes, entry.path)
            for entry in image.walk("modules")
            if ".ko" in Path(entry.path).name and entry.size_bytes
        )
        path = modules[len(modules) * 9 // 10][1]
        return path, image.read(path), image.superblock.compression


def _packed(content: bytes, compression: str) -> bytes:
    pack: Callable[[bytes], bytes] = {
        "zstd": zstandard.ZstdCompressor(level=15).compress,
        "xz": lambda block: lzma.compress(block, check=lzma.CHECK_CRC32),
    }.get(compression, lzma.compress)
    blocks = range(0, len(content), _BLOCK_BYTES)
    return b"".join(pack(content[start : start + _BLOCK_BYTES]) for start in blocks)


def _pack(place: Path, compression: str) -> None:
    # With the very options that our own packing has.
    make_squashfs(place / "tree", place / "image", compression=compression)
