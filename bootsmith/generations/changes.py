"""What is different between two generations, section by section."""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bootsmith.errors import BootsmithError
from bootsmith.files.archive import read_archive
from bootsmith.formats.manifest import Artifact
from bootsmith.formats.modloop import modloop_kernel_release
from bootsmith.formats.netboot_tree import INDEX_PATH
from bootsmith.formats.squashfs import FILE, SquashfsEntry
from bootsmith.formats.squashfs_content import IdentifiedSquashfs
from bootsmith.generations.catalogue import Generation
from bootsmith.generations.digests import Progress
from bootsmith.generations.netboot_changes import netboot_sections
from bootsmith.generations.overlay_changes import overlay_changes
from bootsmith.generations.sections import Changes, Section, compare, some

_MODULE = re.compile(r".*\.ko(\.(gz|xz|zst))?")
_PACKAGE = re.compile(r"apks/[^/]+/(?P<name>[^/]+)-(?P<version>[^-/]+-r\d+)\.apk")
_WORLD = "etc/apk/world"
# Manifests name the files and programs that a step read, not its arguments and its code.
_OTHER_REASON = "for a value in recipes, for bootsmith's own code, or for what an earlier step made"


def sections_between(
    before: Generation, after: Generation, progress: Progress
) -> Iterator[Section]:
    """Every aspect in which the two differ. What cannot be read is a section with trouble."""
    yield from some("files", "", compare(_files(before), _files(after)))
    yield from some("releases", "", compare(_releases(before), _releases(after)))
    yield from some("kernel releases", "", compare(_kernels(before), _kernels(after)))
    for aspect, wanted, read in _READERS:
        for was, now in _pairs(before, after, wanted):
            yield from _read(aspect, was, now, before, after, read, progress)
    yield from netboot_sections(before, after, progress)
    yield from _steps(before, after)


# --- what manifests say ----------------------------------------------------------------------


def _files(generation: Generation) -> dict[str, Any]:
    return {
        part.path: {"sha256": part.sha256, "size_bytes": part.size_bytes}
        for part in generation.require_manifest().artifacts
        if part.path != INDEX_PATH  # what it names is told by itself
    }


def _releases(generation: Generation) -> dict[str, Any]:
    return {
        f"{name}: {key}": value
        for name, facts in generation.require_manifest().releases.items()
        for key, value in facts.items()
    }


def _kernels(generation: Generation) -> dict[str, Any]:
    return {
        part.name: part.details.get("kernel_release")
        for part in generation.require_manifest().artifacts
        if part.kind == "kernel"
    }


def _steps(before: Generation, after: Generation) -> Iterator[Section]:
    was, now = before.require_manifest().steps, after.require_manifest().steps
    listed = compare(dict.fromkeys(was, ""), dict.fromkeys(now, ""))
    yield from some("steps", "", listed)
    for label in sorted(was.keys() & now.keys()):
        if was[label].get("key") != now[label].get("key"):
            changes = compare(_sources(was[label]), _sources(now[label]))
            yield from some("steps", label, changes or Changes(changed={_OTHER_REASON: ("", "")}))


def _sources(step: Mapping[str, Any]) -> dict[str, str]:
    tools = {f"version of {name}": version for name, version in step.get("tools", {}).items()}
    return {**step.get("inputs", {}), **tools}


# --- what files say -----------------------------------------------------------------------------

Reader = Callable[[Path, Artifact, Path, Artifact, Progress], Changes]


def _pairs(
    before: Generation, after: Generation, wanted: Callable[[Artifact], bool]
) -> Iterator[tuple[Artifact, Artifact]]:
    """Artifacts of both whose content or details differ."""
    old = {part.path: part for part in before.require_manifest().artifacts if wanted(part)}
    for part in after.require_manifest().artifacts:
        if part.path in old and part != old[part.path]:
            yield old[part.path], part


def _read(
    aspect: str,
    was: Artifact,
    now: Artifact,
    before: Generation,
    after: Generation,
    read: Reader,
    progress: Progress,
) -> Iterator[Section]:
    try:
        changes = read(before.directory / was.path, was, after.directory / now.path, now, progress)
    except (BootsmithError, OSError, ValueError, AttributeError, TypeError) as error:
        # Damaged or foreign content: the other sections are worth having all the same.
        trouble = error.message if isinstance(error, BootsmithError) else str(error)
        yield Section(aspect=aspect, subject=now.name, changes=Changes(), trouble=trouble)
    else:
        yield from some(aspect, now.name, changes)


