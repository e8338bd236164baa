"""installer: the kernel, initramfs and files of another system's installer, as they are published.

They are taken from files of this machine, or out of a Debian package that is not installed.
The kernel is looked at, for a machine that gets something else says nothing at all.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bootsmith.errors import FormatError, SourceError
from bootsmith.files.archive import ArchiveMember
from bootsmith.files.atomic import replacing_file, write_file
from bootsmith.files.deb import read_deb_files
from bootsmith.files.digest import sha256_of
from bootsmith.files.extents import copy_range
from bootsmith.formats.bzimage import HEAD_BYTES, read_bzimage
from bootsmith.formats.compression import detect_compression
from bootsmith.formats.installer import (
    MOST_TEXT_BYTES,
    InstallerFile,
    installer_entries,
    installer_values,
    published_text,
)
from bootsmith.formats.netboot_index import write_netboot_index
from bootsmith.formats.netboot_network import Network

_HEAD_BYTES = 8


def build_installer(
    *,
    name: str,
    kernel: Path | str,
    initrd: Path | str,
    package: Path | None,
    files: Sequence[Path],
    network: Mapping[str, Any],
    kernel_output: Path,
    initrd_output: Path,
    file_outputs: Sequence[Path],
    build: Path,
    index: Path,
) -> None:
    """Copy everything to the outputs, and say in `index` what of it is published where.

    Outputs are called as they are published, and lie below `build`.
    With `package`, a Debian package, `kernel` and `initrd` are absolute names of files that it
    would install. Raises SourceError for what is not there, FormatError for what is no kernel or
    no initramfs.
    """
    if package is None:
        _copy(Path(kernel), kernel_output)
        _copy(Path(initrd), initrd_output)
    else:
        _unpack(package, ((str(kernel), kernel_output), (str(initrd), initrd_output)))
    _check_kernel(kernel_output, kernel)
    _check_initrd(initrd_output, initrd)
    for source, output in zip(files, file_outputs, strict=True):
        _copy(source, output)
    values = installer_values(name, Network(**network))
    published = [
        InstallerFile(
            name=output.name,
            made_at=output.relative_to(build).as_posix(),
            sha256=sha256_of(output),
            size_bytes=output.stat().st_size,
            text=_text(output, values) if output in file_outputs else None,
        )
        for output in (kernel_output, initrd_output, *file_outputs)
    ]
    write_file(index, write_netboot_index(installer_entries(name, published)))


def _text(output: Path, values: Mapping[str, str]) -> str | None:
    with open(output, "rb") as content:
        return published_text(content.read(MOST_TEXT_BYTES + 1), values)


def _copy(source: Path, output: Path) -> None:
    """A copy that shares its blocks with the source where the file system can do that."""
    with (
        open(source, "rb") as content,
        replacing_file(output) as partial,
        open(partial, "r+b") as copied,
    ):
        size_bytes = os.fstat(content.fileno()).st_size
        copy_range(content.fileno(), 0, copied.fileno(), 0, size_bytes)


def _unpack(package: Path, wanted: Sequence[tuple[str, Path]]) -> None:
    """Write each file of the package that is asked for by its absolute name."""
    asked = {name for name, _ in wanted}
    found: dict[str, ArchiveMember] = {}
    names = []
    for member in read_deb_files(package, wanted=lambda name: f"/{name}" in asked):
        names.append(f"/{member.name}")
        if names[-1] in asked:
            found[names[-1]] = member
    for name, output in wanted:
        if name not in found:
            close = difflib.get_close_matches(name, names, n=1)
            raise SourceError(
                package,
                f"there is no {name} in it",
                hint=f"the nearest is {close[0]}"
                if close
                else f"see: dpkg-deb --contents {package}",
            )
        _check_kind(package, name, found[name])
        write_file(output, found[name].data)


def _check_kind(package: Path, name: str, member: ArchiveMember) -> None:
    if member.kind != "file":
        raise SourceError(
            package,
            f"{name} in it is a {member.kind}",
            expected="a regular file",
            hint=f"name the file that it stands for: {member.target}"
            if member.target
            else "name a file below it",
        )


def _check_kernel(output: Path, source: Path | str) -> None:
    with open(output, "rb") as content:
        head = content.read(HEAD_BYTES)
    with _named_key("kernel"):
        read_bzimage(head, file_size_bytes=output.stat().st_size, subject=str(source))


def _check_initrd(output: Path, source: Path | str) -> None:
    with open(output, "rb") as content:
        head = content.read(_HEAD_BYTES)
    with _named_key("initrd"):
        detect_compression(head, subject=str(source))


@contextmanager
def _named_key(key: str) -> Iterator[None]:
    """Errors of what a recipe's `key` names say so."""
    try:
        yield
    except FormatError as error:
        raise FormatError(
            error.subject,
            error.problem,
            expected=error.expected,
            got=error.got,
            hint=f"correct {key} in the installer's recipe, or get the file again",
        ) from error
