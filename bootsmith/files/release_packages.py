"""Files out of the packages that a release carries, read from the ISO in place.

An index does not list what its packages hold, only what they provide (`cmd:nbd-client`,
`so:libfoo.so.1`). So packages that provide something of the wanted name are opened first,
the others by size, until everything wanted was found; what each one holds is remembered.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from bootsmith.errors import FormatError
from bootsmith.files.cache import Cache
from bootsmith.files.extents import read_extents
from bootsmith.formats.apk import Apk, ApkEntry, IndexRecord, read_apk, read_index
from bootsmith.formats.features import expand_globs
from bootsmith.formats.release_facts import IsoFile, ReleaseFacts, read_release_facts

_LAYOUT_VERSION = "1"  # part of the key of what is remembered; changes with its shape


@dataclass(frozen=True, kw_only=True)
class Found:
    """One file of a package; `entry` is a file or a symbolic link."""

    package: str
    entry: ApkEntry
    version: str = ""


class ReleasePackages:
    """The packages of one release, below `apks/<arch>/` on its ISO."""

    def __init__(self, *, iso: Path, facts: Path, cache: Cache) -> None:
        self._iso = iso
        self._facts_path = facts
        self._cache = cache
        self._is_contents_new = False

    @property
    def on_medium(self) -> tuple[IndexRecord, ...]:
        """What the index lists and the medium really carries, in the order of the index."""
        return tuple(record for record in self._records if record.file_name in self._files)

    def open(self, record: IndexRecord) -> Apk:
        """The package that an index record is about."""
        return self._package(record.file_name)

    def find(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, list[Found]]:
        """For each label in `wanted`, what the first package with a match to its globs has.

        Globs are relative to the root; directories and hard links do not match. Labels that
        no package answers are absent from the result.
        """
        missing = dict(wanted)
        found: dict[str, list[Found]] = {}
        for record in self._likely_first(list(wanted.values())):
            if not missing:
                break
            names = self._names_in(record)
            for label, globs in list(missing.items()):
                matches = {
                    name for matched in expand_globs(globs, names).values() for name in matched
                }
                if matches:
                    found[label] = self._take(record, sorted(matches))
                    del missing[label]
        self._keep_contents()
        return found

    def file_of(self, package: str, path: str) -> Found | None:
        """The file `path` of the package of this name, if both are there."""
        for record in self._records:
            if record.info.name == package and record.file_name in self._files:
                for entry in self._package(record.file_name).entries:
                    if entry.name == path and entry.kind == "file":
                        return Found(package=package, entry=entry, version=record.info.version)
        return None

    @cached_property
    def _facts(self) -> ReleaseFacts:
        return read_release_facts(self._facts_path.read_bytes(), subject=str(self._facts_path))

    @cached_property
    def _files(self) -> dict[str, IsoFile]:
        start = f"apks/{self._facts.arch}/"
        return {
            file.path[len(start) :]: file
            for file in self._facts.files
            if file.path.startswith(start) and file.type == "file"
        }

    @cached_property
    def _records(self) -> tuple[IndexRecord, ...]:
        if "APKINDEX.tar.gz" not in self._files:
            return ()
        content = self._read("APKINDEX.tar.gz")
        return read_index(content, subject=f"{self._iso}: APKINDEX.tar.gz").records

    def _likely_first(self, globs: Sequence[Sequence[str]]) -> list[IndexRecord]:
        names = {glob.rpartition("/")[2] for group in globs for glob in group}
        promises = {f"{kind}:{name}" for kind in ("cmd", "so") for name in names}
        by_size = self._by_size
        likely = [record for record, provided in by_size if not promises.isdisjoint(provided)]
        others = [record for record, provided in by_size if promises.isdisjoint(provided)]
        return likely + others

    @cached_property
    def _by_size(self) -> list[tuple[IndexRecord, frozenset[str]]]:
        """Packages on the medium, smallest first, with the names that each one provides."""
        return [
            (record, frozenset(word.partition("=")[0] for word in record.info.provides))
            for record in sorted(
                self.on_medium, key=lambda record: (record.file_size_bytes, record.file_name)
            )
        ]

    def _names_in(self, record: IndexRecord) -> list[str]:
        if record.file_name not in self._contents:
            entries = self._package(record.file_name).entries
            self._contents[record.file_name] = sorted(
                entry.name for entry in entries if entry.kind in ("file", "symlink")
            )
            self._is_contents_new = True
        return self._contents[record.file_name]

    @property
    def _contents_key(self) -> str:
        return hashlib.sha256(f"{_LAYOUT_VERSION} {self._facts.iso_sha256}".encode()).hexdigest()

    @cached_property
    def _contents(self) -> dict[str, list[str]]:
        """Names in each package that was ever opened, by its file name."""
        return self._cache.recall_document("packages", self._contents_key) or {}

    def _keep_contents(self) -> None:
        if self._is_contents_new:
            self._cache.keep_document("packages", self._contents_key, self._contents)
            self._is_contents_new = False

    def _take(self, record: IndexRecord, names: Sequence[str]) -> list[Found]:
        package = self._package(record.file_name)
        wanted = set(names)
        return [
            Found(package=record.info.name, entry=entry)
            for entry in package.entries
            if entry.name in wanted
        ]

    @lru_cache(maxsize=4)  # noqa: B019 - lives as long as the search
    def _package(self, file_name: str) -> Apk:
        return read_apk(self._read(file_name), subject=f"{self._iso}: {file_name}")

    def _read(self, file_name: str) -> bytes:
        file = self._files[file_name]
        descriptor = os.open(self._iso, os.O_RDONLY)
        try:
            content = read_extents(descriptor, file.extents, size_bytes=file.size_bytes)
        finally:
            os.close(descriptor)
        if len(content) != file.size_bytes:
            raise FormatError(self._iso, f"{file.path} is cut short", hint="get the ISO again")
        return content
