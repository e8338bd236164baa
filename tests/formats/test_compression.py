"""Segments, against the gzip, xz, zstd, lz4 and bzip2 programs."""

from __future__ import annotations

import pytest

from bootsmith.errors import BuildError, FormatError
from bootsmith.formats import compression
from bootsmith.formats.compression import (
    CODECS,
    DEFAULT_LEVELS,
    check_level,
    choose_codec,
    compress_segment,
    decompress_file,
    decompress_initramfs,
    detect_compression,
)
from bootsmith.formats.cpio import file_entry, write_cpio
from bootsmith.tools.run import run_program

ARCHIVE = write_cpio([file_entry("a", b"abc" * 50_000), file_entry("b", bytes(range(256)) * 99)])
LIMIT = 10_000_000

READ_BY = {
    "gzip": lambda data: run_program(["gzip", "-dc"], stdin=data).stdout,
    "xz": lambda data: run_program(["xz", "-dc"], stdin=data).stdout,
    "zstd": lambda data: run_program(["zstd", "-dcq"], stdin=data).stdout,
}
MADE_BY = {
    "gzip": lambda data: run_program(["gzip", "-9c"], stdin=data).stdout,
    "xz": lambda data: run_program(["xz", "--check=crc32", "-c"], stdin=data).stdout,
    "zstd": lambda data: run_program(["zstd", "-19", "-cq"], stdin=data).stdout,
    "bzip2": lambda data: run_program(["bzip2", "-c"], stdin=data).stdout,
    "lzma": lambda data: run_program(["xz", "--format=lzma", "-c"], stdin=data).stdout,
    "lz4": lambda data: run_program(["lz4", "-l", "-9", "-cq"], stdin=data).stdout,
}


@pytest.mark.parametrize("codec", sorted(READ_BY))
def test_programs_read_what_we_write(codec):
    segment = compress_segment(ARCHIVE, codec, DEFAULT_LEVELS[codec])
    assert READ_BY[codec](segment) == ARCHIVE
    assert detect_compression(segment) == codec


@pytest.mark.parametrize("codec", sorted(MADE_BY))
def test_we_read_what_programs_write(codec):
    segment = MADE_BY[codec](ARCHIVE)
    assert detect_compression(segment) == codec
    assert decompress_initramfs(segment, limit_bytes=LIMIT) == ARCHIVE


def test_segments_of_all_codecs_follow_each_other():
    row = b""
    for codec in ("none", "gzip", "xz", "zstd", "none", "none", "gzip"):
        if codec == "none":
            row += bytes(-len(row) % 4)
        row += compress_segment(ARCHIVE, codec, DEFAULT_LEVELS[codec])
    assert decompress_initramfs(row + bytes(7), limit_bytes=LIMIT) == ARCHIVE * 7


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_bytes_each_time(codec):
    level = DEFAULT_LEVELS[codec]
    assert compress_segment(ARCHIVE, codec, level) == compress_segment(ARCHIVE, codec, level)


def test_gzip_has_no_time_and_no_name():
    assert compress_segment(ARCHIVE, "gzip", 6)[3:8] == bytes(5)


def test_xz_has_the_check_that_kernels_know(tmp_path):
    path = tmp_path / "x.xz"
    path.write_bytes(compress_segment(ARCHIVE, "xz", 6))
    assert run_program(["xz", "--robot", "--list", path]).text.splitlines()[1].split()[6] == "CRC32"


def refused(data, limit_bytes=LIMIT):
    with pytest.raises(FormatError) as caught:
        decompress_initramfs(data, limit_bytes=limit_bytes)
    return caught.value.message


def test_unknown_compression_shows_its_first_bytes():
    assert refused(b"\x89LZO\0\r\n") == (
        "initramfs: unknown compression; expected gzip, xz, zstd, lz4, lzma, bzip2 or a plain "
        "newc cpio, got first bytes 89 4c 5a 4f 00 0d"
    )


def test_xz_with_crc64_is_refused_as_the_kernel_does():
    data = run_program(["xz", "-c"], stdin=ARCHIVE).stdout
    assert refused(data) == (
        "initramfs: the xz segment has a checksum that the kernel does not know; expected crc32"
    )


def test_what_follows_lz4_is_refused_as_the_kernel_loses_it():
    lz4 = MADE_BY["lz4"](ARCHIVE)
    message = refused(lz4 + bytes(4) + compress_segment(ARCHIVE, "gzip", 1))
    assert message == f"initramfs: something follows the lz4 segment at its byte {len(lz4)}"
    assert decompress_initramfs(lz4 + bytes(8), limit_bytes=LIMIT) == ARCHIVE


