"""One signature a boot set whose modloop is not simply the release's own."""

from __future__ import annotations

from pathlib import Path

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import (
    BootSet,
    boot_sets,
    facts_path,
    flavor_file,
    modloop_path,
    signature_path,
)
from bootsmith.graph.step import Input, Output, Scratch, Step
from bootsmith.site.models import Site


def plan_signature(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps of their own, so that another key makes no other modloop."""
    planned = ((boot_set, signature_path(layout, boot_set)) for boot_set in boot_sets(site))
    return tuple(_step(layout, boot_set, path) for boot_set, path in planned if path is not None)


def _step(layout: Layout, boot_set: BootSet, output: Path) -> Step:
    settings = boot_set.release.modloop
    key = layout.keys / f"{settings.signing_key}.rsa" if settings.signing_key else None
    return Step(
        kind="signature",
        name=boot_set.name,
        summary=f"what machines verify the modloop of {boot_set.name} with",
        builder="bootsmith.builders.signature:build_signature",
        arguments={
            "modloop": Input(modloop_path(layout, boot_set)),
            "initramfs": Input(flavor_file(layout, boot_set, "initramfs")),
            "facts": Input(facts_path(layout, boot_set.release)),
            "choice": settings.signature,
            "is_strict": settings.verify == "strict",
            "private_key": Input(key) if key else None,
            "public_key": Input(key.with_name(f"{key.name}.pub")) if key else None,
            "cache": Scratch(layout.cache / "segments"),
            "output": Output(output),
        },
    )
