from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bootsmith.builders.netloader import build_netloader
from bootsmith.errors import RecipeError, ToolMissing
from bootsmith.formats.netboot_index import read_netboot_index
from bootsmith.formats.pe import pe_machine
from bootsmith.tools import netboot_loaders

LOADERS = ("pxelinux.0", "lpxelinux.0", "undionly.kpxe", "ipxe.efi", "snponly.efi")
MODULES = ("ldlinux", "reboot", "libcom32", "libutil")
DEBIAN = {
    **dict.fromkeys(("pxelinux.0", "lpxelinux.0"), "/usr/lib/PXELINUX"),
    **dict.fromkeys(("undionly.kpxe", "ipxe.efi", "snponly.efi"), "/usr/lib/ipxe"),
    **{f"{name}.c32": "/usr/lib/syslinux/modules/bios" for name in MODULES},
}


def build(directory, modules=MODULES):
    place = directory / "netloader"
    build_netloader(
        loaders={name: place / name for name in LOADERS},
        modules={f"{name}.c32": place / f"{name}.c32" for name in modules},
        grub=place / "grubnetx64.efi",
        build=directory,
        index=place / "index.jsonl",
    )
    return place


def test_everything_is_as_debian_has_it_and_grub_is_for_uefi(tmp_path):
    place = build(tmp_path)
    for name, directory in DEBIAN.items():
        assert (place / name).read_bytes() == Path(directory, name).read_bytes(), name
    grub = (place / "grubnetx64.efi").read_bytes()
    assert pe_machine(grub, subject="grub") == "x86_64"
    assert b"set prefix=$cmdpath/grub\nsource $prefix/grub.cfg\n" in grub


def test_the_index(tmp_path):
    place = build(tmp_path)
    entries = read_netboot_index((place / "index.jsonl").read_bytes(), subject="index")
    shown = {}
    for entry in entries:
        shown[entry.path] = entry.link or entry.file
        if entry.file is not None:
            content = (tmp_path / entry.file).read_bytes()
            assert entry.size_bytes == len(content)
            assert entry.sha256 == hashlib.sha256(content).hexdigest()
    names = (*DEBIAN, "grubnetx64.efi")
    assert shown == {
        **{f"tftp/{name}": f"netloader/{name}" for name in names},
        **{f"http/{name}": f"../tftp/{name}" for name in names if name.endswith(".efi")},
    }


def test_two_builds_are_the_same(tmp_path):
    first, second = build(tmp_path / "a"), build(tmp_path / "another place")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    "modules, message",
    [
        (
            (*MODULES, "menus"),
            "recipes/site.toml: netboot.modules: PXELINUX has no such module; got menus\n"
            "  next: see: ls /usr/lib/syslinux/modules/bios",
        ),
        (
            ("ldlinux", "libutil", "hdt", "libcom32", "libgpl"),
            "recipes/site.toml: netboot.modules: hdt needs another module; got libmenu\n"
            "  next: name that one too",
        ),
    ],
)
def test_modules_that_would_not_work_are_refused(tmp_path, modules, message):
    with pytest.raises(RecipeError) as caught:
        build(tmp_path, modules)
    assert str(caught.value) == message
    assert not (tmp_path / "netloader").exists()


@pytest.mark.parametrize(
    "constant, missing",
    [
        ("PXELINUX_DIRECTORY", "pxelinux.0"),
        ("IPXE_DIRECTORY", "undionly.kpxe"),
        ("MODULES_DIRECTORY", "ldlinux.c32"),
    ],
)
def test_a_missing_package(tmp_path, monkeypatch, constant, missing):
    was = getattr(netboot_loaders, constant)
    monkeypatch.setattr(netboot_loaders, constant, tmp_path)
    places = {
        name: tmp_path if directory == was else directory
        for name, directory in netboot_loaders._PLACES.items()
    }
    monkeypatch.setattr(netboot_loaders, "_PLACES", places)
    with pytest.raises(ToolMissing) as caught:
        build(tmp_path)
    path = tmp_path / missing
    assert str(caught.value) == (
        f"{path}: file not found, needed by bootsmith\n"
        f"  next: install {path}, or see all with: make doctor"
    )