def test_a_plain_archive_starts_at_a_multiple_of_four():
    gzip = compress_segment(ARCHIVE, "gzip", 6)
    gzip += bytes(-len(gzip) % 4)
    assert refused(gzip + b"\0" + ARCHIVE) == (
        f"initramfs: the plain archive at byte {len(gzip) + 1} does not start at a multiple of 4"
    )


@pytest.mark.parametrize("codec", ["gzip", "xz", "zstd", "none", "bzip2", "lz4"])
def test_a_bomb_is_refused(codec):
    zeros = write_cpio([file_entry("zeros", bytes(50_000_000))])
    made = MADE_BY.get(codec)
    bomb = made(zeros) if made else zeros
    message = "initramfs: unpacks to more than is allowed; expected at most 1000000 bytes"
    if codec == "lz4":
        message = "initramfs: lz4 data unpacks to more than it may; expected 1000000"
    assert refused(bomb, limit_bytes=1_000_000) == message


@pytest.mark.parametrize("codec", ["gzip", "xz", "zstd", "bzip2", "lz4"])
def test_a_truncated_segment_is_refused(codec):
    segment = MADE_BY[codec](ARCHIVE)
    assert refused(segment[:-9]).startswith(f"initramfs: damaged {codec} data (")


def test_a_single_file_ends_where_it_should():
    packed = MADE_BY["zstd"](b"content")
    assert decompress_file(packed, limit_bytes=100, subject="x.ko.zst") == b"content"
    with pytest.raises(FormatError) as caught:
        decompress_file(packed + b"more", limit_bytes=100, subject="x.ko.zst")
    assert caught.value.message == ("x.ko.zst: damaged zstd data (it does not end where it should)")


CONFIG = b"CONFIG_RD_GZIP=y\n# CONFIG_RD_ZSTD is not set\nCONFIG_RD_XZ=y\n"


def test_the_kernel_configuration_decides():
    with_zstd = b"CONFIG_RD_GZIP=y\nCONFIG_RD_ZSTD=y\n"
    choose = lambda asked, config: choose_codec(
        asked=asked, kernel_config=config, kernel_release="6.1.0"
    )
    assert choose("auto", with_zstd) == ("zstd", "CONFIG_RD_ZSTD=y")
    assert choose("auto", CONFIG) == ("gzip", "CONFIG_RD_GZIP=y")
    assert choose("xz", CONFIG) == ("xz", "asked for; CONFIG_RD_XZ=y")
    assert choose("auto", b"CONFIG_RD_LZ4=y\n")[0] == "none"
    assert choose("auto", b"") == (
        "gzip",
        "no kernel configuration to read; every kernel takes gzip",
    )
    with pytest.raises(BuildError) as caught:
        choose("zstd", CONFIG)
    assert caught.value.message == (
        "kernel configuration: the kernel cannot unpack a zstd initramfs; "
        "expected CONFIG_RD_ZSTD=y, got gzip, xz"
    )


def test_old_kernels_do_not_get_zstd():
    old = "3.14.33-0-grsec"
    assert choose_codec(asked="xz", kernel_config=None, kernel_release=old)[0] == "xz"
    assert choose_codec(asked="auto", kernel_config=None, kernel_release=old)[0] == "gzip"
    with pytest.raises(BuildError) as caught:
        choose_codec(asked="zstd", kernel_config=None, kernel_release=old)
    assert caught.value.message == (
        "kernel 3.14.33-0-grsec: cannot unpack a zstd initramfs; expected Linux 5.9 or newer"
    )


def test_codecs_and_levels_that_do_not_exist():
    for call in (
        lambda: choose_codec(asked="lz4", kernel_config=None, kernel_release=None),
        lambda: compress_segment(b"", "lz4", 1),
        lambda: check_level("lz4", 1),
    ):
        with pytest.raises(BuildError) as caught:
            call()
        assert caught.value.message == (
            "compression: unknown codec 'lz4'; expected auto, gzip, xz, zstd, none"
        )
    with pytest.raises(BuildError) as caught:
        check_level("zstd", 22)
    assert caught.value.message == "compression level: zstd has no level 22; expected 1 to 19"
    for codec, level in DEFAULT_LEVELS.items():
        check_level(codec, level)
        assert compression.codec_version(codec)
