"""A release's own initramfs, listed without being unpacked more often than needed."""

from __future__ import annotations

import hashlib
import os
import stat
from base64 import b64decode, b64encode
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from bootsmith.errors import FormatError
from bootsmith.files.cache import Cache
from bootsmith.formats.compression import decompress_initramfs
from bootsmith.formats.cpio import CpioEntry, read_cpio
from bootsmith.formats.initramfs import SEGMENT_THRESHOLD_BYTES, Member

LIMIT_BYTES = 1 << 30
"""Unpacked, an initramfs must fit the machine's memory."""

_LAYOUT_VERSION = "3"  # part of the key of a remembered listing; changes with its shape
_LARGEST_SCRIPT_BYTES = 1 << 18


class StockInitramfs:
    """The initramfs at `path`; unpacked only when someone wants a large content of it.

    Small ones are remembered with the listing: they share a segment, so each is wanted again
    whenever one of them changes; and so are scripts, since init is patched.

    Raises OSError if it cannot be read, FormatError for damaged or foreign bytes.
    """

    def __init__(self, path: Path, store: Cache) -> None:
        self.path = path
        self._store = store
        self.sha256 = store.sha256_of(path)

    def members(self) -> list[Member]:
        """What the kernel would find after unpacking it: the last entry of each name."""
        key = hashlib.blake2b(
            f"{_LAYOUT_VERSION}\n{self.sha256}".encode(), digest_size=32
        ).hexdigest()
        listing = self._store.recall_document("initramfs", key)
        if listing is None:
            listing = self._list()
            if not listing:
                raise FormatError(self.path, "holds no files", hint="get the release again")
            self._store.keep_document("initramfs", key, listing)
        return [
            Member(
                name=name,
                mode=mode,
                size_bytes=size,
                # The archive's digest and the name in it tell the content without hashing it.
                identity=f"{self.sha256} {name}",
                load=partial(self._content, name)
                if content is None
                else partial(b64decode, content),
                target=target,
                rdev_major=major,
                rdev_minor=minor,
                linked=linked,
            )
            for name, mode, size, target, major, minor, linked, content in listing
        ]

    def _list(self) -> list[list[Any]]:
        return [
            [
                *(entry.name, entry.mode, len(entry.data)),
                os.fsdecode(bytes(entry.data)) if stat.S_ISLNK(entry.mode) else None,
                *(entry.rdev_major, entry.rdev_minor, entry.linked),
                b64encode(entry.data).decode("ascii") if _is_remembered(entry) else None,
            ]
            for entry in self._entries.values()
        ]

    @cached_property
    def _entries(self) -> dict[str, CpioEntry]:
        subject = str(self.path)
        data = decompress_initramfs(
            self.path.read_bytes(), limit_bytes=LIMIT_BYTES, subject=subject
        )
        return {entry.name: entry for entry in read_cpio(data, subject=subject)}

    def _content(self, name: str) -> bytes | memoryview:
        return self._entries[name].data


def _is_remembered(entry: CpioEntry) -> bool:
    return len(entry.data) < SEGMENT_THRESHOLD_BYTES or (
        len(entry.data) <= _LARGEST_SCRIPT_BYTES and bytes(entry.data[:2]) == b"#!"
    )
