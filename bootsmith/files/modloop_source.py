"""The modules and firmware of one kernel, read from its modloop in place.

Facts about modules are remembered by content, so that a second build unpacks none of them.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from bootsmith.errors import FormatError, SourceError
from bootsmith.files.cache import Cache
from bootsmith.files.digest import Identity
from bootsmith.formats.compression import decompress_file
from bootsmith.formats.cpio import file_entry, read_cpio, write_cpio
from bootsmith.formats.elf import read_modinfo
from bootsmith.formats.initramfs import InitramfsTree, Member, member_of
from bootsmith.formats.kernel_modules import BUILD_TEXTS, INDEX_TEXTS, plain_module_path
from bootsmith.formats.modloop import modloop_kernel_release
from bootsmith.formats.squashfs import FILE, LINK, SquashfsEntry
from bootsmith.formats.squashfs_content import IdentifiedSquashfs

_MODULE_LIMIT_BYTES = 256 << 20
_LAYOUT_VERSION = "2"  # part of the keys of what is remembered; changes with its shape


@contextmanager
def open_modloop_source(path: Path, store: Cache) -> Iterator[ModloopSource]:
    """The modloop at `path`; SourceError if it cannot be read, FormatError for none or damage."""
    with reading_input(path), open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise FormatError(path, "is empty", hint="remove it and run again: doit build")
        image_key = cache_key(os.path.abspath(path), str(Identity.of(os.fstat(file.fileno()))))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            image = IdentifiedSquashfs(buffer, subject=str(path))
            yield ModloopSource(image, store, image_key=image_key)


@dataclass(frozen=True, kw_only=True)
class ModloopModule:
    """What must be known of a module without unpacking it again; its size is uncompressed."""

    identity: str
    size_bytes: int
    firmware: tuple[str, ...]


class ModloopSource:
    """The modules and firmware of one kernel, read in place, facts about them remembered.

    `image_key` is what `image` is known by as long as nothing says that its file changed.
    """

    def __init__(self, image: IdentifiedSquashfs, store: Cache, *, image_key: str) -> None:
        self.image = image
        self.kernel_release = modloop_kernel_release(image)
        self._start = f"modules/{self.kernel_release}/"
        self._store = store
        self._image_key = image_key
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
        key = cache_key("texts", *(self.image.identity(entry) for entry in entries))
        archive = self._store.recall("modloop", key)
        if archive is None:
            contents = self.image.read_many(entry.path for entry in entries)
            archive = write_cpio(map(file_entry, names, contents))
            self._store.keep("modloop", key, archive)
        return {entry.name: bytes(entry.data) for entry in read_cpio(archive)}

    def modules(self, paths: Sequence[str]) -> dict[str, ModloopModule]:
        """Facts about modules, by path below the kernel's directory."""
        # Identities are of this image only, facts of contents that several may have.
        key = cache_key("modules", self.kernel_release)
        known = self._store.recall_document("modloop", key) or {"image": "", "facts": {}}
        if known["image"] != self._image_key:
            known |= {"image": self._image_key, "identities": {}}
        identities, facts = known["identities"], known["facts"]
        unknown = [path for path in paths if path not in identities]
        for path in unknown:
            identities[path] = self.image.identity(self.image.entry(self._start + path))
        missing = [path for path in unknown if identities[path] not in facts]
        if missing:
            self.fetch(missing)
            for path in missing:
                content = self._contents[path]
                fields = read_modinfo(content, subject=path)
                firmware = [value for name, value in fields if name == "firmware"]
                facts[identities[path]] = [len(content), firmware]
        if unknown:
            self._store.keep_document("modloop", key, known)
        return {
            path: ModloopModule(
                identity=identities[path],
                size_bytes=facts[identities[path]][0],
                firmware=tuple(facts[identities[path]][1]),
            )
            for path in paths
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


def cache_key(*parts: str) -> str:
    """The key of something remembered about a modloop, made of all that it depends on."""
    return hashlib.blake2b(
        "\n".join((_LAYOUT_VERSION, *parts)).encode(), digest_size=32
    ).hexdigest()


def _plain_module(path: str, content: bytes) -> bytes:
    if plain_module_path(path) == path:
        return content
    return decompress_file(content, limit_bytes=_MODULE_LIMIT_BYTES, subject=path)


@contextmanager
def reading_input(path: Path) -> Iterator[None]:
    """Turns what the system says about an input that it cannot read into a SourceError."""
    try:
        yield
    except OSError as error:
        if error.filename != str(path):
            raise
        raise SourceError(
            path, error.strerror or "cannot be read", hint="run again: doit build"
        ) from None
