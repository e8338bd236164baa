"""One pxerd a boot set: the stock initramfs with the features its release recipe names."""

from __future__ import annotations

from pathlib import Path

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import (
    BootSet,
    boot_sets,
    facts_path,
    flavor_file,
    iso_path,
    modloop_path,
    pxerd_path,
    signature_path,
)
from bootsmith.graph.step import Input, Output, Scratch, Step, Tree
from bootsmith.site.models import Site


def plan_pxerd(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that make each pxerd and its report."""
    return tuple(
        Step(
            kind="pxerd",
            name=boot_set.name,
            summary=f"initramfs of {boot_set.name} that boots from the network",
            builder="bootsmith.builders.pxerd:build_pxerd",
            arguments={
                "initramfs": Input(flavor_file(layout, boot_set, "initramfs")),
                "modloop": Input(_modules_of(layout, boot_set)),
                "kernel_config": Input(flavor_file(layout, boot_set, "config")),
                "kernel_release": None,
                "iso": Input(iso_path(layout, boot_set.release)),
                "facts": Input(facts_path(layout, boot_set.release)),
                "features": boot_set.release.pxerd.features_of(boot_set.flavor),
                "feature_directories": tuple(Tree(path) for path in site.feature_directories),
                "patches": boot_set.release.pxerd.patches,
                "patch_directories": tuple(Tree(path) for path in site.patch_directories),
                "signature": _input(signature_path(layout, boot_set)),
                "compression": boot_set.release.pxerd.compression,
                "level": boot_set.release.pxerd.level,
                "cache": Scratch(layout.cache / "segments"),
                "output": Output(pxerd_path(layout, boot_set)),
                "report": Output(layout.of("pxerd", boot_set.name, "report.json")),
                "addition": _addition(layout, boot_set),
            },
        )
        for boot_set in boot_sets(site)
    )


def _modules_of(layout: Layout, boot_set: BootSet) -> Path:
    """Where modules come from: what was added to the modloop can be named by features."""
    settings = boot_set.release.modloop
    own = settings.flavor.get(boot_set.flavor)
    if settings.add or (own and own.add):
        return modloop_path(layout, boot_set)
    return flavor_file(layout, boot_set, "modloop")


def _addition(layout: Layout, boot_set: BootSet) -> Output | None:
    if boot_set.release.pxerd.output == "whole":
        return None
    return Output(layout.of("pxerd", boot_set.name, f"addition-{boot_set.flavor}"))


def _input(path: Path | None) -> Input | None:
    return Input(path) if path is not None else None
