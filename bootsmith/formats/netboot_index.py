r"""The index of a netboot tree: what a generation's `netboot/` holds, path by path.

One JSON object a line, sorted by path, so that one changed host changes its own lines only:

    {"path": "tftp/pxelinux.cfg/01-...", "link": "template-web"}      a symbolic link
    {"path": "http/boot/x/vmlinuz", "part": "kernel/x/vmlinuz-virt"}  another file of the generation
    {"path": "nfs/x/apks/...", "iso": "x", "from": "apks/..."}        a file of a release's ISO
    {"path": "tftp/pxelinux.cfg/disk", "content": "DEFAULT disk\n"}   a small text, in full
    {"path": "tftp/pxelinux.0", "file": "netboot/files/tftp/pxelinux.0", "sha256": "...",
     "size_bytes": 42}                                                a file that a step has made

Links lead to places inside the tree. A content with `"text": true` names its generation: it
has `@generation@` replaced when it is published. `file` is a path below `artifacts/build`.
Texts stand in the index because there is one for a host here and there: ten thousand small
files would be made durable one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bootsmith.errors import FormatError
from bootsmith.formats.member_names import check_member_name

SCHEMA = 1
_HEAD = f'{{"schema": {SCHEMA}}}\n'
# Most lines are links between such names; writing and reading them needs no JSON, and is
# ten times as fast without.
_LETTERS = "[A-Za-z0-9._+:-]"
_PATH = rf"(?:(?!\.\.?/){_LETTERS}+/)*(?!\.\.?\Z){_LETTERS}+"
_PLAIN_PATH = re.compile(rf"{_PATH}\Z")
_PLAIN_LINK = re.compile(rf"{_LETTERS}[A-Za-z0-9._+:/-]*\Z")
_LINK_LINE = re.compile(r'\{"path":"([^"\\]+)","link":"([^"\\]+)"\}\Z')
_SHA256 = re.compile("[0-9a-f]{64}")
_SOURCES = ("link", "part", "iso", "file", "content")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetbootEntry:
    """One name of the tree; exactly one of `link`, `part`, `iso`, `file`, `content` is there."""

    path: str
    link: str | None = None
    part: str | None = None
    iso: str | None = None
    """A release; `from_path` is the path on its ISO."""
    from_path: str | None = None
    file: str | None = None
    """A file below `artifacts/build`; `sha256` and `size_bytes` are its."""
    sha256: str | None = None
    size_bytes: int | None = None
    content: str | None = None
    text: bool = False


def write_netboot_index(entries: Iterable[NetbootEntry]) -> bytes:
    """The file's bytes; FormatError where two entries cannot both be there."""
    ordered = sorted(entries, key=lambda entry: entry.path)
    _check_names(ordered)
    return (_HEAD + "".join([_line(entry) for entry in ordered])).encode("ascii")


def read_netboot_index(content: bytes, *, subject: object) -> Iterator[NetbootEntry]:
    """Every entry, in order of paths; FormatError for what is no index, or leads out of it."""
    lines = content.decode("ascii", "replace").split("\n")
    if f"{lines[0]}\n" != _HEAD or lines[-1]:
        raise _not_an_index(subject, "another schema, or cut short")
    previous = ""
    for line in lines[1:-1]:
        try:
            entry = _plain_link(line) or _other(line, subject)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise _not_an_index(subject, error) from error
        if entry.path <= previous:
            raise _not_an_index(subject, f"{entry.path!a} is out of order")
        previous = entry.path
        yield entry


def _check_names(ordered: Iterable[NetbootEntry]) -> None:
    """No name is there twice, and none is both a directory and something else."""
    directories: set[str] = set()
    names: set[str] = set()
    for entry in ordered:
        if entry.path in names:
            raise _made_twice(entry.path)
        names.add(entry.path)
        parent = entry.path.rpartition("/")[0]
        while parent and parent not in directories:
            directories.add(parent)
            parent = parent.rpartition("/")[0]
    for name in sorted(directories & names):
        raise _made_twice(name)


def _made_twice(path: str) -> FormatError:
    return FormatError(
        f"netboot/{path}",
        "is made twice",
        hint="give one of the two another name; templates, installers and hosts share these names",
    )


def _not_an_index(subject: object, why: object) -> FormatError:
    return FormatError(
        subject, f"is not an index of a netboot tree ({why})", hint="build again: doit build"
    )


def _line(entry: NetbootEntry) -> str:
    if entry.link and _PLAIN_PATH.match(entry.path) and _PLAIN_LINK.match(entry.link):
        return f'{{"path":"{entry.path}","link":"{entry.link}"}}\n'
    values = {
        "path": entry.path,
        "link": entry.link,
        "part": entry.part,
        "iso": entry.iso,
        "from": entry.from_path,
        "file": entry.file,
        "sha256": entry.sha256,
        "size_bytes": entry.size_bytes,
        "content": entry.content,
        "text": entry.text or None,
    }
    said = {name: value for name, value in values.items() if value is not None}
    return json.dumps(said, separators=(",", ":")) + "\n"


def _plain_link(line: str) -> NetbootEntry | None:
    found = _LINK_LINE.match(line)
    if not found:
        return None
    path, link = found.groups()
    if not (_PLAIN_PATH.match(path) and _PLAIN_LINK.match(link)):
        return None
    entry = NetbootEntry(path=path, link=link)
    if ".." in link and _leads_out(entry):
        raise ValueError(f"{path!a} leads out of the tree")
    return entry


def _other(line: str, subject: object) -> NetbootEntry:
    values = json.loads(line)
    values["from_path"] = values.pop("from", None)
    entry = NetbootEntry(**values)
    for path in (entry.path, entry.part, entry.from_path, entry.file):
        if path is not None and check_member_name(path, subject=subject) != path:
            raise ValueError(f"{path!a} is not a plain path")
    if sum(getattr(entry, source) is not None for source in _SOURCES) != 1:
        raise ValueError(f"{entry.path!a} has not exactly one source")
    if (entry.iso is None) != (entry.from_path is None):
        raise ValueError(f"{entry.path!a} has half a place on an ISO")
    if (entry.file is None) != (entry.sha256 is None):
        raise ValueError(f"{entry.path!a} has no digest, or nothing that it is of")
    if entry.sha256 is not None and (
        not _SHA256.fullmatch(entry.sha256) or type(entry.size_bytes) is not int
    ):
        raise ValueError(f"{entry.path!a} has no digest and size")
    if entry.link is not None and _leads_out(entry):
        raise ValueError(f"{entry.path!a} leads out of the tree")
    return entry


def _leads_out(entry: NetbootEntry) -> bool:
    assert entry.link is not None
    if entry.link.startswith("/") or "\0" in entry.link:
        return True
    depth = entry.path.count("/")
    for part in entry.link.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return True
    return False
