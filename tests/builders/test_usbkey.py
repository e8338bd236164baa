from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import stat
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bootsmith.builders.usbkey import PARTITION_OFFSET_BYTES, build_usbkey
from bootsmith.errors import BootsmithError, BuildError, FormatError, RecipeError, ToolMissing
from bootsmith.files.digest import Identity
from bootsmith.formats.cpio import directory_entry, file_entry, write_cpio
from bootsmith.formats.mbr import read_mbr
from bootsmith.formats.release_facts import (
    DIRECTORY,
    FILE,
    LINK,
    FlavorFacts,
    IsoFile,
    ReleaseFacts,
    read_release_facts,
    write_release_facts,
)
from bootsmith.tools import guestfs as guestfs_tool
from bootsmith.tools.dosfstools import check_fat_volume
from bootsmith.tools.guestfs import build_appliance, check_digests, check_key_with_guestfs
from bootsmith.tools.mtools import list_fat_paths, read_fat_file
from bootsmith.tools.run import run_program
from bootsmith.tools.syslinux import _loader_of

ISO_SECTOR_BYTES = 2048
ISO_CONTENT = {
    ".alpine-release": b"alpine-standard-3.24.0 260101\n",
    "apks/.boot_repository": b"",
    "apks/x86_64/APKINDEX.tar.gz": b"index" * 1000,
    "apks/x86_64/busybox-1.37.0-r12.apk": b"\x1f\x8bbusybox" * 9000,
    "boot/vmlinuz-virt": b"another flavor",
    "boot/vmlinuz-lts": b"the stock kernel",
    "boot/System.map-lts": b"not for the key",
    "efi/boot/bootx64.efi": b"the ISO's own, looks for the ISO's label",
    "boot/syslinux/ldlinux.c32": b"of another build",
}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything a key is made of, as files."""

    directory: Path
    content: dict[str, bytes]

    @property
    def arguments(self) -> dict:
        return {
            "iso": self.directory / "release.iso",
            "facts": self.directory / "facts.json",
            "flavor": "lts",
            "kernel": self.directory / "vmlinuz",
            "initramfs": self.directory / "pxerd",
            "modloop": self.directory / "modloop",
            "apkovl": self.directory / "default.apkovl.tar.gz",
            "template": "default",
            "options": ("nomodeset",),
            "timeout_deciseconds": 10,
            "serial_console": False,
            "size_bytes": None,
            "label": "ALPINE",
            "firmware": ("bios", "uefi"),
            "output": self.directory / "out" / "default.img",
            "contents": self.directory / "out" / "default.contents.json",
            "cache": self.directory / "cache",
        }

    def build(self, **changes: object) -> Path:
        arguments = self.arguments | changes
        build_usbkey(**arguments)
        return arguments["output"]

    def change_facts(self, change) -> None:
        facts = self.directory / "facts.json"
        facts.write_bytes(write_release_facts(change(read_release_facts(facts.read_bytes()))))


def write_release(directory: Path, content: dict[str, bytes]) -> None:
    """A file that holds `content` as an ISO would, in sectors, and the facts about it.

    The first package lies in two pieces and in reverse.
    """
    entries = [
        IsoFile(path="apks", type=DIRECTORY, mode=0o755),
        IsoFile(path="apks/x86_64", type=DIRECTORY, mode=0o755),
        IsoFile(path="apks/noarch", type=DIRECTORY, mode=0o755),
    ]
    with open(directory / "release.iso", "wb") as iso:
        iso.write(b"\xee" * 32768)
        for path, data in content.items():
            pieces = [data]
            if path.endswith("APKINDEX.tar.gz"):
                pieces = [data[:ISO_SECTOR_BYTES], data[ISO_SECTOR_BYTES:]]
            extents = []
            for piece in reversed(pieces):
                extents.insert(0, (iso.tell(), len(piece)))
                iso.write(piece + b"\xee" * (-len(piece) % ISO_SECTOR_BYTES))
            entries.append(
                IsoFile(
                    path=path,
                    type=FILE,
                    mode=0o644,
                    size_bytes=len(data),
                    extents=tuple(extents) if data else (),
                )
            )
    kernel = IsoFile(path="boot/vmlinuz-lts", type=FILE, mode=0o644)
    flavor = FlavorFacts(
        kernel_release="6.18.7-0-lts", kernel=kernel, initramfs=kernel, modloop=kernel
    )
    facts = ReleaseFacts(
        release="3.24.0",
        profile="standard",
        arch="x86_64",
        generation="G5",
        is_standin=False,
        volume_id="",
        iso_size_bytes=(directory / "release.iso").stat().st_size,
        iso_sha256="0" * 64,
        flavors={"lts": flavor},
        files=tuple(sorted(entries, key=lambda entry: entry.path)),
    )
    (directory / "facts.json").write_bytes(write_release_facts(facts))


@pytest.fixture
def parts(tmp_path):
    content = dict(ISO_CONTENT)
    write_release(tmp_path, content)
    for name in ("vmlinuz", "pxerd", "modloop", "default.apkovl.tar.gz"):
        (tmp_path / name).write_bytes(name.encode() * 3000)
    return Parts(directory=tmp_path, content=content)


def read(image: Path, path: str) -> bytes:
    return read_fat_file(image, path, offset_bytes=PARTITION_OFFSET_BYTES)


def volume_uuid(image: Path) -> str:
    return run_program(
        ["blkid", "-p", "-O", str(PARTITION_OFFSET_BYTES), "-o", "value", "-s", "UUID", image]
    ).text.strip()


def test_key_holds_what_its_contents_say_and_nothing_else(parts):
    image = parts.build()
    contents = json.loads((image.parent / "default.contents.json").read_bytes())
    listed = list_fat_paths(image, offset_bytes=PARTITION_OFFSET_BYTES)
    assert sorted(contents) == [path for path in listed if not path.endswith("/")]
    assert sorted(contents) == [
        ".alpine-release",
        "apks/.boot_repository",
        "apks/x86_64/APKINDEX.tar.gz",
        "apks/x86_64/busybox-1.37.0-r12.apk",
        "boot/grub/grub.cfg",
        "boot/modloop-lts",
        "boot/pxerd-lts",
        "boot/syslinux/ldlinux.c32",
        "boot/syslinux/ldlinux.sys",
        "boot/syslinux/syslinux.cfg",
        "boot/vmlinuz-lts",
        "default.apkovl.tar.gz",
        "efi/boot/bootx64.efi",
    ]
    assert "apks/noarch/" in listed
    for path, entry in contents.items():
        data = read(image, path)
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    for path in (".alpine-release", "apks/x86_64/APKINDEX.tar.gz"):
        assert read(image, path) == ISO_CONTENT[path]
    assert read(image, "boot/vmlinuz-lts") == b"vmlinuz" * 3000
    assert read(image, "default.apkovl.tar.gz") == b"default.apkovl.tar.gz" * 3000
    assert stat.S_IMODE(image.stat().st_mode) == 0o644


def test_key_is_a_sound_disk(parts):
    image = parts.build(size_bytes=100 << 20)
    assert image.stat().st_size == 100 << 20
    assert image.stat().st_blocks * 512 < 3 << 20
    with open(image, "rb") as source:
        signature, (partition,) = read_mbr(source.read(512))
    assert signature != 0
    assert (partition.start_lba, partition.sectors) == (2048, (99 << 20) // 512)
    assert (partition.type_code, partition.is_active) == (0x0C, True)
    report = check_fat_volume(image, offset_bytes=PARTITION_OFFSET_BYTES)
    assert "2048 hidden sectors" in report


def test_boot_configurations_name_what_is_on_the_key(parts):
    image = parts.build()
    assert read(image, "boot/syslinux/syslinux.cfg") == (
        b"TIMEOUT 10\nPROMPT 1\nDEFAULT lts\n\nLABEL lts\n\tMENU LABEL Linux lts\n"
        b"\tKERNEL /boot/vmlinuz-lts\n\tINITRD /boot/pxerd-lts\n"
        b"\tAPPEND modules=loop,squashfs,sd-mod,usb-storage quiet nomodeset\n"
    )
    assert read(image, "boot/grub/grub.cfg") == (
        b"set timeout=1\nmenuentry 'Linux lts' {\n\tlinux /boot/vmlinuz-lts "
        b"modules=loop,squashfs,sd-mod,usb-storage quiet nomodeset\n\tinitrd /boot/pxerd-lts\n}\n"
    )
    assert volume_uuid(image).encode() in read(image, "efi/boot/bootx64.efi")


def test_serial_console_microcode_and_stock_initramfs(parts):
    write_release(
        parts.directory,
        ISO_CONTENT | {"boot/amd-ucode.img": b"070701", "boot/intel-ucode.img": b"070701"},
    )
    image = parts.build(serial_console=True, initramfs_kind="stock", timeout_deciseconds=0)
    assert read(image, "boot/syslinux/syslinux.cfg") == (
        b"SERIAL 0 115200\nPROMPT 0\nDEFAULT lts\n\nLABEL lts\n\tMENU LABEL Linux lts\n"
        b"\tKERNEL /boot/vmlinuz-lts\n"
        b"\tINITRD /boot/intel-ucode.img,/boot/amd-ucode.img,/boot/initramfs-lts\n"
        b"\tAPPEND modules=loop,squashfs,sd-mod,usb-storage quiet "
        b"console=tty0 console=ttyS0,115200 nomodeset\n"
    )
    assert read(image, "boot/initramfs-lts") == b"pxerd" * 3000


@pytest.mark.parametrize(
    "generation, first",
    [("G1", "alpine_dev=UUID={uuid}"), ("G2", "modloop=/boot/modloop-lts"), ("G2b", "modules=")],
)
def test_old_releases_are_told_where_to_look(parts, generation, first):
    parts.change_facts(lambda facts: replace(facts, generation=generation))
    image = parts.build()
    (append,) = [
        line.split()
        for line in read(image, "boot/syslinux/syslinux.cfg").decode().splitlines()
        if line.startswith("\tAPPEND")
    ]
    assert append[1].startswith(first.format(uuid=volume_uuid(image)))


def test_the_report_says_what_the_kernel_is_told(parts):
    report = parts.directory / "out" / "report.json"
    image = parts.build(report=report)
    options = json.loads(report.read_bytes())["kernel_options"]
    assert f"\tAPPEND {' '.join(options)}\n".encode() in read(image, "boot/syslinux/syslinux.cfg")


@pytest.mark.parametrize(
    "firmware, present, absent",
    [
        (("bios",), "boot/syslinux/ldlinux.sys", "efi/boot/bootx64.efi"),
        (("uefi",), "efi/boot/bootx64.efi", "boot/syslinux/ldlinux.sys"),
    ],
)
def test_only_the_asked_firmware_is_served(parts, firmware, present, absent):
    image = parts.build(firmware=firmware)
    listed = list_fat_paths(image, offset_bytes=PARTITION_OFFSET_BYTES)
    assert present in listed
    assert absent not in listed
    with open(image, "rb") as source:
        assert any(source.read(440)) == ("bios" in firmware)
    check_fat_volume(image, offset_bytes=PARTITION_OFFSET_BYTES)


def test_equal_parts_give_equal_bytes_and_others_another_uuid(parts):
    first = parts.build()
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    uuid = volume_uuid(first)
    os.utime(parts.directory / "modloop", (1, 1))
    again = parts.build(output=parts.directory / "again.img", cache=None)
    assert hashlib.sha256(again.read_bytes()).hexdigest() == digest
    (parts.directory / "default.apkovl.tar.gz").write_bytes(b"changed")
    assert volume_uuid(parts.build()) != uuid


def write_overlay(size_bytes):
    return lambda parts: (parts.directory / "default.apkovl.tar.gz").write_bytes(b"n" * size_bytes)


@pytest.mark.parametrize(
    "change, arguments, is_changed",
    [
        (write_overlay(36_001), {}, True),
        (write_overlay(5), {}, True),
        (write_overlay(3_000_000), {}, True),
        (write_overlay(30_000_000), {}, False),
        (lambda parts: (parts.directory / "pxerd").write_bytes(b"new" * 7000), {}, True),
        (lambda parts: os.utime(parts.directory / "modloop", (1, 1)), {}, True),
        (lambda parts: None, {"options": ("quiet", "debug")}, True),
        (lambda parts: None, {"serial_console": True, "timeout_deciseconds": 0}, True),
        (lambda parts: None, {"label": "OTHER"}, True),
        (lambda parts: None, {"firmware": ("uefi",)}, True),
        (lambda parts: None, {"flavor": "lts", "modloop_name": "modloop-other"}, True),
        (lambda parts: None, {"template": "desk"}, False),
        (lambda parts: None, {"size_bytes": 80 << 20}, False),
        (lambda parts: None, {"maker": "other code"}, False),
    ],
)
def test_changed_key_is_the_key_made_anew(parts, change, arguments, is_changed):
    image = parts.build(maker="code")
    with open(image, "rb") as kept:  # so that no other file gets its inode number
        change(parts)
        parts.build(**({"maker": "code"} | arguments))
        assert (image.stat().st_ino == os.fstat(kept.fileno()).st_ino) == is_changed
    outputs = {name: parts.arguments[name].read_bytes() for name in ("output", "contents")}
    anew = {name: parts.directory / "anew" / name for name in outputs}
    parts.build(**(arguments | anew | {"maker": None, "cache": None}))
    assert {name: path.read_bytes() for name, path in anew.items()} == outputs


def test_an_edited_key_is_made_anew(parts):
    image = parts.build(maker="code")
    good = image.read_bytes()
    with open(image, "r+b") as out:
        out.seek(-5_000_000, os.SEEK_END)
        out.write(b"someone was here")
    parts.build(maker="code")
    assert image.read_bytes() == good


def test_remembered_digests_are_taken(parts):
    class Memory:
        def recall(self, path, identity):
            assert Identity.of(os.stat(path)) == identity
            return "ab" * 32 if path.endswith("modloop") else None

        def remember(self, path, identity, sha256):
            raise AssertionError(path)

    parts.build(memory=Memory())
    contents = json.loads(parts.arguments["contents"].read_bytes())
    assert contents["boot/modloop-lts"]["sha256"] == "ab" * 32
    kernel = hashlib.sha256((parts.directory / "vmlinuz").read_bytes()).hexdigest()
    assert contents["boot/vmlinuz-lts"]["sha256"] == kernel


@pytest.mark.parametrize("left", [b"", b"{", b"{}", b"\0" * 500])
def test_damaged_cache_is_made_again(parts, left):
    digest = hashlib.sha256(parts.build().read_bytes()).hexdigest()
    kept = list((parts.directory / "cache").iterdir())
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(left)
    _loader_of.cache_clear()
    assert hashlib.sha256(parts.build().read_bytes()).hexdigest() == digest


def test_links_of_the_iso_become_files(parts):
    link = IsoFile(
        path="apks/x86_64/latest.apk", type=LINK, mode=0o777, target="busybox-1.37.0-r12.apk"
    )
    parts.build()  # so that digests of the ISO's other files are kept already
    parts.change_facts(lambda facts: replace(facts, files=(*facts.files, link)))
    image = parts.build()
    assert read(image, link.path) == ISO_CONTENT["apks/x86_64/busybox-1.37.0-r12.apk"]


def test_automatic_size_leaves_room(parts):
    (parts.directory / "modloop").write_bytes(bytes(60 << 20))
    image = parts.build()
    megabytes = image.stat().st_size / (1 << 20)
    assert megabytes == int(megabytes)
    assert 77 <= megabytes <= 80


def add_file(path: str):
    entry = IsoFile(path=path, type=FILE, mode=0o644, size_bytes=1, extents=((0, 1),))
    return lambda facts: replace(facts, files=(*facts.files, entry))


def without(path: str):
    return lambda facts: replace(
        facts, files=tuple(entry for entry in facts.files if entry.path != path)
    )


@pytest.mark.parametrize(
    "change, arguments, kind, message",
    [
        (
            None,
            {"size_bytes": 36 << 20},
            BuildError,
            (
                "key default: content is larger than the asked size; expected at least 67108864 "
                "bytes (64 MiB), got 37748736 bytes (36 MiB)\n"
                '  next: set size = "64M" or "auto" in [usbkey] of recipes/templates/default.toml'
            ),
        ),
        (
            None,
            {"size_bytes": (100 << 20) + 512},
            RecipeError,
            (
                "size: not in whole MiB; expected a multiple of 1048576 bytes, "
                "got 104858112 bytes\n"
                '  next: write the size as "512M", or "auto"'
            ),
        ),
        (
            None,
            {"label": "alpine"},
            BuildError,
            (
                "label 'alpine': not a FAT volume label; expected 1 to 11 upper-case letters, "
                "digits, blanks or !#$%&'()-@^_`{}~\n  next: choose another label"
            ),
        ),
        (
            None,
            {"firmware": ()},
            RecipeError,
            (
                "firmware: no firmware that a key can boot on; expected bios, uefi or both, "
                'got nothing\n  next: write firmware = ["bios", "uefi"] in [usbkey] of the template'
            ),
        ),
        (
            None,
            {"options": ("quiet splash",)},
            RecipeError,
            (
                "syslinux.cfg: not a boot option; expected one word of ASCII without blanks, "
                "quotes and backslashes, got 'quiet splash'\n"
                "  next: write each option as an item of its own"
            ),
        ),
        (
            None,
            {"template": "52:54"},
            BuildError,
            (
                "52:54.apkovl.tar.gz: FAT cannot hold the name '52:54.apkovl.tar.gz': it has ':'\n"
                "  next: rename the file"
            ),
        ),
        (
            add_file("apks/x86_64/BUSYBOX-1.37.0-r12.apk"),
            {},
            BuildError,
            (
                "apks/x86_64/BUSYBOX-1.37.0-r12.apk: FAT does not tell upper from lower case: "
                "another file has this name; got apks/x86_64/busybox-1.37.0-r12.apk\n"
                "  next: rename one of the two"
            ),
        ),
        (
            without(".alpine-release"),
            {},
            BuildError,
            (
                "{iso}: has no .alpine-release: a key made of it would not be taken for a boot "
                "medium\n"
                "  next: use a release ISO that carries packages (standard, extended or virt)"
            ),
        ),
        (
            lambda facts: replace(facts, arch="aarch64"),
            {},
            BuildError,
            (
                "release 3.24.0: no boot loader for bios and uefi on aarch64; expected x86_64 "
                "(bios, uefi) or x86 (bios), got aarch64\n"
                "  next: leave it out of firmware in [usbkey] of the template, or take another "
                "release"
            ),
        ),
        (
            lambda facts: replace(facts, arch="x86"),
            {},
            BuildError,
            (
                "release 3.24.0: no boot loader for uefi on x86; expected x86_64 "
                "(bios, uefi) or x86 (bios), got x86\n"
                "  next: leave it out of firmware in [usbkey] of the template, or take another "
                "release"
            ),
        ),
    ],
)
def test_refusal_leaves_old_outputs_alone(parts, change, arguments, kind, message):
    image = parts.build()
    before = {path.name: path.read_bytes() for path in image.parent.iterdir()}
    if "size_bytes" in arguments:
        (parts.directory / "modloop").write_bytes(bytes(60 << 20))
    if change:
        parts.change_facts(change)
    with pytest.raises(kind) as caught:
        parts.build(**arguments)
    assert str(caught.value) == message.replace("{iso}", str(parts.directory / "release.iso"))
    assert {path.name: path.read_bytes() for path in image.parent.iterdir()} == before


def test_iso_cut_short_leaves_old_outputs_alone(parts):
    image = parts.build()
    before = image.read_bytes()
    os.truncate(parts.directory / "release.iso", 40000)
    with pytest.raises(BootsmithError, match="file ends before its content"):
        parts.build()
    assert image.read_bytes() == before
    assert len(list(image.parent.iterdir())) == 2


def test_progress_ends_at_its_total(parts):
    seen = []
    parts.build(progress=lambda *step: seen.append(step))
    last = {message: (done, total) for message, done, total in seen}
    assert set(last) == {"reading what goes onto the key", "writing the key"}
    assert all(done == total for done, total in last.values())


# --- through kernels ---------------------------------------------------------------------

GUEST_KERNEL = "linux-image-cloud-amd64"
NONCE = "bootsmith-key-reached-init"
INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t proc proc /proc
echo "{NONCE} $(/bin/busybox cat /proc/cmdline)" > /dev/ttyS0
/bin/busybox poweroff -f
"""


