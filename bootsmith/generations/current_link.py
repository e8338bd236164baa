"""The link `current`, moved so that no reader over NFS is left with a stale handle.

An NFS client looks a link up first and reads it second, by its handle; servers and clients
remember both for a while. A link that was replaced in between is a deleted inode, and the
reader gets ESTALE however atomic the rename was. So each generation has a link of its own,
`.current.<id>`, for as long as it exists, and `current` is one more name (a hard link) of it:
moving `current` deletes no inode that a reader may hold.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from bootsmith.files.atomic import PARTIAL_SUFFIX, fsync_directory, replace_link

_OWN_LINK = ".current."  # followed by the generation's id


def move_current(artifacts: Path, identifier: str) -> None:
    """Make `artifacts/current` lead to generation `identifier`, with one rename(2).

    Own links of generations that are gone are removed. Killed half-way it leaves at most a
    `.partial` name of the link, which `collect_partials` removes.
    """
    destination = f"generations/{identifier}"
    own = artifacts / f"{_OWN_LINK}{identifier}"
    if not (own.is_symlink() and os.readlink(own) == destination):
        replace_link(own, destination)
    partial = artifacts / f"{_OWN_LINK}{secrets.token_hex(6)}{PARTIAL_SUFFIX}"
    try:
        os.link(own, partial, follow_symlinks=False)
        # Names of one inode: rename(2) does nothing and leaves both, hence the unlink below.
        os.replace(partial, artifacts / "current")
        fsync_directory(artifacts)
    except OSError:
        # A filesystem without hard links to links, or another user's link under
        # fs.protected_hardlinks: just as atomic, only not as kind to NFS.
        replace_link(artifacts / "current", destination)
    finally:
        partial.unlink(missing_ok=True)
    for link in artifacts.glob(f"{_OWN_LINK}*"):
        if link.is_symlink() and not link.exists():
            link.unlink()
