"""The verb that delivers generations to where they are served."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.verb import Option, Verb
from bootsmith.site.models import PublishTarget, Site


def plan_publish_verb(site: Site, layout: Layout) -> Verb:
    """Not under the lock of runs: a build goes on beside a long delivery."""
    return Verb(
        name="publish",
        summary="deliver the current generation to the machines that serve it",
        call="bootsmith.publish.deliver:publish_generation",
        arguments={
            "artifacts": layout.artifacts,
            "targets": {name: _target(site, one) for name, one in site.publish.items()},
        },
        options=(
            Option(
                name="generation",
                about="another one than current",
                placeholder="ID",
                completes="generation",
            ),
            Option(name="dry-run", about="only look, and say what would be sent", default=False),
            Option(name="take-over", about="also where another site is served now", default=False),
            Option(name="json", about="for programs, as JSON", default=False, parameter="as_json"),
        ),
        operands="[TARGET...]",
        completes="target",
        examples=(
            "doit publish                              # to every [publish.NAME] of site.toml",
            "doit publish rack-2 --dry-run             # what that one lacks",
            "doit publish --generation 2026-11-20.1    # an older one; quick where it still is",
        ),
    )


def _target(site: Site, target: PublishTarget) -> dict[str, object]:
    return {
        "directory": site.root / target.directory if target.directory else None,
        "ssh": target.ssh,
        "port": target.port,
        "identity": target.identity,
        "known_hosts": target.known_hosts,
        "keep": target.keep or site.generation.keep,
    }
