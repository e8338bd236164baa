"""An apkovl as Alpine's init and apk will take it: read to its end, or refused.

What they ask of it is said in formats/apkovl.py. Written for thousands of small archives:
`tarfile` takes several times as long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from bootsmith.errors import FormatError
from bootsmith.formats.apkovl import check_entry_name
from bootsmith.formats.compression import decompress_file
from bootsmith.formats.member_names import check_member_name

TEMPLATE_FILE = "etc/bootsmith/template"
"""Says in an overlay whose it is."""
_BLOCK_BYTES = 512
_LIMIT_BYTES = 1 << 30
_MOST_MARKER_BYTES = 256
_CHECKSUM = slice(148, 156)
_LONG_NAME, _LONG_TARGET, _PAX = b"L", b"K", (b"x", b"g")
_KINDS = {b"0": "file", b"\0": "file", b"1": "file", b"2": "link", b"5": "directory"}
# Nearly every name: no part is . or .., there is a directory, and nothing is to be escaped.
_PLAIN = re.compile(r"(?:(?!\.\.?/)[!-.0-~]+/)+(?:(?!\.\.?\Z)[!-.0-~]+)?")
_MOST_PLAIN_LETTERS = 256
_HINT = "build it again: doit apkovl"


@dataclass(frozen=True, kw_only=True)
class ApkovlFacts:
    """What an overlay says of itself; `template` is None where it does not say it."""

    members: int
    template: str | None


def read_apkovl_facts(content: bytes, *, subject: str) -> ApkovlFacts:
    """The facts of an apkovl; FormatError for damage, and for members that init or apk trip over.

    `subject` names it in errors.
    """
    if content[:2] != b"\x1f\x8b":
        raise FormatError(
            subject,
            "is not packed with gzip",
            expected="1f 8b",
            got=content[:2].hex(" ") or "nothing",
            hint=_HINT,
        )
    tar = decompress_file(content, limit_bytes=_LIMIT_BYTES, subject=subject)
    template, count, has_etc, at = None, 0, False, 0
    long_name: str | None = None
    while (header := _header(tar, at, subject)) is not None:
        size_bytes = _octal(header[124:136], "size", at, subject)
        start, kind = at + _BLOCK_BYTES, header[156:157]
        at = start + size_bytes + -size_bytes % _BLOCK_BYTES
        if at > len(tar):
            _damaged(subject, f"it ends inside the member at byte {start - _BLOCK_BYTES}")
        if kind == _LONG_NAME:
            long_name = _text(tar[start : start + size_bytes].rstrip(b"\0"))
            continue
        if kind == _LONG_TARGET or kind in _PAX:
            continue
        name, long_name = long_name or _name(header), None
        _check_name(name, _KINDS.get(kind), subject)
        count += 1
        has_etc = has_etc or name.startswith("etc/")
        if name == TEMPLATE_FILE and size_bytes <= _MOST_MARKER_BYTES:
            template = _text(tar[start : start + size_bytes]).strip()
    if not has_etc:
        raise FormatError(subject, "has nothing below etc/", hint=_HINT)
    return ApkovlFacts(members=count, template=template)


def _header(tar: bytes, at: int, subject: str) -> bytes | None:
    """The header at byte `at`, None where the archive ends as it should."""
    header = tar[at : at + _BLOCK_BYTES]
    if len(header) < _BLOCK_BYTES:
        _damaged(subject, "it has no end: blocks of zeros are missing")
    if not any(header):
        if any(tar[at:]):
            _damaged(subject, f"something follows its end at byte {at}")
        return None
    told = _octal(header[_CHECKSUM], "checksum", at, subject)
    if sum(header) - sum(header[_CHECKSUM]) + 8 * 0x20 != told:
        _damaged(subject, f"the header at byte {at} does not match its checksum")
    return header


def _octal(field: bytes, what: str, at: int, subject: str) -> int:
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        _damaged(subject, f"the {what} in the header at byte {at} is no octal number")


def _name(header: bytes) -> str:
    name, prefix = header[:100], header[345:500] if header[257:263] == b"ustar\0" else b""
    short, long = name.partition(b"\0")[0], prefix.partition(b"\0")[0]
    return _text(long + b"/" + short if long else short)


def _check_name(name: str, kind: str | None, subject: str) -> None:
    """As apk's overlay list has them: relative, no `./`, a slash behind directories alone."""
    if (
        kind is not None
        and len(name) <= _MOST_PLAIN_LETTERS
        and _PLAIN.fullmatch(name)
        and name.endswith("/") == (kind == "directory")
    ):
        return
    if kind is None:
        raise FormatError(
            subject,
            f"member {name!a} is neither file nor directory nor link",
            hint="leave it out of the overlay",
        )
    wanted = check_member_name(name, subject=subject) + ("/" if kind == "directory" else "")
    if name != wanted:
        raise FormatError(
            subject,
            "a member is not named as apk's overlay list has it",
            expected=ascii(wanted),
            got=ascii(name),
            hint="pack it without ./ and with a slash behind directories, as lbu does",
        )
    check_entry_name(name.rstrip("/"), is_directory=kind == "directory")


def _damaged(subject: str, problem: str) -> NoReturn:
    raise FormatError(subject, f"damaged archive: {problem}", hint=_HINT)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
