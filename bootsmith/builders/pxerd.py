"""pxerd: a release's own initramfs, with the features that its boot needs.

    initramfs ──► members of the stock tree ─┐
    modloop ────► modules + softdeps ────────┼─► tree ──► segments ──► pxerd
    ISO ────────► files of features ─────────┘   (indexes written anew)

Nothing is unpacked to a disk. Modules are read from the modloop in place; every file of
4 KiB or more becomes a segment of its own, compressed once and kept in the cache, and the
result is a row of segments. Whatever was compressed before is only copied, so after a
change of one feature or one file the rest costs milliseconds.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import mmap
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from bootsmith.errors import BuildError, FormatError, RecipeError, SourceError
from bootsmith.files.atomic import replacing_file, write_file
from bootsmith.files.cache import Cache
from bootsmith.files.release_packages import Found, ReleasePackages
from bootsmith.formats.compression import (
    DEFAULT_LEVELS,
    check_level,
    choose_codec,
    codec_version,
    compress_segment,
    decompress_file,
    decompress_initramfs,
)
from bootsmith.formats.cpio import file_entry, read_cpio, write_cpio
from bootsmith.formats.elf import is_elf, linked_libraries, read_modinfo
from bootsmith.formats.features import Feature, expand_globs, read_feature
from bootsmith.formats.initramfs import (
    InitramfsTree,
    Member,
    member_of,
    plan_segments,
    segment_key,
    write_segment,
)
from bootsmith.formats.kernel_modules import (
    BUILD_TEXTS,
    COMPRESSED_SUFFIXES,
    INDEX_TEXTS,
    ModuleCatalog,
    ModuleClosure,
    close_over,
    filter_indexes,
    plain_module_path,
    read_module_catalog,
)
from bootsmith.formats.kmod_index import write_binary_indexes
from bootsmith.formats.modloop import modloop_kernel_release
from bootsmith.formats.squashfs import FILE, LINK, SquashfsEntry
from bootsmith.formats.squashfs_content import IdentifiedSquashfs

INITRAMFS_LIMIT_BYTES = 1 << 30
"""Unpacked size beyond which a stock initramfs is refused: it must fit the guest's memory."""

_MODULE_LIMIT_BYTES = 256 << 20
_LAYOUT_VERSION = "1"  # part of the keys of what is remembered; changes with its shape
_LIBRARY_DIRECTORIES = ("lib", "usr/lib", "lib64", "usr/lib64", "lib/*", "usr/lib/*")
# A program's directory may be spelled with or without usr/, before and after the merge.
_MERGED_DIRECTORIES = ("bin/", "sbin/", "lib/", "lib64/")

Progress = Callable[[str, int, int | None], None]


