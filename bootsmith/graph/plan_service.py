"""One patched modloop service a release that asks for it, carried by apkovls."""

from __future__ import annotations

from pathlib import Path

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import facts_path, iso_path, service_path
from bootsmith.graph.step import Input, Output, Scratch, Step, Tree
from bootsmith.site.loader import STRICT_PATCH
from bootsmith.site.models import Release, Site


def plan_service(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that patch the script taken out of the release's own package."""
    planned = ((release, service_path(layout, release)) for release in site.releases.values())
    return tuple(_step(site, layout, release, path) for release, path in planned if path)


def _step(site: Site, layout: Layout, release: Release, output: Path) -> Step:
    strict = (STRICT_PATCH,) if release.modloop.verify == "strict" else ()
    return Step(
        kind="service",
        name=release.name,
        summary=f"the modloop service of {release.name}, patched",
        builder="bootsmith.builders.service:build_service",
        arguments={
            "iso": Input(iso_path(layout, release)),
            "facts": Input(facts_path(layout, release)),
            "features": release.pxerd.features_of(*release.flavors),
            "patches": (*release.modloop.patches, *strict),
            "patch_directories": tuple(Tree(path) for path in site.patch_directories),
            "cache": Scratch(layout.cache / "segments"),
            "output": Output(output),
        },
    )
