"""What a pxerd cannot be made from: each row says where, what, and what to do next."""

from __future__ import annotations

import mmap

import pytest
from kernel_samples import KERNEL, stock_initramfs, write_modloop

from bootsmith.errors import BootsmithError
from bootsmith.formats.compression import compress_segment
from bootsmith.formats.cpio import file_entry, write_cpio

GET_AGAIN = "use no archive that does such; get the file again from where it comes"
OWN_MODLOOP = (
    "use the release's own; one that is encrypted or in another container must be taken out of "
    "it first"
)


def plain_stock(site):
    return stock_initramfs(site.tree, usr_merged=True)


def initramfs(content):
    """A row's change: another initramfs, made from the plain bytes of the good one."""

    def change(site):
        (site.root / "initramfs").write_bytes(content(plain_stock(site)))

    return change


def modloop(content):
    return lambda site: (site.root / "modloop").write_bytes(content)


def squashfs(*directories):
    def change(site):
        root = site.root / "other"
        for name in directories:
            (root / name).mkdir(parents=True)
        (site.root / "modloop").unlink()
        write_modloop(root, site.root / "modloop")

    return change


def cut(name):
    def change(site):
        path = site.root / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return change


def features(*names):
    return lambda site: setattr(site, "features", names)


def required(site):
    site.write_feature("network.required", "kernel/drivers/net/ne2k.ko*\n")
    site.write_feature("network.modules", "# none\nkernel/drivers/net/ne2k.ko*\n")


