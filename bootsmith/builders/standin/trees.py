"""File trees of packages: what rules make of Debian packages and of our own files.

A tree maps clean relative names to entries; it knows no directory that nobody asked for
(`with_parents` adds them). Times are 0 and owners root throughout.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bootsmith.builders.standin.recipe import PackageRule
from bootsmith.errors import BuildError, RecipeError
from bootsmith.files.deb import read_deb_files
from bootsmith.formats.apk import ApkEntry
from bootsmith.formats.features import expand_globs

Tree = dict[str, ApkEntry]

SCRIPTS_DIRECTORY = ".scripts"
"""Directory of an own tree that holds maintainer scripts and is not packed."""

_LINK_STEPS_LIMIT = 40  # as the kernel's MAXSYMLINKS


def read_deb_tree(deb: Path) -> Tree:
    """All files of a Debian package; its hard links become files of their own."""
    tree: Tree = {}
    for member in read_deb_files(deb):
        if not member.name:
            continue
        kind, data = member.kind, member.data
        if kind == "hardlink":
            kind, data = "file", tree[member.target].data
        tree[member.name] = ApkEntry(
            name=member.name, kind=kind, mode=member.mode, data=data, target=member.target
        )
    return tree


def read_own_tree(directory: Path) -> Tree:
    """Our own files: 0755 if they begin with `#!`, else 0644, whatever the checkout says."""
    if not directory.is_dir():
        raise RecipeError(directory, "directory of own files is missing")
    tree: Tree = {}
    for parent, directories, files in os.walk(directory):
        if SCRIPTS_DIRECTORY in directories:
            directories.remove(SCRIPTS_DIRECTORY)
        for name in [*directories, *files]:
            path = Path(parent, name)
            entry = _own_entry(path, path.relative_to(directory).as_posix())
            tree[entry.name] = entry
    return tree


def build_package_tree(
    rule: PackageRule,
    *,
    deb_trees: Mapping[str, Tree],
    moves: Mapping[str, str],
    own_directory: Path,
    subject: str,
) -> Tree:
    """The tree of one package; `moves` apply to files of debs after the rule's own moves.

    `subject` locates the rule in errors. Raises RecipeError for a glob that matches nothing
    and for two debs with the same file.
    """
    tree: Tree = {}
    for name, entry in _taken_files(rule, deb_trees, subject).items():
        moved = _moved(_moved(name, rule.moves), moves)
        tree[moved] = replace(entry, name=moved)
    for target, globs in rule.joins.items():
        tree[_relative(target)] = ApkEntry(
            name=_relative(target), data=_join(globs, rule, deb_trees, subject)
        )
    for link, target in rule.links.items():
        name = _relative(link)
        tree[name] = ApkEntry(name=name, kind="symlink", mode=0o777, target=target)
    for text in rule.directories:
        mode, _, path = text.rpartition(" ")
        name = _relative(path)
        tree[name] = ApkEntry(name=name, kind="directory", mode=int(mode or "0755", 8))
    if rule.own:
        tree.update(read_own_tree(own_directory / rule.own))
    for path, mode in rule.modes.items():
        name = _relative(path)
        if name not in tree:
            raise RecipeError(f"{subject}: modes", f"no file {path}")
        tree[name] = replace(tree[name], mode=int(mode, 8))
    return tree


def with_parents(tree: Mapping[str, ApkEntry]) -> Tree:
    """The tree in order, parents first, every missing parent directory added as 0755."""
    complete = dict(tree)
    for name in tree:
        for parent in _parents(name):
            complete.setdefault(parent, ApkEntry(name=parent, kind="directory", mode=0o755))
    return {name: complete[name] for name in sorted(complete)}


def unite(trees: Mapping[str, Tree]) -> Tree:
    """All packages' trees as one, as if installed together.

    Raises BuildError if two packages have the same file, or a file of one lies below a
    link of another.
    """
    united: Tree = {}
    owners: dict[str, str] = {}
    for package, tree in trees.items():
        for name, entry in tree.items():
            other = united.get(name)
            if other and not (other.kind == entry.kind == "directory"):
                raise BuildError(f"package {package}", f"/{name} is also in package {owners[name]}")
            united[name], owners[name] = entry, package
    for name in united:
        for parent in _parents(name):
            if parent in united and united[parent].kind == "symlink":
                raise BuildError(
                    f"package {owners[name]}",
                    f"/{name} lies below /{parent}, a link of package {owners[parent]}",
                    hint=f"name it below the link's target, {united[parent].target}",
                )
    return united


def follow(tree: Mapping[str, ApkEntry], name: str) -> tuple[str, ...]:
    """The links that lead from `name` to a file, and that file; () if there is none.

    Absolute link targets are taken from the tree's root, as in a running system.
    """
    passed: list[str] = []
    parts = name.split("/")
    position = 1
    for _ in range(_LINK_STEPS_LIMIT + len(parts)):
        here = "/".join(parts[:position])
        entry = tree.get(here)
        if entry is not None and entry.kind == "symlink":
            passed.append(here)
            target = os.path.normpath(os.path.join("/", os.path.dirname(here), entry.target))
            parts = [*target.strip("/").split("/"), *parts[position:]]
            position = 1
        elif position < len(parts):
            position += 1
        else:
            return (*passed, here) if entry is not None else ()
    return ()


def _own_entry(path: Path, name: str) -> ApkEntry:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return ApkEntry(name=name, kind="symlink", mode=0o777, target=os.readlink(path))
    if stat.S_ISDIR(status.st_mode):
        return ApkEntry(name=name, kind="directory", mode=0o755)
    if not stat.S_ISREG(status.st_mode):
        raise RecipeError(path, "neither file, directory nor link")
    data = path.read_bytes()
    return ApkEntry(name=name, mode=0o755 if data.startswith(b"#!") else 0o644, data=data)


def _taken_files(rule: PackageRule, deb_trees: Mapping[str, Tree], subject: str) -> Tree:
    taken: Tree = {}
    origins: dict[str, str] = {}
    unmatched = set(map(_relative, rule.files))
    for deb in rule.debs:
        names = sorted(name for name, entry in deb_trees[deb].items() if entry.kind != "directory")
        for glob, found in expand_globs(map(_relative, rule.files), names).items():
            if found:
                unmatched.discard(glob)
            for name in found:
                if origins.setdefault(name, deb) != deb:
                    raise RecipeError(
                        f"{subject}: files", f"/{name} is in both {origins[name]} and {deb}"
                    )
                taken[name] = deb_trees[deb][name]
    if unmatched:
        raise RecipeError(
            f"{subject}: files",
            f"nothing matches /{min(unmatched)}",
            expected=f"a file of {', '.join(rule.debs) or 'some deb'}",
            hint="correct the glob, or name the deb that has the file now",
        )
    return taken


def _join(
    globs: Sequence[str], rule: PackageRule, deb_trees: Mapping[str, Tree], subject: str
) -> bytes:
    files: Tree = {}
    for deb in rule.debs:
        tree = deb_trees[deb]
        names = sorted(name for name, entry in tree.items() if entry.kind == "file")
        for found in expand_globs(map(_relative, globs), names).values():
            files.update({name: tree[name] for name in found})
    if not files:
        raise RecipeError(f"{subject}: joins", f"nothing matches {', '.join(globs)}")
    return b"".join(files[name].data.rstrip(b"\n") + b"\n" for name in sorted(files))


def _moved(name: str, moves: Mapping[str, str]) -> str:
    for source in sorted(moves, key=len, reverse=True):
        prefix = _relative(source)
        if name == prefix or name.startswith(prefix + "/"):
            return _relative(moves[source]) + name[len(prefix) :]
    return name


def _relative(path: str) -> str:
    return path.strip("/")


def _parents(name: str) -> Iterable[str]:
    position = name.find("/")
    while position != -1:
        yield name[:position]
        position = name.find("/", position + 1)
