"""Modloops passed through, changed, and refused; held against depmod, modprobe and unsquashfs."""

from __future__ import annotations

import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from kernel_samples import (
    BUILTIN,
    FIRMWARE,
    KERNEL,
    MODULES,
    kernel_module,
    write_modloop,
    write_module_tree,
)

from bootsmith.builders.modloop import build_modloop
from bootsmith.errors import BuildError, FormatError, SourceError
from bootsmith.formats.apk import ApkEntry, ApkInfo, write_apk
from bootsmith.formats.kernel_modules import ModuleCatalog, read_module_catalog
from bootsmith.formats.kmod_index import read_index
from bootsmith.formats.signing_key import derive_signing_key
from bootsmith.formats.squashfs import Squashfs

KEY = derive_signing_key(name="test.rsa.pub", seed="tests of modloops", size_bits=1024)
MAGIC = f"vermagic={KERNEL} SMP preempt mod_unload "
DIRECTORY = f"modules/{KERNEL}"
LOOP, EXT4 = "kernel/drivers/block/loop.ko", "kernel/fs/ext4/ext4.ko"
JBD2, VIRTIO = "kernel/fs/jbd2/jbd2.ko", "kernel/drivers/virtio/virtio.ko"
FAILOVER = "kernel/drivers/net/net_failover.ko"
NET = "kernel/drivers/net/virtio_net.ko"
GADGET = kernel_module(
    needs=["failover_create", "jbd2_begin", "printk"],
    exports=["gadget_open"],
    info=[
        MAGIC, "alias=usb:v1234p*", "alias=devname:gadget", "alias=char-major-200-7",
        "softdep=pre: crc32c", "firmware=gadget/absent.bin",
    ],
    size_bytes=3000,
)  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    write_module_tree(root)
    return root


@pytest.fixture(scope="module")
def stock(tree, tmp_path_factory):
    return write_modloop(tree, tmp_path_factory.mktemp("stock") / "modloop")


@pytest.fixture
def build(stock, tmp_path):
    """Build with changes; gives the report. The result is at `out`."""

    def run(*add, keep=(), drop=(), compression="stock", config=None, source=stock):
        build_modloop(
            stock=source,
            add=add,
            keep=keep,
            drop=drop,
            compression=compression,
            kernel_config=config,
            output=tmp_path / "out",
            report=tmp_path / "report.json",
        )
        return json.loads((tmp_path / "report.json").read_text())

    return run


def put(path: Path, content: bytes = GADGET) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names_in(image: Path) -> set[str]:
    return {entry.path for entry in Squashfs(image.read_bytes()).walk()}


def read(image: Path, name: str) -> bytes:
    return Squashfs(image.read_bytes()).read(f"{DIRECTORY}/{name}")


def unsquash(image: Path, target: Path) -> Path:
    subprocess.run(
        ["unsquashfs", "-no-progress", "-quiet", "-d", target, image],
        check=True, capture_output=True,
    )  # fmt: skip
    (target / "lib").mkdir()
    (target / "lib/modules").symlink_to("../modules")
    return target


def contents(root: Path) -> dict[str, bytes | str | None]:
    """Files, targets of links and directories below `root`."""
    found: dict[str, bytes | str | None] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        found[name] = None if path.is_dir() else path.read_bytes() if path.is_file() else ""
        if path.is_symlink():
            found[name] = os.readlink(path)
    return found


def modprobe(root: Path, name: str) -> list[str] | None:
    """The modules that would be loaded, in order; None if there is no such module."""
    done = subprocess.run(
        ["modprobe", "-S", KERNEL, "-d", root, "--show-depends", name], capture_output=True
    )
    if done.returncode:
        return None
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    return [line[1].rpartition("/")[2] for line in lines if line[0] == "insmod"]


