"""xorriso: an ISO that boots from CD and from USB, on BIOS and UEFI, as Alpine's do.

Source of the options: aports scripts/mkimg.base.sh; man xorrisofs for their meaning and
for what SOURCE_DATE_EPOCH fixes (volume times, GPT identifiers, times of made directories).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bootsmith.files.atomic import replacing_file
from bootsmith.tools.run import run_program


@dataclass(frozen=True, kw_only=True)
class BootFiles:
    """Boot parts, as paths inside the tree."""

    isolinux: str
    boot_catalog: str
    """Made by xorriso; must not exist in the tree."""
    isohybrid_mbr: str
    efi_image: str


def write_bootable_iso(
    source: Path, output: Path, *, volume_id: str, boot: BootFiles, epoch: int
) -> None:
    """Write the tree `source` to `output` with Joliet and Rock Ridge names.

    Modes are those of the files, owners are root. Every time in the image is `epoch`,
    provided the files have it too.
    """
    with replacing_file(output) as partial:
        run_program(
            [
                "xorriso",
                "-as",
                "mkisofs",
                "-output",
                partial,
                "-full-iso9660-filenames",
                "-joliet",
                "-rock",  # keeps modes: the initramfs is 0600 on Alpine's media too
                "-uid",
                "0",
                "-gid",
                "0",
                "-sysid",
                "LINUX",
                "-volid",
                volume_id,
                # BIOS from CD, and, by the MBR, from a disk or USB stick
                "-isohybrid-mbr",
                source / boot.isohybrid_mbr,
                "-eltorito-boot",
                boot.isolinux,
                "-eltorito-catalog",
                boot.boot_catalog,
                "-no-emul-boot",
                "-boot-load-size",
                "4",
                "-boot-info-table",
                # UEFI from CD, and, by a partition entry, from a disk or USB stick
                "-eltorito-alt-boot",
                "-e",
                boot.efi_image,
                "-no-emul-boot",
                "-isohybrid-gpt-basdat",
                source,
            ],
            environment={"SOURCE_DATE_EPOCH": str(epoch)},
            needed_by="the stand-in builder, to write its ISO",
        )
