"""The stand-in's package repository: signed v2 packages and their index."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootsmith.builders.standin.recipe import PackageRule, StandinData
from bootsmith.builders.standin.trees import (
    SCRIPTS_DIRECTORY,
    Tree,
    build_package_tree,
    follow,
    read_deb_tree,
    unite,
    with_parents,
)
from bootsmith.errors import BuildError, RecipeError
from bootsmith.files.deb import read_deb_control
from bootsmith.formats.apk import (
    SCRIPT_NAMES,
    ApkEntry,
    ApkInfo,
    index_record,
    read_apk,
    write_apk,
    write_index,
)
from bootsmith.formats.elf import is_elf, linked_libraries
from bootsmith.formats.signing_key import SigningKey, derive_signing_key

ARCH = "x86_64"
KEY_NAME = "bootsmith-standin.rsa.pub"

# Public on purpose. The key signs a repository that is made from scratch on each machine
# and must come out the same on all of them; it protects nothing, and no real system trusts
# it. What is downloaded is protected by apt's own signatures and by the lock.
_KEY_SEED = "bootsmith stand-in repository; this key is derived from a public text"

_OWN_VERSION = "1-r0"
_LIBRARY_DIRECTORIES = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib",
    "usr/lib64",
    "lib/x86_64-linux-gnu",
    "lib",
    "lib64",
)


@dataclass(frozen=True, kw_only=True)
class BuiltPackage:
    """One package file of the repository."""

    name: str
    version: str
    file_name: str
    content: bytes
    tree: Tree


@dataclass(frozen=True, kw_only=True)
class Repository:
    """All packages, the signed index, and the key that signed both."""

    packages: tuple[BuiltPackage, ...]
    index: bytes
    key: SigningKey

    def installed_tree(self) -> Tree:
        """What a system with every package installed would have."""
        return unite({package.name: package.tree for package in self.packages})


def build_repository(
    data: StandinData, *, debs: Mapping[str, Path], description: str
) -> Repository:
    """Make every package of the recipe from the downloaded `debs`, and the index.

    Raises RecipeError for rules that fit nothing, BuildError for packages that would not
    work together: the same file twice, a library that nothing in reach provides.
    """
    key = derive_signing_key(name=KEY_NAME, seed=_KEY_SEED)
    needed = sorted({deb for rule in data.packages for deb in rule.debs})
    deb_trees = {name: read_deb_tree(debs[name]) for name in needed}
    trees = {rule.name: _tree_of(rule, data, deb_trees, key) for rule in data.packages}
    unite(trees)  # refuses what could not be installed together
    check_libraries(data.packages, trees)
    built = tuple(_built(rule, trees[rule.name], data, debs, key) for rule in data.packages)
    records = [
        index_record(read_apk(package.content), file_size_bytes=len(package.content))
        for package in built
    ]
    index = write_index(description=description, records=records, key=key)
    return Repository(packages=built, index=index, key=key)


def check_libraries(rules: Sequence[PackageRule], trees: Mapping[str, Tree]) -> None:
    """BuildError if a program of some package links to what its dependencies do not bring."""
    providers = _providers(rules)
    by_name = {rule.name: rule for rule in rules}
    libraries = {name: library_names(tree) for name, tree in trees.items()}
    for rule in rules:
        reach = _closure(rule.name, by_name, providers)
        available = set().union(*(libraries[name] for name in reach))
        for name, entry in trees[rule.name].items():
            if not (entry.kind == "file" and is_elf(entry.data)):
                continue
            for wanted in linked_libraries(entry.data, subject=f"{rule.name}: /{name}"):
                library = wanted.rpartition("/")[2]
                if library not in available:
                    owner = sorted(other for other in trees if library in libraries[other])
                    raise BuildError(
                        f"package {rule.name}",
                        f"/{name} links to {library}, which no package it depends on has",
                        hint=f"add {owner[0]} to its depends"
                        if owner
                        else "add a package that has it",
                    )


def library_names(tree: Tree) -> set[str]:
    """File names, links included, that the dynamic linker finds in its own directories."""
    return {
        name.rpartition("/")[2]
        for name, entry in tree.items()
        if entry.kind != "directory" and name.rpartition("/")[0] in _LIBRARY_DIRECTORIES
    }


def find_library(tree: Tree, wanted: str) -> tuple[str, ...]:
    """The names through which `wanted` (a path or a library's name) is reached; () if not."""
    if "/" in wanted:
        return follow(tree, wanted.strip("/"))
    for directory in _LIBRARY_DIRECTORIES:
        found = follow(tree, f"{directory}/{wanted}")
        if found:
            return found
    return ()


def apk_version(deb_version: str) -> str:
    """A Debian version as one that apk accepts: its leading numbers, revision 0.

    `1:1.35.0-4+deb12u1+b1` becomes `1.35.0-r0` (apk-package(5): digits, dots, a letter).
    """
    upstream = deb_version.partition(":")[2] or deb_version
    match = re.match(r"\d+(\.\d+)*([a-z](?![a-z]))?", upstream)
    if match is None:
        raise RecipeError(
            f"version {deb_version}",
            "cannot be written as an apk version",
            hint="give the package a version of its own in packages.toml",
        )
    return f"{match[0]}-r0"


def _tree_of(
    rule: PackageRule, data: StandinData, deb_trees: Mapping[str, Tree], key: SigningKey
) -> Tree:
    tree = build_package_tree(
        rule,
        deb_trees=deb_trees,
        moves=data.moves,
        own_directory=data.directory / "packages",
        subject=f"packages.toml: {rule.name}",
    )
    if rule.keys:
        name = f"etc/apk/keys/{key.name}"
        tree[name] = ApkEntry(name=name, data=key.public_pem())
    return with_parents(tree)


def _built(
    rule: PackageRule, tree: Tree, data: StandinData, debs: Mapping[str, Path], key: SigningKey
) -> BuiltPackage:
    version, build_epoch = rule.version or _OWN_VERSION, 0
    if rule.debs:
        control = read_deb_control(debs[rule.debs[0]])
        version = rule.version or apk_version(control.fields["Version"])
        build_epoch = control.newest_epoch
    info = ApkInfo(
        name=rule.name,
        version=version,
        summary=rule.summary,
        arch=ARCH,
        origin=rule.name,
        packager="bootsmith stand-in",
        build_epoch=build_epoch,
        depends=rule.depends,
        provides=rule.provides,
        replaces=rule.replaces,
        install_if=rule.install_if,
        triggers=rule.triggers,
    )
    scripts = {name: _script(rule, name, data) for name in rule.scripts}
    return BuiltPackage(
        name=rule.name,
        version=version,
        file_name=f"{rule.name}-{version}.apk",
        content=write_apk(info=info, entries=list(tree.values()), scripts=scripts, key=key),
        tree=tree,
    )


def _script(rule: PackageRule, name: str, data: StandinData) -> str:
    subject = f"packages.toml: {rule.name}: scripts"
    if name not in SCRIPT_NAMES:
        raise RecipeError(subject, f"no script {name!r}", expected=", ".join(SCRIPT_NAMES))
    text = rule.scripts[name]
    if not text.startswith("@"):
        return text
    path = data.directory / "packages" / rule.own / SCRIPTS_DIRECTORY / text[1:]
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise RecipeError(subject, f"no file {path}") from None


def _providers(rules: Sequence[PackageRule]) -> dict[str, str]:
    providers = {rule.name: rule.name for rule in rules}
    for rule in rules:
        for provided in rule.provides:
            providers.setdefault(provided.partition("=")[0], rule.name)
    return providers


def _closure(
    name: str, by_name: Mapping[str, PackageRule], providers: Mapping[str, str]
) -> set[str]:
    reach = {name}
    queue = [name]
    while queue:
        for dependency in by_name[queue.pop()].depends:
            provider = providers[re.split(r"[<>=~]", dependency)[0]]
            if provider not in reach:
                reach.add(provider)
                queue.append(provider)
    return reach
