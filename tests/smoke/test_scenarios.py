"""Which parts of a generation each row boots, and in what machine."""

from __future__ import annotations

import hashlib
from itertools import product
from pathlib import Path

import pytest

from bootsmith.errors import SmokeError
from bootsmith.formats.manifest import Artifact, Manifest
from bootsmith.site.scenarios import SCENARIOS, Bootable, fitting_scenarios
from bootsmith.smoke.parts import choose_parts, digests_now
from bootsmith.smoke.scenarios import find_scenario, machine_of, modloop_file_system
from bootsmith.tools.qemu import BlankDrive, DirectKernel, Drive

EVERY_ROW = [
    "key-usb-bios",
    "key-usb-beside-disk",
    "key-virtio-bios",
    "key-uefi",
    "direct-pxerd",
]
NFS_ROWS = ["nfs-v4", "nfs-v3", "nfs-http-modloop", "nfs-key-modloop"]

NETWORK_ROWS = [row.name for row in SCENARIOS if row.name.startswith("netboot-")]


def key(template, flavor, **details):
    return (
        "usbkey",
        f"usbkey/{template}/{template}.img",
        {"template": template, **details},
        flavor,
    )


def kernel(flavor, **details):
    return ("kernel", f"kernel/r-{flavor}/vmlinuz", details, flavor)


def pxerd(flavor, **details):
    return ("pxerd", f"pxerd/r-{flavor}/pxerd", details, flavor)


def modloop(flavor):
    return ("modloop", f"modloop/r-{flavor}/modloop-{flavor}", {}, flavor)


def apkovl(template, flavor):
    path = f"apkovl/{template}/{template}.apkovl.tar.gz"
    return ("apkovl", path, {"template": template}, flavor)


WHOLE = (
    kernel("lts", kernel_release="6.1-lts"),
    kernel("virt", kernel_release="6.1-virt"),
    pxerd("lts"),
    pxerd("virt"),
    key("default", "lts", kernel_release="6.1-lts", firmware=["bios", "uefi"]),
    key("pxeboot", "lts", firmware=["uefi"]),
    key("lxc-repo", "virt"),
    ("usbkey", "usbkey/default/default.img.contents.json", {"template": "default"}, "lts"),
    modloop("lts"),
    modloop("virt"),
    apkovl("default", "lts"),
    apkovl("other", "virt"),
    apkovl("lxc-repo", "virt"),
)
ISO = hashlib.sha256(b"iso").hexdigest()


@pytest.fixture
def generation(tmp_path):
    def make(parts=WHOLE, releases=None):
        artifacts = []
        for kind, path, details, flavor in parts:
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(path)
            artifacts.append(
                Artifact(
                    path=path,
                    kind=kind,
                    name=file.parent.name,
                    sha256=hashlib.sha256(path.encode()).hexdigest(),
                    size_bytes=len(path),
                    details={"release": "r", "flavor": flavor, **details},
                )
            )
        return Manifest(
            id="2026-11-21.1",
            site="tests",
            artifacts=tuple(artifacts),
            releases={"r": {"iso_sha256": ISO}} if releases is None else releases,
            steps={},
        )

    return make


def chosen(generation, name, template=None):
    return choose_parts(generation, find_scenario(name), template=template)


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
        "  next: give a template what is expected, or leave this scenario out"
    )


