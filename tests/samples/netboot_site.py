"""A whole site that boots from the network, so small that building it takes seconds.

Real recipes, features and patches, real steps; the kernel is only a header, its modules are ELF
files that say what they export and need. The init is the stand-in's.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from pathlib import Path

from kernel_samples import (
    bzimage,
    kernel_module,
    stock_initramfs,
    write_modloop,
    write_module_tree,
)
from mutation_site import Site

from bootsmith.formats.cpio import file_entry
from bootsmith.formats.squashfs import Squashfs
from bootsmith.tools.run import run_program

CHECKOUT = Path(__file__).resolve().parents[2]
KERNEL = "6.6.7-0-virt"
MODULES: Mapping[str, bytes] = {
    "kernel/drivers/block/loop.ko": kernel_module(info=["alias=block-major-7-*"]),
    "kernel/drivers/virtio/virtio.ko": kernel_module(exports=["register_virtio"]),
    "kernel/drivers/virtio/virtio_pci.ko": kernel_module(
        needs=["register_virtio"], info=["alias=pci:v00001AF4d*"]
    ),
    "kernel/drivers/net/virtio_net.ko": kernel_module(
        needs=["register_virtio"], info=["alias=virtio:d00000001v*"]
    ),
    "kernel/net/packet/af_packet.ko": kernel_module(info=["alias=net-pf-17"]),
    "kernel/fs/squashfs/squashfs.ko": kernel_module(info=["alias=fs-squashfs"]),
    "kernel/net/sunrpc/sunrpc.ko": kernel_module(exports=["rpc_call"]),
    "kernel/fs/lockd/lockd.ko": kernel_module(needs=["rpc_call"], exports=["lock"]),
    "kernel/fs/nfs/nfs.ko": kernel_module(
        needs=["rpc_call", "lock"], exports=["nfs_open"], info=["alias=fs-nfs"]
    ),
    "kernel/fs/nfs/nfsv3.ko": kernel_module(needs=["nfs_open"], info=["alias=nfs-layouttype3"]),
    "kernel/fs/nfs/nfsv4.ko": kernel_module(needs=["nfs_open"], info=["alias=nfs-layouttype4"]),
}
STOCK = ("kernel/drivers/block/loop.ko", "kernel/fs/squashfs/squashfs.ko")
INIT = (CHECKOUT / "bootsmith/builders/standin_data/initramfs/init").read_bytes()
RECIPES = {
    "recipes/site.toml": """\
schema = 1
name = "tiny"
release = "tiny"
flavor = "virt"

[netboot]
server = "10.20.0.1"
subnet = "10.20.0.0/16"
interface = "boot0"
domain = "boot.example"
pool = ["10.20.250.1", "10.20.250.254"]
template = "web"
""",
    "recipes/releases/tiny.toml": """\
iso = "../../media/tiny.iso"
flavors = ["virt"]

[pxerd]
features = ["dhcp", "network", "nfs", "squashfs"]
""",
    "recipes/templates/web.toml": """\
summary = "first"
overlays = ["base"]

[usbkey]
size = "36M"
firmware = ["bios"]
""",
    "recipes/templates/db.toml": """\
summary = "second"
overlays = ["base"]

[netboot]
media = "nfs"

[usbkey]
size = "36M"
firmware = ["bios"]
""",
    "recipes/hosts.toml": """\
[[rule]]
prefix = "52:54:01:02"
template = "db"

[host.plain]
mac = "52:54:00:00:00:01"
address = "10.20.1.1"
template = "web"

[host.own]
mac = "52:54:00:00:00:02"
address = "10.20.1.2"
template = "web"
uefi_loader = "grub"
values = { rack = "7" }

[host.nfs]
mac = "52:54:00:00:00:03"
address = "10.20.1.3"
template = "db"
loader = "lpxelinux"
""",
    "overlays/base/etc/motd": "welcome\n",
}


def write_netboot_site(
    root: Path,
    *,
    modules: Mapping[str, bytes] = MODULES,
    modloop_kernel: str = KERNEL,
    kernel: bytes | None = None,
    busybox: bytes | None = None,
    cut_modloop_bytes: int = 0,
) -> Site:
    """The site below `root`, not built. The rest is what is wrong with its ISO."""
    for name, text in RECIPES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("features.d", "patches"):
        shutil.copytree(CHECKOUT / "recipes" / name, root / "recipes" / name)
    scratch = root / "scratch"
    directory = write_module_tree(scratch / "own", modules=modules, kernel=KERNEL, builtin="")
    more = [
        file_entry("init", INIT, mode=0o755),
        file_entry("usr/share/udhcpc/default.script", b"#!/bin/sh\n", mode=0o755),
    ]
    if busybox is not None:
        more.append(file_entry("usr/bin/busybox", busybox, mode=0o755))
    stock = stock_initramfs(directory, usr_merged=True, kernel=KERNEL, modules=STOCK, more=more)
    if modloop_kernel != KERNEL:
        write_module_tree(scratch / "other", modules=modules, kernel=modloop_kernel, builtin="")
    top = scratch / ("own" if modloop_kernel == KERNEL else "other")
    modloop = write_modloop(top, scratch / "modloop").read_bytes()
    used_bytes = Squashfs(modloop).superblock.size_bytes  # the rest is padding
    write_iso(
        root,
        {
            ".alpine-release": b"alpine-standard-3.24.0 260101\n",
            "apks/.boot_repository": b"",
            "apks/x86_64/APKINDEX.tar.gz": b"index",
            "boot/vmlinuz-virt": kernel if kernel is not None else bzimage(KERNEL),
            "boot/initramfs-virt": gzip.compress(stock, mtime=0),
            "boot/modloop-virt": modloop[: used_bytes - cut_modloop_bytes],
            "boot/config-virt": b"CONFIG_RD_GZIP=y\n",
        },
    )
    shutil.rmtree(scratch)
    return Site(root)


def write_iso(root: Path, files: Mapping[str, bytes]) -> None:
    """`media/tiny.iso` with these files and no others."""
    tree, iso = root / "tree", root / "media/tiny.iso"
    shutil.rmtree(tree, ignore_errors=True)
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    iso.parent.mkdir(exist_ok=True)
    iso.unlink(missing_ok=True)
    run_program(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-lJR", "-V", "tiny", tree])
