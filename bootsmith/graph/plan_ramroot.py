"""One ramroot an image: its whole root filesystem as the initramfs of its kernel."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import boot_set_of, facts_path, flavor_file, iso_path, ramroot_path
from bootsmith.graph.step import Input, Output, Scratch, Step, Tree
from bootsmith.site.models import Image, Site


def plan_ramroot(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that pack each image and its report."""
    return tuple(_step(site, layout, image) for image in site.images.values())


def _step(site: Site, layout: Layout, image: Image) -> Step:
    boot_set = boot_set_of(site, image)
    release = boot_set.release
    return Step(
        kind="ramroot",
        name=image.name,
        summary=f"root filesystem of {image.name}: {image.summary}",
        builder="bootsmith.builders.ramroot:build_ramroot",
        arguments={
            "image": image.name,
            "directory": Tree(image.directory) if image.directory else None,
            "keeps_owners": image.disk_owners,
            "tarball": Input(image.tarball) if image.tarball else None,
            "packages": image.packages,
            "iso": Input(iso_path(layout, release)) if image.packages else None,
            "facts": Input(facts_path(layout, release)) if image.packages else None,
            "exclude": image.exclude,
            "owners": Input(image.owners) if image.owners else None,
            "overlays": tuple(Tree(overlay.tree) for overlay in image.overlays),
            "overlay_owners": tuple(
                Input(overlay.owners) if overlay.owners else None for overlay in image.overlays
            ),
            "hostname": image.hostname,
            "runlevels": image.runlevels,
            "modules": image.modules,
            "modloop": (Input(flavor_file(layout, boot_set, "modloop")) if image.modules else None),
            "feature_directories": (
                tuple(Tree(path) for path in site.feature_directories) if image.modules else ()
            ),
            "init": image.init,
            "memory_bytes": (image.memory_mebibytes or 0) << 20,
            "kernel_config": Input(flavor_file(layout, boot_set, "config")),
            "compression": image.compression,
            "level": image.level,
            "cache": Scratch(layout.cache / "segments"),
            "output": Output(ramroot_path(layout, image)),
            "report": Output(layout.of("ramroot", image.name, "report.json")),
        },
    )