@dataclass(frozen=True, kw_only=True)
class GuestKernel:
    image: Path
    modules: Path


@pytest.fixture(scope="session")
def guest_kernel(tmp_path_factory):
    """Debian's cloud kernel, downloaded and unpacked, with its module indexes."""
    directory = tmp_path_factory.mktemp("kernel")
    shown = run_program(["apt-cache", "show", "--no-all-versions", GUEST_KERNEL]).text
    (depends,) = [line for line in shown.splitlines() if line.startswith("Depends:")]
    package = depends.split()[1]
    run_program(["apt-get", "download", package], cwd=directory)
    (deb,) = directory.glob("*.deb")
    tree = directory / "tree"
    run_program(["dpkg-deb", "-x", deb, tree])
    (modules,) = (tree / "lib" / "modules").iterdir()
    run_program(["depmod", "-b", tree, modules.name])
    return GuestKernel(image=tree / "boot" / f"vmlinuz-{modules.name}", modules=modules)


@pytest.fixture
def bootable(parts, guest_kernel):
    """A key whose initramfs says the nonce on the serial port, and powers off."""
    busybox = Path(shutil.which("busybox")).read_bytes()
    archive = write_cpio(
        [
            directory_entry("bin"),
            directory_entry("dev"),
            directory_entry("proc"),
            file_entry("bin/busybox", busybox, mode=0o755),
            file_entry("init", INIT.encode(), mode=0o755),
        ]
    )
    (parts.directory / "pxerd").write_bytes(archive)
    shutil.copyfile(guest_kernel.image, parts.directory / "vmlinuz")
    return parts


