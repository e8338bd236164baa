"""Files that one step makes for another to carry: in a pxerd, in an apkovl.

A JSON text, so that an edge of the graph stays one regular file: what to remove, what to
put in with which mode, and in words what was decided and why.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from bootsmith.errors import FormatError

_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class AddedFile:
    """One regular file; `path` is relative to the root, `mode` its permission bits."""

    path: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class Additions:
    """What to do to a tree: `removed` paths first, then `files`. `choice` is one word."""

    choice: str
    files: tuple[AddedFile, ...] = ()
    removed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def write_additions(additions: Additions) -> bytes:
    """The JSON text: sorted keys, one final newline, ASCII only."""
    document = {
        "schema": _SCHEMA,
        "choice": additions.choice,
        "removed": additions.removed,
        "notes": additions.notes,
        "files": [
            {
                "path": file.path,
                "mode": f"{file.mode:04o}",
                "base64": base64.b64encode(file.content).decode("ascii"),
            }
            for file in additions.files
        ],
    }
    return json.dumps(document, indent=1, sort_keys=True).encode("ascii") + b"\n"


def read_additions(content: bytes, *, subject: object) -> Additions:
    """What `write_additions` wrote; FormatError otherwise."""
    try:
        document = json.loads(content)
        if document["schema"] != _SCHEMA:
            raise ValueError(f"schema {document['schema']}")
        return Additions(
            choice=document["choice"],
            removed=tuple(document["removed"]),
            notes=tuple(document["notes"]),
            files=tuple(
                AddedFile(
                    path=file["path"],
                    mode=int(file["mode"], 8),
                    content=base64.b64decode(file["base64"], validate=True),
                )
                for file in document["files"]
            ),
        )
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise FormatError(
            subject, f"no list of files to carry ({error})", hint="remove it, then: doit build"
        ) from None
