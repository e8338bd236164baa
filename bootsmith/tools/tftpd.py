"""tftpd-hpa: TFTP by a given defaults file, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootsmith.tools.listening import check_port_is_free, wait_until_listening
from bootsmith.tools.run import find_program, running_program
from bootsmith.tools.unshare import own_places

PROGRAM = "in.tftpd"
_PORT = 69
# As Debian's init script reads the file and starts the program.
_START = """
. "$2"
exec "$1" --foreground --listen --user $TFTP_USERNAME --address $TFTP_ADDRESS \\
    $TFTP_OPTIONS $TFTP_DIRECTORY
"""


@contextmanager
def running_tftpd(
    defaults: Path, *, log: Path, inside: Sequence[str], needed_by: str
) -> Iterator[None]:
    """in.tftpd as this file for /etc/default says, on the network that `inside` leads to.

    ToolMissing, or ToolFailed if it does not start, or if the port of TFTP is taken.
    """
    program = find_program("in.tftpd", needed_by=needed_by)
    check_port_is_free(_PORT, protocol="udp", program=PROGRAM, inside=inside)
    argv = ["sh", "-euc", _START, "sh", program, str(defaults)]
    words = (*inside, *own_places([]))
    with running_program(argv, log=log, inside=words, needed_by=needed_by) as process:
        wait_until_listening(process, _PORT, program=PROGRAM, log=log, protocol="udp")
        yield
