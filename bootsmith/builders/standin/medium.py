"""The stand-in's medium: where everything lies, and what its boot loaders read.

Source of the layout: aports scripts/mkimg.base.sh and mkimage.sh (a current release).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import BuildError
from bootsmith.files.deb import read_deb_files
from bootsmith.formats.floppy import write_floppy
from bootsmith.tools.grub_efi import build_grub_image
from bootsmith.tools.xorriso import BootFiles, write_bootable_iso

BASE_OPTIONS = ("modules=loop,squashfs,sd-mod,usb-storage", "quiet")

_SYSLINUX = "boot/syslinux"
_BOOT_FILES = BootFiles(
    isolinux=f"{_SYSLINUX}/isolinux.bin",
    boot_catalog=f"{_SYSLINUX}/boot.cat",
    isohybrid_mbr=f"{_SYSLINUX}/isohdpfx.bin",
    efi_image="boot/grub/efi.img",
)
# isolinux.bin and these modules must be of one build; both packages are.
_LOADER_FILES = {
    "usr/lib/ISOLINUX/isolinux.bin": "isolinux.bin",
    "usr/lib/ISOLINUX/isohdpfx.bin": "isohdpfx.bin",
    "usr/lib/syslinux/modules/bios/ldlinux.c32": "ldlinux.c32",
    "usr/lib/syslinux/modules/bios/libcom32.c32": "libcom32.c32",
    "usr/lib/syslinux/modules/bios/libutil.c32": "libutil.c32",
    "usr/lib/syslinux/modules/bios/mboot.c32": "mboot.c32",
}


@dataclass(frozen=True, kw_only=True)
class FlavorEntry:
    """One entry of the boot menus."""

    flavor: str
    options: tuple[str, ...]


class MediumTree:
    """The tree of the ISO in scratch; every file gets its mode and the medium's time."""

    def __init__(self, directory: Path, *, epoch: int) -> None:
        self.directory = directory
        self._epoch = epoch
        directory.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, content: bytes, *, mode: int = 0o644) -> None:
        """A file of the medium."""
        path = self.place(name)
        path.write_bytes(content)
        path.chmod(mode)

    def place(self, name: str) -> Path:
        """The path for a file that something else writes."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def settle(self) -> None:
        """Give directories their mode, and everything its time; the last thing to do."""
        for parent, _directories, files in os.walk(self.directory, topdown=False):
            for name in files:
                os.utime(os.path.join(parent, name), (self._epoch, self._epoch))
            Path(parent).chmod(0o755)  # whatever the umask was
            os.utime(parent, (self._epoch, self._epoch))


def volume_id_of(profile: str, release: str, arch: str) -> str:
    """The volume's name, which GRUB searches for: at most 32 characters."""
    return f"alpine-{profile} {release} {arch}"[:32]


def add_boot_loaders(
    tree: MediumTree,
    *,
    debs: Mapping[str, Path],
    boot_debs: Sequence[str],
    volume_id: str,
    entries: Sequence[FlavorEntry],
) -> None:
    """Isolinux with its modules, GRUB for UEFI, and both menus."""
    for name, content in _loader_files(debs, boot_debs).items():
        tree.add(f"{_SYSLINUX}/{name}", content)
    tree.add(f"{_SYSLINUX}/syslinux.cfg", write_syslinux_menu(entries))
    grub = build_grub_image(
        first_configuration=(
            f'search --no-floppy --set=root --label "{volume_id}"\nset prefix=($root)/boot/grub\n'
        ),
    )
    tree.add("efi/boot/bootx64.efi", grub)
    tree.add(_BOOT_FILES.efi_image, write_floppy({"EFI/BOOT/BOOTX64.EFI": grub}))
    tree.add("boot/grub/grub.cfg", write_grub_menu(entries))


def write_syslinux_menu(entries: Sequence[FlavorEntry]) -> bytes:
    """`syslinux.cfg` with one label per flavor; the first is the default."""
    lines = ["TIMEOUT 10", "PROMPT 1", f"DEFAULT {entries[0].flavor}", ""]
    for entry in entries:
        lines += [
            f"LABEL {entry.flavor}",
            f"MENU LABEL Linux {entry.flavor}",
            f"KERNEL /boot/vmlinuz-{entry.flavor}",
            f"INITRD /boot/initramfs-{entry.flavor}",
            f"APPEND {' '.join(entry.options)}",
            "",
        ]
    return "\n".join(lines).encode("ascii")


def write_grub_menu(entries: Sequence[FlavorEntry]) -> bytes:
    """`grub.cfg` with one entry per flavor."""
    lines = ["set timeout=1", ""]
    for entry in entries:
        lines += [
            f'menuentry "Linux {entry.flavor}" {{',
            f"linux /boot/vmlinuz-{entry.flavor} {' '.join(entry.options)}",
            f"initrd /boot/initramfs-{entry.flavor}",
            "}",
            "",
        ]
    return "\n".join(lines).encode("ascii")


def write_medium(tree: MediumTree, output: Path, *, volume_id: str, epoch: int) -> None:
    """The ISO of the tree."""
    tree.settle()
    write_bootable_iso(tree.directory, output, volume_id=volume_id, boot=_BOOT_FILES, epoch=epoch)


def _loader_files(debs: Mapping[str, Path], boot_debs: Sequence[str]) -> dict[str, bytes]:
    found = {}
    for deb in boot_debs:
        for member in read_deb_files(debs[deb], wanted=_LOADER_FILES.__contains__):
            if member.name in _LOADER_FILES:
                found[_LOADER_FILES[member.name]] = member.data
    for source, name in _LOADER_FILES.items():
        if name not in found:
            raise BuildError(f"/{source}", f"not in any of {', '.join(boot_debs)}")
    return found
