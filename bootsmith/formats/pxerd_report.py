"""The account of a pxerd: for each module, firmware and file in it, the chain that led there.

A chain begins at a thing and follows who asked for it first, until it reaches a line of a
feature or the release's own initramfs, where it ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bootsmith.errors import FormatError
from bootsmith.formats.kernel_modules import module_name

SCHEMA = 3
RELEASE = "the release's own"
"""The root of every chain that no feature began."""


class Thing(NamedTuple):
    """A `module` by its path in the modloop, `firmware` or a `file` by its name."""

    kind: str
    name: str

    @property
    def short(self) -> str:
        """How a chain speaks of it."""
        return module_name(self.name) if self.kind == "module" else self.name


class Line(NamedTuple):
    """A line of a feature."""

    feature: str
    at: str
    glob: str


@dataclass(kw_only=True)
class PxerdReport:
    """What `report.json` of a pxerd says."""

    module_directory: str
    firmware_directory: str
    stock: frozenset[str]
    things: frozenset[Thing]
    features: tuple[str, ...]
    built_in: Mapping[str, tuple[Line, ...]]
    absent_firmware: frozenset[str]
    package_of: Mapping[str, str]
    patched: tuple[str, ...]
    signature_files: frozenset[str]
    """The site's public key and its signature of the modloop, where it signs."""
    _lines: Mapping[Thing, tuple[Line, ...]] = field(default_factory=dict)
    _askers: Mapping[Thing, tuple[str, Thing]] = field(default_factory=dict)

    def lines(self, thing: Thing) -> tuple[Line, ...]:
        """Lines of features that match `thing`; the first one counts."""
        return self._lines.get(thing, ())

    def is_stock(self, thing: Thing) -> bool:
        """True for what the release's own initramfs has."""
        if thing.kind == "file":
            return thing.name not in self.package_of and thing.name not in self.signature_files
        return thing.kind == "module" and thing.name in self.stock

    def chain(self, thing: Thing) -> Iterator[tuple[Thing, str, Thing]]:
        """(thing, what it is to its asker, asker) from `thing` to the one that starts it all."""
        seen = {thing}
        while not self.is_stock(thing) and not self.lines(thing) and thing in self._askers:
            relation, asker = self._askers[thing]
            yield thing, relation, asker
            if asker in seen:
                return
            seen.add(asker)
            thing = asker

    def root(self, thing: Thing) -> str:
        """The feature that is the reason for `thing`, or RELEASE."""
        for _, _, asker in self.chain(thing):
            thing = asker
        lines = self.lines(thing)
        return lines[0].feature if lines and not self.is_stock(thing) else RELEASE


def read_pxerd_report(content: bytes, *, subject: object) -> PxerdReport:
    """The report in `content`; FormatError if it is none, or of an older form."""
    try:
        document = json.loads(content)
        if document.get("schema") != SCHEMA:
            raise ValueError(f"schema {document.get('schema')}")
        return _report(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            subject,
            "is no report that this version can read",
            expected=f"schema {SCHEMA}",
            got=str(error) or repr(error),
            hint="build the pxerd again",
        ) from error


def _report(document: Mapping[str, Any]) -> PxerdReport:
    modules, firmware = document["modules"], document["firmware"]
    lines: dict[Thing, list[Line]] = {}
    built_in: dict[str, list[Line]] = {}
    for feature in document["asked"]:
        for account in document["features"][feature]:
            line = Line(feature, account["at"], account["glob"])
            for path in account.get("modules", ()):
                lines.setdefault(Thing("module", path), []).append(line)
            for path in account.get("built_in", ()):
                built_in.setdefault(path, []).append(line)
            for name in account.get("files", ()):
                lines.setdefault(Thing("file", name), []).append(line)
    named = [Thing("module", path) for path in (*modules["stock"], *modules["added"])]
    named += [Thing("firmware", name) for name in firmware["added"]]
    named += [Thing("file", name) for name in document["packages"]]
    return PxerdReport(
        module_directory=document["module_directory"],
        firmware_directory=document["firmware_directory"],
        stock=frozenset(modules["stock"]),
        things=frozenset(named),
        features=tuple(document["asked"]),
        built_in={path: tuple(found) for path, found in built_in.items()},
        absent_firmware=frozenset(firmware["absent"]),
        package_of=document["packages"],
        patched=tuple(patch["patch"] for patch in document["patches"] if "not_needed" not in patch),
        signature_files=frozenset(document["signature_files"]),
        _lines={thing: tuple(found) for thing, found in lines.items()},
        _askers=dict(_askers(document)),
    )


def _askers(document: Mapping[str, Any]) -> Iterator[tuple[Thing, tuple[str, Thing]]]:
    modules, firmware = document["modules"], document["firmware"]
    for relation, key in (("dependency", "by_dependency"), ("softdep", "by_softdep")):
        for path, asker in modules[key].items():
            yield Thing("module", path), (f"{relation} of", Thing("module", asker))
    for name, asker in firmware["named_by"].items():
        if asker in firmware["named_by"]:
            yield Thing("firmware", name), ("end of the link", Thing("firmware", asker))
        else:
            yield Thing("firmware", name), ("firmware named by", Thing("module", asker))
    for name, asker in document["needed_by"].items():
        yield Thing("file", name), ("needed by", Thing("file", asker))
