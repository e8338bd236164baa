"""What belongs together becomes one generation, and one link says which machines boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import (
    apkovl_path,
    boot_set_of,
    boot_sets,
    facts_path,
    flavor_file,
    modloop_path,
    pxerd_path,
    usbkey_path,
)
from bootsmith.graph.step import Input, Output, Scratch, Step
from bootsmith.site.models import Site

Part = dict[str, Any]


def plan_generation(site: Site, layout: Layout) -> tuple[Step, ...]:
    """The step that assembles and the step that promotes."""
    return (_assemble(site, layout), _promote(site, layout))


def _assemble(site: Site, layout: Layout) -> Step:
    return Step(
        kind="generation",
        summary="store, verify and name the set of everything that was built",
        builder="bootsmith.generations.assemble:assemble_generation",
        arguments={
            "site": site.name,
            "artifacts": (*_boot_parts(site, layout), *_template_parts(site, layout)),
            "facts": {
                release.name: Input(facts_path(layout, release))
                for release in site.releases.values()
            },
            "store": Scratch(layout.artifacts / "store"),
            "generations": Scratch(layout.artifacts / "generations"),
            "candidate": Scratch(layout.artifacts / "candidate"),
            "output": Output(layout.latest_manifest),
        },
    )


def _promote(site: Site, layout: Layout) -> Step:
    return Step(
        kind="promote",
        summary="make the newest generation current, if it passes its gate",
        builder="bootsmith.generations.promote:promote_latest",
        arguments={
            "latest": Input(layout.latest_manifest),
            "artifacts": Scratch(layout.artifacts),
            "gate": site.generation.gate,
            "output": Output(layout.of("promotion.json")),
        },
        witnesses=(layout.current_manifest,),
    )


def _boot_parts(site: Site, layout: Layout) -> Iterator[Part]:
    for boot_set in boot_sets(site):
        values = {"release": boot_set.release.name, "flavor": boot_set.flavor, "set": boot_set.name}
        kernel = flavor_file(layout, boot_set, "vmlinuz")
        yield _part("kernel", boot_set.name, kernel, values, as_name=f"vmlinuz-{boot_set.flavor}")
        report = Input(layout.of("pxerd", boot_set.name, "report.json"))
        yield _part("pxerd", boot_set.name, pxerd_path(layout, boot_set), values, report)
        yield _part("modloop", boot_set.name, modloop_path(layout, boot_set), values)


def _template_parts(site: Site, layout: Layout) -> Iterator[Part]:
    for template in site.templates.values():
        boot_set = boot_set_of(site, template)
        values = {
            "template": template.name,
            "hostname": template.hostname,
            "release": boot_set.release.name,
            "flavor": boot_set.flavor,
            "set": boot_set.name,
        }
        yield _part("apkovl", template.name, apkovl_path(layout, template), values)
        firmware = {**values, "firmware": template.usbkey.firmware}
        yield _part("usbkey", template.name, usbkey_path(layout, template), firmware)
        yield _part(
            "usbkey",
            template.name,
            layout.of("usbkey", template.name, "contents.json"),
            {"template": template.name, "release": boot_set.release.name},
        )


def _part(
    kind: str,
    name: str,
    source: Path,
    values: Mapping[str, Any],
    *reports: Input,
    as_name: str | None = None,
) -> Part:
    return {
        "path": f"{kind}/{name}/{as_name or source.name}",
        "source": Input(source),
        "kind": kind,
        "name": name,
        "values": dict(values),
        "reports": reports,
    }
