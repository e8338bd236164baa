"""What a pxerd lacks for what configurations ask of it, each by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bootsmith.formats.manifest import Artifact
from bootsmith.formats.modloop import ModloopFacts
from bootsmith.formats.named_boots import NamedBoot
from bootsmith.formats.pxerd_facts import PxerdFacts
from bootsmith.generations.parts_check import BootSet, Parts
from bootsmith.generations.pxerd_abilities import Asked, missing_abilities

SCRIPT = "usr/share/udhcpc/default.script"
MODULES = ("af_packet", "loop", "nfs", "nfsv3", "nfsv4", "squashfs", "virtio_net")
ABLE = PxerdFacts(
    kernel_releases=("6.6.7",),
    built_for=None,
    machines={},
    init_problem=None,
    init_version=None,
    init_numbers=(),
    options=(),
    mounts_nfs=True,
    modules=MODULES,
    broken={},
    cards=("virtio_net",),
    files=(SCRIPT,),
)
WHOLE = ModloopFacts(kernel_release="6.6.7", machine=None, built_for=None, modules=MODULES)
MEDIUM = "alpine_dev=nfs:10.0.0.1:/srv/x"


def without(*names, broken=None):
    left = tuple(name for name in MODULES if name not in names)
    return replace(ABLE, modules=left, broken=broken or {})


def missing(pxerd, *options, modloop=WHOLE):
    part = Artifact(path="pxerd/s/pxerd-f", kind="pxerd", name="s", sha256="0", size_bytes=1)
    boot_set = BootSet(
        name="s", release="tiny", arch=None, parts={"pxerd": part}, pxerd=pxerd, modloop=modloop
    )
    asked = Asked()
    asked.note("netboot/tftp/x", NamedBoot(kernel="k", options=options, line=1))
    parts = Parts(generation=Path("ID"), boot_sets={"s": boot_set}, problems=[])
    return [
        problem.message.removeprefix("ID/pxerd/s/pxerd-f: has no ")
        for problem in missing_abilities(parts, boot_set, asked)
    ]


@pytest.mark.parametrize(
    "options", [(), ("ip=dhcp",), (MEDIUM,), (f"{MEDIUM}:vers=4.1",), (f"{MEDIUM}:v4,ro",)]
)
def test_one_that_lacks_nothing(options):
    assert missing(ABLE, *options) == []


@pytest.mark.parametrize(
    "pxerd,options,told",
    [
        (
            replace(ABLE, cards=(), broken={"virtio_net": "kernel/drivers/virtio/virtio.ko"}),
            (),
            "NIC driver that could be loaded; netboot/tftp/x boots it; expected what the feature "
            "network brings, got virtio_net.ko without kernel/drivers/virtio/virtio.ko",
        ),
        (
            without("squashfs"),
            (),
            "squashfs.ko, and the modloop is a squashfs image in a file; netboot/tftp/x boots it; "
            "expected what the feature squashfs brings, got none",
        ),
        (
            without("loop", broken={"loop": "its line in modules.dep"}),
            (),
            "loop.ko, and the modloop is a squashfs image in a file; netboot/tftp/x boots it; "
            "expected what the feature squashfs brings, got loop.ko without its line in "
            "modules.dep",
        ),
        (
            without("af_packet"),
            ("ip=dhcp",),
            "af_packet.ko, without which udhcpc gets no address; netboot/tftp/x boots it; "
            "expected what the feature dhcp brings, got none",
        ),
        (
            replace(ABLE, files=()),
            (),
            f"{SCRIPT}, without which init asks for no address; netboot/tftp/x boots it; "
            "expected what the feature dhcp brings, got none",
        ),
        (
            without("nfs"),
            (MEDIUM,),
            "nfs.ko, and the medium is on NFS; netboot/tftp/x boots it; "
            "expected what the feature nfs brings, got none",
        ),
        (
            without("nfsv3"),
            (MEDIUM,),
            "nfsv3.ko, and the medium is on NFS; netboot/tftp/x boots it; "
            "expected what the feature nfs brings, got none",
        ),
        (
            without("nfsv4"),
            (f"{MEDIUM}:vers=4.1",),
            "nfsv4.ko, and the medium is on NFS; netboot/tftp/x boots it; "
            "expected what the feature nfs brings, got none",
        ),
    ],
)
def test_what_one_lacks_is_named(pxerd, options, told):
    assert missing(pxerd, *options) == [told]


def test_only_what_is_asked_for_is_missed():
    poor = replace(without("af_packet", "nfs", "nfsv3", "nfsv4"), files=())
    assert missing(poor, "ip=10.0.0.2::10.0.0.1:255.0.0.0") == []
    assert missing(without("nfsv4"), MEDIUM) == []
    assert missing(without("nfsv3"), f"{MEDIUM}:nfsvers=4") == []


def test_a_kernel_may_have_version_3_in_nfs_ko():
    old = replace(WHOLE, modules=("nfs",))
    assert missing(without("nfsv3"), MEDIUM, modloop=old) == []


def test_a_module_that_the_kernel_never_had_is_said_so():
    poor = replace(WHOLE, modules=("loop",))
    (told,) = missing(without("nfs"), MEDIUM, modloop=poor)
    assert told.endswith("got none, and the modloop has none either")
