"""Alpine packages and repository indexes, format v2, in both directions.

Shapes, from apk-tools doc/apk-v2.5 and doc/apk-package.5, seen in real packages:

    NAME-VERSION.apk     = gzip(signature tar, cut) + gzip(control tar, cut) + gzip(data tar)
    APKINDEX.tar.gz      = gzip(signature tar, cut) + gzip(tar of DESCRIPTION and APKINDEX)

"cut" means without the two zero blocks that end a tar, so that the members, unpacked one
after another, are one tar. A signature covers the *compressed* bytes of the member behind
it; `datahash` in .PKGINFO covers the compressed data member; an index record names a
package by the SHA-1 of its compressed control member ("Q1" + base64).

Nothing here trusts a package: names are confined, sizes bounded, and whatever is not as
described is a FormatError.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from isal import isal_zlib
from isal.igzip_lib import IsalError

from bootsmith.errors import FormatError
from bootsmith.formats.member_names import LinkGuard, check_member_name
from bootsmith.formats.signing_key import SigningKey, is_signature_valid

PACKAGE_LIMIT_BYTES = 2 << 30
"""Unpacked size beyond which a package is refused (linux-firmware is about 1 GiB)."""

SCRIPT_NAMES = (
    "pre-install",
    "post-install",
    "pre-upgrade",
    "post-upgrade",
    "pre-deinstall",
    "post-deinstall",
    "trigger",
)

_SIGNATURE_DIGESTS = {"RSA": "sha1", "RSA256": "sha256", "RSA512": "sha512"}
_GZIP_LEVEL = 9
# isal's stub takes its exception class for a value.
_INFLATE_ERRORS = (ValueError, cast("type[Exception]", IsalError))
_CHECKSUM_KEYWORD = "APK-TOOLS.checksum.SHA1"

EntryKind = Literal["file", "directory", "symlink", "hardlink"]
_TAR_TYPES: dict[EntryKind, bytes] = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
}
_ENTRY_KINDS = {value: key for key, value in _TAR_TYPES.items()} | {tarfile.AREGTYPE: "file"}


@dataclass(frozen=True, kw_only=True)
class ApkEntry:
    """One file of a package: `name` relative and clean, `mode` permission bits only."""

    name: str
    kind: EntryKind = "file"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_epoch: int = 0
    data: bytes = b""
    target: str = ""
    """Of a symlink: its text; of a hard link: the name of an earlier entry."""


@dataclass(frozen=True, kw_only=True)
class ApkInfo:
    """What .PKGINFO says. `size_bytes` is the size once installed."""

    name: str
    version: str
    summary: str = ""
    url: str = ""
    arch: str = "x86_64"
    license: str = ""
    origin: str = ""
    maintainer: str = ""
    packager: str = ""
    commit: str = ""
    build_epoch: int = 0
    size_bytes: int = 0
    depends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    install_if: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    provider_priority: int | None = None
    data_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One signature: `kind` is RSA, RSA256 …; `key_name` the public key's file name."""

    kind: str
    key_name: str
    value: bytes


@dataclass(frozen=True, kw_only=True)
class Apk:
    """A package that was read; `control_raw` and `data_raw` are its compressed members."""

    info: ApkInfo
    scripts: Mapping[str, str]
    entries: tuple[ApkEntry, ...]
    signatures: tuple[Signature, ...]
    control_raw: bytes = field(repr=False)
    data_raw: bytes = field(repr=False)

    @property
    def checksum(self) -> str:
        """The identity of the package in indexes: "Q1" + base64(SHA-1 of the control member)."""
        return _q1(self.control_raw)

    def find(self, name: str) -> ApkEntry | None:
        """The entry called `name` (relative), or None."""
        return next((entry for entry in self.entries if entry.name == name), None)


@dataclass(frozen=True, kw_only=True)
class IndexRecord:
    """One package as an index lists it; its file is `<name>-<version>.apk`."""

    checksum: str
    info: ApkInfo
    file_size_bytes: int

    @property
    def file_name(self) -> str:
        """Name of the package's file beside the index."""
        return f"{self.info.name}-{self.info.version}.apk"


@dataclass(frozen=True, kw_only=True)
class Index:
    """APKINDEX.tar.gz; `content_raw` is the compressed member that the signatures cover."""

    description: str
    records: tuple[IndexRecord, ...]
    signatures: tuple[Signature, ...]
    content_raw: bytes = field(repr=False)


