"""A boot medium as a directory, for servers to export: a release's ISO, and what we made.

What we made takes the place of the ISO's own boot files: no guest of ours shall run with
the kernel, initramfs or modloop of the ISO.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from bootsmith.errors import SmokeError
from bootsmith.files.iso_tree import write_iso_tree
from bootsmith.formats.release_facts import IsoFile, ReleaseFacts, read_release_facts


def lay_medium(
    directory: Path, *, iso: Path, facts: Path, iso_sha256: str, files: Mapping[str, Path]
) -> None:
    """Fill the empty `directory` with the ISO's tree and `files`, by path on the medium.

    `facts` are those of the ISO with this digest; SmokeError if they are of another. They
    may be hard links: the medium is exported read-only.
    """
    known = read_release_facts(facts.read_bytes(), subject=str(facts))
    if known.iso_sha256 != iso_sha256:
        raise SmokeError(
            facts,
            "is about another ISO than the generation was built from",
            expected=f"sha256 {iso_sha256}",
            got=f"sha256 {known.iso_sha256}",
            hint="build again: doit build",
        )
    with open(iso, "rb", buffering=0) as source:
        write_iso_tree(source, _without_boot_files(known), directory)
    for path, file in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except OSError:  # another file system
            shutil.copyfile(file, target)


def _without_boot_files(known: ReleaseFacts) -> list[IsoFile]:
    boot_files = {
        entry.path
        for flavor in known.flavors.values()
        for entry in (flavor.kernel, flavor.initramfs, flavor.modloop)
    }
    return [entry for entry in known.files if entry.path not in boot_files]
