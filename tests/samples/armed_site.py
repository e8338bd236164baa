"""A site whose machines have disks: one is installed by a template, one by Debian's installer."""

from __future__ import annotations

import shutil
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
BARE, PRESEEDED, UEFI = "52:54:01:02:00:01", "52:54:01:02:00:02", "52:54:01:02:00:03"
DEBIAN = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"
_RECIPES = {
    "site.toml": """
schema = 1
name = "armed"
release = "standin"
flavor = "virt"

[netboot]
server = "10.20.0.1"
subnet = "10.20.0.0/16"
interface = "boot0"
gateway = "10.20.0.1"
domain = "boot.example"
pool = ["10.20.250.1", "10.20.250.254"]
template = "installs"
boot = "disk"
""",
    "releases/standin.toml": """
iso = "{iso}"
flavors = ["virt"]

[pxerd]
features = ["dhcp", "network", "squashfs", "virtio"]
""",
    "templates/installs.toml": """
summary = "writes a boot sector, says that it is done, and starts the disk"
overlays = ["installs"]

[runlevels]
boot = ["networking"]
default = ["local"]
""",
    "hosts.toml": f"""
[host.bare]
mac = "{BARE}"
install = "installs"

[host.preseeded]
mac = "{PRESEEDED}"
address = "10.20.1.2"
install = "debian"
loader = "ipxe"

[host.uefi]
mac = "{UEFI}"
install = "installs"
uefi_loader = "grub"
""",
    "installers/debian.toml": f"""
summary = "Debian 12 as far as its preseed file"
kernel = "{DEBIAN}/linux"
initrd = "{DEBIAN}/initrd.gz"
options = [
    "auto=true", "priority=critical", "interface=auto", "url=@url@/preseed.cfg",
    "console=ttyS0,115200", "DEBIAN_FRONTEND=text",
]
files = ["preseed.cfg"]
""",
    # Nothing is installed: that takes a mirror, and an hour without KVM.
    "installers/preseed.cfg": """
d-i preseed/early_command string echo preseeded by @server@ >/dev/ttyS0; \\
    wget -q -O /dev/ttyS0 @disarm@; reboot -f
""",
}
_INTERFACES = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n"
# What is smaller than any system: a boot sector that says a number.
_INSTALL = """#!/bin/sh
exec >/dev/console 2>&1
set -e
nonce=$(sed s/^bootsmith-// /sys/class/dmi/id/product_serial)
{
	cat /etc/sector
	printf 'bootsmith-report nonce=%s template=disk end\\r\\n' "$nonce"
	head -c 446 /dev/zero
} | head -c 510 >/tmp/sector
printf '\\125\\252' >>/tmp/sector
dd if=/tmp/sector of=/dev/vda
sync
wget -q -O - http://10.20.0.1/boot-default/
reboot -f
"""
# Writes the text behind it, up to a NUL, to the first serial port; then rests.
#
#   7c00  31 c0          xor ax, ax         7c11  ec         in al, dx
#   7c02  8e d8          mov ds, ax         7c12  a8 20      test al, 0x20   ; can it take more
#   7c04  be 40 7c       mov si, 0x7c40     7c14  74 fb      jz 0x7c11
#   7c07  ac             lodsb              7c16  88 d8      mov al, bl
#   7c08  84 c0          test al, al        7c18  ba f8 03   mov dx, 0x3f8
#   7c0a  74 12          jz 0x7c1e          7c1b  ee         out dx, al
#   7c0c  88 c3          mov bl, al         7c1c  eb e9      jmp 0x7c07
#   7c0e  ba fd 03       mov dx, 0x3fd      7c1e  f4 eb fd   hlt; jmp 0x7c1e
_SECTOR = bytes.fromhex(
    "31c0 8ed8 be407c ac 84c0 7412 88c3 bafd03 ec a820 74fb 88d8 baf803 ee ebe9 f4 ebfd"
).ljust(64, b"\x90")


def write_site(root: Path, iso: Path) -> None:
    """Recipes and overlays below `root`, of the release that is on the ISO."""
    for name in ("features.d", "patches"):
        shutil.copytree(CHECKOUT / "recipes" / name, root / "recipes" / name)
    shutil.copy(CHECKOUT / "dodo.py", root)
    for name, text in _RECIPES.items():
        _write(root / "recipes" / name, text.replace("{iso}", str(iso)).encode())
    etc = root / "overlays/installs/etc"
    _write(etc / "sector", _SECTOR)
    _write(etc / "network/interfaces", _INTERFACES.encode())
    _write(etc / "local.d/install.start", _INSTALL.encode())
    (etc / "local.d/install.start").chmod(0o755)


def boot_sector(nonce: str) -> bytes:
    """What the template's script writes."""
    text = f"bootsmith-report nonce={nonce} template=disk end\r\n".encode()
    return (_SECTOR + text).ljust(510, b"\0") + b"\x55\xaa"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
