"""One key image a template: its boot set, its release's packages, its overlay."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import (
    GRUB_MODULES,
    MBR_CODE,
    BootSet,
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
    bios, uefi = "bios" in template.usbkey.firmware, "uefi" in template.usbkey.firmware
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
            "modloop_name": modloop_path(layout, boot_set).name,
            "apkovl": Input(apkovl_path(layout, template)),
            "template": template.name,
            "options": (*_verification_words(boot_set, template), *template.boot.options),
            "timeout_deciseconds": round(template.boot.timeout_seconds * 10),
            "serial_console": template.boot.serial,
            "size_bytes": template.usbkey.size_bytes,
            "label": template.usbkey.label,
            "firmware": template.usbkey.firmware,
            "output": Output(usbkey_path(layout, template)),
            "contents": Output(layout.of("usbkey", template.name, "contents.json")),
            "report": Output(layout.of("usbkey", template.name, "report.json")),
            "initramfs_kind": template.boot.initramfs,
            "cache": Scratch(layout.cache / "loaders"),
        },
        tools=(("syslinux", "mformat") if bios else ()) + (("grub-mkimage",) if uefi else ()),
        machine_files=((MBR_CODE,) if bios else ()) + ((GRUB_MODULES,) if uefi else ()),
    )


def _verification_words(boot_set: BootSet, template: Template) -> tuple[str, ...]:
    """The word for machines that carry a signature, but not one of this modloop."""
    settings = boot_set.release.modloop
    has_foreign = (
        template.boot.initramfs == "stock"
        and settings.is_changed(boot_set.flavor)
        and settings.signature != "rename"
    )
    return ("modloop_verify=no",) if settings.signature == "unverified" or has_foreign else ()
