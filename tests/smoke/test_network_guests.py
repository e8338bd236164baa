"""Machines for rows that boot from the network: which are taken, and what they must say."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace

import pytest

from bootsmith.errors import SmokeError
from bootsmith.formats.inventory import Host, Inventory, Role, Rule
from bootsmith.formats.manifest import Artifact, Manifest
from bootsmith.formats.netboot_network import Network
from bootsmith.site.network_guest import NetworkGuest
from bootsmith.site.scenarios import Scenario
from bootsmith.smoke.network_guests import (
    check_addresses,
    choose_guests,
    describe_guest,
    expected_words,
)
from bootsmith.smoke.report import Report, unexpected_words

NETWORK = Network(
    server="10.20.0.1",
    subnet="10.20.0.0/16",
    interface="boot0",
    root="/srv/boot",
    domain="boot.example",
    pool=("10.20.250.1", "10.20.250.254"),
)
HOSTS = (
    Host(name="a", mac="52:54:01:01:00:01", template="plain", address="10.20.1.1", media="nfs"),
    Host(name="b", mac="52:54:01:01:00:02", template="plain", loader="lpxelinux"),
    Host(name="c", mac="52:54:01:02:00:01", template="web", loader="ipxe", address="10.20.1.3"),
    Host(name="d", mac="52:54:01:02:00:02", template="web", uefi_loader="grub"),
    Host(name="e", mac="52:54:01:02:00:03", template="web", boot="disk", loader="lpxelinux"),
    Host(name="f", mac="52:54:01:02:00:04", template="web", overlays=("mirror",)),
    Host(name="g", mac="52:54:01:03:00:01", template="gone", media="nfs"),
)
RULES = (
    Rule(prefix="02", template="plain", loader="ipxe"),
    Rule(prefix="52:54:01", template="plain", loader="lpxelinux"),
    Rule(prefix="52:54:01:02", template="web"),
)
INVENTORY = Inventory(unknown=Role(template="plain"), rules=RULES, hosts=HOSTS)


def part(kind, name, path, **details):
    return Artifact(
        path=f"{kind}/{name}/{path}",
        kind=kind,
        name=name,
        sha256="0" * 64,
        size_bytes=1,
        details=details,
    )


def boot_set(flavor):
    details = {"set": f"r-{flavor}", "flavor": flavor, "release": "r"}
    return [
        part("kernel", f"r-{flavor}", f"vmlinuz-{flavor}", **details, kernel_release=f"6-{flavor}"),
        part("modloop", f"r-{flavor}", f"modloop-{flavor}", **details),
    ]


def overlay(template, flavor):
    details = {"set": f"r-{flavor}", "flavor": flavor, "release": "r"}
    return part("apkovl", template, f"{template}.apkovl.tar.gz", **details)


MANIFEST = Manifest(
    id="2026-11-21.1",
    site="tests",
    artifacts=(
        *boot_set("lts"),
        *boot_set("virt"),
        overlay("plain", "lts"),
        overlay("web", "virt"),
    ),
    releases={},
    steps={},
)


def scenario(*guests):
    return Scenario(name="row", summary="", medium="network", guests=guests)


def choose(*guests, template=None):
    return choose_guests(scenario(*guests), INVENTORY, MANIFEST, template=template)


@pytest.mark.parametrize(
    "guest,mac",
    [
        (NetworkGuest(), "52:54:01:02:00:01"),  # a kernel for virtual machines comes first
        (NetworkGuest(loader="pxelinux", media="nfs"), "52:54:01:01:00:01"),
        (NetworkGuest(loader="lpxelinux"), "52:54:01:01:00:02"),
        (NetworkGuest(loader="ipxe"), "52:54:01:02:00:01"),
        (NetworkGuest(loader="grub", firmware="uefi"), "52:54:01:02:00:02"),
        (NetworkGuest(has_own_overlay=True), "52:54:01:02:00:04"),
        (NetworkGuest(has_own_overlay=False, loader="pxelinux"), "52:54:01:02:00:02"),
        # A rule's own: no host's, and of no longer prefix.
        (NetworkGuest(known="prefix"), "52:54:01:02:fe:01"),
        (NetworkGuest(known="prefix", loader="lpxelinux"), "52:54:01:fe:fe:01"),
        (NetworkGuest(known="prefix", loader="ipxe"), "02:fe:fe:fe:fe:01"),
        # Nobody's: not even of the rule for 02.
        (NetworkGuest(known="unknown"), "06:fe:fe:fe:fe:01"),
    ],
)
def test_the_machine_that_fits(guest, mac):
    (chosen,) = choose(guest)
    assert chosen.mac == mac


def test_each_guest_is_another_machine():
    first, second = choose(NetworkGuest(loader="ipxe", firmware="uefi"), NetworkGuest())
    assert (first.mac, second.mac) == ("52:54:01:02:00:01", "52:54:01:02:00:02")
    first, second = choose(NetworkGuest(), NetworkGuest(has_other_template=True))
    assert (first.role.template, second.role.template) == ("web", "plain")


def test_a_taken_address_of_a_prefix_is_passed_over():
    hosts = (*HOSTS, replace(HOSTS[0], name="h", mac="52:54:01:02:fe:01"))
    inventory = replace(INVENTORY, hosts=hosts)
    (chosen,) = choose_guests(scenario(NetworkGuest(known="prefix")), inventory, MANIFEST)
    assert chosen.mac == "52:54:01:02:fe:02"


def test_a_template_asked_for_by_name():
    first, second = choose(NetworkGuest(), NetworkGuest(), template="plain")
    assert (first.role.template, second.role.template) == ("plain", "web")


@pytest.mark.parametrize(
    "guests,template,expected",
    [
        ([NetworkGuest(loader="grub", media="nfs", firmware="uefi")], None, 'a host with uefi_'
         'loader = "grub" and media = "nfs"'),
        ([NetworkGuest(known="unknown", loader="ipxe")], None, 'unknown machines with loader = '
         '"ipxe"'),
        ([NetworkGuest(known="prefix", has_own_overlay=True)], None, "a MAC prefix with overlays "
         "or values of its own"),
        ([NetworkGuest()], "none", 'a host with template = "none"'),
        ([NetworkGuest(loader="ipxe"), NetworkGuest(loader="ipxe", has_other_template=True)], None,
         'a host with loader = "ipxe" and a template other than "web"'),
    ],
)  # fmt: skip
def test_where_none_fits_it_is_said(guests, template, expected):
    with pytest.raises(SmokeError) as caught:
        choose(*guests, template=template)
    assert str(caught.value) == (
        f"smoke row: generation 2026-11-21.1 knows no machine for it; expected {expected}\n"
        "  next: say so of one in recipes/hosts.toml, or leave this scenario out"
    )


def test_without_a_pool_only_hosts_with_an_address_can_be_booted():
    unpooled = replace(NETWORK, pool=None)
    row = scenario(NetworkGuest(loader="ipxe"))
    check_addresses(row, choose(*row.guests), MANIFEST, unpooled)
    for known, words in {
        "prefix": "a machine whose MAC begins 52:54:01:02",
        "unknown": "the unknown machine 01-06-fe-fe-fe-fe-01",
    }.items():
        row = scenario(NetworkGuest(known=known))
        chosen = choose(*row.guests)
        assert describe_guest(chosen[0]) == words
        with pytest.raises(SmokeError) as caught:
            check_addresses(row, chosen, MANIFEST, unpooled)
        assert str(caught.value) == (
            f"smoke row: generation 2026-11-21.1 has no address for {words}; "
            "expected a pool in [netboot], or an address of its own\n"
            "  next: give [netboot] a pool, or leave this scenario out"
        )


# -- what they must say -------------------------------------------------------------------------

HERE = "generations/2026-11-21.1/netboot"
KERNEL = f"{HERE}/tftp/boot/r-virt/vmlinuz-virt"
DOWNLOADED = "/usr/lib"
BY_HTTP = {
    "modloop": f"{DOWNLOADED}/modloop-virt",
    "modloop_fs": "tmpfs",
    "medium": f"http://10.20.0.1/{HERE}/http/r/apks",
}
WEB = {
    "template": "web",
    "hostname": "web",
    "overlay_sha": "w3b",
    "kernel": "6-virt",
    **BY_HTTP,
}


@pytest.fixture
def generation(tmp_path):
    """A generation with nothing but overlays."""
    for path, hostname, digest, more in (
        ("apkovl/plain/plain.apkovl.tar.gz", "plain", "p1", ("etc/udhcpc/post-bound/hostname",)),
        ("apkovl/web/web.apkovl.tar.gz", "web", "w3b", ()),
        ("netboot/http/apkovl/52:54:01:02:00:04.apkovl.tar.gz", "f", "0wn", ()),
    ):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        texts = {"etc/hostname": f"{hostname}\n", "etc/bootsmith/overlay": f"{digest}\n"}
        with tarfile.open(target, "w:gz") as archive:
            for name in (*texts, *more):
                info = tarfile.TarInfo(name)
                info.size = len(texts.get(name, ""))
                archive.addfile(info, io.BytesIO(texts.get(name, "").encode()))
    return tmp_path


GUESTS = [
    (
        NetworkGuest(loader="ipxe"),
        {**WEB, "mac": "52:54:01:02:00:01", "address": "10.20.1.3", "boot_image": "none"},
    ),
    (
        NetworkGuest(loader="grub", firmware="uefi"),
        {**WEB, "mac": "52:54:01:02:00:02", "address": "10.20.250.9", "boot_image": f"/{KERNEL}"},
    ),
    (
        NetworkGuest(has_own_overlay=True),
        {**WEB, "hostname": "f", "overlay_sha": "0wn", "mac": "52:54:01:02:00:04",
         "address": "10.20.250.254", "boot_image": f"::{KERNEL}"},
    ),
    (
        # Its overlay lets DHCP name it.
        NetworkGuest(loader="pxelinux", media="nfs"),
        {"template": "plain", "hostname": "a", "overlay_sha": "p1", "kernel": "6-lts",
         "mac": "52:54:01:01:00:01", "address": "10.20.1.1", "boot_image": f"::{KERNEL}",
         "modloop": "/media/alpine/boot/modloop-lts", "modloop_fs": "nfs4",
         "medium": f"nfs:10.20.0.1:/srv/boot/{HERE}/nfs/r:vers=4.1"},
    ),
    (
        NetworkGuest(loader="lpxelinux"),
        {"template": "plain", "hostname": "b", "overlay_sha": "p1", "kernel": "6-lts",
         "mac": "52:54:01:01:00:02", "address": "10.20.250.1",
         "boot_image": f"http://10.20.0.1/{KERNEL}", **BY_HTTP, "modloop": "/lib/modloop-lts"},
    ),
    (
        NetworkGuest(known="unknown"),
        {"template": "plain", "hostname": "plain", "overlay_sha": "p1", "kernel": "6-lts",
         "mac": "06:fe:fe:fe:fe:01", "address": "10.20.250.1", "boot_image": f"::{KERNEL}",
         **BY_HTTP, "modloop": "/lib/modloop-lts"},
    ),
]  # fmt: skip


@pytest.mark.parametrize("guest,words", GUESTS)
def test_a_machine_that_says_all_this_has_booted_as_it_should(generation, guest, words):
    (chosen,) = choose(guest)
    expected = expected_words(chosen, MANIFEST, generation=generation, network=NETWORK)
    assert unexpected_words(Report(words=words), expected) == ()
    assert set(expected) == set(words)
    for name in words:
        (problem,) = unexpected_words(Report(words={**words, name: "other"}), expected)
        assert problem == f"the guest reports {name} other, expected {expected[name].words}"
        (problem,) = unexpected_words(
            Report(words={key: words[key] for key in words if key != name}), expected
        )
        assert problem.startswith(f"the guest reports {name} nothing, expected ")


def test_another_generations_kernel_medium_or_address_is_not_taken(generation):
    guest, words = GUESTS[2]
    (chosen,) = choose(guest)
    expected = expected_words(chosen, MANIFEST, generation=generation, network=NETWORK)
    older = {
        name: words[name].replace("2026-11-21.1", "2026-11-20.1")
        for name in ("boot_image", "medium")
    }
    assert unexpected_words(
        Report(words={**words, **older, "address": "10.20.249.255"}), expected
    ) == (
        f"the guest reports boot_image {older['boot_image']}, expected ::{HERE}/...",
        "the guest reports address 10.20.249.255, expected one of 10.20.250.1 to 10.20.250.254",
        f"the guest reports medium {older['medium']}, expected {words['medium']}",
    )


def test_a_generation_that_lacks_a_part(generation):
    (chosen,) = choose(NetworkGuest(loader="ipxe"))
    poorer = replace(
        MANIFEST, artifacts=tuple(one for one in MANIFEST.artifacts if one.name != "r-virt")
    )
    with pytest.raises(SmokeError) as caught:
        expected_words(chosen, poorer, generation=generation, network=NETWORK)
    assert str(caught.value) == (
        "generation 2026-11-21.1: has no kernel of r-virt\n"
        "  next: build a whole generation: doit build"
    )


def test_an_overlay_that_says_nothing(generation):
    (chosen,) = choose(NetworkGuest(loader="ipxe"))
    path = generation / "apkovl/web/web.apkovl.tar.gz"
    path.write_bytes(b"no archive")
    with pytest.raises(SmokeError, match="does not say whose it is"):
        expected_words(chosen, MANIFEST, generation=generation, network=NETWORK)