def build_pxerd(
    *,
    initramfs: Path,
    modloop: Path,
    kernel_config: Path | None,
    kernel_release: str | None,
    iso: Path | None,
    facts: Path | None,
    features: Sequence[str],
    feature_directories: Sequence[Path],
    compression: str,
    level: int | None,
    cache: Path,
    output: Path,
    report: Path,
    progress: Progress | None = None,
) -> None:
    """Write `output`, an initramfs for the kernel of `initramfs` and `modloop`, mode 0644.

    `features` name files `<feature>.modules` and `<feature>.files`; the first of
    `feature_directories` that has one wins. `kernel_config` (may be empty) and
    `kernel_release` decide what `compression` "auto" means and what is refused; `level`
    None is the codec's default. `iso` and `facts` give packages for files that the stock
    initramfs lacks. `report` says in JSON what came in, why, and what a glob did not find.

    Raises RecipeError for an unknown feature, FormatError for damaged input, BuildError for
    parts that do not fit together. Nothing is written then.
    """
    codec, reason = choose_codec(
        asked=compression,
        kernel_config=_read_config(kernel_config),
        kernel_release=kernel_release,
    )
    level = DEFAULT_LEVELS[codec] if level is None or codec == "none" else level
    check_level(codec, level)
    asked = [_find_feature(name, feature_directories) for name in dict.fromkeys(features)]
    store = Cache(cache)
    stock = _Stock(initramfs, store)
    with _opened_modloop(modloop, store) as source:
        tree = InitramfsTree(stock.members(), subject=str(initramfs))
        _check_kernels(stock, tree, source, kernel_release)
        build = _Build(
            tree=tree,
            stock_names=frozenset(tree.members),
            source=source,
            store=store,
            packages=ReleasePackages(iso=iso, facts=facts, cache=store) if iso and facts else None,
        )
        build.add_features(asked)
        segments = _compressed_segments(build, codec, level, progress or _silent)
        with replacing_file(output) as unfinished, open(unfinished, "wb") as target:
            target.writelines(segments)
        document = build.report()
        document["compression"] = {"codec": codec, "level": level, "reason": reason}
        document["output"] = {
            "size_bytes": sum(map(len, segments)),
            "segments": len(segments),
        }
        write_file(report, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")


def _silent(message: str, done: int, total: int | None) -> None:
    """The progress of a caller that does not want any."""


def _read_config(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None


# Features


def _find_feature(name: str, directories: Sequence[Path]) -> Feature:
    texts: dict[str, bytes | None] = {}
    for kind in ("modules", "files"):
        paths = (directory / f"{name}.{kind}" for directory in directories)
        texts[kind] = next((path.read_bytes() for path in paths if path.is_file()), None)
    if texts["modules"] is None and texts["files"] is None:
        known = _known_features(directories)
        close = difflib.get_close_matches(name, known, n=1)
        raise RecipeError(
            f"feature {name}",
            "unknown initramfs feature",
            expected=f"one of {', '.join(known) or 'none: the directories hold no features'}",
            hint=f"did you mean {close[0]}?"
            if close
            else f"add {name}.modules or {name}.files to recipes/features.d",
        )
    return read_feature(name, modules=texts["modules"], files=texts["files"])


def _known_features(directories: Sequence[Path]) -> list[str]:
    return sorted(
        {
            path.stem
            for directory in directories
            if directory.is_dir()
            for path in directory.iterdir()
            if path.suffix in (".modules", ".files")
        }
    )


# The stock initramfs


class _Stock:
    """The release's initramfs; unpacked only when someone wants a content of it."""

    def __init__(self, path: Path, store: Cache) -> None:
        self.path = path
        self._store = store
        with _reading(path):
            self.sha256 = store.sha256_of(path)

    def members(self) -> list[Member]:
        """What the kernel would find after unpacking it: the last entry of each name."""
        key = _key(self.sha256)
        listing = self._store.recall_document("initramfs", key)
        if listing is None:
            listing = self._list()
            self._store.keep_document("initramfs", key, listing)
        return [
            Member(
                name=name,
                mode=mode,
                size_bytes=size,
                # The archive's digest and the name in it tell the content without hashing it.
                identity=f"{self.sha256} {name}",
                load=partial(self._content, name),
                target=target,
                rdev_major=major,
                rdev_minor=minor,
            )
            for name, mode, size, target, major, minor in listing
        ]

    def _list(self) -> list[list[Any]]:
        return [
            [
                *(entry.name, entry.mode, len(entry.data)),
                os.fsdecode(bytes(entry.data)) if stat.S_ISLNK(entry.mode) else None,
                *(entry.rdev_major, entry.rdev_minor),
            ]
            for entry in self._entries.values()
        ]

    @cached_property
    def _entries(self) -> dict[str, Any]:
        subject = str(self.path)
        data = decompress_initramfs(
            self.path.read_bytes(), limit_bytes=INITRAMFS_LIMIT_BYTES, subject=subject
        )
        return {entry.name: entry for entry in read_cpio(data, subject=subject)}

    def _content(self, name: str) -> memoryview:
        return self._entries[name].data


# The modloop


@contextmanager
def _opened_modloop(path: Path, store: Cache) -> Iterator[_Modloop]:
    with _reading(path), open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise FormatError(path, "is empty", hint="remove it and run again: doit build")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            yield _Modloop(IdentifiedSquashfs(buffer, subject=str(path)), store)


@dataclass(frozen=True, kw_only=True)
class _Module:
    """What must be known of a module without unpacking it again; its size is uncompressed."""

    entry: SquashfsEntry
    identity: str
    size_bytes: int
    firmware: tuple[str, ...]


class _Modloop:
    """The modules and firmware of one kernel, read in place, facts about them remembered."""

    def __init__(self, image: IdentifiedSquashfs, store: Cache) -> None:
        self.image = image
        self.kernel_release = modloop_kernel_release(image)
        self._start = f"modules/{self.kernel_release}/"
        self._store = store
        self._contents: dict[str, bytes] = {}

    @cached_property
    def texts(self) -> dict[str, bytes]:
        """The text indexes of depmod and what the kernel's build left, as far as there."""
        names = [
            name for name in (*INDEX_TEXTS, *BUILD_TEXTS) if self.image.exists(self._start + name)
        ]
        if "modules.dep" not in names:
            raise FormatError(
                self.image.subject,
                f"no modules.dep for kernel {self.kernel_release}",
                hint="make the modloop again after running depmod over its modules",
            )
        entries = [self.image.entry(self._start + name) for name in names]
        key = _key("texts", *(self.image.identity(entry) for entry in entries))
        archive = self._store.recall("modloop", key)
        if archive is None:
            contents = self.image.read_many(entry.path for entry in entries)
            archive = write_cpio(map(file_entry, names, contents))
            self._store.keep("modloop", key, archive)
        return {entry.name: bytes(entry.data) for entry in read_cpio(archive)}

    def modules(self, paths: Sequence[str]) -> dict[str, _Module]:
        """Facts about modules, by path below the kernel's directory."""
        entries = {path: self.image.entry(self._start + path) for path in paths}
        identities = {path: self.image.identity(entry) for path, entry in entries.items()}
        key = _key("modules", self.kernel_release)
        known = self._store.recall_document("modloop", key) or {}
        missing = [path for path in paths if identities[path] not in known]
        if missing:
            self.fetch(missing)
            for path in missing:
                content = self._contents[path]
                fields = read_modinfo(content, subject=path)
                firmware = [value for name, value in fields if name == "firmware"]
                known[identities[path]] = [len(content), firmware]
            self._store.keep_document("modloop", key, known)
        return {
            path: _Module(
                entry=entry,
                identity=identities[path],
                size_bytes=known[identities[path]][0],
                firmware=tuple(known[identities[path]][1]),
            )
            for path, entry in entries.items()
        }

    def fetch(self, paths: Iterable[str]) -> None:
        """Read modules that will be wanted, all at once."""
        missing = [path for path in dict.fromkeys(paths) if path not in self._contents]
        contents = self.image.read_many(self._start + path for path in missing)
        for path, content in zip(missing, contents, strict=True):
            self._contents[path] = _plain_module(path, content)

    def content(self, path: str) -> bytes:
        """One module, uncompressed: no busybox reads zstd, every modprobe reads plain files."""
        if path not in self._contents:
            self.fetch([path])
        return self._contents[path]

    @cached_property
    def firmware(self) -> InitramfsTree:
        """The tree below `modules/firmware`; names are relative to it."""
        start = "modules/firmware"
        entries = self.image.walk(start) if self.image.exists(start) else ()
        members = (
            self._firmware_member(entry, entry.path[len(start) + 1 :])
            for entry in entries
            if entry.type in (FILE, LINK)
        )
        return InitramfsTree(members, subject=self.image.subject)

    def _firmware_member(self, entry: SquashfsEntry, name: str) -> Member:
        if entry.target is not None:
            return member_of(name, stat.S_IFLNK | 0o777, os.fsencode(entry.target))
        return Member(
            name=name,
            mode=stat.S_IFREG | 0o644,
            size_bytes=entry.size_bytes,
            identity=f"{self.image.identity(entry)}",
            load=partial(self.image.read_entry, entry),
        )


def _key(*parts: str) -> str:
    return hashlib.blake2b(
        "\n".join((_LAYOUT_VERSION, *parts)).encode(), digest_size=32
    ).hexdigest()


def _plain_module(path: str, content: bytes) -> bytes:
    if plain_module_path(path) == path:
        return content
    return decompress_file(content, limit_bytes=_MODULE_LIMIT_BYTES, subject=path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what the system says about an input that it cannot read into a SourceError."""
    try:
        yield
    except OSError as error:
        if error.filename != str(path):
            raise
        raise SourceError(
            path, error.strerror or "cannot be read", hint="run again: doit build"
        ) from None


def _check_kernels(
    stock: _Stock, tree: InitramfsTree, source: _Modloop, kernel_release: str | None
) -> None:
    """All three must be of one build: initramfs, modloop and, if it is known, the kernel."""
    found = {name.partition("/")[0] for name in tree.below("lib/modules") if "/" in name}
    found.discard("firmware")
    if len(found) > 1:
        raise BuildError(
            stock.path,
            "holds modules of several kernels",
            expected=source.kernel_release,
            got=", ".join(sorted(found)),
            hint="use the initramfs of the ISO itself",
        )
    expected = {"kernel": kernel_release, "initramfs": next(iter(found), None)}
    for part, release in expected.items():
        if release is not None and release != source.kernel_release:
            raise BuildError(
                source.image.subject,
                f"its modules are for another kernel than the {part}",
                expected=release,
                got=source.kernel_release,
                hint="use kernel, initramfs and modloop of one release and flavor",
            )


# Putting it together


@dataclass(kw_only=True)
class _Build:
    """The tree while features are added to it, and the account of what they brought."""

    tree: InitramfsTree
    stock_names: frozenset[str]
    source: _Modloop
    store: Cache
    packages: ReleasePackages | None
    notes: list[str] = field(default_factory=list)
    feature_accounts: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    module_account: dict[str, Any] = field(default_factory=dict)
    firmware_account: dict[str, list[str]] = field(default_factory=dict)
    package_of: dict[str, str] = field(default_factory=dict)
    paths_in_modloop: dict[str, str] = field(default_factory=dict)

    def add_features(self, features: Sequence[Feature]) -> None:
        """Add everything that `features` ask for, and write the module indexes anew."""
        catalog = read_module_catalog(
            self.source.texts, subject=f"{self.source.image.subject}: modules.dep"
        )
        chosen = self._chosen_modules(features, catalog)
        self._add_files(features)
        for feature in features:
            self._check_yield(feature)
        stock = self._stock_modules(catalog)
        closure = close_over(catalog, [*stock, *chosen])
        added = [path for path in closure.paths if path not in stock]
        self._add_modules(added)
        self._write_indexes(
            {path: stock.get(path, plain_module_path(path)) for path in closure.paths}
        )
        self._account_modules(closure, stock, added)

    @property
    def _module_directory(self) -> str:
        return f"lib/modules/{self.source.kernel_release}"

    def _chosen_modules(self, features: Sequence[Feature], catalog: ModuleCatalog) -> list[str]:
        path_by_plain = {plain_module_path(path): path for path in catalog.dependencies}
        names = sorted(path_by_plain)
        builtin_text = self.source.texts.get("modules.builtin", b"")
        builtin_names = sorted(builtin_text.decode("utf-8", "surrogateescape").split())
        chosen = []
        for feature in features:
            modules: list[str] = []
            built_in: list[str] = []
            builtin = expand_globs(feature.modules, builtin_names)
            for glob, matched in expand_globs(feature.modules, names).items():
                modules += [path_by_plain[name] for name in matched]
                built_in += builtin[glob]
                if not matched and not builtin[glob]:
                    self.notes.append(f"feature {feature.name}: {glob} is no module of this kernel")
            chosen += modules
            account = {"modules": sorted(set(modules)), "built_in": sorted(set(built_in))}
            self.feature_accounts[feature.name] = account | {"files": []}
        return chosen

    def _stock_modules(self, catalog: ModuleCatalog) -> dict[str, str]:
        """Paths in the catalog of the modules that are there already -> their paths there."""
        path_by_plain = {plain_module_path(path): path for path in catalog.dependencies}
        suffixes = (".ko", *(f".ko{suffix}" for suffix in COMPRESSED_SUFFIXES))
        stock = {}
        for name in self.tree.below(self._module_directory):
            if not name.endswith(suffixes):
                continue
            path = path_by_plain.get(plain_module_path(name))
            if path is None:
                raise BuildError(
                    self.source.image.subject,
                    f"lacks the module {name}, which the initramfs has",
                    hint="use initramfs and modloop of one release and flavor",
                )
            stock[path] = name
        return stock

    def _add_modules(self, paths: Sequence[str]) -> None:
        modules = self.source.modules(paths)
        firmware: dict[str, str] = {}
        for path in paths:
            placed = self.tree.add(
                Member(
                    name=f"{self._module_directory}/{plain_module_path(path)}",
                    mode=stat.S_IFREG | 0o644,
                    size_bytes=modules[path].size_bytes,
                    identity=modules[path].identity,
                    load=partial(self.source.content, path),
                )
            )
            self.paths_in_modloop[placed.name] = path
            firmware |= dict.fromkeys(modules[path].firmware, path)
        self._add_firmware(list(firmware))

    def _add_firmware(self, wanted: Sequence[str]) -> None:
        names = sorted(self.source.firmware.members) if wanted else []
        added, absent = [], []
        # A link's end is wanted too: the list grows while we walk it, but never by the same.
        todo = list(dict.fromkeys(wanted))
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
                place = f"lib/firmware/{one}"
                # A directory of the stock is left alone where the modloop has a link to one.
                if not rest or self.tree.find(place) is None:
                    self.tree.add(replace(member, name=place))
                if member.target is not None:
                    end = _link_end(one, member.target) + rest
                    todo += [end] if end not in todo else []
            if not matched:
                absent.append(name)
        self.firmware_account = {"added": sorted(set(added)), "absent": sorted(set(absent))}

    def _link_above(self, name: str) -> Member | None:
        """The first link among the directories of a firmware's name; a circle is refused."""
        firmware = self.source.firmware
        firmware.place_of(name)
        ends = (at for at, letter in enumerate(name) if letter == "/")
        members = (firmware.members.get(name[:end]) for end in ends)
        return next((one for one in members if one is not None and one.target is not None), None)

    def _write_indexes(self, kept: Mapping[str, str]) -> None:
        directory = self.tree.resolve(self._module_directory)
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
        key = _key("indexes", *texts, *digests, *(f"{path} {at}" for path, at in kept.items()))
        archive = self.store.recall("indexes", key)
        if archive is not None:
            return {entry.name: bytes(entry.data) for entry in read_cpio(archive)}
        indexes = filter_indexes(texts, kept)
        indexes |= write_binary_indexes(indexes)
        self.store.keep(
            "indexes", key, write_cpio(file_entry(*item) for item in sorted(indexes.items()))
        )
        return indexes

    def _add_files(self, features: Sequence[Feature]) -> None:
        names = sorted(
            name for name, member in self.tree.members.items() if not stat.S_ISDIR(member.mode)
        )
        wanted: dict[str, list[str]] = {}
        askers: dict[str, list[str]] = {}
        for feature in features:
            for glob in feature.files:
                matched = expand_globs([self.tree.place_of(glob)], names)
                there = [name for found in matched.values() for name in found]
                self.feature_accounts[feature.name]["files"] += there
                if not there:
                    wanted[glob] = self._spellings(glob)
                    askers.setdefault(glob, []).append(feature.name)
        found = self._from_packages(wanted)
        for glob, names_of_askers in askers.items():
            for feature_name in names_of_askers:
                self.feature_accounts[feature_name]["files"] += found.get(glob, [])
                if glob not in found:
                    self.notes.append(
                        f"feature {feature_name}: {glob} is neither in the stock initramfs "
                        "nor in a package of the release"
                    )

    def _spellings(self, path: str) -> list[str]:
        """`path` as packages may spell it, with and without usr/, as asked first."""
        bare = path.removeprefix("usr/")
        spellings = [path, self.tree.place_of(path)]
        if bare.startswith(_MERGED_DIRECTORIES):
            spellings += [bare, f"usr/{bare}"]
        return list(dict.fromkeys(spellings))

    def _from_packages(self, wanted: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Names of what was added for each label, with what links and programs need."""
        if self.packages is None or not wanted:
            return {}
        found = self.packages.find(wanted)
        needed: dict[str, list[str]] = {}
        for item in [item for items in found.values() for item in items]:
            needed |= self._add_found(item)
        while needed:
            more = self.packages.find(needed)
            for label in needed:
                if label not in more:
                    raise BuildError(
                        label,
                        "is needed, but neither in the stock initramfs nor in a package of "
                        "the release",
                        hint="leave out the feature that asks for it, or use another release",
                    )
            needed = {}
            for item in [item for items in more.values() for item in items]:
                needed |= self._add_found(item)
        return {
            label: [self.tree.place_of(item.entry.name) for item in items]
            for label, items in found.items()
        }

    def _add_found(self, item: Found) -> dict[str, list[str]]:
        """Add a package's file; returns what it needs that the tree does not have."""
        entry = item.entry
        if entry.kind == "symlink":
            content = entry.target.encode("utf-8", "surrogateescape")
            placed = self.tree.add(member_of(entry.name, stat.S_IFLNK | 0o777, content))
            end = _link_end(entry.name, entry.target)
            needs = {} if self.tree.find(end) else {end: self._spellings(end)}
        else:
            placed = self.tree.add(member_of(entry.name, stat.S_IFREG | entry.mode, entry.data))
            needs = self._missing_libraries(entry.name, entry.data)
        self.package_of[placed.name] = item.package
        return needs

    def _missing_libraries(self, name: str, program: bytes) -> dict[str, list[str]]:
        if not is_elf(program):
            return {}
        missing = {}
        for library in linked_libraries(program, subject=name):
            path = library.lstrip("/")
            if "/" in library:
                spellings = self._spellings(path)
            else:
                spellings = [f"{directory}/{path}" for directory in _LIBRARY_DIRECTORIES]
            names = sorted(self.tree.members)
            places = [self.tree.place_of(spelling) for spelling in spellings]
            if not any(expand_globs(places, names).values()):
                missing[library] = spellings
        return missing

    def _check_yield(self, feature: Feature) -> None:
        account = self.feature_accounts[feature.name]
        if (feature.modules or feature.files) and not any(account.values()):
            raise BuildError(
                f"feature {feature.name}",
                f"nothing of it exists for kernel {self.source.kernel_release}",
                expected="a module, built in or not, or a file",
                got="; ".join(feature.modules + feature.files),
                hint="leave the feature out of the release recipe, or correct its lists",
            )

    def _account_modules(
        self, closure: ModuleClosure, stock: Mapping[str, str], added: Sequence[str]
    ) -> None:
        self.module_account = {
            "stock": len(stock),
            "added": sorted(added),
            "by_dependency": dict(closure.by_dependency),
            "by_softdep": dict(closure.by_softdep),
        }
        self.notes += [
            f"module {name}: its softdep {wish} is not in this kernel"
            for name, wish in closure.unresolved
        ]

    def fetch_for(self, members: Iterable[Member]) -> None:
        """Read at once what `members` will load one by one."""
        names = (member.name for member in members)
        self.source.fetch(
            self.paths_in_modloop[name] for name in names if name in self.paths_in_modloop
        )

    def report(self) -> dict[str, Any]:
        """What came in and why, as JSON values."""
        return {
            "schema": 1,
            "kernel_release": self.source.kernel_release,
            "module_directory": self.tree.resolve(self._module_directory),
            "features": self.feature_accounts,
            "modules": self.module_account,
            "firmware": self.firmware_account,
            "packages": self.package_of,
            "notes": self.notes,
        }


def _link_end(name: str, target: str) -> str:
    """The path that a link called `name` leads to, relative to the root of its tree."""
    start = "/" if target.startswith("/") else f"/{name.rpartition('/')[0]}"
    return os.path.normpath(os.path.join(start, target)).lstrip("/")


def _compressed_segments(build: _Build, codec: str, level: int, progress: Progress) -> list[bytes]:
    """All segments in order: the stock's, then what was added to it."""
    members = build.tree.members.values()
    stock = [member for member in members if member.name in build.stock_names]
    added = [member for member in members if member.name not in build.stock_names]
    groups = plan_segments(stock) + plan_segments(added)
    coding = f"{_LAYOUT_VERSION} {codec_version(codec)} {level}"
    keys = [segment_key(group, coding=coding) for group in groups]
    segments = [build.store.recall("segment", key) for key in keys]
    missing = [at for at, segment in enumerate(segments) if segment is None]
    build.fetch_for(member for at in missing for member in groups[at])

    def compress(at: int) -> bytes:
        segment = compress_segment(write_segment(groups[at]), codec, level)
        build.store.keep("segment", keys[at], segment)
        return segment

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, (at, segment) in enumerate(
            zip(missing, pool.map(compress, missing), strict=True), 1
        ):
            segments[at] = segment
            progress(f"compressing with {codec}", done, len(missing))
    return [segment for segment in segments if segment is not None]
