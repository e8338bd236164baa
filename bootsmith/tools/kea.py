"""Kea: DHCP by a given configuration, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootsmith.tools.listening import check_port_is_free, wait_until_listening
from bootsmith.tools.run import running_program
from bootsmith.tools.unshare import Place, own_places

PROGRAM = "kea-dhcp4"
_PORT = 67
# Debian's AppArmor profile lets it read and write there, and nowhere else.
_CONFIGURATIONS = Path("/etc/kea")
_LEASES = Path("/var/lib/kea")


@contextmanager
def running_kea(
    configuration: Path, *, scratch: Path, log: Path, inside: Sequence[str], needed_by: str
) -> Iterator[None]:
    """Kea's DHCPv4 server with this file as it is, on the network that `inside` leads to.

    The file is looked for there. `scratch` is an empty directory, which keeps the leases.
    ToolMissing, or ToolFailed if it does not start, or if the port of DHCP is taken.
    """
    check_port_is_free(_PORT, protocol="udp", program=PROGRAM, inside=inside)
    places = [
        Place(directory=_CONFIGURATIONS, shows=configuration.parent),
        Place(directory=_LEASES, shows=scratch),
    ]
    with running_program(
        [PROGRAM, "-c", _CONFIGURATIONS / configuration.name],
        log=log,
        inside=(*inside, *own_places(places)),
        # Both are in directories that systemd makes for it.
        environment={"KEA_PIDFILE_DIR": str(_LEASES), "KEA_LOCKFILE_DIR": "none"},
        needed_by=needed_by,
    ) as process:
        wait_until_listening(process, _PORT, program=PROGRAM, log=log, protocol="udp")
        yield
