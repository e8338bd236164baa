"""Stock initramfs trees as each generation of Alpine packs them, written and read by others.

A tree lies on the disk with its hard links; GNU cpio or bsdtar and a compressor make a stock
initramfs of it; the pxerd made from that is unpacked by GNU cpio and must be the same tree
again. What our own writer makes of the tree is unpacked by GNU cpio, bsdtar and unmkinitramfs.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass

import pytest
from kernel_samples import KERNEL

from bootsmith.errors import BuildError
from bootsmith.formats.compression import DEFAULT_LEVELS, compress_segment, decompress_initramfs
from bootsmith.formats.cpio import (
    archive_length,
    directory_entry,
    file_entry,
    read_cpio,
    write_cpio,
)
from bootsmith.tools.run import run_program

LIMIT = 50_000_000
MICROCODE = write_cpio(
    [
        *map(directory_entry, ("kernel", "kernel/x86", "kernel/x86/microcode")),
        file_entry("kernel/x86/microcode/GenuineIntel.bin", b"microcode" * 999),
    ]
)
COMPRESS = {
    "gzip": lambda data: run_program(["gzip", "-9nc"], stdin=data).stdout,
    "xz": lambda data: run_program(["xz", "--check=crc32", "-c"], stdin=data).stdout,
    "zstd": lambda data: run_program(["zstd", "-19", "-cq"], stdin=data).stdout,
    "lz4": lambda data: run_program(["lz4", "-l", "-9", "-cq"], stdin=data).stdout,
    "none": lambda data: data,
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How a generation's mkinitfs packs."""

    codec: str
    usr_merged: bool = False
    kmod: bool = True
    packed_by: str = "cpio"
    microcode: bool = False


SHAPES = {
    "G1": Shape(codec="gzip", kmod=False),
    "G1-xz": Shape(codec="xz", kmod=False, packed_by="bsdtar"),
    "G2": Shape(codec="gzip"),
    "G3": Shape(codec="lz4"),
    "G4": Shape(codec="zstd", packed_by="bsdtar"),
    "G4-plain": Shape(codec="none", microcode=True),
    "G5": Shape(codec="gzip", usr_merged=True, microcode=True),
    "G5-zstd": Shape(codec="zstd", usr_merged=True),
}


def write_tree(root, site, shape):
    """What an initramfs of this shape unpacks to, without the modules' indexes."""
    usr = "usr/" if shape.usr_merged else ""
    modules = root / f"{usr}lib/modules/{KERNEL}"
    for path in ("kernel/drivers/block/loop.ko", "kernel/fs/squashfs/squashfs.ko"):
        (modules / path).parent.mkdir(parents=True)
        shutil.copy(site.tree / path, modules / path)
    for name in ("modules.dep", "modules.order") + ("modules.dep.bin",) * shape.kmod:
        shutil.copy(site.tree / name, modules / name)
    for name in (f"{usr}bin", f"{usr}sbin", "dev", "etc", "proc", ".modloop"):
        (root / name).mkdir(exist_ok=True)
    if shape.usr_merged:
        for name in ("bin", "sbin", "lib"):
            (root / name).symlink_to(f"usr/{name}")
    (root / f"{usr}bin/busybox").write_bytes(b"\x7fELF busybox" * 900)
    (root / f"{usr}bin/sh").symlink_to("/bin/busybox")
    (root / "init").write_bytes(b"#!/bin/sh\n")
    # One file with names before and behind others, large and small.
    (root / f"{usr}sbin/ifup").write_bytes(b"ifup and ifdown" * 900)
    for other in (f"{usr}bin/ifquery", f"{usr}sbin/ifdown"):
        os.link(root / f"{usr}sbin/ifup", root / other)
    (root / f"{usr}sbin/mkfs.fat").write_bytes(b"mkfs")
    os.link(root / f"{usr}sbin/mkfs.fat", root / f"{usr}sbin/mkfs.vfat")
    for name in (f"{usr}bin/busybox", "init", f"{usr}sbin/ifup", f"{usr}sbin/mkfs.fat"):
        (root / name).chmod(0o755)
    if shape.kmod:
        (root / f"{usr}bin/kmod").write_bytes(b"\x7fELF kmod" * 900)
        (root / f"{usr}sbin/modprobe").symlink_to(f"/{usr}bin/kmod")
    os.mknod(root / "dev/console", stat.S_IFCHR | 0o600, os.makedev(5, 1))
    return root


