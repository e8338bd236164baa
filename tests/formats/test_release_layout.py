"""Every layout that Alpine has published is found; what is missing is said."""

from __future__ import annotations

import pytest

from bootsmith.errors import FormatError, SourceError
from bootsmith.formats.iso_links import check_links, resolve_path
from bootsmith.formats.release_facts import IsoFile
from bootsmith.formats.release_layout import (
    check_flavor,
    complete_flavors,
    find_architecture,
    find_flavors,
    read_release_name,
)


def file(path):
    return IsoFile(path=path, type="file", mode=0o644, size_bytes=1, extents=((0, 1),))


def link(path, target):
    return IsoFile(path=path, type="link", mode=0o777, target=target)


def tree(*paths):
    return [path if isinstance(path, IsoFile) else file(path) for path in paths]


def found(*paths):
    """flavor → the four paths, for the flavors that are complete."""
    flavors = find_flavors(tree(*paths), subject="x.iso")
    return {
        name: tuple(
            entry and entry.path
            for entry in (files.kernel, files.initramfs, files.modloop, files.config)
        )
        for name, files in flavors.items()
        if not files.missing(name)
    }


def test_today():
    assert found(
        "boot/vmlinuz-lts", "boot/initramfs-lts", "boot/modloop-lts", "boot/config-lts",
        "boot/vmlinuz-virt", "boot/initramfs-virt", "boot/modloop-virt", "boot/System.map-lts",
        "boot/amd-ucode.img",
    ) == {
        "lts": ("boot/vmlinuz-lts", "boot/initramfs-lts", "boot/modloop-lts", "boot/config-lts"),
        "virt": ("boot/vmlinuz-virt", "boot/initramfs-virt", "boot/modloop-virt", None),
    }  # fmt: skip


def test_3_0_and_older_put_the_flavor_first():
    assert found("boot/grsec", "boot/grsec.gz", "boot/grsec.modloop.squashfs") == {
        "grsec": ("boot/grsec", "boot/grsec.gz", "boot/grsec.modloop.squashfs", None)
    }


def test_3_0_with_the_new_kernel_name():
    assert found("boot/vmlinuz-grsec", "boot/grsec.gz", "boot/grsec.modloop.squashfs") == {
        "grsec": ("boot/vmlinuz-grsec", "boot/grsec.gz", "boot/grsec.modloop.squashfs", None)
    }


def test_3_1_has_the_grsec_kernel_twice_and_vanilla_without_a_suffix():
    assert found(
        "boot/vmlinuz-grsec", "boot/grsec", "boot/initramfs-grsec", "boot/modloop-grsec",
        "boot/vmlinuz", "boot/initramfs-vanilla", "boot/modloop-vanilla",
    ) == {
        "grsec": ("boot/vmlinuz-grsec", "boot/initramfs-grsec", "boot/modloop-grsec", None),
        "vanilla": ("boot/vmlinuz", "boot/initramfs-vanilla", "boot/modloop-vanilla", None),
    }  # fmt: skip


def test_vanilla_with_a_suffix_is_preferred_to_the_bare_name():
    names = (
        "boot/vmlinuz-vanilla",
        "boot/vmlinuz",
        "boot/initramfs-vanilla",
        "boot/modloop-vanilla",
    )
    assert found(*names)["vanilla"][0] == "boot/vmlinuz-vanilla"


def test_an_upgraded_key_may_mix_old_and_new_names():
    assert found("boot/vmlinuz-grsec", "boot/grsec.gz", "boot/modloop-grsec") == {
        "grsec": ("boot/vmlinuz-grsec", "boot/grsec.gz", "boot/modloop-grsec", None)
    }


def test_a_flavor_name_may_hold_dashes():
    assert list(found("boot/vmlinuz-rpi-4", "boot/initramfs-rpi-4", "boot/modloop-rpi-4")) == [
        "rpi-4"
    ]


def test_links_are_followed_to_the_file():
    assert found(
        link("boot/vmlinuz-lts", "../kernels/linux"), "kernels/linux", "boot/initramfs-lts",
        link("boot/modloop-lts", "modloop"), link("boot/modloop", "m"), "boot/m",
    )["lts"] == ("kernels/linux", "boot/initramfs-lts", "boot/m", None)  # fmt: skip


def test_xen_is_no_flavor():
    assert found("boot/xen", "boot/xen.gz", "boot/vmlinuz-lts") == {}


def test_without_a_complete_flavor_each_lack_is_named():
    flavors = find_flavors(
        tree("boot/vmlinuz-lts", "boot/initramfs-lts", "boot/virt.modloop.squashfs"),
        subject="x.iso",
    )
    with pytest.raises(SourceError) as caught:
        complete_flavors(flavors, subject="x.iso")
    assert str(caught.value) == (
        "x.iso: ISO without a bootable flavor; expected boot/vmlinuz-<flavor>, "
        "boot/initramfs-<flavor> and boot/modloop-<flavor>, got flavor lts has no modloop "
        "(boot/modloop-lts or boot/lts.modloop.squashfs); flavor virt has no kernel "
        "(boot/vmlinuz-virt or boot/virt) and no initramfs (boot/initramfs-virt or boot/virt.gz)\n"
        "  next: use an ISO that boots to a login by itself (standard, extended or virt)"
    )