def test_a_template_asked_for_by_name(generation):
    assert chosen(generation(), "key-virtio-bios", "default").template == "default"
    with pytest.raises(SmokeError) as caught:
        chosen(generation([]), "key-virtio-bios", "default")
    assert str(caught.value) == (
        "smoke key-virtio-bios: generation 2026-11-21.1 has no key for it; "
        "expected a key of default that boots from bios, got no key at all\n"
        "  next: give a template what is expected, or leave this scenario out"
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


NFS_PARTS = {
    "kernel/r-virt/vmlinuz",
    "pxerd/r-virt/pxerd",
    "modloop/r-virt/modloop-virt",
    "apkovl/lxc-repo/lxc-repo.apkovl.tar.gz",
}


@pytest.mark.parametrize("name", NFS_ROWS)
def test_what_a_medium_on_nfs_is_made_of(generation, name):
    got = chosen(generation(), name)
    assert (got.template, got.kernel_release) == ("lxc-repo", "6.1-virt")
    assert got.digests["iso/r"] == ISO
    expected = NFS_PARTS
    if name == "nfs-key-modloop":
        on_key = {path for path in NFS_PARTS if path.startswith(("modloop/", "apkovl/"))}
        expected = NFS_PARTS - on_key | {"usbkey/lxc-repo/lxc-repo.img"}
    assert {part.path for part in got.parts} == expected
    assert set(got.digests) == expected | {"iso/r"}


def test_a_pxerd_without_nfs_boots_nothing_from_it(generation):
    parts = [part for part in WHOLE if part[0] != "pxerd"]
    parts += [pxerd("virt", features={"usb": {}}), pxerd("lts", features={"nfs": {}, "usb": {}})]
    assert chosen(generation(parts), "nfs-v4").template == "default"
    assert chosen(generation(parts), "direct-pxerd").template == "lxc-repo"
    parts[-1] = pxerd("lts", features={})
    with pytest.raises(SmokeError) as caught:
        chosen(generation(parts), "nfs-v4")
    assert str(caught.value) == (
        "smoke nfs-v4: generation 2026-11-21.1 has no key for it; expected a key of any template, "
        "whose pxerd has the feature nfs, got default (lts), pxeboot (lts), lxc-repo (virt)\n"
        "  next: give a template what is expected, or leave this scenario out"
    )


@pytest.mark.parametrize("kind", ["modloop", "apkovl"])
def test_a_medium_needs_modloop_and_overlay(generation, kind):
    parts = [part for part in WHOLE if not part[1].startswith((f"{kind}/r-virt", f"{kind}/lxc"))]
    with pytest.raises(SmokeError, match=f"has no {kind} for the key of lxc-repo"):
        chosen(generation(parts), "nfs-v4")


def test_a_generation_that_does_not_say_its_iso(generation):
    with pytest.raises(SmokeError, match="does not say which ISO r is of"):
        chosen(generation(releases={}), "nfs-v4")


def test_the_rows():
    def fitting(*templates):
        return fitting_scenarios(
            [
                Bootable(flavor=flavor, firmware=firmware, features=features)
                for flavor, firmware, features in templates
            ]
        )

    names = [*EVERY_ROW, "direct-ramroot", *NFS_ROWS, *NETWORK_ROWS]
    assert [scenario.name for scenario in SCENARIOS] == names
    rooted = [scenario.name for scenario in SCENARIOS if scenario.needs_root]
    assert rooted == [*NFS_ROWS, *NETWORK_ROWS]
    assert all(bool(row.guests) == (row.name in NETWORK_ROWS) for row in SCENARIOS)
    both = ("bios", "uefi")
    assert fitting(("virt", both, ()), ("lts", both, ())) == tuple(EVERY_ROW)
    assert fitting(("virt", both, ())) == tuple(EVERY_ROW[2:])
    assert fitting(("lts", ("uefi",), ())) == ("key-uefi", "direct-pxerd")
    assert fitting(("lts", ("uefi",), ("nfs",))) == ("key-uefi", "direct-pxerd", *NFS_ROWS)
    assert fitting() == ()
    image = Bootable(flavor="lts", firmware=both, features=("nfs",), is_ramroot=True)
    assert fitting_scenarios([image]) == ("direct-ramroot",)
    assert fitting_scenarios([], has_network=True) == tuple(NETWORK_ROWS)


def test_what_machines_find_on_the_network_is_told_by_its_index(generation):
    index = ("netboot", "netboot/INDEX.jsonl", {}, "any")
    got = chosen(generation([*WHOLE, index]), "netboot-two")
    assert list(got.digests) == ["netboot/INDEX.jsonl"]
    with pytest.raises(SmokeError) as caught:
        chosen(generation(), "netboot-two")
    assert str(caught.value) == (
        "smoke netboot-two: generation 2026-11-21.1 has nothing for machines that boot from the "
        "network\n  next: add [netboot] to recipes/site.toml, or leave this scenario out"
    )


ATTACHED = [row for row in SCENARIOS if row.medium != "network"]


@pytest.mark.parametrize("row", ATTACHED, ids=lambda row: row.name)
def test_a_row_fits_exactly_where_a_key_is_chosen(generation, row):
    """Planning asks the recipes, a run asks the manifest: both must say the same."""
    kinds = product(("lts", "virt"), (["bios"], ["uefi"], ["bios", "uefi"]), (["nfs"], ["usb"]))
    for flavor, firmware, features in kinds:
        parts = (
            kernel(flavor),
            pxerd(flavor, features={name: {} for name in features}),
            modloop(flavor),
            apkovl("web", flavor),
            key("web", flavor, firmware=firmware),
        )
        template = Bootable(flavor=flavor, firmware=firmware, features=features)
        if row.name in fitting_scenarios([template]):
            assert choose_parts(generation(parts), row).template == "web"
        else:
            with pytest.raises(SmokeError):
                choose_parts(generation(parts), row)


def ramroot(name, flavor, **details):
    return ("ramroot", f"ramroot/{name}/ramroot-{name}", details, flavor)


def test_a_ramroot_needs_its_kernel_alone(generation):
    parts = (*WHOLE, ramroot("big", "lts"), ramroot("worker", "virt", memory_mebibytes=768))
    got = chosen(generation(parts), "direct-ramroot")
    assert (got.template, got.kernel_release, got.memory_mebibytes) == ("worker", "6.1-virt", 768)
    paths = [part.path for part in got.parts]
    assert paths == ["kernel/r-virt/vmlinuz", "ramroot/worker/ramroot-worker"]
    assert chosen(generation(parts), "direct-ramroot", "big").kernel_release == "6.1-lts"
    booted = machine(generation(parts), "direct-ramroot")
    assert booted.drives == ()
    assert booted.kernel == DirectKernel(
        image=Path("/g/kernel/r-virt/vmlinuz"),
        initramfs=Path("/g/ramroot/worker/ramroot-worker"),
        command_line="console=tty0 console=ttyS0,115200 bootsmith_nonce=1f",
    )


@pytest.mark.parametrize(
    "parts,got",
    [
        (WHOLE, "no ramroot at all"),
        ((ramroot("worker", "virt"),), "worker"),
    ],
)
def test_a_ramroot_that_cannot_boot(generation, parts, got):
    with pytest.raises(SmokeError) as caught:
        chosen(generation(parts), "direct-ramroot")
    assert str(caught.value) == (
        "smoke direct-ramroot: generation 2026-11-21.1 has no ramroot for it, or no kernel for "
        f"one; expected the ramroot of any image and its kernel, got {got}\n"
        "  next: add an image below recipes/images, or leave this scenario out"
    )


def test_an_unknown_row():
    with pytest.raises(SmokeError) as caught:
        find_scenario("key-usb")
    assert str(caught.value) == (
        "smoke key-usb: is not a scenario; expected one of key-usb-bios, key-usb-beside-disk, "
        "key-virtio-bios, key-uefi, direct-pxerd, direct-ramroot, nfs-v4, nfs-v3, "
        f"nfs-http-modloop, nfs-key-modloop, {', '.join(NETWORK_ROWS)}\n"
        "  next: doit smoke:key-usb-bios"
    )


def test_digests_are_read_now(generation, tmp_path):
    got = chosen(generation(), "key-usb-bios")
    path = "usbkey/default/default.img"
    before = hashlib.sha256(path.encode()).hexdigest()
    assert digests_now(got, generation=tmp_path, scenario="s") == {path: before}
    (tmp_path / path).write_text("edited")
    after = hashlib.sha256(b"edited").hexdigest()
    with pytest.raises(SmokeError) as caught:
        digests_now(got, generation=tmp_path, scenario="s")
    assert str(caught.value) == (
        f"smoke s: {tmp_path / path} is not what the generation's manifest says; "
        f"expected sha256 {before}, got sha256 {after}\n  next: build again: doit build"
    )
    (tmp_path / path).unlink()
    with pytest.raises(SmokeError) as caught:
        digests_now(got, generation=tmp_path, scenario="s")
    assert str(caught.value) == (
        f"smoke s: cannot read {tmp_path / path} (No such file or directory)\n"
        "  next: build again: doit build"
    )


def test_the_digest_of_an_iso_is_read_now_too(generation, tmp_path):
    got = chosen(generation(), "nfs-v4")
    isos = {"r": tmp_path / "r.iso"}
    isos["r"].write_bytes(b"iso")
    assert digests_now(got, generation=tmp_path, scenario="s", isos=isos) == got.digests
    isos["r"].write_bytes(b"another")
    with pytest.raises(SmokeError, match=f"{isos['r']} is not what the generation's manifest says"):
        digests_now(got, generation=tmp_path, scenario="s", isos=isos)


def machine(generation, name):
    row = find_scenario(name)
    return machine_of(
        row,
        choose_parts(generation, row),
        generation=Path("/g"),
        nonce="1f",
        memory_mebibytes=640,
        accelerator="tcg",
        console=Path("/log"),
    )


def test_a_key_boots_as_it_is_with_the_nonce_in_the_machine(generation):
    got = machine(generation(), "key-usb-beside-disk")
    assert got.drives == (
        BlankDrive(size_bytes=1 << 30, attach="sata"),
        Drive(file=Path("/g/usbkey/default/default.img"), attach="usb", boot_index=0),
    )
    assert got.smbios_system == {"serial": "bootsmith-1f"}
    assert (got.kernel, got.firmware, got.memory_mebibytes) == (None, "bios", 640)


def test_a_direct_kernel_gets_the_nonce_as_a_word(generation):
    got = machine(generation(), "direct-pxerd")
    assert got.kernel == DirectKernel(
        image=Path("/g/kernel/r-virt/vmlinuz"),
        initramfs=Path("/g/pxerd/r-virt/pxerd"),
        command_line="modules=loop,squashfs,sd-mod,usb-storage console=tty0 "
        "console=ttyS0,115200 bootsmith_nonce=1f",
    )
    assert got.drives == (
        Drive(file=Path("/g/usbkey/lxc-repo/lxc-repo.img"), attach="virtio", read_only=True),
    )
    assert got.smbios_system == {}
    assert machine(generation(), "key-uefi").firmware == "ovmf"


WORDS = "modules=loop,squashfs,sd-mod,usb-storage console=tty0 console=ttyS0,115200 ip=dhcp"


@pytest.mark.parametrize(
    "name,words,file_system",
    [
        ("nfs-v4", "medium:vers=4.1,port=12049 modloop=/boot/modloop-virt", "nfs4"),
        ("nfs-v3", "medium modloop=/boot/modloop-virt", "nfs"),
        (
            "nfs-http-modloop",
            "medium:vers=4.1,port=12049 modloop=http://10.0.2.2/modloop-virt",
            "tmpfs",
        ),
        ("nfs-key-modloop", "medium:vers=4.1,port=12049 modloop=/boot/modloop-virt", "vfat"),
    ],
)
def test_a_medium_on_nfs_is_named_on_the_command_line(generation, name, words, file_system):
    got = machine(generation(), name)
    line = f"{WORDS} alpine_dev=nfs:10.0.2.2:/{words} bootsmith_nonce=1f"
    assert got.kernel.command_line == line
    assert modloop_file_system(find_scenario(name)) == file_system
    assert bool(got.drives) == (name == "nfs-key-modloop")
    assert [nic.isolated for nic in got.nics] == [False]


@pytest.mark.parametrize("name", EVERY_ROW)
def test_with_a_key_nothing_can_be_reached(generation, name):
    assert [nic.isolated for nic in machine(generation(), name).nics] == [True]
    assert modloop_file_system(find_scenario(name)) is None
