"""The files of each release's ISO by digest, for what is served out of it."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import facts_path, iso_path, medium_path, served_releases
from bootsmith.graph.step import Input, Output, Step
from bootsmith.site.models import Site


def plan_medium(site: Site, layout: Layout) -> tuple[Step, ...]:
    """One step a release that is served; none without netboot."""
    if site.netboot is None:
        return ()
    return tuple(
        Step(
            kind="medium",
            name=release.name,
            summary=f"digest each file of the ISO of {release.name}",
            builder="bootsmith.builders.medium:build_medium_digests",
            arguments={
                "iso": Input(iso_path(layout, release)),
                "facts": Input(facts_path(layout, release)),
                "output": Output(medium_path(layout, release)),
            },
        )
        for release in served_releases(site)
    )
