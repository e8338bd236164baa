"""An ssh server on a network of its own, and keys with which it behaves in one way or another."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootsmith.tools.listening import wait_until_listening
from bootsmith.tools.run import run_program, running_program
from bootsmith.tools.unshare import private_network

ADDRESS, PORT = "127.0.0.1", 2222
_CONFIGURATION = """\
ListenAddress {address}
Port {port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
LogLevel VERBOSE
"""


@dataclass(frozen=True)
class SshServer:
    """`inside` are the words that start a program on its network, and see its mounts."""

    directory: Path
    inside: tuple[str, ...]

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def key(self, name: str, *, command: str | None = None) -> Path:
        """A new key. With `command` it runs that instead; `$SSH_ORIGINAL_COMMAND` was asked for."""
        key = self.directory / name
        _make_key(key)
        public = key.with_suffix(".pub").read_text()
        option = f'restrict,command="{_quoted(command)}" ' if command else "restrict "
        with open(self.directory / "authorized_keys", "a") as keys:
            keys.write(option + public)
        return key

    def target(self, name: str, directory: Path, key: Path, **more: str) -> str:
        """A table of site.toml."""
        values = {
            "ssh": f"root@{ADDRESS}:{directory}",
            "identity": str(key),
            "known_hosts": str(self.known_hosts),
            **more,
        }
        lines = [f'{word} = "{value}"' for word, value in values.items()]
        return "\n".join([f"[publish.{name}]", f"port = {PORT}", *lines, ""])

    def run(self, *argv: str | Path) -> None:
        """Run a program there."""
        subprocess.run(["env", *self.inside, *map(str, argv)], check=True)


def _quoted(command: str) -> str:
    return command.replace("\\", "\\\\").replace('"', '\\"')


def _make_key(path: Path) -> None:
    run_program(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path])


@contextmanager
def ssh_server(directory: Path) -> Iterator[SshServer]:
    """A server; what it needs and says is in `directory`."""
    _make_key(directory / "host")
    (directory / "authorized_keys").touch()
    public = (directory / "host.pub").read_text()
    (directory / "known_hosts").write_text(f"[{ADDRESS}]:{PORT} {public}")
    text = _CONFIGURATION.format(directory=directory, address=ADDRESS, port=PORT)
    (directory / "sshd_config").write_text(text)
    with private_network(log=directory / "network.log", needed_by="tests") as inside:
        # /run is empty there, and sshd wants a directory that nobody writes to.
        subprocess.run(["env", *inside, "mkdir", "-m", "755", "/run/sshd"], check=True)
        # -e: it says what happens to its standard error.
        argv = ["sshd", "-D", "-e", "-f", directory / "sshd_config"]
        log = directory / "log"
        with running_program(argv, log=log, inside=inside) as process:
            wait_until_listening(process, PORT, program="sshd", log=log)
            yield SshServer(directory, inside)
