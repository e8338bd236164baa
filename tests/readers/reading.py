"""A reader of a site's artifacts over the network, as a program of its own.

    reading.py visitor|holder http://ADDRESS:PORT/ | nfs://ADDRESS:PORT/EXPORT

It reads in rounds until its standard input ends, and says each round in one line of JSON:
the generation that `current` led to, the digest of each file read, and whatever went wrong.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import select
import socket
import sys
import time
import urllib.parse

from nfs4 import Nfs4

BLOCK_BYTES = 256 * 1024
HOLD_SECONDS = 0.02


class NfsFiles:
    """Files of an NFS export, on one connection."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._client = Nfs4(parts.hostname, parts.port, parts.path.strip("/"))

    def open(self, path: str) -> NfsFile:
        return NfsFile(self._client, self._client.find(path))


class NfsFile:
    """A file of an NFS server, found once and then known by its handle."""

    def __init__(self, client: Nfs4, handle: bytes) -> None:
        self._client, self._handle = client, handle
        self._place, self._is_over = 0, False

    def read_block(self) -> bytes:
        if self._is_over:
            return b""
        block, self._is_over = self._client.read(self._handle, self._place, BLOCK_BYTES)
        self._place += len(block)
        return block

    def close(self) -> None:
        """A handle needs no closing."""


class WebFiles:
    """Files of an HTTP server; every file has a connection of its own."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._address = (parts.hostname, parts.port)

    def open(self, path: str) -> WebFile:
        return WebFile(self._address, path)


class WebFile:
    """A response that is being read."""

    def __init__(self, address: tuple[str, int], path: str) -> None:
        self._connection = http.client.HTTPConnection(*address)
        # A small buffer: else the kernel holds the rest of the file before it is asked for.
        self._connection.sock = socket.socket()
        self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._connection.sock.connect(address)
        self._connection.request("GET", f"/{path}")
        self._response = self._connection.getresponse()
        if self._response.status != http.HTTPStatus.OK:
            self.close()
            raise OSError(f"{path}: HTTP status {self._response.status}")

    def read_block(self) -> bytes:
        expected = min(BLOCK_BYTES, self._response.length)
        block = self._response.read(BLOCK_BYTES)
        if len(block) < expected:
            raise OSError(f"short read: {len(block)} of {expected} bytes")
        return block

    def close(self) -> None:
        self._connection.close()


class Reading:
    """A file that is being read: opened, and its first block taken."""

    def __init__(self, files: NfsFiles | WebFiles, path: str) -> None:
        self._file = files.open(path)
        self._content = self._file.read_block()

    def finish(self) -> bytes:
        """All of the file."""
        try:
            while block := self._file.read_block():
                self._content += block
        finally:
            self._file.close()
        return self._content


class Visitor:
    """Comes and goes: each round reads every file from its beginning to its end."""

    def __init__(self, files: NfsFiles | WebFiles) -> None:
        self._files = files

    def round(self) -> dict:
        """`resolved` and `through`: see the two ways of reading."""
        manifest = json.loads(self._read("current/MANIFEST.json"))
        return {
            "generation": manifest["id"],
            "resolved": self._read_generation(manifest),
            "through": self._read_through_current(manifest),
        }

    def _read(self, path: str) -> bytes:
        return Reading(self._files, path).finish()

    def _read_generation(self, manifest: dict) -> dict[str, str]:
        """`current` was resolved once, by reading its manifest: the rest by the generation."""
        place = f"generations/{manifest['id']}"
        return {
            part["path"]: digest_of(self._read(f"{place}/{part['path']}"))
            for part in manifest["artifacts"]
        }

    def _read_through_current(self, manifest: dict) -> list[tuple[str, str]]:
        """Each path by itself: once through `current`, once through the link by kind."""
        read = []
        for part in manifest["artifacts"]:
            path, kind = part["path"], f"{part['kind']}/{part['name']}"
            by_kind = path.replace(kind, f"{kind}/current", 1)
            read += [(path, digest_of(self._read(way))) for way in (f"current/{path}", by_kind)]
        return read


class Holder:
    """Keeps a large file open from one round to the next, whatever is promoted meanwhile."""

    def __init__(self, files: NfsFiles | WebFiles) -> None:
        self._files = files
        self._held: Reading | None = None

    def round(self) -> dict:
        """`held`: the large file's path and digest, or nothing in the first round."""
        manifest = json.loads(Reading(self._files, "current/MANIFEST.json").finish())
        path = max(manifest["artifacts"], key=lambda part: part["size_bytes"])["path"]
        held, self._held = self._held, None
        finished = (path, digest_of(held.finish())) if held else None
        self._held = Reading(self._files, f"current/{path}")
        time.sleep(HOLD_SECONDS)
        return {"generation": manifest["id"], "held": finished}


def digest_of(content: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(content).hexdigest()


def main(role: str, url: str) -> None:
    """Read until standard input ends."""
    files = NfsFiles(url) if url.startswith("nfs:") else WebFiles(url)
    reader = {"visitor": Visitor, "holder": Holder}[role](files)
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            said = reader.round()
        except (OSError, ValueError, http.client.HTTPException) as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
