"""BIND: zones by a given configuration, for as long as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootsmith.tools.listening import check_port_is_free, wait_until_listening
from bootsmith.tools.run import running_program
from bootsmith.tools.unshare import Place, own_places

PROGRAM = "named"
_PORT = 53
_STATE = Place(directory=Path("/var/cache/bind"))


@contextmanager
def running_named(
    zones: Path, *, address: str, scratch: Path, log: Path, inside: Sequence[str], needed_by: str
) -> Iterator[None]:
    """named at `address`, with this file included as it is, on the network that `inside` leads to.

    Files that it names are looked for there. `scratch` is an empty directory for what stands
    around it. ToolMissing, or ToolFailed if it does not start, or if the port of DNS is taken.
    """
    check_port_is_free(_PORT, protocol="udp", program=PROGRAM, inside=inside)
    configuration = scratch / "named.conf"
    configuration.write_text(
        f'options {{ directory "{_STATE.directory}"; listen-on {{ {address}; }};\n'
        "listen-on-v6 { none; }; pid-file none; session-keyfile none; recursion no; };\n"
        f'controls {{ }};\ninclude "{zones}";\n'
    )
    argv: list[str | Path] = [PROGRAM, "-f", "-g", "-n", "1", "-c", configuration]
    words = (*inside, *own_places([_STATE]))
    with running_program(argv, log=log, inside=words, needed_by=needed_by) as process:
        wait_until_listening(process, _PORT, program=PROGRAM, log=log, protocol="udp")
        yield
