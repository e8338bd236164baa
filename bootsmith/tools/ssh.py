"""ssh: one command on another machine, without anybody ever being asked for anything.

Keys come from where ssh itself looks, ssh-agent too, or from the identity that a recipe names.
The other machine's own key must be known before: nobody is there to compare fingerprints.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bootsmith.errors import ToolFailed
from bootsmith.files.atomic import PARTIAL_SUFFIX
from bootsmith.tools.run import RunningProgram, run_program, running_program

CONNECTION_FAILED = 255
"""The status of ssh, and of rsync above it, where there was no connection or it broke."""
_EVERY_STATUS = range(256)
_NEEDED_BY = "doit publish and doit arm, to reach other machines"
_POLL_SECONDS = 0.02
_ALWAYS = (
    "BatchMode=yes",  # no passwords, no passphrases, no questions
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=20",
    # A machine that is gone is noticed after a minute, not after hours.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "LogLevel=ERROR",  # without the other machine's banner, which is no error
)
# What ssh says, what that means, and what to do; {login} is how to log in by hand.
_TROUBLES = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "shows another host key than the one that is known of it",
        "make sure that it is the right machine; then forget the old key (ssh-keygen -R) and "
        "log in once by hand: {login}",
    ),
    (
        "Host key verification failed",
        "its host key is not known here",
        "log in once by hand and compare the fingerprint: {login}",
    ),
    (
        "UNPROTECTED PRIVATE KEY FILE",
        "the identity can be read by others, so ssh does not use it",
        "chmod 600 it",
    ),
    (
        "Permission denied",
        "does not let this user in",
        "try it by hand: {login}; the key must be in ~/.ssh/authorized_keys there, and have no "
        "passphrase or be in ssh-agent",
    ),
    (
        "Could not resolve hostname",
        "has a name that nobody knows",
        "correct `ssh` of the target in recipes/site.toml, or see to the name server",
    ),
)
_UNREACHABLE = "see that it is up and runs an ssh server: {login}"


@dataclass(frozen=True, kw_only=True)
class Login:
    """How to reach another machine; what is None is left to ssh's own configuration."""

    destination: str
    """`user@host` or `host`."""
    port: int | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    control_path: str | None = None
    """The socket of a connection that is there already, see `shared_connection`."""

    @property
    def options(self) -> tuple[str, ...]:
        """Words behind `ssh`, before the destination."""
        # A connection that outlives us, as ssh's own configuration may ask for, would hold on
        # to our pipes.
        options = [*_ALWAYS, "ControlMaster=no", f"ControlPath={self.control_path or 'none'}"]
        if self.identity is not None:
            options += [f"IdentityFile={_file(self.identity)}", "IdentitiesOnly=yes"]
        if self.known_hosts is not None:
            options += [
                f"UserKnownHostsFile={_file(self.known_hosts)}",
                "GlobalKnownHostsFile=none",
            ]
        words = ["-T", "-x", *(word for option in options for word in ("-o", option))]
        return (*words, "-p", str(self.port)) if self.port is not None else tuple(words)

    @property
    def by_hand(self) -> str:
        """What a person types to log in there."""
        words = ["-p", str(self.port)] if self.port is not None else []
        if self.identity is not None:
            words += ["-i", str(self.identity)]
        return shlex.join(["ssh", *words, self.destination])


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a command on the other machine ended, and what it said."""

    status: int
    text: str
    complaints: str


def ssh_environment() -> Mapping[str, str]:
    """What ssh needs of the caller's environment: where ssh-agent listens."""
    return {"SSH_AUTH_SOCK": os.environ.get("SSH_AUTH_SOCK", "")}


def run_over_ssh(login: Login, words: Sequence[str], *, stdin: bytes = b"") -> Answer:
    """Run a command there, its words as they are. ToolMissing, or ToolFailed if it never ran."""
    completed = run_program(
        ["ssh", *login.options, "--", login.destination, shlex.join(words)],
        stdin=stdin,
        environment=ssh_environment(),
        accepted_statuses=_EVERY_STATUS,
        needed_by=_NEEDED_BY,
    )
    complaints = completed.stderr.decode("utf-8", "replace")
    if completed.status == CONNECTION_FAILED:
        raise connection_error(login, complaints)
    # Names of files come back as they are.
    text = completed.stdout.decode("utf-8", "surrogateescape")
    return Answer(status=completed.status, text=text, complaints=complaints)


@contextmanager
def shared_connection(login: Login, scratch: Path) -> Iterator[Login]:
    """One connection for whatever the block does with the Login that it gets.

    Where it breaks, each command makes its own again. ToolMissing, or ToolFailed if there is
    none; `scratch` is a directory for its socket.
    """
    with tempfile.TemporaryDirectory(prefix=".ssh.", suffix=PARTIAL_SUFFIX, dir=scratch) as place:
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # The path of a socket has 108 bytes at most, a site's path any number.
            shared = replace(login, control_path=f"/proc/{os.getpid()}/fd/{directory}/s")
            with _master(shared):
                yield shared
        finally:
            os.close(directory)


@contextmanager
def _master(shared: Login) -> Iterator[None]:
    first = ("-o", "ControlMaster=yes")  # of two equal options ssh takes the first
    argv = ["ssh", *first, *shared.options, "-N", "--", shared.destination]
    with (
        tempfile.TemporaryFile() as log,
        running_program(
            argv,
            log=Path(f"/proc/self/fd/{log.fileno()}"),
            environment=ssh_environment(),
            needed_by=_NEEDED_BY,
        ) as master,
    ):
        if not _is_connected(master, Path(str(shared.control_path))):
            log.seek(0)
            raise connection_error(shared, log.read().decode("utf-8", "replace"))
        yield


def _is_connected(master: RunningProgram, socket: Path) -> bool:
    """Once it is decided: ssh gives up by itself."""
    while not socket.exists():
        if master.poll() is not None:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def connection_error(login: Login, said: str) -> ToolFailed:
    """What ssh's own words mean."""
    for words, problem, hint in _TROUBLES:
        if words in said:
            return ToolFailed(login.destination, problem, hint=hint.format(login=login.by_hand))
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    got = re.sub(r"^ssh: ", "", lines[-1]) if lines else "ssh said nothing"
    return ToolFailed(
        login.destination,
        "cannot be reached, or the connection broke",
        got=got,
        hint=_UNREACHABLE.format(login=login.by_hand),
    )


def _file(path: Path) -> str:
    """As ssh_config(5) reads it: quoted for blanks, with signs for its own tokens doubled."""
    return '"' + str(path).replace("%", "%%") + '"'