def test_without_any_trace_of_a_flavor():
    with pytest.raises(SourceError) as caught:
        complete_flavors(find_flavors(tree("etc/motd"), subject="x.iso"), subject="x.iso")
    assert caught.value.message.endswith(", got none of them")


LTS = ("boot/vmlinuz-lts", "boot/initramfs-lts", "boot/modloop-lts")
VIRT = ("boot/vmlinuz-virt", "boot/initramfs-virt", "boot/modloop-virt")


def test_a_flavor_that_is_not_there_names_the_nearest():
    with pytest.raises(SourceError) as caught:
        check_flavor(find_flavors(tree(*LTS, *VIRT), subject="x.iso"), "vrit", subject="x.iso")
    assert str(caught.value) == (
        "x.iso: has no flavor 'vrit'; expected lts or virt\n  next: write 'virt' in the recipe"
    )


def test_a_flavor_that_is_like_none_lists_them():
    with pytest.raises(SourceError) as caught:
        check_flavor(find_flavors(tree(*LTS, *VIRT), subject="x.iso"), "grsec", subject="x.iso")
    assert str(caught.value) == (
        "x.iso: has no flavor 'grsec'; expected lts or virt\n  next: name one of them in the recipe"
    )


def test_a_flavor_that_is_incomplete_says_what_lacks():
    flavors = find_flavors(tree(*LTS, *VIRT[:2]), subject="x.iso")
    with pytest.raises(SourceError) as caught:
        check_flavor(flavors, "virt", subject="x.iso")
    assert str(caught.value) == (
        "x.iso: flavor virt is incomplete: no modloop "
        "(boot/modloop-virt or boot/virt.modloop.squashfs)\n  next: use another flavor (lts)"
    )


def test_the_architecture_is_the_one_with_an_index():
    paths = ("apks/x86_64/APKINDEX.tar.gz", "apks/x86_64/a-1-r0.apk", "apks/.boot_repository")
    assert find_architecture(tree(*paths), subject="x.iso") == "x86_64"


@pytest.mark.parametrize(
    "paths,got",
    [
        (("boot/vmlinuz",), "none"),
        (("apks/x86/APKINDEX.tar.gz", "apks/armhf/APKINDEX.tar.gz"), "apks/armhf, apks/x86"),
    ],
)
def test_no_architecture_or_several_are_refused(paths, got):
    with pytest.raises(FormatError) as caught:
        find_architecture(tree(*paths), subject="x.iso")
    assert caught.value.message == (
        "x.iso: ISO without one package repository; "
        f"expected one apks/<arch>/APKINDEX.tar.gz, got {got}"
    )


@pytest.mark.parametrize(
    "text,release,profile",
    [
        ("alpine-standard-3.20.3 240906\n", "3.20.3", "standard"),
        ("alpine-mini-3.1.1 150122", "3.1.1", "mini"),
        ("alpine-3.1.0 141210\n", "3.1.0", "alpine"),
        ("alpine-standin-3.24.0 261116\n", "3.24.0", "standin"),
        ("alpine-virt-3.21.0_rc1 241128\n", "3.21.0_rc1", "virt"),
        ("alpine-extended-20240329 240329\n", "20240329", "extended"),
        ("alpine-rpi-edge", "edge", "rpi"),
    ],
)
def test_the_release_file_names_release_and_profile(text, release, profile):
    name = read_release_name(text.encode(), subject="x.iso")
    assert (name.release, name.profile) == (release, profile)


@pytest.mark.parametrize("text", [b"", b"\n", b"alpine", b"alpine-", b"debian-12 x", b"\xff\0"])
def test_a_release_file_of_something_else_is_refused(text):
    with pytest.raises(FormatError, match=r"^x\.iso: \.alpine-release: not the name of an Alpine"):
        read_release_name(text, subject="x.iso")


def test_links_are_followed_one_component_at_a_time():
    entries = {
        entry.path: entry
        for entry in tree(link("a", "b/c"), link("b", "d"), link("d/c", "../e"), "e/f")
    }
    assert resolve_path(entries, "a/f", subject="x.iso") == "e/f"
    assert resolve_path(entries, "a/none/./x", subject="x.iso") == "e/none/x"


@pytest.mark.parametrize(
    "entries,problem",
    [
        ([link("boot/x", "/etc/passwd")], "a link has an absolute or empty target"),
        ([link("boot/x", "")], "a link has an absolute or empty target"),
        ([link("boot/x", "../../etc")], "a link leads out of the tree"),
        ([link("boot/x", "y/../../.."), link("boot/y", "../a/b")], "a link leads out of the tree"),
        ([link("x", "y"), link("y", "x")], "links lead in a circle"),
    ],
)
def test_links_that_leave_or_loop_are_refused(entries, problem):
    with pytest.raises(FormatError) as caught:
        check_links(entries, subject="x.iso")
    assert caught.value.message.startswith(f"x.iso: hostile or damaged ISO: {problem}; got ")


def test_a_dangling_link_inside_the_tree_is_allowed():
    check_links([link("boot/x", "../nowhere/at/all")], subject="x.iso")
