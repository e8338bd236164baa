"""The boot report, run by busybox sh with busybox's own programs against trees of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bootsmith.smoke.report import find_reports
from bootsmith.tools.run import run_program

SCRIPT = Path(__file__).resolve().parents[2] / (
    "overlays/report/etc/local.d/bootsmith-report.start"
)
MOUNTS = """\
proc /proc proc rw 0 0
/dev/sda1 /media/sda1 vfat ro 0 0
/dev/loop0 /.modloop squashfs ro 0 0
"""
ROUTES = """\
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.20.0.0/16 2 0 2
        |-- 10.20.0.0
           /16 link UNICAST
        |-- 10.20.0.7
           /32 host LOCAL
        |-- 10.20.255.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
"""


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """What the script looks at, as in a machine that has ended its default runlevel."""
    files = {
        "proc/cmdline": "quiet bootsmith_nonce=abc-123 modules=loop,squashfs\n",
        "proc/mounts": MOUNTS,
        "proc/modules": "loop 1 0 - Live 0x0\nsquashfs 2 0 - Live 0x0\n",
        "proc/1/comm": "init\n",
        "run/openrc/softlevel": "default\n",
        "sys/block/loop0/loop/backing_file": "/media/sda1/boot/modloop-lts\n",
        "etc/bootsmith/template": "pxeboot\n",
        "etc/bootsmith/overlay": "0123abcd\n",
        "etc/os-release": 'NAME="x"\nID=alpine\nVERSION_ID=3.24.0\n',
        "proc/net/fib_trie": ROUTES,
        "sys/class/net/lo/address": "00:00:00:00:00:00\n",
        "sys/class/net/eth0/address": "52:54:01:02:00:07\n",
        "sys/class/net/eth0/device/uevent": "",
        "dev/console": "",
        "dev/ttyS0": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def start(guest: Path, applets: Path, *, limit_seconds: int = 60) -> None:
    """Run the script; it comes back at once, whatever happens in the background."""
    completed = run_program(
        ["busybox", "sh", SCRIPT],
        environment={
            "PATH": str(applets),
            "BOOTSMITH_ROOT": str(guest),
            "BOOTSMITH_LIMIT_SECONDS": str(limit_seconds),
        },
        timeout_seconds=30,
    )
    assert (completed.stdout, completed.stderr) == (b"", b"")


def console_of(guest: Path, name: str = "ttyS0") -> str:
    """What was written to a console, once the report has ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        text = (guest / "dev" / name).read_text()
        if text.endswith(" end\n"):
            return text
        time.sleep(0.02)
    raise AssertionError(f"no report on {name}: {text!r}")


def words_of(guest: Path) -> dict[str, str]:
    (report,) = find_reports(console_of(guest))
    return dict(report.words)


def test_the_whole_line(guest, applets):
    start(guest, applets)
    name = os.uname()
    expected = (
        f"\nbootsmith-report nonce=abc-123 template=pxeboot hostname={name.nodename} "
        f"runlevel=default kernel={name.release} modloop=/media/sda1/boot/modloop-lts "
        "modloop_fs=vfat modules=2 init=init system=alpine overlay_sha=0123abcd "
        "mac=52:54:01:02:00:07 address=10.20.0.7 medium=none boot_image=none end\n"
    )
    assert console_of(guest) == expected
    assert console_of(guest, "console") == expected


def test_the_serial_number_of_the_machine_may_carry_the_nonce(guest, applets):
    (guest / "proc/cmdline").write_text("quiet\n")
    serial = guest / "sys/class/dmi/id/product_serial"
    serial.parent.mkdir(parents=True)
    serial.write_text("bootsmith-f00d\n")
    start(guest, applets)
    assert words_of(guest)["nonce"] == "f00d"


def test_the_kernel_command_line_wins(guest, applets):
    serial = guest / "sys/class/dmi/id/product_serial"
    serial.parent.mkdir(parents=True)
    serial.write_text("bootsmith-f00d\n")
    start(guest, applets)
    assert words_of(guest)["nonce"] == "abc-123"


@pytest.mark.parametrize("serial", ["", "CZC1234567", "bootsmith", "bootsmith-", "xbootsmith-1"])
@pytest.mark.parametrize("cmdline", ["quiet\n", "bootsmith_nonce=\n", "xbootsmith_nonce=1\n"])
def test_silent_without_a_nonce(guest, applets, serial, cmdline):
    (guest / "proc/cmdline").write_text(cmdline)
    path = guest / "sys/class/dmi/id/product_serial"
    path.parent.mkdir(parents=True)
    path.write_text(serial)
    # Traced, so that "nothing was written" is seen and not waited for.
    traced = run_program(
        ["busybox", "sh", "-x", SCRIPT],
        environment={"PATH": str(applets), "BOOTSMITH_ROOT": str(guest)},
    )
    assert traced.stderr.decode().splitlines()[-1] == "+ exit 0"
    assert b"report" not in traced.stderr
    assert (guest / "dev/console").read_text() == (guest / "dev/ttyS0").read_text() == ""


