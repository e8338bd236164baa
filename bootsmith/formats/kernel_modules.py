"""depmod's text indexes: who depends on whom, what a subset of modules needs beside it.

Facts: depmod(8), modules.dep(5), modprobe.d(5) and kmod's libkmod-module.c for the order
of look-ups. Paths are relative to the kernel's module directory (`kernel/fs/fat/fat.ko`);
module names have `_` where file names may have `-`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from bootsmith.errors import FormatError

INDEX_TEXTS = (
    "modules.dep",
    "modules.alias",
    "modules.symbols",
    "modules.softdep",
    "modules.weakdep",
    "modules.devname",
)
"""What depmod writes as text from the modules themselves."""

BUILD_TEXTS = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
"""What the kernel's build leaves beside the modules; depmod reads them."""

COMPRESSED_SUFFIXES = (".gz", ".xz", ".zst")


def module_name(path: str) -> str:
    """The name the kernel knows a module file by: no directory, no suffix, `_` for `-`."""
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def plain_module_path(path: str) -> str:
    """The path the module has once it is no longer compressed (`x.ko.gz` -> `x.ko`)."""
    for suffix in COMPRESSED_SUFFIXES:
        if path.endswith(".ko" + suffix):
            return path[: -len(suffix)]
    return path


@dataclass(frozen=True, kw_only=True)
class ModuleCatalog:
    """All modules of one kernel.

    `dependencies` maps each path to all paths it needs (depmod lists them transitively),
    in depmod's order; `softdeps` maps a module name to the names or aliases it would like.
    """

    dependencies: Mapping[str, tuple[str, ...]]
    softdeps: Mapping[str, tuple[str, ...]]
    path_by_name: Mapping[str, str]
    builtin_names: frozenset[str]
    alias_text: bytes
    builtin_modinfo: bytes

    @cached_property
    def path_by_plain(self) -> Mapping[str, str]:
        """Each path by what it is once no longer compressed, sorted by that."""
        paths = {plain_module_path(path): path for path in self.dependencies}
        return {plain: paths[plain] for plain in sorted(paths)}

    def aliases_like(self, name: str) -> Aliases:
        """Those of modules that may match `name`: they are many, and few are ever asked for."""
        letter = name[:1]
        if letter not in self._aliases_by_letter:
            letters = (*({"_": "_-"}.get(letter, letter)), *_WILDCARDS)
            starts = tuple(f"alias {one}" for one in letters)
            some = (line for line in self._alias_lines if line.startswith(starts))
            self._aliases_by_letter[letter] = Aliases(map(_read_alias, some))
        return self._aliases_by_letter[letter]

    @cached_property
    def _aliases_by_letter(self) -> dict[str, Aliases]:
        return {}

    @cached_property
    def _alias_lines(self) -> list[str]:
        return _lines(self.alias_text)

    @cached_property
    def builtin_aliases(self) -> Aliases:
        """Those of what is built in."""
        pairs = builtin_aliases(self.builtin_modinfo)
        return Aliases((alias, name) for name, alias in pairs)


@dataclass(frozen=True, kw_only=True)
class ModuleClosure:
    """What a choice of modules amounts to; all paths in depmod's order.

    `by_dependency` and `by_softdep` name what came along and who asked first;
    `unresolved` are (module, softdep) that this kernel has neither built in nor as module.
    """

    paths: tuple[str, ...]
    by_dependency: Mapping[str, str]
    by_softdep: Mapping[str, str]
    unresolved: tuple[tuple[str, str], ...]


def read_module_catalog(
    texts: Mapping[str, bytes], *, subject: str = "modules.dep"
) -> ModuleCatalog:
    """The catalog in depmod's text indexes; FormatError if modules.dep makes no sense."""
    dependencies = _read_dependencies(texts.get("modules.dep", b""), subject)
    return ModuleCatalog(
        dependencies=dependencies,
        softdeps=_read_softdeps(texts.get("modules.softdep", b"")),
        path_by_name={module_name(path): path for path in dependencies},
        builtin_names=frozenset(
            module_name(line) for line in _lines(texts.get("modules.builtin", b""))
        ),
        alias_text=texts.get("modules.alias", b""),
        builtin_modinfo=texts.get("modules.builtin.modinfo", b""),
    )