def indexes(directory: Path) -> dict[str, object]:
    """What the indexes of a tree say, without the two orders that mean nothing."""
    catalog = read_module_catalog({"modules.dep": (directory / "modules.dep").read_bytes()})
    said: dict[str, object] = {
        "dep": [(path, frozenset(needed)) for path, needed in catalog.dependencies.items()],
        "symbols": sorted((directory / "modules.symbols").read_bytes().splitlines()),
    }
    for name in ("modules.alias", "modules.softdep", "modules.devname"):
        said[name] = (directory / name).read_bytes()
    for name in ("alias", "symbols", "builtin", "builtin.alias"):
        said[f"{name}.bin"] = read_index((directory / f"modules.{name}.bin").read_bytes())
    said["dep.bin"] = [
        (key, value.partition(":")[0], frozenset(value.partition(":")[2].split()), priority)
        for key, value, priority in read_index((directory / "modules.dep.bin").read_bytes())
    ]
    return said


def check_with_kmod(image: Path, scratch: Path) -> Path:
    """The indexes are those that depmod makes, and modprobe finds every module by them."""
    root = unsquash(image, scratch / "unsquashed")
    ours = indexes(root / DIRECTORY)
    catalog = read_module_catalog({"modules.dep": (root / DIRECTORY / "modules.dep").read_bytes()})
    on_disk = {
        str(path.relative_to(root / DIRECTORY)) for path in (root / DIRECTORY).rglob("*.ko*")
    }
    assert set(catalog.dependencies) == on_disk
    before = {name: modprobe(root, name) for name in catalog.path_by_name}
    subprocess.run(["depmod", "-b", root, KERNEL], check=True, capture_output=True)
    assert indexes(root / DIRECTORY) == ours
    for name, loaded in before.items():
        assert loaded is not None
        check_order(loaded, catalog)
        again = modprobe(root, name)
        assert again is not None
        assert sorted(again) == sorted(loaded)
    return root


def check_order(loaded: list[str], catalog: ModuleCatalog) -> None:
    """Each module is loaded after all that it needs."""
    turn = {name: number for number, name in enumerate(loaded)}
    for path, needed in catalog.dependencies.items():
        name = path.rpartition("/")[2]
        if name in turn:
            assert all(turn[other.rpartition("/")[2]] < turn[name] for other in needed)


# -- untouched ---------------------------------------------------------------------------


def test_without_changes_every_byte_is_the_stock_ones(stock, build, tmp_path):
    report = build()
    assert (tmp_path / "out").read_bytes() == stock.read_bytes()
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o644
    assert report == {
        "schema": 1,
        "kernel_release": KERNEL,
        "method": "copied",
        "kept_bytes": stock.stat().st_size,
        "size_bytes": stock.stat().st_size,
        "notes": [],
    }


def test_the_copy_is_a_file_of_its_own(stock, build, tmp_path):
    mine = tmp_path / "mine"
    mine.write_bytes(stock.read_bytes())
    build(source=mine)
    mine.write_bytes(b"edited in place")
    assert (tmp_path / "out").read_bytes() == stock.read_bytes()


# -- added -------------------------------------------------------------------------------


def test_a_module_that_is_added_is_found_with_all_that_it_needs(stock, build, tmp_path):
    report = build(put(tmp_path / "usb-gadget.ko"))
    root = check_with_kmod(tmp_path / "out", tmp_path)
    loaded = modprobe(root, "usb_gadget")
    assert {"net_failover.ko", "jbd2.ko"} < set(loaded)
    assert loaded[-1] == "usb-gadget.ko"
    assert modprobe(root, "usb:v1234pABCD") == modprobe(root, "usb_gadget")
    assert "crc32c" in "".join(modprobe(root, "usb_gadget"))  # its softdep
    assert read(tmp_path / "out", "modules.devname").endswith(
        b"misc_dev misc/thing c10:200\nusb_gadget gadget c200:7\n"
    )
    assert read(tmp_path / "out", "modules.order").endswith(b"extra/usb-gadget.ko\n")
    assert names_in(tmp_path / "out") - names_in(stock) == {
        f"{DIRECTORY}/extra",
        f"{DIRECTORY}/extra/usb-gadget.ko",
    }
    assert report["method"] == "spliced"
    assert report["modules"] == {
        "added": {"extra/usb-gadget.ko": "usb-gadget.ko"},
        "replaced": [],
        "dropped": [],
    }
    assert report["firmware"]["absent"] == {"gadget/absent.bin": "extra/usb-gadget.ko"}


