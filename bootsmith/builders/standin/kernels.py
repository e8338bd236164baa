"""Kernels and modloops of the stand-in, from Debian's kernel packages.

mksquashfs and depmod read directories, so this is the one place with a tree of files in
scratch: exactly what becomes the modloop, written once, never copied.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bootsmith.builders.standin.recipe import FlavorRule
from bootsmith.errors import BuildError, RecipeError
from bootsmith.files.deb import read_deb_control, read_deb_files
from bootsmith.formats.elf import read_modinfo
from bootsmith.formats.features import expand_globs
from bootsmith.formats.kernel_modules import BUILD_TEXTS, INDEX_TEXTS, module_name
from bootsmith.tools.depmod import index_modules
from bootsmith.tools.mksquashfs import make_squashfs

_MODULE_SUFFIX = ".ko"


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One flavor's kernel, unpacked: `modules` is the directory `lib/modules/<release>`."""

    release: str
    image: bytes
    config: bytes
    system_map: bytes
    modules: Path
    kept: tuple[str, ...]
    """Paths of all modules below `modules`, sorted."""
    dropped_count: int
    package: str

    def index_texts(self) -> dict[str, bytes]:
        """Depmod's texts and those of the kernel's build, by name, as far as they exist."""
        paths = {name: self.modules / name for name in (*INDEX_TEXTS, *BUILD_TEXTS)}
        return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def kernel_package_of(metapackage: Path) -> str:
    """The image package that a kernel's metapackage depends on."""
    control = read_deb_control(metapackage)
    match = re.search(r"linux-image-[0-9][a-z0-9.+-]*", control.fields.get("Depends", ""))
    if match is None:
        raise BuildError(metapackage, "does not depend on a kernel image")
    return match[0]


def unpack_kernel(deb: Path, rule: FlavorRule, scratch: Path) -> Kernel:
    """Unpack a kernel package below `scratch`, leave out what the rule drops, run depmod.

    Raises RecipeError for drop and keep globs that match nothing, BuildError for a package
    that is not a kernel.
    """
    boot: dict[str, bytes] = {}
    needs: dict[str, tuple[str, ...]] = {}
    release = ""
    for member in read_deb_files(deb, wanted=_is_kernel_file):
        if not member.data:
            continue
        if match := re.fullmatch(r"boot/(vmlinuz|config|System\.map)-(.+)", member.name):
            boot[match[1]], release = member.data, match[2]
            continue
        path = scratch / member.name.removeprefix("usr/")
        _write(path, member.data)
        if path.suffix == _MODULE_SUFFIX:
            name = "/".join(member.name.removeprefix("usr/").split("/")[3:])
            needs[name] = _dependencies(member.data, name)
    modules = scratch / "lib/modules" / release
    if set(boot) != {"vmlinuz", "config", "System.map"} or not needs or not modules.is_dir():
        raise BuildError(
            deb,
            "not a kernel package with plain modules",
            expected="boot/vmlinuz, config, System.map and lib/modules/<release>/**/*.ko",
        )
    kept = choose_modules(needs, rule)
    for name in needs.keys() - kept:
        (modules / name).unlink()
    _remove_empty_directories(modules)
    index_modules(scratch, release)
    return Kernel(
        release=release,
        image=boot["vmlinuz"],
        config=boot["config"],
        system_map=boot["System.map"],
        modules=modules,
        kept=tuple(sorted(kept)),
        dropped_count=len(needs) - len(kept),
        package=deb.name,
    )


def choose_modules(needs: Mapping[str, tuple[str, ...]], rule: FlavorRule) -> set[str]:
    """The module paths that stay: what is not dropped, and all that those depend on.

    `needs` maps each path to the names of the modules it needs directly.
    """
    names = sorted(needs)
    dropped = _matches("drop", rule.drop, names) - _matches("keep", rule.keep, names)
    path_by_name = {module_name(path): path for path in names}
    kept = set(names) - dropped
    queue = list(kept)
    while queue:
        for need in needs[queue.pop()]:
            path = path_by_name.get(need)
            if path is not None and path not in kept:
                kept.add(path)
                queue.append(path)
    return kept


def build_modloop(kernel: Kernel, output: Path) -> None:
    """The squashfs whose root holds `modules/`; no firmware, since none is downloaded."""
    make_squashfs(kernel.modules.parents[1], output)


def _is_kernel_file(name: str) -> bool:
    name = name.removeprefix("usr/")
    if name.startswith("lib/modules/"):
        return name.endswith(_MODULE_SUFFIX) or name.rpartition("/")[2] in BUILD_TEXTS
    return name.startswith(("boot/vmlinuz-", "boot/config-", "boot/System.map-"))


def _dependencies(module: bytes, name: str) -> tuple[str, ...]:
    for key, value in read_modinfo(module, subject=name):
        if key == "depends":
            return tuple(need.replace("-", "_") for need in value.split(",") if need)
    return ()


def _matches(what: str, globs: Iterable[str], names: list[str]) -> set[str]:
    found: set[str] = set()
    for glob, paths in expand_globs(globs, names).items():
        if not paths:
            raise RecipeError(
                f"medium.toml: {what}",
                f"no module matches {glob}",
                hint="take it out, or correct it for this kernel",
            )
        found.update(paths)
    return found


def _write(path: Path, content: bytes) -> None:
    # Modes are given here, whatever the umask: the squashfs keeps them.
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)
    path.write_bytes(content)
    path.chmod(0o644)


def _remove_empty_directories(top: Path) -> None:
    for directory, _directories, _files in os.walk(top, topdown=False):
        if not os.listdir(directory):
            os.rmdir(directory)
