"""The modloop that machines mount: kernel modules and firmware in one squashfs.

    stock ─────────────────────────────────────────────► output     nothing asked for
    stock ─► indexes, names ─► edits ─► splice ────────► output     modules added, dropped
    stock ─►      …      ─► splice ─► tree ─► mksquashfs ► output   another compression

Untouched, the release's own modloop keeps its signature, which the initramfs carries and
which covers every byte. Changed, its compressed blocks stay as they are; only what is new
is compressed, and depmod's indexes are made again from their own text.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from bootsmith.errors import BuildError, SourceError
from bootsmith.files.atomic import replacing_file, write_file
from bootsmith.files.extents import copy_range
from bootsmith.files.module_sources import ModuleSource, SourceFile, read_module_source
from bootsmith.files.store import clone_file
from bootsmith.formats.compression import decompress_file
from bootsmith.formats.firmware import FirmwareTree
from bootsmith.formats.kernel_modules import (
    BUILD_TEXTS,
    INDEX_TEXTS,
    ModuleCatalog,
    filter_indexes,
    module_name,
    plain_module_path,
    read_module_catalog,
)
from bootsmith.formats.kmod_index import extend_binary_index, write_binary_indexes
from bootsmith.formats.modloop import check_kernel_reads, modloop_kernel_release
from bootsmith.formats.module_choice import ModuleChoice, choose_modules
from bootsmith.formats.module_facts import ModuleFacts, read_module_facts
from bootsmith.formats.module_index import add_modules
from bootsmith.formats.squashfs import DIRECTORY, FILE, LINK, Squashfs, SquashfsEntry
from bootsmith.formats.squashfs_splice import (
    KeptRange,
    NewFile,
    NewLink,
    SplicePlan,
    splice_squashfs,
)
from bootsmith.tools.mksquashfs import make_squashfs

_FIRMWARE = "modules/firmware"
_MODULE_LIMIT_BYTES = 256 << 20
# Those that say nothing of modules never change.
_BINARY_INDEXES = ("modules.dep.bin", "modules.alias.bin", "modules.symbols.bin")


def build_modloop(
    *,
    stock: Path,
    add: Sequence[Path],
    keep: Sequence[str],
    drop: Sequence[str],
    compression: str,
    kernel_config: Path | None,
    output: Path,
    report: Path,
) -> None:
    """Write `output`, the modloop `stock` with modules and firmware added and dropped.

    `add` are directories, archives, packages or modules (files.module_sources), later ones
    over earlier ones; `keep` and `drop` are globs (formats.module_choice). `compression`
    "stock" is the image's own; another one packs everything again, if the kernel can read
    it by `kernel_config` (may be empty). `report` says in JSON what was done and why.

    Raises SourceError for what cannot be read, FormatError for a damaged or foreign image,
    BuildError for changes that do not fit this kernel or each other. Nothing is written then.
    """
    with _opened(stock) as image:
        kernel_release = modloop_kernel_release(image)
        document: dict[str, Any] = {"schema": 1, "kernel_release": kernel_release}
        is_packed_anew = compression not in ("stock", image.superblock.compression)
        if is_packed_anew:
            config = kernel_config.read_bytes() if kernel_config else b""
            check_kernel_reads(compression, kernel_config=config, kernel_release=kernel_release)
        if not (add or keep or drop or is_packed_anew):
            with replacing_file(output) as partial:
                clone_file(stock, partial)
            document |= {"method": "copied", "kept_bytes": stock.stat().st_size, "notes": []}
        else:
            changes = _Changes(image, kernel_release)
            changes.add([read_module_source(path, kernel_release=kernel_release) for path in add])
            changes.choose(keep, drop)
            with replacing_file(output) as partial:
                with _opened_writer(stock, partial) as writer:
                    plan = splice_squashfs(image, changes.edits(), keeping=writer.copy_early)
                    writer.write(plan)
                document |= changes.report()
                if is_packed_anew:
                    _pack_anew(partial, compression)
            document |= _account(image, plan, compression if is_packed_anew else None)
    document["size_bytes"] = output.stat().st_size
    write_file(report, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")


@contextmanager
def _opened(path: Path) -> Iterator[Squashfs]:
    try:
        source = open(path, "rb")
    except OSError as error:
        raise SourceError(
            path, f"modloop cannot be read ({error.strerror})", hint="run again: doit build"
        ) from None
    with source:
        if not path.stat().st_size:
            raise SourceError(path, "modloop is empty", hint="run again: doit build")
        with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            yield Squashfs(buffer, subject=str(path))


def _account(image: Squashfs, plan: SplicePlan, packed_with: str | None) -> dict[str, Any]:
    if packed_with is not None:
        reason = (
            f"compression {packed_with} is asked for; the stock has {image.superblock.compression}"
        )
        return {"method": "packed anew", "reason": reason, "kept_bytes": 0}
    return {"method": "spliced", "kept_bytes": plan.kept_bytes}


# Writing


@contextmanager
def _opened_writer(stock: Path, target: Path) -> Iterator[_Writer]:
    with (
        open(stock, "rb") as source,
        open(target, "r+b") as writer,
        ThreadPoolExecutor(1) as helper,
    ):
        yield _Writer(source, writer, helper)


class _Writer:
    """Puts an image together; what is kept never passes through this process.

    Most of it is copied and flushed by a helper while what is new is still being packed.
    """

    def __init__(self, source: BinaryIO, target: BinaryIO, helper: ThreadPoolExecutor) -> None:
        self._source = source
        self._target = target
        self._helper = helper
        self._early: dict[int, KeptRange] = {}
        self._copied: Future[None] | None = None

    def copy_early(self, position: int, ranges: Sequence[KeptRange]) -> None:
        """Begin to copy `ranges` of the stock to `position` and what is behind it."""
        for one in ranges:
            self._early[position] = one
            position += one.size_bytes
        self._copied = self._helper.submit(self._copy_all)

    def _copy_all(self) -> None:
        for position, one in self._early.items():
            self._copy(position, one)
        os.fdatasync(self._target.fileno())

    def _copy(self, position: int, one: KeptRange) -> None:
        source, target = self._source.fileno(), self._target.fileno()
        copy_range(source, one.offset_bytes, target, position, one.size_bytes)

    def write(self, plan: SplicePlan) -> None:
        """Write all of `plan` that is not there yet, and wait for what was begun."""
        position = 0
        for part in plan.parts:
            if isinstance(part, KeptRange):
                if self._early.get(position) != part:
                    self._copy(position, part)
                position += part.size_bytes
            else:
                self._target.seek(position)
                self._target.write(part)
                position += len(part)
        if self._copied:
            self._copied.result()


def _pack_anew(image_path: Path, compression: str) -> None:
    """Replace an image by one of the same tree that mksquashfs packs."""
    with tempfile.TemporaryDirectory(dir=image_path.parent, suffix=".partial") as scratch:
        tree = Path(scratch, "tree")
        with _opened(image_path) as image:
            _unpack(image, tree)
        make_squashfs(tree, image_path, compression=compression)


def _unpack(image: Squashfs, tree: Path) -> None:
    # Names are plain and parents are directories of the image itself, so nothing leads out.
    def unpack_file(entry: SquashfsEntry) -> None:
        path = tree / entry.path
        path.write_bytes(image.read_entry(entry))
        path.chmod(entry.mode)

    tree.mkdir(mode=image.entry("").mode | 0o700)
    files = []
    for entry in image.walk():
        path = tree / entry.path
        if entry.type == DIRECTORY:
            path.mkdir()
            path.chmod(entry.mode | 0o700)
        elif entry.target is not None:
            path.symlink_to(entry.target)
        else:
            files.append(entry)
    # Unpacking runs outside of the interpreter's lock. A directory's files share fragments.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(unpack_file, files):
            pass


# What changes


@dataclass(frozen=True, kw_only=True)
class _Added:
    """A module that came in, and where from."""

    content: bytes
    facts: ModuleFacts
    source: Path


@dataclass(kw_only=True)
class _Account:
    """What the report tells."""

    replaced: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    firmware_added: list[str] = field(default_factory=list)
    firmware_dropped: list[str] = field(default_factory=list)
    firmware_absent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class _Changes:
    """The modloop while it is changed: names, indexes, and an account of both."""

    def __init__(self, image: Squashfs, kernel_release: str) -> None:
        self._image = image
        self._kernel_release = kernel_release
        self._directory = f"modules/{kernel_release}"
        self._added: dict[str, _Added] = {}
        self._firmware: dict[str, SourceFile] = {}
        self._gone: set[str] = set()  # paths in the image
        self._texts = dict(self._stock_texts)
        self._account = _Account()
        if image.superblock.has_xattrs:
            self._account.notes.append("extended attributes of the stock image are left out")

    @cached_property
    def _stock_texts(self) -> dict[str, bytes]:
        names = [
            name
            for name in (*INDEX_TEXTS, *BUILD_TEXTS)
            if self._image.exists(f"{self._directory}/{name}")
        ]
        if "modules.dep" not in names:
            raise BuildError(
                self._image.subject,
                f"no modules.dep for kernel {self._kernel_release}",
                hint="make the modloop again after running depmod over its modules",
            )
        contents = self._image.read_many(f"{self._directory}/{name}" for name in names)
        return dict(zip(names, contents, strict=True))

    @cached_property
    def _stock_firmware(self) -> dict[str, str | None]:
        """Names below modules/firmware: a link's target, None for a file."""
        if not self._image.exists(_FIRMWARE):
            return {}
        return {
            entry.path[len(_FIRMWARE) + 1 :]: entry.target
            for entry in self._image.walk(_FIRMWARE)
            if entry.type in (FILE, LINK)
        }

    def _read_catalog(self, *others: str) -> ModuleCatalog:
        """Who needs whom, and what else the texts `others` say: most do not matter here."""
        texts = {name: self._texts.get(name, b"") for name in ("modules.dep", *others)}
        return read_module_catalog(texts, subject=f"{self._image.subject}: modules.dep")

    # Coming in

    def add(self, sources: Sequence[ModuleSource]) -> None:
        """Take in what the sources have, later ones over earlier ones, and index it."""
        catalog = self._read_catalog()
        for source in sources:
            for module in source.modules:
                self._add_module(source.path, module, catalog)
            for one in source.firmware:
                self._add_firmware(source.path, one)
            if source.ignored:
                some = ", ".join(source.ignored[:3])
                more = f" and {len(source.ignored) - 3} more" if len(source.ignored) > 3 else ""
                self._account.notes.append(
                    f"{source.path.name}: left out what has no place in a modloop: {some}{more}"
                )
        if not self._added:
            return
        for path in self._added:
            there = catalog.path_by_name.get(module_name(path))
            if there is not None:
                self._account.replaced.append(there)
                self._gone.add(f"{self._directory}/{there}")
        self._texts = add_modules(
            self._texts,
            catalog,
            {path: one.facts for path, one in self._added.items()},
            facts_of=self._facts_of_stock,
            subject=self._image.subject,
        )

    def _add_module(self, source: Path, module: SourceFile, catalog: ModuleCatalog) -> None:
        subject = f"{source}: {module.name}" if source.name != module.name else str(source)
        facts = read_module_facts(_plain(module.name, module.content, subject), subject=subject)
        if facts.kernel_release != self._kernel_release:
            raise BuildError(
                subject,
                "is built for another kernel",
                expected=f"vermagic {self._kernel_release}",
                got=facts.kernel_release or "none",
                hint=f"build it against the headers of {self._kernel_release}",
            )
        path = module.name
        if "/" not in path:
            there = catalog.path_by_name.get(module_name(path), f"extra/{path}")
            path = f"{there.rpartition('/')[0]}/{path}"
        for earlier in [one for one in self._added if module_name(one) == module_name(path)]:
            self._account.notes.append(
                f"{earlier} of {self._added.pop(earlier).source.name} gives way to "
                f"{path} of {source.name}"
            )
        self._added[path] = _Added(content=module.content, facts=facts, source=source)

    def _add_firmware(self, source: Path, one: SourceFile) -> None:
        if one.target is not None:
            end = os.path.normpath(os.path.join(os.path.dirname(one.name), one.target))
            if end.startswith(("/", "..")):
                raise BuildError(
                    source,
                    f"the link firmware/{one.name} leads out of the firmware directory",
                    expected="a relative link inside it",
                    got=one.target,
                    hint="machines have it elsewhere: make the link relative",
                )
        self._firmware[one.name] = one

    def _facts_of_stock(self, paths: Sequence[str]) -> Mapping[str, ModuleFacts]:
        contents = self._image.read_many(f"{self._directory}/{path}" for path in paths)
        return {
            path: read_module_facts(_plain(path, content, path), subject=path)
            for path, content in zip(paths, contents, strict=True)
        }

    # Going

    def choose(self, keep: Sequence[str], drop: Sequence[str]) -> None:
        """Take out what `keep` and `drop` say, with the firmware that nothing kept wants."""
        if not (keep or drop):
            self._look_for_firmware({path: one.facts for path, one in self._added.items()})
            return
        # Aliases are many, and only what is kept is looked up by them.
        others = (*INDEX_TEXTS, *BUILD_TEXTS) if keep else ("modules.softdep",)
        catalog = self._read_catalog(*others)
        builtin = self._texts.get("modules.builtin", b"").decode("utf-8", "surrogateescape")
        choice = choose_modules(
            catalog,
            builtin=builtin.split(),
            firmware=self._firmware_tree,
            keep=keep,
            drop=drop,
            added=self._added,
        )
        self._account.notes += choice.notes
        staying = set(choice.modules)
        going = [path for path in catalog.dependencies if path not in staying]
        self._account.dropped = going
        self._gone |= {f"{self._directory}/{path}" for path in going}
        if going:
            self._texts = filter_indexes(self._texts, {path: path for path in choice.modules})
        self._choose_firmware(choice, is_chosen=bool(keep))

    @cached_property
    def _firmware_tree(self) -> FirmwareTree:
        return FirmwareTree(
            self._stock_firmware | {name: one.target for name, one in self._firmware.items()}
        )

    def _choose_firmware(self, choice: ModuleChoice, *, is_chosen: bool) -> None:
        facts = {path: one.facts for path, one in self._added.items()}
        if is_chosen:
            facts |= self._facts_of_stock(
                [path for path in choice.modules if path not in self._added]
            )
        wanted = self._look_for_firmware(facts)
        going = set(choice.firmware_dropped)
        if is_chosen:
            going |= set(self._stock_firmware) - wanted - choice.firmware_kept
        going -= self._firmware.keys()
        self._account.firmware_dropped = sorted(going)
        self._gone |= {f"{_FIRMWARE}/{name}" for name in going}

    def _look_for_firmware(self, facts: Mapping[str, ModuleFacts]) -> set[str]:
        """Names that answer what modules ask for; what nothing answers is told."""
        found: set[str] = set()
        for path, module in facts.items():
            for name in module.values("firmware"):
                answer = self._firmware_tree.answering(name)
                found |= answer
                if not answer:
                    self._account.firmware_absent[name] = path
        return found

    # The result

    def edits(self) -> dict[str, NewFile | NewLink | None]:
        """What splice_squashfs is to do."""
        edits: dict[str, NewFile | NewLink | None] = dict.fromkeys(self._topmost_gone())
        for path, one in self._added.items():
            edits[f"{self._directory}/{path}"] = NewFile(content=one.content)
        for name, file in self._firmware.items():
            edits[f"{_FIRMWARE}/{name}"] = (
                NewFile(content=file.content)
                if file.target is None
                else NewLink(target=file.target)
            )
        changed = {
            name: text for name, text in self._texts.items() if text != self._stock_texts[name]
        }
        if changed:
            changed |= self._binaries(self._outdated_binaries(changed))
        for name, text in changed.items():
            edits[f"{self._directory}/{name}"] = NewFile(content=text)
        self._account.firmware_added = sorted(self._firmware)
        return edits

    def _outdated_binaries(self, changed: Mapping[str, bytes]) -> list[str]:
        """Binary indexes that no longer say what the texts do, beside which they stand.

        Each gives a module's number in modules.dep; those stay if all new ones came behind.
        """
        before, now = (texts["modules.dep"] for texts in (self._stock_texts, self._texts))
        if not now.startswith(before) and not _paths_in(now).startswith(_paths_in(before)):
            return list(_BINARY_INDEXES)
        return [
            name
            for name in _BINARY_INDEXES
            if name.removesuffix(".bin") in changed
            or not self._image.exists(f"{self._directory}/{name}")
        ]

    def _binaries(self, names: Sequence[str]) -> dict[str, bytes]:
        """Binary indexes for the texts, each the stock's with more in it where that will do."""
        there = [name for name in names if self._image.exists(f"{self._directory}/{name}")]
        contents = self._image.read_many(f"{self._directory}/{name}" for name in there)
        extended = {
            name: index
            for name, content in zip(there, contents, strict=True)
            if (index := extend_binary_index(name, content, self._stock_texts, self._texts))
        }
        rest = [name for name in names if name not in extended]
        return extended | (write_binary_indexes(self._texts, rest) if rest else {})

    def _topmost_gone(self) -> set[str]:
        """Paths to remove: a directory that would be left empty goes as one."""
        gone = set(self._gone)
        if not gone:
            return gone
        left: dict[str, int] = {}
        for entry in reversed(list(self._image.walk())):
            parent = entry.path.rpartition("/")[0]
            if entry.type == DIRECTORY and left.get(entry.path) == 0:
                gone.add(entry.path)
            left[parent] = left.get(parent, 0) + (entry.path not in gone)
        return {path for path in gone if path.rpartition("/")[0] not in gone}

    def report(self) -> dict[str, Any]:
        """What changed and why, as JSON values."""
        account = self._account
        return {
            "modules": {
                "added": {path: str(one.source.name) for path, one in self._added.items()},
                "replaced": sorted(account.replaced),
                "dropped": account.dropped,
            },
            "firmware": {
                "added": account.firmware_added,
                "dropped": account.firmware_dropped,
                "absent": account.firmware_absent,
            },
            "notes": account.notes,
        }


def _paths_in(dependencies: bytes) -> bytes:
    """The lines of modules.dep without what stands behind their colons."""
    return b"".join(line.partition(b":")[0] + b"\n" for line in dependencies.splitlines())


def _plain(path: str, content: bytes, subject: str) -> bytes:
    if plain_module_path(path) == path:
        return content
    return decompress_file(content, limit_bytes=_MODULE_LIMIT_BYTES, subject=subject)
