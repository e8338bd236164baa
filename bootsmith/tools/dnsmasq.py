"""dnsmasq: DHCP, TFTP and DNS by a given configuration, for as long as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootsmith.tools.listening import check_port_is_free, wait_until_listening
from bootsmith.tools.run import RunningProgram, running_program
from bootsmith.tools.unshare import Place, own_places

PROGRAM = "dnsmasq"
# It looks for what it cannot have in this order.
_PORTS = (53, 67, 69)
_LEASES = Place(directory=Path("/var/lib/misc"))


@contextmanager
def running_dnsmasq(
    configuration: Path, *, log: Path, inside: Sequence[str], needed_by: str
) -> Iterator[RunningProgram]:
    """dnsmasq with this file as it is, on the network that `inside` leads to: what was started.

    Files that it names are looked for there. Its leases are forgotten with the block. ToolMissing,
    or ToolFailed if it does not start, or if a port of DNS, DHCP or TFTP is taken.
    """
    for port in _PORTS:
        check_port_is_free(port, protocol="udp", program=PROGRAM, inside=inside)
    argv: list[str | Path] = [PROGRAM, "--keep-in-foreground", "--conf-file=" + str(configuration)]
    # Without a file of its own it writes to syslog.
    argv += ["--log-facility=-", "--pid-file"]
    words = (*inside, *own_places([_LEASES]))
    with running_program(argv, log=log, inside=words, needed_by=needed_by) as process:
        for port in _PORTS:
            wait_until_listening(process, port, program=PROGRAM, log=log, protocol="udp")
        yield process
