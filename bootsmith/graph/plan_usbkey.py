"""One key image a template: its boot set, its release's packages, its overlay."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import (
    apkovl_path,
    boot_set_of,
    facts_path,
    flavor_file,
    iso_path,
    modloop_path,
    pxerd_path,
    usbkey_path,
)
from bootsmith.graph.step import Input, Output, Scratch, Step
from bootsmith.site.models import Site, Template


def plan_usbkey(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that make each key image and its list of contents."""
    return tuple(_key(site, layout, template) for template in site.templates.values())


def _key(site: Site, layout: Layout, template: Template) -> Step:
    boot_set = boot_set_of(site, template)
    stock = template.boot.initramfs == "stock"
    initramfs = (
        flavor_file(layout, boot_set, "initramfs") if stock else pxerd_path(layout, boot_set)
    )
    return Step(
        kind="usbkey",
        name=template.name,
        summary=f"USB key image of {template.name} ({boot_set.name})",
        builder="bootsmith.builders.usbkey:build_usbkey",
        arguments={
            "iso": Input(iso_path(layout, boot_set.release)),
            "facts": Input(facts_path(layout, boot_set.release)),
            "flavor": boot_set.flavor,
            "kernel": Input(flavor_file(layout, boot_set, "vmlinuz")),
            "initramfs": Input(initramfs),
            "modloop": Input(modloop_path(layout, boot_set)),
            "apkovl": Input(apkovl_path(layout, template)),
            "template": template.name,
            "options": template.boot.options,
            "timeout_deciseconds": round(template.boot.timeout_seconds * 10),
            "serial_console": template.boot.serial,
            "size_bytes": template.usbkey.size_bytes,
            "label": template.usbkey.label,
            "firmware": template.usbkey.firmware,
            "output": Output(usbkey_path(layout, template)),
            "contents": Output(layout.of("usbkey", template.name, "contents.json")),
            "initramfs_kind": template.boot.initramfs,
            "cache": Scratch(layout.cache / "loaders"),
        },
        tools=("syslinux", "mformat", "grub-mkimage"),
    )
