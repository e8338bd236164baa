"""Each fault is put into a tree that has none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bootsmith.formats.inventory import Role
from bootsmith.formats.ipxe_script import BOOT_SCRIPT, write_boot_script
from bootsmith.formats.netboot_check import netboot_faults
from bootsmith.formats.netboot_configurations import (
    LOADERS,
    Configuration,
    ConfigurationTexts,
)
from bootsmith.formats.netboot_names import configuration_path
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.netboot_tree import NetbootTree, TreeFile
from bootsmith.formats.netboot_words import NetbootTemplate

NETWORK = Network(
    server="10.20.0.1",
    subnet="10.20.0.0/16",
    interface="eth1",
    root="/srv/boot",
    domain="boot.example",
    http_port=8080,
)
WEB = NetbootTemplate(
    name="web",
    release="alpine",
    boot_set="alpine-lts",
    flavor="lts",
    arch="x86_64",
    generation="G5",
    modloop_name="modloop-lts",
    microcode=("intel-ucode.img",),
)
TEXTS = ConfigurationTexts(
    network=NETWORK, templates={"web": WEB}, installers={"debian": ("url=@url@/x",)}
)
HERE = "generations/@generation@/netboot"
MODLOOP = TreeFile("a" * 64, 1)
FILES = {
    **{
        f"{root}/boot/alpine-lts/{name}": TreeFile(name[0] * 64, 1)
        for root in ("tftp", "http")
        for name in ("intel-ucode.img", "pxerd", "vmlinuz-lts")
    },
    "http/boot/alpine-lts/modloop-lts": MODLOOP,
    "http/boot/alpine-virt/modloop-virt": TreeFile("b" * 64, 1),
    "nfs/alpine/boot/modloop-lts": MODLOOP,
    "nfs/alpine/boot/modloop-virt": TreeFile("b" * 64, 1),
    "http/apkovl/web.apkovl.tar.gz": TreeFile("c" * 64, 1),
    "nfs/alpine/apkovl/web.apkovl.tar.gz": TreeFile("c" * 64, 1),
    "tftp/reboot.c32": TreeFile("d" * 64, 1),
    "tftp/installers/debian/kernel": TreeFile("e" * 64, 1),
    "tftp/installers/debian/initrd": TreeFile("f" * 64, 1),
    **dict.fromkeys(
        (
            "http/alpine/apks/.boot_repository",
            "nfs/alpine/apks/.boot_repository",
            "nfs/alpine/.alpine-release",
        ),
        TreeFile("0" * 64, 0),
    ),
}
CONFIGURATIONS = {
    "template-web": Configuration(template="web"),
    "template-web+nfs": Configuration(template="web", media="nfs"),
    "template-web+own": Configuration(template="web", own_apkovl=True, by_http=True),
    "disk": Configuration(template=None, is_armable=True),
}


def sound_tree():
    texts = {BOOT_SCRIPT: write_boot_script(network=NETWORK)}
    links = {}
    for loader in LOADERS:
        for name, configuration in CONFIGURATIONS.items():
            path = configuration_path(loader, name)
            texts[path] = TEXTS.text(loader, configuration, subject="x")
        texts[configuration_path(loader, "install-debian")] = TEXTS.installer_text(loader, "debian")
        texts[configuration_path(loader, "install-web")] = TEXTS.installing_template_text(
            loader, Role(template="web")
        )
        target = configuration_path(loader, "template-web").rpartition("/")[2]
        links[configuration_path(loader, "default")] = target
    return NetbootTree(links=links, files=FILES, texts=texts)


def faults(tree, **more):
    return [f"{fault.subject}: {fault.problem}" for fault in netboot_faults(tree, **more)]


def test_a_sound_tree():
    assert faults(sound_tree()) == []


def without(path):
    tree = sound_tree()
    files = {name: file for name, file in FILES.items() if name != path}
    assert len(files) < len(FILES)
    return replace(tree, files=files)


@pytest.mark.parametrize(
    "path, first, count",
    [
        (
            "tftp/boot/alpine-lts/vmlinuz-lts",
            "netboot/tftp/grub/install-web.cfg:6: names tftp/boot/alpine-lts/vmlinuz-lts, which "
            "is not there",
            12,
        ),
        (
            "tftp/boot/alpine-lts/pxerd",
            "netboot/tftp/grub/install-web.cfg:7: names tftp/boot/alpine-lts/pxerd, which is not "
            "there",
            12,
        ),
        (
            "tftp/installers/debian/initrd",
            "netboot/tftp/grub/install-debian.cfg:4: names tftp/installers/debian/initrd, which "
            "is not there",
            3,
        ),
        (
            "tftp/reboot.c32",
            "netboot/tftp/pxelinux.cfg/install-debian:14: names tftp/reboot.c32, which is not "
            "there",
            5,
        ),
        (
            "http/boot/alpine-lts/modloop-lts",
            "netboot/tftp/grub/install-web.cfg:6: modloop=http://10.20.0.1:8080/generations/"
            "@generation@/netboot/http/boot/alpine-lts/modloop-lts: http/boot/alpine-lts/"
            "modloop-lts is not there",
            12,
        ),
        (
            "nfs/alpine/boot/modloop-lts",
            "netboot/tftp/grub/template-web+nfs.cfg:6: modloop=/boot/modloop-lts: "
            "nfs/alpine/boot/modloop-lts is not there",
            3,
        ),
        (
            "http/apkovl/web.apkovl.tar.gz",
            "netboot/tftp/grub/install-web.cfg:6: apkovl=http://10.20.0.1:8080/generations/"
            "@generation@/netboot/http/apkovl/web.apkovl.tar.gz: http/apkovl/web.apkovl.tar.gz "
            "is not there",
            9,
        ),
        (
            "nfs/alpine/apkovl/web.apkovl.tar.gz",
            "netboot/tftp/grub/template-web+nfs.cfg:6: apkovl=apkovl/web.apkovl.tar.gz: "
            "nfs/alpine/apkovl/web.apkovl.tar.gz is not there",
            3,
        ),
        (
            "http/alpine/apks/.boot_repository",
            "netboot/tftp/grub/install-web.cfg:6: alpine_repo=http://10.20.0.1:8080/generations/"
            "@generation@/netboot/http/alpine/apks: http/alpine/apks/.boot_repository is not "
            "there",
            9,
        ),
        (
            "nfs/alpine/.alpine-release",
            "netboot/tftp/grub/template-web+nfs.cfg:6: alpine_dev=nfs:10.20.0.1:/srv/boot/"
            "generations/@generation@/netboot/nfs/alpine: nfs/alpine/.alpine-release is not "
            "there",
            3,
        ),
    ],
)
def test_a_missing_file(path, first, count):
    found = faults(without(path))
    assert found[0] == first
    assert len(found) == count


def test_a_link_that_leads_nowhere():
    tree = sound_tree()
    links = {**tree.links, "http/x": "../tftp/gone", "http/y": "x", "http/z": "../tftp"}
    assert faults(replace(tree, links=links)) == [
        "netboot/http/x: leads nowhere: ../tftp/gone",
        "netboot/http/y: leads nowhere: x",
    ]


def test_links_that_lead_in_a_circle():
    tree = sound_tree()
    links = {**tree.links, "http/x": "y", "http/y": "x"}
    assert faults(replace(tree, links=links)) == [
        "netboot/http/x: leads nowhere: y",
        "netboot/http/y: leads nowhere: x",
    ]


PXELINUX_WEB = "tftp/pxelinux.cfg/template-web"
IPXE_NFS = "tftp/ipxe/template-web+nfs.ipxe"


def edited(path, old, new):
    tree = sound_tree()
    assert old in tree.texts[path]
    return replace(tree, texts={**tree.texts, path: tree.texts[path].replace(old, new)})


TREE = f"http://10.20.0.1:8080/{HERE}"


@pytest.mark.parametrize(
    "path, old, new, line, problem",
    [
        (
            PXELINUX_WEB,
            "/boot/alpine-lts/modloop-lts",
            "/boot/alpine-virt/modloop-virt",
            11,
            f"modloop={TREE}/http/boot/alpine-virt/modloop-virt: is not the modloop of "
            "tftp/boot/alpine-lts/vmlinuz-lts",
        ),
        (
            IPXE_NFS,
            "modloop=/boot/modloop-lts",
            "modloop=/boot/modloop-virt",
            7,
            "modloop=/boot/modloop-virt: is not the modloop of tftp/boot/alpine-lts/vmlinuz-lts",
        ),
        (
            PXELINUX_WEB,
            f"modloop={TREE}/http/boot/alpine-lts/modloop-lts",
            "modloop=/boot/modloop-lts",
            11,
            "modloop=/boot/modloop-lts: there is no medium that it could be on",
        ),
        (PXELINUX_WEB, "ip=dhcp", "", 11, "no ip= that brings up the network"),
        (IPXE_NFS, "ip=dhcp", "ip=off", 7, "no ip= that brings up the network"),
        (
            PXELINUX_WEB,
            f"alpine_repo={TREE}/http/alpine/apks",
            "",
            11,
            "neither alpine_repo= nor alpine_dev=: there are no packages",
        ),
        (
            PXELINUX_WEB,
            "alpine_repo=http://10.20.0.1:8080",
            "alpine_repo=http://10.20.0.9:8080",
            11,
            f"alpine_repo=http://10.20.0.9:8080/{HERE}/http/alpine/apks: names another server "
            f"than the others do: http://10.20.0.9:8080/{HERE}/http/alpine/apks",
        ),
        (
            IPXE_NFS,
            "alpine_dev=nfs:10.20.0.1:",
            "alpine_dev=nfs:10.20.0.9:",
            7,
            f"alpine_dev=nfs:10.20.0.9:/srv/boot/{HERE}/nfs/alpine: names another server than "
            "the others do",
        ),
        (
            IPXE_NFS,
            "alpine_dev=nfs:",
            "alpine_dev=nsf:",
            7,
            f"alpine_dev=nsf:10.20.0.1:/srv/boot/{HERE}/nfs/alpine: not an NFS medium of this "
            "generation",
        ),
        (
            PXELINUX_WEB,
            "LINUX ::generations/@generation@/",
            "LINUX ::generations/2026-01-01.1/",
            9,
            "names a generation that is not its own: "
            "::generations/2026-01-01.1/netboot/tftp/boot/alpine-lts/vmlinuz-lts",
        ),
        (
            "tftp/grub/template-web.cfg",
            "initrd /generations/",
            "initrd (http,10.20.0.9)/generations/",
            7,
            f"names another server than the others do: (http,10.20.0.9)/{HERE}/tftp/boot/"
            "alpine-lts/intel-ucode.img",
        ),
    ],
)
def test_a_wrong_word(path, old, new, line, problem):
    assert f"netboot/{path}:{line}: {problem}" in faults(edited(path, old, new))


@pytest.mark.parametrize(
    "word",
    [
        "alpine_repo=http://dl-cdn.alpinelinux.org/alpine/v3.24/main",
        "modloop=none",
        "modloop=https://example.org/modloop-lts",
        "apkovl=http://example.org/x.apkovl.tar.gz",
        "ip=10.20.0.9::10.20.0.1:255.255.0.0",
    ],
)
def test_what_others_serve_is_none_of_our_business(word):
    assert faults(edited(PXELINUX_WEB, "APPEND ", f"APPEND quiet {word} ")) == []
    tree = edited(PXELINUX_WEB, "\n\tSYSAPPEND", f" {word}\n\tSYSAPPEND")
    assert faults(tree) == []


def test_an_archive_of_the_machine_that_no_machine_has():
    tree = sound_tree()
    files = {path: file for path, file in FILES.items() if "http/apkovl" not in path}
    assert any(
        "apkovl={MAC}" in problem or "{MAC}.apkovl.tar.gz: http/apkovl is not there" in problem
        for problem in faults(replace(tree, files=files))
    )


def test_configurations_without_a_generation_are_read():
    tree = sound_tree()
    path = "tftp/pxelinux.cfg/01-52-54-01-02-00-07"
    tree = replace(tree, files={**FILES, path: TreeFile("9" * 64, 1)})
    text = b"INCLUDE pxelinux.cfg/template-gone\nINCLUDE ::armed/01-52-54-01-02-00-07\n"
    assert faults(tree) == []
    assert faults(tree, read={path: text}.__getitem__) == [
        f"netboot/{path}:1: names tftp/pxelinux.cfg/template-gone, which is not there"
    ]
