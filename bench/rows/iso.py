"""ISO: its whole tree on the disk, beside copying that tree; and once more in a generation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.measure import FLOOR, OURS, PEER, Candidate, Row
from bench.programs import run
from bench.site import BuiltSite
from bootsmith.files.atomic import replacing_directory
from bootsmith.files.iso_tree import write_iso_tree
from bootsmith.files.netboot_tree import lay_tree
from bootsmith.files.store import Store
from bootsmith.formats.medium_digests import read_medium_digests
from bootsmith.formats.netboot_index import NetbootEntry, write_netboot_index
from bootsmith.formats.release_facts import read_release_facts
from bootsmith.generations.digests import Digests
from bootsmith.generations.netboot_parts import NetbootParts, gather_netboot, store_tree


def rows(site: BuiltSite) -> Iterator[Row]:
    """Of each release."""
    for name in site.site.releases:
        iso = site.input(f"iso:{name}", "iso")
        about = f"{iso.stat().st_size / 1e6:.0f} MB"
        yield Row(
            name=f"ISO {name} to a tree",
            about=about,
            candidates=tuple(_unpacking(site, name)),
            bar=1.25,
            bar_text="≤ 1.25 x cp -a",
        )
        yield Row(
            name=f"ISO {name} to a tree, a second time",
            about=f"{about}; its files are in the store already",
            candidates=tuple(_again(site, name)),
            bar=3.0,
            bar_text="≤ 3 x cp -al",
        )


def _unpacking(site: BuiltSite, name: str) -> Iterator[Candidate]:
    iso = site.input(f"iso:{name}", "iso")
    tree = partial(unpack, site, name)

    def copy(place: Path) -> None:
        run(["cp", "-a", place / "tree", place / "copy"])

    def bsdtar(place: Path) -> None:
        run(["bsdtar", "-xf", iso, "-C", place / "tree"])

    def xorriso(place: Path) -> None:
        run(["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", place / "tree"])

    yield Candidate(name="bootsmith", role=OURS, run=tree)
    yield Candidate(
        name="bootsmith, into the store, proven",
        role=PEER,
        run=lambda place: _store(_parts(site, name, place), place),
    )
    yield Candidate(name="cp -a of the tree", role=FLOOR, prepare=tree, run=copy)
    yield Candidate(
        name="bsdtar", role=PEER, prepare=lambda place: (place / "tree").mkdir(), run=bsdtar
    )
    yield Candidate(name="xorriso", role=PEER, run=xorriso)


def _again(site: BuiltSite, name: str) -> Iterator[Candidate]:
    def stored(place: Path) -> None:
        _store(_parts(site, name, place), place)

    def first(place: Path) -> None:
        stored(place)
        _lay(site, name, place, "first")

    yield Candidate(
        name="bootsmith, a generation's, flushed",
        role=OURS,
        prepare=first,
        run=lambda place: _lay(site, name, place, "second"),
    )
    yield Candidate(
        name="cp -al of the tree",
        role=FLOOR,
        prepare=first,
        run=lambda place: run(["cp", "-al", place / "first", place / "second"]),
    )


def unpack(site: BuiltSite, name: str, place: Path) -> None:
    """The whole tree of a release's ISO at `place`/tree."""
    facts = site.input(f"iso:{name}", "facts")
    known = read_release_facts(facts.read_bytes(), subject=str(facts))
    (place / "tree").mkdir()
    with open(site.input(f"iso:{name}", "iso"), "rb", buffering=0) as source:
        write_iso_tree(source, known.files, place / "tree")


def _parts(site: BuiltSite, name: str, place: Path) -> NetbootParts:
    medium = {
        "iso": site.input(f"iso:{name}", "iso"),
        "facts": site.input(f"iso:{name}", "facts"),
        "digests": site.input(f"medium:{name}", "output"),
    }
    files = read_medium_digests(medium["digests"].read_bytes(), subject=name).files
    index = place / "index.jsonl"
    index.write_bytes(
        write_netboot_index(NetbootEntry(path=path, iso=name, from_path=path) for path in files)
    )
    return gather_netboot(indexes=[index], media={name: medium}, build=place, artifacts={})


def _store(parts: NetbootParts, place: Path) -> None:
    store_tree(parts, Store(place / "store"), Digests(), lambda _message, _done, _total: None)


def _lay(site: BuiltSite, name: str, place: Path, identifier: str) -> None:
    tree = _parts(site, name, place).tree
    with replacing_directory(place / identifier) as directory:
        lay_tree(directory, identifier, tree, Store(place / "store"))
