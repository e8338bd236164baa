"""The database of installed packages, `lib/apk/db/installed`, as apk 2 reads it.

Each package is its index record followed by its files: `F:` a directory and `R:` each file in
it, `M:` and `a:` owner and mode where they are not 0:0:755 and 0:0:644, `Z:` a SHA-1 of the
content, or of a link's target. Facts from apk-tools src/database.c.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from bootsmith.formats.apk import Apk, ApkEntry, IndexRecord, format_record


def write_installed(packages: Iterable[tuple[IndexRecord, Apk]]) -> bytes:
    """The database of these packages, in their order."""
    return "".join(f"{_block(record, apk)}\n" for record, apk in packages).encode(
        "utf-8", "surrogateescape"
    )


def _block(record: IndexRecord, apk: Apk) -> str:
    directories = {entry.name: entry for entry in apk.entries if entry.kind == "directory"}
    files: dict[str, list[ApkEntry]] = {name: [] for name in directories}
    for entry in apk.entries:
        if entry.kind != "directory":
            files.setdefault(entry.name.rpartition("/")[0], []).append(entry)
    lines = []
    for name in sorted(files):
        lines.append(f"F:{name}")
        directory = directories.get(name)
        if directory is not None and _acl(directory) != "0:0:755":
            lines.append(f"M:{_acl(directory)}")
        for entry in sorted(files[name], key=lambda entry: entry.name):
            lines.append(f"R:{entry.name.rpartition('/')[2]}")
            if entry.kind != "symlink" and _acl(entry) != "0:0:644":
                lines.append(f"a:{_acl(entry)}")
            if entry.kind != "hardlink":
                lines.append(f"Z:{_checksum(entry)}")
    return format_record(record) + "".join(f"{line}\n" for line in lines)


def _acl(entry: ApkEntry) -> str:
    return f"{entry.uid}:{entry.gid}:{entry.mode:o}"


def _checksum(entry: ApkEntry) -> str:
    content = entry.data
    if entry.kind == "symlink":
        content = entry.target.encode("utf-8", "surrogateescape")
    digest = hashlib.sha1(content, usedforsecurity=False).digest()
    return "Q1" + base64.b64encode(digest).decode("ascii")
