"""python3: a router on a wire that offers nothing, for machines that wait for one.

iPXE asks for an IPv6 router on every network and waits a quarter of a minute where none answers.
On most networks something does; on a wire of our own this does, saying that it is no way out and
that there are no addresses to be had.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootsmith.tools.run import running_program
from bootsmith.tools.unshare import PLUG

# RFC 4861: 133 asks, 134 answers (hop limit 64, no flags, no time as a router), to all nodes.
_PROGRAM = """
import socket, struct, sys
card = sys.argv[1]
number = socket.if_nametoindex(card)
all_routers = socket.inet_pton(socket.AF_INET6, "ff02::2") + struct.pack("@I", number)
router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
router.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.encode())
router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, all_routers)
router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
while True:
    asked, who = router.recvfrom(1500)
    if asked[:1] == bytes([133]):
        print("asked by", who[0], flush=True)
        answer = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0)
        router.sendto(answer, ("ff02::1", 0, 0, number))
"""


@contextmanager
def running_silent_router(*, log: Path, inside: Sequence[str], needed_by: str) -> Iterator[None]:
    """Such a router on the bridge of the network that `inside` leads to.

    Where it cannot be, for want of IPv6, machines wait, and nothing else is different; `log` says
    who asked, or why not.
    """
    argv = ["python3", "-c", _PROGRAM, PLUG]
    with running_program(argv, log=log, inside=inside, needed_by=needed_by):
        yield
