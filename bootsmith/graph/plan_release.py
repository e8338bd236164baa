"""From a release recipe to boot files: get the ISO, read it, take each flavor's files.

The stand-in is chosen (`source:NAME.lock`), downloaded (`source:NAME.packages`) and
assembled (`source:NAME`); a release with a URL is downloaded (`source:NAME`); one with a
path is there already. Then all are read (`iso:NAME`) and their flavors taken out.
"""

from __future__ import annotations

from pathlib import Path

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import GRUB_MODULES, boot_sets, facts_path, flavor_file, iso_path
from bootsmith.graph.step import Input, Output, Scratch, Step, Tree, Witness
from bootsmith.site.models import Release, Site

# The release that the stand-in's init and services are written against, and claim to be.
STANDIN_RELEASE = "3.24.0"
STANDIN_DATA = Path(__file__).resolve().parent.parent / "builders" / "standin_data"


def plan_source(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that bring each release's ISO onto this machine."""
    steps: list[Step] = []
    for release in site.releases.values():
        if release.kind == "standin":
            steps += _standin(layout, release)
        elif release.url is not None:
            steps.append(_download(layout, release))
    return tuple(steps)


def _standin(layout: Layout, release: Release) -> list[Step]:
    lock = layout.of("source", release.name, "packages.lock")
    listing = layout.of("source", release.name, "packages.json")
    downloads = Scratch(layout.cache / "packages")
    apt_state = Scratch(layout.cache / "apt")
    return [
        Step(
            kind="source",
            name=f"{release.name}.lock",
            summary=f"choose the Debian packages that {release.name} is made of",
            builder="bootsmith.builders.standin:resolve_packages",
            arguments={
                "data": Tree(STANDIN_DATA),
                "pinned": Input(release.lock) if release.lock else None,
                "flavors": release.flavors,
                "state": apt_state,
                "output": Output(lock),
            },
        ),
        Step(
            kind="source",
            name=f"{release.name}.packages",
            summary=f"download the Debian packages of {release.name}",
            builder="bootsmith.builders.standin:fetch_packages",
            arguments={
                "lock": Input(lock),
                "state": apt_state,
                "packages": downloads,
                "manifest": Output(listing),
            },
            witnesses=(Witness(path=downloads.path),),
        ),
        Step(
            kind="source",
            name=release.name,
            summary=f"assemble the ISO of {release.name} from Debian's packages",
            builder="bootsmith.builders.standin:build_standin",
            arguments={
                "data": Tree(STANDIN_DATA),
                "lock": Input(lock),
                "manifest": Input(listing),
                "packages": downloads,
                "release": STANDIN_RELEASE,
                "flavors": release.flavors,
                "output": Output(iso_path(layout, release)),
                "report": Output(layout.of("source", release.name, "report.json")),
            },
            tools=("mksquashfs", "xorriso", "depmod", "grub-mkimage"),
            machine_files=(GRUB_MODULES,),
        ),
    ]


def plan_lock(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that pin the newest package versions, for a maintainer to commit."""
    return tuple(
        Step(
            kind="lock",
            name=release.name,
            summary=f"pin the newest Debian packages for {release.name} in {release.lock.name}",
            builder="bootsmith.builders.standin:resolve_packages",
            arguments={
                "data": Tree(STANDIN_DATA),
                "pinned": None,
                "flavors": release.flavors,
                "state": Scratch(layout.cache / "apt"),
                "output": Output(release.lock),
            },
            by_request=True,
        )
        for release in site.releases.values()
        if release.lock is not None
    )


def _download(layout: Layout, release: Release) -> Step:
    return Step(
        kind="source",
        name=release.name,
        summary=f"download the ISO of {release.name}",
        builder="bootsmith.builders.iso:fetch_iso",
        arguments={
            "url": release.url,
            "sha256": release.sha256,
            "sha512": release.sha512,
            "checksum_url": release.checksum_url,
            "signature_url": release.signature_url,
            "keyring": Input(release.keyring) if release.keyring else None,
            "output": Output(iso_path(layout, release)),
        },
        tools=("gpgv",) if release.signature_url else (),
    )


def plan_release(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that read each ISO: what it holds, and where in the file."""
    return tuple(
        Step(
            kind="iso",
            name=release.name,
            summary=f"read the ISO of {release.name}",
            builder="bootsmith.builders.iso:build_release",
            arguments={
                "iso": Input(iso_path(layout, release)),
                "sha256": release.sha256,
                "sha512": release.sha512,
                "facts": Output(facts_path(layout, release)),
            },
        )
        for release in site.releases.values()
    )


def plan_flavor(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that take kernel, initramfs and modloop of each flavor out of its ISO."""
    return tuple(
        Step(
            kind="flavor",
            name=boot_set.name,
            summary=f"take the boot files of {boot_set.flavor} out of {boot_set.release.name}",
            builder="bootsmith.builders.iso:build_flavor",
            arguments={
                "iso": Input(iso_path(layout, boot_set.release)),
                "facts": Input(facts_path(layout, boot_set.release)),
                "flavor": boot_set.flavor,
                "kernel": Output(flavor_file(layout, boot_set, "vmlinuz")),
                "initramfs": Output(flavor_file(layout, boot_set, "initramfs")),
                "modloop": Output(flavor_file(layout, boot_set, "modloop")),
                "config": Output(flavor_file(layout, boot_set, "config")),
            },
        )
        for boot_set in boot_sets(site)
    )
