"""What the gate has read off files, kept by their digest: reading them again says no more.

Only the gate writes here, and only what it read itself; nothing that a builder says about its
work comes in. A change of the code that reads makes all of it unknown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from bootsmith.files.atomic import write_file
from bootsmith.formats import (
    apkovl,
    apkovl_reader,
    compression,
    cpio,
    elf,
    fat32_reader,
    initramfs,
    kernel_modules,
    mbr,
    member_names,
    modloop,
    module_facts,
    pxerd_facts,
    script_patch,
    squashfs,
    squashfs_layout,
)

_MOST_ENTRIES = 100_000
_READERS = (
    *(apkovl, apkovl_reader, compression, cpio, elf, fat32_reader, initramfs, kernel_modules),
    *(
        mbr,
        member_names,
        modloop,
        module_facts,
        pxerd_facts,
        script_patch,
        squashfs,
        squashfs_layout,
    ),
)


class FactMemory:
    """JSON values by kind and sha256, in one file; what was asked for last is kept longest."""

    def __init__(self, path: Path, *, readers: Sequence[ModuleType] = _READERS) -> None:
        self._path = path
        self._code = _digest_of(readers)
        self._known = self._load()
        self._has_news = False

    def recall(self, kind: str, sha256: str, read: Callable[[], Any]) -> Any:
        """What is known of the content with this digest, or what `read` says, which is kept."""
        key = f"{kind} {sha256}"
        if key in self._known:
            # To the end, where it is dropped last.
            self._known[key] = self._known.pop(key)
        else:
            self._known[key] = read()
            self._has_news = True
        return self._known[key]

    def save(self) -> None:
        """Write what is new; on a full disk, or without the right to, nothing is kept."""
        if self._has_news:
            kept = dict(list(self._known.items())[-_MOST_ENTRIES:])
            document = {"code": self._code, "facts": kept}
            with suppress(OSError):
                write_file(self._path, json.dumps(document).encode(), durable=False)

    def _load(self) -> dict[str, Any]:
        try:
            document = json.loads(self._path.read_bytes())
            return dict(document["facts"]) if document["code"] == self._code else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def _digest_of(readers: Sequence[ModuleType]) -> str:
    digest = hashlib.sha256()
    for reader in readers:
        assert reader.__file__ is not None
        digest.update(Path(reader.__file__).read_bytes())
    return digest.hexdigest()
