"""unshare and nsenter: a network of our own, with nothing on it but what we start there.

Servers in it take the ports they always have without being in anyone's way, and nobody else
can reach them. It also has a /run of its own: rpcbind's socket is there, and an NFS server
that finds the machine's rpcbind would take the machine's own NFS server out of its list.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import ToolFailed
from bootsmith.tools.listening import last_words
from bootsmith.tools.run import RunningProgram, find_program, running_program

_POLL_SECONDS = 0.02
_READY = "the network is up"
PLUG = "plug"
"""What is always on a bridge: an interface of the network's own."""


@dataclass(frozen=True, kw_only=True)
class Bridge:
    """An interface of servers, and the guests' network cards on the same wire."""

    name: str
    address: str
    """With the length of its prefix: `10.20.0.1/16`."""
    taps: Sequence[str] = ()
    """The wire's ends for guests: `TapNic` of tools/qemu.py."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A directory that is another one inside; it need not exist outside."""

    directory: Path
    shows: Path | None = None
    """Which one; None for an empty one in memory."""


# Flags 9 are IFF_UP and IFF_LOOPBACK; a new sysfs shows the new network's interfaces.
_LOOPBACK = """
mount -t tmpfs -o mode=0755 run /run
mount -t sysfs sysfs /sys
echo 9 >/sys/class/net/lo/flags
"""
# A new port of a bridge is deaf for as long as its forward_delay, and a bridge that snoops
# forgets who wanted multicasts. It has IPv4 alone, which is what servers serve by. The pair is
# a plug that is always in: some servers do not start on an interface without a carrier. It must
# not answer for the bridge's address too: guests would talk to it, where nobody listens. It has
# IPv6, at once, for whoever is to speak that on the wire.
_BRIDGE = """
lay_bridge() {
	bridge=$1 address=$2
	shift 2
	echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null || :
	ip link add "$bridge" type bridge forward_delay 0 mcast_snooping 0
	ip address add "$address" dev "$bridge"
	ip link set "$bridge" up
	ip link add plug type veth peer name socket
	for name in accept_dad disable_ipv6; do
		echo 0 >"/proc/sys/net/ipv6/conf/plug/$name" 2>/dev/null || :
	done
	ip link set plug arp off up
	ip link set socket master "$bridge" up
	for tap; do
		ip tuntap add dev "$tap" mode tap
		ip link set "$tap" master "$bridge" up
	done
}
"""
# A directory that does not exist is made in a copy of the one above it, in memory, whose other
# entries are the very same as before: so nothing is made on the machine itself.
_PLACES = """
make_directory() {
	[ ! -d "$1" ] || return 0
	local above="${1%/*}" entry copy
	if [ -z "$above" ]; then
		echo "$1 does not exist, and only the machine itself can make it"
		exit 1
	fi
	make_directory "$above"
	copy=$(mktemp -d /run/copy.XXXXXX)
	mount -t tmpfs -o mode=0755 copy "$copy"
	for entry in "$above"/* "$above"/.[!.]*; do
		if [ -L "$entry" ]; then
			cp -P "$entry" "$copy/"
		elif [ -d "$entry" ]; then
			mkdir "$copy/${entry##*/}"
			mount --rbind "$entry" "$copy/${entry##*/}"
		elif [ -e "$entry" ]; then
			: >"$copy/${entry##*/}"
			mount --bind "$entry" "$copy/${entry##*/}"
		fi
	done
	mkdir "$copy/${1##*/}"
	mount --move "$copy" "$above"
}

show() {
	make_directory "$1"
	if [ -n "$2" ]; then
		mount --bind "$2" "$1"
	else
		mount -t tmpfs -o mode=0755 memory "$1"
	fi
}
"""


@contextmanager
def private_network(
    *, log: Path, needed_by: str, bridge: Bridge | None = None, places: Sequence[Place] = ()
) -> Iterator[tuple[str, ...]]:
    """The words that start a program in a new network, for `running_program(inside=…)`.

    It has a loopback interface, the `bridge`, and no other; `places` are laid in their order.
    ToolFailed if this user may not make one; `log` is where the reason is kept.
    """
    log.unlink(missing_ok=True)
    # -e: half a set-up is none.
    if bridge is not None:
        find_program("ip", needed_by=needed_by)
    argv = ["unshare", "--net", "--mount", "--", "sh", "-ec", _set_up(bridge, places)]
    hint = "run as root; a container needs the capability SYS_ADMIN"
    if bridge is not None:
        hint += ", and the device /dev/net/tun"
    with running_program(argv, log=log, needed_by=needed_by) as holder:
        _wait_until_ready(holder, log, hint=hint)
        yield (
            find_program("nsenter", needed_by=needed_by),
            *("--target", f"{holder.pid}", "--net", "--mount", "--"),
        )


def own_places(places: Sequence[Place]) -> tuple[str, ...]:
    """The words that start a program with places that nobody else sees, to put behind `inside`.

    It also gets process ids of its own: a server becomes another user, and by that the kernel
    forgets that it is to die with us; so it dies with the first process there.
    """
    lines = [_PLACES, *map(_show, places), '"$@" || exit', "exit"]
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    return (*argv, "sh", "-ec", "\n".join(lines), "sh")


def _set_up(bridge: Bridge | None, places: Sequence[Place]) -> str:
    lines = [_LOOPBACK, _BRIDGE, _PLACES]
    if bridge is not None:
        lines.append(shlex.join(["lay_bridge", bridge.name, bridge.address, *bridge.taps]))
    lines += map(_show, places)
    return "\n".join([*lines, f"echo {shlex.quote(_READY)}", "exec sleep infinity"])


def _show(place: Place) -> str:
    return shlex.join(["show", f"{place.directory}", f"{place.shows or ''}"])


def _wait_until_ready(holder: RunningProgram, log: Path, *, hint: str) -> None:
    while _READY not in log.read_text("utf-8", "replace"):
        if holder.poll() is not None:
            raise ToolFailed(
                "unshare",
                f"could not make a network of its own{last_words(log)}",
                hint=hint,
            )
        time.sleep(_POLL_SECONDS)
