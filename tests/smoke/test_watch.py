"""A whole boot as a stream of bytes."""

from __future__ import annotations

import pytest

from bootsmith.smoke.watch import ConsoleWatch

REPORT = b"bootsmith-report nonce=%s template=t runlevel=default kernel=k modloop=m end\r\n"

BOOT = (
    ("screen", b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1.16.2)\r\n"),
    ("screen", b"\r\nSYSLINUX 6.04 EDD 20210613 Copyright\r\nboot: "),
    ("console", b"[    0.000000] Linux version 6.1.0-lts\r\n"),
    ("console", b"Alpine Init 3.14.0-r0\r\n * Mounting boot"),
    ("console", b" media: ok.\r\n\r\n   \x1b[32mOpenRC\x1b[0m 0.45.2 is starting up Linux\r\n"),
    ("console", b" * ERROR: nginx failed to start\r\nbootsmith-rep"),
    ("console", b"ort nonce=1f template=t runlevel=default ker"),
    ("console", b"[   12.345678] usb 1-1: new device\r\nnel=k modloop=m end\r\n"),
)


def fed(*chunks, nonce="1f"):
    watch = ConsoleWatch(nonce=nonce)
    for second, (console, data) in enumerate(chunks, 1):
        watch.feed(console, data, elapsed_seconds=float(second))
    return watch


def test_a_boot():
    watch = fed(*BOOT)
    assert watch.landmarks == {
        "firmware": 1.0,
        "bootloader": 2.0,
        "kernel": 3.0,
        "init": 4.0,
        "openrc": 5.0,
        "runlevel": 8.0,
    }
    assert watch.stage == "runlevel"
    assert watch.report is not None
    assert watch.report.words["kernel"] == "k"
    assert watch.failure is None
    assert watch.foreign_nonce is None
    assert watch.complaints == ["the service nginx failed"]


def test_nothing_yet():
    watch = fed(("console", b""))
    assert (watch.stage, watch.tail(), watch.landmarks) == ("start", [], {})


def test_the_tail_is_in_order_of_arrival_and_ends_with_prompts():
    watch = fed(*BOOT[:4])
    assert watch.tail() == [
        "SeaBIOS (version 1.16.2)",
        "SYSLINUX 6.04 EDD 20210613 Copyright",
        "[    0.000000] Linux version 6.1.0-lts",
        "Alpine Init 3.14.0-r0",
        "boot: ",
        " * Mounting boot",
    ]
    assert watch.tail(2) == ["boot: ", " * Mounting boot"]


def test_another_nonce_is_not_ours():
    watch = fed(("console", REPORT % b"old"))
    assert watch.report is None
    assert watch.foreign_nonce == "old"
    assert "runlevel" not in watch.landmarks


@pytest.mark.parametrize(
    "chunks,cause",
    [
        # a prompt has no end of line
        ([b"\r\ngrub rescue> "], "GRUB could not find its own files"),
        # a line that is cut is read on
        (
            [b"[ 1.0] Kernel panic - not syncing: Att", b"empted to kill init!\r\n"],
            "the kernel panicked: Attempted to kill init!",
        ),
        # what names a cause wins over what only says that it broke
        (
            [
                b"Launching initramfs emergency recovery shell.\r\n",
                b"Mounting boot media failed. \r\n",
            ],
            "the initramfs found no boot medium (no apks/.boot_repository on any device)",
        ),
        # the first of several of one kind
        (
            [b"ERROR: unable to select packages:\r\n  x (no such package)\r\nERROR: 1 errors\r\n"],
            "apk or the initramfs gave up: unable to select packages:",
        ),
    ],
)
def test_failures(chunks, cause):
    watch = fed(*(("console", chunk) for chunk in chunks))
    assert watch.failure is not None
    assert watch.failure.cause == cause


def test_a_complaint_is_kept_once_and_read_on():
    line = b"modprobe: FATAL: Module x not found\r\n"
    watch = fed(("console", line[:24]), ("console", line[24:]), ("console", line))
    assert watch.complaints == ["a module could not be loaded: Module x not found"]


def test_complaints_have_a_limit():
    watch = fed(*(("console", b"WARNING: number %d.\n" % number) for number in range(100)))
    assert len(watch.complaints) == 40


def test_a_login_prompt_is_noted():
    watch = fed(("console", b"Welcome\r\n"), ("console", b"\r\nhost login: "))
    assert watch.login_seconds == 2.0
