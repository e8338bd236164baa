from __future__ import annotations

from dataclasses import replace

import pytest

from bootsmith.formats.netboot_network import Network
from bootsmith.formats.netboot_words import NetbootTemplate, kernel_words, obstacle

NETWORK = Network(
    server="10.20.0.1",
    subnet="10.20.0.0/16",
    interface="eth1",
    root="/srv/boot",
    domain="boot.example",
)
TEMPLATE = NetbootTemplate(
    name="web",
    release="alpine",
    boot_set="alpine-lts",
    flavor="lts",
    arch="x86_64",
    generation="G5",
    modloop_name="modloop-lts",
)
TREE = "http://10.20.0.1/generations/@generation@/netboot/http"
EXPORT = "/srv/boot/generations/@generation@/netboot/nfs/alpine"


def words(template=TEMPLATE, *, media="http", own=False, options=(), network=NETWORK):
    return " ".join(
        kernel_words(template, network=network, media=media, own_apkovl=own, options=options)
    )


def test_http():
    assert words() == (
        f"modules=loop,squashfs quiet ip=dhcp alpine_repo={TREE}/alpine/apks"
        f" modloop={TREE}/boot/alpine-lts/modloop-lts apkovl={TREE}/apkovl/web.apkovl.tar.gz"
        " console=tty0 console=ttyS0,115200"
    )


def test_http_on_another_port_for_a_host_with_its_own_archive():
    tree = TREE.replace("10.20.0.1", "10.20.0.1:8080")
    network = replace(NETWORK, http_port=8080)
    assert words(own=True, network=network) == (
        f"modules=loop,squashfs quiet ip=dhcp alpine_repo={tree}/alpine/apks"
        f" modloop={tree}/boot/alpine-lts/modloop-lts apkovl={tree}/apkovl/{{MAC}}.apkovl.tar.gz"
        " console=tty0 console=ttyS0,115200"
    )


@pytest.mark.parametrize("generation", ["G1", "G2", "G5"])
def test_nfs(generation):
    template = replace(TEMPLATE, generation=generation, serial=False)
    assert words(template, media="nfs") == (
        f"modules=loop,squashfs quiet ip=dhcp alpine_dev=nfs:10.20.0.1:{EXPORT}"
        " modloop=/boot/modloop-lts apkovl=apkovl/web.apkovl.tar.gz"
    )


def test_nfs_for_a_host_with_its_own_archive():
    assert words(replace(TEMPLATE, serial=False), media="nfs", own=True) == (
        f"modules=loop,squashfs quiet ip=dhcp alpine_dev=nfs:10.20.0.1:{EXPORT}"
        f" modloop=/boot/modloop-lts apkovl={TREE}/apkovl/{{MAC}}.apkovl.tar.gz"
    )


def test_a_template_and_a_host_have_the_last_word():
    template = replace(TEMPLATE, options=("modloop_verify=no", "usbdelay=5", "ip=off"))
    text = words(template, options=("ip=10.0.0.9::10.0.0.1:255.0.0.0", "console=ttyS1"))
    assert "console=tty0" not in text
    assert text.endswith(
        "/apkovl/web.apkovl.tar.gz"
        " modloop_verify=no usbdelay=5 ip=10.0.0.9::10.0.0.1:255.0.0.0 console=ttyS1"
    )


def test_what_can_boot():
    assert obstacle(TEMPLATE, media="http", subject="x") is None
    assert obstacle(replace(TEMPLATE, generation="G1"), media="nfs", subject="x") is None
    assert obstacle(replace(TEMPLATE, arch="x86"), media="nfs", subject="x") is None


def test_alpine_that_cannot_boot_from_http():
    error = obstacle(replace(TEMPLATE, generation="G1"), media="http", subject="host web-1")
    assert str(error) == (
        "host web-1: release alpine cannot boot from HTTP: its modloop service takes no URL; "
        'expected media = "nfs" for Alpine 3.1 and 3.2, got http\n'
        '  next: write media = "nfs" in [netboot] of template web'
    )


def test_an_architecture_that_has_no_loader_here():
    error = obstacle(replace(TEMPLATE, arch="aarch64"), media="nfs", subject="host web-1")
    assert str(error) == (
        "host web-1: no network boot loader for release alpine; expected a release for x86_64 or "
        "x86, got aarch64\n"
        "  next: name another template in [netboot] and in recipes/hosts.toml"
    )
