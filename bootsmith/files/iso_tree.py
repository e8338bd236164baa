"""Entries of an ISO as files of a directory, for servers that export them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bootsmith.files.extents import copy_extents
from bootsmith.formats.release_facts import DIRECTORY, FILE, LINK, IsoFile

Progress = Callable[[str, int, int | None], None]


def write_iso_tree(
    source: io.FileIO,
    files: Sequence[IsoFile],
    root: Path,
    progress: Progress | None = None,
) -> None:
    """Copy `files`, sorted by path, out of the open ISO to below the empty directory `root`.

    Modes are made readable for servers (`exported_mode`). Directories come first, then files,
    then links: whatever the names, no link is there to write through. SourceError if the ISO
    ends before a file does.
    """
    total = sum(entry.size_bytes for entry in files)
    done = 0
    for entry in files:  # sorted: a directory comes before what it holds
        if entry.type == DIRECTORY:
            os.mkdir(f"{root}/{entry.path}", 0o755)
    for entry in files:
        if entry.type != FILE:
            continue
        out = os.open(f"{root}/{entry.path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            done += copy_extents(source.fileno(), entry.extents, out)
            os.fchmod(out, exported_mode(entry))
        finally:
            os.close(out)
        if progress:
            progress("copying the ISO's tree", done, total)
    for entry in files:
        if entry.type == LINK:
            os.symlink(entry.target or "", f"{root}/{entry.path}")


def exported_mode(entry: IsoFile) -> int:
    """0755 for directories and programs, 0644 for other files (on ISOs some are 0600)."""
    return 0o755 if entry.type == DIRECTORY or entry.mode & 0o111 else 0o644
