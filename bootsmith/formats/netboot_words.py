"""Kernel words of a machine that boots from the network: where it finds what it is made of.

Which words a release understands goes by its boot generation (formats/release_facts):

    G1   3.1, 3.2     alpine_dev=nfs:, no modloop from HTTP: an NFS medium only
    G2.. 3.3 to now   alpine_repo= and modloop= by HTTP; NFS by the patch `nfs-medium`

All name the generation that the configuration is of, so that a machine that boots while
another one becomes current gets kernel, modloop and packages that belong together.

Source of the facts: Alpine mkinitfs initramfs-init.in at 2.7.1, 3.0.1, 3.4.0 and 3.13.0
(alpine_dev, alpine_repo, apkovl, ip, BOOTIF, {MAC}); openrc modloop.initd (modloop=);
docs/pxerd.md; kernel Documentation/filesystems/nfs/client-identifier.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootsmith.errors import BootsmithError, BuildError, RecipeError
from bootsmith.formats.boot_menu import merge_kernel_options
from bootsmith.formats.netboot_names import apkovl_name, boot_path, medium_path, packages_path
from bootsmith.formats.netboot_network import HERE, Network

_FIRST_WORDS = ("modules=loop,squashfs", "quiet", "ip=dhcp")
_CONSOLES = ("console=tty0", "console=ttyS0,115200")
_OWN = "{MAC}"
# x86 without _64 has no UEFI loader here; its machines with a BIOS boot all the same.
_ARCHITECTURES = ("x86_64", "x86")


@dataclass(frozen=True, kw_only=True)
class NetbootTemplate:
    """What a template's kernel words are made of."""

    name: str
    release: str
    boot_set: str
    flavor: str
    arch: str
    """Of the release, in Alpine's words."""
    generation: str
    """The boot generation of the release, `G1` to `G5`."""
    modloop_name: str
    microcode: tuple[str, ...] = ()
    """Names of images that are loaded before the initramfs."""
    options: tuple[str, ...] = ()
    """Of the template's recipe, and those that verify its modloop."""
    serial: bool = True


def obstacle(template: NetbootTemplate, *, media: str, subject: object) -> BootsmithError | None:
    """Why machines of `template` cannot boot from `media` by the loaders here; None if they can."""
    if template.arch not in _ARCHITECTURES:
        return BuildError(
            subject,
            f"no network boot loader for release {template.release}",
            expected=f"a release for {' or '.join(_ARCHITECTURES)}",
            got=template.arch,
            hint="name another template in [netboot] and in recipes/hosts.toml",
        )
    if media == "http" and template.generation == "G1":
        return RecipeError(
            subject,
            f"release {template.release} cannot boot from HTTP: its modloop service takes no URL",
            expected='media = "nfs" for Alpine 3.1 and 3.2',
            got="http",
            hint=f'write media = "nfs" in [netboot] of template {template.name}',
        )
    return None


def kernel_words(
    template: NetbootTemplate,
    *,
    network: Network,
    media: str,
    own_apkovl: bool,
    options: Sequence[str],
) -> tuple[str, ...]:
    """The words for `media` (`http` or `nfs`), then the template's, then `options`.

    A word of the template or the options stands for one of the same name before it.
    `own_apkovl` takes the archive that is named by the machine's MAC address; only HTTP can.
    """
    words = _nfs_words if media == "nfs" else _http_words
    defaults = (
        *_FIRST_WORDS,
        *words(template, network),
        f"apkovl={_apkovl(template, network, media=media, own=own_apkovl)}",
        *(_CONSOLES if template.serial else ()),
    )
    chosen = merge_kernel_options(template.options, options)
    return merge_kernel_options(defaults, chosen)


def _http_words(template: NetbootTemplate, network: Network) -> tuple[str, ...]:
    tree = _http_tree(network)
    return (
        f"alpine_repo={tree}/{packages_path(template.release)}",
        f"modloop={tree}/{boot_path(template.boot_set, template.modloop_name)}",
    )


def _nfs_words(template: NetbootTemplate, network: Network) -> tuple[str, ...]:
    # Without vers= it is version 3. A client of version 4.1 is known by its name, and all machines
    # have the same one until they have their overlay: one after another would lose its state.
    export = f"{network.root}/{HERE}/{medium_path(template.release)}"
    return (
        f"alpine_dev=nfs:{network.server}:{export}",
        f"modloop=/boot/{template.modloop_name}",
    )


def _apkovl(template: NetbootTemplate, network: Network, *, media: str, own: bool) -> str:
    if own:
        return f"{_http_tree(network)}/{apkovl_name(_OWN)}"
    if media == "nfs":
        # Relative to the medium; not in its root, where init takes whatever it finds.
        return apkovl_name(template.name)
    return f"{_http_tree(network)}/{apkovl_name(template.name)}"


def _http_tree(network: Network) -> str:
    return f"{network.url}/{HERE}/http"
