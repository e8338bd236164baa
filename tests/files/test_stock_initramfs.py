"""A release's initramfs: what is remembered of it, and that it is never wrong."""

from __future__ import annotations

import pytest

from bootsmith.files.cache import Cache
from bootsmith.files.stock_initramfs import StockInitramfs
from bootsmith.formats.compression import compress_segment
from bootsmith.formats.cpio import CpioEntry, directory_entry, file_entry, link_entry, write_cpio

SCRIPT = b"#!/bin/sh\n" + b"echo\n" * 2000
CONTENTS = {
    "empty": b"",
    "binary": bytes(range(256)) * 4,
    "init": SCRIPT,
    "large": b"\x7fELF" + bytes(5000),
}


@pytest.fixture
def path(tmp_path):
    entries = [
        directory_entry("dev"),
        CpioEntry(name="dev/null", mode=0o20666, rdev_major=1, rdev_minor=3),
        link_entry("link", "caf\udce9"),
        *(file_entry(name, data) for name, data in CONTENTS.items()),
    ]
    path = tmp_path / "initramfs"
    path.write_bytes(compress_segment(write_cpio(entries), "gzip", 1))
    return path


def described(stock):
    return [
        (one.name, one.mode, one.size_bytes, one.target, one.rdev_minor, bytes(one.load()))
        for one in stock.members()
    ]


def test_a_remembered_listing_says_the_same(path, tmp_path):
    cache = Cache(tmp_path / "cache")
    first = described(StockInitramfs(path, cache))
    assert {name: content for name, *_, content in first if name in CONTENTS} == CONTENTS
    assert described(StockInitramfs(path, cache)) == first
    for entry in (tmp_path / "cache").rglob("*"):
        if entry.is_file():
            entry.write_bytes(entry.read_bytes()[:-5] + b"torn.")
    assert described(StockInitramfs(path, cache)) == first


def test_small_files_and_scripts_are_had_without_unpacking(path, tmp_path):
    cache = Cache(tmp_path / "cache")
    StockInitramfs(path, cache).members()
    members = {one.name: one for one in StockInitramfs(path, cache).members()}
    path.unlink()  # whoever unpacks it fails
    assert bytes(members["init"].load()) == SCRIPT
    assert bytes(members["binary"].load()) == CONTENTS["binary"]
    assert bytes(members["link"].load()) == b"caf\xe9"
    with pytest.raises(FileNotFoundError):
        members["large"].load()