# Reading


def read_apk(
    data: bytes, *, subject: object = "package", limit_bytes: int = PACKAGE_LIMIT_BYTES
) -> Apk:
    """A whole v2 package from its bytes; checks the data hash, not the signatures.

    Raises FormatError for truncation, hostile names, a wrong data hash or anything that
    unpacks to more than `limit_bytes`. `subject` names the package in errors.
    """
    signatures, control_raw, control, data_raw, unpacked = _split(data, subject, limit_bytes)
    texts = {member.name: member.data for member in control}
    if ".PKGINFO" not in texts:
        raise FormatError(subject, "no .PKGINFO in the control member", hint=_NOT_V2_HINT)
    info = _parse_pkginfo(texts[".PKGINFO"], subject)
    if info.data_sha256 and hashlib.sha256(data_raw).hexdigest() != info.data_sha256:
        raise FormatError(
            subject,
            "data member does not match .PKGINFO",
            expected=f"sha256 {info.data_sha256}",
            got=hashlib.sha256(data_raw).hexdigest(),
            hint="fetch the package again",
        )
    guard = LinkGuard(subject)
    entries = []
    for entry in _read_tar(unpacked, subject):
        if entry.name:
            guard.admit(entry.name, is_link=entry.kind == "symlink")
            entries.append(entry)
    scripts = {
        name.removeprefix("."): content.decode("utf-8", "replace")
        for name, content in texts.items()
        if name.removeprefix(".") in SCRIPT_NAMES
    }
    return Apk(
        info=info,
        scripts=scripts,
        entries=tuple(entries),
        signatures=signatures,
        control_raw=control_raw,
        data_raw=data_raw,
    )


def read_index(
    data: bytes, *, subject: object = "APKINDEX.tar.gz", limit_bytes: int = PACKAGE_LIMIT_BYTES
) -> Index:
    """A repository index from its bytes; checks no signature. Raises FormatError."""
    signatures, content_raw, members, _rest, _tail = _split(data, subject, limit_bytes)
    texts = {member.name: member.data.decode("utf-8", "replace") for member in members}
    if "APKINDEX" not in texts:
        raise FormatError(subject, "no APKINDEX in it", hint=_NOT_V2_HINT)
    return Index(
        description=texts.get("DESCRIPTION", "").strip(),
        records=read_index_records(texts["APKINDEX"], subject=subject),
        signatures=signatures,
        content_raw=content_raw,
    )


def read_index_records(text: str, *, subject: object = "APKINDEX") -> tuple[IndexRecord, ...]:
    """The records of an APKINDEX, or the packages of a `lib/apk/db/installed`.

    Letters that describe files (F, R, M, a, Z …) are passed over.
    """
    return tuple(_parse_record(block, subject) for block in text.split("\n\n") if block.strip())


def check_signed(
    item: Apk | Index, keys: Mapping[str, bytes], *, subject: object = "package"
) -> str:
    """The name of the first trusted key that really signed `item`; FormatError if none did.

    `keys` maps a public key's file name to its PEM text, as /etc/apk/keys does.
    """
    content = item.control_raw if isinstance(item, Apk) else item.content_raw
    for signature in item.signatures:
        digest = _SIGNATURE_DIGESTS.get(signature.kind)
        pem = keys.get(signature.key_name)
        if (
            digest
            and pem
            and is_signature_valid(
                public_pem=pem, content=content, signature=signature.value, digest=digest
            )
        ):
            return signature.key_name
    raise FormatError(
        subject,
        "no valid signature by a trusted key",
        expected=f"one of {', '.join(sorted(keys)) or 'no keys at all'}",
        got=", ".join(signature.key_name for signature in item.signatures) or "no signature",
        hint="add the public key that signed it, or sign it again with one that is trusted",
    )


# Writing


def write_apk(
    *,
    info: ApkInfo,
    entries: Sequence[ApkEntry],
    scripts: Mapping[str, str] | None = None,
    key: SigningKey,
) -> bytes:
    """A signed v2 package. `info.size_bytes` and `info.data_sha256` are computed here.

    Entries are written as given (parents before children is the caller's order); times
    come from the entries and `info.build_epoch`, so the bytes depend on the arguments only.
    """
    data_raw = _gzip(b"".join(map(_entry_blocks, entries)) + b"\0" * 1024)
    control = [(".PKGINFO", 0o644, _format_pkginfo(info, entries, data_raw))]
    for name in SCRIPT_NAMES:
        if scripts and name in scripts:
            control.append((f".{name}", 0o755, scripts[name].encode()))
    control_raw = _gzip(
        b"".join(
            _tar_blocks(name=name, mode=mode, mtime_epoch=info.build_epoch, data=content)
            for name, mode, content in control
        )
    )
    return _signature_member(control_raw, key, info.build_epoch) + control_raw + data_raw


