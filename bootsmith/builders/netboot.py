"""netboot: what boot loaders read, and where kernels, packages and overlays are published.

The result is an index (formats/netboot_index): texts stand in it, everything else is a file of
another step, of the generation, or of an ISO. Nothing is copied here, so that one changed host
costs as much as reading and writing lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bootsmith.errors import BuildError
from bootsmith.files.atomic import write_file
from bootsmith.formats.grub_netboot_cfg import write_grub_chooser_cfg
from bootsmith.formats.host_overlays import HostOverlay, read_host_overlays
from bootsmith.formats.inventory import Host, Inventory, Role, merged_words, read_inventory
from bootsmith.formats.ipxe_script import BOOT_SCRIPT, write_boot_script
from bootsmith.formats.iso_links import resolve_path
from bootsmith.formats.netboot_configurations import (
    INITRAMFS,
    LOADERS,
    Configuration,
    ConfigurationTexts,
    configuration_of,
)
from bootsmith.formats.netboot_index import NetbootEntry, write_netboot_index
from bootsmith.formats.netboot_names import (
    DEFAULT,
    GRUB,
    IPXE,
    PXELINUX,
    apkovl_name,
    boot_path,
    configuration_path,
    host_configuration_path,
    medium_path,
    packages_path,
    prefix_configuration_path,
)
from bootsmith.formats.netboot_network import GENERATION, Network
from bootsmith.formats.netboot_words import NetbootTemplate, obstacle
from bootsmith.formats.pxelinux_cfg import write_pxelinux_armable_cfg
from bootsmith.formats.release_facts import DIRECTORY, FILE, ReleaseFacts, read_release_facts

_MARKERS = (".alpine-release", "apks/.boot_repository")
_MICROCODE = ("boot/intel-ucode.img", "boot/amd-ucode.img")
# An NFS medium boots nothing, and must not offer whatever overlay its ISO has in the root.
_NOT_OF_A_MEDIUM = ("boot/", "efi/", "boot.catalog", "[BOOT]/")
_APKOVL_MARK = ".apkovl.tar.gz"


def build_netboot(
    *,
    inventory: Path,
    host_overlays: Path,
    network: Mapping[str, Any],
    levels: Mapping[str, Any],
    templates: Mapping[str, Mapping[str, Any]],
    releases: Mapping[str, Mapping[str, Any]],
    installers: Mapping[str, Sequence[str]],
    output: Path,
) -> None:
    """Write `output`, the index.

    `network` are keywords of `Network`, `levels` what the site and its templates say of roles.
    `templates` maps names to `release`, `flavor`, `boot_set`, `modloop_name`, `options`, `serial`;
    `releases` to `facts` (a file) and `flavors`: of each, `boot_set` and `modloop_name`;
    `installers` to their kernel words.

    Raises RecipeError for options that no loader could pass on and for roles that cannot be,
    BuildError for releases that no loader can boot; the index is not touched then.
    """
    known = read_inventory(inventory.read_bytes(), subject=inventory)
    overlays = read_host_overlays(host_overlays.read_bytes(), subject=host_overlays)
    found = {
        name: read_release_facts(Path(values["facts"]).read_bytes(), subject=str(values["facts"]))
        for name, values in releases.items()
    }
    site = _Site(
        network=Network(**network),
        templates={
            name: _template(name, values, found[values["release"]])
            for name, values in templates.items()
        },
        plain={name: _plain_role(name, levels) for name in templates},
        installers=installers,
    )
    configurations = _Configurations(site)
    entries = [*_machines(known, overlays, configurations)]
    entries += configurations.entries(known)
    entries += _choosers(site.network, known)
    for name, facts in found.items():
        entries += _release(name, facts, releases[name]["flavors"])
    for template in site.templates.values():
        entries += _template_files(template)
    write_file(output, write_netboot_index(entries))


@dataclass(frozen=True, kw_only=True)
class _Site:
    network: Network
    templates: Mapping[str, NetbootTemplate]
    plain: Mapping[str, Role]
    """What each template says by itself."""
    installers: Mapping[str, Sequence[str]]


def _template(name: str, values: Mapping[str, Any], facts: ReleaseFacts) -> NetbootTemplate:
    files = {entry.path for entry in facts.files}
    return NetbootTemplate(
        name=name,
        release=values["release"],
        boot_set=values["boot_set"],
        flavor=values["flavor"],
        arch=facts.arch,
        generation=facts.generation,
        modloop_name=values["modloop_name"],
        microcode=tuple(_base(path) for path in _MICROCODE if path in files),
        options=tuple(values["options"]),
        serial=values["serial"],
    )


def _plain_role(template: str, levels: Mapping[str, Any]) -> Role:
    site, own = levels["site"], levels["templates"].get(template, {})
    values = {**site, **own}
    values["template"] = template
    values["options"] = merged_words(site.get("options", ()), own.get("options", ()))
    return Role(**values)


class _Configurations:
    """Configurations that are used by some name, each made once."""

    def __init__(self, site: _Site) -> None:
        self._site = site
        self._names: dict[tuple[str, Configuration], str] = {}
        self._users: dict[tuple[str, str], tuple[Configuration, str]] = {}
        self._add_templates()

    def name(self, loader: str, role: Role, user: str, *, own_apkovl: bool) -> str:
        """The name of what `role` boots by this loader. `user` is whose role it is."""
        if role.template not in self._site.templates:
            raise _gone(user, "template", role.template)
        configuration = configuration_of(loader, role, own_apkovl=own_apkovl)
        name = self._names.get((loader, configuration))
        if name is None:
            name = self._add(loader, configuration, user)
        return name

    def _add(self, loader: str, configuration: Configuration, user: str) -> str:
        name = configuration.name(self._site.plain.get(configuration.template or ""))
        self._names[loader, configuration] = name
        self._users[loader, name] = (configuration, user)
        return name

    def entries(self, inventory: Inventory) -> Iterator[NetbootEntry]:
        """The text of each, of each template by itself, and of each installer."""
        site = self._site
        texts = ConfigurationTexts(
            network=site.network, templates=site.templates, installers=site.installers
        )
        for (loader, name), (configuration, user) in self._users.items():
            yield _text(
                configuration_path(loader, name),
                texts.text(loader, configuration, subject=user),
            )
        for loader in LOADERS:
            for name in sorted(_install_names(inventory, site.installers)):
                path = configuration_path(loader, f"install-{name}")
                if name in site.installers:
                    yield _text(path, texts.installer_text(loader, name))
                elif name in site.plain:
                    yield _text(path, texts.installing_template_text(loader, site.plain[name]))
                else:
                    raise _gone("the inventory", "installer", name)

    def _add_templates(self) -> None:
        """What each template says by itself, where no machine of it is known either."""
        for name, role in self._site.plain.items():
            subject = f"template {name}"
            template = self._site.templates[name]
            if obstacle(template, media=role.media, subject=subject) is None:
                plain = Configuration(template=name, media=role.media, options=role.options)
                for loader in LOADERS:
                    self._add(loader, plain, subject)


def _gone(user: str, kind: str, name: str) -> BuildError:
    return BuildError(
        user, f"names {kind} {name}, and there is none", hint="build again: doit inventory"
    )


def _install_names(inventory: Inventory, installers: Mapping[str, Any]) -> set[str]:
    return {host.install for host in inventory.hosts if host.install is not None} | {*installers}


def _machines(
    inventory: Inventory, overlays: Mapping[str, HostOverlay], configurations: _Configurations
) -> Iterator[NetbootEntry]:
    """The names that machines ask for."""
    for loader in LOADERS:
        # What is not in the inventory cannot be armed: nobody could say which machine is meant.
        unknown = replace(inventory.unknown, install=None)
        name = configurations.name(loader, unknown, "[netboot]", own_apkovl=False)
        yield _link(configuration_path(loader, DEFAULT), configuration_path(loader, name))
        for rule in inventory.rules:
            user = f"rule {rule.prefix}"
            name = configurations.name(loader, replace(rule, install=None), user, own_apkovl=False)
            yield _link(
                prefix_configuration_path(loader, rule.prefix), configuration_path(loader, name)
            )
    for host in inventory.hosts:
        yield from _host(host, overlays.get(host.name), configurations)


def _host(
    host: Host, overlay: HostOverlay | None, configurations: _Configurations
) -> Iterator[NetbootEntry]:
    for loader in _loaders_of(host):
        name = configurations.name(
            loader, host, f"host {host.name}", own_apkovl=overlay is not None
        )
        path = host_configuration_path(loader, host.mac)
        if loader == PXELINUX and host.install is not None:
            yield _text(path, write_pxelinux_armable_cfg(host.mac, name))
        else:
            yield _link(path, configuration_path(loader, name))
    archive = f"http/{apkovl_name(host.mac)}"
    if overlay is None:
        yield _link(archive, f"http/{apkovl_name(host.template)}")
    else:
        yield NetbootEntry(
            path=archive,
            file=overlay.file,
            sha256=overlay.sha256,
            size_bytes=overlay.size_bytes,
        )


def _loaders_of(host: Host) -> Iterator[str]:
    if host.loader != "ipxe":
        yield PXELINUX
    if "ipxe" in (host.loader, host.uefi_loader):
        yield IPXE
    if host.uefi_loader == "grub":
        yield GRUB


def _choosers(network: Network, inventory: Inventory) -> Iterator[NetbootEntry]:
    """What iPXE and GRUB read first. PXELINUX has its own order of names."""
    yield _text(BOOT_SCRIPT, write_boot_script(network=network))
    lengths = (rule.prefix.count(":") + 1 for rule in inventory.rules)
    yield _text(f"{GRUB}/grub.cfg", write_grub_chooser_cfg(lengths))


def _template_files(template: NetbootTemplate) -> Iterator[NetbootEntry]:
    """What machines of one template load besides what their release brings."""
    apkovl = apkovl_name(template.name)
    source = f"apkovl/{template.name}/{template.name}{_APKOVL_MARK}"
    yield NetbootEntry(path=f"http/{apkovl}", part=source)
    yield NetbootEntry(path=f"{medium_path(template.release)}/{apkovl}", part=source)


def _release(
    release: str, facts: ReleaseFacts, flavors: Mapping[str, Mapping[str, str]]
) -> Iterator[NetbootEntry]:
    """Boot files of every flavor; packages by HTTP; the ISO's content as an NFS medium."""
    microcode = [path for path in _MICROCODE if facts.file(path) is not None]
    for flavor, values in flavors.items():
        boot_set, modloop_name = values["boot_set"], values["modloop_name"]
        modloop = f"modloop/{boot_set}/{modloop_name}"
        parts = {
            f"vmlinuz-{flavor}": f"kernel/{boot_set}/vmlinuz-{flavor}",
            INITRAMFS: f"pxerd/{boot_set}/pxerd-{flavor}",
        }
        for root in ("tftp", "http"):
            for name, part in parts.items():
                yield NetbootEntry(path=f"{root}/{boot_path(boot_set, name)}", part=part)
            for path in microcode:
                yield NetbootEntry(
                    path=f"{root}/{boot_path(boot_set, _base(path))}", iso=release, from_path=path
                )
        yield NetbootEntry(path=f"http/{boot_path(boot_set, modloop_name)}", part=modloop)
        yield NetbootEntry(path=f"{medium_path(release)}/boot/{modloop_name}", part=modloop)
    for path, source in _medium_files(release, facts):
        yield NetbootEntry(path=f"{medium_path(release)}/{path}", iso=release, from_path=source)
        if path.startswith("apks/"):
            name = path.removeprefix("apks/")
            yield NetbootEntry(
                path=f"http/{packages_path(release)}/{name}", iso=release, from_path=source
            )


