"""Servers of a directory on the loopback interface: nginx and nfs-ganesha, really running."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootsmith.tools import ganesha, nginx


def own_address() -> str:
    """A loopback address that no other process of this machine takes: by our process id."""
    number = os.getpid()
    return f"127.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


@contextmanager
def serving_http(directory: Path, scratch: Path) -> Iterator[str]:
    """The URL of nginx serving `directory`."""
    address, port = own_address(), 20080
    with nginx.serving_http(
        directory,
        scratch=scratch,
        log=scratch / "nginx.log",
        port=port,
        address=address,
        # A small buffer, so that nginx keeps a large file open while it is being read.
        listen_options="sndbuf=64k",
    ):
        yield f"http://{address}:{port}/"


@contextmanager
def serving_nfs(directory: Path, scratch: Path) -> Iterator[str]:
    """The URL of nfs-ganesha exporting `directory`, read-only, version 4."""
    address, port = own_address(), 20049
    with ganesha.serving_nfs(
        directory,
        name="artifacts",
        version=4,
        scratch=scratch,
        log=scratch / "ganesha.log",
        port=port,
        address=address,
    ):
        yield f"nfs://{address}:{port}/artifacts"