ROWS = {
    "unknown feature": (
        features("sqashfs"),
        "feature sqashfs: unknown initramfs feature; expected one of dhcp, ghost, network, nfs, "
        "shell, squashfs, tool",
        "did you mean squashfs?",
    ),
    "feature of nothing": (
        features("ghost"),
        f"feature ghost: nothing of it exists for kernel {KERNEL}; expected a module, built in or "
        "not, or a file, got kernel/ghost; ghost",
        "leave the feature out, or correct its lists; what only one flavor has belongs in "
        "[pxerd.flavor.NAME] of the release recipe",
    ),
    "required glob of nothing": (
        required,
        "feature network: network.modules:2: kernel/drivers/net/ne2k.ko* is no module of this "
        "kernel; expected something, as network.required:1 says",
        "correct the line, or leave network out; what only one flavor has belongs in "
        "[pxerd.flavor.NAME] of the release recipe",
    ),
    "modules of another kernel": (
        lambda site: site.write_stock(kernel="6.6.8-0-virt"),
        "ROOT/modloop: its modules are for another kernel than the initramfs; expected "
        f"6.6.8-0-virt, got {KERNEL}",
        "use kernel, initramfs and modloop of one release and flavor",
    ),
    "encrypted modloop": (
        modloop(b"LUKS\xba\xbe\0\x02" + bytes(4096)),
        "ROOT/modloop: not a squashfs image; expected magic b'hsqs', got b'LUKS'",
        OWN_MODLOOP,
    ),
    "modloop that is something else": (
        modloop(b"\x1f\x8b\x08\0" + bytes(4096)),
        "ROOT/modloop: not a squashfs image; expected magic b'hsqs', got b'\\x1f\\x8b\\x08\\x00'",
        OWN_MODLOOP,
    ),
    "squashfs of something else": (
        squashfs("etc"),
        "ROOT/modloop: not a modloop; expected one directory modules/<kernel release>, got none",
        "use the modloop of the same release as the kernel",
    ),
    "modloop of two kernels": (
        squashfs("modules/6.1", "modules/6.6"),
        "ROOT/modloop: not a modloop; expected one directory modules/<kernel release>, got "
        "modules/6.1, modules/6.6",
        "use the modloop of the same release as the kernel",
    ),
    "truncated modloop": (cut("modloop"), "ROOT/modloop: ", None),
    "empty initramfs": (
        initramfs(lambda plain: b""),
        "ROOT/initramfs: holds no files",
        "get the release again",
    ),
    "initramfs that is something else": (
        initramfs(lambda plain: b"MZ\0\0" + bytes(512)),
        "ROOT/initramfs: unknown compression; expected gzip, xz, zstd, lz4, lzma, bzip2 or a "
        "plain newc cpio, got first bytes 4d 5a 00 00 00 00",
        "get the file again; it is damaged or no initramfs",
    ),
    "truncated gzip": (
        cut("initramfs"),
        "ROOT/initramfs: damaged gzip data (the file is truncated)",
        "get the file again; it is damaged",
    ),
    "truncated cpio": (
        initramfs(lambda plain: compress_segment(plain[:20_000], "gzip", 6)),
        "ROOT/initramfs: the archive ends inside the content of the entry at byte 13684",
        "the file is truncated; get it again",
    ),
    "cpio with a bad checksum": (
        initramfs(lambda plain: plain.replace(b"070701", b"070702")),
        "ROOT/initramfs: the content of etc/apk/keys/alpine.rsa.pub does not match its checksum",
        "the archive is damaged; get the file again",
    ),
    "cpio of another kind": (
        initramfs(lambda plain: compress_segment(plain.replace(b"070701", b"070707"), "gzip", 6)),
        "ROOT/initramfs: no newc header at byte 0; expected 070701, got 070707",
        "the archive is damaged or in another cpio format; get the file again",
    ),
    "cpio that climbs out": (
        initramfs(lambda plain: plain.replace(b"etc/apk/keys/alpine", b"etc/../../../alpine")),
        "ROOT/initramfs: member name climbs out with ..; got 'etc/../../../alpine.rsa.pub'",
        GET_AGAIN,
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_each_bad_input_has_its_words(site, row):
    change, message, hint = ROWS[row]
    change(site)
    site.output.write_bytes(b"old")
    with pytest.raises(BootsmithError) as caught:
        site.build()
    said = caught.value.message.replace(str(site.root), "ROOT")
    if hint is None:  # where exactly a cut shows depends on the squashfs
        assert said.startswith(message)
        assert caught.value.hint
    else:
        assert (said, caught.value.hint) == (message, hint)
    assert site.output.read_bytes() == b"old"
    assert not (site.root / "report.json").exists()


def test_what_is_only_missing_is_a_note(site):
    site.features = ("nfs", "network")
    site.build()
    assert (
        "feature nfs: nfs.modules:2: kernel/fs/nfs_common is no module of this kernel"
        in (site.report["notes"])
    )
    assert site.report["firmware"]["absent"] == ["virtio/absent.bin"]


@pytest.mark.parametrize("codec", ["gzip", "none"])
def test_two_archives_behind_each_other_are_both_read(site, codec):
    """The kernel takes them so; of a name that comes twice the later one counts."""
    second = write_cpio([file_entry("etc/second", b"2"), file_entry("init", b"#!/bin/sh\n#2\n")])
    row = compress_segment(plain_stock(site), codec, 6) + compress_segment(second, codec, 6)
    (site.root / "initramfs").write_bytes(row)
    entries = site.build()
    assert bytes(entries["etc/second"].data) == b"2"
    assert bytes(entries["init"].data) == b"#!/bin/sh\n#2\n"
    assert "usr/bin/busybox" in entries


def test_a_file_of_4_gib_does_not_fit_newc():
    with (
        mmap.mmap(-1, 1 << 32) as nothing,  # never touched, so never there
        memoryview(nothing) as large,
        pytest.raises(BootsmithError) as caught,
    ):
        write_cpio([file_entry("srv/disk.img", large)])
    assert str(caught.value) == (
        "cpio: srv/disk.img is too large for newc; expected less than 4 GiB, got 4294967296 bytes\n"
        "  next: leave it out; what is so large belongs on a disk or a server"
    )
