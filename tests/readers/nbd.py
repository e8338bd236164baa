"""As much of an NBD client as listing exports and reading one takes.

Run on the server's network: `nbd.py ADDRESS`, which prints each export's name, size, flags and
sha256 as JSON, and what a write to it is answered. By the protocol's own text (NetworkBlockDevice,
doc/proto.md): fixed newstyle negotiation, simple replies.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import sys

PORT = 10809
OPTION, OPTION_REPLY = 0x49484156454F5054, 0x3E889045565A9
EXPORT_NAME, LIST = 1, 3
ACK, SERVER = 1, 2
REQUEST, REPLY = 0x25609513, 0x67446698
READ, WRITE, DISCONNECT = 0, 1, 2
FIXED_NEWSTYLE, NO_ZEROES = 1, 2


class Connection:
    """One connection, with the greeting behind it."""

    def __init__(self, address: str) -> None:
        self.socket = socket.create_connection((address, PORT))
        assert self.take(16) == b"NBDMAGICIHAVEOPT"
        assert struct.unpack(">H", self.take(2))[0] & FIXED_NEWSTYLE
        self.socket.sendall(struct.pack(">I", FIXED_NEWSTYLE | NO_ZEROES))

    def take(self, size: int) -> bytes:
        """Exactly that many bytes."""
        parts = []
        while size:
            parts.append(self.socket.recv(size))
            assert parts[-1], "the server closed the connection"
            size -= len(parts[-1])
        return b"".join(parts)

    def ask(self, option: int, data: bytes = b"") -> None:
        """Send an option."""
        self.socket.sendall(struct.pack(">QII", OPTION, option, len(data)) + data)

    def names(self) -> list[str]:
        """What the server exports."""
        self.ask(LIST)
        found = []
        while True:
            magic, _, kind, length = struct.unpack(">QIII", self.take(20))
            assert magic == OPTION_REPLY
            data = self.take(length)
            if kind == ACK:
                return found
            assert kind == SERVER, (kind, data)
            (size,) = struct.unpack(">I", data[:4])
            found.append(data[4 : 4 + size].decode())

    def open(self, name: str) -> tuple[int, int]:
        """Size and flags of an export; only requests are left to be made then."""
        self.ask(EXPORT_NAME, name.encode())
        return struct.unpack(">QH", self.take(10))

    def request(self, kind: int, offset: int, size: int, data: bytes = b"") -> tuple[int, bytes]:
        """(error, bytes that were read)."""
        self.socket.sendall(struct.pack(">IHHQQI", REQUEST, 0, kind, 7, offset, size) + data)
        magic, error, handle = struct.unpack(">IIQ", self.take(16))
        assert (magic, handle) == (REPLY, 7)
        return error, self.take(size) if kind == READ and not error else b""


def described(address: str, name: str) -> dict[str, object]:
    """What can be known of an export."""
    connection = Connection(address)
    size, flags = connection.open(name)
    error, content = connection.request(READ, 0, size)
    assert not error
    refused, _ = connection.request(WRITE, 0, 512, bytes(512))
    return {
        "name": name,
        "size": size,
        "read_only": bool(flags & 2),
        "sha256": hashlib.sha256(content).hexdigest(),
        "write_error": refused,
    }


def main() -> None:
    """List, then read each."""
    address = sys.argv[1]
    for name in Connection(address).names():
        sys.stdout.write(json.dumps(described(address, name)) + "\n")


if __name__ == "__main__":
    main()
