"""A site that builds in a second: every kind of step, from an ISO that weighs next to nothing.

Its ISO has the layout of Alpine's and a kernel that is only a header; so the steps are the
real ones and what they cost is start-up.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from kernel_samples import bzimage, kernel_module, stock_initramfs, write_modloop, write_module_tree

from bootsmith.formats.compression import compress_segment
from bootsmith.formats.cpio import directory_entry, file_entry
from bootsmith.tools.run import run_program

KERNEL = "6.6.7-0-virt"
CHECKOUT = Path(__file__).resolve().parents[2]
MODULES = {
    "kernel/drivers/virtio/virtio.ko": kernel_module(exports=["register_virtio"], size_bytes=5000),
    "kernel/drivers/net/virtio_net.ko": kernel_module(
        needs=["register_virtio"], info=["alias=virtio:d00000001v*"], size_bytes=9000
    ),
    "kernel/drivers/block/loop.ko": kernel_module(size_bytes=4000),
    "kernel/fs/squashfs/squashfs.ko": kernel_module(size_bytes=4000),
    "kernel/net/packet/af_packet.ko": kernel_module(size_bytes=4000),
}
FILES = {
    "recipes/site.toml": (
        'schema = 1\nname = "tiny"\nrelease = "tiny"\nflavor = "virt"\n'
        '[netboot]\nserver = "10.9.0.1"\nsubnet = "10.9.0.0/24"\ninterface = "boot0"\n'
        'domain = "tiny.example"\ntemplate = "node"\n'
    ),
    "recipes/hosts.toml": (
        '[host.one]\nmac = "52:54:01:02:00:01"\naddress = "10.9.0.11"\n'
        '[host.two]\nmac = "52:54:01:02:00:02"\nvalues = { rack = "a" }\n'
    ),
    "recipes/templates/node.toml": (
        'summary = "a machine of the tiny site"\noverlays = ["base"]\n'
        '[usbkey]\nfirmware = ["bios"]\n'
    ),
    "recipes/features.d/network.modules": "kernel/drivers/net/virtio_net.ko*\n",
    "recipes/features.d/squashfs.modules": "kernel/fs/squashfs\n",
    "recipes/features.d/dhcp.modules": "kernel/net/packet/af_packet.ko*\n",
    "overlays/base/etc/motd": "the first edition\n",
    "overlays/base/etc/hosts": "127.0.0.1 localhost\n",
}


def write_iso(directory: Path) -> Path:
    """`directory/tiny.iso`: one flavor, `virt`, and one package."""
    tree = directory / "modules"
    modules = write_module_tree(tree, modules=MODULES, kernel=KERNEL)
    disc = directory / "disc"
    stock = stock_initramfs(
        modules,
        usr_merged=True,
        kernel=KERNEL,
        modules=["kernel/drivers/block/loop.ko"],
        more=[
            directory_entry("usr/share"),
            directory_entry("usr/share/udhcpc"),
            file_entry("usr/share/udhcpc/default.script", b"#!/bin/sh\n", mode=0o755),
        ],
    )
    content = {
        ".alpine-release": b"alpine-virt-3.20.3 240906\n",
        "apks/.boot_repository": b"",
        "apks/x86_64/APKINDEX.tar.gz": b"index",
        "apks/x86_64/busybox-1.36.1-r29.apk": b"package" * 5000,
        "boot/vmlinuz-virt": bzimage(KERNEL),
        "boot/initramfs-virt": compress_segment(stock, "gzip", 6),
    }
    for name, data in content.items():
        (disc / name).parent.mkdir(parents=True, exist_ok=True)
        (disc / name).write_bytes(data)
    write_modloop(tree, disc / "boot/modloop-virt")
    iso = directory / "tiny.iso"
    run_program(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-lJR", disc])
    return iso


def write_site(root: Path, iso: Path) -> Path:
    """The recipes and overlays of the tiny site, below `root`."""
    features = '[pxerd]\nfeatures = ["network", "squashfs", "dhcp"]\n'
    release = f'iso = "{iso}"\nflavors = ["virt"]\n{features}'
    for name, text in {**FILES, "recipes/releases/tiny.toml": release}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    shutil.copy(CHECKOUT / "dodo.py", root)
    return root


def change_site(root: Path) -> None:
    """What makes a new apkovl, a new key, another host, and so a new generation."""
    (root / "overlays/base/etc/motd").write_text("the second edition\n")
    (root / "recipes/hosts.toml").write_text(
        '[host.one]\nmac = "52:54:01:02:00:01"\noptions = ["debug"]\n'
        '[host.two]\nmac = "52:54:01:02:00:02"\nvalues = { rack = "b" }\n'
        '[host.three]\nmac = "52:54:01:02:00:03"\n'
    )
