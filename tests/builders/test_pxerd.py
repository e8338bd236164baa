"""pxerd from a module tree, a stock initramfs and an ISO, checked with other people's programs."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest
from kernel_samples import KERNEL, MODULES, stock_initramfs, write_modloop, write_module_tree
from pxerd_samples import CERTIFICATES, LIBRARIES, PROGRAM, SCRIPT, TOOL, release_with

from bootsmith.errors import BootsmithError, BuildError, FormatError, RecipeError, SourceError
from bootsmith.formats.additions import AddedFile, Additions, write_additions
from bootsmith.formats.apk import ApkEntry
from bootsmith.formats.compression import compress_segment, decompress_initramfs
from bootsmith.formats.cpio import directory_entry, file_entry, link_entry, read_cpio, write_cpio
from bootsmith.formats.release_facts import read_release_facts
from bootsmith.tools.run import run_program

PACKED_BY = {
    "gz": lambda data: run_program(["gzip", "-c"], stdin=data).stdout,
    "xz": lambda data: run_program(["xz", "-c"], stdin=data).stdout,
    "zst": lambda data: run_program(["zstd", "-c"], stdin=data).stdout,
}


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
    acme, virtio = "ethernet/acme/acme-100.ko", "virtio_net.ko"
    assert site.report["firmware"] == {
        "added": ["acme/fw-1.bin.xz", "acme/fw.bin.xz", "virtio/blob.bin"],
        "absent": ["virtio/absent.bin"],
        "named_by": {
            "acme/fw-1.bin.xz": "acme/fw.bin.xz",
            "acme/fw.bin.xz": f"kernel/drivers/net/{acme}",
            "virtio/absent.bin": f"kernel/drivers/net/{virtio}",
            "virtio/blob.bin": f"kernel/drivers/net/{virtio}",
        },
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


def found(at, glob, *, modules=(), built_in=()):
    return {"at": at, "glob": glob, "modules": list(modules), "built_in": list(built_in)}


def test_the_report_says_what_came_and_why(site):
    site.features = ("nfs", "dhcp", "shell", "network")
    site.build()
    assert site.report == {
        "schema": 3,
        "kernel_release": KERNEL,
        "module_directory": f"usr/lib/modules/{KERNEL}",
        "compression": {
            "codec": "gzip",
            "level": 6,
            "reason": "no kernel configuration to read; every kernel takes gzip",
        },
        "asked": ["nfs", "dhcp", "shell", "network"],
        "features": {
            "nfs": [
                found("nfs.modules:1", "kernel/fs/nfs", built_in=["kernel/fs/nfs/nfs.ko"]),
                found("nfs.modules:2", "kernel/fs/nfs_common"),
            ],
            "dhcp": [
                found(
                    "dhcp.modules:1",
                    "kernel/net/packet/af_packet.ko*",
                    modules=["kernel/net/packet/af_packet.ko"],
                ),
                {"at": "dhcp.files:1", "glob": "/usr/share/udhcpc/default.script", "files": []},
            ],
            "shell": [{"at": "shell.files:1", "glob": "/bin/sh", "files": ["usr/bin/sh"]}],
            "network": [
                found(
                    "network.modules:1",
                    "kernel/drivers/net/virtio_net.ko*",
                    modules=["kernel/drivers/net/virtio_net.ko"],
                ),
                found(
                    "network.modules:2",
                    "kernel/drivers/net/ethernet",
                    modules=["kernel/drivers/net/ethernet/acme/acme-100.ko"],
                ),
            ],
        },
        "modules": {
            "stock": [
                "kernel/drivers/block/loop.ko",
                "kernel/fs/ext4/ext4.ko",
                "kernel/fs/jbd2/jbd2.ko",
                "kernel/lib/libcrc32c.ko",
            ],
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
        "firmware_directory": "usr/lib/firmware",
        "firmware": site.report["firmware"],
        "packages": {},
        "signature": "stock",
        "signature_files": [],
        "needed_by": {},
        "patches": [],
        "notes": [
            "feature nfs: nfs.modules:2: kernel/fs/nfs_common is no module of this kernel",
            "feature dhcp: dhcp.files:1: /usr/share/udhcpc/default.script is neither in the stock "
            "initramfs nor in a package of the release",
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


def test_what_was_remembered_of_another_modloop_does_not_count(kernel, site, tmp_path):
    site.build()
    root = tmp_path / "changed"
    shutil.copytree(kernel[0] / "tree", root, symlinks=True)
    module = root / "modules" / KERNEL / "kernel/fs/squashfs/squashfs.ko"
    changed = module.read_bytes()[:-8] + b"changed!"
    module.write_bytes(changed)
    write_modloop(root, site.root / "modloop")
    entries = site.build()
    assert (
        bytes(entries[f"usr/lib/modules/{KERNEL}/kernel/fs/squashfs/squashfs.ko"].data) == changed
    )


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
    account = site.report["features"]["dhcp"][0]
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
    assert [line["files"] for line in report["features"]["tool"]] == [
        ["usr/sbin/tool"],
        ["etc/cert.pem"],
    ]
    assert report["needed_by"] == {
        "etc/certs/all.crt": "etc/cert.pem",
        "lib64/ld-linux-x86-64.so.2": "usr/sbin/tool",
        "usr/lib/x86_64-linux-gnu/libc.so.6": "usr/sbin/tool",
        "usr/lib/x86_64-linux-gnu/libc-2.so": "usr/lib/x86_64-linux-gnu/libc.so.6",
    }
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


def test_a_package_that_was_searched_is_not_opened_again(site):
    release_with(
        site,
        ("busybox", (), SCRIPT),
        ("bundle", (), *CERTIFICATES),
        ("other", (), ApkEntry(name="etc/other", data=os.urandom(9000))),
        ("tool", (), ApkEntry(name="usr/sbin/tool", mode=0o755, data=os.urandom(10000))),
    )
    site.features = ("tool",)
    site.build()
    whole = (site.root / "iso").read_bytes()
    facts = read_release_facts((site.root / "facts.json").read_bytes())
    ((offset, size),) = facts.file("apks/x86_64/other-1-r0.apk").extents
    (site.root / "iso").write_bytes(whole[:offset] + bytes(size) + whole[offset + size :])
    site.features = ("dhcp", "tool")
    assert "usr/share/udhcpc/default.script" in site.build()
    with pytest.raises(FormatError, match="gzip member"):
        site.build(cache=site.root / "another")


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
        "/lib64/ld-linux-x86-64.so.2: is needed by usr/sbin/tool, but neither in the stock "
        "initramfs nor in a package of the release"
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


def test_a_required_line_must_match(site):
    site.write_feature("nfs.required", "# a comment\n\n/kernel/fs/nfs/\n")
    site.features = ("nfs",)
    site.build()  # built in is there
    site.write_feature("nfs.required", "kernel/fs/nfs\nkernel/fs/nfs_common\n")
    assert str(refused(site, BuildError)) == (
        "feature nfs: nfs.modules:2: kernel/fs/nfs_common is no module of this kernel; expected "
        "something, as nfs.required:2 says\n  next: correct the line, or leave nfs out; what only "
        "one flavor has belongs in [pxerd.flavor.NAME] of the release recipe"
    )
    site.features = ("dhcp",)
    site.write_feature("dhcp.required", "/usr/share/udhcpc/default.script\n")
    assert refused(site, BuildError).message == (
        "feature dhcp: dhcp.files:1: /usr/share/udhcpc/default.script is neither in the stock "
        "initramfs nor in a package of the release; expected something, as dhcp.required:1 says"
    )
    site.write_feature("dhcp.required", "/usr/share/udhcpc/default.scrip\n")
    assert refused(site, RecipeError).message == (
        "dhcp.required:1: usr/share/udhcpc/default.scrip is no line of dhcp.modules or dhcp.files"
    )


def test_what_is_required_goes_with_its_lists(site, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "nfs.modules").write_text("kernel/fs/nfs\n")
    site.write_feature("nfs.required", "kernel/fs/nfs_common\n")
    site.features = ("nfs",)
    site.build(feature_directories=[own, site.root / "features.d"])
    refused(site, BuildError, feature_directories=[site.root / "features.d", own])


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


# -- patches of init -------------------------------------------------------------------

INIT = b'#!/bin/sh\nVERSION=3.1.0-r2\necho "Alpine Init $VERSION"\nfind_media\n'
PATCH = """schema = 1
summary = "looks elsewhere"
script = "init"
features = ["squashfs"]
[texts]
more = "look_elsewhere"
[[ranges]]
versions = ">=2.0 <3.0"
not_needed = "it did then"
[[ranges]]
versions = ">=3.0 <3.5"
hunks = [{ before = "find_media", texts = ["more"] }]
"""


def patched_site(site, init=INIT, patch=PATCH, name="elsewhere"):
    site.write_stock(more=[file_entry("init", init, mode=0o755)])
    (site.root / "patches").mkdir(exist_ok=True)
    (site.root / f"patches/{name}.toml").write_text(patch)
    return site


@pytest.mark.parametrize("patches", [["auto"], ["elsewhere"], ["auto", "elsewhere"]])
def test_init_is_patched_when_a_feature_wants_it(site, patches):
    init = patched_site(site).build(patches=patches)["init"]
    expected = INIT.replace(b"find_media", b"look_elsewhere\nfind_media")
    assert (bytes(init.data), init.mode) == (expected, stat.S_IFREG | 0o755)
    assert site.report["patches"] == [
        {
            "patch": "elsewhere",
            "init_version": "3.1.0-r2",
            "range": ">=3.0 <3.5",
            "sha256_before": hashlib.sha256(INIT).hexdigest(),
            "sha256_after": hashlib.sha256(expected).hexdigest(),
        }
    ]


def test_init_stays_where_no_patch_is_wanted_or_needed(site):
    patched_site(site)
    assert bytes(site.build(patches=[])["init"].data) == INIT
    assert bytes(site.build(features=["network"])["init"].data) == INIT
    assert site.report["patches"] == []
    old = INIT.replace(b"3.1.0", b"2.8.0")
    patched_site(site, old)
    assert bytes(site.build()["init"].data) == old
    (account,) = site.report["patches"]
    assert account["not_needed"] == "it did then"
    assert account["sha256_before"] == account["sha256_after"]


def test_patches_are_applied_one_after_another(site):
    patched_site(site)
    second = PATCH.replace("look_elsewhere", "wait_a_bit").replace("find_media", "look_elsewhere")
    second = second.replace('features = ["squashfs"]\n', "")
    patched_site(site, patch=second, name="waiting")
    entries = site.build(patches=["auto", "waiting"])
    assert b"\nwait_a_bit\nlook_elsewhere\nfind_media\n" in bytes(entries["init"].data)
    assert [account["patch"] for account in site.report["patches"]] == ["elsewhere", "waiting"]


def test_the_patch_of_the_first_directory_wins(site, tmp_path):
    patched_site(site)
    own = tmp_path / "own"
    own.mkdir()
    (own / "elsewhere.toml").write_text(PATCH.replace("look_elsewhere", "look_here"))
    entries = site.build(patch_directories=[own, site.root / "patches", tmp_path / "absent"])
    assert b"look_here" in bytes(entries["init"].data)


@pytest.mark.parametrize(
    "change,error,message",
    [
        (
            {"init": INIT.replace(b"find_media", b"find media")},
            BuildError,
            'patch elsewhere for >=3.0 <3.5 does not apply to init 3.1.0-r2; its anchor is "find',
        ),
        (
            {"init": INIT.replace(b"3.1.0", b"3.15.0")},
            BuildError,
            "patch elsewhere knows no init of version 3.15.0-r2; expected one of >=2.0 <3.0, >=3.0",
        ),
        (
            {"init": b"#!/bin/sh\n"},
            FormatError,
            "does not say which version of Alpine's init it is",
        ),
        ({"init": b"\x7fELF"}, FormatError, "is no script: it does not start with #!"),
        ({"patch": "schema = 1"}, RecipeError, "elsewhere.toml: the patch: summary is missing"),
        (
            {"patch": PATCH.replace('"init"', '"modloop"')},
            RecipeError,
            "patch elsewhere: is not for",
        ),
        ({"name": "elsewere"}, RecipeError, "there is no such patch; expected auto or one of else"),
    ],
)
def test_a_patch_that_does_not_fit_stops_the_build(site, change, error, message):
    patched_site(site, **change)
    with pytest.raises(error) as caught:
        site.build(patches=["elsewhere"])
    assert message in str(caught.value)
    assert "next: " in str(caught.value)
    assert not site.output.exists()


def test_an_initramfs_without_init_cannot_be_patched(site):
    patched_site(site)
    plain = stock_initramfs(site.tree, usr_merged=True)
    entries = [entry for entry in read_cpio(plain) if entry.name != "init"]
    (site.root / "initramfs").write_bytes(write_cpio(entries))
    with pytest.raises(BuildError, match="initramfs: init: there is no such script to patch"):
        site.build()


def test_what_the_modloop_is_verified_with_takes_the_place_of_the_stocks(site):
    old = "var/cache/misc/modloop-virt.SIGN.RSA.alpine.rsa.pub"
    new = "var/cache/misc/modloop-virt.SIGN.RSA.site.rsa.pub"
    site.write_stock(more=[file_entry(old, b"signature of the release")])
    assert bytes(site.build()[old].data) == b"signature of the release"
    additions = Additions(
        choice="signed",
        removed=(old,),
        files=(
            AddedFile(path="etc/apk/keys/site.rsa.pub", content=b"public"),
            AddedFile(path=new, content=b"\0\xff"),
        ),
        notes=("modloop-virt is signed with site.rsa.pub",),
    )
    (site.root / "signature.json").write_bytes(write_additions(additions))
    entries = site.build(signature=site.root / "signature.json")
    assert old not in entries
    assert bytes(entries[new].data) == b"\0\xff"
    assert entries[new].mode == stat.S_IFREG | 0o644
    assert bytes(entries["etc/apk/keys/site.rsa.pub"].data) == b"public"
    assert bytes(entries["etc/apk/keys/alpine.rsa.pub"].data) == b"key"
    assert site.report["signature"] == "signed"
    assert additions.notes[0] in site.report["notes"]
