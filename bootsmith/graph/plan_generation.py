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
    installer_index_path,
    iso_path,
    loaders_index_path,
    medium_path,
    modloop_path,
    netboot_index_path,
    netconf_index_path,
    planned_scenarios,
    proof_path,
    pxerd_path,
    ramroot_path,
    served_releases,
    usbkey_path,
)
from bootsmith.graph.step import Input, Output, Scratch, Step, Witness
from bootsmith.site.models import Site

Part = dict[str, Any]

# As formats/netboot_tree has them: the directory of the tree, and its index.
_NETBOOT = "netboot"
_NETBOOT_INDEX = f"{_NETBOOT}/INDEX.jsonl"


def plan_generation(site: Site, layout: Layout) -> tuple[Step, ...]:
    """The step that assembles, the step that promotes, and the one that does so after boots."""
    return (_assemble(site, layout), _promote(site, layout), _release(site, layout))


def _assemble(site: Site, layout: Layout) -> Step:
    parts = tuple(_parts(site, layout))
    latest = layout.latest_manifest.parent
    return Step(
        kind="generation",
        summary="store, verify and name the set of everything that was built",
        builder="bootsmith.generations.assemble:assemble_generation",
        arguments={
            "site": site.name,
            "artifacts": parts,
            "facts": {
                release.name: Input(facts_path(layout, release))
                for release in site.releases.values()
            },
            "netboot": netboot_sources(site, layout),
            "store": Scratch(layout.artifacts / "store"),
            "generations": Scratch(layout.artifacts / "generations"),
            "candidate": Scratch(layout.artifacts / "candidate"),
            "site_root": Scratch(layout.root),
            "output": Output(layout.latest_manifest),
        },
        # A file that was lost or cut short there shows; an edit of equal size is for verify, and
        # so is the netboot tree: ten thousand names are too many to ask for each time.
        witnesses=(
            *(Witness(path=latest / part["path"], like=part["source"].path) for part in parts),
            *((Witness(path=latest / _NETBOOT_INDEX),) if site.netboot else ()),
        ),
    )


def netboot_sources(site: Site, layout: Layout) -> Mapping[str, Any] | None:
    """What `gather_netboot` reads; None where nothing boots from the network."""
    if site.netboot is None:
        return None
    installers = (installer_index_path(layout, one) for one in site.installers.values())
    return {
        "indexes": tuple(
            map(
                Input,
                (
                    loaders_index_path(layout),
                    netboot_index_path(layout),
                    netconf_index_path(layout),
                    *installers,
                ),
            )
        ),
        "media": {
            release.name: {
                "iso": Input(iso_path(layout, release)),
                "facts": Input(facts_path(layout, release)),
                "digests": Input(medium_path(layout, release)),
            }
            for release in served_releases(site)
        },
        "build": Scratch(layout.build),
    }


def _promote(site: Site, layout: Layout) -> Step:
    return Step(
        kind="promote",
        summary="make the newest generation current, if it passes its gate",
        builder=_PROMOTE,
        arguments={
            **_promotion(site, layout),
            "gate": site.generation.gate,
            "output": Output(layout.of("promotion.json")),
        },
        witnesses=tuple(_current_links(site, layout)),
        in_build=site.generation.gate == "checks",
    )


def _release(site: Site, layout: Layout) -> Step:
    """Whatever the site's gate is: asking for a release is asking for the boots."""
    scenarios = planned_scenarios(site)
    return Step(
        kind="release",
        summary="build, prove by boots what is not proven, and make it current",
        builder=_PROMOTE,
        arguments={
            **_promotion(site, layout),
            "gate": "boot",
            "proofs": tuple(Input(proof_path(layout, name)) for name in scenarios),
            "output": Output(layout.of("release.json")),
        },
        witnesses=tuple(_current_links(site, layout)),
        in_build=False,
    )


_PROMOTE = "bootsmith.generations.promote:promote_latest"


def _promotion(site: Site, layout: Layout) -> dict[str, Any]:
    return {
        "latest": Input(layout.latest_manifest),
        "artifacts": Scratch(layout.artifacts),
        "scenarios": planned_scenarios(site),
        "evidence": Scratch(layout.evidence),
    }


def _current_links(site: Site, layout: Layout) -> Iterator[Witness]:
    parts = tuple(_parts(site, layout))
    current = layout.current_manifest.parent
    yield Witness(path=layout.current_manifest)
    places = {f"{part['kind']}/{part['name']}" for part in parts}
    for place in sorted(places | ({_NETBOOT} if site.netboot else set())):
        yield Witness(
            path=layout.artifacts / place / "current",
            text=f"{'../' * (place.count('/') + 1)}current/{place}",
            where=current / place,  # an older generation may lack it
        )


def _parts(site: Site, layout: Layout) -> Iterator[Part]:
    yield from _boot_parts(site, layout)
    yield from _template_parts(site, layout)
    yield from _image_parts(site, layout)


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
        report = Input(layout.of("usbkey", template.name, "report.json"))
        yield _part("usbkey", template.name, usbkey_path(layout, template), firmware, report)
        yield _part(
            "usbkey",
            template.name,
            layout.of("usbkey", template.name, "contents.json"),
            {"template": template.name, "release": boot_set.release.name},
        )


def _image_parts(site: Site, layout: Layout) -> Iterator[Part]:
    for image in site.images.values():
        boot_set = boot_set_of(site, image)
        values = {
            "template": image.name,
            "hostname": image.hostname,
            "memory_mebibytes": image.memory_mebibytes,
            "release": boot_set.release.name,
            "flavor": boot_set.flavor,
            "set": boot_set.name,
        }
        report = Input(layout.of("ramroot", image.name, "report.json"))
        yield _part("ramroot", image.name, ramroot_path(layout, image), values, report)


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
