"""USB keys: cold, after one changed overlay, and made by the usual programs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.measure import FLOOR, OURS, PEER, Candidate, Row, tree_bytes
from bench.programs import run
from bench.rows.iso import unpack
from bench.site import BuiltSite, Remembered


def rows(site: BuiltSite) -> Iterator[Row]:
    """Of the first template."""
    name = next(iter(site.site.templates))
    label = f"usbkey:{name}"
    image = site.input(label, "output")
    other = site.input(f"apkovl:{list(site.site.templates)[-1]}", "output")
    copy = Candidate(
        name="cp --sparse of the image",
        role=FLOOR,
        run=lambda place: run(["cp", "--sparse=always", image, place / "copy.img"]),
    )

    def other_overlay(place: Path) -> None:
        overlay = place / site.input(label, "apkovl").name
        shutil.copyfile(other, overlay)
        site.job(label, apkovl=overlay)(place)

    yield Row(
        name=f"USB key {name}, nothing cached",
        about=f"{image.stat().st_size / 1e6:.0f} MB image",
        candidates=(
            Candidate(name="bootsmith", role=OURS, run=site.job(label)),
            copy,
            Candidate(
                name="sfdisk, mkfs.vfat, mcopy, syslinux",
                role=PEER,
                prepare=partial(unpack, site, next(iter(site.site.releases))),
                run=_by_hand,
            ),
        ),
        bar=6.0,
        bar_text="≤ 6 x cp --sparse",
    )
    yield Row(
        name=f"USB key {name}, one overlay changed",
        about="made before with another apkovl, in the same place; digests of the rest are known",
        candidates=(
            Candidate(
                name="bootsmith",
                role=OURS,
                prepare=other_overlay,
                run=site.job(label, memory=Remembered(site.steps[label].inputs)),
            ),
            copy,
        ),
        bar=2.0,
        bar_text="≤ 2 x cp --sparse",
    )


def _by_hand(place: Path) -> None:
    # The release whole, since the usual programs leave nothing out: with room for its tables.
    size_bytes = (tree_bytes(place / "tree") * 5 // 4 + (64 << 20)) >> 20 << 20
    image = place / "hand.img"
    kibibytes = size_bytes // 1024 - 1024
    script = (
        f"truncate -s {size_bytes} {image}\n"
        f"echo 'start=2048, type=c, bootable' | sfdisk -q {image}\n"
        f"mkfs.vfat -F 32 --offset 2048 -n KEY {image} {kibibytes} >/dev/null\n"
        f"mcopy -i {image}@@1M -s {place}/tree/* {place}/tree/.alpine-release ::\n"
        f"mmd -D s -i {image}@@1M ::/boot/syslinux || true\n"
        f"syslinux --install -t 1048576 -d /boot/syslinux {image}\n"
        f"dd if=/usr/lib/syslinux/mbr/mbr.bin of={image} bs=440 count=1 conv=notrunc status=none\n"
    )
    run(["sh", "-ec", script], MTOOLS_SKIP_CHECK="1")
