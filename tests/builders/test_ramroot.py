"""Whole roots packed: unpacked again by GNU cpio they are what went in, plus what boots them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess

import pytest
from kernel_samples import KERNEL, write_modloop, write_module_tree

from bootsmith.builders.ramroot import build_ramroot
from bootsmith.errors import BootsmithError, BuildError, RecipeError
from bootsmith.formats.apk import ApkEntry, ApkInfo, index_record, read_apk, write_apk, write_index
from bootsmith.formats.compression import decompress_initramfs
from bootsmith.formats.cpio import read_cpio
from bootsmith.formats.release_facts import IsoFile, ReleaseFacts, write_release_facts
from bootsmith.formats.signing_key import derive_signing_key
from bootsmith.tools.run import run_program

KEY = derive_signing_key(name="test.rsa.pub", seed="tests of ramroot", size_bits=1024)


class Image:
    """A source, overlays and a recipe's words, each to be changed by a test."""

    def __init__(self, root):
        self.root = root
        self.source = root / "source"
        self.output = root / "ramroot"
        self.options = {"directory": self.source}

    def put(self, path, data=b"", mode=0o644):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(mode)
        return file

    def build(self, **options):
        arguments = {
            "image": "worker",
            "hostname": "w1",
            "keeps_owners": False,
            "init": "auto",
            "directory": None,
            "tarball": None,
            "packages": (),
            "iso": None,
            "facts": None,
            "exclude": (),
            "owners": None,
            "overlays": (),
            "overlay_owners": (),
            "runlevels": {},
            "modules": (),
            "modloop": None,
            "feature_directories": (),
            "memory_bytes": 64 << 20,
            "kernel_config": None,
            "compression": "gzip",
            "level": None,
            "cache": self.root / "cache",
            "output": self.output,
            "report": self.root / "report.json",
        }
        build_ramroot(**(arguments | self.options | options))
        return self.entries()

    def entries(self):
        data = decompress_initramfs(self.output.read_bytes(), limit_bytes=100_000_000)
        return {entry.name: entry for entry in read_cpio(data)}

    @property
    def report(self):
        return json.loads((self.root / "report.json").read_bytes())

    def unpacked(self):
        """What GNU cpio makes of it, archive by archive, as the kernel does."""
        directory = self.root / "unpacked"
        directory.mkdir()
        data = decompress_initramfs(self.output.read_bytes(), limit_bytes=100_000_000)
        while data:
            run_program(["cpio", "-idmu", "--quiet"], stdin=data, cwd=directory)
            data = data[data.index(b"TRAILER!!!") + 12 :].lstrip(b"\0")
        return directory


@pytest.fixture
def image(tmp_path):
    """A small usr-merged root with hard links, large and small, across directories."""
    made = Image(tmp_path)
    made.put("source/usr/bin/busybox", b"b" * 9000, 0o4755)
    made.put("source/usr/sbin/init", b"init", 0o755)
    made.put("source/etc/hostname", b"localhost\n")
    made.put("source/etc/shadow", b"root:*::0:::::\n", 0o600)
    (made.source / "bin").symlink_to("usr/bin")
    (made.source / "usr/bin/sh").symlink_to("busybox")
    for name in ("mount", "mkdir"):
        (made.source / "usr/bin" / name).symlink_to("busybox")
    os.link(made.source / "usr/bin/busybox", made.source / "usr/sbin/ifup")
    os.link(made.source / "usr/sbin/init", made.source / "usr/bin/init2")
    return made


