"""nginx: a directory over HTTP, or a given site, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootsmith.tools.listening import check_port_is_free, wait_until_listening
from bootsmith.tools.run import running_program
from bootsmith.tools.unshare import own_places

_PROGRAM = "nginx"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def serving_http(
    directory: Path,
    *,
    scratch: Path,
    log: Path,
    port: int,
    address: str = "127.0.0.1",
    listen_options: str = "",
    inside: Sequence[str] = (),
    needed_by: str | None = None,
) -> Iterator[None]:
    """nginx serving `directory` at `address`:`port`; ToolMissing, or ToolFailed.

    `scratch` is an empty directory for its own files, `log` gets what it says and each
    request, `listen_options` go to its `listen`, `inside` to `running_program`.
    """
    configuration = scratch / "nginx.conf"
    configuration.write_text(
        # One process: of several, those that it started would outlive it if it is killed.
        "daemon off; master_process off;\n"
        f"pid {scratch}/nginx.pid; error_log {log}; events {{}}\n"
        f"http {{\naccess_log {log};\n{_temporary_paths(scratch)}"
        f"server {{ listen {address}:{port} {listen_options}; root {directory}; }}\n}}\n"
    )
    # -e: what it says before it has read its configuration.
    argv: list[str | Path] = ["nginx", "-c", configuration, "-p", scratch, "-e", log]
    with running_program(argv, log=log, inside=inside, needed_by=needed_by) as process:
        wait_until_listening(process, port, program="nginx", log=log)
        yield


@contextmanager
def serving_site(
    site: Path,
    *,
    port: int,
    address: str,
    scratch: Path,
    log: Path,
    inside: Sequence[str],
    needed_by: str,
) -> Iterator[None]:
    """nginx with this file among its sites as it is, on the network that `inside` leads to.

    It becomes the user that Debian's does. `scratch` is an empty directory for its own files,
    `log` gets what it says and each request; `port` and `address` are those that the site
    listens on. ToolMissing, or ToolFailed if it does not start, or if the port is taken.
    """
    check_port_is_free(port, protocol="tcp", program=_PROGRAM, inside=inside, address=address)
    configuration = scratch / "nginx.conf"
    configuration.write_text(
        "user www-data; worker_processes 2; daemon off;\n"
        f"pid {scratch}/nginx.pid; error_log {log}; events {{}}\n"
        f"http {{\naccess_log {log};\n{_temporary_paths(scratch)}include {site};\n}}\n"
    )
    argv: list[str | Path] = [_PROGRAM, "-c", configuration, "-p", scratch, "-e", log]
    words = (*inside, *own_places([]))
    with running_program(argv, log=log, inside=words, needed_by=needed_by) as process:
        wait_until_listening(process, port, program=_PROGRAM, log=log)
        yield


def _temporary_paths(scratch: Path) -> str:
    return "".join(f"{name}_temp_path {scratch}/{name};\n" for name in _TEMPORARY)
