"""A real kernel takes what we write: one boot per codec, everything unpacked is compared."""

from __future__ import annotations

import fcntl
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from kernel_samples import index_tree, write_modloop

from bootsmith.builders.pxerd import build_pxerd
from bootsmith.files.deb import read_deb_files
from bootsmith.formats.compression import compress_segment, decompress_initramfs
from bootsmith.formats.cpio import directory_entry, file_entry, link_entry, read_cpio, write_cpio
from bootsmith.tools.run import run_program

pytestmark = [pytest.mark.boot, pytest.mark.network]

BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static
# What the features below are made of, and a few neighbours; the rest would only take time.
WANTED = re.compile(
    r"lib/modules/[^/]+/(modules\.|kernel/(fs/(nfs|lockd|squashfs|netfs|fscache|fuse)|"
    r"net/(sunrpc|packet|core|802|dns)|crypto|lib|drivers/(virtio|block|scsi|net/[^/]*\.ko)))"
)
TWO_NAMES = ("etc/two", "usr/bin/one")
THREE_NAMES = ("etc/small", "etc/smaller", "usr/bin/small")
FEATURES = ("dhcp", "nfs", "squashfs", "virtio")
INIT = """#!/bin/busybox sh
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox --install -s /bin
for module in virtio_net nfsv3 nfsv4 af_packet squashfs loop; do
	/bin/modprobe "$module" || echo "guest-failed $module"
done
echo "guest-modules $(sed 's/ .*//' /proc/modules | sort | tr '\\n' ' ')"
echo "guest-names $(stat -c %h /usr/bin/one /etc/two /etc/small | tr '\\n' ' ')"
echo "guest-links $(readlink /lib) $(readlink /usr/bin/sh)"
echo "guest-digest $(find / -xdev -type f | sort | xargs md5sum | md5sum)"
poweroff -f
"""


@pytest.fixture(scope="module")
def cloud(request, tmp_path_factory):
    """Debian's cloud kernel: (vmlinuz, configuration, release, modloop)."""
    cache = request.config.cache.mkdir("cloud-kernel")
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        debs = sorted(cache.glob("*.deb")) or _fetch(cache)
    root = tmp_path_factory.mktemp("cloud")
    for member in read_deb_files(debs[-1], wanted=_is_wanted):
        name = re.sub(r"^lib/modules/", "tree/modules/", member.name)
        if member.kind == "file" and _is_wanted(member.name):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(member.data)
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    release = kernel.name.removeprefix("vmlinuz-")
    index_tree(root / "tree", release)
    write_modloop(root / "tree", root / "modloop")
    return kernel, root / f"boot/config-{release}", release, root / "modloop"


def _is_wanted(name):
    return name.startswith(("boot/vmlinuz-", "boot/config-")) or bool(WANTED.match(name))


def _fetch(directory):
    depends = run_program(["apt-cache", "depends", "linux-image-cloud-amd64"]).text
    package = re.search(r"Depends: (linux-image-\S+)", depends)[1]
    run_program(["apt-get", "--quiet", "download", package], cwd=directory)
    return sorted(directory.glob("*.deb"))


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """A usr-merged initramfs of busybox and our /init, with hard links, without any module."""
    path = tmp_path_factory.mktemp("stock") / "initramfs"
    plain = write_cpio(
        [
            *(directory_entry(name) for name in ("dev", "proc", "sys", "usr", "usr/bin")),
            directory_entry("usr/lib"),
            link_entry("bin", "usr/bin"),
            link_entry("lib", "usr/lib"),
            link_entry("sbin", "usr/bin"),
            file_entry("usr/bin/busybox", BUSYBOX.read_bytes(), mode=0o755),
            link_entry("usr/bin/sh", "/bin/busybox"),
            file_entry("init", INIT.encode(), mode=0o755),
            file_entry("etc.conf", b"x" * 3),
            directory_entry("etc"),
            *(replace(file_entry(name, b"two names" * 999), linked="1") for name in TWO_NAMES),
            *(replace(file_entry(name, b"small"), linked="2") for name in THREE_NAMES),
        ]
    )
    early = [directory_entry("kernel"), file_entry("kernel/early", b"for the kernel" * 999)]
    path.write_bytes(write_cpio(early) + compress_segment(plain, "gzip", 6))
    return path


@pytest.mark.parametrize("codec", ["gzip", "xz", "zstd", "none", "appended"])
def test_the_kernel_unpacks_every_segment(cloud, stock, checkout, tmp_path, codec):
    kernel, config, release, modloop = cloud
    output = tmp_path / "pxerd"
    build_pxerd(
        initramfs=stock,
        modloop=modloop,
        kernel_config=config,
        kernel_release=release,
        iso=None,
        facts=None,
        features=FEATURES,
        feature_directories=[checkout / "recipes/features.d"],
        patches=[],
        patch_directories=[],
        compression=codec if codec != "appended" else "zstd",
        addition=tmp_path / "addition" if codec == "appended" else None,
        level=None,
        cache=tmp_path / "cache",
        output=output,
        report=tmp_path / "report.json",
    )
    console = run_program(
        [
            *("qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-nodefaults"),
            *("-display", "none", "-serial", "stdio", "-no-reboot"),
            *("-kernel", kernel, "-initrd", output),
            *("-append", "console=ttyS0 quiet panic=-1"),
        ],
        timeout_seconds=300,
    ).text
    said = dict(re.findall(r"^guest-(\w+) (.*?)\s*$", console, re.MULTILINE))
    assert "failed" not in said, console
    assert {"virtio_net", "nfsv3", "nfsv4", "squashfs", "loop", "sunrpc"} <= set(
        said["modules"].split()
    )
    assert said["names"] == "2 2 3"
    assert said["links"] == "usr/lib /bin/busybox"
    assert said["digest"] == expected_digest(output)


def expected_digest(output):
    """What md5sum says of the list of md5sums of all files, in their order."""
    data = decompress_initramfs(output.read_bytes(), limit_bytes=1 << 30)
    files = {f"/{entry.name}": entry.data for entry in read_cpio(data) if entry.mode >> 12 == 8}
    lines = (f"{hashlib.md5(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return f"{hashlib.md5(''.join(lines).encode()).hexdigest()}  -"