def test_what_the_indexes_had_stays_in_front_of_what_comes(stock, build, tmp_path):
    """So those of their blocks that did not change are not packed again."""
    build(put(tmp_path / "usb-gadget.ko"))
    for name in ("dep", "alias", "symbols"):
        before, after = (read(image, f"modules.{name}") for image in (stock, tmp_path / "out"))
        assert after.startswith(before)
        assert after != before
        before, after = (read(image, f"modules.{name}.bin") for image in (stock, tmp_path / "out"))
        root = int.from_bytes(before[8:12], "big") & 0x0FFFFFFF
        assert root > len(before) // 2
        assert after.startswith(before[:root])
        assert after != before


def test_an_index_that_is_none_is_written_anew(tree, build, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(tree, damaged, symlinks=True)
    (damaged / DIRECTORY / "modules.alias.bin").write_bytes(b"torn")
    (damaged / DIRECTORY / "modules.symbols.bin").unlink()
    source = write_modloop(damaged, tmp_path / "damaged.img")
    build(put(tmp_path / "usb-gadget.ko"), source=source)
    check_with_kmod(tmp_path / "out", tmp_path)


def test_a_module_that_the_order_names_comes_where_it_says(tree, build, tmp_path):
    ordered = tmp_path / "ordered"
    shutil.copytree(tree, ordered, symlinks=True)
    order = ordered / DIRECTORY / "modules.order"
    order.write_bytes(b"extra/usb-gadget.ko\n" + order.read_bytes())
    build(put(tmp_path / "usb-gadget.ko"), source=write_modloop(ordered, tmp_path / "ordered.img"))
    assert read(tmp_path / "out", "modules.dep").startswith(b"extra/usb-gadget.ko:")
    check_with_kmod(tmp_path / "out", tmp_path)


def test_modules_that_need_each_other_come_together(build, tmp_path):
    put(tmp_path / "m/extra/usb-gadget.ko")
    user = kernel_module(needs=["gadget_open"], exports=["far"], info=[MAGIC])
    put(tmp_path / "m/extra/a-user.ko", user)
    put(tmp_path / "m/updates/farther.ko", kernel_module(needs=["far"], info=[MAGIC]))
    build(tmp_path / "m")
    root = check_with_kmod(tmp_path / "out", tmp_path)
    loaded = modprobe(root, "farther")
    assert loaded[-1] == "farther.ko"
    assert loaded.index("jbd2.ko") < loaded.index("usb-gadget.ko") < loaded.index("a-user.ko")


@pytest.mark.parametrize("compress", [None, lzma.compress])
def test_a_module_takes_the_place_of_the_one_of_its_name(build, tmp_path, compress):
    """And those that need it need from now on what it needs."""
    new = kernel_module(
        exports=["jbd2_begin", "jbd2_more"], needs=["register_virtio"], info=[MAGIC]
    )
    name = "jbd2.ko.xz" if compress else "jbd2.ko"
    report = build(put(tmp_path / name, compress(new) if compress else new))
    assert report["modules"]["replaced"] == [JBD2]
    assert list(report["modules"]["added"]) == [f"kernel/fs/jbd2/{name}"]
    root = check_with_kmod(tmp_path / "out", tmp_path)
    assert (root / DIRECTORY / f"kernel/fs/jbd2/{name}").exists()
    assert "virtio.ko" in modprobe(root, "ext4")
    assert modprobe(root, "ext4").index("virtio.ko") < modprobe(root, "ext4").index(name)


def test_a_module_moves_where_its_tree_has_it(build, tmp_path):
    new = kernel_module(info=[MAGIC], size_bytes=100)
    report = build(put(tmp_path / f"m/{DIRECTORY}/updates/loop.ko", new).parents[3])
    assert report["modules"]["replaced"] == [LOOP]
    check_with_kmod(tmp_path / "out", tmp_path)
    assert f"{DIRECTORY}/{LOOP}" not in names_in(tmp_path / "out")
    assert f"{DIRECTORY}/kernel/drivers/block" not in names_in(tmp_path / "out")  # empty now


def test_the_later_source_wins_and_the_report_says_so(build, tmp_path):
    first = put(tmp_path / "1/gadget.ko", kernel_module(info=[MAGIC]))
    second = put(tmp_path / "2/updates/gadget.ko")
    report = build(first, second.parents[1])
    assert report["notes"] == ["extra/gadget.ko of gadget.ko gives way to updates/gadget.ko of 2"]
    assert read(tmp_path / "out", "updates/gadget.ko") == GADGET
    assert f"{DIRECTORY}/extra" not in names_in(tmp_path / "out")


def tar_of(files: dict[str, bytes], links: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return out.getvalue()


SOURCE_FILES = {
    f"lib/modules/{KERNEL}/extra/gadget.ko": GADGET,
    f"lib/modules/{KERNEL}/modules.dep": b"stale",
    "lib/modules/5.1.0-0-other/extra/gadget.ko": b"not even looked at",
    "lib/firmware/gadget/absent.bin": b"no longer",
}


def package_of(name: str, entries: list[ApkEntry]) -> bytes:
    return write_apk(
        info=ApkInfo(name=name, version="1-r0"),
        entries=sorted(entries, key=lambda entry: entry.name),
        key=KEY,
    )


@pytest.mark.parametrize("kind", ["tree", "usr-merged tree", "tarball", "package"])
def test_modules_come_from_trees_archives_and_packages(build, tmp_path, kind):
    source = tmp_path / "source"
    links = {"lib/firmware/gadget/second.bin": "absent.bin"}
    if "tree" in kind:
        top = source / "usr" if "usr" in kind else source
        for name, content in SOURCE_FILES.items():
            put(top / name, content)
        for name, target in links.items():
            (top / name).symlink_to(target)
        (top / f"lib/modules/{KERNEL}/build").symlink_to("/usr/src/linux")
    elif kind == "tarball":
        source = put(tmp_path / "source.tar.xz", tar_of(SOURCE_FILES, links))
    else:
        entries = [ApkEntry(name=name, data=data) for name, data in SOURCE_FILES.items()]
        entries += [ApkEntry(name=name, kind="symlink", target=to) for name, to in links.items()]
        entries.append(ApkEntry(name="usr/share/doc/gadget", data=b"words"))
        package = package_of("gadget-virt", entries)
        source = put(tmp_path / "gadget-virt-1-r0.apk", package)
    report = build(source)
    assert report["firmware"]["added"] == ["gadget/absent.bin", "gadget/second.bin"]
    assert report["firmware"]["absent"] == {}
    image = Squashfs((tmp_path / "out").read_bytes())
    assert image.read(f"{DIRECTORY}/extra/gadget.ko") == GADGET
    assert image.read("modules/firmware/gadget/absent.bin") == b"no longer"
    assert image.entry("modules/firmware/gadget/second.bin").target == "absent.bin"
    assert not any("other" in name for name in names_in(tmp_path / "out"))
    assert report["notes"] == (
        ["gadget-virt-1-r0.apk: left out what has no place in a modloop: usr/share/doc/gadget"]
        if kind == "package"
        else []
    )
    check_with_kmod(tmp_path / "out", tmp_path)


def test_a_hard_link_in_an_archive_is_the_file_it_names(build, tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("firmware/one")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"same"))
        link = tarfile.TarInfo("firmware/two")
        link.type, link.linkname = tarfile.LNKTYPE, "firmware/one"
        archive.addfile(link)
    build(put(tmp_path / "f.tar", out.getvalue()))
    assert Squashfs((tmp_path / "out").read_bytes()).read("modules/firmware/two") == b"same"


# -- left out ----------------------------------------------------------------------------


def test_what_is_dropped_is_gone_and_modprobe_knows(build, tmp_path):
    report = build(drop=["kernel/fs/squashfs", NET, "firmware/acme"])
    root = check_with_kmod(tmp_path / "out", tmp_path)
    assert modprobe(root, "squashfs") is None
    assert modprobe(root, "fs-squashfs") is None
    assert modprobe(root, "ext4") is not None
    assert report["modules"]["dropped"] == [NET, "kernel/fs/squashfs/squashfs.ko"]
    assert report["firmware"]["dropped"] == ["acme/fw-1.bin.xz", "acme/fw.bin.xz"]
    gone = {f"{DIRECTORY}/kernel/fs/squashfs", "modules/firmware/acme"}
    assert not gone & names_in(tmp_path / "out")


def test_what_is_kept_brings_what_it_needs_softly_or_not_and_its_firmware(build, tmp_path):
    report = build(keep=["kernel/drivers/net/virtio*", EXT4, "kernel/drivers/tty"])
    root = check_with_kmod(tmp_path / "out", tmp_path)
    left = {path.name for path in (root / DIRECTORY).rglob("*.ko")}
    assert left == {
        "virtio_net.ko", "virtio.ko", "net_failover.ko", "ext4.ko", "jbd2.ko", "libcrc32c.ko",
        "crc32c_generic.ko", "crc32c-intel.ko",
    }  # fmt: skip
    assert "module libcrc32c: its softdep not-there is not in this kernel" in report["notes"]
    assert report["firmware"]["absent"] == {"virtio/absent.bin": NET}
    assert report["firmware"]["dropped"] == ["acme/fw-1.bin.xz", "acme/fw.bin.xz"]
    assert (root / "modules/firmware/virtio/blob.bin").read_bytes() == FIRMWARE["virtio/blob.bin"]


def test_firmware_is_kept_through_links_and_by_name(build, tmp_path):
    report = build(keep=["kernel/drivers/net/ethernet"])
    assert report["firmware"]["dropped"] == ["virtio/blob.bin"]
    assert {"modules/firmware/acme/fw.bin.xz", "modules/firmware/acme/fw-1.bin.xz"} < names_in(
        tmp_path / "out"
    )
    report = build(keep=["kernel/drivers/net/ethernet", "firmware/virtio"])
    assert report["firmware"]["dropped"] == []


def test_an_added_module_stays_with_its_needs_whatever_is_kept(build, tmp_path):
    build(put(tmp_path / "gadget.ko"), keep=["kernel/drivers/block"])
    root = check_with_kmod(tmp_path / "out", tmp_path)
    left = {path.name for path in (root / DIRECTORY).rglob("*.ko")}
    assert {"gadget.ko", "loop.ko", "net_failover.ko", "jbd2.ko"} < left
    assert "af_packet.ko" not in left


def test_a_softdep_that_is_dropped_is_told(build):
    report = build(drop=["kernel/crypto"])
    assert "module ext4: its softdep crypto-crc32c is dropped" not in report["notes"]
    report = build(keep=[EXT4], drop=["kernel/crypto"])
    assert set(report["modules"]["dropped"]) >= {"kernel/crypto/crc32c_generic.ko"}


def test_added_firmware_stays_where_the_stock_is_dropped(build, tmp_path):
    put(tmp_path / "f/firmware/acme/fw-1.bin.xz", b"newer")
    report = build(tmp_path / "f", drop=["firmware/acme"])
    assert report["firmware"] == {
        "added": ["acme/fw-1.bin.xz"],
        "dropped": ["acme/fw.bin.xz"],
        "absent": {},
    }
    image = Squashfs((tmp_path / "out").read_bytes())
    assert image.names("modules/firmware/acme") == ("fw-1.bin.xz",)
    assert image.read("modules/firmware/acme/fw-1.bin.xz") == b"newer"


# -- packed anew, and again --------------------------------------------------------------


def test_another_compression_packs_the_same_tree_anew(build, tmp_path):
    config = put(tmp_path / "config", b"CONFIG_SQUASHFS_ZSTD=y\nCONFIG_SQUASHFS_ZLIB=y\n")
    build(put(tmp_path / "gadget.ko"), drop=["kernel/net"])
    spliced = unsquash(tmp_path / "out", tmp_path / "spliced")
    for compression in ("gzip", "zstd"):
        report = build(
            tmp_path / "gadget.ko", drop=["kernel/net"], compression=compression, config=config
        )
        image = Squashfs((tmp_path / "out").read_bytes())
        assert image.superblock.compression == compression
        assert report["method"] == "packed anew"
        assert report["reason"] == f"compression {compression} is asked for; the stock has xz"
        again = unsquash(tmp_path / "out", tmp_path / compression)
        assert contents(again) == contents(spliced)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".partial")]