def pack(root, shape):
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    listing = "".join(f"{name}\n" for name in names).encode()
    if shape.packed_by == "cpio":
        argv = ["cpio", "-o", "-H", "newc", "--quiet"]
        packed = run_program(argv, stdin=listing, cwd=root).stdout
    else:
        argv = ["bsdtar", "-cf", "-", "--format", "newc", "-n", "-T", "-"]
        packed = run_program(argv, stdin=listing, cwd=root).stdout
    return MICROCODE * shape.microcode + COMPRESS[shape.codec](packed)


def described(root):
    """Every name below `root`: mode, content or link or device, and the names of the same file."""
    names_of = {}
    for path in root.rglob("*"):
        names_of.setdefault(path.lstat().st_ino, []).append(str(path.relative_to(root)))
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        if path.is_symlink():
            what = os.readlink(path)
        elif path.is_file():
            what = path.read_bytes()
        else:
            what = status.st_rdev
        found[str(path.relative_to(root))] = (status.st_mode, what, sorted(names_of[status.st_ino]))
    return {name: one for name, one in found.items() if "/modules." not in name}


def unpack_row(data, directory):
    """A row of plain archives, each by GNU cpio, later ones over earlier ones."""
    directory.mkdir()
    while data := data.lstrip(b"\0"):
        end = archive_length(data)
        run_program(["cpio", "-idmu", "--quiet"], stdin=data[:end], cwd=directory)
        data = data[end:]
    return directory


@pytest.fixture(params=SHAPES)
def shaped(request, site, tmp_path):
    """(shape, its tree, the site with a stock initramfs of it)."""
    shape = SHAPES[request.param]
    root = write_tree(tmp_path / "tree", site, shape)
    (site.root / "initramfs").write_bytes(pack(root, shape))
    return shape, root, site


def test_the_pxerd_is_the_same_tree_to_gnu_cpio(shaped, tmp_path):
    shape, root, site = shaped
    site.features = ("squashfs",)
    site.build(compression="gzip")
    written = site.output.read_bytes()
    assert written.startswith(MICROCODE) == shape.microcode
    assert site.report["output"]["size_bytes"] == len(written)
    unpacked = unpack_row(decompress_initramfs(written, limit_bytes=LIMIT), tmp_path / "unpacked")
    if shape.microcode:
        shutil.rmtree(unpacked / "kernel")
    assert described(unpacked) == described(root)
    modules = unpacked / f"lib/modules/{KERNEL}"
    assert (modules / "modules.dep.bin").is_file()
    argv = ["modprobe", "-d", unpacked, "-S", KERNEL, "--show-depends", "squashfs"]
    assert "squashfs.ko" in run_program(argv).text


def test_what_is_appended_leaves_the_stock_as_it_is(shaped, tmp_path):
    shape, root, site = shaped
    site.features = ("squashfs", "network")
    addition = tmp_path / "addition"
    stock = (site.root / "initramfs").read_bytes()
    if shape.codec == "lz4":
        with pytest.raises(BuildError, match=r"initramfs: is packed so that nothing can follow"):
            site.build(compression="gzip", addition=addition)
        return
    whole = {name: (one.mode, bytes(one.data)) for name, one in site.build().items()}
    appended = site.build(compression="none", addition=addition)
    assert {name: (one.mode, bytes(one.data)) for name, one in appended.items()} == whole
    written = site.output.read_bytes()
    assert written == stock + bytes(-len(stock) % 4) + addition.read_bytes()
    added = read_cpio(addition.read_bytes())
    for entry in added:
        there = root / entry.name
        # Never a name of the stock again, except what replaces a file.
        assert not os.path.lexists(there) or "/modules." in entry.name, entry.name
        parent = entry.name.rpartition("/")[0]
        assert (root / parent).is_dir() or parent in {one.name for one in added}
    assert any(entry.name.endswith("/virtio_net.ko") for entry in added)
    assert site.report["output"]["size_bytes"] == len(written)