def test_it_waits_until_the_runlevel_has_ended(guest, applets):
    starting = guest / "run/openrc/rc.starting"
    starting.mkdir()
    start(guest, applets)
    assert (guest / "dev/ttyS0").read_text() == ""
    (guest / "run/openrc/softlevel").write_text("default\n")
    (guest / "etc/bootsmith/template").write_text("read-late\n")
    starting.rmdir()
    assert words_of(guest)["template"] == "read-late"


def test_a_runlevel_that_never_ends_is_reported_as_such(guest, applets):
    (guest / "run/openrc/rc.starting").mkdir()
    start(guest, applets, limit_seconds=0)
    assert words_of(guest)["runlevel"] == "unfinished"


def test_what_is_not_there_is_none(guest, applets):
    (guest / "proc/mounts").write_text("proc /proc proc rw 0 0\n")
    for name in (
        "proc/modules",
        "proc/1/comm",
        "run/openrc/softlevel",
        "etc/bootsmith/template",
        "etc/bootsmith/overlay",
        "etc/os-release",
        "sys/class/net/eth0/device/uevent",
        "proc/net/fib_trie",
    ):
        (guest / name).unlink()
    (guest / "sys/class/net/eth0/device").rmdir()
    start(guest, applets)
    words = words_of(guest)
    assert {name: words[name] for name in ("template", "runlevel", "modloop", "modules")} == {
        "template": "none",
        "runlevel": "none",
        "modloop": "none",
        "modules": "0",
    }
    assert words["modloop_fs"] == "none"
    names = ("init", "system", "overlay_sha", "mac", "address", "medium", "boot_image")
    assert {words[name] for name in names} == {"none"}


def test_a_modloop_without_a_backing_file_is_its_device(guest, applets):
    (guest / "sys/block/loop0/loop/backing_file").unlink()
    start(guest, applets)
    assert words_of(guest)["modloop"] == "/dev/loop0"


@pytest.mark.parametrize(
    "mounts,image,kind",
    [
        ("10.0.2.2:/m /media/alpine nfs4 ro 0 0\n", "/media/alpine/boot/modloop-lts", "nfs4"),
        ("/dev/vda1 /media/al vfat ro 0 0\n", "/media/alpine/boot/modloop-lts", "tmpfs"),
        ("", "/lib/modloop-lts", "tmpfs"),
        ("s:/m /media nfs rw 0 0\ns:/n /media/a ext4 rw 0 0\n", "/media/a/modloop", "ext4"),
        ("s:/n /media/a ext4 rw 0 0\ns:/m /media nfs rw 0 0\n", "/media/a/modloop", "ext4"),
        ("a /media/a ext4 rw 0 0\ns:/m /media/a nfs rw 0 0\n", "/media/a/modloop", "nfs"),
    ],
)
def test_where_the_modloop_lies(guest, applets, mounts, image, kind):
    root = "rootfs / rootfs rw 0 0\ntmpfs / tmpfs rw 0 0\n"
    (guest / "proc/mounts").write_text(root + mounts + "/dev/loop0 /.modloop squashfs ro 0 0\n")
    (guest / "sys/block/loop0/loop/backing_file").write_text(image + "\n")
    start(guest, applets)
    assert words_of(guest)["modloop_fs"] == kind


def test_words_have_no_blanks_and_nothing_is_run(guest, applets):
    (guest / "proc/cmdline").write_text("bootsmith_nonce=a;touch${IFS}/x`id`$(id)'\"\n")
    (guest / "etc/bootsmith/template").write_text("two words\t& more\nsecond line\n")
    (guest / "etc/os-release").write_text('ID="bootsmith-standin"\n')
    start(guest, applets)
    words = words_of(guest)
    assert words["nonce"] == "atouchIFS/xidid"
    assert words["template"] == "twowordsmore"
    assert words["system"] == "bootsmith-standin"


def test_a_console_that_is_not_there_is_not_made(guest, applets):
    (guest / "dev/ttyS0").unlink()
    start(guest, applets)
    console_of(guest, "console")
    assert os.listdir(guest / "dev") == ["console"]


@pytest.mark.parametrize(
    "cmdline,medium,boot_image",
    [
        (
            "BOOT_IMAGE=::generations/1/vmlinuz alpine_dev=nfs:10.20.0.1:/srv/boot:vers=4.1",
            "nfs:10.20.0.1:/srv/boot:vers=4.1",
            "::generations/1/vmlinuz",
        ),
        (
            "alpine_repo=http://10.20.0.1/a/apks xalpine_repo=no alpine_repo=http://10.20.0.1/b",
            "http://10.20.0.1/b",
            "none",
        ),
    ],
)
def test_what_the_boot_loader_said(guest, applets, cmdline, medium, boot_image):
    (guest / "proc/cmdline").write_text(f"bootsmith_nonce=1 {cmdline}\n")
    start(guest, applets)
    words = words_of(guest)
    assert (words["medium"], words["boot_image"]) == (medium, boot_image)


def test_an_address_of_loopback_alone_is_none(guest, applets):
    (guest / "proc/net/fib_trie").write_text(ROUTES[ROUTES.index("     |-- 127.0.0.1") :])
    start(guest, applets)
    assert words_of(guest)["address"] == "none"
