"""Which parts of a generation each row boots, and in what machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bootsmith.errors import SmokeError
from bootsmith.smoke.parts import digests_now, read_generation
from bootsmith.smoke.scenarios import (
    SCENARIOS,
    choose_for,
    find_scenario,
    fitting_scenarios,
    machine_of,
)
from bootsmith.tools.qemu import BlankDrive, DirectKernel, Drive

EVERY_ROW = [
    "key-usb-bios",
    "key-usb-beside-disk",
    "key-virtio-bios",
    "key-uefi",
    "direct-pxerd",
]


def key(template, flavor, **details):
    return (
        "usbkey",
        f"usbkey/{template}/{template}.img",
        {"template": template, **details},
        flavor,
    )


def kernel(flavor, **details):
    return ("kernel", f"kernel/r-{flavor}/vmlinuz", details, flavor)


def pxerd(flavor):
    return ("pxerd", f"pxerd/r-{flavor}/pxerd", {}, flavor)


WHOLE = (
    kernel("lts", kernel_release="6.1-lts"),
    kernel("virt", kernel_release="6.1-virt"),
    pxerd("lts"),
    pxerd("virt"),
    key("default", "lts", kernel_release="6.1-lts", firmware=["bios", "uefi"]),
    key("pxeboot", "lts", firmware=["uefi"]),
    key("lxc-repo", "virt"),
    ("usbkey", "usbkey/default/default.img.contents.json", {"template": "default"}, "lts"),
)


@pytest.fixture
def generation(tmp_path):
    def make(parts=WHOLE):
        artifacts = []
        for kind, path, details, flavor in parts:
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(path)
            artifacts.append(
                {
                    "path": path,
                    "kind": kind,
                    "name": file.parent.name,
                    "sha256": hashlib.sha256(path.encode()).hexdigest(),
                    "size_bytes": len(path),
                    "details": {"release": "r", "flavor": flavor, **details},
                }
            )
        manifest = {"schema": 1, "id": "2026-11-21.1", "artifacts": artifacts}
        (tmp_path / "MANIFEST.json").write_text(json.dumps(manifest))
        return read_generation(tmp_path)

    return make


def chosen(generation, name, template=None):
    return choose_for(find_scenario(name), generation, template=template)


@pytest.mark.parametrize(
    "name,template,release",
    [
        ("key-usb-bios", "default", "6.1-lts"),
        ("key-usb-beside-disk", "default", "6.1-lts"),
        ("key-virtio-bios", "lxc-repo", "6.1-virt"),
        ("key-uefi", "default", "6.1-lts"),
        ("direct-pxerd", "lxc-repo", "6.1-virt"),
    ],
)
def test_the_first_key_that_fits(generation, name, template, release):
    got = chosen(generation(), name)
    assert (got.template, got.kernel_release) == (template, release)
    assert got.key.path == f"usbkey/{template}/{template}.img"


def test_a_key_that_does_not_boot_from_the_firmware_is_passed_over(generation):
    parts = [part for part in WHOLE if part[1] != "usbkey/default/default.img"]
    assert chosen(generation(parts), "key-uefi").template == "pxeboot"
    with pytest.raises(SmokeError) as caught:
        chosen(generation(parts), "key-usb-bios")
    assert str(caught.value) == (
        "smoke key-usb-bios: generation 2026-11-21.1 has no key for it; expected a key of any "
        "template that boots from bios and a kernel for hardware (flavor lts), "
        "got pxeboot (lts), lxc-repo (virt)\n"
        "  next: give a template that flavor and firmware, or leave this scenario out"
    )


def test_a_template_asked_for_by_name(generation):
    assert chosen(generation(), "key-virtio-bios", "default").template == "default"
    with pytest.raises(SmokeError) as caught:
        chosen(generation([]), "key-virtio-bios", "default")
    assert str(caught.value) == (
        "smoke key-virtio-bios: generation 2026-11-21.1 has no key for it; "
        "expected a key of default that boots from bios, got no key at all\n"
        "  next: give a template that flavor and firmware, or leave this scenario out"
    )


def test_without_a_virtual_flavor_any_will_do(generation):
    parts = [part for part in WHOLE if part[3] == "lts"]
    got = chosen(generation(parts), "direct-pxerd")
    assert [part.path for part in got.parts] == [
        "usbkey/default/default.img",
        "kernel/r-lts/vmlinuz",
        "pxerd/r-lts/pxerd",
    ]


def test_direct_needs_a_pxerd_of_the_same_flavor(generation):
    parts = [part for part in WHOLE if part[1] != "pxerd/r-virt/pxerd"]
    with pytest.raises(SmokeError) as caught:
        chosen(generation(parts), "direct-pxerd")
    assert str(caught.value) == (
        "smoke direct-pxerd: generation 2026-11-21.1 has no pxerd for the key of lxc-repo; "
        "expected one of release r, flavor virt\n  next: build a whole generation: doit build"
    )


def test_the_rows(generation):
    assert [scenario.name for scenario in SCENARIOS] == EVERY_ROW
    assert fitting_scenarios(generation()) == EVERY_ROW
    virtual = [part for part in WHOLE if part[3] == "virt"]
    assert fitting_scenarios(generation(virtual)) == EVERY_ROW[2:]


def test_an_unknown_row():
    with pytest.raises(SmokeError) as caught:
        find_scenario("key-usb")
    assert str(caught.value) == (
        "smoke key-usb: is not a scenario; expected one of key-usb-bios, key-usb-beside-disk, "
        "key-virtio-bios, key-uefi, direct-pxerd\n  next: doit smoke:key-usb-bios"
    )


def test_digests_are_read_now(generation, tmp_path):
    got = chosen(generation(), "key-usb-bios")
    path = "usbkey/default/default.img"
    before = hashlib.sha256(path.encode()).hexdigest()
    assert digests_now(got, scenario="s") == {path: before}
    (tmp_path / path).write_text("edited")
    after = hashlib.sha256(b"edited").hexdigest()
    with pytest.raises(SmokeError) as caught:
        digests_now(got, scenario="s")
    assert str(caught.value) == (
        f"smoke s: {tmp_path / path} is not what the generation's manifest says; "
        f"expected sha256 {before}, got sha256 {after}\n  next: build again: doit build"
    )
    (tmp_path / path).unlink()
    with pytest.raises(SmokeError) as caught:
        digests_now(got, scenario="s")
    assert str(caught.value) == (
        f"smoke s: cannot read {tmp_path / path} (No such file or directory)\n"
        "  next: build again: doit build"
    )


@pytest.mark.parametrize("content", [b"", b"[]", b'{"id": 1}', b'{"artifacts": [{}], "id": 1}'])
def test_a_damaged_manifest(tmp_path, content):
    path = tmp_path / "MANIFEST.json"
    with pytest.raises(SmokeError) as caught:
        read_generation(tmp_path)
    assert str(caught.value) == (
        f"{path}: cannot be read (No such file or directory)\n"
        "  next: build a generation: doit build"
    )
    path.write_bytes(content)
    with pytest.raises(SmokeError) as caught:
        read_generation(tmp_path)
    assert str(caught.value).startswith(f"{path}: is not a manifest (")


def machine(generation, name):
    row = find_scenario(name)
    return machine_of(
        row,
        choose_for(row, generation, template=None),
        nonce="1f",
        memory_mebibytes=640,
        accelerator="tcg",
        console=Path("/log"),
    )


def test_a_key_boots_as_it_is_with_the_nonce_in_the_machine(generation, tmp_path):
    got = machine(generation(), "key-usb-beside-disk")
    assert got.drives == (
        BlankDrive(size_bytes=1 << 30, attach="sata"),
        Drive(file=tmp_path / "usbkey/default/default.img", attach="usb", boot_index=0),
    )
    assert got.smbios_system == {"serial": "bootsmith-1f"}
    assert (got.kernel, got.firmware, got.memory_mebibytes) == (None, "bios", 640)


def test_a_direct_kernel_gets_the_nonce_as_a_word(generation, tmp_path):
    got = machine(generation(), "direct-pxerd")
    assert got.kernel == DirectKernel(
        image=tmp_path / "kernel/r-virt/vmlinuz",
        initramfs=tmp_path / "pxerd/r-virt/pxerd",
        command_line="modules=loop,squashfs,sd-mod,usb-storage console=tty0 "
        "console=ttyS0,115200 bootsmith_nonce=1f",
    )
    assert got.drives == (
        Drive(file=tmp_path / "usbkey/lxc-repo/lxc-repo.img", attach="virtio", read_only=True),
    )
    assert got.smbios_system == {}
    assert machine(generation(), "key-uefi").firmware == "ovmf"
