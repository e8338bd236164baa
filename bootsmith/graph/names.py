"""Names that several plans share: which boot sets a site has and where their files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bootsmith.graph.layout import Layout
from bootsmith.site.models import Image, Installer, Release, Site, Template
from bootsmith.site.scenarios import SCENARIOS, fitting_scenarios

# Where Debian puts what GRUB and SYSLINUX install; tools/ reads there.
GRUB_MODULES = "/usr/lib/grub/x86_64-efi"
MBR_CODE = "/usr/lib/syslinux/mbr/mbr.bin"


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


def boot_set_of(site: Site, template: Template | Image) -> BootSet:
    """The boot set that the machines of a template or an image run."""
    return BootSet(release=site.releases[template.release], flavor=template.flavor)


def iso_path(layout: Layout, release: Release) -> Path:
    """Where a release's ISO lies: the user's own path, or where its source step puts it."""
    if release.iso is not None:
        return release.iso
    return layout.of("source", release.name, f"{release.name}.iso")


def facts_path(layout: Layout, release: Release) -> Path:
    """What the release step learned of the ISO."""
    return layout.of("release", release.name, "facts.json")


def served_releases(site: Site) -> tuple[Release, ...]:
    """Those whose files are served to machines: of templates, each once."""
    used = {template.release for template in site.templates.values()}
    return tuple(release for release in site.releases.values() if release.name in used)


def medium_path(layout: Layout, release: Release) -> Path:
    """Digests of the files of its ISO."""
    return layout.of("medium", release.name, "digests.json")


def flavor_file(layout: Layout, boot_set: BootSet, what: str) -> Path:
    """`vmlinuz`, `initramfs`, `modloop`, `config` or `flavor.json`, as taken from the ISO."""
    return layout.of("flavor", boot_set.name, what)


def pxerd_path(layout: Layout, boot_set: BootSet) -> Path:
    """The initramfs that boots from the network."""
    return layout.of("pxerd", boot_set.name, f"pxerd-{boot_set.flavor}")


def modloop_path(layout: Layout, boot_set: BootSet) -> Path:
    """The modloop that machines get; its base name matters (signatures go by it)."""
    settings = boot_set.release.modloop
    is_renamed = settings.signature == "rename" and settings.is_changed(boot_set.flavor)
    suffix = "-changed" if is_renamed else ""
    return layout.of("modloop", boot_set.name, f"modloop-{boot_set.flavor}{suffix}")


def signature_path(layout: Layout, boot_set: BootSet) -> Path | None:
    """What a pxerd carries for its modloop to be verified; None where the stock's fits."""
    settings = boot_set.release.modloop
    if settings.signature in ("unverified", "rename"):
        return None
    is_plain = settings.signature == "auto" and settings.verify == "stock"
    if is_plain and not settings.is_changed(boot_set.flavor):
        return None
    return layout.of("signature", boot_set.name, "additions.json")


def service_path(layout: Layout, release: Release) -> Path | None:
    """The modloop service that apkovls carry; None where the release's own will do."""
    settings = release.modloop
    if settings.verify == "stock" and not settings.patches:
        return None
    return layout.of("service", release.name, "additions.json")


def ramroot_path(layout: Layout, image: Image) -> Path:
    """The root filesystem of an image, packed as an initramfs."""
    return layout.of("ramroot", image.name, f"ramroot-{image.name}")


def installer_index_path(layout: Layout, installer: Installer) -> Path:
    """What a generation's netboot tree holds of an installer."""
    return layout.of("installer", installer.name, "index.jsonl")


def apkovl_path(layout: Layout, template: Template) -> Path:
    """A template's overlay archive."""
    return layout.of("apkovl", template.name, f"{template.name}.apkovl.tar.gz")


def usbkey_path(layout: Layout, template: Template) -> Path:
    """A template's key image."""
    return layout.of("usbkey", template.name, f"{template.name}.img")


def inventory_path(layout: Layout) -> Path:
    """Every host and MAC prefix with all its values."""
    return layout.of("inventory", "inventory.jsonl")


def host_overlays_path(layout: Layout) -> Path:
    """The manifest of the apkovls of single hosts, which lie beside it."""
    return layout.of("hostovl", "manifest.jsonl")


def loaders_index_path(layout: Layout) -> Path:
    """What a generation's netboot tree holds of boot loaders."""
    return layout.of("netloader", "index.jsonl")


def netboot_index_path(layout: Layout) -> Path:
    """What it holds of boot configurations, kernels, packages and overlays."""
    return layout.of("netboot", "index.jsonl")


def netconf_index_path(layout: Layout) -> Path:
    """What it holds of server configurations."""
    return layout.of("netconf", "index.jsonl")


def possible_scenarios(site: Site) -> tuple[str, ...]:
    """The boots that the site's templates, images and network are fit for."""
    templates = [
        template.bootable(site.releases[template.release]) for template in site.templates.values()
    ]
    return fitting_scenarios(
        [*templates, *(image.bootable for image in site.images.values())],
        has_network=site.netboot is not None,
    )


def planned_scenarios(site: Site) -> tuple[str, ...]:
    """The boots to prove: those that the site asks for, else all that anyone can boot."""
    unasked = {row.name for row in SCENARIOS if not row.needs_root}
    return site.smoke.scenarios or tuple(
        [name for name in possible_scenarios(site) if name in unasked]
    )


def proof_path(layout: Layout, scenario: str) -> Path:
    """The record of a boot of the newest generation's bytes."""
    return layout.of("proof", f"{scenario}.json")
