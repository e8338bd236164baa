"""The stand-in's lock: what is written is read back, what is wrong is told with its line."""

from __future__ import annotations

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.package_lock import LockedPackage, read_package_lock, write_package_lock

KMOD = LockedPackage(
    name="kmod", version="30+20221128-1", architecture="amd64", size_bytes=95180, sha256="e2" * 32
)
BUSYBOX = LockedPackage(
    name="busybox-static",
    version="1:1.35.0-4+deb12u1+b1",
    architecture="amd64",
    size_bytes=928188,
    sha256="3d" * 32,
)


def test_round_trip_is_sorted_and_keeps_notes() -> None:
    text = write_package_lock([KMOD, BUSYBOX], notes=["kmod: 29 can no longer be had"])
    lock = read_package_lock(text)
    assert lock.packages == (BUSYBOX, KMOD)
    assert lock.notes == ("kmod: 29 can no longer be had",)
    assert write_package_lock(lock.packages, notes=lock.notes) == text


def test_file_name_is_the_one_apt_uses() -> None:
    assert BUSYBOX.file_name == "busybox-static_1%3a1.35.0-4+deb12u1+b1_amd64.deb"


@pytest.mark.parametrize(
    "line, message",
    [
        (
            "kmod 30",
            "lock:1: not a locked package; "
            "expected name version architecture size_bytes sha256, got 'kmod 30'",
        ),
        (f"../kmod 30 amd64 1 {'e2' * 32}", "lock:1: not a valid package name; got '../kmod'"),
        (f"kmod 30;rm amd64 1 {'e2' * 32}", "lock:1: not a valid version; got '30;rm'"),
        (f"kmod 30 arm64 1 {'e2' * 32}", "lock:1: not a valid architecture; got 'arm64'"),
        (f"kmod 30 amd64 -1 {'e2' * 32}", "lock:1: not a valid size in bytes; got '-1'"),
        ("kmod 30 amd64 1 e2", "lock:1: not a valid sha256; got 'e2'"),
    ],
)
def test_bad_lines_are_located(line: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_package_lock(line)
    assert caught.value.message == message


def test_a_name_is_locked_once() -> None:
    text = write_package_lock([KMOD]) + write_package_lock([KMOD])
    with pytest.raises(FormatError) as caught:
        read_package_lock(text, subject="standin.lock")
    assert caught.value.message == "standin.lock:6: kmod is locked twice"
