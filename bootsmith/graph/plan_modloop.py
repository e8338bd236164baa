"""One modloop a boot set: the release's own, untouched unless its recipe asks for changes."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import boot_sets, flavor_file, modloop_path
from bootsmith.graph.step import Input, Output, Step
from bootsmith.site.models import Site


def plan_modloop(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that make each modloop."""
    return tuple(
        Step(
            kind="modloop",
            name=boot_set.name,
            summary=f"kernel modules of {boot_set.name} as machines mount them",
            builder="bootsmith.builders.modloop:build_modloop",
            arguments={
                "stock": Input(flavor_file(layout, boot_set, "modloop")),
                "output": Output(modloop_path(layout, boot_set)),
            },
        )
        for boot_set in boot_sets(site)
    )
