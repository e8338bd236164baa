r"""What a generation's `netboot/` holds, path by path: `netboot/INDEX.jsonl`.

One JSON object a line, sorted by path:

    {"path":"tftp/pxelinux.cfg/01-52-...","link":"template-web"}     a symbolic link
    {"path":"tftp/pxelinux.0","sha256":"...","size_bytes":42}        a file
    {"path":"tftp/pxelinux.cfg/default","text":"... @generation@"}   one that names its generation

It is made of the indexes that steps write (formats/netboot_index.py) and says no more than what is
there: nothing of where it came from, and not which generation it is in, so that two generations
with the same tree have the same index. In a text `@generation@` stands for the generation's id.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from json.encoder import encode_basestring_ascii as _quoted  # json.dumps of a text, and faster
from typing import NamedTuple

from bootsmith.errors import FormatError
from bootsmith.formats.member_names import check_member_name
from bootsmith.formats.netboot_network import GENERATION, SERIAL, zone_serial

NETBOOT = "netboot"
"""The directory of a generation, and the kind of its one artifact."""
INDEX_NAME = "INDEX.jsonl"
INDEX_PATH = f"{NETBOOT}/{INDEX_NAME}"
SCHEMA = 1
_HEAD = json.dumps({"schema": SCHEMA}) + "\n"
# Nearly every line is of one of these two shapes, which are read ten times as fast without JSON.
_PATH = r"(?:(?!\.\.?/)[\w.+:-]+/)*(?!\.\.?\")[\w.+:-]+"
_LINK = re.compile(rf'{{"path":"({_PATH})","link":"([\w.+:/-]+)"}}', re.ASCII)
_FILE = re.compile(
    rf'{{"path":"({_PATH})","sha256":"([0-9a-f]{{64}})","size_bytes":(\d+)}}', re.ASCII
)
_SHA256 = re.compile("[0-9a-f]{64}")


class TreeFile(NamedTuple):
    """The content of a file."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class NetbootTree:
    """Everything by path, sorted; no path is in two of them."""

    links: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, TreeFile] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> Iterator[str]:
        """Every name, in no order."""
        yield from self.links
        yield from self.files
        yield from self.texts

    @cached_property
    def directories(self) -> frozenset[str]:
        """Every directory that holds something, without the top."""
        return _directories(self.paths)

    @property
    def content_bytes(self) -> dict[str, int]:
        """Size by digest: equal files are one file on the disk."""
        return {file.sha256: file.size_bytes for file in self.files.values()}


def render_text(text: str, generation: str) -> bytes:
    """A text as it is published in `generation`."""
    if SERIAL in text:
        text = text.replace(SERIAL, str(zone_serial(generation)))
    return text.replace(GENERATION, generation).encode()


def write_netboot_tree(tree: NetbootTree) -> bytes:
    """The file's bytes; FormatError where two names of the tree cannot both be there."""
    lines = {path: f'"link":{_quoted(target)}' for path, target in tree.links.items()}
    lines |= {
        path: f'"sha256":"{file.sha256}","size_bytes":{file.size_bytes}'
        for path, file in tree.files.items()
    }
    lines |= {path: f'"text":{_quoted(text)}' for path, text in tree.texts.items()}
    names = [*tree.paths]
    if len(lines) != len(names):
        raise _clash(next(path for path, count in Counter(names).items() if count > 1))
    for path in sorted(tree.directories & lines.keys()):
        raise _clash(path)
    made = [f'{{"path":{_quoted(path)},{lines[path]}}}\n' for path in sorted(lines)]
    return (_HEAD + "".join(made)).encode("ascii")


def read_netboot_tree(content: bytes, *, subject: object) -> NetbootTree:
    """What `write_netboot_tree` wrote; FormatError for anything else, or what leads out of it."""
    try:
        lines = content.decode("ascii").split("\n")
        if f"{lines[0]}\n" != _HEAD or lines[-1]:
            raise ValueError("another schema, or cut short")
        return _read(lines[1:-1], subject)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise FormatError(
            subject,
            f"is not the index of a netboot tree ({error})",
            hint="doit verify says what else is wrong",
        ) from error


def _read(lines: Iterable[str], subject: object) -> NetbootTree:
    links: dict[str, str] = {}
    files: dict[str, TreeFile] = {}
    texts: dict[str, str] = {}
    previous = ""
    for line in lines:
        if found := _LINK.fullmatch(line):
            path, target = found.groups()
            links[path] = target
        elif found := _FILE.fullmatch(line):
            path, sha256, size = found.groups()
            files[path] = TreeFile(sha256, int(size))
        else:
            path = _read_other(json.loads(line), links, files, texts, subject)
        if path <= previous:
            raise ValueError(f"{path!a} is out of order")
        previous = path
    for path, target in links.items():
        if target.startswith("/") or ".." in target:
            check_link(path, target)
    tree = NetbootTree(links=links, files=files, texts=texts)
    for path in sorted(tree.directories.intersection(tree.paths)):
        raise ValueError(f"{path!a} is a directory and something else")
    return tree


def _read_other(
    values: dict[str, object],
    links: dict[str, str],
    files: dict[str, TreeFile],
    texts: dict[str, str],
    subject: object,
) -> str:
    path = values.pop("path")
    if not isinstance(path, str) or check_member_name(path, subject=subject) != path or not path:
        raise ValueError(f"{path!a} is not a plain path")
    match values:
        case {"link": str(target)} if len(values) == 1:
            check_link(path, target)
            links[path] = target
        case {"text": str(text)} if len(values) == 1:
            texts[path] = text
        case {"sha256": str(sha256), "size_bytes": int(size_bytes)} if len(values) == 2:
            if not _SHA256.fullmatch(sha256):
                raise ValueError(f"{path!a} has no digest")
            files[path] = TreeFile(sha256, size_bytes)
        case _:
            raise ValueError(f"{path!a} is neither link nor file nor text")
    return path


def check_link(path: str, target: str) -> None:
    """ValueError for a link that leads nowhere by its form, or out of the tree."""
    if not target or target.startswith("/") or "\0" in target:
        raise ValueError(f"{path!a} leads out of the tree")
    depth = path.count("/")
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            raise ValueError(f"{path!a} leads out of the tree")


def _directories(paths: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return frozenset(found)


def _clash(path: str) -> FormatError:
    return FormatError(
        f"{NETBOOT}/{path}",
        "is made twice",
        hint="give one of the two another name; templates, installers and hosts share these names",
    )
