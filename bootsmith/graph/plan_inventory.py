"""One inventory a site. Hosts are read by its step, never while declaring: they are many."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import inventory_path
from bootsmith.graph.step import Input, Output, Step, Tree
from bootsmith.site.inventory_files import IMPORTS, RECIPE
from bootsmith.site.models import Site
from bootsmith.site.netboot import inventory_arguments


def plan_inventory(site: Site, layout: Layout) -> tuple[Step, ...]:
    """The step that resolves the inventory, where the site has `[netboot]`."""
    if site.netboot is None:
        return ()
    return (
        Step(
            kind="inventory",
            summary="which machine is what: hosts, groups and MAC prefixes, resolved",
            builder="bootsmith.builders.inventory:build_inventory",
            arguments={
                "recipe": Input(site.root / RECIPE),
                "imports": Tree(site.root / IMPORTS),
                **inventory_arguments(site),
                "output": Output(inventory_path(layout)),
            },
        ),
    )
