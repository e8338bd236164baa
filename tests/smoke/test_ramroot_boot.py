"""A kernel unpacks a ramroot: hard links are links, the supplied /init hands over."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bootsmith.builders.ramroot import _KERNEL_BYTES, _KERNEL_SHARE, build_ramroot
from bootsmith.formats.compression import decompress_initramfs
from bootsmith.tools.run import run_program

pytestmark = [pytest.mark.boot, pytest.mark.network]

BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static
PROGRAM = """#!/bin/sh
say() {
	echo "guest-$*"
}
say process $$ "$@"
say word "$WORD"
say links $(stat -c %h /bin/busybox) $(stat -c %i /bin/busybox /sbin/ifup /usr/lib/ifdown | uniq)
say small $(cat /etc/one) $(stat -c %h /etc/one /srv/two | uniq)
say mode $(stat -c %a:%u:%g /sbin/ifup)
say mounts $(mount | sed 's/.* on \\(.*\\) type.*/\\1/')
say null $(stat -c %t:%T /dev/null)
say root $(stat -f -c '%T %S %b' /)
poweroff -f
"""


def test_the_kernel_unpacks_it(guest, tmp_path):
    root = tmp_path / "root"
    for name in ("bin", "sbin", "usr/lib", "usr/bin", "usr/sbin", "etc", "srv"):
        (root / name).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(BUSYBOX.read_bytes())
    (root / "bin/busybox").chmod(0o4755)
    os.link(root / "bin/busybox", root / "sbin/ifup")
    os.link(root / "bin/busybox", root / "usr/lib/ifdown")
    (root / "etc/one").write_text("shared")
    os.link(root / "etc/one", root / "srv/two")
    (root / "sbin/report").write_text(PROGRAM)
    (root / "sbin/report").chmod(0o755)
    output = tmp_path / "ramroot"
    build_ramroot(
        image="tiny",
        hostname="tiny",
        keeps_owners=False,
        init="/sbin/report",
        directory=root,
        tarball=None,
        packages=(),
        iso=None,
        facts=None,
        exclude=(),
        owners=None,
        overlays=(),
        overlay_owners=(),
        runlevels={},
        modules=(),
        modloop=None,
        feature_directories=(),
        kernel_config=None,
        memory_bytes=256 << 20,
        compression="gzip",
        level=None,
        cache=tmp_path / "cache",
        output=output,
        report=tmp_path / "report.json",
    )
    packed = decompress_initramfs(output.read_bytes(), limit_bytes=1 << 30)
    assert packed.count(BUSYBOX.read_bytes()) == 1
    console = run_program(
        [
            *("qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-nodefaults"),
            *("-display", "none", "-serial", "stdio", "-no-reboot"),
            *("-kernel", guest.kernel, "-initrd", output),
            *("-append", "console=ttyS0 quiet panic=-1 WORD=passed first -- second"),
        ],
        timeout_seconds=300,
    ).text
    said = dict(re.findall(r"^guest-(\w+) (.*?)\s*$", console, re.MULTILINE))
    assert said, console
    links, *inodes = said["links"].split()
    assert (links, len(inodes)) == ("3", 1)
    assert said["small"] == "shared 2"
    assert said["mode"] == "4755:0:0"
    assert said["process"] == "1 first second"
    assert said["word"] == "passed"
    assert said["null"] == "1:3"
    assert {"/proc", "/sys", "/dev", "/dev/pts"} <= set(said["mounts"].split())
    # What the limit on the size of a root rests on.
    kind, block_bytes, blocks = said["root"].split()
    assert kind == "tmpfs"
    packed_bytes = output.stat().st_size
    allowed_bytes = ((256 << 20) * (1 - _KERNEL_SHARE) - _KERNEL_BYTES - packed_bytes) / 2
    assert 0.9 * int(block_bytes) * int(blocks) < allowed_bytes < int(block_bytes) * int(blocks)