def close_over(catalog: ModuleCatalog, chosen: Iterable[str]) -> ModuleClosure:
    """`chosen` paths with all they depend on, softly or not, through aliases.

    A softdep is looked up as modprobe does: a module of that name, else every module with
    a matching alias, else something built in.
    """
    by_dependency: dict[str, str] = {}
    by_softdep: dict[str, str] = {}
    unresolved = []
    queue = list(dict.fromkeys(chosen))
    kept = set(queue)
    for path in queue:  # it grows while we walk it
        for needed in catalog.dependencies[path]:
            if needed not in kept:
                by_dependency[needed] = path
                kept.add(needed)
                queue.append(needed)
        for wish in catalog.softdeps.get(module_name(path), ()):
            found = _answering(catalog, wish)
            if found is None:
                unresolved.append((module_name(path), wish))
                continue
            for wanted in found:
                if wanted not in kept:
                    by_softdep[wanted] = path
                    kept.add(wanted)
                    queue.append(wanted)
    return ModuleClosure(
        paths=tuple(path for path in catalog.dependencies if path in kept),
        by_dependency=by_dependency,
        by_softdep=by_softdep,
        unresolved=tuple(unresolved),
    )


def filter_indexes(texts: Mapping[str, bytes], kept: Mapping[str, str]) -> dict[str, bytes]:
    """The text indexes as depmod would write them for a tree that holds only `kept`.

    `kept` maps paths in the catalog to the paths the files have in the tree (the same, or
    without a compression suffix); it must be closed over dependencies. Only the texts
    given are returned; those of the kernel's build (BUILD_TEXTS) pass unchanged.
    """
    names = {module_name(path) for path in kept}
    filtered = {}
    for name, text in texts.items():
        if name == "modules.dep":
            filtered[name] = _filter_dependencies(text, kept)
        elif name in ("modules.alias", "modules.symbols"):
            filtered[name] = _filter_lines(text, names, word=-1)
        elif name in ("modules.softdep", "modules.weakdep"):
            filtered[name] = _filter_lines(text, names, word=1)
        elif name == "modules.devname":
            devices = _filter_lines(text, names, word=0)
            # Unlike its other texts, depmod gives this one no heading if nothing follows.
            filtered[name] = devices if not _has_only_comments(devices) else b""
        elif name in BUILD_TEXTS:
            filtered[name] = text
    return filtered


def builtin_aliases(modinfo: bytes) -> list[tuple[str, str]]:
    """(module, normalized alias) of what is built in, from `modules.builtin.modinfo`."""
    found = []
    for field in modinfo.split(b"\0"):
        name, _, rest = field.decode("utf-8", "surrogateescape").partition(".")
        key, _, value = rest.partition("=")
        if key == "alias" and value and (alias := normalize_alias(value)) is not None:
            found.append((name, alias))
    return found


def normalize_alias(alias: str) -> str | None:
    """`-` becomes `_` outside of brackets; None for a bracket without its other half."""
    if "[" not in alias and "]" not in alias:
        return alias.replace("-", "_")
    parts = []
    rest = alias
    while True:
        outside, bracket, behind = rest.partition("[")
        if "]" in outside:
            return None
        parts.append(outside.replace("-", "_"))
        if not bracket:
            return "".join(parts)
        inside, closed, rest = behind.partition("]")
        if not closed:
            return None
        parts.append(f"[{inside}]")


