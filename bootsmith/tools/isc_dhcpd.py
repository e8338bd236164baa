"""ISC dhcpd: DHCP by a given configuration, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootsmith.tools.listening import check_port_is_free, wait_until_listening
from bootsmith.tools.run import running_program
from bootsmith.tools.unshare import Place, own_places

PROGRAM = "dhcpd"
_PORT = 67
# Debian's AppArmor profile lets it read and write there, and nowhere else.
_CONFIGURATIONS = Path("/etc/dhcp")
_LEASES = Path("/var/lib/dhcp/dhcpd.leases")


@contextmanager
def running_isc_dhcpd(
    configuration: Path,
    *,
    interface: str,
    scratch: Path,
    log: Path,
    inside: Sequence[str],
    needed_by: str,
) -> Iterator[None]:
    """dhcpd with this file as it is, on an interface of the network that `inside` leads to.

    The file is looked for there. `scratch` is an empty directory, which keeps the leases.
    ToolMissing, or ToolFailed if it does not start, or if the port of DHCP is taken.
    """
    check_port_is_free(_PORT, protocol="udp", program=PROGRAM, inside=inside)
    (scratch / _LEASES.name).touch()  # it wants one, if empty
    places = [
        Place(directory=_CONFIGURATIONS, shows=configuration.parent),
        Place(directory=_LEASES.parent, shows=scratch),
    ]
    argv: list[str | Path] = [PROGRAM, "-4", "-f", "-d", "--no-pid", "-lf", _LEASES]
    argv += ["-cf", _CONFIGURATIONS / configuration.name, interface]
    words = (*inside, *own_places(places))
    with running_program(argv, log=log, inside=words, needed_by=needed_by) as process:
        wait_until_listening(process, _PORT, program=PROGRAM, log=log, protocol="udp")
        yield
