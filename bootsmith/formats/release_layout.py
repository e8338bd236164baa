"""Finding one's way in the tree of a release: name, architecture, flavors.

Every layout that Alpine has published is a row of names here, newest first; see
docs/release.md. Source: alpinelinux/alpine-iso Makefile and its history, aports
scripts/mkimg.base.sh.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bootsmith.errors import FormatError, SourceError
from bootsmith.formats.iso_links import resolve_path
from bootsmith.formats.release_facts import DIRECTORY, FILE, IsoFile

RELEASE_FILE = ".alpine-release"
STANDIN_PROFILE = "standin"

# Kernels of these have a bzImage header; others (arm64 Image …) say nothing in one place.
BZIMAGE_ARCHITECTURES = ("x86", "x86_64")

# {f} is the flavor. Before November 2014 (releases up to 3.0) the flavor came first; the
# vanilla kernel of the grsec years has no suffix at all.
_KERNELS = ("boot/vmlinuz-{f}", "boot/{f}")
_BARE_KERNEL, _BARE_FLAVOR = "boot/vmlinuz", "vanilla"
_INITRAMFS = ("boot/initramfs-{f}", "boot/{f}.gz")
_MODLOOPS = ("boot/modloop-{f}", "boot/{f}.modloop.squashfs")
_CONFIGS = ("boot/config-{f}",)


@dataclass(frozen=True, kw_only=True)
class ReleaseName:
    """What `.alpine-release` says, such as `alpine-mini-3.1.1 150122`."""

    release: str
    profile: str


@dataclass(frozen=True, kw_only=True)
class FlavorFiles:
    """The boot files of a flavor, links resolved; None for what is not there."""

    kernel: IsoFile | None
    initramfs: IsoFile | None
    modloop: IsoFile | None
    config: IsoFile | None

    def missing(self, flavor: str) -> str:
        """What the flavor lacks, with the names looked for; "" if it is complete."""
        lacks = [
            f"{what} ({' or '.join(name.format(f=flavor) for name in names)})"
            for what, entry, names in (
                ("kernel", self.kernel, _KERNELS),
                ("initramfs", self.initramfs, _INITRAMFS),
                ("modloop", self.modloop, _MODLOOPS),
            )
            if entry is None
        ]
        return " and no ".join(lacks)


def read_release_name(content: bytes, *, subject: object) -> ReleaseName:
    """The first word of `.alpine-release`, split at its last dash."""
    words = content.decode("ascii", "replace").split()
    name, dash, release = words[0].rpartition("-") if words else ("", "", "")
    if not (name == "alpine" or name.startswith("alpine-")) or not dash or not release:
        raise FormatError(
            f"{subject}: {RELEASE_FILE}",
            "not the name of an Alpine release",
            expected="alpine-<profile>-<release> <yymmdd>",
            got=ascii(content[:60].decode("latin-1")),
            hint="use an ISO of an Alpine release",
        )
    return ReleaseName(release=release, profile=name.removeprefix("alpine-"))


def find_architecture(files: Iterable[IsoFile], *, subject: object) -> str:
    """The one `<arch>` with a package index at `apks/<arch>/APKINDEX.tar.gz`."""
    found = sorted(
        parts[1]
        for parts in (entry.path.split("/") for entry in files)
        if len(parts) == 3 and parts[0] == "apks" and parts[2] == "APKINDEX.tar.gz"
    )
    if len(found) != 1:
        raise FormatError(
            subject,
            "ISO without one package repository",
            expected="one apks/<arch>/APKINDEX.tar.gz",
            got=", ".join(f"apks/{arch}" for arch in found) or "none",
            hint="use an ISO that boots to a login by itself (standard, extended or virt)",
        )
    return found[0]


def find_flavors(files: Iterable[IsoFile], *, subject: object) -> dict[str, FlavorFiles]:
    """Flavor → files for every name that could be one, sorted; some may be incomplete."""
    tree = {entry.path: entry for entry in files}
    return {
        flavor: FlavorFiles(
            kernel=_kernel(tree, flavor, subject),
            initramfs=_first(tree, _INITRAMFS, flavor, subject),
            modloop=_first(tree, _MODLOOPS, flavor, subject),
            config=_first(tree, _CONFIGS, flavor, subject),
        )
        for flavor in sorted(_flavor_names(tree))
    }


def complete_flavors(found: Mapping[str, FlavorFiles], *, subject: object) -> list[str]:
    """Names of the flavors that can boot; SourceError, with what they lack, if none can."""
    complete = [name for name, files in found.items() if not files.missing(name)]
    if not complete:
        lacks = [f"flavor {name} has no {files.missing(name)}" for name, files in found.items()]
        raise SourceError(
            subject,
            "ISO without a bootable flavor",
            expected="boot/vmlinuz-<flavor>, boot/initramfs-<flavor> and boot/modloop-<flavor>",
            got="; ".join(lacks) or "none of them",
            hint="use an ISO that boots to a login by itself (standard, extended or virt)",
        )
    return complete


def check_flavor(found: Mapping[str, FlavorFiles], flavor: str, *, subject: object) -> None:
    """SourceError, with the nearest name, if `flavor` is not among the complete ones."""
    complete = [name for name, files in found.items() if not files.missing(name)]
    if flavor in complete:
        return
    if flavor in found:
        raise SourceError(
            subject,
            f"flavor {flavor} is incomplete: no {found[flavor].missing(flavor)}",
            hint=f"use another flavor ({', '.join(complete)})" if complete else None,
        )
    near = difflib.get_close_matches(flavor, complete, n=1, cutoff=0.5)
    raise SourceError(
        subject,
        f"has no flavor {flavor!r}",
        expected=" or ".join(complete),
        hint=f"write {near[0]!r} in the recipe" if near else "name one of them in the recipe",
    )


def _flavor_names(tree: Mapping[str, IsoFile]) -> set[str]:
    names = {path.removeprefix("boot/") for path in tree if path.startswith("boot/")}
    names = {name for name in names if "/" not in name}
    flavors = {name.removeprefix("vmlinuz-") for name in names if name.startswith("vmlinuz-")}
    if "vmlinuz" in names:
        flavors.add(_BARE_FLAVOR)
    # Old names count only beside an old modloop: `boot/xen` and `boot/xen.gz` are no flavor.
    suffix = ".modloop.squashfs"
    flavors |= {name.removesuffix(suffix) for name in names if name.endswith(suffix)}
    return flavors - {""}


def _kernel(tree: Mapping[str, IsoFile], flavor: str, subject: object) -> IsoFile | None:
    names = (*_KERNELS, _BARE_KERNEL) if flavor == _BARE_FLAVOR else _KERNELS
    return _first(tree, names, flavor, subject)


def _first(
    tree: Mapping[str, IsoFile], names: Iterable[str], flavor: str, subject: object
) -> IsoFile | None:
    """The first of `names` that leads to a regular file."""
    for name in names:
        path = name.format(f=flavor)
        if path in tree and tree[path].type != DIRECTORY:
            entry = tree.get(resolve_path(tree, path, subject=subject))
            if entry is not None and entry.type == FILE:
                return entry
    return None
