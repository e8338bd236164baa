"""What a guest boots from when it is not attached: a medium on NFS, a modloop by HTTP.

Servers and QEMU are on a network of their own: usual ports, and nobody else on it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bootsmith.errors import SmokeError
from bootsmith.site.scenarios import Scenario
from bootsmith.smoke.medium import lay_medium
from bootsmith.smoke.parts import Chosen
from bootsmith.smoke.scenarios import EXPORT, HTTP_PORT, NFS_PORTS
from bootsmith.tools.ganesha import serving_nfs, why_not_exportable
from bootsmith.tools.nginx import serving_http
from bootsmith.tools.rpcbind import running_rpcbind
from bootsmith.tools.unshare import private_network

ReleaseFiles = Mapping[str, Path]
"""Of one release: its `iso`, and the `facts` that are known of it."""
_NETWORK_LOG, _RPCBIND_LOG, _NFS_LOG, _HTTP_LOG = (
    f"{name}.log" for name in ("network", "rpcbind", "nfs", "http")
)
_NEEDED_BY = "smoke tests that boot from NFS"


def check_servers(scenario: Scenario) -> None:
    """Raise SmokeError if this user, on this machine, cannot run the servers of a row."""
    if not scenario.needs_root:
        return
    with tempfile.TemporaryDirectory() as directory:
        reason = why_not_exportable(Path(directory))
    if reason is not None:
        raise SmokeError(
            f"smoke {scenario.name}",
            f"its medium cannot be served: {reason}",
            hint=f"as root: doit smoke:{scenario.name}; or leave it out of [smoke] scenarios "
            "in recipes/site.toml",
        )


@contextmanager
def serving(
    scenario: Scenario,
    chosen: Chosen,
    *,
    generation: Path,
    releases: Mapping[str, ReleaseFiles],
    logs: Path,
) -> Iterator[Sequence[str]]:
    """Serve what the guest of a row needs, and give the words that start QEMU beside it.

    `generation` is the directory that holds what was chosen, `logs` the one for what servers
    say. Where everything is attached nothing is served, and there are no words. ToolMissing
    or ToolFailed if a server does not start.
    """
    for name in (_NETWORK_LOG, _RPCBIND_LOG, _NFS_LOG, _HTTP_LOG):
        (logs / name).unlink(missing_ok=True)
    if scenario.medium != "nfs":
        yield ()
        return
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smoke-")))
        _lay(scratch / "medium", scenario, chosen, generation, releases)
        inside = stack.enter_context(private_network(log=logs / _NETWORK_LOG, needed_by=_NEEDED_BY))
        if scenario.nfs_version == "3":
            stack.enter_context(
                running_rpcbind(log=logs / _RPCBIND_LOG, inside=inside, needed_by=_NEEDED_BY)
            )
        stack.enter_context(
            serving_nfs(
                scratch / "medium",
                name=EXPORT,
                version=3 if scenario.nfs_version == "3" else 4,
                scratch=_made(scratch / "nfs"),
                log=logs / _NFS_LOG,
                port=NFS_PORTS[scenario.nfs_version],
                inside=inside,
                needed_by=_NEEDED_BY,
            )
        )
        if scenario.modloop == "http" and chosen.modloop is not None:
            published = _made(scratch / "published")
            os.symlink(generation / chosen.modloop.path, published / str(chosen.modloop_name))
            stack.enter_context(
                serving_http(
                    published,
                    scratch=_made(scratch / "http"),
                    log=logs / _HTTP_LOG,
                    port=HTTP_PORT,
                    inside=inside,
                    needed_by="smoke tests that load a modloop by HTTP",
                )
            )
        yield inside


def _lay(
    directory: Path,
    scenario: Scenario,
    chosen: Chosen,
    generation: Path,
    releases: Mapping[str, ReleaseFiles],
) -> None:
    """The medium of a row: with overlay and modloop, unless they come from elsewhere."""
    assert chosen.iso is not None
    files = {}
    if chosen.apkovl is not None:
        files[Path(chosen.apkovl.path).name] = generation / chosen.apkovl.path
    if chosen.modloop is not None and scenario.modloop == "medium":
        files[f"boot/{chosen.modloop_name}"] = generation / chosen.modloop.path
    release = releases[chosen.iso.release]
    lay_medium(
        _made(directory),
        iso=release["iso"],
        facts=release["facts"],
        iso_sha256=chosen.iso.sha256,
        files=files,
    )


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
