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

import hashlib
import json
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootsmith.errors import BuildError, FormatError
from bootsmith.files.atomic import replacing_file, write_file
from bootsmith.files.cache import Cache
from bootsmith.files.carried_modules import CarriedModules, link_end, match_modules
from bootsmith.files.feature_files import find_feature
from bootsmith.files.modloop_source import ModloopSource, open_modloop_source, reading_input
from bootsmith.files.release_packages import Found, ReleasePackages
from bootsmith.files.script_patches import choose_patches
from bootsmith.files.segments import Progress, compressed_segments
from bootsmith.files.stock_initramfs import LIMIT_BYTES, StockInitramfs
from bootsmith.formats.additions import Additions, read_additions
from bootsmith.formats.compression import (
    DEFAULT_LEVELS,
    check_level,
    choose_codec,
    decompress_initramfs,
)
from bootsmith.formats.elf import is_elf, linked_libraries
from bootsmith.formats.features import Feature, expand_globs
from bootsmith.formats.initramfs import (
    InitramfsTree,
    Member,
    is_early,
    member_of,
    plan_segments,
    write_segment,
)
from bootsmith.formats.kernel_modules import (
    COMPRESSED_SUFFIXES,
    ModuleCatalog,
    ModuleClosure,
    close_over,
    plain_module_path,
    read_module_catalog,
)
from bootsmith.formats.script_patch import ScriptPatch, apply_patch, read_init_version

