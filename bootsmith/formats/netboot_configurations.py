"""The boot configurations of a netboot tree: one for all machines that boot alike.

What a machine boots with is a role (formats/inventory). All with the same role share one
configuration, to which their own names are links; so ten thousand hosts have a handful of texts.
Names say what is special, behind signs that no template's name has:

    template-web                 what the template says, with its own medium and words
    template-web+own             the archive that is named by the machine's MAC address
    template-web+nfs             another medium than the template's
    template-web+3f786850e387    other kernel words, by their digest
    template-web+lpxelinux       kernel and initramfs by HTTP (PXELINUX only)
    template-web+armable         looks for what is armed first (iPXE and GRUB only)
    disk, disk+armable           the machine's own disk
    install-debian               an installer, or a template that installs
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bootsmith.formats.grub_netboot_cfg import write_grub_disk_cfg, write_grub_netboot_cfg
from bootsmith.formats.installer import (
    filled_in,
    installer_initrd,
    installer_kernel,
    installer_values,
)
from bootsmith.formats.inventory import Role
from bootsmith.formats.ipxe_script import write_ipxe_disk_script, write_ipxe_script
from bootsmith.formats.netboot_names import GRUB, IPXE, PXELINUX, boot_path
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.netboot_words import NetbootTemplate, kernel_words, obstacle
from bootsmith.formats.network_boot import NetworkBoot
from bootsmith.formats.pxelinux_cfg import write_pxelinux_cfg, write_pxelinux_disk_cfg

INITRAMFS = "pxerd"
"""What the initramfs of every boot set is called."""
LOADERS = (PXELINUX, IPXE, GRUB)
_DIGEST_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What machines of one kind boot; `template` is None for their own disk."""

    template: str | None
    media: str = "http"
    own_apkovl: bool = False
    options: tuple[str, ...] = ()
    by_http: bool = False
    is_armable: bool = False

    def name(self, plain: Role | None) -> str:
        """Its name, where `plain` is what the template says by itself."""
        marks = ["+armable"] if self.is_armable else []
        if self.template is None or plain is None:
            return "".join(("disk", *marks))
        if self.by_http:
            marks.insert(0, "+lpxelinux")
        if self.options != plain.options:
            digest = hashlib.sha256("\n".join(self.options).encode()).hexdigest()
            marks.insert(0, f"+{digest[:_DIGEST_DIGITS]}")
        if self.media != plain.media:
            marks.insert(0, f"+{self.media}")
        if self.own_apkovl:
            marks.insert(0, "+own")
        return "".join((f"template-{self.template}", *marks))


def configuration_of(loader: str, role: Role, *, own_apkovl: bool) -> Configuration:
    """What a machine of `role` boots by the loader of this directory, one of LOADERS.

    PXELINUX is told by a file of the machine's own what is armed for it.
    """
    is_armable = role.install is not None and loader != PXELINUX
    if role.boot == "disk":
        return Configuration(template=None, is_armable=is_armable)
    return Configuration(
        template=role.template,
        media=role.media,
        own_apkovl=own_apkovl,
        options=role.options,
        by_http=loader == PXELINUX and role.loader == "lpxelinux",
        is_armable=is_armable,
    )


@dataclass(frozen=True, kw_only=True)
class ConfigurationTexts:
    """Writes configurations; `templates` and `installers` (their kernel words) are by name."""

    network: Network
    templates: Mapping[str, NetbootTemplate]
    installers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def text(self, loader: str, configuration: Configuration, *, subject: str) -> str:
        """The text for the loader of this directory; RecipeError, about `subject`."""
        if configuration.template is None:
            return self._disk(loader, is_armable=configuration.is_armable)
        boot = self._template_boot(configuration, subject)
        return self._boot(
            loader,
            boot,
            by_http=configuration.by_http,
            is_armable=configuration.is_armable,
        )

    def installer_text(self, loader: str, name: str) -> str:
        """The text that boots an installer; RecipeError."""
        values = installer_values(name, self.network)
        boot = NetworkBoot(
            title=f"installer {name}",
            kernel=installer_kernel(name),
            initrds=(installer_initrd(name),),
            options=tuple(filled_in(option, values) for option in self.installers[name]),
            subject=f"installer {name}",
        )
        return self._boot(loader, boot, is_installer=True)

    def installing_template_text(self, loader: str, plain: Role) -> str:
        """The text that boots a template for machines that are armed for it; RecipeError."""
        configuration = Configuration(
            template=plain.template, media=plain.media, options=plain.options
        )
        boot = self._template_boot(configuration, f"template {plain.template}")
        return self._boot(loader, boot, is_installer=True)

    def _template_boot(self, configuration: Configuration, subject: str) -> NetworkBoot:
        assert configuration.template is not None
        template = self.templates[configuration.template]
        if error := obstacle(template, media=configuration.media, subject=subject):
            raise error
        names = (*template.microcode, INITRAMFS)
        return NetworkBoot(
            title=f"template {template.name}",
            kernel=f"tftp/{boot_path(template.boot_set, f'vmlinuz-{template.flavor}')}",
            initrds=tuple(f"tftp/{boot_path(template.boot_set, name)}" for name in names),
            options=kernel_words(
                template,
                network=self.network,
                media=configuration.media,
                own_apkovl=configuration.own_apkovl,
                options=configuration.options,
            ),
            serial=template.serial,
            subject=subject,
        )

    def _boot(
        self,
        loader: str,
        boot: NetworkBoot,
        *,
        by_http: bool = False,
        is_armable: bool = False,
        is_installer: bool = False,
    ) -> str:
        if loader == PXELINUX:
            return write_pxelinux_cfg(
                boot, network=self.network, by_http=by_http, is_installer=is_installer
            )
        if loader == IPXE:
            return write_ipxe_script(boot, network=self.network, is_armable=is_armable)
        return write_grub_netboot_cfg(boot, is_armable=is_armable)

    def _disk(self, loader: str, *, is_armable: bool) -> str:
        if loader == PXELINUX:
            return write_pxelinux_disk_cfg()
        if loader == IPXE:
            return write_ipxe_disk_script(network=self.network, is_armable=is_armable)
        return write_grub_disk_cfg(is_armable=is_armable)
