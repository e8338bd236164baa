"""The configurations of the servers of a network, all in one step."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import (
    boot_sets,
    inventory_path,
    modloop_path,
    netconf_index_path,
    usbkey_path,
)
from bootsmith.graph.step import Input, Output, Scratch, Step
from bootsmith.site.models import Site


def plan_netconf(site: Site, layout: Layout) -> tuple[Step, ...]:
    """The step that writes them; none without netboot."""
    if site.netboot is None:
        return ()
    return (
        Step(
            kind="netconf",
            summary="configurations of DHCP, TFTP, HTTP, NFS, DNS and NBD servers",
            builder="bootsmith.builders.netconf:build_netconf",
            arguments={
                "inventory": Input(inventory_path(layout)),
                "network": site.netboot.network_values,
                "images": _images(site, layout),
                "build": Scratch(layout.build),
                "output": Output(netconf_index_path(layout)),
            },
        ),
    )


def _images(site: Site, layout: Layout) -> tuple[str, ...]:
    """Paths below a generation of what can be a block device."""
    modloops = [
        f"modloop/{boot_set.name}/{modloop_path(layout, boot_set).name}"
        for boot_set in boot_sets(site)
    ]
    keys = [
        f"usbkey/{template.name}/{usbkey_path(layout, template).name}"
        for template in site.templates.values()
    ]
    return (*modloops, *keys)
