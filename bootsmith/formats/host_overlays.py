"""Overlay archives of single hosts: what the step `hostovl` made, host by host.

One JSON object a line, sorted by name, so that one changed host changes its own line:

    {"schema":1}
    {"name":"web-1","mac":"52:54:01:02:00:07","template":"web",
     "file":"hostovl/files/web-1.apkovl.tar.gz","sha256":"...","size_bytes":4711,
     "overlay_sha256":"..."}

Hosts that boot with their template's archive are not in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields

from bootsmith.errors import FormatError
from bootsmith.formats.member_names import check_member_name

SCHEMA = 1
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOverlay:
    """The archive of one host."""

    name: str
    mac: str
    template: str
    file: str
    """Below `artifacts/build`."""
    sha256: str
    size_bytes: int
    overlay_sha256: str
    """What the machine says of its overlay (`etc/bootsmith/overlay`)."""


def write_host_overlays(overlays: Iterable[HostOverlay]) -> bytes:
    """The file's bytes."""
    lines: list[object] = [{"schema": SCHEMA}]
    ordered = sorted(overlays, key=lambda overlay: overlay.name)
    lines += [
        {one.name: getattr(overlay, one.name) for one in fields(HostOverlay)} for overlay in ordered
    ]
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()


def read_host_overlays(content: bytes, *, subject: object) -> dict[str, HostOverlay]:
    """By host, what `write_host_overlays` wrote; FormatError for anything else."""
    found = {}
    try:
        lines = iter(content.splitlines())
        if json.loads(next(lines, b"null")) != {"schema": SCHEMA}:
            raise ValueError("another schema")
        for line in lines:
            overlay = HostOverlay(**json.loads(line))
            if check_member_name(overlay.file, subject=subject) != overlay.file:
                raise ValueError(f"{overlay.file!a} is not a plain path")
            if not _SHA256.fullmatch(overlay.sha256) or type(overlay.size_bytes) is not int:
                raise ValueError(f"{overlay.name!a} has no digest and size")
            found[overlay.name] = overlay
    except (ValueError, TypeError, AttributeError) as error:
        raise FormatError(
            subject,
            f"is not a list of host overlays ({error})",
            hint="build it again: doit hostovl",
        ) from error
    return found