OVMF = (
    *("-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"),
    *("-drive", "if=pflash,format=raw,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd"),
)


@pytest.mark.network
@pytest.mark.boot
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the boot loaders are for x86")
@pytest.mark.parametrize(
    "machine",
    [
        pytest.param(("-device", "virtio-blk-pci,drive=key,bootindex=0"), id="bios-virtio"),
        pytest.param(
            ("-device", "qemu-xhci", "-device", "usb-storage,drive=key,bootindex=0"), id="bios-usb"
        ),
        pytest.param((*OVMF, "-device", "virtio-blk-pci,drive=key,bootindex=0"), id="uefi-virtio"),
        pytest.param(
            (*OVMF, "-device", "qemu-xhci", "-device", "usb-storage,drive=key,bootindex=0"),
            id="uefi-usb",
        ),
    ],
)
def test_key_boots(bootable, machine):
    # A busy machine emulates timers too late for the kernel's check of them.
    image = bootable.build(serial_console=True, options=("no_timer_check", "panic=1"))
    console = bootable.directory / "console.log"
    run_program(
        [
            *("qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-display", "none"),
            *("-nodefaults", "-no-reboot", "-serial", f"file:{console}"),
            *("-drive", f"if=none,id=key,format=raw,snapshot=on,file={image}"),
            *machine,
        ],
        timeout_seconds=540,
    )
    (line,) = [line for line in console.read_text("utf-8", "replace").splitlines() if NONCE in line]
    assert "modules=loop,squashfs,sd-mod,usb-storage quiet" in line
    assert "console=tty0 console=ttyS0,115200 no_timer_check" in line


