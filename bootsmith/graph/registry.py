"""Every kind of step there is. A new kind is one line here."""

from __future__ import annotations

from collections.abc import Callable

from bootsmith.graph.layout import Layout
from bootsmith.graph.plan_apkovl import plan_apkovl
from bootsmith.graph.plan_generation import plan_generation
from bootsmith.graph.plan_hostovl import plan_hostovl
from bootsmith.graph.plan_installer import plan_installer
from bootsmith.graph.plan_inventory import plan_inventory
from bootsmith.graph.plan_medium import plan_medium
from bootsmith.graph.plan_modloop import plan_modloop
from bootsmith.graph.plan_netboot import plan_netboot
from bootsmith.graph.plan_netconf import plan_netconf
from bootsmith.graph.plan_pxerd import plan_pxerd
from bootsmith.graph.plan_ramroot import plan_ramroot
from bootsmith.graph.plan_release import plan_flavor, plan_lock, plan_release, plan_source
from bootsmith.graph.plan_service import plan_service
from bootsmith.graph.plan_signature import plan_signature
from bootsmith.graph.plan_smoke import plan_proof, plan_smoke
from bootsmith.graph.plan_usbkey import plan_usbkey
from bootsmith.graph.step import Group, Step
from bootsmith.site.models import Site

PLANS: tuple[Callable[[Site, Layout], tuple[Step, ...]], ...] = (
    plan_lock,
    plan_source,
    plan_release,
    plan_flavor,
    plan_medium,
    plan_modloop,
    plan_signature,
    plan_pxerd,
    plan_service,
    plan_apkovl,
    plan_usbkey,
    plan_ramroot,
    plan_installer,
    plan_inventory,
    plan_hostovl,
    plan_netboot,
    plan_netconf,
    plan_generation,
    plan_smoke,
    plan_proof,
)


def plan_site(site: Site, layout: Layout) -> tuple[tuple[Step, ...], tuple[Group, ...]]:
    """Every step of the site, and the verbs over them."""
    steps = tuple(step for plan in PLANS for step in plan(site, layout))
    build = Group(
        name="build",
        summary="build everything that is stale, assemble it"
        + (" and make it current" if site.generation.gate == "checks" else " as a candidate"),
        members=tuple(step.label for step in steps if step.in_build and not step.by_request),
    )
    return steps, (build,)
