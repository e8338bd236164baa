"""Every kind of step there is. A new kind is one line here."""

from __future__ import annotations

from collections.abc import Callable

from bootsmith.graph.layout import Layout
from bootsmith.graph.plan_apkovl import plan_apkovl
from bootsmith.graph.plan_generation import plan_generation
from bootsmith.graph.plan_modloop import plan_modloop
from bootsmith.graph.plan_pxerd import plan_pxerd
from bootsmith.graph.plan_release import plan_flavor, plan_lock, plan_release, plan_source
from bootsmith.graph.plan_smoke import plan_smoke
from bootsmith.graph.plan_usbkey import plan_usbkey
from bootsmith.graph.step import Group, Step
from bootsmith.site.models import Site

PLANS: tuple[Callable[[Site, Layout], tuple[Step, ...]], ...] = (
    plan_lock,
    plan_source,
    plan_release,
    plan_flavor,
    plan_pxerd,
    plan_modloop,
    plan_apkovl,
    plan_usbkey,
    plan_generation,
    plan_smoke,
)


def plan_site(site: Site, layout: Layout) -> tuple[tuple[Step, ...], tuple[Group, ...]]:
    """Every step of the site, and the verbs over them."""
    steps = tuple(step for plan in PLANS for step in plan(site, layout))
    build = Group(
        name="build",
        summary="build everything that is stale, assemble it and make it current",
        members=tuple(step.label for step in steps if not step.by_request),
    )
    return steps, (build,)
