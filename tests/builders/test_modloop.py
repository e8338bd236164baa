"""A modloop passes through untouched, and only a modloop does."""

from __future__ import annotations

import subprocess

import pytest

from bootsmith.builders.modloop import build_modloop
from bootsmith.errors import FormatError, SourceError


@pytest.fixture
def stock(tmp_path):
    (tmp_path / "t/modules/6.6.49-0-lts/kernel").mkdir(parents=True)
    (tmp_path / "t/modules/6.6.49-0-lts/kernel/loop.ko").write_bytes(b"\x7fELF" * 5000)
    subprocess.run(
        ["mksquashfs", tmp_path / "t", tmp_path / "stock", "-quiet", "-no-progress", "-comp", "xz"],
        check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path / "stock"


def test_every_byte_is_the_stock_ones(stock, tmp_path):
    build_modloop(stock=stock, output=tmp_path / "out/modloop-lts")
    assert (tmp_path / "out/modloop-lts").read_bytes() == stock.read_bytes()
    assert (tmp_path / "out/modloop-lts").stat().st_mode & 0o777 == 0o644


def test_the_copy_is_a_file_of_its_own(stock, tmp_path):
    build_modloop(stock=stock, output=tmp_path / "out")
    before = (tmp_path / "out").read_bytes()
    stock.write_bytes(b"edited in place")
    assert (tmp_path / "out").read_bytes() == before


@pytest.mark.parametrize(
    "content,error,message",
    [
        (None, SourceError, "modloop cannot be read (No such file or directory)"),
        (b"", SourceError, "modloop is empty"),
        (b"x" * 200, FormatError, "not a squashfs image; expected magic b'hsqs', got b'xxxx'"),
    ],
)
def test_what_is_no_modloop_leaves_the_old_one(tmp_path, content, error, message):
    (tmp_path / "out").write_text("old")
    if content is not None:
        (tmp_path / "stock").write_bytes(content)
    with pytest.raises(error) as caught:
        build_modloop(stock=tmp_path / "stock", output=tmp_path / "out")
    assert caught.value.message == f"{tmp_path}/stock: {message}"
    assert (tmp_path / "out").read_text() == "old"


def test_a_modloop_cut_short_is_told(stock, tmp_path):
    stock.write_bytes(stock.read_bytes()[:300])
    with pytest.raises(FormatError, match="squashfs image is cut short"):
        build_modloop(stock=stock, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
