"""grub-mkimage: a UEFI program with all of GRUB that a boot medium needs.

The image carries its modules and a first configuration inside, so that it needs no file
besides the one it is told to read. The same arguments give the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bootsmith.errors import ToolMissing
from bootsmith.tools import catalog
from bootsmith.tools.run import run_program

MODULES_DIRECTORY = Path("/usr/lib/grub/x86_64-efi")
MODULES_LIST = MODULES_DIRECTORY / "moddep.lst"
MEDIUM_MODULES = (
    # what a medium can be: partition tables and file systems
    "part_msdos", "part_gpt", "fat", "iso9660",
    # finding it
    "search", "search_fs_uuid", "search_label", "search_fs_file",
    # booting from it
    "normal", "configfile", "linux", "gzio",
    # screens: the kernel inherits the one that is set
    "all_video", "efi_gop", "efi_uga", "serial", "terminal",
    # for someone at the prompt
    "echo", "test", "true", "ls", "cat", "help", "reboot", "halt",
)  # fmt: skip
NETWORK_MODULES = (
    # the card that the firmware started from, and both protocols
    "efinet", "net", "tftp", "http",
    # who this machine is
    "normal", "configfile", "regexp", "test",
    # booting, and beginning again
    "linux", "gzio", "sleep", "reboot", "minicmd",
    # the machine's own disk
    "search", "search_fs_file", "part_msdos", "part_gpt", "fat", "chain",
    # screens: the kernel inherits the one that is set
    "all_video", "efi_gop", "efi_uga", "serial", "terminal",
    # for someone at the prompt
    "echo", "true", "ls", "cat", "help", "halt",
)  # fmt: skip


def build_grub_image(
    *,
    first_configuration: str,
    prefix: str = "/boot/grub",
    modules: Sequence[str] = MEDIUM_MODULES,
) -> bytes:
    """A PE image for x86_64 UEFI firmware, as goes to `efi/boot/bootx64.efi`.

    `first_configuration` runs before anything else, usually to find the medium and set
    `root` and `prefix`; `prefix` is where `grub.cfg` is looked for otherwise.
    """
    if not MODULES_LIST.is_file():
        raise ToolMissing(
            MODULES_LIST,
            f"file not found, needed by {catalog.purpose_of(str(MODULES_LIST))}",
            hint=f"{catalog.how_to_get(str(MODULES_LIST))}, or see all with: make doctor",
        )
    with tempfile.TemporaryDirectory() as scratch:
        configuration = Path(scratch, "first.cfg")
        configuration.write_text(first_configuration, encoding="ascii")
        image = Path(scratch, "grub.efi")
        run_program(
            [
                "grub-mkimage",
                f"--directory={MODULES_DIRECTORY}",
                "--format=x86_64-efi",
                f"--prefix={prefix}",
                f"--config={configuration}",
                f"--output={image}",
                *modules,
            ]
        )
        return image.read_bytes()