def test_the_stock_compression_by_name_copies_or_splices(stock, build, tmp_path):
    assert build(compression="xz")["method"] == "copied"
    assert build(put(tmp_path / "gadget.ko"), compression="xz")["method"] == "spliced"


def test_a_change_keeps_what_was_compressed(stock, build, tmp_path):
    table = Squashfs(stock.read_bytes()).superblock.inode_table
    report = build(put(tmp_path / "gadget.ko"))
    assert report["kept_bytes"] > 0.5 * table
    assert report["size_bytes"] == (tmp_path / "out").stat().st_size


def test_the_same_changes_give_the_same_bytes(build, tmp_path):
    made = []
    for _ in range(2):
        build(put(tmp_path / "gadget.ko"), keep=[EXT4, NET], drop=["kernel/crypto/crc32c-intel.ko"])
        made.append((tmp_path / "out").read_bytes())
    assert made[0] == made[1]


# -- refused -----------------------------------------------------------------------------


def refused(build, tmp_path, error, *add, **changes) -> str:
    """The whole message, without the path of the test; the old output is untouched."""
    (tmp_path / "out").write_text("old")
    with pytest.raises(error) as caught:
        build(*add, **changes)
    assert (tmp_path / "out").read_text() == "old"
    assert not (tmp_path / "report.json").exists()
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    "content,error,message",
    [
        (None, SourceError, "stock: modloop cannot be read (No such file or directory)"),
        (b"", SourceError, "stock: modloop is empty"),
        (
            b"LUKS\xba\xbe" * 40,
            FormatError,
            "stock: not a squashfs image; expected magic b'hsqs', got b'LUKS'",
        ),
    ],
)
def test_what_is_no_modloop_leaves_the_old_one(build, tmp_path, content, error, message):
    if content is not None:
        (tmp_path / "stock").write_bytes(content)
    said = refused(build, tmp_path, error, source=tmp_path / "stock")
    assert said.splitlines()[0] == message


