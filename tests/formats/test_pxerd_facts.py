"""What an initramfs can do on a network, of ones made here to the shapes of all releases."""

from __future__ import annotations

import gzip
import struct

import pytest
from kernel_samples import (
    BUSYBOX,
    KERNEL,
    kernel_module,
    stock_initramfs,
    write_module_tree,
)

from bootsmith.errors import FormatError
from bootsmith.formats.cpio import file_entry, link_entry
from bootsmith.formats.pxerd_facts import read_pxerd_facts

MODULES = {
    "kernel/drivers/net/virtio_net.ko": kernel_module(
        needs=["failover_create"],
        info=["alias=virtio:d00000001v*", "vermagic=6.6.7-0-virt SMP preempt"],
    ),
    "kernel/drivers/net/net_failover.ko": kernel_module(exports=["failover_create"]),
    "kernel/drivers/net/dummy.ko": kernel_module(info=["alias=rtnl-link-dummy"]),
    "kernel/drivers/net/wireless/radio.ko": kernel_module(info=["alias=pci:v0000ACMEd*"]),
    "kernel/net/packet/af_packet.ko": kernel_module(info=["alias=net-pf-17"]),
    "kernel/drivers/block/disk.ko": kernel_module(info=["alias=virtio:d00000002v*"]),
}
# A script's skeleton, as far as facts are read from it.
INIT = """#!/bin/sh
VERSION=3.4.5-r1
echo "Alpine Init $VERSION"
myopts="alpine_dev modules ip
\tapkovl BOOTIF"
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    return write_module_tree(tmp_path_factory.mktemp("modules"), modules=MODULES)


def facts(modules, *more, usr_merged=True, wanted=tuple(MODULES)):
    usr = "usr/" if usr_merged else ""
    aliases = file_entry(
        f"{usr}lib/modules/{KERNEL}/modules.alias", (modules / "modules.alias").read_bytes()
    )
    more = [aliases, *more]
    plain = stock_initramfs(modules, usr_merged=usr_merged, modules=wanted, more=more)
    return read_pxerd_facts(gzip.compress(plain), subject="pxerd")


def script(text):
    return file_entry("init", text.encode(), mode=0o755)


@pytest.mark.parametrize("usr_merged", [True, False])
def test_modules_are_found_before_and_after_the_merge(modules, usr_merged):
    found = facts(modules, usr_merged=usr_merged)
    assert found.kernel_releases == (KERNEL,)
    assert found.built_for == "6.6.7-0-virt"
    assert set(found.modules) == {
        *("virtio_net", "net_failover", "dummy", "radio", "af_packet", "disk"),
    }
    assert found.broken == {}
    assert set(found.machines) == {"x86_64"}


def test_a_card_needs_a_driver_with_a_bus_and_no_radio(modules):
    assert facts(modules).cards == ("virtio_net",)


def test_a_driver_that_is_built_in_counts_by_its_place(modules):
    builtin = file_entry(
        f"usr/lib/modules/{KERNEL}/modules.builtin",
        b"kernel/drivers/net/ethernet/intel/e1000/e1000.ko\nkernel/fs/nfs/nfs.ko\n",
    )
    found = facts(modules, builtin, wanted=["kernel/drivers/block/disk.ko"])
    assert found.cards == ("e1000",)
    assert {"e1000", "nfs"} <= set(found.modules)


def test_a_module_without_what_it_needs_cannot_be_loaded(modules):
    card, needed = "kernel/drivers/net/virtio_net.ko", "kernel/drivers/net/net_failover.ko"
    where = f"usr/lib/modules/{KERNEL}"
    entries = [
        file_entry(f"{where}/modules.dep", f"{card}: {needed}\n".encode()),
        file_entry(f"{where}/{card}", MODULES[card]),
    ]
    found = facts(modules, *entries, wanted=["kernel/drivers/block/disk.ko"])
    assert found.broken == {
        "virtio_net": needed,
        "disk": "its line in modules.dep",
    }
    assert found.cards == ()


@pytest.mark.parametrize(
    "text,version,numbers,options,mounts_nfs",
    [
        (INIT, "3.4.5-r1", (3, 4, 5), ("BOOTIF", "alpine_dev", "apkovl", "ip", "modules"), False),
        (INIT + "case $x in\n\tnfs)\n\t;;\n", "3.4.5-r1", (3, 4, 5), None, True),
        (INIT + "case $x in\nnfs:*) ;;\n", "3.4.5-r1", (3, 4, 5), None, True),
        ("#!/bin/sh\nexec /sbin/init\n", None, (), (), False),
    ],
)
def test_what_init_says(modules, text, version, numbers, options, mounts_nfs):
    found = facts(modules, script(text))
    assert (found.init_version, found.init_numbers) == (version, numbers)
    assert options is None or found.options == options
    assert found.mounts_nfs is mounts_nfs
    assert found.init_problem is None


def elf_program(interpreter):
    """An ELF64 file with nothing but a PT_INTERP."""
    name = interpreter.encode() + b"\0"
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    head += struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(name), len(name), 1)
    return head + name


@pytest.mark.parametrize(
    "entries,problem",
    [
        ([file_entry("init", b"#!/bin/sh\n")], "has an /init that may not be executed"),
        ([link_entry("init", "bin/none")], "has no file /init"),
        ([script("#!/bin/dash\n")], "cannot start /init: it needs /bin/dash, which is not there"),
        (
            [file_entry("usr/bin/busybox", elf_program("/lib/ld-musl-x86_64.so.1"))],
            "cannot start /bin/sh: it needs /lib/ld-musl-x86_64.so.1, which is not there",
        ),
        (
            [
                file_entry("usr/bin/busybox", elf_program("/lib/ld-musl-x86_64.so.1")),
                file_entry("usr/lib/ld-musl-x86_64.so.1", BUSYBOX, mode=0o755),
            ],
            None,
        ),
    ],
)
def test_why_the_kernel_cannot_start_init(modules, entries, problem):
    assert facts(modules, *entries).init_problem == problem


def test_programs_of_another_machine_are_told_and_firmware_is_not(modules):
    entries = [
        file_entry("usr/sbin/arm", kernel_module(machine=183)),
        file_entry("usr/lib/firmware/modem.elf", kernel_module(machine=40)),
    ]
    assert facts(modules, *entries).machines == {
        "aarch64": "usr/sbin/arm",
        "x86_64": "usr/bin/busybox",
    }


def test_a_pxerd_that_ends_early_is_damaged(modules):
    plain = stock_initramfs(modules, usr_merged=True, modules=tuple(MODULES))
    packed = gzip.compress(plain, mtime=0)
    for length in range(len(packed) - 1, 0, -len(packed) // 7):
        with pytest.raises(FormatError, match="pxerd: "):
            read_pxerd_facts(packed[:length], subject="pxerd")
