"""Can an initramfs do what boot configurations ask of it: find a card, an address, a medium?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from bootsmith.errors import PublishError
from bootsmith.formats.named_boots import NamedBoot
from bootsmith.formats.pxerd_facts import PxerdFacts
from bootsmith.generations.parts_check import BootSet, Parts

_SCRIPT = "usr/share/udhcpc/default.script"
_VERSION_4 = re.compile(r"(?:^|,)(?:v|vers=|nfsvers=)4")


@dataclass(kw_only=True)
class Asked:
    """What configurations ask of the pxerd of one boot set, each by the first that does."""

    boot: str | None = None
    dhcp: str | None = None
    nfs: dict[str, str] = field(default_factory=dict)
    """By the module for its version."""

    def note(self, path: str, boot: NamedBoot) -> None:
        """Take note of what `boot` in the configuration at `path` asks."""
        self.boot = self.boot or path
        if (boot.option("ip") or "dhcp") == "dhcp":
            self.dhcp = self.dhcp or path
        device = boot.option("alpine_dev") or ""
        if device.startswith("nfs:"):
            options = "".join(device.split(":")[3:])
            self.nfs.setdefault("nfsv4" if _VERSION_4.search(options) else "nfsv3", path)


def missing_abilities(parts: Parts, boot_set: BootSet, asked: Asked) -> Iterator[PublishError]:
    """What is asked of this set's pxerd and it cannot do."""
    if boot_set.pxerd is None or asked.boot is None:
        return
    subject = parts.subject(boot_set.parts["pxerd"])
    for path, problem, got, feature in _lacking(boot_set, boot_set.pxerd, asked):
        yield PublishError(
            subject,
            f"has no {problem}; {path} boots it",
            expected=f"what the feature {feature} brings",
            got=got,
            hint=f'add "{feature}" to the features of [pxerd] in the recipe of release '
            f"{boot_set.release}",
        )


def _lacking(
    boot_set: BootSet, pxerd: PxerdFacts, asked: Asked
) -> Iterator[tuple[str, str, str, str]]:
    """(who asks, what is not there, what is there instead, the feature that has it)."""
    assert asked.boot is not None
    if not pxerd.cards:
        broken = [f"{name}.ko without {lack}" for name, lack in pxerd.broken.items()]
        yield asked.boot, "NIC driver that could be loaded", ", ".join(broken) or "none", "network"
    for module in ("loop", "squashfs"):
        if module not in pxerd.modules:
            why = f"{module}.ko, and the modloop is a squashfs image in a file"
            yield asked.boot, why, _instead(boot_set, pxerd, module), "squashfs"
    if asked.dhcp is not None and "af_packet" not in pxerd.modules:
        why = "af_packet.ko, without which udhcpc gets no address"
        yield asked.dhcp, why, _instead(boot_set, pxerd, "af_packet"), "dhcp"
    if asked.dhcp is not None and _SCRIPT not in pxerd.files:
        yield asked.dhcp, f"{_SCRIPT}, without which init asks for no address", "none", "dhcp"
    for version, path in asked.nfs.items():
        # Kernels before 3.6 have version 3 in nfs.ko itself.
        is_module = boot_set.modloop is not None and version in boot_set.modloop.modules
        for module in ("nfs", *((version,) if is_module else ())):
            if module not in pxerd.modules:
                why = f"{module}.ko, and the medium is on NFS"
                yield path, why, _instead(boot_set, pxerd, module), "nfs"


def _instead(boot_set: BootSet, pxerd: PxerdFacts, module: str) -> str:
    """Why a module cannot be loaded."""
    if module in pxerd.broken:
        return f"{module}.ko without {pxerd.broken[module]}"
    if boot_set.modloop is not None and module not in boot_set.modloop.modules:
        return "none, and the modloop has none either"
    return "none"