def index_record(apk: Apk, *, file_size_bytes: int) -> IndexRecord:
    """The record under which an index lists `apk`."""
    return IndexRecord(checksum=apk.checksum, info=apk.info, file_size_bytes=file_size_bytes)


def write_index(
    *, description: str, records: Iterable[IndexRecord], key: SigningKey, build_epoch: int = 0
) -> bytes:
    """A signed APKINDEX.tar.gz; records are sorted by name and version."""
    ordered = sorted(records, key=lambda record: (record.info.name, record.info.version))
    text = "".join(format_record(record) + "\n" for record in ordered)
    members = (("DESCRIPTION", description.encode()), ("APKINDEX", text.encode()))
    content_raw = _gzip(
        b"".join(
            _tar_blocks(name=name, mode=0o644, mtime_epoch=build_epoch, data=content)
            for name, content in members
        )
        + b"\0" * 1024
    )
    return _signature_member(content_raw, key, build_epoch) + content_raw


# gzip members

_NOT_V2_HINT = "only the v2 format (three gzip members) is read; fetch the package again"


def _gzip(content: bytes) -> bytes:
    import deflate

    return bytes(deflate.gzip_compress(content, _GZIP_LEVEL))


def _split(
    data: bytes, subject: object, limit_bytes: int
) -> tuple[tuple[Signature, ...], bytes, list[ApkEntry], bytes, bytes]:
    """Signatures, raw and parsed first unsigned member, raw and unpacked rest."""
    signatures: list[Signature] = []
    position = 0
    while True:
        unpacked, end = _inflate_member(data, position, subject, limit_bytes)
        members = list(_read_tar(unpacked, subject))
        if not (members and members[0].name.startswith(".SIGN.")):
            break
        signatures += [_parse_signature(member, subject) for member in members]
        position = end
    rest = data[end:]
    tail = []
    offset = 0
    while offset < len(rest):
        piece, offset = _inflate_member(rest, offset, subject, limit_bytes)
        tail.append(piece)
        if sum(map(len, tail)) > limit_bytes:
            raise _too_large(subject, limit_bytes)
    return tuple(signatures), data[position:end], members, rest, b"".join(tail)


def _inflate_member(
    data: bytes, position: int, subject: object, limit_bytes: int
) -> tuple[bytes, int]:
    """One gzip member from `position`: its content and the offset behind it."""
    engine = isal_zlib.decompressobj(31)
    try:
        content = engine.decompress(memoryview(data)[position:], limit_bytes + 1)
    except _INFLATE_ERRORS as error:
        raise FormatError(subject, f"damaged gzip member: {error}", hint=_NOT_V2_HINT) from None
    if len(content) > limit_bytes:
        raise _too_large(subject, limit_bytes)
    if not engine.eof:
        raise FormatError(subject, "ends in the middle of a gzip member", hint=_NOT_V2_HINT)
    return content, len(data) - len(engine.unused_data)


def _too_large(subject: object, limit_bytes: int) -> FormatError:
    return FormatError(
        subject,
        "unpacks to more than is allowed",
        expected=f"at most {limit_bytes} bytes",
        hint="do not use this file; it may be made to exhaust memory",
    )


# tar


def _read_tar(content: bytes, subject: object) -> Iterator[ApkEntry]:
    try:
        archive = tarfile.open(fileobj=io.BytesIO(content), mode="r:", ignore_zeros=True)
    except tarfile.ReadError:
        if not content.strip(b"\0"):
            return  # a package without files
        raise FormatError(subject, "member is not a tar archive", hint=_NOT_V2_HINT) from None
    try:
        for member in archive:
            yield _entry_of(archive, content, member, subject)
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise FormatError(subject, f"damaged tar: {error}", hint=_NOT_V2_HINT) from None


