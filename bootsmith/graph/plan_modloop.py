"""One modloop a boot set: the release's own, untouched unless its recipe asks for changes."""

from __future__ import annotations

from pathlib import Path

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import BootSet, boot_sets, flavor_file, modloop_path
from bootsmith.graph.step import Input, Output, Step, Tree
from bootsmith.site.models import ModloopChanges, Site

# A source is a file if it is called like one: planning does not look.
_FILE_SUFFIXES = (
    ".ko",
    ".ko.gz",
    ".ko.xz",
    ".ko.zst",
    ".apk",
    ".tar",
    ".tar.gz",
    ".tar.bz2",
    ".tar.xz",
    ".tar.zst",
    ".tgz",
    ".zip",
    ".cpio",
)


def plan_modloop(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that make each modloop and its report."""
    return tuple(_step(layout, boot_set) for boot_set in boot_sets(site))


def _step(layout: Layout, boot_set: BootSet) -> Step:
    settings = boot_set.release.modloop
    own = settings.flavor.get(boot_set.flavor, ModloopChanges())
    is_packed_anew = settings.compression != "stock"
    return Step(
        kind="modloop",
        name=boot_set.name,
        summary=f"kernel modules of {boot_set.name} as machines mount them",
        builder="bootsmith.builders.modloop:build_modloop",
        arguments={
            "stock": Input(flavor_file(layout, boot_set, "modloop")),
            "add": tuple(_source(path) for path in (*settings.add, *own.add)),
            "keep": (*settings.keep, *own.keep),
            "drop": (*settings.drop, *own.drop),
            "compression": settings.compression,
            "kernel_config": Input(flavor_file(layout, boot_set, "config"))
            if is_packed_anew
            else None,
            "output": Output(modloop_path(layout, boot_set)),
            "report": Output(layout.of("modloop", boot_set.name, "report.json")),
        },
        tools=("mksquashfs",) if is_packed_anew else (),
    )


def _source(path: Path) -> Input | Tree:
    return Input(path) if path.name.endswith(_FILE_SUFFIXES) else Tree(path)
