"""Modules and firmware from where a site keeps them: a directory, an archive, one module.

    x.ko, x.ko.gz, x.ko.xz, x.ko.zst        one module
    x.apk                                   a package that holds some
    anything else that is a file            an archive, in any format libarchive knows
    a directory                             a tree

In trees and archives things lie as on a machine (`lib/modules/<kernel release>/…`,
`lib/firmware/…`, both also below `usr/`), as in a modloop (`modules/…`), or bare
(`kernel/…`, `extra/…`, `updates/…`, `firmware/…`). Indexes of depmod and the links `build`
and `source` do not count: they are made anew, or lead to what machines do not have.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bootsmith.errors import BuildError, SourceError
from bootsmith.files.archive import read_archive
from bootsmith.formats.apk import read_apk
from bootsmith.formats.kernel_modules import COMPRESSED_SUFFIXES

MODULE_SUFFIXES = (".ko", *(f".ko{suffix}" for suffix in COMPRESSED_SUFFIXES))

_BARE_TOPS = ("kernel", "extra", "updates")
_LIMIT_BYTES = 2 << 30
_LAYOUTS_HINT = (
    "lay it out as lib/modules/<kernel release>/… and lib/firmware/…, or as kernel/…, extra/…, "
    "updates/… and firmware/…"
)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file or link: `name` is below the kernel's directory, or below firmware's.

    A module that came alone has no directory in its name: its place is found by it.
    """

    name: str
    content: bytes = b""
    target: str | None = None


@dataclass(kw_only=True)
class ModuleSource:
    """What one source has for one kernel; `other_kernels` are those it also has, or only."""

    path: Path
    modules: list[SourceFile] = field(default_factory=list)
    firmware: list[SourceFile] = field(default_factory=list)
    other_kernels: set[str] = field(default_factory=set)
    ignored: list[str] = field(default_factory=list)


def read_module_source(path: Path, *, kernel_release: str) -> ModuleSource:
    """What `path` has for `kernel_release`.

    Raises SourceError if it cannot be read, FormatError for a hostile or damaged archive,
    BuildError if it has nothing for this kernel, or a file with no place in a modloop.
    """
    source = ModuleSource(path=path)
    is_tree = path.is_dir()
    try:
        for one in _files(path, is_tree=is_tree):
            _sort_in(source, one, kernel_release, is_tree=is_tree)
    except OSError as error:
        raise SourceError(
            error.filename or path,
            f"cannot be read ({error.strerror})",
            hint="correct add in the [modloop] table of the release recipe",
        ) from None
    if not source.modules and not source.firmware:
        others = ", ".join(sorted(source.other_kernels))
        raise BuildError(
            path,
            "is for another kernel" if others else "holds no modules and no firmware",
            expected=f"modules for {kernel_release}",
            got=others or None,
            hint="use a build for this kernel" if others else _LAYOUTS_HINT,
        )
    return source


def _files(path: Path, *, is_tree: bool) -> Iterator[SourceFile]:
    if is_tree:
        yield from _bounded(_tree_files(path, ""), path)
    elif path.name.endswith(MODULE_SUFFIXES):
        yield SourceFile(name=path.name, content=path.read_bytes())
    elif path.name.endswith(".apk"):
        yield from _resolved(read_apk(path.read_bytes(), subject=str(path)).entries)
    else:
        path.stat()  # whoever reads archives has no words for one that is not there
        yield from _resolved(read_archive(path))


def _resolved(members: Iterable) -> Iterator[SourceFile]:
    """Files and links of an archive; a hard link is a file like the one it names."""
    contents: dict[str, bytes] = {}
    for member in members:
        if member.kind == "symlink":
            yield SourceFile(name=member.name, target=member.target)
        elif member.kind != "directory":
            data = contents.get(member.target, b"") if member.kind == "hardlink" else member.data
            contents[member.name] = data
            yield SourceFile(name=member.name, content=data)


def _tree_files(root: Path, below: str) -> Iterator[SourceFile]:
    for name in sorted(os.listdir(root / below)):
        path = f"{below}{name}"
        if os.path.islink(root / path):
            yield SourceFile(name=path, target=os.readlink(root / path))
        elif os.path.isdir(root / path):
            yield from _tree_files(root, f"{path}/")
        elif os.path.isfile(root / path):
            yield SourceFile(name=path, content=(root / path).read_bytes())
        else:
            raise BuildError(
                root / path,
                "is neither a file nor a directory nor a link",
                hint="take it out of the tree",
            )


def _bounded(files: Iterable[SourceFile], path: Path) -> Iterator[SourceFile]:
    total_bytes = 0
    for one in files:
        total_bytes += len(one.content)
        if total_bytes > _LIMIT_BYTES:
            raise BuildError(
                path,
                f"holds more than {_LIMIT_BYTES} bytes",
                hint="name the directories that hold modules and firmware, not one above them",
            )
        yield one


def _sort_in(source: ModuleSource, one: SourceFile, kernel_release: str, *, is_tree: bool) -> None:
    kernel, name = _place(one.name)
    if kernel == "firmware":
        source.firmware.append(SourceFile(name=name, content=one.content, target=one.target))
    elif kernel is not None and name.endswith(MODULE_SUFFIXES):
        if kernel not in ("", kernel_release):
            source.other_kernels.add(kernel)
        elif one.target is not None:
            raise BuildError(
                source.path,
                f"{one.name} is a link",
                expected="a module",
                hint="put the module itself there",
            )
        else:
            source.modules.append(SourceFile(name=name, content=one.content))
    elif kernel is not None and _is_made_anew(name):
        return
    elif kernel is None and is_tree:
        raise BuildError(source.path, f"{one.name} has no place in a modloop", hint=_LAYOUTS_HINT)
    else:
        source.ignored.append(one.name)


def _is_made_anew(name: str) -> bool:
    return name.startswith("modules.") or name in ("build", "source")


def _place(name: str) -> tuple[str | None, str]:
    """(kernel release, "firmware", "" for any kernel or None for no place; name below it)."""
    if "/" not in name:
        return ("", name) if name.endswith(MODULE_SUFFIXES) else (None, name)
    name = name.removeprefix("usr/")
    bare = name.removeprefix("lib/")
    top, _, rest = bare.partition("/")
    if top == "modules":
        top, _, rest = rest.partition("/")
        if not rest:
            return None, name
        return top, rest
    if top == "firmware":
        return top, rest
    if top in _BARE_TOPS and bare == name:
        return "", name
    return None, name