@pytest.mark.network
@pytest.mark.boot
def test_real_kernel_reads_every_file(bootable, guest_kernel, tmp_path):
    appliance = tmp_path / "appliance"
    build_appliance(kernel=guest_kernel.image, modules=guest_kernel.modules, directory=appliance)
    image = bootable.build()
    contents = image.with_name("default.contents.json")
    release = check_key_with_guestfs(image, contents, appliance=appliance)
    assert release == guest_kernel.modules.name


def test_each_difference_is_named(parts):
    image = parts.build()
    contents = image.with_name("default.contents.json")
    found = {path: entry["sha256"] for path, entry in json.loads(contents.read_bytes()).items()}
    check_digests(image, contents, found)
    digest = found[".alpine-release"]
    found[".alpine-release"] = "0" * 64
    found["FSCK0000.REC"] = "1" * 64
    del found["boot/modloop-lts"]
    with pytest.raises(FormatError) as caught:
        check_digests(image, contents, found)
    assert str(caught.value) == (
        f"{image}: 3 of 13 files are not as default.contents.json says\n"
        f"    .alpine-release: expected sha256 {digest}, got {'0' * 64}\n"
        "    FSCK0000.REC: is on the key, but should not be\n"
        "    boot/modloop-lts: is not on the key\n"
        "  next: remove the image and build it again"
    )


def test_no_kernel_for_guestfs_is_said_clearly(parts, monkeypatch, tmp_path):
    image = parts.build()
    monkeypatch.setattr(guestfs_tool, "_BOOT", tmp_path)
    with pytest.raises(ToolMissing) as caught:
        check_key_with_guestfs(image, image.with_name("default.contents.json"))
    assert str(caught.value) == (
        f"{tmp_path}: no kernel that libguestfs could start, needed by the check of a finished key "
        "through a real kernel; expected a readable /boot/vmlinuz-RELEASE and "
        "/lib/modules/RELEASE, got nothing\n"
        "  next: give an appliance made by build_appliance from the release's own kernel and "
        "modloop, or install one: sudo apt-get install linux-image-cloud-amd64"
    )
