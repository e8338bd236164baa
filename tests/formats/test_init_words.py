"""Kernel words held against inits of all ages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bootsmith.formats.init_words import wrong_words
from bootsmith.formats.pxerd_facts import PxerdFacts

# The lists of options in Alpine's init, as far as they differ in what is asked here.
OLD = "alpine_dev alpine_repo alpine_start apkovl blacklist ip modules ovl_dev quiet root".split()
MIDDLE = [*OLD, "nbd", "ssh_key", "BOOTIF", "overlaytmpfs", "debug_init", "init_args", "usbdelay"]
NEW = [name for name in MIDDLE if name not in ("alpine_dev", "alpine_start", "ovl_dev")]
INITS = {
    "2.7.1": ((2, 7, 1), OLD, True),
    "3.0.1": ((3, 0, 1), OLD, False),
    "3.9.0": ((3, 9), MIDDLE, False),
    "3.11.0": ((3, 11), NEW, False),
    "3.14.0": ((3, 14), [*NEW, "tinycloud", "ds"], False),
}
REPO = "http://10.0.0.1/apks"


def init(version, *, patched=False, files=()):
    numbers, options, mounts_nfs = INITS[version]
    return PxerdFacts(
        kernel_releases=("6.6",),
        built_for=None,
        machines={},
        init_problem=None,
        init_version=version,
        init_numbers=numbers,
        options=tuple(sorted(options)),
        mounts_nfs=mounts_nfs or patched,
        modules=(),
        broken={},
        cards=(),
        files=tuple(files),
    )


def told(word, version, **known):
    return [
        (wrong.problem, wrong.expected) for wrong in wrong_words([word], init(version, **known))
    ]


@pytest.mark.parametrize(
    "word,version",
    [
        ("alpine_dev=nfs:10.0.0.1:/srv/x", "2.7.1"),
        ("alpine_dev=sda1:vfat", "2.7.1"),
        ("apkovl=sda1:ext4:/x.apkovl.tar.gz", "2.7.1"),
        ("apkovl=x.apkovl.tar.gz", "2.7.1"),
        ("apkovl=http://10.0.0.1:8080/{MAC}.apkovl.tar.gz", "3.11.0"),
        ("apkovl=/dev/sda1:vfat:x.apkovl.tar.gz", "3.14.0"),
        ("apkovl=/media/sda1/x.apkovl.tar.gz", "3.9.0"),
        (f"alpine_repo={REPO},{REPO}2", "3.11.0"),
        ("alpine_repo=auto", "2.7.1"),
        ("modloop=http://10.0.0.1/modloop", "3.0.1"),
        ("modloop=/boot/modloop-lts", "2.7.1"),
        ("modloop_verify=no", "3.9.0"),
        ("ssh_key=http://10.0.0.1/key", "3.9.0"),
        ("ip=dhcp", "2.7.1"),
        ("ip=10.0.0.2:10.0.0.1:10.0.0.1:255.255.0.0", "2.7.1"),
        ("ip=::::::dhcp", "3.9.0"),
        ("ip=10.0.0.2::10.0.0.1:255.0.0.0:h:eth0:none:1.1.1.1:8.8.8.8", "3.9.0"),
        # Words of the kernel and of services, however much they look like init's.
        ("console=ttyS0,115200", "3.14.0"),
        ("initrd=x", "3.14.0"),
        ("rdinit=/bin/sh", "3.14.0"),
        ("resume=/dev/sda2", "3.14.0"),
        ("noresume", "3.14.0"),
        ("panic=10", "2.7.1"),
        ("module_blacklist=x", "3.14.0"),
        ("modprobe.blacklist=x", "3.14.0"),
        ("nomodeset", "3.14.0"),
        ("noquiet", "3.14.0"),
        ("mitigations=off", "3.14.0"),
        ("rootdelay=9", "3.14.0"),
        ("BOOTIF=01-52-54-00-00-00-00", "2.7.1"),
    ],
)
def test_words_that_an_init_takes(word, version):
    assert told(word, version) == []


@pytest.mark.parametrize(
    "word,version,problem,expected",
    [
        (
            "alpine_dev=nfs:10.0.0.1:/srv/x",
            "3.0.1",
            "cannot be: init 3.0.1 mounts no NFS medium, and is not patched to",
            None,
        ),
        ("alpine_dev=sda1:vfat", "3.9.0", "is ignored by init 3.9.0", None),
        ("alpine_dev=sda1:vfat", "3.14.0", "is ignored by init 3.14.0", None),
        ("ovl_dev=sda1", "3.11.0", "means nothing to init 3.11.0", None),
        ("ssh_key=x", "2.7.1", "means nothing to init 2.7.1", None),
        ("tinycloud", "3.11.0", "means nothing to init 3.11.0", None),
        (
            "apkovl=/dev/sda1:vfat:x",
            "2.7.1",
            "is no form of apkovl= that init 2.7.1 takes",
            "DEVICE:/path without /dev/, a URL, or a path",
        ),
        (
            "apkovl=sda1:/x",
            "3.9.0",
            "is no form of apkovl= that init 3.9.0 takes",
            "a URL, or a path in the initramfs such as /media/sda1/web.apkovl.tar.gz",
        ),
        (
            "apkovl=sda1:/x",
            "3.14.0",
            "is no form of apkovl= that init 3.14.0 takes",
            "/dev/DEVICE:/path, a URL, or a path",
        ),
        (
            f"alpine_repo={REPO},{REPO}2",
            "3.9.0",
            "is taken for one name by init 3.9.0",
            "one repository",
        ),
        (
            "modloop=http://10.0.0.1/modloop",
            "2.7.1",
            "is a URL, which the modloop service of releases with init 2.7.1 does not take",
            "a path on the boot medium",
        ),
        ("modloop_verify", "3.9.0", "does nothing without a value", "modloop_verify=no"),
        (
            "ip=dchp",
            "3.14.0",
            "is no form of ip= that init takes",
            "ip=dhcp, or client:server:gateway:netmask:host:device:...",
        ),
        (
            "apkovl=https://10.0.0.1/x",
            "3.14.0",
            "cannot be loaded: the pxerd has no usr/bin/ssl_client",
            None,
        ),
        (
            "alpine_repo=https://10.0.0.1/x",
            "3.14.0",
            "cannot be loaded: the pxerd has no usr/bin/ssl_client",
            None,
        ),
    ],
)
def test_words_that_an_init_does_not_take(word, version, problem, expected):
    assert told(word, version) == [(problem, expected)]


@pytest.mark.parametrize(
    "word,meant",
    [
        ("apkvol=http://x", "apkovl="),
        ("modlop=/x", "modloop="),
        ("alpine-repo=http://x", "alpine_repo="),
        ("modloop-verify=no", "modloop_verify="),
        ("usb_delay=5", "usbdelay="),
        ("debuginit", "debug_init"),
        ("module=loop", "modules="),
    ],
)
def test_a_slip_is_known_by_its_likeness(word, meant):
    assert told(word, "3.14.0") == [("is known to neither init nor the modloop service", meant)]


@pytest.mark.parametrize(
    "word",
    [
        "alpine_dev=nfs:10.0.0.1",
        "alpine_dev=nfs::/x",
        "alpine_dev=nfs:h:x",
        "alpine_dev=nfs:h:/x:v:w",
    ],
)
def test_an_nfs_medium_has_a_form(word):
    assert told(word, "3.14.0", patched=True) == [
        ("names no NFS medium", "alpine_dev=nfs:SERVER:/EXPORT[:OPTIONS]")
    ]
    assert told("alpine_dev=nfs:h:/x:vers=4.1", "3.14.0", patched=True) == []


def test_https_needs_its_client():
    assert told("apkovl=https://x/y", "3.14.0", files=["usr/bin/ssl_client"]) == []


def test_of_an_init_without_a_version_little_is_asked():
    own = replace(init("3.14.0"), init_version=None, init_numbers=(), options=())
    words = ["apkovl=a:b:c", "alpine_repo=a,b", "alpine_dev=sda1", "modloop=http://x", "apkvol=x"]
    assert list(wrong_words(words, own)) == []