def _entry_of(
    archive: tarfile.TarFile, plain: bytes, member: tarfile.TarInfo, subject: object
) -> ApkEntry:
    name = check_member_name(member.name, subject=subject)
    kind = _ENTRY_KINDS.get(member.type)
    if kind is None:
        raise FormatError(
            subject,
            "member is neither file, directory nor link",
            got=f"{name!a}",
            hint="get the package again from where it was published",
        )
    target = member.linkname
    if kind == "hardlink":
        target = check_member_name(target, subject=subject)
    data = b""
    if kind == "file" and member.issparse():
        content = archive.extractfile(member)
        data = content.read() if content else b""
    elif kind == "file":  # the same, without two file objects for each of thousands of files
        data = plain[member.offset_data : member.offset_data + member.size]
    if kind == "file" and len(data) != member.size:
        raise FormatError(
            subject,
            f"{name!a} is cut short",
            hint="get the package again; it is damaged",
        )
    return ApkEntry(
        name=name,
        kind=kind,
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        mtime_epoch=int(member.mtime),
        data=data,
        target=target,
    )


def _entry_blocks(entry: ApkEntry) -> bytes:
    # apk keeps this checksum in its database: of a file its content, of a link its target.
    hashed = {"file": entry.data, "symlink": entry.target.encode("utf-8", "surrogateescape")}
    keywords = {}
    if entry.kind in hashed:
        keywords[_CHECKSUM_KEYWORD] = _sha1(hashed[entry.kind]).hexdigest()
    return _tar_blocks(
        name=entry.name,
        mode=entry.mode,
        mtime_epoch=entry.mtime_epoch,
        data=entry.data,
        kind=entry.kind,
        target=entry.target,
        owner=(entry.uid, entry.gid),
        keywords=keywords,
    )


def _tar_blocks(
    *,
    name: str,
    mode: int,
    mtime_epoch: int,
    data: bytes,
    kind: EntryKind = "file",
    target: str = "",
    owner: tuple[int, int] = (0, 0),
    keywords: Mapping[str, str] | None = None,
) -> bytes:
    member = tarfile.TarInfo(name)
    member.mode, member.mtime, member.size = mode, mtime_epoch, len(data)
    member.type, member.linkname = _TAR_TYPES[kind], target
    member.uid, member.gid = owner
    member.uname = "root" if owner[0] == 0 else ""
    member.gname = "root" if owner[1] == 0 else ""
    member.pax_headers = dict(keywords or {})
    header = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return header + data + b"\0" * (-len(data) % 512)


# Signatures


def _signature_member(content_raw: bytes, key: SigningKey, mtime_epoch: int) -> bytes:
    return _gzip(
        _tar_blocks(
            name=f".SIGN.RSA.{key.name}",
            mode=0o644,
            mtime_epoch=mtime_epoch,
            data=key.sign_sha1(content_raw),
        )
    )


def _parse_signature(member: ApkEntry, subject: object) -> Signature:
    parts = member.name.split(".", 3)
    if len(parts) != 4 or parts[:2] != ["", "SIGN"] or not parts[3]:
        raise FormatError(
            subject,
            "strange signature member",
            expected=".SIGN.KIND.KEY",
            got=f"{member.name!a}",
            hint="get the package again from where it was published",
        )
    return Signature(kind=parts[2], key_name=parts[3], value=member.data)


def _sha1(content: bytes) -> hashlib._Hash:
    # The v2 format names things by SHA-1; trust comes from the signature.
    return hashlib.sha1(content, usedforsecurity=False)


def _q1(content: bytes) -> str:
    return "Q1" + base64.b64encode(_sha1(content).digest()).decode("ascii")


# .PKGINFO and index records: (PKGINFO keyword, index letter, ApkInfo field); the order is
# the one in which index records are written.

_SINGLE = (
    ("pkgname", "P", "name"),
    ("pkgver", "V", "version"),
    ("arch", "A", "arch"),
    ("size", "I", "size_bytes"),
    ("pkgdesc", "T", "summary"),
    ("url", "U", "url"),
    ("license", "L", "license"),
    ("origin", "o", "origin"),
    ("maintainer", "m", "maintainer"),
    ("builddate", "t", "build_epoch"),
    ("commit", "c", "commit"),
    ("provider_priority", "k", "provider_priority"),
    ("packager", "", "packager"),
    ("datahash", "", "data_sha256"),
)
_REPEATED = (
    ("depend", "D", "depends"),
    ("provides", "p", "provides"),
    ("replaces", "r", "replaces"),
    ("install_if", "i", "install_if"),
    ("triggers", "", "triggers"),
)
_NUMBERS = ("size_bytes", "build_epoch", "provider_priority")


