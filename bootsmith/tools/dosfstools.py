"""dosfstools: fsck.vfat as a checker of volumes that we wrote."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bootsmith.files.extents import copy_range
from bootsmith.tools.run import run_program


def check_fat_volume(image: Path, *, offset_bytes: int = 0) -> str:
    """Let fsck.vfat look at the volume that begins at `offset_bytes`; return what it said.

    ToolFailed if it finds anything at all to repair. It takes no offset, so that a volume
    inside a disk image is copied out first, its holes left holes.
    """
    if not offset_bytes:
        return _check(image)
    with tempfile.TemporaryDirectory() as scratch:
        volume = Path(scratch, "volume.img")
        _copy_data(image, offset_bytes, volume)
        return _check(volume)


def _check(volume: Path) -> str:
    # -n: change nothing; -v: say what was seen
    return run_program(["fsck.vfat", "-n", "-v", volume]).text


def _copy_data(image: Path, offset_bytes: int, volume: Path) -> None:
    with open(image, "rb") as source, open(volume, "wb") as target:
        end = os.fstat(source.fileno()).st_size
        target.truncate(end - offset_bytes)
        position = offset_bytes
        while True:
            try:
                position = os.lseek(source.fileno(), position, os.SEEK_DATA)
            except OSError:  # nothing but a hole follows
                return
            hole = os.lseek(source.fileno(), position, os.SEEK_HOLE)
            copy_range(
                source.fileno(), position, target.fileno(), position - offset_bytes, hole - position
            )
            position = hole
