"""Digests of the files of a release's ISO: `digests.json`, made once an ISO.

    {"files": {"apks/x86_64/APKINDEX.tar.gz": ["<sha256>", 1234], ...},
     "iso_sha256": "...", "schema": 1}

With them a file of the ISO is known by its content before it is copied out of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bootsmith.errors import FormatError

SCHEMA = 1
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class MediumDigests:
    """Of the ISO with this digest: sha256 and size_bytes by path, for regular files."""

    iso_sha256: str
    files: Mapping[str, tuple[str, int]]


def write_medium_digests(digests: MediumDigests) -> bytes:
    """The file's bytes: sorted keys, one final newline, ASCII only."""
    document = {
        "schema": SCHEMA,
        "iso_sha256": digests.iso_sha256,
        "files": {path: list(known) for path, known in digests.files.items()},
    }
    return (json.dumps(document, sort_keys=True) + "\n").encode("ascii")


def read_medium_digests(content: bytes, *, subject: object) -> MediumDigests:
    """What `write_medium_digests` wrote; FormatError for anything else."""
    try:
        document = json.loads(content)
        if document["schema"] != SCHEMA:
            raise ValueError("another schema")
        files = {}
        for path, (sha256, size_bytes) in document["files"].items():
            if not _SHA256.fullmatch(sha256) or type(size_bytes) is not int:
                raise ValueError(f"{path!a} has no digest and size")
            files[path] = (sha256, size_bytes)
        return MediumDigests(iso_sha256=document["iso_sha256"], files=files)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise FormatError(
            subject,
            f"does not say the digests of an ISO's files ({error})",
            hint="remove it and run again: doit build",
        ) from error
