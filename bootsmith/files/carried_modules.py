"""Kernel modules put into an initramfs tree, with their firmware and depmod's indexes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from bootsmith.files.cache import Cache
from bootsmith.files.modloop_source import ModloopSource, cache_key
from bootsmith.formats.cpio import file_entry, read_cpio, write_cpio
from bootsmith.formats.features import expand_globs
from bootsmith.formats.initramfs import InitramfsTree, Member, member_of
from bootsmith.formats.kernel_modules import (
    BUILD_TEXTS,
    COMPRESSED_SUFFIXES,
    ModuleCatalog,
    filter_indexes,
    plain_module_path,
)
from bootsmith.formats.kmod_index import write_binary_indexes


@dataclass(frozen=True, kw_only=True)
class Matched:
    """What one glob means to a kernel: paths of modules, and modules that are built in."""

    modules: tuple[str, ...]
    built_in: tuple[str, ...]


def match_modules(
    globs: Iterable[str], catalog: ModuleCatalog, texts: Mapping[str, bytes]
) -> dict[str, Matched]:
    """Each of `globs` to what it matches, however the modules are compressed."""
    asked = tuple(globs)
    path_by_plain = catalog.path_by_plain
    builtin_text = texts.get("modules.builtin", b"")
    builtin_names = sorted(builtin_text.decode("utf-8", "surrogateescape").split())
    builtin = expand_globs(asked, builtin_names)
    return {
        glob: Matched(
            modules=tuple(path_by_plain[name] for name in matched), built_in=builtin[glob]
        )
        for glob, matched in expand_globs(asked, list(path_by_plain)).items()
    }


@dataclass(kw_only=True)
class CarriedModules:
    """The modules that a tree gets from a modloop."""

    tree: InitramfsTree
    source: ModloopSource
    store: Cache
    firmware_account: dict[str, Any] = field(default_factory=dict)
    paths_in_modloop: dict[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> str:
        """Where the modules of this kernel are looked for; may lead through links."""
        return f"lib/modules/{self.source.kernel_release}"

    def add(self, paths: Sequence[str]) -> None:
        """Add modules by their paths in the modloop, uncompressed, with their firmware."""
        modules = self.source.modules(paths)
        firmware: dict[str, str] = {}
        for path in paths:
            placed = self.tree.add(
                Member(
                    name=f"{self.directory}/{plain_module_path(path)}",
                    mode=stat.S_IFREG | 0o644,
                    size_bytes=modules[path].size_bytes,
                    identity=modules[path].identity,
                    load=partial(self.source.content, path),
                )
            )
            self.paths_in_modloop[placed.name] = path
            firmware = dict.fromkeys(modules[path].firmware, path) | firmware
        self._add_firmware(firmware)

    def _add_firmware(self, wanted: Mapping[str, str]) -> None:
        """Add what `wanted` names; it maps each name to the module that is the first to."""
        names = sorted(self.source.firmware.members) if wanted else []
        named_by = dict(wanted)
        added, absent = [], []
        # A link's end is wanted too: the list grows while we walk it, but never by the same.
        todo = list(wanted)
        for name in todo:
            above = self._link_above(name)
            if above is not None:
                matched, rest = {above.name}, name[len(above.name) :]
            else:
                variants = [name, *(name + suffix for suffix in COMPRESSED_SUFFIXES)]
                matched = {one for found in expand_globs(variants, names).values() for one in found}
                rest = ""
            for one in sorted(matched):
                member = self.source.firmware.members[one]
                added.append(one)
                named_by.setdefault(one, named_by[name])
                place = f"lib/firmware/{one}"
                # A directory of the stock is left alone where the modloop has a link to one.
                if not rest or self.tree.find(place) is None:
                    self.tree.add(replace(member, name=place))
                if member.target is not None:
                    end = link_end(one, member.target) + rest
                    todo += [end] if end not in todo else []
                    named_by.setdefault(end, one)
            if not matched:
                absent.append(name)
        counted = {*added, *absent}
        self.firmware_account = {
            "added": sorted(set(added)),
            "absent": sorted(set(absent)),
            "named_by": {name: named_by[name] for name in sorted(counted)},
        }

    def _link_above(self, name: str) -> Member | None:
        """The first link among the directories of a firmware's name; a circle is refused."""
        firmware = self.source.firmware
        firmware.place_of(name)
        ends = (at for at, letter in enumerate(name) if letter == "/")
        members = (firmware.members.get(name[:end]) for end in ends)
        return next((one for one in members if one is not None and one.target is not None), None)

    def write_indexes(self, kept: Mapping[str, str]) -> None:
        """Write depmod's indexes anew for `kept`: path in the modloop to path in the tree."""
        directory = self.tree.resolve(self.directory)
        texts = dict(self.source.texts)
        for name in self.tree.below(directory):
            if name.startswith("modules.") and "/" not in name:
                # The kernel's own lists may be missing from a modloop.
                if name in BUILD_TEXTS and name not in texts:
                    texts[name] = bytes(self.tree.members[f"{directory}/{name}"].load())
                self.tree.remove(f"{directory}/{name}")
        for name, content in self._indexes(texts, kept).items():
            self.tree.add(member_of(f"{directory}/{name}", stat.S_IFREG | 0o644, content))

    def _indexes(self, texts: Mapping[str, bytes], kept: Mapping[str, str]) -> dict[str, bytes]:
        digests = (hashlib.blake2b(text, digest_size=32).hexdigest() for text in texts.values())
        key = cache_key("indexes", *texts, *digests, *(f"{path} {at}" for path, at in kept.items()))
        archive = self.store.recall("indexes", key)
        if archive is not None:
            return {entry.name: bytes(entry.data) for entry in read_cpio(archive)}
        indexes = filter_indexes(texts, kept)
        indexes |= write_binary_indexes(indexes)
        self.store.keep(
            "indexes", key, write_cpio(file_entry(*item) for item in sorted(indexes.items()))
        )
        return indexes

    def fetch_for(self, members: Iterable[Member]) -> None:
        """Read at once what `members` will load one by one."""
        names = (member.name for member in members)
        self.source.fetch(
            self.paths_in_modloop[name] for name in names if name in self.paths_in_modloop
        )


def link_end(name: str, target: str) -> str:
    """The path that a link called `name` leads to, relative to the root of its tree."""
    start = "/" if target.startswith("/") else f"/{name.rpartition('/')[0]}"
    return os.path.normpath(os.path.join(start, target)).lstrip("/")
