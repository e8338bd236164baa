"""Two steps a boot scenario: one that boots each time, one that boots what is not proven yet."""

from __future__ import annotations

from typing import Any

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import (
    facts_path,
    iso_path,
    planned_scenarios,
    possible_scenarios,
    proof_path,
)
from bootsmith.graph.step import Input, Output, Scratch, Step
from bootsmith.site.models import Site
from bootsmith.site.scenarios import SCENARIOS

_ROWS = {row.name: row for row in SCENARIOS}


def plan_smoke(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that boot the newest generation and demand the guest's own proof.

    What the site does not prove can be booted all the same, if it is asked for by its name.
    """
    planned = planned_scenarios(site)
    return tuple(
        Step(
            kind="smoke",
            name=name,
            summary=f"boot {_ROWS[name].summary}",
            builder="bootsmith.smoke.run:run_smoke",
            arguments=_boot(site, layout, name),
            by_request=True,
            by_name=name not in planned,
        )
        for name in possible_scenarios(site)
    )


def plan_proof(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that boot the newest generation where no boot of the very same bytes is on record."""
    return tuple(
        Step(
            kind="proof",
            name=name,
            summary=f"unless proven: boot {_ROWS[name].summary}",
            builder="bootsmith.smoke.run:prove_scenario",
            arguments={
                **_boot(site, layout, name),
                "output": Output(proof_path(layout, name)),
            },
            in_build=False,
        )
        for name in planned_scenarios(site)
    )


def _boot(site: Site, layout: Layout, scenario: str) -> dict[str, Any]:
    row = _ROWS[scenario]
    releases = site.releases.values() if row.medium == "nfs" else ()
    netboot = site.netboot if row.medium == "network" else None
    return {
        "scenario": scenario,
        "manifest": Input(layout.latest_manifest),
        "evidence": Scratch(layout.evidence),
        "memory_mebibytes": site.smoke.memory_mebibytes,
        "accelerator": site.smoke.accel,
        "releases": {
            release.name: {
                "iso": Input(iso_path(layout, release)),
                "facts": Input(facts_path(layout, release)),
            }
            for release in releases
        },
        "network": netboot.network_values if netboot else None,
    }