def _medium_files(release: str, facts: ReleaseFacts) -> Iterator[tuple[str, str]]:
    """Each file of the ISO that a medium needs, and the file with its content: links followed."""
    tree = {entry.path: entry for entry in facts.files}
    for marker in _MARKERS:
        if marker not in tree:
            raise BuildError(
                f"release {release}",
                f"its ISO has no {marker}: machines would not take it for a boot medium",
                hint="use a release ISO that carries packages (standard, extended or virt)",
            )
    for entry in facts.files:
        if entry.type == DIRECTORY or entry.path.startswith(_NOT_OF_A_MEDIUM):
            continue
        if "/" not in entry.path and _APKOVL_MARK in entry.path:
            continue
        subject = f"release {release}"
        source = tree.get(resolve_path(tree, entry.path, subject=subject))
        if source is None or source.type != FILE:
            raise BuildError(
                subject,
                f"link {entry.path} of its ISO leads to no file",
                got=ascii(entry.target),
                hint="use an ISO as Alpine publishes it",
            )
        yield entry.path, source.path


def _link(path: str, to: str) -> NetbootEntry:
    """A link that leads from one path of the tree to another, both below one directory."""
    directory = path.rpartition("/")[0]
    common = directory
    climb = ""
    while not to.startswith(f"{common}/"):
        common = common.rpartition("/")[0]
        climb += "../"
    return NetbootEntry(path=path, link=climb + to[len(common) + 1 :])


def _text(path: str, content: str) -> NetbootEntry:
    return NetbootEntry(path=path, content=content, text=GENERATION in content)


def _base(path: str) -> str:
    return path.rpartition("/")[2]
