"""rpcbind: tells clients of NFS version 3 the ports of the servers beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootsmith.tools.listening import wait_until_listening
from bootsmith.tools.run import find_program, running_program

_PORT = 111


@contextmanager
def running_rpcbind(*, log: Path, inside: Sequence[str], needed_by: str) -> Iterator[None]:
    """rpcbind, for as long as the block lasts, on the network that `inside` leads to.

    ToolMissing, or ToolFailed if it does not start.
    """
    # -f: stay in the foreground. It becomes another user, and by that the kernel forgets that
    # it is to die with us; so it lives in a process namespace, which dies with its first process.
    command = f"{find_program('rpcbind', needed_by=needed_by)} -f; exit"
    argv = ["unshare", "--pid", "--fork", "--kill-child", "--", "sh", "-c", command]
    with running_program(argv, log=log, inside=inside, needed_by=needed_by) as process:
        wait_until_listening(process, _PORT, program="rpcbind", log=log)
        yield
