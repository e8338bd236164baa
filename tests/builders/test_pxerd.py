"""pxerd from a module tree, a stock initramfs and an ISO, checked with other people's programs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kernel_samples import KERNEL, MODULES, stock_initramfs, write_modloop, write_module_tree

from bootsmith.builders.pxerd import build_pxerd
from bootsmith.errors import BootsmithError, BuildError, FormatError, RecipeError, SourceError
from bootsmith.formats.apk import ApkEntry, ApkInfo, index_record, read_apk, write_apk, write_index
from bootsmith.formats.compression import compress_segment, decompress_initramfs
from bootsmith.formats.cpio import directory_entry, file_entry, link_entry, read_cpio, write_cpio
from bootsmith.formats.release_facts import IsoFile, ReleaseFacts, write_release_facts
from bootsmith.formats.signing_key import derive_signing_key
from bootsmith.tools.run import run_program

PACKED_BY = {
    "gz": lambda data: run_program(["gzip", "-c"], stdin=data).stdout,
    "xz": lambda data: run_program(["xz", "-c"], stdin=data).stdout,
    "zst": lambda data: run_program(["zstd", "-c"], stdin=data).stdout,
}
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


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    root = tmp_path_factory.mktemp("kernel")
    directory = write_module_tree(root / "tree")
    write_modloop(root / "tree", root / "modloop")
    return root, directory


@pytest.fixture
def site(kernel, tmp_path):
    root, directory = kernel
    shutil.copy(root / "modloop", tmp_path / "modloop")
    (tmp_path / "features.d").mkdir()
    for name, text in FEATURES.items():
        (tmp_path / "features.d" / name).write_text(text)
    made = Site(tmp_path, directory)
    made.write_stock()
    return made


def unpack(site, directory):
    """The tree as GNU cpio makes it from the plain archives, in their order."""
    data = decompress_initramfs(site.output.read_bytes(), limit_bytes=10_000_000)
    directory.mkdir()
    while data.lstrip(b"\0"):
        data = data[data.index(b"070701") :]
        run_program(["cpio", "-idmu", "--quiet"], stdin=data, cwd=directory)
        end = data.index(b"TRAILER!!!")
        data = data[end + 12 :]
    return directory


@pytest.mark.parametrize("usr_merged", [True, False])
def test_modules_come_with_all_they_need(site, usr_merged):
    site.write_stock(usr_merged=usr_merged)
    entries = site.build()
    where = f"{'usr/' if usr_merged else ''}lib/modules/{KERNEL}/"
    modules = {name.removeprefix(where) for name in entries if name.endswith(".ko")}
    assert modules == {
        *("kernel/drivers/block/loop.ko", "kernel/fs/ext4/ext4.ko", "kernel/fs/jbd2/jbd2.ko"),
        *("kernel/lib/libcrc32c.ko", "kernel/crypto/crc32c_generic.ko"),
        *("kernel/crypto/crc32c-intel.ko", "kernel/drivers/net/virtio_net.ko"),
        *("kernel/drivers/net/net_failover.ko", "kernel/drivers/virtio/virtio.ko"),
        *("kernel/drivers/net/ethernet/acme/acme-100.ko", "kernel/fs/squashfs/squashfs.ko"),
    }
    for path in modules:
        assert bytes(entries[where + path].data) == MODULES[path]
    assert site.output.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("usr_merged", [True, False])
def test_real_modprobe_loads_from_the_unpacked_tree(site, tmp_path, usr_merged):
    site.write_stock(usr_merged=usr_merged)
    site.build()
    root = unpack(site, tmp_path / "root")
    assert (root / "lib").is_symlink() == usr_merged

    def shown(alias):
        argv = ["modprobe", "-d", root, "-S", KERNEL, "--show-depends", alias]
        return [Path(line.split()[1]).name for line in run_program(argv).text.splitlines()]

    assert shown("virtio:d00000001v9") == ["virtio.ko", "net_failover.ko", "virtio_net.ko"] or (
        shown("virtio:d00000001v9") == ["net_failover.ko", "virtio.ko", "virtio_net.ko"]
    )
    assert set(shown("fs-ext4")) >= {"ext4.ko", "jbd2.ko", "libcrc32c.ko", "crc32c_generic.ko"}
    # depmod itself finds nothing to change but the order of what is equal
    before = (root / f"lib/modules/{KERNEL}/modules.alias").read_bytes()
    run_program(["depmod", "-b", root, KERNEL])
    after = (root / f"lib/modules/{KERNEL}/modules.alias").read_bytes()
    assert sorted(before.splitlines()) == sorted(after.splitlines())


def test_every_name_comes_after_its_parent_and_once(site):
    site.build()
    data = decompress_initramfs(site.output.read_bytes(), limit_bytes=10_000_000)
    seen = set()
    for entry in read_cpio(data):
        parent = entry.name.rpartition("/")[0]
        assert parent == "" or parent in seen, entry.name
        assert entry.name not in seen
        seen.add(entry.name)
    assert {"lib", "bin"} <= seen


def test_the_stock_stays_as_it_was(site):
    nodes = [
        link_entry("etc/mtab", "/proc/mounts"),
        directory_entry("var/cache/misc"),
        directory_entry("var"),
        directory_entry("var/cache"),
        file_entry("var/cache/misc/modloop-virt.SIGN.RSA.k.pub", b"signature"),
    ]
    site.write_stock(more=nodes)
    entries = site.build()
    plain = stock_initramfs(site.tree, usr_merged=True, more=nodes)
    for entry in read_cpio(plain):
        if "/modules." in entry.name:
            continue
        ours = entries[entry.name]
        assert (ours.mode, bytes(ours.data)) == (entry.mode, bytes(entry.data)), entry.name
        assert (ours.uid, ours.gid, ours.mtime_epoch) == (0, 0, 0)
    assert entries["init"].mode == stat.S_IFREG | 0o755


def test_firmware_that_modules_name_comes_along(site):
    entries = site.build()
    assert bytes(entries["usr/lib/firmware/virtio/blob.bin"].data) == b"blob" * 2000
    assert bytes(entries["usr/lib/firmware/acme/fw.bin.xz"].data) == b"fw-1.bin.xz"
    assert bytes(entries["usr/lib/firmware/acme/fw-1.bin.xz"].data) == b"packed"
    assert site.report["firmware"] == {
        "added": ["acme/fw-1.bin.xz", "acme/fw.bin.xz", "virtio/blob.bin"],
        "absent": ["virtio/absent.bin"],
    }


def test_firmware_comes_along_through_links_to_directories(site):
    root = site.root / "linked"
    write_module_tree(root)
    firmware = root / "modules/firmware"
    shutil.rmtree(firmware)
    for name, content in {"virtio/real/deep/blob": b"blob", "cards/v2/fw-1.bin": b"fw"}.items():
        (firmware / name).parent.mkdir(parents=True)
        (firmware / name).write_bytes(content)
    # One module names a file below a link; another one's link leads through a link.
    os.symlink("cards/v2", firmware / "acme")
    os.symlink("fw-1.bin", firmware / "cards/v2/fw.bin")
    os.symlink("deep", firmware / "virtio/real/alias")
    os.symlink("real/alias/blob", firmware / "virtio/blob.bin")
    # A link to itself ends the search.
    os.symlink("absent.bin", firmware / "virtio/absent.bin")
    write_modloop(root, site.root / "modloop")
    entries = site.build()
    assert site.report["firmware"]["absent"] == []
    links = {"acme": b"cards/v2", "virtio/real/alias": b"deep"}
    files = {"virtio/real/deep/blob": b"blob", "cards/v2/fw-1.bin": b"fw"}
    for name, content in (links | files).items():
        assert bytes(entries[f"usr/lib/firmware/{name}"].data) == content
        assert name in site.report["firmware"]["added"]


def test_the_report_says_what_came_and_why(site):
    site.features = ("nfs", "dhcp", "shell", "network")
    site.build()
    assert site.report == {
        "schema": 1,
        "kernel_release": KERNEL,
        "module_directory": f"usr/lib/modules/{KERNEL}",
        "compression": {
            "codec": "gzip",
            "level": 6,
            "reason": "no kernel configuration to read; every kernel takes gzip",
        },
        "features": {
            "nfs": {"modules": [], "built_in": ["kernel/fs/nfs/nfs.ko"], "files": []},
            "dhcp": {
                "modules": ["kernel/net/packet/af_packet.ko"],
                "built_in": [],
                "files": [],
            },
            "shell": {"modules": [], "built_in": [], "files": ["usr/bin/sh"]},
            "network": {
                "modules": [
                    "kernel/drivers/net/ethernet/acme/acme-100.ko",
                    "kernel/drivers/net/virtio_net.ko",
                ],
                "built_in": [],
                "files": [],
            },
        },
        "modules": {
            "stock": 4,
            "added": [
                "kernel/crypto/crc32c-intel.ko",
                "kernel/crypto/crc32c_generic.ko",
                "kernel/drivers/net/ethernet/acme/acme-100.ko",
                "kernel/drivers/net/net_failover.ko",
                "kernel/drivers/net/virtio_net.ko",
                "kernel/drivers/virtio/virtio.ko",
                "kernel/net/packet/af_packet.ko",
            ],
            "by_dependency": {
                "kernel/drivers/net/net_failover.ko": "kernel/drivers/net/virtio_net.ko",
                "kernel/drivers/virtio/virtio.ko": "kernel/drivers/net/virtio_net.ko",
            },
            "by_softdep": {
                "kernel/crypto/crc32c-intel.ko": "kernel/fs/ext4/ext4.ko",
                "kernel/crypto/crc32c_generic.ko": "kernel/fs/ext4/ext4.ko",
            },
        },
        "firmware": site.report["firmware"],
        "packages": {},
        "notes": [
            "feature nfs: kernel/fs/nfs_common is no module of this kernel",
            "feature dhcp: usr/share/udhcpc/default.script is neither in the stock initramfs "
            "nor in a package of the release",
            "module libcrc32c: its softdep not-there is not in this kernel",
        ],
        "output": site.report["output"],
    }
    assert site.report["output"]["size_bytes"] == site.output.stat().st_size


@pytest.mark.parametrize("codec", ["gzip", "xz", "zstd", "none"])
def test_every_codec_gives_the_same_tree(site, codec):
    site.write_stock(codec=codec)
    packed = site.build(compression=codec)
    plain = site.build(compression="none")
    assert {name: bytes(entry.data) for name, entry in packed.items()} == {
        name: bytes(entry.data) for name, entry in plain.items()
    }
    assert site.report["output"]["segments"] > 8


def test_the_same_bytes_with_and_without_a_cache(site, tmp_path):
    site.build()
    first = site.output.read_bytes(), (site.root / "report.json").read_bytes()
    assert site.messages
    site.messages.clear()
    site.build()
    assert site.messages == []  # nothing was compressed again
    site.build(cache=tmp_path / "another")
    assert (site.output.read_bytes(), (site.root / "report.json").read_bytes()) == first
    for entry in (site.root / "cache").rglob("*"):
        if entry.is_file():
            entry.write_bytes(b"torn")
    site.build()
    assert (site.output.read_bytes(), (site.root / "report.json").read_bytes()) == first


def test_one_feature_more_compresses_only_what_is_new(site):
    site.build()
    site.messages.clear()
    site.features = (*site.features, "dhcp")
    site.build()
    # the module itself, the indexes of 4 KiB or more, the small files beside them
    assert len(site.messages) <= 3
    assert site.messages[-1][1] == site.messages[-1][2] == len(site.messages)


def test_the_first_directory_that_has_a_file_wins(site, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "dhcp.modules").write_text("kernel/fs/squashfs\n")
    site.features = ("dhcp", "dhcp")
    site.build(feature_directories=[own, site.root / "features.d", tmp_path / "absent"])
    account = site.report["features"]["dhcp"]
    assert account["modules"] == ["kernel/fs/squashfs/squashfs.ko"]
    assert "udhcpc" in site.report["notes"][0]


@pytest.mark.parametrize("suffix,packed_by", PACKED_BY.items())
def test_compressed_modules_become_plain(kernel, site, tmp_path, suffix, packed_by):
    """As on media before Alpine 3.16, whose modloops may hold `.ko.gz`."""
    _, directory = kernel
    root = tmp_path / "packed"
    packed = {f"{path}.{suffix}": packed_by(content) for path, content in MODULES.items()}
    made = root / "modules" / KERNEL
    for path, content in packed.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_bytes(content)
    for name in directory.iterdir():
        if name.is_file() and not name.name.endswith(".bin"):
            text = name.read_text().replace(".ko", f".ko.{suffix}")
            (made / name.name).write_text(text if name.name == "modules.dep" else name.read_text())
    write_modloop(root, site.root / "modloop")
    site.write_stock()
    entries = site.build()
    where = f"usr/lib/modules/{KERNEL}/"
    assert (
        bytes(entries[f"{where}kernel/fs/squashfs/squashfs.ko"].data)
        == (MODULES["kernel/fs/squashfs/squashfs.ko"])
    )
    assert f".ko.{suffix}" not in bytes(entries[f"{where}modules.dep"].data).decode()


# Packages


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
    iso, files, records = b"", [], []
    for name, provides, *entries in packages:
        apk = write_apk(
            info=ApkInfo(name=name, version="1-r0", provides=provides), entries=entries, key=KEY
        )
        records.append(index_record(read_apk(apk), file_size_bytes=len(apk)))
        files.append((f"apks/x86_64/{name}-1-r0.apk", apk))
    index = write_index(description="test", records=records, key=KEY)
    files.append(("apks/x86_64/APKINDEX.tar.gz", index))
    placed = []
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
    (site.root / "iso").write_bytes(iso)
    facts = ReleaseFacts(
        release="3.24.0",
        profile="standard",
        arch="x86_64",
        generation="G5",
        is_standin=False,
        volume_id="",
        iso_size_bytes=len(iso),
        iso_sha256=hashlib.sha256(iso).hexdigest(),
        flavors={},
        files=tuple(placed),
    )
    (site.root / "facts.json").write_bytes(write_release_facts(facts))
    site.options |= {"iso": site.root / "iso", "facts": site.root / "facts.json"}


def test_files_come_from_the_packages_of_the_release(site):
    release_with(
        site,
        ("busybox", (), SCRIPT),
        ("tool", ("cmd:tool=1",), TOOL),
        ("bundle", (), *CERTIFICATES),
        ("libc", ("so:libc.so.6=6",), *LIBRARIES),
    )
    site.features = ("dhcp", "tool")
    entries = site.build()
    script = entries["usr/share/udhcpc/default.script"]
    assert (script.mode, bytes(script.data)) == (stat.S_IFREG | 0o755, b"#!/bin/sh\n")
    assert bytes(entries["usr/sbin/tool"].data) == PROGRAM
    assert bytes(entries["etc/cert.pem"].data) == b"certs/all.crt"
    assert bytes(entries["usr/lib/x86_64-linux-gnu/libc-2.so"].data) == b"c library"
    assert stat.S_ISLNK(entries["lib"].mode)
    report = site.report
    assert report["features"]["tool"]["files"] == ["usr/sbin/tool", "etc/cert.pem"]
    assert report["packages"] == {
        "usr/share/udhcpc/default.script": "busybox",
        "usr/sbin/tool": "tool",
        "etc/cert.pem": "bundle",
        "etc/certs/all.crt": "bundle",
        "lib64/ld-linux-x86-64.so.2": "libc",
        "usr/lib/x86_64-linux-gnu/libc.so.6": "libc",
        "usr/lib/x86_64-linux-gnu/libc-2.so": "libc",
    }
    assert report["notes"] == ["module libcrc32c: its softdep not-there is not in this kernel"]


def test_what_the_stock_initramfs_has_is_not_looked_for(site):
    release_with(site, ("libc", (), *LIBRARIES), ("tool", (), TOOL), ("bundle", (), *CERTIFICATES))
    (site.root / "iso").write_bytes(b"")  # whoever reads a package fails
    site.features = ("shell",)
    assert bytes(site.build()["usr/bin/sh"].data) == b"/bin/busybox"
    site.features = ("tool",)
    assert "ends before its content" in refused(site, SourceError).message


def test_a_program_without_its_libraries_is_refused(site):
    release_with(site, ("tool", (), TOOL))
    site.features = ("tool",)
    assert refused(site, BuildError).message == (
        "/lib64/ld-linux-x86-64.so.2: is needed, but neither in the stock initramfs nor in a "
        "package of the release"
    )


def refused(site, kind, **options):
    site.output.write_bytes(b"old")
    with pytest.raises(kind) as caught:
        site.build(**options)
    assert isinstance(caught.value, BootsmithError)
    assert site.output.read_bytes() == b"old"
    assert sorted(os.listdir(site.root)) == sorted(
        name for name in os.listdir(site.root) if ".partial" not in name
    )
    return caught.value


def test_an_unknown_feature_names_the_nearest(site):
    site.features = ("sqashfs",)
    error = refused(site, RecipeError)
    assert str(error) == (
        "feature sqashfs: unknown initramfs feature; expected one of dhcp, ghost, network, nfs, "
        "shell, squashfs, tool\n  next: did you mean squashfs?"
    )
    site.features = ("zzz",)
    assert refused(site, RecipeError).hint == ("add zzz.modules or zzz.files to recipes/features.d")


def test_a_feature_of_which_nothing_exists(site):
    site.features = ("ghost",)
    assert refused(site, BuildError).message == (
        f"feature ghost: nothing of it exists for kernel {KERNEL}; "
        "expected a module, built in or not, or a file, got kernel/ghost; ghost"
    )


def test_kernels_that_differ(site, kernel, tmp_path):
    site.write_stock(kernel="6.6.8-0-virt")
    modloop = site.root / "modloop"
    assert refused(site, BuildError).message == (
        f"{modloop}: its modules are for another kernel than the initramfs; "
        f"expected 6.6.8-0-virt, got {KERNEL}"
    )
    site.write_stock()
    assert refused(site, BuildError, kernel_release="6.6.9-0-virt").message == (
        f"{modloop}: its modules are for another kernel than the kernel; "
        f"expected 6.6.9-0-virt, got {KERNEL}"
    )
    more = [directory_entry("usr/lib/modules/1.0"), file_entry("usr/lib/modules/1.0/x.ko", b"")]
    site.write_stock(more=more)
    assert refused(site, BuildError).message == (
        f"{site.root / 'initramfs'}: holds modules of several kernels; "
        f"expected {KERNEL}, got 1.0, {KERNEL}"
    )


def test_a_module_that_the_modloop_lacks(site):
    extra = file_entry(f"usr/lib/modules/{KERNEL}/kernel/own.ko", b"")
    site.write_stock(more=[extra])
    assert refused(site, BuildError).message == (
        f"{site.root / 'modloop'}: lacks the module kernel/own.ko, which the initramfs has"
    )


def test_damaged_inputs(site):
    initramfs, modloop = site.root / "initramfs", site.root / "modloop"
    good = initramfs.read_bytes()
    initramfs.write_bytes(b"\x89LZO" + bytes(20))
    assert refused(site, FormatError).message == (
        f"{initramfs}: unknown compression; expected gzip, xz, zstd, lz4, lzma, bzip2 or a plain "
        "newc cpio, got first bytes 89 4c 5a 4f 00 00"
    )
    initramfs.write_bytes(good[: len(good) // 2])
    assert refused(site, FormatError).message == (
        f"{initramfs}: damaged gzip data (the file is truncated)"
    )
    initramfs.write_bytes(compress_segment(write_cpio([])[:60], "gzip", 6))
    assert refused(site, FormatError).message == (
        f"{initramfs}: the archive ends inside the header of the entry at byte 0"
    )
    initramfs.write_bytes(good)
    modloop.write_bytes(modloop.read_bytes()[:1500])
    assert "cut short" in refused(site, FormatError).message
    modloop.write_bytes(b"")
    assert refused(site, FormatError).message == f"{modloop}: is empty"
    modloop.unlink()
    assert refused(site, SourceError).message == f"{modloop}: No such file or directory"
    initramfs.unlink()
    assert refused(site, SourceError).message == f"{initramfs}: No such file or directory"


def test_codecs_that_this_kernel_cannot_unpack(site, tmp_path):
    config = tmp_path / "config"
    config.write_text("CONFIG_RD_GZIP=y\n")
    assert refused(site, BuildError, compression="zstd", kernel_config=config).message == (
        "kernel configuration: the kernel cannot unpack a zstd initramfs; "
        "expected CONFIG_RD_ZSTD=y, got gzip"
    )
    assert refused(site, BuildError, compression="gzip", level=13).message == (
        "compression level: gzip has no level 13; expected 1 to 12"
    )
    config.write_text("CONFIG_RD_ZSTD=y\n")
    site.build(kernel_config=config)
    assert site.report["compression"] == {
        "codec": "zstd",
        "level": 9,
        "reason": "CONFIG_RD_ZSTD=y",
    }
