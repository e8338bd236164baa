"""`[netboot]`, `[publish.NAME]` and installers, held against each other and the templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bootsmith.formats.ipv4 import Subnet, format_ipv4, parse_ipv4, parse_subnet
from bootsmith.site.findings import Findings
from bootsmith.site.models import (
    NOTHING,
    Installer,
    NetbootSettings,
    PublishTarget,
    Release,
    Site,
    Template,
    TemplateNetboot,
)
from bootsmith.site.schema import Place, check_reference, nearest

NFS = "nfs"
"""The medium, and the feature without which no machine can use it."""
# As formats.installer has them, which costs too much to import for every `doit list`.
INSTALLER_WORDS = ("disarm", "server", "url")
INSTALLER_NAMES = ("kernel", "initrd")


def check_network(place: Place, settings: NetbootSettings) -> None:
    """The addresses of `[netboot]` (at `place`) fit each other; RecipeError if not."""
    subnet = subnet_of(settings)
    server = _check_inside(place.at("server"), settings.server, settings.subnet, subnet)
    if settings.gateway is not None:
        _check_inside(place.at("gateway"), settings.gateway, settings.subnet, subnet)
    if settings.pool is not None:
        _check_pool(place.at("pool"), settings, subnet, server)


def subnet_of(settings: NetbootSettings) -> Subnet:
    """The subnet as numbers."""
    subnet = parse_subnet(settings.subnet)
    assert subnet is not None, "the key's check has read it"
    return subnet


def _number(address: str) -> int:
    number = parse_ipv4(address)
    assert number is not None, "the key's check has read it"
    return number


def _check_inside(place: Place, address: str, shown: str, subnet: Subnet) -> int:
    number = _number(address)
    if number not in subnet:
        place.fail("is outside the subnet", expected=f"an address of {shown}", got=f'"{address}"')
    if not subnet.holds_host(number):
        what = "network" if number == subnet.first else "broadcast"
        place.fail(
            f"is the {what} address of the subnet",
            expected=f"{format_ipv4(subnet.first + 1)} to {format_ipv4(subnet.last - 1)}",
            got=f'"{address}"',
        )
    return number


def _check_pool(place: Place, settings: NetbootSettings, subnet: Subnet, server: int) -> None:
    assert settings.pool is not None
    if len(settings.pool) != 2:
        place.fail(
            "bad value",
            expected="two addresses, the first and the last",
            got=f"{len(settings.pool)} addresses",
        )
    first, last = (
        _check_inside(place.at(index), address, settings.subnet, subnet)
        for index, address in enumerate(settings.pool)
    )
    if first > last:
        place.fail(
            "ends before it begins",
            got=" to ".join(settings.pool),
            hint="exchange the two addresses",
        )
    gateway = server if settings.gateway is None else _number(settings.gateway)
    for name, address in (("server", server), ("gateway", gateway)):
        if first <= address <= last:
            place.fail(
                f"holds the address of the {name}, which would be given away",
                got=" to ".join(settings.pool),
                hint=f"let the pool begin behind {format_ipv4(address)}, or end before it",
            )


def check_installers(
    places: Mapping[str, Place],
    installers: Mapping[str, Installer],
    templates: Mapping[str, Template],
) -> None:
    """Installers can be published as they are; RecipeError if not.

    `install` names an installer or a template, so no name means two things.
    """
    found = Findings()
    for name, place in places.items():
        with found:
            _check_words(place.at("options"), installers[name].options)
        with found:
            _check_file_names(place.at("files"), installers[name].files)
        if name == NOTHING or name in templates:
            with found:
                place.at("name").fail(
                    f'no installer can be called "{name}"',
                    expected="another name",
                    got="the word for no installer" if name == NOTHING else "a template called so",
                    hint='give it another name with: name = "..."',
                )
    found.raise_any()


def _check_words(place: Place, options: Sequence[str]) -> None:
    for number, option in enumerate(options):
        # What stands between two of them; a word like user@host has but one.
        for word in option.split("@")[1:-1:2]:
            if word not in INSTALLER_WORDS:
                near = nearest(word, INSTALLER_WORDS)
                place.at(number).fail(
                    f"@{word}@ stands for nothing",
                    expected=", ".join(f"@{known}@" for known in INSTALLER_WORDS),
                    got=f'"{option}"',
                    hint=f"write @{near}@" if near else "write what it shall stand for",
                )


def _check_file_names(place: Place, files: Sequence[Path]) -> None:
    """They become parts of URLs, beside those of kernel and initramfs."""
    for number, path in enumerate(files):
        if path.name in INSTALLER_NAMES or not _is_published_name(path.name):
            place.at(number).fail(
                "cannot be published under this name",
                expected="at most 64 letters, digits, dots, dashes and underscores, and neither "
                "kernel nor initrd",
                got=f'"{path.name}"',
                hint="rename the file",
            )


def _is_published_name(text: str) -> bool:
    return (
        len(text) <= 64
        and text.isascii()
        and text[:1] not in "-."
        and all(letter.isalnum() or letter in "._-" for letter in text)
    )


def check_roles(
    place: Place,
    settings: NetbootSettings,
    template_places: Mapping[str, Place],
    templates: Mapping[str, Template],
    installers: Mapping[str, Installer],
    releases: Mapping[str, Release],
) -> None:
    """What the site and each template say about booting can be done; RecipeError if not."""
    found = Findings()
    with found:
        check_reference(
            settings.template,
            templates,
            place.at("template"),
            problem="there is no such template",
            add=f"add recipes/templates/{settings.template}.toml",
        )
    with found:
        check_install(place.at("install"), settings.install, templates, installers)
    for name, template in templates.items():
        own = template_places[name].at("netboot")
        with found:
            check_install(own.at("install"), template.netboot.install, templates, installers)
        said_here = template.netboot.media is not None
        if (template.netboot.media or settings.media) == NFS:
            at = (own if said_here else place).at("media")
            with found:
                check_nfs(at, template, releases[template.release])
    found.raise_any()


def check_install(
    place: Place,
    install: str | None,
    templates: Mapping[str, Template],
    installers: Mapping[str, Installer],
) -> None:
    """`install` names what there is; RecipeError if not."""
    if install is not None:
        check_reference(
            install,
            {NOTHING, *templates, *installers},
            place,
            problem="there is no such installer or template",
            add=f"add recipes/installers/{install}.toml",
        )


def has_nfs(template: Template, release: Release) -> bool:
    """Whether machines of the template can mount an NFS medium."""
    return NFS in release.pxerd.features_of(template.flavor)


def check_nfs(place: Place, template: Template, release: Release) -> None:
    """RecipeError unless machines of `template` can mount an NFS medium."""
    if not has_nfs(template, release):
        place.fail(
            f"template {template.name} cannot mount it: the pxerd of {release.name}-"
            f"{template.flavor} lacks the feature {NFS}",
            expected='media = "http", or the feature',
            got='"nfs"',
            hint=f'add "{NFS}" to the features of [pxerd] in release {release.name}',
        )


def check_no_netboot(
    template_places: Mapping[str, Place], templates: Mapping[str, Template]
) -> None:
    """Templates of a site without `[netboot]` say nothing about it; RecipeError if one does."""
    found = Findings()
    for name, template in templates.items():
        with found:
            if template.netboot != TemplateNetboot():
                template_places[name].at("netboot").fail(
                    "is of no use: recipes/site.toml has no table [netboot]",
                    hint="add [netboot] to recipes/site.toml, or remove it here",
                )
    found.raise_any()


def check_publish(place: Place, targets: Mapping[str, PublishTarget]) -> None:
    """Every target of `[publish]` (at `place`) is one place; RecipeError if not."""
    seen: dict[str, str] = {}
    found = Findings()
    for name, target in targets.items():
        with found:
            _check_target(place.at(name), target)
        where = str(target.directory or target.ssh)
        with found:
            if where in seen:
                place.at(name).fail(
                    "delivers to the same place as another target",
                    expected="a place for each",
                    got=f"{where}, also of {seen[where]}",
                    hint="remove one of the two",
                )
        seen[where] = name
    found.raise_any()


def _check_target(place: Place, target: PublishTarget) -> None:
    if (target.directory is None) == (target.ssh is None):
        said = "says neither directory nor ssh"
        place.fail(
            said if target.directory is None else "says both directory and ssh",
            expected='exactly one of directory = "/..." and ssh = "user@host:/..."',
        )
    for key in ("port", "identity", "known_hosts"):
        if target.directory is not None and getattr(target, key) is not None:
            place.at(key).fail(
                "is of no use: this target is a directory on this machine",
                hint="remove it, or deliver to another machine with ssh",
            )


def inventory_arguments(site: Site) -> dict[str, Any]:
    """What the inventory is held against, as arguments of a step; the site has `[netboot]`."""
    assert site.netboot is not None
    return {
        "levels": role_levels(site.netboot, site.templates),
        "network": site.netboot.network_values,
        "installers": tuple(site.installers),
        "overlays": tuple(site.overlays),
        "nfs_templates": tuple(
            name
            for name, template in site.templates.items()
            if has_nfs(template, site.releases[template.release])
        ),
    }


def role_levels(site_netboot: NetbootSettings, templates: Mapping[str, Template]) -> dict[str, Any]:
    """What the site and each template say of roles, as an argument of a step."""
    return {
        "site": site_netboot.role_values,
        "templates": {name: template.netboot.role_values for name, template in templates.items()},
    }
