"""What machines load over the network: loaders, and configurations for every host.

One step for all hosts: they are not known when steps are declared, and ten thousand steps would
take longer to look at than their work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import (
    GRUB_MODULES,
    BootSet,
    boot_set_of,
    facts_path,
    host_overlays_path,
    inventory_path,
    loaders_index_path,
    modloop_path,
    netboot_index_path,
)
from bootsmith.graph.step import Input, Output, Scratch, Step
from bootsmith.site.models import NetbootSettings, Release, Site, Template
from bootsmith.site.netboot import role_levels

_PXELINUX = "/usr/lib/PXELINUX"
_PXELINUX_MODULES = "/usr/lib/syslinux/modules/bios"
_IPXE = "/usr/lib/ipxe"
_LOADERS = {
    "pxelinux.0": _PXELINUX,
    "lpxelinux.0": _PXELINUX,
    "undionly.kpxe": _IPXE,
    "ipxe.efi": _IPXE,
    "snponly.efi": _IPXE,
}
# What PXELINUX cannot start without, what configurations call, and what modules can need.
_MODULES = ("ldlinux", "reboot", "libcom32", "libutil", "libgpl", "libmenu", "liblua")


def plan_netboot(site: Site, layout: Layout) -> tuple[Step, ...]:
    """The step for loaders, and the one for all that they read; none without netboot."""
    if site.netboot is None:
        return ()
    return (_loaders(site.netboot, layout), _configurations(site, site.netboot, layout))


def _loaders(settings: NetbootSettings, layout: Layout) -> Step:
    modules = dict.fromkeys((*_MODULES, *settings.modules))
    return Step(
        kind="netloader",
        summary="network boot loaders: PXELINUX, iPXE, GRUB",
        builder="bootsmith.builders.netloader:build_netloader",
        arguments={
            "loaders": {name: Output(layout.of("netloader", name)) for name in _LOADERS},
            "modules": {
                f"{name}.c32": Output(layout.of("netloader", f"{name}.c32")) for name in modules
            },
            "grub": Output(layout.of("netloader", "grubnetx64.efi")),
            "build": Scratch(layout.build),
            "index": Output(loaders_index_path(layout)),
        },
        tools=("grub-mkimage",),
        machine_files=(
            GRUB_MODULES,
            _PXELINUX_MODULES,
            *(f"{directory}/{name}" for name, directory in _LOADERS.items()),
        ),
    )


def _configurations(site: Site, settings: NetbootSettings, layout: Layout) -> Step:
    used = {template.release for template in site.templates.values()}
    return Step(
        kind="netboot",
        summary="boot configurations for every host, and where what they name is published",
        builder="bootsmith.builders.netboot:build_netboot",
        arguments={
            "inventory": Input(inventory_path(layout)),
            "host_overlays": Input(host_overlays_path(layout)),
            "network": settings.network_values,
            "levels": role_levels(settings, site.templates),
            "templates": {
                template.name: _template(site, layout, template)
                for template in site.templates.values()
            },
            "releases": {
                release.name: {
                    "facts": Input(facts_path(layout, release)),
                    "flavors": {
                        flavor: _boot_set(layout, release, flavor) for flavor in release.flavors
                    },
                }
                for release in site.releases.values()
                if release.name in used
            },
            "installers": {
                installer.name: installer.options for installer in site.installers.values()
            },
            "output": Output(netboot_index_path(layout)),
        },
    )


def _template(site: Site, layout: Layout, template: Template) -> Mapping[str, Any]:
    boot_set = boot_set_of(site, template)
    is_unverified = boot_set.release.modloop.signature == "unverified"
    return {
        "release": boot_set.release.name,
        "flavor": boot_set.flavor,
        **_boot_set(layout, boot_set.release, boot_set.flavor),
        "options": (
            *(("modloop_verify=no",) if is_unverified else ()),
            *template.boot.options,
        ),
        "serial": template.boot.serial,
    }


def _boot_set(layout: Layout, release: Release, flavor: str) -> Mapping[str, str]:
    boot_set = BootSet(release=release, flavor=flavor)
    return {"boot_set": boot_set.name, "modloop_name": modloop_path(layout, boot_set).name}