def test_what_cannot_be_appended_is_refused(site, tmp_path):
    root = write_tree(tmp_path / "tree", site, SHAPES["G2"])
    os.link(root / "init", root / "linuxrc")
    (root / "init").write_bytes(
        b'#!/bin/sh\nVERSION=3.1.0-r2\necho "Alpine Init $VERSION"\nfind_media\n'
    )
    (site.root / "initramfs").write_bytes(pack(root, SHAPES["G2"]))
    (site.root / "patches").mkdir()
    (site.root / "patches/elsewhere.toml").write_text(
        'schema = 1\nsummary = "x"\nscript = "init"\n[texts]\nmore = "elsewhere"\n'
        '[[ranges]]\nversions = ">=3.0 <3.5"\n'
        'hunks = [{ before = "find_media", texts = ["more"] }]\n'
    )
    with pytest.raises(BuildError) as caught:
        site.build(patches=["elsewhere"], addition=tmp_path / "addition")
    assert str(caught.value) == (
        '[pxerd] output = "appended": init has other names, which would change with it, in a stock '
        'initramfs that is left untouched\n  next: set output = "whole" in the release recipe'
    )
    (root / f"lib/modules/{KERNEL}/modules.own").write_text("own")
    (site.root / "initramfs").write_bytes(pack(root, SHAPES["G2"]))
    with pytest.raises(BuildError, match=r"modules.own cannot be taken away from a stock"):
        site.build(addition=tmp_path / "addition")
    assert not site.output.exists()


# They take every plain archive for an early one, so the last must be compressed.
@pytest.mark.parametrize("codec", ["gzip", "xz", "zstd"])
@pytest.mark.parametrize("microcode", [b"", MICROCODE], ids=["bare", "microcode"])
def test_debians_initramfs_tools_read_what_we_write(site, tmp_path, codec, microcode):
    root = write_tree(tmp_path / "tree", site, SHAPES["G5"])
    entries = read_cpio(pack(root, Shape(codec="none")))
    made = tmp_path / "made"
    made.write_bytes(
        microcode + compress_segment(write_cpio(entries), codec, DEFAULT_LEVELS[codec])
    )
    listed = run_program(["lsinitramfs", made]).text.split("\n")
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    assert sorted(name for name in listed if name and not f"{name}/".startswith("kernel/")) == names
    run_program(["unmkinitramfs", made, tmp_path / "out"])
    unpacked = tmp_path / ("out/main" if microcode else "out")
    assert described(unpacked) == described(root)
    if microcode:
        binary = tmp_path / "out/early/kernel/x86/microcode/GenuineIntel.bin"
        assert binary.read_bytes() == b"microcode" * 999


@pytest.mark.parametrize("usr_merged", [True, False])
def test_bsdtar_reads_what_we_write(site, tmp_path, usr_merged):
    shape = Shape(codec="none", usr_merged=usr_merged)
    root = write_tree(tmp_path / "tree", site, shape)
    entries = read_cpio(pack(root, shape))
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    run_program(["bsdtar", "-xpf", "-", "-C", unpacked], stdin=write_cpio(entries))
    assert described(unpacked) == described(root)


def test_names_of_one_file_that_differ_are_files_of_their_own():
    """Nobody writes such; whoever reads it must lose neither content."""
    first, other = file_entry("a", b"1111"), file_entry("b", b"2222")
    row = bytearray(write_cpio([first, other]))
    for start in (0, archive_length(write_cpio([first], trailer=False))):
        row[start + 6 : start + 14] = b"00000001"
        row[start + 38 : start + 46] = b"00000002"
    assert read_cpio(bytes(row)) == [first, other]
