"""What each machine is to load first: decided once, said by each DHCP server in its own way.

A source says where a machine's role comes from: one for machines that nobody knows, one a rule
of MAC prefixes, one for all known hosts of a pair of loaders. Whoever asks is one of CLIENTS.

    bios        firmware of a BIOS: architecture 0 in option 93, or no option 93
    uefi        of UEFI, x86-64: architecture 7 or 9
    bios-ipxe, uefi-ipxe    the same, through iPXE: option 175, or `iPXE` as user class
    http        UEFI HTTP boot, x86-64: architecture 16, vendor class `HTTPClient...`

Other architectures get an address and nothing to load. A machine whose loader is not iPXE gets
that loader from iPXE too: network cards of virtual machines are iPXE.

Source of the facts: RFC 4578 and IANA's list for option 93, RFC 5071 for 208 to 211 (PXELINUX),
UEFI 2.10 section 24.7 (HTTP boot), iPXE net/udp/dhcp.c (175, 176 inside it, user class).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from bootsmith.formats.conf_values import check_conf_values
from bootsmith.formats.inventory import BIOS_LOADERS, UEFI_LOADERS, Host, Inventory, Role
from bootsmith.formats.ipxe_script import BOOT_SCRIPT
from bootsmith.formats.netboot_network import CURRENT, Network
from bootsmith.formats.network_boot import RETRY_SECONDS

CLIENTS = ("bios", "bios-ipxe", "uefi", "uefi-ipxe", "http")
BIOS_CLIENTS = ("bios", "bios-ipxe")
ARCHITECTURE_OPTION = 93
BIOS_ARCHITECTURE = 0
UEFI_ARCHITECTURES = (7, 9)
HTTP_ARCHITECTURE = 16
IPXE_OPTION = 175
IPXE_USER_CLASS = "iPXE"
IPXE_NO_PROXY = bytes.fromhex("b00101")
"""What 175 says to iPXE: option 176 inside it, that no proxy has more to say. Without it iPXE waits
two seconds for one, each time it asks."""
HTTP_VENDOR_CLASS = "HTTPClient"
"""What such firmware begins its vendor class with, and wants to hear back."""
VENDOR_CLASS_OPTION = 60
USER_CLASS_OPTION = 77
MAGIC_OPTION, CONFIGURATION_OPTION, PREFIX_OPTION, REBOOT_OPTION = 208, 209, 210, 211
MAGIC = bytes.fromhex("f100747e")
REBOOT_SECONDS = RETRY_SECONDS
"""How long PXELINUX waits after it got no configuration; five minutes if it is not told."""
TFTP_DIRECTORY = f"{CURRENT}/tftp/"
"""Below the TFTP root: where BIOS loaders find what they ask for."""
_BIOS_FILES = {"pxelinux": "pxelinux.0", "lpxelinux": "lpxelinux.0", "ipxe": "undionly.kpxe"}
_UEFI_FILES = {"ipxe": "snponly.efi", "grub": "grubnetx64.efi"}
_HTTP_FILES = {"ipxe": "ipxe.efi", "grub": "grubnetx64.efi"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Machines that get the same answers, but for names and addresses."""

    name: str
    """`unknown`, `rule-52-54-01`, `hosts-pxelinux-grub`: a word that every syntax takes."""
    prefix: str | None = None
    """Of a rule: what the MAC begins with. It is for machines that are in no inventory."""
    hosts: tuple[Host, ...] = ()
    files: Mapping[str, str]
    """What each of CLIENTS loads: a path below the TFTP root, or a URL."""
    configuration: str | None = None
    """Of a rule: what option 209 says to every client."""


def dhcp_sources(network: Network, inventory: Inventory) -> tuple[Source, ...]:
    """Every source: unknown machines, rules, pairs of loaders, in this order.

    There are all pairs, with hosts or without: where hosts are in a file of their own, a new
    one must not change any other. RecipeError for values that a configuration could not hold.
    """
    check_conf_values(network, inventory)
    pairs: dict[tuple[str, str], list[Host]] = {
        pair: [] for pair in itertools.product(BIOS_LOADERS, UEFI_LOADERS)
    }
    for host in inventory.hosts:
        pairs[host.loader, host.uefi_loader].append(host)
    return (
        Source(name="unknown", files=_files(network, *_loaders(inventory.unknown))),
        *(
            Source(
                name=f"rule-{rule.prefix.replace(':', '-')}",
                prefix=rule.prefix,
                files=_files(network, *_loaders(rule)),
                configuration=f"pxelinux.cfg/{rule.prefix}",
            )
            for rule in inventory.rules
        ),
        *(
            Source(name=_pair_name(*pair), hosts=tuple(hosts), files=_files(network, *pair))
            for pair, hosts in pairs.items()
        ),
    )


def source_of(host: Host) -> str:
    """The name of a host's source."""
    return _pair_name(host.loader, host.uefi_loader)


def name_servers(network: Network) -> tuple[str, ...]:
    """What machines ask for names."""
    return network.dns or (network.server,)


def _loaders(role: Role) -> tuple[str, str]:
    return role.loader, role.uefi_loader


def _pair_name(loader: str, uefi_loader: str) -> str:
    return f"hosts-{loader}-{uefi_loader}"


def _files(network: Network, loader: str, uefi_loader: str) -> dict[str, str]:
    script = f"{network.url}/{CURRENT}/{BOOT_SCRIPT}"
    bios = TFTP_DIRECTORY + _BIOS_FILES[loader]
    uefi = TFTP_DIRECTORY + _UEFI_FILES[uefi_loader]
    return {
        "bios": bios,
        "bios-ipxe": script if loader == "ipxe" else bios,
        "uefi": uefi,
        "uefi-ipxe": script if uefi_loader == "ipxe" else uefi,
        "http": f"{network.url}/{CURRENT}/http/{_HTTP_FILES[uefi_loader]}",
    }
