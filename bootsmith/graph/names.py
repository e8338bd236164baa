"""Names that several plans share: which boot sets a site has and where their files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bootsmith.graph.layout import Layout
from bootsmith.site.models import Release, Site, Template


@dataclass(frozen=True, kw_only=True)
class BootSet:
    """Kernel, initramfs and modloop of one flavor of one release: they only work together."""

    release: Release
    flavor: str

    @property
    def name(self) -> str:
        """`<release>-<flavor>`: stays the same when the site's default release changes."""
        return f"{self.release.name}-{self.flavor}"


def boot_sets(site: Site) -> tuple[BootSet, ...]:
    """Every flavor that a release recipe asks for, in the order of the recipes."""
    return tuple(
        BootSet(release=release, flavor=flavor)
        for release in site.releases.values()
        for flavor in release.flavors
    )


def boot_set_of(site: Site, template: Template) -> BootSet:
    """The boot set that a template's machines run."""
    return BootSet(release=site.releases[template.release], flavor=template.flavor)


def iso_path(layout: Layout, release: Release) -> Path:
    """Where a release's ISO lies: the user's own path, or where its source step puts it."""
    if release.iso is not None:
        return release.iso
    return layout.of("source", release.name, f"{release.name}.iso")


def facts_path(layout: Layout, release: Release) -> Path:
    """What the release step learned of the ISO."""
    return layout.of("release", release.name, "facts.json")


def flavor_file(layout: Layout, boot_set: BootSet, what: str) -> Path:
    """`vmlinuz`, `initramfs`, `modloop`, `config` or `flavor.json`, as taken from the ISO."""
    return layout.of("flavor", boot_set.name, what)


def pxerd_path(layout: Layout, boot_set: BootSet) -> Path:
    """The initramfs that boots from the network."""
    return layout.of("pxerd", boot_set.name, f"pxerd-{boot_set.flavor}")


def modloop_path(layout: Layout, boot_set: BootSet) -> Path:
    """The modloop that machines get; its base name matters (signatures go by it)."""
    return layout.of("modloop", boot_set.name, f"modloop-{boot_set.flavor}")


def apkovl_path(layout: Layout, template: Template) -> Path:
    """A template's overlay archive."""
    return layout.of("apkovl", template.name, f"{template.name}.apkovl.tar.gz")


def usbkey_path(layout: Layout, template: Template) -> Path:
    """A template's key image."""
    return layout.of("usbkey", template.name, f"{template.name}.img")
