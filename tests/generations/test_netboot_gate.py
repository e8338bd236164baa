"""Netboot trees that machines would not come up by: one fault at a time, in a published tree.

The tree is that of a real site, built by its steps. A fault is put into the tree and its index is
written anew, so that every digest is right and only the sense is wrong.
"""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
from netboot_site import write_netboot_site
from published_samples import Published

from bootsmith.formats.apkovl import ApkovlEntry, write_apkovl
from bootsmith.formats.netboot_tree import INDEX_PATH
from bootsmith.generations.gate import problems_of

PXELINUX = "tftp/pxelinux.cfg/template-web"
GRUB = "tftp/grub/template-web.cfg"
OWN = "http/apkovl/52:54:00:00:00:02.apkovl.tar.gz"
PXERD = "tftp/boot/tiny-virt/pxerd"


@pytest.fixture(scope="module")
def netboot_built(tmp_path_factory):
    directory = tmp_path_factory.mktemp("netboot")
    site = write_netboot_site(directory)
    site.run()
    return (directory / "artifacts/current").resolve()


@pytest.fixture
def published(netboot_built, tmp_path):
    return Published(netboot_built, tmp_path / "artifacts")


def test_what_was_built_has_no_fault(published):
    assert published.problems() == []


def test_another_initramfs(published):
    content = gzip.compress(b"another")
    published.write_file(PXERD, content)
    assert published.refusal() == (
        "ID/netboot/tftp/grub/template-db.cfg: boots the kernel of tiny-virt with another "
        "initramfs (as in tftp/grub/template-web+own.cfg, tftp/grub/template-web.cfg, "
        "tftp/ipxe/template-db.ipxe, tftp/ipxe/template-web.ipxe and 4 more); "
        "expected pxerd/tiny-virt/pxerd-virt, got tftp/boot/tiny-virt/pxerd\n"
        "  next: build it again: doit netboot"
    )


def test_a_kernel_of_no_boot_set(published):
    published.write_file("tftp/boot/other", b"kernel")
    published.replace_text(GRUB, "tiny-virt/vmlinuz-virt", "other")
    assert published.refusal() == (
        f"ID/netboot/{GRUB}: boots /generations/ID/netboot/tftp/boot/other, which is the kernel "
        "of no boot set of this generation; expected tiny-virt\n"
        "  next: build a whole generation: doit build"
    )


def test_another_systems_kernel_is_not_asked_for_more(published):
    published.write_file("tftp/installers/x/kernel", b"kernel")
    published.write_text(
        "tftp/grub/install-x.cfg",
        "linux /generations/@generation@/netboot/tftp/installers/x/kernel alpine=no ip=x\n",
    )
    assert published.problems() == []


def test_a_generation_that_is_not_its_own(published):
    published.replace_text(PXELINUX, "LINUX ::generations/@generation@", "LINUX ::generations/x")
    assert published.problems() == [
        f"ID/netboot/{PXELINUX}: names a generation that is not its own: "
        "::generations/x/netboot/tftp/boot/tiny-virt/vmlinuz-virt"
    ]


def test_a_modloop_that_is_not_published(published):
    published.remove("http/boot/tiny-virt/modloop-virt")
    assert any(
        "http/boot/tiny-virt/modloop-virt is not there" in problem
        for problem in published.problems()
    )


def test_a_label_that_is_missing(published):
    published.replace_text(PXELINUX, "DEFAULT boot", "DEFAULT bot")
    assert published.problems() == [
        f"ID/netboot/{PXELINUX}: boots label bot, and has no such label"
    ]


def test_a_line_that_pxelinux_cuts(published):
    published.replace_text(PXELINUX, "quiet", f"quiet {'x' * 4000}")
    problems = published.problems()
    assert [problem.partition("; ")[0] for problem in problems] == [
        f"ID/netboot/{PXELINUX}: has a line that PXELINUX would take for two",
        f"ID/netboot/{PXELINUX}: has more words than the kernel of tiny-virt takes",
    ]
    assert "expected at most 4094 characters, got " in problems[0]
    assert "expected at most 2047 characters, got " in problems[1]


def test_a_name_that_is_too_long_to_be_asked_for(published):
    long = "a" * 120
    c32 = (published.generation / "netboot/tftp/reboot.c32").read_bytes()
    published.write_file(f"tftp/{long}/reboot.c32", c32)
    published.replace_text(PXELINUX, "COM32 reboot.c32", f"COM32 {long}/reboot.c32")
    assert published.problems() == [
        f"ID/netboot/{PXELINUX}: PXELINUX could not ask a server for a name so long; "
        f"expected at most 127 characters, got 131: {long}/reboot.c32"
    ]


