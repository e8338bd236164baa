"""The apkovls of single hosts, all in one step: hosts are not known when steps are declared."""

from __future__ import annotations

from typing import Any

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import (
    boot_set_of,
    host_overlays_path,
    inventory_path,
    service_path,
)
from bootsmith.graph.step import Input, Output, Scratch, Step, Tree, Witness
from bootsmith.site.models import Site, Template


def plan_hostovl(site: Site, layout: Layout) -> tuple[Step, ...]:
    """The step that packs what hosts have of their own; none without netboot."""
    if site.netboot is None:
        return ()
    manifest = host_overlays_path(layout)
    return (
        Step(
            kind="hostovl",
            summary="pack the overlays of hosts that have their own",
            builder="bootsmith.builders.hostovl:build_host_overlays",
            arguments={
                "inventory": Input(inventory_path(layout)),
                "templates": {
                    template.name: _recipe(site, layout, template)
                    for template in site.templates.values()
                },
                "overlays": {
                    overlay.name: {
                        "tree": Tree(overlay.tree),
                        "owners": Input(overlay.owners) if overlay.owners else None,
                    }
                    for overlay in site.overlays.values()
                },
                "build": Scratch(layout.build),
                "record": Scratch(layout.cache / "hostovl.json"),
                "output": Output(manifest),
            },
            witnesses=(Witness(path=manifest.parent / "files"),),
        ),
    )


def _recipe(site: Site, layout: Layout, template: Template) -> dict[str, Any]:
    service = service_path(layout, boot_set_of(site, template).release)
    return {
        "overlays": tuple(overlay.name for overlay in template.overlays),
        "packages": template.packages,
        "runlevels": template.runlevels,
        "default_boot_services": template.default_boot_services,
        "service": Input(service) if service is not None else None,
    }