def _parse_pkginfo(content: bytes, subject: object) -> ApkInfo:
    by_keyword = {keyword: name for keyword, _letter, name in _SINGLE}
    lists = {keyword: name for keyword, _letter, name in _REPEATED}
    values: dict[str, Any] = {}
    repeated: dict[str, list[str]] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        keyword, separator, value = line.partition(" = ")
        if line.startswith("#") or not separator:
            continue
        if keyword in lists:
            # Most tools write one line a value; `install_if` and `triggers` share a line.
            repeated.setdefault(lists[keyword], []).extend(value.split())
        elif keyword in by_keyword:
            values[by_keyword[keyword]] = value.strip()
    return _info_of(values, repeated, subject)


def _parse_record(block: str, subject: object) -> IndexRecord:
    by_letter = {letter: name for _keyword, letter, name in _SINGLE if letter}
    lists = {letter: name for _keyword, letter, name in _REPEATED if letter}
    values: dict[str, Any] = {}
    repeated: dict[str, list[str]] = {}
    checksum, file_size = "", "0"
    for line in block.splitlines():
        letter, separator, value = line.partition(":")
        if not separator or letter == "F":
            break  # an installed database goes on with the package's files
        if letter == "C":
            checksum = value
        elif letter == "S":
            file_size = value
        elif letter in lists:
            repeated[lists[letter]] = value.split()
        elif letter in by_letter:
            values[by_letter[letter]] = value
    if not file_size.isascii() or not file_size.isdigit():
        raise FormatError(
            subject,
            "package size is not a number",
            got=f"{file_size[:40]!a}",
            hint="get the index again; it is damaged",
        )
    return IndexRecord(
        checksum=checksum,
        info=_info_of(values, repeated, subject),
        file_size_bytes=int(file_size),
    )


def _info_of(values: dict[str, Any], repeated: Mapping[str, list[str]], subject: object) -> ApkInfo:
    for name in _NUMBERS:
        if name in values:
            text = str(values[name])
            if not (text.isascii() and text.isdigit()):
                raise FormatError(
                    subject,
                    f"{name} is not a number",
                    got=f"{text[:40]!a}",
                    hint="get the package again; it is damaged",
                )
            values[name] = int(text)
    for name in ("name", "version"):
        text = str(values.get(name, ""))
        # Both become part of a file name.
        if not text or "/" in text or text.startswith("."):
            raise FormatError(
                subject,
                f"package {name} is missing or strange",
                got=f"{text!a}",
                hint="get the package again from where it was published",
            )
    values.update({name: tuple(items) for name, items in repeated.items()})
    return ApkInfo(**values)


def _format_pkginfo(info: ApkInfo, entries: Sequence[ApkEntry], data_raw: bytes) -> bytes:
    size_bytes = sum(len(entry.data) for entry in entries)
    complete = replace(
        info, size_bytes=size_bytes, data_sha256=hashlib.sha256(data_raw).hexdigest()
    )
    lines = ["# Generated by bootsmith"]
    for keyword, _letter, name in _SINGLE:
        value = getattr(complete, name)
        if _is_said(name, value):
            lines.append(f"{keyword} = {_one_line(str(value))}")
    for keyword, _letter, name in _REPEATED:
        values = getattr(complete, name)
        if keyword in ("install_if", "triggers") and values:
            values = (" ".join(values),)
        lines += [f"{keyword} = {_one_line(value)}" for value in values]
    return ("\n".join(lines) + "\n").encode()


def format_record(record: IndexRecord) -> str:
    """The lines of an index record, without the empty one behind it."""
    lines = [f"C:{record.checksum}"]
    for _keyword, letter, name in _SINGLE:
        value = getattr(record.info, name)
        if letter and _is_said(name, value):
            lines.append(f"{letter}:{_one_line(str(value))}")
        if letter == "A":
            lines.append(f"S:{record.file_size_bytes}")
    for _keyword, letter, name in _REPEATED:
        values = getattr(record.info, name)
        if letter and values:
            lines.append(f"{letter}:{_one_line(' '.join(values))}")
    return "\n".join(lines) + "\n"


def _is_said(name: str, value: object) -> bool:
    # A build time of 0 means that nobody knows it; a size of 0 is a size.
    return value not in ("", None) and not (name == "build_epoch" and value == 0)


def _one_line(text: str) -> str:
    return " ".join(text.split())
