"""What can be made again, kept by key until it is wanted again.

Entries are written whole or not at all but not flushed to the disk: after a power cut one
may be empty or torn. So each carries a checksum of its content, and one that does not
match is as good as absent. (A checksum, not a digest: it guards against torn writes, and
it costs a tenth on machines without SHA instructions.)
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootsmith.files.atomic import PARTIAL_SUFFIX
from bootsmith.files.digest import Identity, remembered_sha256

_CHECK_BYTES = 4


class Cache:
    """Entries below one directory, as `<kind>/<key>`; keys are hex digests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def recall(self, kind: str, key: str) -> bytes | None:
        """The content kept under `key`, or None."""
        # By descriptor: hundreds are recalled in a row, most of them small.
        try:
            source = os.open(f"{self.directory}/{kind}/{key}", os.O_RDONLY)
        except OSError:
            return None
        try:
            size_bytes = max(0, os.fstat(source).st_size - _CHECK_BYTES)
            content = os.pread(source, size_bytes, 0)
            check = os.pread(source, _CHECK_BYTES, size_bytes)
        except OSError:
            return None
        finally:
            os.close(source)
        return content if check == _check(content) else None

    def keep(self, kind: str, key: str, content: bytes) -> None:
        """Keep `content` under `key`; on a full disk nothing is kept."""
        path = self._path(kind, key)
        # As files.atomic names them; written here because entries come by the hundred and
        # need neither a flush nor a mode.
        unfinished = path.with_name(f".{key}.{secrets.token_hex(6)}{PARTIAL_SUFFIX}")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(unfinished, "xb", buffering=0) as target:
                    target.write(content)
                    target.write(_check(content))
                os.replace(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)

    def recall_document(self, kind: str, key: str) -> Any:
        """The JSON document kept under `key`, or None."""
        content = self.recall(kind, key)
        return None if content is None else json.loads(content)

    def keep_document(self, kind: str, key: str, document: Any) -> None:
        """Keep a JSON document."""
        self.keep(kind, key, json.dumps(document, separators=(",", ":")).encode())

    def sha256_of(self, path: Path) -> str:
        """Hex sha256 of a file, remembered as long as nothing says that it changed."""
        return remembered_sha256(path, _FileMemory(self), os.stat(path))

    def _path(self, kind: str, key: str) -> Path:
        return self.directory / kind / key


def _check(content: bytes) -> bytes:
    # Seeded, so that an empty file is not a sound entry.
    return zlib.crc32(content, 1).to_bytes(_CHECK_BYTES, "little")


class _FileMemory:
    """Remembers digests of files in the cache itself (files.digest.DigestMemory)."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def recall(self, path: str, identity: Identity) -> str | None:
        known = self._cache.recall("digest", self._key(path, identity))
        return None if known is None else known.decode("ascii")

    def remember(self, path: str, identity: Identity, sha256: str) -> None:
        self._cache.keep("digest", self._key(path, identity), sha256.encode("ascii"))

    def _key(self, path: str, identity: Identity) -> str:
        return hashlib.sha256(f"{os.path.abspath(path)} {identity}".encode()).hexdigest()