def _modules(old: Path, was: Artifact, new: Path, now: Artifact, progress: Progress) -> Changes:
    """By path below modules/<kernel release>. Contents of another kernel are all different and
    say nothing, so then only the names are compared.
    """
    with ExitStack() as stack:
        before, after = (_image(stack, path) for path in (old, new))
        old_modules, new_modules = _module_entries(before), _module_entries(after)
        names = compare(dict.fromkeys(old_modules, ""), dict.fromkeys(new_modules, ""))
        if modloop_kernel_release(before) != modloop_kernel_release(after):
            return names
        changed = {}
        common = sorted(old_modules.keys() & new_modules.keys())
        for number, name in enumerate(common):
            progress(f"comparing {new.name}", number, len(common))
            first, second = old_modules[name], new_modules[name]
            # Equal compressed bytes settle it without unpacking; unequal ones do not.
            if before.identity(first) == after.identity(second):
                continue
            digests = _sha256(before.read_entry(first)), _sha256(after.read_entry(second))
            if digests[0] != digests[1]:
                changed[name] = digests
        return Changes(added=names.added, removed=names.removed, changed=changed)


def _image(stack: ExitStack, path: Path) -> IdentifiedSquashfs:
    file = stack.enter_context(open(path, "rb"))
    view = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return IdentifiedSquashfs(view, subject=str(path))


def _module_entries(image: IdentifiedSquashfs) -> dict[str, SquashfsEntry]:
    top = f"modules/{modloop_kernel_release(image)}"
    return {
        entry.path.removeprefix(f"{top}/"): entry
        for entry in image.walk(top)
        if entry.type == FILE and _MODULE.fullmatch(entry.path)
    }


def _pxerd(old: Path, was: Artifact, new: Path, now: Artifact, progress: Progress) -> Changes:
    return compare(_pxerd_words(was.details), _pxerd_words(now.details))


def _pxerd_words(details: Mapping[str, Any]) -> dict[str, str]:
    words = {f"feature {name}": "" for name in details.get("features", {})}
    for key in ("modules", "firmware"):
        words.update({f"{key} {name}": "" for name in details.get(key, {}).get("added", ())})
    return words


def _overlay(old: Path, was: Artifact, new: Path, now: Artifact, progress: Progress) -> Changes:
    return overlay_changes(old, new)


def _world(old: Path, was: Artifact, new: Path, now: Artifact, progress: Progress) -> Changes:
    return compare(_world_words(old), _world_words(new))


def _world_words(path: Path) -> dict[str, str]:
    members = read_archive(path, wanted=lambda name: name == _WORLD)
    text = b"".join(member.data for member in members if member.name == _WORLD)
    return dict.fromkeys(text.decode("utf-8", "replace").split(), "")


def _packages(old: Path, was: Artifact, new: Path, now: Artifact, progress: Progress) -> Changes:
    return compare(_package_versions(old), _package_versions(new))


def _package_versions(contents: Path) -> dict[str, str]:
    """By name: the version, and the digest that tells a rebuilt package."""
    return {
        match["name"]: f"{match['version']} {entry['sha256']}"
        for path, entry in json.loads(contents.read_bytes()).items()
        if (match := _PACKAGE.fullmatch(path))
    }


def _options(old: Path, was: Artifact, new: Path, now: Artifact, progress: Progress) -> Changes:
    before, after = was.details.get("kernel_options", ()), now.details.get("kernel_options", ())
    changes = compare(dict.fromkeys(before, ""), dict.fromkeys(after, ""))
    if not changes and before != after:
        return Changes(changed={"order": (" ".join(before), " ".join(after))})
    return changes


def _is_kind(kind: str, suffix: str = "") -> Callable[[Artifact], bool]:
    return lambda part: part.kind == kind and part.path.endswith(suffix)


_READERS: Sequence[tuple[str, Callable[[Artifact], bool], Reader]] = (
    ("modules", _is_kind("modloop"), _modules),
    ("initramfs", _is_kind("pxerd"), _pxerd),
    ("overlay", _is_kind("apkovl"), _overlay),
    ("world", _is_kind("apkovl"), _world),
    ("packages", _is_kind("usbkey", "contents.json"), _packages),
    ("boot options", _is_kind("usbkey", ".img"), _options),
)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
