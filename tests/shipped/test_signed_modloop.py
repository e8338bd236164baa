"""One boot of the stand-in: a signed modloop is mounted, and with one bit flipped refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bootsmith.builders.apkovl import build_apkovl
from bootsmith.builders.modloop import build_modloop
from bootsmith.builders.pxerd import build_pxerd
from bootsmith.builders.service import build_service
from bootsmith.builders.signature import build_signature
from bootsmith.builders.usbkey import build_usbkey
from bootsmith.formats.signing_key import derive_signing_key
from bootsmith.tools.run import run_program

pytestmark = [pytest.mark.boot, pytest.mark.network]

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "artifacts/build"
PATCHES = [ROOT / "recipes/patches"]
# The same image again, from another medium: as it is, and with one bit flipped.
PROBE = """#!/bin/sh
exec >/dev/console 2>&1
say() { echo "probe $*"; }
tell() {
	grep -q ' /.modloop ' /proc/mounts && say "$1 mounted" || say "$1 refused"
}
tell stock
/sbin/modprobe -q zram && say zram loaded
/sbin/modprobe -q dummy || say dummy absent
mkdir /media/other && mount -t tmpfs -o size=40m other /media/other && mkdir /media/other/boot
image=/media/other/boot/modloop-virt
cp /media/*/boot/modloop-virt $image
rc-service modloop stop
umount /media/vda*
rc-service modloop start
tell copied
rc-service modloop stop
printf '\\001' | dd of=$image bs=1 seek=9999999 conv=notrunc
rc-service modloop start
tell flipped
poweroff -f
"""


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A key image whose modloop is signed, and whose machines mount nothing else."""
    subprocess.run([sys.executable, "-m", "doit", "build"], cwd=ROOT, check=True)
    root = tmp_path_factory.mktemp("signed")
    signing = derive_signing_key(name="site.rsa.pub", seed="a key for one boot")
    (root / "site.rsa").write_bytes(signing.private_pem())
    (root / "site.rsa").chmod(0o600)
    (root / "site.rsa.pub").write_bytes(signing.public_pem())
    flavor, facts = BUILT / "flavor/standin-virt", BUILT / "release/standin/facts.json"
    iso, modloop = BUILT / "source/standin/standin.iso", root / "modloop-virt"
    release = {"iso": iso, "facts": facts}
    build_modloop(
        stock=flavor / "modloop",
        add=[],
        keep=[],
        drop=["kernel/drivers/net/dummy.ko"],
        compression="stock",
        kernel_config=None,
        output=modloop,
        report=root / "modloop.json",
    )
    build_signature(
        modloop=modloop,
        initramfs=flavor / "initramfs",
        facts=facts,
        choice="auto",
        is_strict=True,
        private_key=root / "site.rsa",
        public_key=root / "site.rsa.pub",
        cache=ROOT / "artifacts/cache/segments",
        output=root / "signature.json",
    )
    build_pxerd(
        **release,
        initramfs=flavor / "initramfs",
        modloop=flavor / "modloop",
        kernel_config=flavor / "config",
        kernel_release=None,
        features=["squashfs", "virtio"],
        feature_directories=[ROOT / "recipes/features.d"],
        patches=[],
        patch_directories=PATCHES,
        signature=root / "signature.json",
        compression="auto",
        level=None,
        cache=ROOT / "artifacts/cache/segments",
        output=root / "pxerd",
        report=root / "pxerd.json",
    )
    build_service(
        **release,
        features=[],
        patches=["modloop-strict"],
        patch_directories=PATCHES,
        cache=ROOT / "artifacts/cache/segments",
        output=root / "service.json",
    )
    probe = root / "overlay/etc/local.d/probe.start"
    probe.parent.mkdir(parents=True)
    probe.write_text(PROBE)
    probe.chmod(0o755)
    build_apkovl(
        overlays=[root / "overlay"],
        owners=[None],
        template="t",
        hostname="t",
        packages=(),
        runlevels={"default": ("local",)},
        default_boot_services=True,
        service=root / "service.json",
        output=root / "t.apkovl.tar.gz",
        contents=root / "apkovl.json",
    )
    build_usbkey(
        **release,
        flavor="virt",
        kernel=flavor / "vmlinuz",
        initramfs=root / "pxerd",
        modloop=modloop,
        apkovl=root / "t.apkovl.tar.gz",
        template="t",
        options=(),
        timeout_deciseconds=1,
        serial_console=True,
        size_bytes=None,
        label="SIGNED",
        firmware=["bios"],
        output=root / "key.img",
        contents=root / "key.json",
        cache=ROOT / "artifacts/cache/loaders",
    )
    return root / "key.img"


def test_only_what_was_signed_is_mounted(key):
    console = run_program(
        [
            *("qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-nodefaults"),
            *("-display", "none", "-serial", "stdio", "-no-reboot"),
            *("-kernel", BUILT / "flavor/standin-virt/vmlinuz", "-initrd", key.parent / "pxerd"),
            *("-drive", f"file={key},format=raw,if=virtio,snapshot=on"),
            *("-append", "modules=loop,squashfs console=ttyS0 quiet panic=-1"),
        ],
        timeout_seconds=300,
        cwd=os.fspath(key.parent),
    ).text
    assert re.findall(r"probe (.*?)\s*$", console, re.MULTILINE) == [
        "stock mounted",
        "zram loaded",
        "dummy absent",
        "copied mounted",
        "flipped refused",
    ], console
    assert (
        "Refusing to mount /media/other/boot/modloop-virt: its signature does not match!" in console
    )
    assert console.count("Refusing to mount") == 1
