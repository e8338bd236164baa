"""Debian packages read in place: an ar archive of `control.tar.*` and `data.tar.*` (deb(5))."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import FormatError
from bootsmith.files.archive import ArchiveMember, Limits, read_archive

# linux-image unpacks to 0.5 GB; the outer archive holds compressed parts only.
_LIMITS = Limits(members=100_000, member_bytes=512 << 20, total_bytes=3 << 30)


@dataclass(frozen=True, kw_only=True)
class DebControl:
    """The fields of a package's control file; `newest_epoch` is its newest member's time."""

    fields: dict[str, str]
    newest_epoch: int


def read_deb_control(deb: Path) -> DebControl:
    """What the package says of itself. Raises FormatError."""
    newest_epoch = 0
    fields: dict[str, str] = {}
    for member in read_archive(
        _part(deb, "control.tar"), subject=f"{deb}: control", limits=_LIMITS
    ):
        newest_epoch = max(newest_epoch, member.mtime_epoch)
        if member.name == "control":
            fields = parse_stanza(member.data.decode("utf-8", "replace"))
    if "Package" not in fields:
        raise FormatError(deb, "no control file in it", hint="fetch the package again")
    return DebControl(fields=fields, newest_epoch=newest_epoch)


def read_deb_files(
    deb: Path, *, wanted: Callable[[str], bool] = lambda _name: True
) -> Iterator[ArchiveMember]:
    """The files that the package would install; names are relative. Raises FormatError."""
    yield from read_archive(
        _part(deb, "data.tar"), subject=f"{deb}: data", wanted=wanted, limits=_LIMITS
    )


def parse_stanza(text: str) -> dict[str, str]:
    """One paragraph of Debian control data; continuation lines are dropped (deb822(5))."""
    fields = {}
    for line in text.splitlines():
        name, separator, value = line.partition(":")
        if separator and not line.startswith((" ", "\t")):
            fields[name] = value.strip()
    return fields


def _part(deb: Path, prefix: str) -> bytes:
    def wanted(name: str) -> bool:
        return name.startswith(prefix)

    for member in read_archive(deb, wanted=wanted, limits=_LIMITS):
        if wanted(member.name):
            return member.data
    raise FormatError(
        deb, f"no {prefix} in it", expected="a Debian package", hint="fetch the package again"
    )
