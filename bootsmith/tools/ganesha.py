"""nfs-ganesha: a directory over NFS from user space, without the kernel's server."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bootsmith.tools.listening import check_port_is_free, wait_until_listening
from bootsmith.tools.run import running_program
from bootsmith.tools.unshare import Place, own_places

PROGRAM = "ganesha.nfsd"
_PORT = 2049
_RECOVERY = Place(directory=Path("/var/lib/nfs/ganesha"))
_AT_FDCWD = -100  # fcntl.h
_MOST_HANDLE_BYTES = 128  # MAX_HANDLE_SZ of fcntl.h


@contextmanager
def serving_nfs(
    directory: Path,
    *,
    name: str,
    version: Literal[3, 4],
    scratch: Path,
    log: Path,
    port: int,
    address: str | None = None,
    inside: Sequence[str] = (),
    needed_by: str | None = None,
) -> Iterator[None]:
    """nfs-ganesha exporting `directory` as `/name`, read-only; ToolMissing, or ToolFailed.

    `scratch` is a directory for its own files, `address` all there are if None, `inside` for
    `running_program`. Version 3 needs an rpcbind beside it. What cannot work here is for
    `why_not_exportable` to say.
    """
    configuration = scratch / "ganesha.conf"
    (scratch / "recovery").mkdir()
    configuration.write_text(
        _configuration(
            directory, name=name, version=version, scratch=scratch, port=port, address=address
        )
    )
    with _running(configuration, port, scratch, log, inside, needed_by):
        yield


@contextmanager
def running_ganesha(
    configuration: Path, *, scratch: Path, log: Path, inside: Sequence[str], needed_by: str
) -> Iterator[None]:
    """nfs-ganesha with this file as it is, on the network that `inside` leads to.

    `scratch` is a directory for its own files; what it would keep for the next start is
    forgotten with the block. ToolMissing, or ToolFailed if it does not start, or if the port of
    NFS is taken. What cannot work here is for `why_not_exportable` to say.
    """
    check_port_is_free(_PORT, protocol="tcp", program=PROGRAM, inside=inside)
    words = (*inside, *own_places([_RECOVERY]))
    with _running(configuration, _PORT, scratch, log, words, needed_by):
        yield


@contextmanager
def _running(
    configuration: Path,
    port: int,
    scratch: Path,
    log: Path,
    inside: Sequence[str],
    needed_by: str | None,
) -> Iterator[None]:
    argv: list[str | Path] = [PROGRAM, "-F", "-f", configuration, "-L", log]
    argv += ["-p", scratch / "ganesha.pid"]
    own_log = scratch / "ganesha.out"  # what a library of its writes; it says nothing of use
    with running_program(argv, log=own_log, inside=inside, needed_by=needed_by) as process:
        wait_until_listening(process, port, program=PROGRAM, log=log)
        yield


def _configuration(
    directory: Path, *, name: str, version: int, scratch: Path, port: int, address: str | None
) -> str:
    bind = f"Bind_addr = {address};" if address else ""
    return f"""
NFS_CORE_PARAM {{
    Protocols = {version}; NFS_Port = {port}; {bind}
    # Clients of version 3 too ask for the export by its name.
    Mount_Path_Pseudo = true;
    Enable_UDP = Mount; Enable_NLM = false; Enable_RQUOTA = false;
}}
NFSv4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = "{scratch}/recovery"; }}
# Ask the file system each time: by default what changes shows up to a minute late.
EXPORT_DEFAULTS {{ Attr_Expiration_Time = 0; }}
EXPORT {{
    Export_Id = 1; Path = "{directory}"; Pseudo = "/{name}"; Protocols = {version};
    Access_Type = RO; Squash = No_Root_Squash; SecType = sys; FSAL {{ Name = VFS; }}
}}
"""


def why_not_exportable(directory: Path) -> str | None:
    """Why nfs-ganesha could not export `directory` (it opens files by handle), or None."""
    if os.geteuid() != 0:
        return "nfs-ganesha opens files by handle, which only root may"
    libc = ctypes.CDLL(None, use_errno=True)
    # struct file_handle: its size, filled in here, a type, and the bytes.
    handle = ctypes.create_string_buffer(
        _MOST_HANDLE_BYTES.to_bytes(4, "little"), 8 + _MOST_HANDLE_BYTES
    )
    mount = ctypes.c_int()
    name = os.fsencode(directory)
    if libc.name_to_handle_at(_AT_FDCWD, name, handle, ctypes.byref(mount), 0) != 0:
        return f"the file system of {directory} has no handles ({_last_error()})"
    here = os.open(directory, os.O_RDONLY)
    try:
        opened = libc.open_by_handle_at(here, handle, os.O_RDONLY)
        if opened < 0:
            return f"this root may not open files by handle ({_last_error()})"
        os.close(opened)
    finally:
        os.close(here)
    return None


def _last_error() -> str:
    return os.strerror(ctypes.get_errno())
