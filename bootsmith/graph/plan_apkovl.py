"""One apkovl a template."""

from __future__ import annotations

from pathlib import Path

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import apkovl_path, boot_set_of, service_path
from bootsmith.graph.step import Input, Output, Step, Tree
from bootsmith.site.models import Site


def plan_apkovl(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that pack each template's overlay stack."""
    return tuple(
        Step(
            kind="apkovl",
            name=template.name,
            summary=f"overlay of {template.name}: {template.summary}",
            builder="bootsmith.builders.apkovl:build_apkovl",
            arguments={
                "overlays": tuple(Tree(overlay.tree) for overlay in template.overlays),
                "owners": tuple(
                    Input(overlay.owners) if overlay.owners else None
                    for overlay in template.overlays
                ),
                "template": template.name,
                "hostname": template.hostname,
                "packages": template.packages,
                "runlevels": template.runlevels,
                "default_boot_services": template.default_boot_services,
                "service": _input(service_path(layout, boot_set_of(site, template).release)),
                "output": Output(apkovl_path(layout, template)),
                "contents": Output(layout.of("apkovl", template.name, "contents.json")),
            },
        )
        for template in site.templates.values()
    )


def _input(path: Path | None) -> Input | None:
    return Input(path) if path is not None else None
