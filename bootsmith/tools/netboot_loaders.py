"""Network boot loaders as Debian's packages have them: PXELINUX with its modules, iPXE.

Modules of PXELINUX only work with a `pxelinux.0` of the same build; both packages are made from
one source, and whatever apt installs of them fits.
"""

from __future__ import annotations

from pathlib import Path

from bootsmith.errors import ToolMissing
from bootsmith.tools import catalog

PXELINUX_DIRECTORY = Path("/usr/lib/PXELINUX")
MODULES_DIRECTORY = Path("/usr/lib/syslinux/modules/bios")
IPXE_DIRECTORY = Path("/usr/lib/ipxe")
_FIRST_MODULE = "ldlinux.c32"
_PLACES = {
    "pxelinux.0": PXELINUX_DIRECTORY,
    "lpxelinux.0": PXELINUX_DIRECTORY,
    "undionly.kpxe": IPXE_DIRECTORY,
    "ipxe.efi": IPXE_DIRECTORY,
    "snponly.efi": IPXE_DIRECTORY,
}


def read_loader(name: str) -> bytes:
    """The loader that is called so, such as `pxelinux.0`; ToolMissing without its package."""
    return _read(_PLACES[name] / name)


def read_pxelinux_module(name: str) -> bytes | None:
    """The module of this file name, `menu.c32`; None if there is none.

    ToolMissing if there are no modules at all.
    """
    try:
        return (MODULES_DIRECTORY / name).read_bytes()
    except FileNotFoundError:
        _read(MODULES_DIRECTORY / _FIRST_MODULE)
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ToolMissing(
            path,
            f"file not found, needed by {catalog.purpose_of(str(path))}",
            hint=f"{catalog.how_to_get(str(path))}, or see all with: make doctor",
        ) from None