def _read_dependencies(text: bytes, subject: str) -> dict[str, tuple[str, ...]]:
    dependencies: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(_lines(text), 1):
        path, colon, needed = line.partition(":")
        if not colon:
            raise FormatError(
                subject,
                f"line {number} has no colon",
                expected="path: paths it needs",
                got=repr(line[:80]),
                hint="the modloop is damaged; get the release again",
            )
        dependencies[path] = tuple(needed.split())
    absent = set().union(*dependencies.values()) - dependencies.keys()
    for path, others in dependencies.items() if absent else ():
        for other in others:
            if other in absent:
                raise FormatError(
                    subject,
                    f"{path} depends on {other}, which has no line of its own",
                    hint="the modloop is incomplete; run depmod over its modules",
                )
    return dependencies


def _read_softdeps(text: bytes) -> dict[str, tuple[str, ...]]:
    softdeps: dict[str, tuple[str, ...]] = {}
    for line in _lines(text):
        words = line.split()
        if len(words) > 2 and words[0] == "softdep":
            wishes = tuple(word for word in words[2:] if word not in ("pre:", "post:"))
            softdeps[words[1]] = softdeps.get(words[1], ()) + wishes
    return softdeps


def _read_alias(line: str) -> tuple[str, str]:
    pattern, _, name = line[len("alias ") :].rpartition(" ")
    return pattern, name


def _answering(catalog: ModuleCatalog, wish: str) -> list[str] | None:
    """Paths that answer `wish`; empty if it is built in, None if nothing answers."""
    name = wish.replace("-", "_")
    path_by_name = catalog.path_by_name
    if name in path_by_name:
        return [path_by_name[name]]
    modules = catalog.aliases_like(name).matching(name)
    if modules:
        # An alias of a module that was dropped from this tree leads nowhere.
        return [path_by_name[module] for module in modules if module in path_by_name]
    if name in catalog.builtin_names or catalog.builtin_aliases.matching(name):
        return []
    return None


_WILDCARDS = "*?["
_WILDCARD = re.compile(f"[{re.escape(_WILDCARDS)}]")


class Aliases:
    """What modules answer to, found by what the alias begins with."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._plain: dict[str, list[str]] = {}
        # By what stands before the first wildcard: (turn, pattern, module).
        self._patterns: dict[str, list[tuple[int, str, str]]] = {}
        for turn, (alias, module) in enumerate(pairs):
            wildcard = _WILDCARD.search(alias)
            if wildcard is None:
                self._plain.setdefault(alias.replace("-", "_"), []).append(module)
            elif (pattern := normalize_alias(alias)) is not None:
                beginning = pattern[: wildcard.start()]
                self._patterns.setdefault(beginning, []).append((turn, pattern, module))

    def matching(self, name: str) -> list[str]:
        """Names of the modules with an alias that matches, plain ones first."""
        beginnings = (name[:end] for end in range(len(name) + 1))
        found = [
            (turn, module)
            for beginning in beginnings
            for turn, pattern, module in self._patterns.get(beginning, ())
            if fnmatchcase(name, pattern)
        ]
        modules = [*self._plain.get(name, ()), *(module for _, module in sorted(found))]
        return list(dict.fromkeys(modules))


def _filter_dependencies(text: bytes, kept: Mapping[str, str]) -> bytes:
    lines = []
    for line in _lines(text):
        path, _, needed = line.partition(":")
        if path in kept:
            words = [f"{kept[path]}:", *(kept[other] for other in needed.split())]
            lines.append(" ".join(words))
    return _join(lines)


def _filter_lines(text: bytes, names: set[str], *, word: int) -> bytes:
    """Comment lines, and those whose `word`th word (-1: the last) is in `names`."""
    if word < 0:
        return _join(
            line
            for line in _lines(text)
            if line[line.rfind(" ") + 1 :] in names or line.startswith("#")
        )
    return _join(
        line
        for line in _lines(text)
        if line.startswith("#") or line.split(" ", word + 1)[word] in names
    )


def _has_only_comments(text: bytes) -> bool:
    return all(line.startswith("#") for line in _lines(text))


def _lines(text: bytes) -> list[str]:
    return [line for line in text.decode("utf-8", "surrogateescape").split("\n") if line]


def _join(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
