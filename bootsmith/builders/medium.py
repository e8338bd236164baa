"""medium: what each file of a release's ISO is, by digest, so that trees can be laid of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bootsmith.files.atomic import write_file
from bootsmith.files.extents import mapped_extents
from bootsmith.formats.medium_digests import MediumDigests, write_medium_digests
from bootsmith.formats.release_facts import FILE, IsoFile, read_release_facts

Progress = Callable[[str, int, int | None], None]
_THREADS = 2


def build_medium_digests(*, iso: Path, facts: Path, output: Path, progress: Progress) -> None:
    """Write `output`: sha256 and size of every regular file of `iso`, which `facts` describe.

    SourceError where the ISO ends before a file does.
    """
    release = read_release_facts(facts.read_bytes(), subject=str(facts))
    files = [entry for entry in release.files if entry.type == FILE]
    # The largest first, so that both threads end together.
    files.sort(key=lambda entry: (-entry.size_bytes, entry.path))
    total = sum(entry.size_bytes for entry in files)
    known: dict[str, tuple[str, int]] = {}
    done = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for entry, digest in zip(files, pool.map(partial(_sha256, iso), files), strict=True):
            known[entry.path] = (digest, entry.size_bytes)
            done += entry.size_bytes
            progress("reading the files of the ISO", done, total)
    digests = MediumDigests(iso_sha256=release.iso_sha256, files=known)
    write_file(output, write_medium_digests(digests))


def _sha256(iso: Path, entry: IsoFile) -> str:
    with (
        mapped_extents(iso, entry.extents) as (buffer, start),
        memoryview(buffer) as view,
        view[start : start + entry.size_bytes] as content,
    ):
        return hashlib.sha256(content).hexdigest()