def test_a_text_that_is_no_script(published):
    published.replace_text("tftp/ipxe/template-web.ipxe", "#!ipxe\n", "# ipxe\n")
    assert published.problems() == ["ID/netboot/tftp/ipxe/template-web.ipxe: is no iPXE script"]


# --- overlays -------------------------------------------------------------------------------


def test_the_corrupt_overlay_of_a_host(published):
    whole = (published.generation / "netboot" / OWN).read_bytes()
    published.write_file(OWN, whole[:-20])
    assert published.refusal() == (
        f"ID/netboot/{OWN}: is a corrupt overlay: damaged gzip data (the file is truncated)\n"
        "  next: get the file again; it is damaged"
    )


def test_an_overlay_that_init_would_trip_over(published):
    tar = gzip.decompress(
        write_apkovl([ApkovlEntry(name="srv/x", mode=0o100644, data=b"no etc in it")])
    )
    published.write_file(OWN, gzip.compress(tar))
    assert published.problems() == [
        f"ID/netboot/{OWN}: is a corrupt overlay: has nothing below etc/"
    ]


@pytest.mark.parametrize(
    "path,template",
    [
        (OWN, "web"),
        ("http/apkovl/web.apkovl.tar.gz", "web"),
        ("nfs/tiny/apkovl/web.apkovl.tar.gz", "web"),
    ],
)
def test_the_overlay_of_another_template(published, path, template):
    other = published.generation / "apkovl/db/db.apkovl.tar.gz"
    published.write_file(path, other.read_bytes())
    assert published.problems() == [
        f"ID/netboot/{path}: is the overlay of another template, as etc/bootsmith/template in it "
        f"says; expected {template}, got db"
    ]


def test_the_overlay_of_a_host_says_its_template(published):
    entry = ApkovlEntry(name="etc/bootsmith/template", mode=0o100644, data=b"db\n")
    published.write_file(OWN, write_apkovl([entry]))
    (problem,) = published.problems()
    assert problem.endswith("expected web, got db")


# --- loaders and servers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path,other,expected,got",
    [
        ("tftp/snponly.efi", b"MZ".ljust(64, b"\0"), None, None),
        ("tftp/reboot.c32", b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + b"\x3e\0", "x86", "x86_64"),
    ],
)
def test_a_loader_of_the_wrong_arch(published, path, other, expected, got):
    if expected is None:
        head = bytearray((published.generation / "netboot" / path).read_bytes())
        at = int.from_bytes(head[0x3C:0x40], "little")
        head[at + 4 : at + 6] = (0xAA64).to_bytes(2, "little")
        other, expected, got = bytes(head), "x86_64", "aarch64"
    published.write_file(path, other)
    assert published.problems() == [
        f"ID/netboot/{path}: is a boot loader of the wrong arch; expected {expected}, got {got}"
    ]


def test_what_is_no_loader(published):
    published.write_file("tftp/ipxe.efi", b"not a program")
    (problem,) = published.problems()
    assert problem.startswith("ID/netboot/tftp/ipxe.efi: is no UEFI program; ")


def test_pxelinux_without_the_rest_of_it(published):
    published.remove("tftp/ldlinux.c32")
    assert published.problems() == [
        "ID/netboot/tftp/ldlinux.c32: is not published, and pxelinux.0 does nothing without it"
    ]


def test_a_loader_that_servers_name_and_nobody_publishes(published):
    published.remove("tftp/pxelinux.0")
    problems = published.problems()
    assert [problem.partition(": ")[0] for problem in problems] == [
        "ID/netboot/conf/dhcpd.conf",
        "ID/netboot/conf/dnsmasq.conf",
        "ID/netboot/conf/kea-dhcp4.json",
    ]
    for problem in problems:
        assert problem.endswith(": names tftp/pxelinux.0, which is not published")


def test_a_tree_without_anything_is_no_tree(netboot_built, tmp_path):
    published = Published(netboot_built, tmp_path / "artifacts")
    manifest = published.finish()
    parts = tuple(part for part in manifest.artifacts if part.path != INDEX_PATH)
    manifest = replace(manifest, artifacts=parts)
    assert list(problems_of(published.generation, manifest, tmp_path / "facts.json")) == []
