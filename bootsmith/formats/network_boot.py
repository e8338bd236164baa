"""What a network boot loader is to load: a kernel, its initramfs images, its words.

The three loaders (formats/pxelinux_cfg, ipxe_script, grub_netboot_cfg) say the same thing in
their own languages; the limits of all of them are here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootsmith.errors import RecipeError
from bootsmith.formats.boot_menu import check_kernel_options
from bootsmith.formats.netboot_network import GENERATION

RETRY_SECONDS = 10
"""How long a loader waits before it begins again, with asking for its configuration."""
KERNEL_LIMIT_BYTES = 2047
"""What an x86 kernel takes: COMMAND_LINE_SIZE less the final NUL. A loader cuts off the rest,
which is where `initrd=` and `BOOTIF=` stand, and says nothing."""
LONGEST_GENERATION = "9999-12-31.99999"
"""No id of a generation is longer: lengths are judged as if `@generation@` were this."""
_BOOTIF = "BOOTIF=01-52-54-00-00-00-00"


@dataclass(frozen=True, kw_only=True)
class NetworkBoot:
    """One thing to boot. `kernel` and `initrds` are paths of the netboot tree, `tftp/boot/...`."""

    title: str
    """What a person reads, such as `template web`: printable ASCII."""
    kernel: str
    initrds: tuple[str, ...]
    options: tuple[str, ...]
    """Kernel words; the loader adds which card it came by, and whatever it needs itself."""
    serial: bool = False
    """Whether the loader itself talks on the first serial port, at 115200 baud."""
    subject: str
    """Where a person looks when something is wrong with the options."""


def check_command_line(boot: NetworkBoot, added: Sequence[str], *, loader: str) -> None:
    """RecipeError if the words of `boot` and those that `loader` adds do not reach the kernel."""
    check_kernel_options(boot.options, subject=boot.subject)
    frame = published_length(" ".join((*added, _BOOTIF))) + 1
    length = published_length(" ".join(boot.options))
    if frame + length > KERNEL_LIMIT_BYTES:
        raise RecipeError(
            boot.subject,
            f"boot options are too long for {loader}",
            expected=f"at most {KERNEL_LIMIT_BYTES - frame} characters",
            got=length,
            hint="leave some out, or let a file of the overlay say it",
        )


def published_length(text: str) -> int:
    """How long a text may be once it says its generation."""
    return len(text.replace(GENERATION, LONGEST_GENERATION))
