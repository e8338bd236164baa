"""`doit why`: chains that are in the report, and words for what is not in the pxerd."""

from __future__ import annotations

import json

import pytest
from kernel_samples import KERNEL
from pxerd_samples import CERTIFICATES, LIBRARIES, SCRIPT, TOOL, release_with

from bootsmith.builders.pxerd_why import explain_pxerd
from bootsmith.errors import BuildError, FormatError, RecipeError


@pytest.fixture
def built(site):
    release_with(
        site,
        ("busybox", (), SCRIPT),
        ("tool", ("cmd:tool=1",), TOOL),
        ("bundle", (), *CERTIFICATES),
        ("libc", ("so:libc.so.6=6",), *LIBRARIES),
    )
    site.features = ("network", "squashfs", "nfs", "tool")
    site.build()
    return site


def asked(site, *words):
    lines = []
    values = {
        "pxerd": site.output,
        "report": site.root / "report.json",
        "modloop": site.root / "modloop",
        "iso": site.root / "iso",
        "facts": site.root / "facts.json",
        "feature_directories": (site.root / "features.d",),
        "cache": site.root / "cache",
    }
    explain_pxerd(pxerds={"lab-virt": values}, operands=words, say=lines.append)
    return lines


VIRTIO_NET = "  feature network, network.modules:1: kernel/drivers/net/virtio_net.ko*"
ACME = "  acme_100: feature network, network.modules:2: kernel/drivers/net/ethernet"
ANSWERS = {
    "virtio-net": ["virtio_net: kernel/drivers/net/virtio_net.ko, 20.8 kB", VIRTIO_NET],
    "kernel/drivers/virtio/virtio.ko": [
        "virtio: kernel/drivers/virtio/virtio.ko, 5.6 kB",
        "  dependency of virtio_net",
        VIRTIO_NET.replace("  ", "  virtio_net: ", 1),
    ],
    "crc32c_intel": [
        "crc32c_intel: kernel/crypto/crc32c-intel.ko, 672 B",
        "  softdep of ext4",
        "  ext4: in the release's own initramfs",
    ],
    "loop": [
        "loop: kernel/drivers/block/loop.ko, 9.6 kB",
        "  in the release's own initramfs",
    ],
    "acme/fw-1.bin": [
        "acme/fw-1.bin.xz: firmware, 6 B",
        "  end of the link acme/fw.bin.xz",
        "  acme/fw.bin.xz: firmware named by acme_100",
        ACME,
    ],
    "absent.bin": [
        "absent.bin: firmware that a module here names, and the modloop lacks",
        "  firmware named by virtio_net",
        VIRTIO_NET.replace("  ", "  virtio_net: ", 1),
    ],
    "libc-2.so": [
        "usr/lib/x86_64-linux-gnu/libc-2.so: 9 B, of package libc",
        "  needed by usr/lib/x86_64-linux-gnu/libc.so.6",
        "  usr/lib/x86_64-linux-gnu/libc.so.6: needed by usr/sbin/tool",
        "  usr/sbin/tool: feature tool, tool.files:1: /sbin/tool",
    ],
    "bundle": [
        "etc/cert.pem: 13 B, of package bundle",
        "  feature tool, tool.files:2: /etc/cert.pem",
        "etc/certs/all.crt: 12 B, of package bundle",
        "  needed by etc/cert.pem",
        "  etc/cert.pem: feature tool, tool.files:2: /etc/cert.pem",
    ],
    "/init": ["init: 10 B", "  in the release's own initramfs"],
    "modules.order": [
        f"usr/lib/modules/{KERNEL}/modules.order: 400 B",
        "  in the release's own initramfs, written anew for the modules of this one",
    ],
    "nfs": [
        "nfs: built into the kernel (kernel/fs/nfs/nfs.ko)",
        "  feature nfs, nfs.modules:1: kernel/fs/nfs",
    ],
    "af_packet": [
        "af_packet: not in this pxerd; the modloop it is made from has "
        "kernel/net/packet/af_packet.ko",
        "  feature dhcp would bring it: name it in the release recipe",
    ],
    "misc-dev": [
        "misc_dev: not in this pxerd; the modloop it is made from has "
        "kernel/drivers/char/misc-dev.ko",
        "  this line in recipes/features.d/NAME.modules would bring it: "
        "kernel/drivers/char/misc-dev.ko",
    ],
    "/usr/share/udhcpc/default.script": [
        "/usr/share/udhcpc/default.script: not in this pxerd; package busybox of the release "
        "has it",
        "  feature dhcp would bring it: name it in the release recipe",
    ],
    "/usr/bin/busibox": [
        "/usr/bin/busibox: not in this pxerd, nor in a package of the release",
        "  nearest names: busybox",
    ],
    "virtio_nt": [
        "virtio_nt: not in this pxerd; nothing of this kernel is called so",
        "  nearest names: virtio_net, virtio",
    ],
}


@pytest.mark.parametrize("word", ANSWERS)
def test_each_thing_has_its_chain(built, word):
    assert asked(built, "lab-virt", word) == ANSWERS[word]


def test_several_words_are_answered_in_their_order(built):
    assert asked(built, "lab-virt", "loop", "nfs") == ANSWERS["loop"] + ANSWERS["nfs"]


def test_the_init_that_was_patched(built):
    document = built.report
    document["patches"] = [{"patch": "nfs-medium"}, {"patch": "x", "not_needed": "it can"}]
    (built.root / "report.json").write_text(json.dumps(document))
    assert asked(built, "lab-virt", "/init")[1].endswith("initramfs, patched by nfs-medium")


def test_the_table_counts_everything_once(built):
    lines = asked(built, "lab-virt")
    sizes = [len(entry.data) for entry in built.entries().values() if entry.mode >> 12 != 4]
    # stock: 4 modules and the 2 that ext4 would like; nfs is built in, squashfs a module
    assert [line.rpartition("  ")[0].rstrip() for line in lines[:6]] == [
        "                   modules  firmware  files",
        "the release's own        6         0     20",
        "feature network          4         3      0",
        "feature squashfs         1         0      0",
        "feature nfs              0         0      0",
        "feature tool             0         0      6",
    ]
    assert lines[6].split() == [
        *("together", "11", "3", "26"),
        *(f"{sum(sizes) / 1000:.1f}", "kB"),
    ]
    assert len(sizes) == 11 + 3 + 26
    assert lines[7].startswith("Sizes are of what is inside; packed it is ")


def test_what_cannot_be_answered(built):
    with pytest.raises(RecipeError) as caught:
        asked(built, "lab-vrt", "loop")
    assert str(caught.value) == (
        "doit why: there is no pxerd lab-vrt; expected one of lab-virt\n  next: doit why --help"
    )
    with pytest.raises(RecipeError, match="doit why: which pxerd"):
        asked(built)
    (built.root / "report.json").write_text('{"schema": 1}')
    with pytest.raises(FormatError) as damaged:
        asked(built, "lab-virt")
    assert "expected schema 3, got schema 1\n  next: build the pxerd again" in str(damaged.value)
    built.output.unlink()
    with pytest.raises(BuildError) as absent:
        asked(built, "lab-virt")
    assert str(absent.value).endswith("is not built yet\n  next: run: doit pxerd:lab-virt")
