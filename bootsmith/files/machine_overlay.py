"""What an apkovl is made of: overlay trees, a template's recipe, and what is one machine's own.

Made in two parts, because many machines share the first.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bootsmith.errors import RecipeError
from bootsmith.files.overlay_stack import FILE_MODE, OverlayStack, add_parents, service_links
from bootsmith.formats.additions import read_additions
from bootsmith.formats.apkovl import ApkovlEntry

TEMPLATE_FILE = "etc/bootsmith/template"
DIGEST_FILE = "etc/bootsmith/overlay"
VALUES_FILE = "etc/bootsmith/values"
HOSTNAME_FILE = "etc/hostname"
WORLD_FILE = "etc/apk/world"
DEFAULT_SERVICES_FILE = "etc/.default_boot_services"


@dataclass(frozen=True, kw_only=True)
class MachineRecipe:
    """What a template says of its machines: `packages` are apk constraints, `runlevels` services
    by OpenRC runlevel; `service` holds Additions, scripts that stand for packaged ones.
    """

    template: str
    packages: Sequence[str]
    runlevels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    default_boot_services: bool
    service: Path | None = None


@dataclass(frozen=True, kw_only=True)
class MachineOverlay:
    """The entries of an apkovl by name, with the sha256 of each one's content."""

    entries: Mapping[str, ApkovlEntry]
    digests: Mapping[str, str]
    overlay_sha256: str
    """What a booted machine can tell of its overlay: of all entries but DIGEST_FILE."""


class OverlayBase:
    """All that the machines have in common that share overlay trees and recipe."""

    def __init__(self, stack: OverlayStack, recipe: MachineRecipe) -> None:
        """RecipeError for a file that both a tree and the recipe bring."""
        entries = stack.entries()
        texts = {
            WORLD_FILE: "".join(f"{name}\n" for name in sorted({"alpine-base", *recipe.packages})),
            TEMPLATE_FILE: f"{recipe.template}\n",
        }
        if recipe.default_boot_services:
            texts[DEFAULT_SERVICES_FILE] = ""
        _add_texts(entries, texts)
        if recipe.service is not None:
            for file in read_additions(recipe.service.read_bytes(), subject=recipe.service).files:
                mode = stat.S_IFREG | file.mode
                _add(entries, ApkovlEntry(name=file.path, mode=mode, data=file.content))
        for entry in service_links(recipe.runlevels):
            if entries.get(entry.name) != entry:  # a tree may bring the very same link
                _add(entries, entry)
        self._entries = entries
        self._digests = _content_digests(entries)

    def machine(self, own: Mapping[str, str]) -> MachineOverlay:
        """The overlay of a machine whose `own` texts are these, by name of the file."""
        entries = dict(self._entries)
        _add_texts(entries, own)
        add_parents(entries)
        new = {name: entry for name, entry in entries.items() if name not in self._digests}
        digests = {**self._digests, **_content_digests(new)}
        overlay_sha256 = _overlay_digest(entries, digests)
        _add_texts(entries, {DIGEST_FILE: f"{overlay_sha256}\n"})
        digests |= _content_digests({DIGEST_FILE: entries[DIGEST_FILE]})
        return MachineOverlay(entries=entries, digests=digests, overlay_sha256=overlay_sha256)


def _add_texts(entries: dict[str, ApkovlEntry], texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        _add(entries, ApkovlEntry(name=name, mode=FILE_MODE, data=text.encode()))


def _add(entries: dict[str, ApkovlEntry], entry: ApkovlEntry) -> None:
    """Add what the recipe says; a tree that says it too would win or lose unnoticed."""
    if entry.name in entries:
        raise RecipeError(
            entry.name,
            "stands in an overlay, but is written from the template's recipe",
            hint="remove the file, or say in the recipe what it says",
        )
    entries[entry.name] = entry


def _content_digests(entries: Mapping[str, ApkovlEntry]) -> dict[str, str]:
    return {name: hashlib.sha256(entry.data).hexdigest() for name, entry in entries.items()}


def _overlay_digest(entries: Mapping[str, ApkovlEntry], digests: Mapping[str, str]) -> str:
    lines = [
        f"{name}\0{entry.mode:o} {entry.uid}:{entry.gid} {digests[name]}\n"
        for name, entry in sorted(entries.items())
    ]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
