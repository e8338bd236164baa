"""As much of an NFS version 4.0 client (RFC 7530, 7531) as reading files by name takes.

It walks a path as a kernel does: one call to look a name up, another to read a link by its
handle. libnfs, in Debian 12's version, was tried first: it reads links past their end and
loses count of the files that it has open.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

_PROGRAM, _VERSION, _COMPOUND = 100003, 4, 1
_GETATTR, _GETFH, _LOOKUP, _PUTFH, _PUTROOTFH, _READ, _READLINK = 9, 10, 15, 22, 24, 25, 27
_TYPE_BIT = 1 << 1
_NF4LNK = 5
_ANONYMOUS_STATE = bytes(16)
_MOST_LINKS = 40
_SERVERFAULT = 10006
_STATUS_NAMES = {2: "NOENT", 20: "NOTDIR", 22: "INVAL", 70: "STALE", _SERVERFAULT: "SERVERFAULT"}


class ServerFault(OSError):
    """The server could not do what should have been possible."""


def _opaque(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content + bytes(-len(content) % 4)


class _Answer:
    """XDR from its beginning on."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def number(self) -> int:
        self._place += 4
        return struct.unpack_from(">I", self._content, self._place - 4)[0]

    def opaque(self) -> bytes:
        size = self.number()
        start, self._place = self._place, self._place + size + -size % 4
        return self._content[start : start + size]


class Nfs4:
    """One connection to a server, as root, at the export `export`."""

    def __init__(self, address: str, port: int, export: str) -> None:
        self._socket = socket.create_connection((address, port))
        self._stream = self._socket.makefile("rb")
        self._call_number = 0
        self._root = self._look_up(None, export)[0]

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def find(self, path: str) -> bytes:
        """The handle of a file; links on the way are followed. OSError names what failed."""
        handles, names = [self._root], path.split("/")[::-1]
        links = 0
        while names:
            name = names.pop()
            if name == "..":
                handles.pop()
                continue
            handle, is_link = self._look_up(handles[-1], name)
            if is_link:
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(f"{path}: too many links")
                names += self.read_link(handle).split("/")[::-1]
            else:
                handles.append(handle)
        return handles[-1]

    def find_link(self, name: str) -> bytes:
        """The handle of a link in the export's root, itself."""
        return self._look_up(self._root, name)[0]

    def read_link(self, handle: bytes) -> str:
        """What a link says."""
        answer = self._call([(_PUTFH, _opaque(handle)), (_READLINK, b"")], "a link")
        self._skip(answer, _PUTFH)
        self._skip(answer, _READLINK)
        return answer.opaque().decode()

    def read(self, handle: bytes, offset: int, size: int) -> tuple[bytes, bool]:
        """Up to `size` bytes from `offset` on, and whether they are the last."""
        arguments = _ANONYMOUS_STATE + struct.pack(">QI", offset, size)
        answer = self._call([(_PUTFH, _opaque(handle)), (_READ, arguments)], "a file")
        self._skip(answer, _PUTFH)
        self._skip(answer, _READ)
        is_last = bool(answer.number())
        return answer.opaque(), is_last

    def _look_up(self, directory: bytes | None, name: str) -> tuple[bytes, bool]:
        start = (_PUTROOTFH, b"") if directory is None else (_PUTFH, _opaque(directory))
        attributes = struct.pack(">II", 1, _TYPE_BIT)
        asked = [start, (_LOOKUP, _opaque(name.encode())), (_GETFH, b""), (_GETATTR, attributes)]
        try:
            answer = self._call(asked, name)
        except ServerFault:
            # ganesha 4.3 takes a link's length first and reads it after: where the name moved
            # in between, from `….9` to `….10`, it answers so. The same question again is
            # answered; a second fault is one.
            answer = self._call(asked, name)
        self._skip(answer, start[0])
        self._skip(answer, _LOOKUP)
        self._skip(answer, _GETFH)
        handle = answer.opaque()
        self._skip(answer, _GETATTR)
        for _ in range(answer.number()):
            answer.number()  # the bitmap says again what was asked for
        return handle, struct.unpack(">I", answer.opaque())[0] == _NF4LNK

    def _skip(self, answer: _Answer, operation: int) -> None:
        found, status = answer.number(), answer.number()
        assert (found, status) == (operation, 0)

    def _call(self, operations: Sequence[tuple[int, bytes]], name: str) -> _Answer:
        self._call_number += 1
        credential = struct.pack(">I", 0) + _opaque(b"reader") + struct.pack(">III", 0, 0, 0)
        request = (
            struct.pack(">IIIIII", self._call_number, 0, 2, _PROGRAM, _VERSION, _COMPOUND)
            + struct.pack(">I", 1)
            + _opaque(credential)
            + struct.pack(">II", 0, 0)
            + _opaque(b"")
            + struct.pack(">II", 0, len(operations))
            + b"".join(struct.pack(">I", number) + words for number, words in operations)
        )
        self._socket.sendall(struct.pack(">I", 1 << 31 | len(request)) + request)
        answer = _Answer(self._receive())
        heading = [answer.number() for _ in range(4)]  # number, reply, accepted, verifier
        answer.opaque()
        assert (heading[0], answer.number()) == (self._call_number, 0)
        status = answer.number()
        answer.opaque()
        answer.number()
        if status:
            code = _STATUS_NAMES.get(status, str(status))
            kind = ServerFault if status == _SERVERFAULT else OSError
            raise kind(f"{name}: NFS4ERR_{code}")
        return answer

    def _receive(self) -> bytes:
        parts, is_last = [], False
        while not is_last:
            (mark,) = struct.unpack(">I", self._exactly(4))
            is_last = bool(mark >> 31)
            parts.append(self._exactly(mark & 0x7FFFFFFF))
        return b"".join(parts)

    def _exactly(self, size: int) -> bytes:
        content = self._stream.read(size)
        if len(content) < size:
            raise OSError("the server hung up")
        return content