_LIBRARY_DIRECTORIES = ("lib", "usr/lib", "lib64", "usr/lib64", "lib/*", "usr/lib/*")
# A program's directory may be spelled with or without usr/, before and after the merge.
_MERGED_DIRECTORIES = ("bin/", "sbin/", "lib/", "lib64/")


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
    patches: Sequence[str],
    patch_directories: Sequence[Path],
    signature: Path | None = None,
    compression: str,
    level: int | None,
    cache: Path,
    output: Path,
    report: Path,
    addition: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Write `output`, an initramfs for the kernel of `initramfs` and `modloop`, mode 0644.

    With `addition`, the bytes of `initramfs` stay as they are: what is new or different goes
    into archives of its own, which are written to `addition` and, behind the stock, `output`.

    `features` name files `<feature>.modules` and `<feature>.files`; the first of
    `feature_directories` that has one wins. `patches` are applied to init; "auto" stands
    for those that the features want. `signature` holds the Additions that the modloop is
    verified with; None leaves the stock's. `kernel_config` (may be empty) and `kernel_release`
    decide what `compression` "auto" means and what is refused; `level` None is the codec's
    default. `iso` and `facts` give packages for files that the stock initramfs lacks.
    `report` says in JSON what came in, why, and what a glob did not find.

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
    asked = [find_feature(name, feature_directories) for name in dict.fromkeys(features)]
    store = Cache(cache)
    wanted = choose_patches(
        patches, script="init", features=features, directories=patch_directories
    )
    with reading_input(initramfs):
        stock = StockInitramfs(initramfs, store)
    with open_modloop_source(modloop, store) as source:
        tree = InitramfsTree(stock.members(), subject=str(initramfs))
        _check_kernels(stock, tree, source, kernel_release)
        build = _Build(
            tree=tree,
            stock_members=dict(tree.members),
            source=source,
            carried=CarriedModules(tree=tree, source=source, store=store),
            store=store,
            packages=ReleasePackages(iso=iso, facts=facts, cache=store) if iso and facts else None,
        )
        build.add_features(asked)
        build.patch_init(wanted, subject=f"{initramfs}: init")
        if signature is not None:
            build.carry(read_additions(signature.read_bytes(), subject=signature))
        groups = build.segment_groups() if addition is None else build.added_groups()
        segments = compressed_segments(
            groups,
            codec=codec,
            level=level,
            store=store,
            fetch=build.carried.fetch_for,
            progress=progress or _silent,
        )
        added = b"".join(segments) if addition is not None else b""
        if addition is None:
            segments = build.early_segments() + segments
        else:
            segments = [_appendable(initramfs.read_bytes(), added, subject=initramfs), *segments]
        with replacing_file(output) as unfinished, open(unfinished, "wb") as target:
            target.writelines(segments)
        if addition is not None:
            write_file(addition, added)
        document = build.report()
        document["compression"] = {"codec": codec, "level": level, "reason": reason}
        document["output"] = {
            "size_bytes": sum(map(len, segments)),
            "segments": len(segments),
        }
        write_file(report, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")


def _appendable(stock: bytes, added: bytes, *, subject: Path) -> bytes:
    """`stock` so that `added` can follow it: a plain archive must begin at a multiple of four.

    BuildError where the kernel would lose what follows, as it does behind lz4.
    """
    padded = stock + bytes(-len(stock) % 4)
    try:
        decompress_initramfs(padded + added, limit_bytes=LIMIT_BYTES, subject=str(subject))
    except FormatError as error:  # the stock alone was read before
        raise BuildError(
            subject,
            f"is packed so that nothing can follow it ({error.problem})",
            hint='set output = "whole" in [pxerd] of the release recipe',
        ) from error
    return padded


def _silent(message: str, done: int, total: int | None) -> None:
    """The progress of a caller that does not want any."""


def _read_config(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None


def _check_kernels(
    stock: StockInitramfs, tree: InitramfsTree, source: ModloopSource, kernel_release: str | None
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


FeatureAccount = list[dict[str, Any]]
"""What each line of a feature found: `at` and `glob`, then `modules` and `built_in`, or `files`."""


@dataclass(frozen=True, kw_only=True)
class _Need:
    """A file that is not there yet: which file asked first, and how packages may spell it."""

    by: str
    spellings: list[str]


@dataclass(kw_only=True)
class _Build:
    """The tree while features are added to it, and the account of what they brought."""

    tree: InitramfsTree
    stock_members: Mapping[str, Member]
    source: ModloopSource
    carried: CarriedModules
    store: Cache
    packages: ReleasePackages | None
    notes: list[str] = field(default_factory=list)
    feature_accounts: dict[str, FeatureAccount] = field(default_factory=dict)
    module_account: dict[str, Any] = field(default_factory=dict)
    package_of: dict[str, str] = field(default_factory=dict)
    needed_by: dict[str, str] = field(default_factory=dict)
    patch_accounts: list[dict[str, str]] = field(default_factory=list)
    signature: str = "stock"
    signature_files: list[str] = field(default_factory=list)

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
        self.carried.add(added)
        self.carried.write_indexes(
            {path: stock.get(path, plain_module_path(path)) for path in closure.paths}
        )
        self._account_modules(closure, stock, added)

    def _chosen_modules(self, features: Sequence[Feature], catalog: ModuleCatalog) -> list[str]:
        chosen: list[str] = []
        for feature in features:
            account: FeatureAccount = []
            for glob, matched in match_modules(feature.modules, catalog, self.source.texts).items():
                account.append(
                    {
                        "at": feature.places[glob],
                        "glob": glob,
                        "modules": list(matched.modules),
                        "built_in": list(matched.built_in),
                    }
                )
                if not matched.modules and not matched.built_in:
                    self._miss(feature, glob, "is no module of this kernel")
                chosen += matched.modules
            self.feature_accounts[feature.name] = account
        return chosen

    def _miss(self, feature: Feature, glob: str, problem: str) -> None:
        """A line that matches nothing: mkinitfs passes over it, so only a required one stops us."""
        if glob not in feature.required:
            self.notes.append(f"feature {feature.name}: {feature.places[glob]}: {glob} {problem}")
            return
        raise BuildError(
            f"feature {feature.name}: {feature.places[glob]}",
            f"{glob} {problem}",
            expected=f"something, as {feature.required[glob]} says",
            hint=f"correct the line, or leave {feature.name} out; what only one flavor has "
            "belongs in [pxerd.flavor.NAME] of the release recipe",
        )

    def _stock_modules(self, catalog: ModuleCatalog) -> dict[str, str]:
        """Paths in the catalog of the modules that are there already -> their paths there."""
        path_by_plain = catalog.path_by_plain
        suffixes = (".ko", *(f".ko{suffix}" for suffix in COMPRESSED_SUFFIXES))
        stock = {}
        for name in self.tree.below(self.carried.directory):
            if not name.endswith(suffixes):
                continue
            path = path_by_plain.get(plain_module_path(name))
            if path is None:
                raise BuildError(
                    self.source.image.subject,
                    f"lacks the module {name}, which the initramfs has",
                    hint="use initramfs and modloop of one release and flavor, and let no "
                    "`keep` or `drop` in [modloop] take it away",
                )
            stock[path] = name
        return stock

    def _add_files(self, features: Sequence[Feature]) -> None:
        names = sorted(
            name for name, member in self.tree.members.items() if not stat.S_ISDIR(member.mode)
        )
        stock = {}
        for glob in dict.fromkeys(glob for feature in features for glob in feature.files):
            matched = expand_globs([self.tree.place_of(glob)], names)
            stock[glob] = [name for found in matched.values() for name in found]
        found = self._from_packages(
            {glob: self._spellings(glob) for glob, there in stock.items() if not there}
        )
        for feature in features:
            for glob in feature.files:
                files = stock[glob] or found.get(glob, [])
                asked = f"/{glob}"
                self.feature_accounts[feature.name].append(
                    {"at": feature.places[asked], "glob": asked, "files": files}
                )
                if not files:
                    problem = "is neither in the stock initramfs nor in a package of the release"
                    self._miss(feature, asked, problem)

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
        needed = self._add_all(found, {})
        while needed:
            more = self.packages.find({label: needs.spellings for label, needs in needed.items()})
            for label, needs in needed.items():
                if label not in more:
                    raise BuildError(
                        label,
                        f"is needed by {needs.by}, but neither in the stock initramfs nor in a "
                        "package of the release",
                        hint="leave out the feature that asks for it, or use another release",
                    )
            needed = self._add_all(more, needed)
        return {
            label: [self.tree.place_of(item.entry.name) for item in items]
            for label, items in found.items()
        }

    def _add_all(
        self, found: Mapping[str, Sequence[Found]], askers: Mapping[str, _Need]
    ) -> dict[str, _Need]:
        """Add packages' files, each found for one of `askers`; returns what they need in turn."""
        needed: dict[str, _Need] = {}
        for label, items in found.items():
            for item in items:
                placed, needs = self._add_found(item)
                if label in askers:
                    self.needed_by.setdefault(placed, askers[label].by)
                for need, spellings in needs.items():
                    needed.setdefault(need, _Need(by=placed, spellings=spellings))
        return needed

    def _add_found(self, item: Found) -> tuple[str, dict[str, list[str]]]:
        """Add a package's file; returns its name, and what it needs that is not there."""
        entry = item.entry
        if entry.kind == "symlink":
            content = entry.target.encode("utf-8", "surrogateescape")
            placed = self.tree.add(member_of(entry.name, stat.S_IFLNK | 0o777, content))
            end = link_end(entry.name, entry.target)
            needs = {} if self.tree.find(end) else {end: self._spellings(end)}
        else:
            placed = self.tree.add(member_of(entry.name, stat.S_IFREG | entry.mode, entry.data))
            needs = self._missing_libraries(entry.name, entry.data)
        self.package_of[placed.name] = item.package
        return placed.name, needs

    def _missing_libraries(self, name: str, program: bytes) -> dict[str, list[str]]:
        if not is_elf(program):
            return {}
        missing = {}
        names = sorted(self.tree.members)
        for library in linked_libraries(program, subject=name):
            path = library.lstrip("/")
            if "/" in library:
                spellings = self._spellings(path)
            else:
                spellings = [f"{directory}/{path}" for directory in _LIBRARY_DIRECTORIES]
            places = [self.tree.place_of(spelling) for spelling in spellings]
            if not any(expand_globs(places, names).values()):
                missing[library] = spellings
        return missing

    def _check_yield(self, feature: Feature) -> None:
        account = self.feature_accounts[feature.name]
        kinds = ("modules", "built_in", "files")
        if account and not any(line.get(kind) for line in account for kind in kinds):
            raise BuildError(
                f"feature {feature.name}",
                f"nothing of it exists for kernel {self.source.kernel_release}",
                expected="a module, built in or not, or a file",
                got="; ".join(feature.modules + feature.files),
                hint="leave the feature out, or correct its lists; what only one flavor has "
                "belongs in [pxerd.flavor.NAME] of the release recipe",
            )

    def _account_modules(
        self, closure: ModuleClosure, stock: Mapping[str, str], added: Sequence[str]
    ) -> None:
        self.module_account = {
            "stock": sorted(stock),
            "added": sorted(added),
            "by_dependency": dict(closure.by_dependency),
            "by_softdep": dict(closure.by_softdep),
        }
        self.notes += [
            f"module {name}: its softdep {wish} is not in this kernel"
            for name, wish in closure.unresolved
        ]

    def carry(self, additions: Additions) -> None:
        """What machines verify their modloop with, in place of what the release meant."""
        for name in additions.removed:
            self.tree.remove(name)
        for file in additions.files:
            self.tree.add(member_of(file.path, stat.S_IFREG | file.mode, file.content))
        self.signature = additions.choice
        self.signature_files = [file.path for file in additions.files]
        self.notes += additions.notes

    def patch_init(self, patches: Sequence[ScriptPatch], *, subject: str) -> None:
        """Apply `patches` to the init script, which keeps its mode."""
        if not patches:
            return
        member = self.tree.find("init")
        if member is None or not stat.S_ISREG(member.mode):
            raise BuildError(
                subject,
                "there is no such script to patch",
                hint="use the initramfs of an Alpine ISO, or leave all patches out: patches = []",
            )
        script = bytes(member.load())
        version = read_init_version(script, subject=subject)
        for patch in patches:
            patched, chosen = apply_patch(patch, script, version, subject=subject)
            account = {"patch": patch.name, "init_version": str(version), "range": str(chosen)}
            if chosen.not_needed is not None:
                account["not_needed"] = chosen.not_needed
            account["sha256_before"] = hashlib.sha256(script).hexdigest()
            account["sha256_after"] = hashlib.sha256(patched).hexdigest()
            self.patch_accounts.append(account)
            script = patched
        self.tree.add(member_of(member.name, member.mode, script))

    def early_segments(self) -> list[bytes]:
        """What must come first and plain, if the stock has such."""
        early = [member for name, member in sorted(self.tree.members.items()) if is_early(name)]
        return [write_segment(early)] if early else []

    def segment_groups(self) -> list[tuple[Member, ...]]:
        """What shares a segment, in order: the stock's, then what was added to it."""
        members = [member for name, member in self.tree.members.items() if not is_early(name)]
        stock = [member for member in members if member.name in self.stock_members]
        added = [member for member in members if member.name not in self.stock_members]
        return plan_segments(stock) + plan_segments(added)

    def added_groups(self) -> list[tuple[Member, ...]]:
        """What shares a segment of archives that follow the untouched stock.

        Its directories and links are not named again: a directory entry `lib` would replace
        the link `lib` of a usr-merged tree. Names of one file are overwritten together, so
        none of the stock's may be replaced alone, and nothing can be taken away.
        """
        members = self.tree.members
        gone = sorted(set(self.stock_members) - set(members))
        new = [one for name, one in members.items() if one is not self.stock_members.get(name)]
        shared = [one.name for one in new if self._is_one_of_several(one.name)]
        for name, problem in [
            *((name, "cannot be taken away from") for name in gone),
            *((name, "has other names, which would change with it, in") for name in shared),
        ]:
            raise BuildError(
                '[pxerd] output = "appended"',
                f"{name} {problem} a stock initramfs that is left untouched",
                hint='set output = "whole" in the release recipe',
            )
        return plan_segments(new)

    def _is_one_of_several(self, name: str) -> bool:
        return name in self.stock_members and self.stock_members[name].linked is not None

    def report(self) -> dict[str, Any]:
        """What came in and why, as JSON values."""
        return {
            "schema": 3,
            "kernel_release": self.source.kernel_release,
            "module_directory": self.tree.resolve(self.carried.directory),
            "asked": list(self.feature_accounts),
            "features": self.feature_accounts,
            "modules": self.module_account,
            "firmware_directory": self.tree.resolve("lib/firmware"),
            "firmware": self.carried.firmware_account,
            "packages": self.package_of,
            "needed_by": self.needed_by,
            "patches": self.patch_accounts,
            "signature": self.signature,
            "signature_files": self.signature_files,
            "notes": self.notes,
        }
