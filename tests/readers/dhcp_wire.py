"""Machines that ask a DHCP server for an address, as their firmware does, on one end of a tap.

Run inside the server's network: `dhcp_wire.py TAP`, with a JSON list of machines on standard
input: `{"mac": ..., "options": {"60": "<hex>", ...}}`. Answers on standard output, one a machine:
what the server's ACK says, or null where nobody answered. Ethernet frames are made and read here.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import sys
import time

PATIENCE_SECONDS = 20
AGAIN_SECONDS = 4
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5  # RFC 2132, section 9.6
COOKIE = bytes.fromhex("63825363")
BROADCAST = b"\xff" * 6
# What a boot ROM asks for: none of 208 to 211 is among it.
ASKED_FOR = bytes([1, 3, 6, 12, 15, 28, 43, 51, 54, 60, 66, 67, 128, 129, 130, 131, 132, 133])


class Wire:
    """One end of a network of Ethernet."""

    def __init__(self, tap: str) -> None:
        self.descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(
            self.descriptor, TUNSETIFF, struct.pack("16sH", tap.encode(), IFF_TAP | IFF_NO_PI)
        )

    def send(self, mac: bytes, message: bytes) -> None:
        """Broadcast a DHCP message."""
        udp = struct.pack("!HHHH", 68, 67, 8 + len(message), 0) + message
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, bytes(4), b"\xff" * 4
        )
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        os.write(self.descriptor, BROADCAST + mac + b"\x08\x00" + header + udp)

    def receive(self, xid: int, seconds: float) -> bytes | None:
        """The next DHCP message for this transaction."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.descriptor], [], [], left)[0]:
                break
            frame = os.read(self.descriptor, 65536)
            if frame[12:14] != b"\x08\x00" or frame[23] != 17:
                continue
            udp = frame[14 + (frame[14] & 15) * 4 :]
            if udp[:4] == struct.pack("!HH", 67, 68) and udp[12:16] == struct.pack("!I", xid):
                return udp[8 : struct.unpack("!H", udp[4:6])[0]]
        return None


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def message(kind: int, mac: bytes, xid: int, options: dict[int, bytes]) -> bytes:
    """A DHCP message of a client that wants its answer broadcast."""
    head = struct.pack("!BBBBIHH", 1, 1, 6, 0, xid, 1, 0x8000) + bytes(16)
    said = {53: bytes([kind]), 55: ASKED_FOR, 57: struct.pack("!H", 1464), **options}
    tail = b"".join(bytes([code, len(data)]) + data for code, data in said.items())
    return (head + mac.ljust(16, b"\0") + bytes(192) + COOKIE + tail + b"\xff").ljust(548, b"\0")


def options_of(data: bytes) -> dict[int, bytes]:
    """The options of a message, in its own field and in those that option 52 lends."""
    found = read_options(data[240:])
    lent = found.get(52, b"\0")[0]
    for bit, field in ((1, data[108:236]), (2, data[44:108])):
        if lent & bit:
            found.update(read_options(field))
    return found


def read_options(field: bytes) -> dict[int, bytes]:
    """Code, length, data, until the end mark."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(field) and field[at] != 255:
        if field[at] == 0:
            at += 1
            continue
        code, length = field[at], field[at + 1]
        found[code] = found.get(code, b"") + field[at + 2 : at + 2 + length]
        at += 2 + length
    return found


def ask(wire: Wire, mac: bytes, options: dict[int, bytes]) -> bytes | None:
    """The ACK that a machine gets."""
    xid = int.from_bytes(mac[2:])
    offer = exchange(wire, mac, xid, DISCOVER, OFFER, options)
    if offer is None:
        return None
    chosen = {50: offer[16:20], 54: options_of(offer)[54]}
    return exchange(wire, mac, xid, REQUEST, ACK, {**options, **chosen})


def exchange(wire, mac, xid, sent, wanted, options):
    """The answer of the wanted kind; asks again as firmware does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        wire.send(mac, message(sent, mac, xid, options))
        answer = wire.receive(xid, AGAIN_SECONDS)
        while answer is not None:
            if answer[0] == 2 and options_of(answer)[53][0] == wanted:
                return answer
            answer = wire.receive(xid, AGAIN_SECONDS)
    return None


def said(answer: bytes) -> dict[str, object]:
    """A message as JSON can say it: fields of BOOTP, and options as hex by code."""
    return {
        "address": socket.inet_ntoa(answer[16:20]),
        "server": socket.inet_ntoa(answer[20:24]),
        "file": answer[108:236].partition(b"\0")[0].decode(),
        "options": {str(code): data.hex() for code, data in options_of(answer).items()},
    }


def main() -> None:
    wire = Wire(sys.argv[1])
    for machine in json.load(sys.stdin):
        options = {int(code): bytes.fromhex(data) for code, data in machine["options"].items()}
        answer = ask(wire, bytes.fromhex(machine["mac"].replace(":", "")), options)
        sys.stdout.write(json.dumps(answer and said(answer)) + "\n")


if __name__ == "__main__":
    main()
