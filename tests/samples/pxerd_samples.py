"""Sites to build a pxerd in: a kernel without a compiler, features, a release's packages."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from kernel_samples import stock_initramfs

from bootsmith.builders.pxerd import build_pxerd
from bootsmith.formats.apk import ApkEntry, ApkInfo, index_record, read_apk, write_apk, write_index
from bootsmith.formats.compression import compress_segment, decompress_initramfs
from bootsmith.formats.cpio import read_cpio
from bootsmith.formats.release_facts import IsoFile, ReleaseFacts, write_release_facts
from bootsmith.formats.signing_key import derive_signing_key

FEATURES = {
    "network.modules": "kernel/drivers/net/virtio_net.ko*\nkernel/drivers/net/ethernet\n",
    "squashfs.modules": "# comment\nkernel/fs/squashfs\n",
    "nfs.modules": "kernel/fs/nfs\nkernel/fs/nfs_common\n",
    "dhcp.modules": "kernel/net/packet/af_packet.ko*\n",
    "dhcp.files": "/usr/share/udhcpc/default.script\n",
    "tool.files": "/sbin/tool\n/etc/cert.pem\n",
    "ghost.modules": "kernel/ghost\n",
    "ghost.files": "/ghost\n",
    "shell.files": "/bin/sh\n",
}


@dataclass
class Site:
    """Inputs below `root` that a test may change before it builds."""

    root: Path
    tree: Path
    features: tuple[str, ...] = ("network", "squashfs")
    options: dict = field(default_factory=dict)
    messages: list = field(default_factory=list)

    @property
    def output(self):
        return self.root / "pxerd"

    @property
    def report(self):
        return json.loads((self.root / "report.json").read_text())

    def write_feature(self, name, text):
        (self.root / "features.d" / name).write_text(text)

    def write_stock(self, *, codec="gzip", **options):
        plain = stock_initramfs(self.tree, **({"usr_merged": True} | options))
        (self.root / "initramfs").write_bytes(compress_segment(plain, codec, 6))

    def build(self, **options):
        arguments = {
            "initramfs": self.root / "initramfs",
            "modloop": self.root / "modloop",
            "kernel_config": None,
            "kernel_release": None,
            "iso": None,
            "facts": None,
            "features": self.features,
            "feature_directories": [self.root / "features.d"],
            "patches": ["auto"],
            "patch_directories": [self.root / "patches"],
            "compression": "auto",
            "level": None,
            "cache": self.root / "cache",
            "output": self.output,
            "report": self.root / "report.json",
            "progress": lambda *message: self.messages.append(message),
        }
        build_pxerd(**(arguments | self.options | options))
        return self.entries()

    def entries(self):
        data = decompress_initramfs(self.output.read_bytes(), limit_bytes=10_000_000)
        return {entry.name: entry for entry in read_cpio(data)}


KEY = derive_signing_key(name="test.rsa.pub", seed="tests of pxerd", size_bits=1024)
PROGRAM = Path("/bin/true").read_bytes()  # needs its interpreter and libc.so.6
SCRIPT = ApkEntry(name="usr/share/udhcpc/default.script", mode=0o755, data=b"#!/bin/sh\n")
TOOL = ApkEntry(name="usr/sbin/tool", mode=0o755, data=PROGRAM)
CERTIFICATES = (
    ApkEntry(name="etc/cert.pem", kind="symlink", target="certs/all.crt"),
    ApkEntry(name="etc/certs/all.crt", data=b"certificates"),
)
LIBRARIES = (
    ApkEntry(name="lib64/ld-linux-x86-64.so.2", mode=0o755, data=b"loader"),
    ApkEntry(name="lib/x86_64-linux-gnu/libc.so.6", kind="symlink", target="libc-2.so"),
    ApkEntry(name="lib/x86_64-linux-gnu/libc-2.so", mode=0o755, data=b"c library"),
)


def release_with(site, *packages):
    files, records = [], []
    for name, provides, *entries in packages:
        apk = write_apk(
            info=ApkInfo(name=name, version="1-r0", provides=provides), entries=entries, key=KEY
        )
        records.append(index_record(read_apk(apk), file_size_bytes=len(apk)))
        files.append((f"apks/x86_64/{name}-1-r0.apk", apk))
    index = write_index(description="test", records=records, key=KEY)
    files.append(("apks/x86_64/APKINDEX.tar.gz", index))
    write_release(site.root, files)
    site.options |= {"iso": site.root / "iso", "facts": site.root / "facts.json"}


def write_release(root, files, *, is_standin=False):
    """`iso` and `facts.json` below `root`, of (path, content) pairs: extents, no filesystem."""
    iso, placed = b"", []
    for path, content in files:
        iso += bytes(-len(iso) % 2048)
        placed.append(
            IsoFile(
                path=path,
                type="file",
                mode=0o644,
                size_bytes=len(content),
                extents=((len(iso), len(content)),),
            )
        )
        iso += content
    (root / "iso").write_bytes(iso)
    facts = ReleaseFacts(
        release="3.24.0",
        profile="standard",
        arch="x86_64",
        generation="G5",
        is_standin=is_standin,
        volume_id="",
        iso_size_bytes=len(iso),
        iso_sha256=hashlib.sha256(iso).hexdigest(),
        flavors={},
        files=tuple(placed),
    )
    (root / "facts.json").write_bytes(write_release_facts(facts))
