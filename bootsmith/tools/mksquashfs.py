"""mksquashfs: a modloop image in Alpine's layout, with the same bytes every time."""

from __future__ import annotations

from pathlib import Path

from bootsmith.files.atomic import replacing_file
from bootsmith.tools.run import run_program

_COMPRESSORS = {
    "gzip": ("-comp", "gzip"),
    "xz": ("-comp", "xz"),
    # Level 9 takes a twelfth of the time of xz; higher ones gain little.
    "zstd": ("-comp", "zstd", "-Xcompression-level", "9"),
}


def make_squashfs(source: Path, output: Path, *, compression: str = "zstd") -> None:
    """Pack the directory `source` into `output`: default block size, all owned by root.

    Names, modes and contents decide the bytes; times are 0 (SOURCE_DATE_EPOCH of our
    environment, which also forbids giving mksquashfs its own time options). Source of the
    options: Alpine alpine-conf, update-kernel, except that it packs with `-comp xz -Xbcj x86`:
    that made packing most of a cold build, to be a sixth smaller.
    """
    with replacing_file(output, durable=False) as partial:
        run_program(
            [
                "mksquashfs",
                source,
                partial,
                *_COMPRESSORS[compression],
                "-all-root",  # who builds must not show
                "-no-xattrs",  # nor what the builder's filesystem adds
                "-noappend",  # the file exists: it is the empty one that will be renamed
                "-exit-on-error",  # an unreadable file would only be a warning
                "-no-progress",
                "-quiet",
            ],
            needed_by="the builders, to pack modloops",
        )