def test_a_modloop_cut_short_is_told(stock, build, tmp_path):
    (tmp_path / "stock").write_bytes(stock.read_bytes()[:300])
    said = refused(build, tmp_path, FormatError, source=tmp_path / "stock")
    assert "squashfs image is cut short" in said


def test_a_modloop_without_indexes_cannot_be_changed(build, tree, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run(["cp", "-a", tree, bare], check=True)
    (bare / DIRECTORY / "modules.dep").unlink()
    image = write_modloop(bare, tmp_path / "stock")
    assert refused(build, tmp_path, BuildError, source=image, drop=["kernel/net"]) == (
        f"stock: no modules.dep for kernel {KERNEL}\n"
        "  next: make the modloop again after running depmod over its modules"
    )


def test_a_module_for_another_kernel_is_refused(build, tmp_path):
    other = kernel_module(info=["vermagic=5.1.0-0-virt SMP"])
    assert refused(build, tmp_path, BuildError, put(tmp_path / "x.ko", other)) == (
        f"x.ko: is built for another kernel; expected vermagic {KERNEL}, got 5.1.0-0-virt\n"
        f"  next: build it against the headers of {KERNEL}"
    )
    unmarked = put(tmp_path / "m/extra/x.ko", kernel_module())
    assert refused(build, tmp_path, BuildError, unmarked.parents[1]).startswith(
        f"m: extra/x.ko: is built for another kernel; expected vermagic {KERNEL}, got none\n"
    )


def test_a_package_for_another_kernel_is_refused(build, tmp_path):
    entry = ApkEntry(name="lib/modules/5.1.0-0-lts/extra/x.ko", data=GADGET)
    package = package_of("x", [entry])
    assert refused(build, tmp_path, BuildError, put(tmp_path / "x.apk", package)) == (
        f"x.apk: is for another kernel; expected modules for {KERNEL}, got 5.1.0-0-lts\n"
        "  next: use a build for this kernel"
    )


@pytest.mark.parametrize(
    "name,content,error,message",
    [
        (
            "x.ko",
            b"text",
            FormatError,
            "x.ko: not an ELF file; expected 7f 45 4c 46, got 74 65 78 74",
        ),
        (
            "x.ko",
            b"\x7fELF\x02\x01",
            FormatError,
            "x.ko: damaged ELF headers: they point beyond the file",
        ),
        (
            "x.ko.xz",
            b"\xfd7zXZ\0no",
            FormatError,
            "x.ko.xz: damaged xz data (the file is truncated)",
        ),
        ("x.apk", b"\x1f\x8bno", FormatError, None),
        ("x.tar", b"no archive", FormatError, None),
        (
            "x.tar",
            tar_of({"etc/passwd": b""}, {}),
            BuildError,
            "x.tar: holds no modules and no firmware; expected modules for " + KERNEL,
        ),
        ("x.tar", tar_of({"../kernel/x.ko": GADGET}, {}), FormatError, None),
        (
            "x.tar",
            tar_of({}, {"lib/firmware/x": "/etc/shadow"}),
            BuildError,
            "x.tar: the link firmware/x leads out of the firmware directory; "
            "expected a relative link inside it, got /etc/shadow",
        ),
        (
            "x.tar",
            tar_of({}, {"extra/x.ko": "y.ko"}),
            BuildError,
            "x.tar: extra/x.ko is a link; expected a module",
        ),
        (
            "tree/README",
            b"words",
            BuildError,
            "tree: README has no place in a modloop",
        ),
    ],
)  # fmt: skip
def test_sources_that_make_no_sense_are_refused(build, tmp_path, name, content, error, message):
    source = put(tmp_path / name, content)
    source = tmp_path / name.partition("/")[0]
    said = refused(build, tmp_path, error, source)
    assert said.startswith(name.partition("/")[0])
    if message is not None:
        assert said.splitlines()[0] == message
        assert "\n  next: " in said


def test_a_source_that_is_not_there_is_told(build, tmp_path):
    for name in ("none", "none.ko", "none.tar.gz", "none.apk"):
        assert refused(build, tmp_path, SourceError, tmp_path / name) == (
            f"{name}: cannot be read (No such file or directory)\n"
            "  next: correct add in the [modloop] table of the release recipe"
        )


FLAVOR_HINT = (
    "\n  next: correct it in the release recipe; what only one flavor has belongs in "
    "[modloop.flavor.NAME]"
)


@pytest.mark.parametrize(
    "changes,message",
    [
        (
            {"drop": ["kernel/fs/btrfs"]},
            "[modloop] drop: kernel/fs/btrfs: matches no module and no firmware of this kernel"
            + FLAVOR_HINT,
        ),
        (
            {"keep": ["firmware/none*"]},
            "[modloop] keep: firmware/none*: matches no module and no firmware of this kernel"
            + FLAVOR_HINT,
        ),
        (
            {"drop": [BUILTIN.splitlines()[0]]},
            f"[modloop] drop: {BUILTIN.splitlines()[0]}: is built into this kernel and cannot "
            "be dropped" + FLAVOR_HINT,
        ),
        (
            {"drop": ["kernel/fs/jbd2"]},
            f"[modloop] drop: kernel/fs/jbd2: drops {JBD2}, which {EXT4} needs\n"
            f"  next: drop {EXT4} as well, or leave {JBD2} in",
        ),
        (
            {"keep": [NET], "drop": ["kernel/drivers/virtio", FAILOVER]},
            f"[modloop] drop: {FAILOVER}: drops {FAILOVER}, which {NET} needs "
            f"(and 1 more such needs)\n  next: drop {NET} as well, or leave {FAILOVER} in",
        ),
    ],
)  # fmt: skip
def test_choices_that_cannot_be_are_refused(build, tmp_path, changes, message):
    assert refused(build, tmp_path, BuildError, **changes) == message


def test_dropping_what_an_added_module_needs_is_refused(build, tmp_path):
    said = refused(
        build, tmp_path, BuildError, put(tmp_path / "gadget.ko"), drop=["kernel/fs/jbd2", EXT4]
    )
    assert said.startswith(
        f"[modloop] drop: kernel/fs/jbd2: drops {JBD2}, which extra/gadget.ko needs\n"
    )


def test_a_replacement_that_lacks_what_others_need_is_refused(build, stock, tmp_path):
    new = put(tmp_path / "jbd2.ko", kernel_module(info=[MAGIC], exports=["other"]))
    assert refused(build, tmp_path, FormatError, new) == (
        f"{stock}: {EXT4} needs jbd2_begin, which the new jbd2 does not export\n"
        "  next: add a build of it that goes with this kernel's other modules"
    )


def test_modules_that_need_each_other_in_a_circle_are_refused(build, stock, tmp_path):
    put(tmp_path / "m/extra/a.ko", kernel_module(info=[MAGIC], exports=["a"], needs=["b"]))
    put(tmp_path / "m/extra/b.ko", kernel_module(info=[MAGIC], exports=["b"], needs=["a"]))
    assert refused(build, tmp_path, FormatError, tmp_path / "m") == (
        f"{stock}: modules need each other in a circle: extra/a.ko -> extra/b.ko -> extra/a.ko\n"
        "  next: no kernel can load them; take one of them out"
    )


@pytest.mark.parametrize(
    "config,kernel,expected",
    [
        (b"CONFIG_SQUASHFS_XZ=y\n", KERNEL, "CONFIG_SQUASHFS_ZSTD=y in its configuration"),
        (b"", "3.18.7-0-grsec", "Linux 4.14 or newer"),
    ],
)
def test_a_compression_that_the_kernel_cannot_read_is_refused(
    build, stock, tmp_path, config, kernel, expected
):
    if kernel != KERNEL:
        (tmp_path / f"t/modules/{kernel}").mkdir(parents=True)
        stock = write_modloop(tmp_path / "t", tmp_path / "old")
    said = refused(
        build, tmp_path, BuildError,
        source=stock, compression="zstd", config=put(tmp_path / "config", config),
    )  # fmt: skip
    assert said == (
        f"kernel {kernel}: cannot mount a modloop compressed with zstd; expected {expected}\n"
        '  next: set compression = "stock" in the [modloop] table of the release recipe'
    )


def test_all_sample_modules_are_in_the_stock(stock):
    assert {f"{DIRECTORY}/{path}" for path in MODULES} < names_in(stock)
