"""apkovl: a thousand of them, beside a tar in memory and what people type."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import deflate

from bench.measure import FLOOR, OURS, PEER, Candidate, Row
from bench.programs import run
from bench.site import BuiltSite
from bootsmith.formats.inventory import Host, Inventory, Role, write_inventory

_COUNT = 1000


def rows(site: BuiltSite) -> Iterator[Row]:
    """Of the first template."""
    name = next(iter(site.site.templates))
    job = site.job(f"apkovl:{name}")
    made = site.input(f"apkovl:{name}", "output")
    members = _members(made)

    def hosts(place: Path) -> None:
        known = [
            Host(name=f"node-{number:04}", mac=_mac(number), template=name, values={"rack": "r1"})
            for number in range(_COUNT)
        ]
        inventory = Inventory(unknown=Role(template=name), hosts=tuple(known))
        (place / "inventory.jsonl").write_bytes(write_inventory(inventory))

    def many(place: Path) -> None:
        site.job("hostovl", inventory=place / "inventory.jsonl", build=place)(place)

    def one_by_one(place: Path) -> None:
        for _ in range(_COUNT // 10):
            job(place)

    def floor(place: Path) -> None:
        for _ in range(_COUNT):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                for member, content in members:
                    archive.addfile(member, io.BytesIO(content))
            (place / "x").write_bytes(deflate.gzip_compress(buffer.getvalue(), 6))

    def unpack(place: Path) -> None:
        (place / "tree").mkdir()
        run(["tar", "-C", place / "tree", "-xf", made])

    def by_hand(place: Path) -> None:
        for _ in range(20):
            run(["sh", "-c", f"tar -C {place}/tree -c etc | gzip > {place}/x"])

    yield Row(
        name="apkovl, each of 1,000",
        about=f"template {name}: {len(members)} members",
        candidates=(
            Candidate(
                name="bootsmith, 1,000 hosts", role=OURS, prepare=hosts, run=many, count=_COUNT
            ),
            Candidate(
                name="bootsmith, one step each, flushed",
                role=PEER,
                run=one_by_one,
                count=_COUNT // 10,
            ),
            Candidate(name="tarfile in memory, libdeflate -6", role=FLOOR, run=floor, count=_COUNT),
            Candidate(name="tar | gzip", role=PEER, prepare=unpack, run=by_hand, count=20),
        ),
        bar_text="≤ 1.5 ms each, or ≤ 1.2 x the floor",
        bar=1.2,
    )


def _mac(number: int) -> str:
    return f"52:54:01:00:{number >> 8:02x}:{number & 255:02x}"


def _members(apkovl: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(apkovl) as archive:
        return [(member, _content(archive, member)) for member in archive]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    reader = archive.extractfile(member) if member.isfile() else None
    return reader.read() if reader is not None else b""
