"""mtools: FAT volumes inside plain files, with no mount and no privilege.

Our own writer makes the volumes; mtools makes the small one that the SYSLINUX installer is
run on, and reads finished ones back as an independent reader.
"""

from __future__ import annotations

from pathlib import Path

from bootsmith.tools.run import run_program

# 1980-01-01, FAT's first day. At our usual epoch of 0, mtools writes the year 2098.
_ENVIRONMENT = {"SOURCE_DATE_EPOCH": "315532800", "MTOOLSRC": "/dev/null"}


def format_floppy(image: Path) -> None:
    """Create `image`: a 1440 KiB FAT12 volume with nothing on it."""
    run_program(
        # -N: no serial made from the clock
        ["mformat", "-C", "-f", "1440", "-N", "00000000", "-i", image, "::"],
        environment=_ENVIRONMENT,
    )


def read_fat_file(image: Path, path: str, *, offset_bytes: int = 0) -> bytes:
    """Content of the file `path` on the volume that begins at `offset_bytes` of `image`."""
    return run_program(
        # -b: in one go, as it is; -: to standard output
        ["mcopy", "-b", "-i", f"{image}@@{offset_bytes}", f"::/{path}", "-"],
        environment=_ENVIRONMENT,
    ).stdout


def list_fat_paths(image: Path, *, offset_bytes: int = 0) -> list[str]:
    """Paths of all files and directories (these end in a slash), sorted."""
    completed = run_program(
        # -a: hidden ones too; -/: everything below; -b: one path a line
        ["mdir", "-a", "-/", "-b", "-i", f"{image}@@{offset_bytes}", "::"],
        environment=_ENVIRONMENT,
    )
    return sorted(line.removeprefix("::/") for line in completed.text.splitlines() if line)
