"""One step a boot scenario: never part of a build, done each time it is asked for."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.step import Input, Scratch, Step
from bootsmith.site.models import Site

# The rows of smoke/scenarios.py with their sentences; a test compares the two. Spelled
# again here because planning must not load the harness.
SCENARIO_SUMMARIES = {
    "key-usb-bios": "the key as a USB stick (xHCI), BIOS",
    "key-usb-beside-disk": "the key as a USB stick beside an empty hard disk, BIOS",
    "key-virtio-bios": "the key as a virtio disk, BIOS",
    "key-uefi": "the key as a virtio disk, UEFI",
    "direct-pxerd": "kernel and pxerd loaded directly, the key as a virtio medium",
}


def plan_smoke(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that boot the newest generation and demand the guest's own proof."""
    return tuple(
        Step(
            kind="smoke",
            name=name,
            summary=f"boot {summary}",
            builder="bootsmith.smoke.run:run_smoke",
            arguments={
                "scenario": name,
                "manifest": Input(layout.latest_manifest),
                "evidence": Scratch(layout.evidence),
                "memory_mebibytes": site.smoke.memory_mebibytes,
                "accelerator": site.smoke.accel,
            },
            by_request=True,
        )
        for name, summary in SCENARIO_SUMMARIES.items()
    )
