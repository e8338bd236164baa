"""A tiny guest: Debian's cloud kernel, busybox, and an /init that behaves as a test asks.

It takes the place of Alpine in tests of the harness itself: kernel, firmware, boot
loaders and QEMU are the real ones.
"""

from __future__ import annotations

import fcntl
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bootsmith.files.atomic import write_file
from bootsmith.files.deb import read_deb_files
from bootsmith.files.digest import sha256_of
from bootsmith.formats.cpio import directory_entry, file_entry, link_entry, write_cpio
from bootsmith.formats.manifest import MANIFEST_NAME, Artifact, Manifest
from bootsmith.tools.run import run_program

BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static
MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
KEY_BYTES = 48 << 20
PARTITION_BYTES = 1 << 20

INIT = """#!/bin/sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
busybox --install -s
nonce=$(sed -n 's/.*bootsmith_nonce=\\([0-9a-f]*\\).*/\\1/p' /proc/cmdline)
serial=$(cat /sys/class/dmi/id/product_serial)
[ -n "$nonce" ] || nonce=${serial#bootsmith-}
template=tiny runlevel=default modloop=/media/vda1/boot/modloop-virt
report() {
	echo "bootsmith-report nonce=$nonce template=$template hostname=tiny" \\
		"runlevel=$runlevel kernel=$(uname -r) modloop=$modloop modules=0 end"
}
echo "Alpine Init tiny"
"""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """Makes generations of one template, `tiny`, whose /init ends with given lines."""

    kernel: Path
    kernel_release: str

    def initramfs(self, behaviour: str) -> bytes:
        return write_cpio(
            [
                directory_entry("bin"),
                file_entry("bin/busybox", BUSYBOX.read_bytes(), mode=0o755),
                link_entry("bin/sh", "busybox"),
                *(directory_entry(name) for name in ("dev", "proc", "sys", "sbin", "usr")),
                *(directory_entry(f"usr/{name}") for name in ("bin", "sbin")),
                file_entry("init", f"{INIT}{behaviour}\nsleep 1000\n".encode(), mode=0o755),
            ]
        )

    def generation(
        self,
        directory: Path,
        behaviour: str,
        *,
        key: bytes | None = None,
        kernel_release: str | None = None,
        flavor: str = "virt",
    ) -> Path:
        """A generation whose key is `key` (or a bootable one) and whose pxerd behaves."""
        release = kernel_release or self.kernel_release
        pxerd = self.initramfs(behaviour)
        files = {
            ("kernel", f"r-{flavor}", "vmlinuz"): self.kernel.read_bytes(),
            ("pxerd", f"r-{flavor}", "pxerd"): pxerd,
            ("usbkey", "tiny", "tiny.img"): b"\0" * 512 if key is None else key,
        }
        artifacts = []
        for (kind, name, file), content in files.items():
            path = directory / kind / name / file
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
            details = {"release": "r", "flavor": flavor, "kernel_release": release}
            if kind == "usbkey":
                details["template"] = "tiny"
            artifacts.append(
                Artifact(
                    path=f"{kind}/{name}/{file}",
                    kind=kind,
                    name=name,
                    sha256=sha256_of(path),
                    size_bytes=len(content),
                    details=details,
                )
            )
        manifest = Manifest(
            id="2026-11-21.1", site="tests", artifacts=tuple(artifacts), releases={}, steps={}
        )
        (directory / MANIFEST_NAME).write_bytes(manifest.to_json())
        return directory

    def key(
        self, scratch: Path, behaviour: str, *, syslinux_kernel: str = "/boot/vmlinuz"
    ) -> bytes:
        """A key that boots by SYSLINUX and by GRUB, made with other people's programs."""
        image = scratch / "key.img"
        with open(image, "wb") as out:
            out.truncate(KEY_BYTES)
        run_program(["sfdisk", "--quiet", image], stdin=b"2048,,0c,*\n")
        blocks = (KEY_BYTES - PARTITION_BYTES) >> 10
        run_program(["mkfs.vfat", "-F", "32", "--offset", "2048", "-h", "2048", image, f"{blocks}"])
        inside = f"{image}@@{PARTITION_BYTES}"
        directories = ["boot", "boot/syslinux", "efi", "efi/boot"]
        run_program(["mmd", "-i", inside, *(f"::{name}" for name in directories)])
        grub = (
            "linux /boot/vmlinuz console=ttyS0\ninitrd /boot/initramfs\nboot\n",
            "search --file --set=root /boot/vmlinuz\nset prefix=($root)/efi/boot\n",
        )
        syslinux = (
            f"SERIAL 0 115200\nTIMEOUT 1\nPROMPT 1\nDEFAULT tiny\nLABEL tiny\n"
            f"KERNEL {syslinux_kernel}\nINITRD /boot/initramfs\nAPPEND console=ttyS0\n"
        )
        (scratch / "embedded.cfg").write_text(grub[1])
        run_program(
            [
                *("grub-mkimage", "-O", "x86_64-efi", "-p", "/efi/boot"),
                *("-c", scratch / "embedded.cfg", "-o", scratch / "bootx64.efi"),
                *("fat", "part_msdos", "normal", "linux", "search", "boot"),
            ]
        )
        files = {
            "boot/vmlinuz": self.kernel.read_bytes(),
            "boot/initramfs": self.initramfs(behaviour),
            "boot/syslinux/syslinux.cfg": syslinux.encode(),
            "efi/boot/grub.cfg": grub[0].encode(),
            "efi/boot/bootx64.efi": (scratch / "bootx64.efi").read_bytes(),
        }
        for name, content in files.items():
            (scratch / "file").write_bytes(content)
            run_program(["mcopy", "-i", inside, scratch / "file", f"::{name}"])
        run_program(
            [
                *("syslinux", "--install", "--offset", f"{PARTITION_BYTES}"),
                *("--directory", "/boot/syslinux", image),
            ]
        )
        key = bytearray(image.read_bytes())
        key[:440] = MBR.read_bytes()[:440]
        return bytes(key)


@pytest.fixture(scope="session")
def guest(request) -> Guest:
    """The tiny guest; its kernel is fetched once and kept with pytest's own cache."""
    directory = request.config.cache.mkdir("guest-kernel")
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kernels = sorted(directory.glob("vmlinuz-*"))
        kernel = kernels[-1] if kernels else _fetch_kernel(directory)
    return Guest(kernel=kernel, kernel_release=kernel.name.removeprefix("vmlinuz-"))


def _fetch_kernel(directory: Path) -> Path:
    depends = run_program(["apt-cache", "depends", "linux-image-cloud-amd64"]).text
    package = re.search(r"Depends: (linux-image-\S+)", depends)
    assert package is not None, depends
    with TemporaryDirectory(dir=directory) as scratch:
        run_program(["apt-get", "--quiet", "download", package.group(1)], cwd=Path(scratch))
        (deb,) = Path(scratch).iterdir()
        for member in read_deb_files(deb, wanted=lambda name: name.startswith("boot/vmlinuz-")):
            if member.name.startswith("boot/vmlinuz-"):
                kernel = directory / Path(member.name).name
                write_file(kernel, member.data)
                return kernel
    raise AssertionError(f"{package.group(1)} has no kernel in it")
