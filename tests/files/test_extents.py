"""Byte ranges copied, read and mapped, whether or not the kernel helps."""

from __future__ import annotations

import errno
import os
import random

import pytest

from bootsmith.errors import SourceError
from bootsmith.files.extents import copy_extents, copy_range, mapped_extents, read_extents

CONTENT = random.Random(1).randbytes(3_000_000)
EXTENTS = ((2_000_001, 700_000), (5, 1), (4096, 1_500_000))
EXPECTED = b"".join(CONTENT[offset : offset + size] for offset, size in EXTENTS)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").write_bytes(CONTENT)
    with open(tmp_path / "source", "rb") as file:
        yield file


@pytest.fixture(params=["kernel", errno.EXDEV, errno.ENOSYS, errno.EINVAL, "zero"])
def kernel(request, monkeypatch):
    """The kernel as it is, one that refuses in several ways, one that copies nothing."""
    if request.param == "kernel":
        return

    def refuse(*_):
        if request.param == "zero":
            return 0
        raise OSError(request.param, "refused")

    monkeypatch.setattr(os, "copy_file_range", refuse)


def test_extents_are_copied_one_behind_the_other(kernel, source, tmp_path):
    with open(tmp_path / "target", "w+b") as target:
        assert copy_extents(source.fileno(), EXTENTS, target.fileno()) == len(EXPECTED)
        assert target.read() == EXPECTED


def test_a_range_lands_where_it_should_and_nothing_else_changes(kernel, source, tmp_path):
    (tmp_path / "target").write_bytes(b"." * 1000)
    with open(tmp_path / "target", "r+b") as target:
        copy_range(source.fileno(), 10, target.fileno(), 100, 50)
        assert target.tell() == source.tell() == 0
        assert target.read() == b"." * 100 + CONTENT[10:60] + b"." * 850


def test_an_error_of_the_disk_is_not_hidden(monkeypatch, source, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "copy_file_range", full)
    with open(tmp_path / "target", "wb") as target, pytest.raises(OSError, match="no space"):
        copy_range(source.fileno(), 0, target.fileno(), 0, 10)


def test_a_source_that_ends_early_is_told(kernel, source, tmp_path):
    with open(tmp_path / "target", "wb") as target, pytest.raises(SourceError) as caught:
        copy_extents(source.fileno(), ((2_999_990, 20),), target.fileno())
    assert str(caught.value) == (
        f"{tmp_path}/source: file ends before its content; "
        "expected at least 3000010 bytes, got 3000000 bytes\n  next: copy or download it again"
    )


def test_extents_are_read_wholly_or_from_the_start(source):
    assert read_extents(source.fileno(), EXTENTS) == EXPECTED
    for size in (0, 1, 699_999, 700_001, 700_002, len(EXPECTED), len(EXPECTED) + 5):
        assert read_extents(source.fileno(), EXTENTS, size_bytes=size) == EXPECTED[:size]
    assert read_extents(source.fileno(), ()) == b""
    with pytest.raises(SourceError, match="file ends before its content"):
        read_extents(source.fileno(), ((2_999_990, 20),))


@pytest.mark.parametrize("extents", [EXTENTS, ((4097, 100_000),), ((0, 10),), ((7, 0),), ()])
def test_extents_are_mapped(source, tmp_path, extents):
    expected = b"".join(CONTENT[offset : offset + size] for offset, size in extents)
    with mapped_extents(tmp_path / "source", extents) as (buffer, start):
        assert bytes(buffer[start : start + len(expected)]) == expected
        assert len(buffer) == start + len(expected)


def test_mapping_beyond_the_end_is_told(source, tmp_path):
    with (
        pytest.raises(SourceError, match="file ends before its content"),
        mapped_extents(tmp_path / "source", ((2_999_990, 20),)),
    ):
        pass
