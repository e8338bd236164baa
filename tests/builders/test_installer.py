"""Installers: what is taken, what is refused, and what the index says is published."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from kernel_samples import bzimage

from bootsmith.builders.installer import build_installer
from bootsmith.errors import FormatError, SourceError
from bootsmith.formats.netboot_index import NetbootEntry, read_netboot_index

KERNEL = bzimage("6.1.0-42-amd64")
INITRD = gzip.compress(b"an initramfs", mtime=0)
NETWORK = {
    "server": "10.20.0.1", "subnet": "10.20.0.0/16", "interface": "eth1", "root": "/srv/boot",
    "domain": "boot.example", "pool": None, "gateway": None, "dns": (), "http_port": 8080,
    "lease_seconds": 3600,
}  # fmt: skip
DEBIAN = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"


def build(here: Path, *, kernel="linux", initrd="initrd.gz", package=None, files=()):
    built = here / "build"
    build_installer(
        name="debian",
        kernel=kernel if package else here / kernel,
        initrd=initrd if package else here / initrd,
        package=package,
        files=[here / name for name in files],
        network=NETWORK,
        kernel_output=built / "installer/debian/kernel",
        initrd_output=built / "installer/debian/initrd",
        file_outputs=[built / "installer/debian/files" / Path(name).name for name in files],
        build=built,
        index=built / "installer/debian/index.jsonl",
    )
    index = (built / "installer/debian/index.jsonl").read_bytes()
    return {entry.path: entry for entry in read_netboot_index(index, subject="index")}


def stored(path: str, content: bytes, *, made_at: str) -> NetbootEntry:
    return NetbootEntry(
        path=path,
        file=made_at,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )


@pytest.fixture
def here(tmp_path):
    (tmp_path / "linux").write_bytes(KERNEL)
    (tmp_path / "initrd.gz").write_bytes(INITRD)
    return tmp_path


def write_package(here: Path, members: dict[str, bytes | Path]) -> Path:
    """A Debian package with these files; a Path makes a link."""
    tree = here / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: di\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
    )
    for name, content in members.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            (tree / name).symlink_to(content)
        else:
            (tree / name).write_bytes(content)
    package = here / "di.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", tree, package],
        check=True,
        capture_output=True,
    )
    return package


def test_what_is_published(here):
    assert build(here) == {
        f"{root}/installers/debian/{name}": stored(
            f"{root}/installers/debian/{name}", content, made_at=f"installer/debian/{name}"
        )
        for root in ("http", "tftp")
        for name, content in (("kernel", KERNEL), ("initrd", INITRD))
    }
    assert (here / "build/installer/debian/kernel").read_bytes() == KERNEL
    assert (here / "build/installer/debian/initrd").read_bytes() == INITRD


def test_words_are_filled_in(here):
    (here / "preseed.cfg").write_text(
        "d-i mirror/http/hostname string @server@\n"
        "d-i preseed/include string @url@/more.cfg\n"
        "d-i preseed/late_command string wget -O- @disarm@\n"
        "# mail: root@@localhost, @other@\n"
    )
    (here / "README").write_text("no word of ours: a@b\n")
    (here / "late.tar").write_bytes(b"@server@\xff\x00")
    entries = build(here, files=["preseed.cfg", "README", "late.tar"])
    where = "http://10.20.0.1:8080/generations/@generation@/netboot/http/installers/debian"
    assert entries["http/installers/debian/preseed.cfg"] == NetbootEntry(
        path="http/installers/debian/preseed.cfg",
        content="d-i mirror/http/hostname string 10.20.0.1\n"
        f"d-i preseed/include string {where}/more.cfg\n"
        "d-i preseed/late_command string wget -O- http://10.20.0.1:8080/boot-default/\n"
        "# mail: root@@localhost, @other@\n",
        text=True,
    )
    for name in ("README", "late.tar"):
        path = f"http/installers/debian/{name}"
        content = (here / name).read_bytes()
        assert entries[path] == stored(path, content, made_at=f"installer/debian/files/{name}")
        assert f"tftp/installers/debian/{name}" not in entries


def test_a_text_without_our_generation_is_no_template(here):
    (here / "ks.cfg").write_text("url --url=http://@server@/centos\n")
    entry = build(here, files=["ks.cfg"])["http/installers/debian/ks.cfg"]
    assert (entry.content, entry.text) == ("url --url=http://10.20.0.1/centos\n", False)


def test_large_files_are_published_as_they_are(here):
    content = b"@server@" * 140_000
    (here / "huge.cfg").write_bytes(content)
    entry = build(here, files=["huge.cfg"])["http/installers/debian/huge.cfg"]
    assert (entry.content, entry.size_bytes) == (None, len(content))


def test_out_of_a_package(here):
    package = write_package(here, {"boot/linux": KERNEL, "boot/initrd.gz": INITRD})
    entries = build(here, kernel="/boot/linux", initrd="/boot/initrd.gz", package=package)
    digest = hashlib.sha256(KERNEL).hexdigest()
    assert entries["tftp/installers/debian/kernel"].sha256 == digest
    assert (here / "build/installer/debian/initrd").read_bytes() == INITRD


def test_what_a_package_does_not_have(here):
    members = {"boot/linux": KERNEL, "boot/initrd": Path("initrd.gz"), "boot/initrd.gz": INITRD}
    package = write_package(here, members)
    with pytest.raises(SourceError) as caught:
        build(here, kernel="/boot/linuz", initrd="/boot/initrd.gz", package=package)
    assert str(caught.value) == (
        f"{package}: there is no /boot/linuz in it\n  next: the nearest is /boot/linux"
    )
    with pytest.raises(SourceError) as caught:
        build(here, kernel="/boot/linux", initrd="/srv/x", package=package)
    assert str(caught.value) == (
        f"{package}: there is no /srv/x in it\n  next: see: dpkg-deb --contents {package}"
    )
    with pytest.raises(SourceError) as caught:
        build(here, kernel="/boot/linux", initrd="/boot/initrd", package=package)
    assert str(caught.value) == (
        f"{package}: /boot/initrd in it is a symlink; expected a regular file\n"
        "  next: name the file that it stands for: initrd.gz"
    )


@pytest.mark.parametrize("changes, message", [
    ({"linux": INITRD},
     "HERE/linux: not an x86 kernel (bzImage); expected boot flag 55aa and magic HdrS, got gzip "
     "data\n  next: correct kernel in the installer's recipe, or get the file again"),
    ({"linux": KERNEL[:8200]},
     "HERE/linux: kernel is cut short; expected 8320 bytes, got 8200 bytes\n"
     "  next: correct kernel in the installer's recipe, or get the file again"),
    ({"initrd.gz": b"<!DOCTYPE html>"},
     "HERE/initrd.gz: unknown compression; expected gzip, xz, zstd, lz4, lzma, bzip2 or a plain "
     "newc cpio, got first bytes 3c 21 44 4f 43 54\n"
     "  next: correct initrd in the installer's recipe, or get the file again"),
    ({"initrd.gz": b""},
     "HERE/initrd.gz: unknown compression; expected gzip, xz, zstd, lz4, lzma, bzip2 or a plain "
     "newc cpio, got no bytes\n"
     "  next: correct initrd in the installer's recipe, or get the file again"),
])  # fmt: skip
def test_what_no_machine_would_boot(here, changes, message):
    for name, content in changes.items():
        (here / name).write_bytes(content)
    with pytest.raises(FormatError) as caught:
        build(here)
    assert str(caught.value) == message.replace("HERE", str(here))
    assert not (here / "build/installer/debian/index.jsonl").exists()


def test_the_real_one_of_debian(here):
    """Not made by us: its kernel and initramfs are taken for what they are."""
    for name in ("linux", "initrd.gz"):
        shutil.copyfile(f"{DEBIAN}/{name}", here / name)
    entries = build(here)
    assert entries["tftp/installers/debian/kernel"].size_bytes > 4_000_000
    assert entries["http/installers/debian/initrd"].size_bytes > 20_000_000
