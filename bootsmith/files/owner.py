"""Files of root among those of somebody else.

Some boots need root and leave their records in a checkout that is a user's, who then could
neither remove nor replace them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def owned_as(directory: Path, top: Path) -> Iterator[None]:
    """Give `top` to the owner of `directory` once the block has ended, however it ends."""
    try:
        yield
    finally:
        give_to_owner_of(directory, top)


def give_to_owner_of(directory: Path, top: Path) -> None:
    """Let what is root's of `top`, and below it, belong to the owner and group of `directory`.

    Nothing where we are not root, or `directory` is root's. No link is followed, neither by name
    nor by a second name of a file: the owner may have laid one that leads out.
    """
    owner = os.stat(directory)
    if os.geteuid() != 0 or owner.st_uid == 0 or not top.is_dir():
        return
    for _, directories, names, place in os.fwalk(top, follow_symlinks=False):
        for name in (".", *directories, *names):
            status = os.stat(name, dir_fd=place, follow_symlinks=False)
            has_one_name = stat.S_ISDIR(status.st_mode) or status.st_nlink == 1
            if status.st_uid == 0 and has_one_name:
                os.chown(name, owner.st_uid, owner.st_gid, dir_fd=place, follow_symlinks=False)
