"""From the locked packages to the ISO."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootsmith.builders.standin.initramfs import build_initramfs
from bootsmith.builders.standin.kernels import (
    Kernel,
    build_modloop,
    kernel_package_of,
    unpack_kernel,
)
from bootsmith.builders.standin.medium import (
    BASE_OPTIONS,
    FlavorEntry,
    MediumTree,
    add_boot_loaders,
    volume_id_of,
    write_medium,
)
from bootsmith.builders.standin.packages import Progress, read_lock
from bootsmith.builders.standin.recipe import StandinData, read_standin_data
from bootsmith.builders.standin.repository import ARCH, Repository, build_repository
from bootsmith.errors import SourceError
from bootsmith.files.atomic import write_file
from bootsmith.files.deb import read_deb_control
from bootsmith.files.digest import sha256_of
from bootsmith.formats.package_lock import PackageLock

PROFILE = "standin"


@dataclass(frozen=True, kw_only=True)
class _Sources:
    """What the build starts from."""

    data: StandinData
    lock: PackageLock
    debs: Mapping[str, Path]
    newest_epoch: int
    """Newest time in any package's control data: the medium's date, on every machine."""


def build_standin(
    *,
    lock: Path,
    manifest: Path,
    packages: Path,
    data: Path,
    release: str,
    flavors: Sequence[str],
    output: Path,
    report: Path,
    progress: Progress | None = None,
) -> None:
    """Make the stand-in's ISO: Alpine's layout, Debian's programs and kernels.

    `packages` is the directory that `fetch_packages` filled and `manifest` its last word;
    `release` is the version the medium claims ("3.24.0"). `report` is JSON: what went in.
    Equal arguments and files give equal bytes, wherever and by whomever it is built.
    Raises SourceError for a package that is missing or not as locked, RecipeError and
    BuildError for rules that do not fit the packages.
    """
    tell = progress or (lambda _message, _done, _total: None)
    sources = _read_sources(lock, manifest, packages, data)
    day = time.strftime("%y%m%d", time.gmtime(sources.newest_epoch))
    volume_id = volume_id_of(PROFILE, release, ARCH)
    with _scratch_beside(output) as scratch:
        tree = MediumTree(scratch / "medium", epoch=sources.newest_epoch)
        kernels: dict[str, Kernel] = {}
        with ThreadPoolExecutor(max_workers=len(flavors)) as pool:
            # Threads only wait for mksquashfs here, while this one goes on unpacking:
            # two threads that both work in Python would mostly wait for each other.
            packing = []
            for flavor in flavors:
                tell(f"unpacking the kernel of {flavor}", 0, None)
                kernels[flavor] = _unpack_kernel(sources, flavor, scratch / flavor)
                modloop = tree.place(f"boot/modloop-{flavor}")
                packing.append(pool.submit(build_modloop, kernels[flavor], modloop))
            tell("building packages", 0, None)
            repository = build_repository(
                sources.data, debs=sources.debs, description=f"alpine-{PROFILE} {release}"
            )
            tell("packing modloops", 0, None)
            for future in packing:
                future.result()
        _add_repository(tree, repository)
        for flavor, kernel in kernels.items():
            tell(f"building the initramfs of {flavor}", 0, None)
            _add_flavor(tree, sources.data, flavor, kernel, repository)
        add_boot_loaders(
            tree,
            debs=sources.debs,
            boot_debs=sources.data.boot_debs,
            volume_id=volume_id,
            entries=[
                FlavorEntry(
                    flavor=flavor, options=(*BASE_OPTIONS, *sources.data.flavor(flavor).options)
                )
                for flavor in flavors
            ],
        )
        tree.add(".alpine-release", f"alpine-{PROFILE}-{release} {day}\n".encode())
        tell("writing the ISO", 0, None)
        write_medium(tree, output, volume_id=volume_id, epoch=sources.newest_epoch)
        facts = _report(tree, sources, kernels, repository, release=release, day=day)
        write_file(report, (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode())


def _read_sources(lock: Path, manifest: Path, packages: Path, data: Path) -> _Sources:
    locked = read_lock(lock)
    debs = {package.name: packages / package.file_name for package in locked.packages}
    newest_epoch = 0
    for package in locked.packages:
        path = debs[package.name]
        if not path.exists() or sha256_of(path) != package.sha256:
            raise SourceError(
                path,
                "missing or not the locked package",
                expected=f"sha256 {package.sha256}",
                got=sha256_of(path) if path.exists() else "no file",
                hint=f"fetch it again: rm {manifest}, then doit build",
            )
        newest_epoch = max(newest_epoch, read_deb_control(path).newest_epoch)
    return _Sources(data=read_standin_data(data), lock=locked, debs=debs, newest_epoch=newest_epoch)


@contextmanager
def _scratch_beside(output: Path) -> Iterator[Path]:
    # Beside the output, so that a small /tmp does not decide what can be built.
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{output.name}.", suffix=".partial", dir=output.parent
    ) as scratch:
        yield Path(scratch)


def _unpack_kernel(sources: _Sources, flavor: str, scratch: Path) -> Kernel:
    rule = sources.data.flavor(flavor)
    package = kernel_package_of(sources.debs[rule.kernel])
    if package not in sources.debs:
        raise SourceError(
            "stand-in lock",
            f"{rule.kernel} wants {package}, which is not locked",
            hint="make the lock again with: doit lock",
        )
    return unpack_kernel(sources.debs[package], rule, scratch)


def _add_repository(tree: MediumTree, repository: Repository) -> None:
    tree.add("apks/.boot_repository", b"")
    tree.add(f"apks/{ARCH}/APKINDEX.tar.gz", repository.index)
    for package in repository.packages:
        tree.add(f"apks/{ARCH}/{package.file_name}", package.content)


def _add_flavor(
    tree: MediumTree, data: StandinData, flavor: str, kernel: Kernel, repository: Repository
) -> None:
    modloop_name = f"modloop-{flavor}"
    modloop = tree.place(f"boot/{modloop_name}").read_bytes()
    initramfs = build_initramfs(
        data,
        installed=repository.installed_tree(),
        kernel=kernel,
        modloop_name=modloop_name,
        modloop_signature=repository.key.sign_sha1(modloop),
        key=repository.key,
    )
    # mkinitfs works under umask 077, and release media keep what comes of it.
    tree.add(f"boot/initramfs-{flavor}", initramfs, mode=0o600)
    tree.add(f"boot/vmlinuz-{flavor}", kernel.image)
    tree.add(f"boot/config-{flavor}", kernel.config)
    tree.add(f"boot/System.map-{flavor}", kernel.system_map)


def _report(
    tree: MediumTree,
    sources: _Sources,
    kernels: Mapping[str, Kernel],
    repository: Repository,
    *,
    release: str,
    day: str,
) -> dict[str, object]:
    return {
        "schema": 1,
        "is_standin": True,
        "what": "bootsmith stand-in (not Alpine)",
        "release": release,
        "date": day,
        "epoch": sources.newest_epoch,
        "notes": list(sources.lock.notes),
        "debian_packages": {
            package.name: {"version": package.version, "sha256": package.sha256}
            for package in sources.lock.packages
        },
        "packages": {package.name: package.version for package in repository.packages},
        "flavors": {
            flavor: {
                "kernel_release": kernel.release,
                "kernel_package": kernel.package,
                "modules": len(kernel.kept),
                "modules_left_out": kernel.dropped_count,
                "modloop_bytes": (tree.directory / f"boot/modloop-{flavor}").stat().st_size,
                "initramfs_bytes": (tree.directory / f"boot/initramfs-{flavor}").stat().st_size,
            }
            for flavor, kernel in kernels.items()
        },
    }
