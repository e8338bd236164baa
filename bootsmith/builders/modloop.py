"""The modloop that machines mount: kernel modules and firmware in one squashfs.

The release's own is passed through untouched. Its signature, which the initramfs carries,
covers every byte of it, so the smallest change would cost a new signature.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from bootsmith.errors import SourceError
from bootsmith.files.atomic import replacing_file
from bootsmith.files.store import clone_file
from bootsmith.formats.modloop import modloop_kernel_release
from bootsmith.formats.squashfs import Squashfs


def build_modloop(*, stock: Path, output: Path) -> None:
    """Copy the modloop `stock` to `output` (sharing blocks where the filesystem can).

    Raises SourceError if it cannot be read, FormatError unless it is a squashfs image with
    the modules of one kernel release; `output` is untouched then.
    """
    _check_is_modloop(stock)
    with replacing_file(output) as partial:
        clone_file(stock, partial)


def _check_is_modloop(path: Path) -> None:
    try:
        source = open(path, "rb")
    except OSError as error:
        raise SourceError(
            path, f"modloop cannot be read ({error.strerror})", hint="run again: doit build"
        ) from None
    with source:
        if not path.stat().st_size:
            raise SourceError(path, "modloop is empty", hint="run again: doit build")
        with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            modloop_kernel_release(Squashfs(buffer, subject=str(path)))
