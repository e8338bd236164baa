"""Servers that we start: when they are there, and what they said if they never are.

Asked of the kernel, not by connecting: a server may be on a network that is not ours.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from bootsmith.errors import ToolFailed
from bootsmith.tools.run import RunningProgram, run_program

_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.02
# TCP_LISTEN of the kernel's include/net/tcp_states.h; TCP_CLOSE is a socket of UDP without peer.
_LISTENS = {"tcp": "0A", "udp": "07"}
_SHOWN_LINES = 5


Protocol = Literal["tcp", "udp"]
ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - compared, not listened on


def check_port_is_free(
    port: int,
    *,
    protocol: Protocol,
    program: str,
    inside: Sequence[str],
    address: str = ALL_ADDRESSES,
) -> None:
    """ToolFailed if `program` could not have this port of `address`, on the network of `inside`.

    Servers say so themselves in ten ways, some only to syslog, and some go on without it.
    """
    tables = ("env", *inside, "cat", f"/proc/net/{protocol}")
    for number, held, _ in _sockets(run_program(tables).text, protocol):
        if number == port and (held == address or ALL_ADDRESSES in {held, address}):
            raise ToolFailed(
                program,
                f"another program has {protocol.upper()} port {port}",
                expected="a free port",
                hint=f"ss -ln --processes --{protocol} shows which one: end that, or do not "
                "start this",
            )


def wait_until_listening(
    process: RunningProgram, port: int, *, program: str, log: Path, protocol: Protocol = "tcp"
) -> None:
    """Return when `process` listens on `port`; ToolFailed with its last words otherwise.

    `program` is what the error calls it, `log` where it writes to. It must not have gone to
    the background.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if _is_listening(process.pid, port, protocol):
            return
        time.sleep(_POLL_SECONDS)
    ended = "ended" if process.poll() is not None else f"took more than {_PATIENCE_SECONDS:g} s"
    raise ToolFailed(
        program,
        f"{ended} before it served anything on port {port}{last_words(log)}",
        hint=f"read {log}",
    )


def last_words(log: Path) -> str:
    """The end of what a program wrote, as lines to put behind a message."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return "".join(f"\n    {line}" for line in lines[-_SHOWN_LINES:])


def _is_listening(process: int, port: int, protocol: Protocol) -> bool:
    """Whether a socket of the process or of its children does; another's proves nothing."""
    sockets = _listening_sockets(process, port, protocol)
    return any(not sockets.isdisjoint(_open_files(one)) for one in _family(process))


def _listening_sockets(process: int, port: int, protocol: Protocol) -> set[str]:
    """As links below /proc/PID/fd name them."""
    found = set()
    for table in (protocol, f"{protocol}6"):
        try:
            text = Path(f"/proc/{process}/net/{table}").read_text()
        except OSError:
            continue  # it has just ended, or there is no such protocol here
        found |= {
            f"socket:[{inode}]" for number, _, inode in _sockets(text, protocol) if number == port
        }
    return found


def _sockets(table: str, protocol: Protocol) -> Iterator[tuple[int, str, str]]:
    """Port, address (of IPv4; hexadecimal otherwise) and inode of each that waits for peers.

    The table is described in the kernel's Documentation/networking/proc_net_tcp.rst.
    """
    for words in map(str.split, table.splitlines()[1:]):
        local, state, inode = words[1], words[3], words[9]
        if state == _LISTENS[protocol]:
            address, _, port = local.rpartition(":")
            if len(address) == 8:
                # As the bytes lie in memory, read as a number of this machine.
                raw = int(address, 16).to_bytes(4, sys.byteorder)
                address = ".".join(map(str, raw))
            yield int(port, 16), address, inode


def _family(process: int) -> Iterator[int]:
    yield process
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return  # it has just ended
    for child in map(int, children):
        yield from _family(child)


def _open_files(process: int) -> set[str]:
    found = set()
    try:
        for link in Path(f"/proc/{process}/fd").iterdir():
            found.add(os.readlink(link))
    except OSError:
        pass  # one was closed meanwhile: it is looked at again soon
    return found