def test_a_directory(image):
    entries = image.build()
    assert sorted(entries) == sorted(
        "bin dev dev/console dev/null etc etc/bootsmith etc/bootsmith/template etc/hostname "
        "etc/shadow init proc run sys tmp usr usr/bin usr/bin/busybox usr/bin/init2 usr/bin/mkdir "
        "usr/bin/mount usr/bin/sh usr/sbin usr/sbin/ifup usr/sbin/init".split()
    )
    assert {stat.filemode(entries[name].mode) for name in ("dev/console", "dev/null")} == {
        *("crw-------", "crw-rw-rw-"),
    }
    assert (entries["dev/console"].rdev_major, entries["dev/console"].rdev_minor) == (5, 1)
    assert bytes(entries["etc/hostname"].data) == b"w1\n"
    assert bytes(entries["etc/bootsmith/template"].data) == b"worker\n"
    assert stat.filemode(entries["tmp"].mode) == "drwxrwxrwt"
    assert {(entry.uid, entry.gid, entry.mtime_epoch) for entry in entries.values()} == {(0, 0, 0)}
    assert image.report["further_names"] == 2
    assert image.report["unpacked_bytes"] == sum(
        len(entry.data)
        for name, entry in entries.items()
        if stat.S_ISREG(entry.mode) and name not in ("usr/sbin/ifup", "usr/bin/init2")
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_gnu_cpio_restores_it(image):
    image.build()
    root = image.unpacked()
    assert (root / "usr/sbin/ifup").samefile(root / "bin/busybox")
    assert (root / "usr/bin/init2").samefile(root / "usr/sbin/init")
    assert (root / "usr/sbin/ifup").stat().st_mode == 0o104755
    assert (root / "usr/sbin/ifup").read_bytes() == b"b" * 9000
    assert (root / "dev/null").stat().st_rdev == os.makedev(1, 3)


def test_a_tarball_gives_the_same_bytes_as_its_directory(image):
    image.build()
    before = image.output.read_bytes()
    subprocess.run(
        ["tar", "-C", image.source, "--owner=0", "--group=0", "-cJf", image.root / "x.txz", "."],
        check=True,
    )
    image.build(directory=None, tarball=image.root / "x.txz", cache=image.root / "other")
    assert image.output.read_bytes() == before


def test_bytes_depend_on_content_alone(image):
    image.build()
    before = image.output.read_bytes()
    for path in sorted(image.source.rglob("*"), reverse=True):
        if not path.is_symlink():
            os.utime(path, (1, 1))
    copy = image.root / "copy"
    old = os.umask(0o077)
    try:
        subprocess.run(["cp", "-a", image.source, copy], check=True)
        image.build(directory=copy, cache=image.root / "other")
    finally:
        os.umask(old)
    assert image.output.read_bytes() == before
    assert stat.S_IMODE(image.output.stat().st_mode) == 0o644
    image.build()  # from the cache
    assert image.output.read_bytes() == before


def test_overlays_and_owners(image):
    image.put("overlays/a/etc/motd", b"hello")
    image.put("overlays/a/bin/tool", b"#!/bin/sh\n", 0o755)
    image.put("overlays/a/root/.profile", b"x")
    image.put("overlays/a.owners", b"0600 7:42 etc/motd\n0711 8:8 etc/\n")
    (image.source / "root").mkdir(mode=0o700)
    entries = image.build(
        owners=image.put("worker.owners", b"0640 root:shadow etc/shadow\n4711 9:9 usr/sbin/ifup\n"),
        overlays=(image.root / "overlays/a",),
        overlay_owners=(image.root / "overlays/a.owners",),
    )

    def shown(name):
        entry = entries[name]
        return f"{stat.filemode(entry.mode)} {entry.uid}:{entry.gid}"

    assert shown("etc/motd") == "-rw------- 7:42"
    assert shown("etc/shadow") == "-rw-r----- 0:42"
    assert shown("usr/bin/tool") == "-rwxr-xr-x 0:0"  # below the link bin, which stays one
    assert shown("bin") == "lrwxrwxrwx 0:0"
    assert shown("root") == "drwx------ 0:0"
    assert shown("etc") == "drwx--x--x 8:8"
    # One file has one owner and mode, by whatever name it was called.
    assert shown("usr/bin/busybox") == shown("usr/sbin/ifup") == "-rws--x--x 9:9"


def test_services_are_started_where_they_exist(image):
    image.put("source/etc/init.d/sshd", b"#!/sbin/openrc-run\n", 0o755)
    entries = image.build(runlevels={"default": ("sshd",)})
    assert bytes(entries["etc/runlevels/default/sshd"].data) == b"/etc/init.d/sshd"
    assert refusal(image, runlevels={"boot": ("nginx",)}) == (
        "ramroot worker: there is no service nginx in it; expected etc/init.d/nginx\n"
        "  next: add the package or overlay that brings it, or correct [runlevels]"
    )


# -- /init ---------------------------------------------------------------------------------


def init_of(image, **options):
    return bytes(image.build(**options)["init"].data).decode()


def test_the_supplied_init_is_a_shell_script(image):
    script = init_of(image)
    run_program(["sh", "-n"], stdin=script.encode())
    run_program(["busybox", "sh", "-n"], stdin=script.encode())
    assert 'programs="/sbin/init /lib/systemd/systemd /bin/sh"' in script
    assert "--install" not in script
    assert image.report["init"] == "supplied"


def test_the_roots_own_init_stays(image):
    image.put("source/init", b"#!/bin/sh\n", 0o755)
    assert init_of(image) == "#!/bin/sh\n"
    assert image.report["init"] == "the root's own"
    assert 'programs="/usr/sbin/init"' in init_of(image, init="/usr/sbin/init")


def test_names_of_busybox_that_no_script_has_linked(image):
    for name in ("mount", "mkdir", "sh"):
        (image.source / "usr/bin" / name).unlink()
    entries = image.build()
    assert "/bin/busybox --install -s\n" in bytes(entries["init"].data).decode()
    assert bytes(entries["usr/bin/sh"].data) == b"/bin/busybox"


def refusal(image, **options):
    image.output.unlink(missing_ok=True)
    with pytest.raises(BootsmithError) as caught:
        image.build(**options)
    assert not image.output.exists()
    return str(caught.value)


def test_an_init_that_cannot_start(image):
    assert refusal(image, init="/bin/systemd") == (
        "ramroot worker: there is no /bin/systemd in it, which init names\n"
        "  next: correct init, or add the program"
    )
    image.put("source/init", b"#!/bin/sh\n", 0o644)
    assert refusal(image) == (
        "ramroot worker: its /init is not executable\n  next: make it so in the source"
    )


def test_a_root_without_a_shell(image):
    assert refusal(image, exclude=("usr/bin/sh", "usr/bin/busybox")) == (
        "ramroot worker: the /init that is supplied needs a /bin/sh, and there is none\n"
        "  next: add a shell (busybox), or put an /init of its own into the source or an overlay"
    )


# -- what is refused -----------------------------------------------------------------------


def test_a_root_that_no_machine_holds(image):
    image.put("source/big", bytes(3_000_000))
    assert refusal(image, memory_bytes=54 << 20) == (
        "ramroot worker: is too large for a machine with 54 MiB of memory; expected at most 2.6 MB "
        "unpacked: half of what the kernel and the packed file leave, got 3.0 MB\n"
        "  next: leave files out with exclude, or say in the image's recipe how much its "
        "machines have: memory_mebibytes"
    )


def test_an_overlay_that_does_not_fit(image):
    image.put("overlays/a/etc/shadow/x", b"")
    options = {"overlays": (image.root / "overlays/a",), "overlay_owners": (None,)}
    assert refusal(image, **options) == (
        "ramroot worker: etc/shadow is a directory in an overlay and a file in the root\n"
        "  next: rename or remove the one in the overlay"
    )


def test_an_ownership_rule_that_matches_nothing(image):
    owners = image.put("worker.owners", b"0600 root:root etc/shadw\n")
    with pytest.raises(RecipeError, match=r"worker\.owners:1: matches nothing"):
        image.build(owners=owners)


# -- modules -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def modloop(tmp_path_factory):
    root = tmp_path_factory.mktemp("kernel")
    write_module_tree(root / "tree")
    return write_modloop(root / "tree", root / "modloop")


def test_modules_come_with_all_that_they_need(image, modloop):
    image.put("features.d/net.modules", b"kernel/drivers/net/virtio_net.ko*\n")
    options = {"modloop": modloop, "feature_directories": (image.root / "features.d",)}
    entries = image.build(modules=("net", "loop"), **options)
    modules = sorted(re.sub(".*/", "", name) for name in entries if name.endswith(".ko"))
    assert {"loop.ko", "virtio_net.ko", "net_failover.ko"} <= set(modules)
    assert f"lib/modules/{KERNEL}/modules.dep.bin" in entries
    text = bytes(entries[f"lib/modules/{KERNEL}/modules.dep"].data).decode()
    assert text.count(".ko:") == len(modules) < 10
    assert image.report["kernel_release"] == KERNEL
    assert refusal(image, modules=("virtio-nett",), **options) == (
        "ramroot worker: virtio-nett is neither a feature with modules nor a module of its kernel\n"
        "  next: correct modules in the image's recipe; recipes/features.d has the features"
    )
    image.put(f"source/lib/modules/{KERNEL}/x.ko", b"")
    assert refusal(image, modules=("loop",), **options) == (
        f"ramroot worker: has modules of kernel {KERNEL} already; got 1 of them, like x.ko\n"
        "  next: leave modules out of the image's recipe, or the others: "
        'exclude = ["lib/modules"]'
    )


# -- packages ------------------------------------------------------------------------------


def release(image, *packages):
    """A medium with these packages: (name, fields of its info, entries, scripts)."""
    iso, placed, records, files = b"", [], [], []
    for name, fields, entries, scripts in packages:
        info = ApkInfo(name=name, version="1-r0", **fields)
        apk = write_apk(info=info, entries=entries, scripts=scripts, key=KEY)
        records.append(index_record(read_apk(apk), file_size_bytes=len(apk)))
        files.append((f"apks/x86_64/{name}-1-r0.apk", apk))
    files.append(
        ("apks/x86_64/APKINDEX.tar.gz", write_index(description="x", records=records, key=KEY))
    )
    for path, content in files:
        extents = ((len(iso), len(content)),)
        placed.append(
            IsoFile(path=path, type="file", mode=0o644, size_bytes=len(content), extents=extents)
        )
        iso += content
    facts = ReleaseFacts(
        release="3.20.0",
        profile="standard",
        arch="x86_64",
        generation="G4",
        is_standin=False,
        volume_id="",
        iso_size_bytes=len(iso),
        flavors={},
        iso_sha256=hashlib.sha256(iso).hexdigest(),
        files=tuple(placed),
    )
    return {
        "directory": None,
        "iso": image.put("iso", iso),
        "facts": image.put("facts.json", write_release_facts(facts)),
    }


BASE = (
    "base",
    {"depends": ("busybox",)},
    [
        ApkEntry(name="tmp", kind="directory", mode=0o1777),
        ApkEntry(name="usr", kind="directory", mode=0o755),
        ApkEntry(name="usr/lib", kind="directory", mode=0o755),
        ApkEntry(name="lib", kind="symlink", target="usr/lib"),
        ApkEntry(name="etc/motd", data=b"base"),
        ApkEntry(name="sbin/a", data=b"two names", mode=0o755),
        ApkEntry(name="sbin/b", kind="hardlink", target="sbin/a"),
    ],
    {},
)
BUSYBOX = (
    "busybox",
    {"provides": ("/bin/sh",)},
    [ApkEntry(name="bin/busybox", data=b"busybox", mode=0o755)],
    {"post-install": "#!/bin/sh\n"},
)


def test_packages_of_the_release(image):
    options = release(image, BASE, BUSYBOX, ("unwanted", {}, [ApkEntry(name="x")], {}))
    entries = image.build(packages=("base",), **options)
    assert bytes(entries["sbin/b"].data) == b"two names"
    assert image.report["further_names"] == 1
    assert bytes(entries["etc/apk/world"].data) == b"base\n"
    database = bytes(entries["usr/lib/apk/db/installed"].data).decode()
    assert re.findall("^P:(.*)$", database, re.MULTILINE) == ["busybox", "base"]
    assert "x" not in entries
    assert "--install -s" in bytes(entries["init"].data).decode()
    assert bytes(entries["bin/sh"].data) == b"/bin/busybox"
    assert image.report["packages"] == {"base": "1-r0", "busybox": "1-r0"}
    assert image.report["notes"] == ["scripts that did not run: those of busybox"]


def test_two_packages_with_one_file(image):
    other = ("other", {}, [ApkEntry(name="etc/motd", data=b"other")], {})
    options = release(image, BASE, BUSYBOX, other)
    with pytest.raises(BuildError) as caught:
        image.build(packages=("base", "other"), **options)
    assert str(caught.value) == (
        "ramroot worker: other-1-r0.apk has etc/motd, and so has base-1-r0.apk\n"
        "  next: leave one of the two packages out of the recipe"
    )
    other = ("other", {"replaces": ("base",)}, [ApkEntry(name="etc/motd", data=b"other")], {})
    options = release(image, BASE, BUSYBOX, other)
    entries = image.build(packages=("base", "other"), **options)
    assert bytes(entries["etc/motd"].data) == b"other"
