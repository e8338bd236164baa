"""One pxerd a boot set: the stock initramfs with the features its release recipe names."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import boot_sets, facts_path, flavor_file, iso_path, pxerd_path
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
                "modloop": Input(flavor_file(layout, boot_set, "modloop")),
                "kernel_config": Input(flavor_file(layout, boot_set, "config")),
                "kernel_release": None,
                "iso": Input(iso_path(layout, boot_set.release)),
                "facts": Input(facts_path(layout, boot_set.release)),
                "features": boot_set.release.pxerd.features,
                "feature_directories": tuple(Tree(path) for path in site.feature_directories),
                "compression": boot_set.release.pxerd.compression,
                "level": boot_set.release.pxerd.level,
                "cache": Scratch(layout.cache / "segments"),
                "output": Output(pxerd_path(layout, boot_set)),
                "report": Output(layout.of("pxerd", boot_set.name, "report.json")),
            },
        )
        for boot_set in boot_sets(site)
    )
