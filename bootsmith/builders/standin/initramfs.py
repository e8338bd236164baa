"""The stock initramfs of the stand-in, in the shape of Alpine's from 3.23 on.

`bin`, `sbin`, `lib` and `lib64` are links into `usr`, modules lie in `usr/lib/modules`,
programs bring the libraries they link to, module indexes cover exactly what is there.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable

from bootsmith.builders.standin.kernels import Kernel
from bootsmith.builders.standin.recipe import InitramfsRule, StandinData
from bootsmith.builders.standin.repository import find_library
from bootsmith.builders.standin.trees import Tree, follow, read_own_tree, with_parents
from bootsmith.errors import BuildError, RecipeError
from bootsmith.formats.apk import ApkEntry
from bootsmith.formats.compression import compress_segment
from bootsmith.formats.cpio import CpioEntry, write_cpio
from bootsmith.formats.elf import is_elf, linked_libraries
from bootsmith.formats.features import Feature, expand_globs, read_feature
from bootsmith.formats.kernel_modules import (
    ModuleClosure,
    close_over,
    filter_indexes,
    read_module_catalog,
)
from bootsmith.formats.kmod_index import write_binary_indexes
from bootsmith.formats.signing_key import SigningKey

_GZIP_LEVEL = 9
_FILE_TYPES = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}


def build_initramfs(
    data: StandinData,
    *,
    installed: Tree,
    kernel: Kernel,
    modloop_name: str,
    modloop_signature: bytes,
    key: SigningKey,
) -> bytes:
    """The gzip'ed newc archive for one kernel.

    `installed` is what a system with every package would have: files come from there.
    Raises RecipeError for features that do not exist and files that nothing has.
    """
    features = [_read_feature(data, name) for name in data.initramfs.features]
    tree = _base_tree(data, features, installed)
    tree.update(module_tree(kernel, features))
    for name, content in (
        (f"etc/apk/keys/{key.name}", key.public_pem()),
        (f"var/cache/misc/{modloop_name}.SIGN.RSA.{key.name}", modloop_signature),
    ):
        tree[name] = ApkEntry(name=name, data=content)
    archive = write_cpio(_cpio_entry(entry) for entry in with_parents(tree).values())
    return bytes(compress_segment(archive, "gzip", _GZIP_LEVEL))


def choose_initramfs_modules(kernel: Kernel, features: Iterable[Feature]) -> ModuleClosure:
    """The modules that the features' globs pick, with all that those need."""
    picked: set[str] = set()
    for feature in features:
        for found in expand_globs(feature.modules, kernel.kept).values():
            picked.update(found)
    catalog = read_module_catalog(kernel.index_texts(), subject=kernel.package)
    return close_over(catalog, sorted(picked))


def module_tree(kernel: Kernel, features: Iterable[Feature]) -> Tree:
    """Modules and indexes below `usr/lib/modules/<release>`."""
    closure = choose_initramfs_modules(kernel, features)
    contents = {path: (kernel.modules / path).read_bytes() for path in closure.paths}
    texts = filter_indexes(kernel.index_texts(), {path: path for path in closure.paths})
    contents.update(texts)
    contents.update(write_binary_indexes(texts))
    top = f"usr/lib/modules/{kernel.release}"
    return {
        f"{top}/{path}": ApkEntry(name=f"{top}/{path}", data=content)
        for path, content in contents.items()
    }


def _read_feature(data: StandinData, name: str) -> Feature:
    paths = [data.directory / "features.d" / f"{name}.{part}" for part in ("modules", "files")]
    texts = [path.read_bytes() if path.exists() else None for path in paths]
    if texts == [None, None]:
        raise RecipeError(
            "initramfs.toml: features",
            f"no feature {name!r}",
            expected=f"{paths[0].name} or {paths[1].name} in {paths[0].parent}",
        )
    return read_feature(name, modules=texts[0], files=texts[1])


def _base_tree(data: StandinData, features: Iterable[Feature], installed: Tree) -> Tree:
    """Everything but modules: links into usr, chosen files with their libraries, our own."""
    rule = data.initramfs
    tree: Tree = {}
    for source, target in data.moves.items():
        name = source.strip("/")
        tree[name] = ApkEntry(name=name, kind="symlink", mode=0o777, target=target.strip("/"))
    chosen = _chosen_names(rule, features, installed)
    for name in _with_libraries(chosen, installed):
        tree[name] = installed[name]
    for link, target in rule.links.items():
        name = link.strip("/")
        tree[name] = ApkEntry(name=name, kind="symlink", mode=0o777, target=target)
    for path in rule.directories:
        name = path.strip("/")
        tree[name] = ApkEntry(name=name, kind="directory", mode=0o755)
    tree.update(read_own_tree(data.directory / rule.own))
    if tree.get("init", ApkEntry(name="init")).mode & 0o111 == 0:
        raise RecipeError("initramfs.toml", "no executable /init among its own files")
    return tree


def _chosen_names(rule: InitramfsRule, features: Iterable[Feature], installed: Tree) -> list[str]:
    names = sorted(name for name, entry in installed.items() if entry.kind != "directory")
    chosen: set[str] = set()
    for feature in features:
        # A glob of a feature that matches nothing is no error, as in mkinitfs.
        for found in expand_globs(feature.files, names).values():
            chosen.update(found)
    globs = [glob.strip("/") for glob in rule.files]
    for glob, found in expand_globs(globs, names).items():
        if not found:
            raise RecipeError("initramfs.toml: files", f"no package has /{glob}")
        chosen.update(found)
    return sorted(chosen)


def _with_libraries(chosen: Iterable[str], installed: Tree) -> set[str]:
    """`chosen` with what its links point to and what its programs link to, all the way."""
    kept: set[str] = set()
    queue = list(chosen)
    while queue:
        name = queue.pop()
        steps = [step for step in follow(installed, name) if _is_below_usr(step)]
        for step in steps:
            if step in kept:
                continue
            kept.add(step)
            entry = installed[step]
            if entry.kind != "file" or not is_elf(entry.data):
                continue
            for wanted in linked_libraries(entry.data, subject=f"/{step}"):
                found = find_library(installed, wanted)
                if not found:
                    raise BuildError(f"initramfs: /{step}", f"no package has its {wanted}")
                queue += found
    return kept


def _is_below_usr(name: str) -> bool:
    # /lib64/x is reached through the link lib64, which the tree has anyway.
    return "/" in name


def _cpio_entry(entry: ApkEntry) -> CpioEntry:
    data = entry.data
    if entry.kind == "symlink":
        data = entry.target.encode("utf-8", "surrogateescape")
    return CpioEntry(name=entry.name, mode=_FILE_TYPES[entry.kind] | entry.mode, data=data)
