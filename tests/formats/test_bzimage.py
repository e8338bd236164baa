"""The header of an x86 kernel, read from made-up kernels that are only a header."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.formats.bzimage import read_bzimage


def kernel(
    version=b"6.6.32-0-lts (buildozer@build) #1-Alpine SMP",
    *,
    pointer=0x2000,
    protocol=0x020F,
    paged=4,
    setup_sectors=39,
):
    setup = bytearray((setup_sectors + 1) * 512)
    setup[0x1F1] = setup_sectors
    struct.pack_into("<I", setup, 0x1F4, paged)
    struct.pack_into("<H", setup, 0x1FE, 0xAA55)
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, protocol)
    struct.pack_into("<H", setup, 0x20E, pointer)
    struct.pack_into("<I", setup, 0x238, 2047)
    if pointer:
        setup[pointer + 512 : pointer + 512 + len(version) + 1] = version + b"\0"
    return bytes(setup) + bytes(16 * paged)


def test_the_header_says_release_text_size_and_limits():
    image = read_bzimage(kernel())
    assert image.kernel_release == "6.6.32-0-lts"
    assert image.version_text == "6.6.32-0-lts (buildozer@build) #1-Alpine SMP"
    assert image.protocol == (2, 15)
    assert image.size_bytes == 40 * 512 + 64
    assert image.command_line_limit_bytes == 2047


@pytest.mark.parametrize(
    "flags,protocol,is_64_bit", [(1, 0x020F, True), (2, 0x020F, False), (1, 0x020B, None)]
)
def test_a_kernel_says_whether_it_is_one_of_64_bits(flags, protocol, is_64_bit):
    content = bytearray(kernel(protocol=protocol))
    content[0x236] = flags
    assert read_bzimage(bytes(content)).is_64_bit is is_64_bit


def test_the_head_is_enough_when_the_size_is_told():
    whole = kernel(paged=1 << 16)
    assert read_bzimage(whole[:32768], file_size_bytes=len(whole)) == read_bzimage(whole)


def test_a_signature_behind_the_kernel_is_not_part_of_it():
    assert read_bzimage(kernel() + bytes(5000)) == read_bzimage(kernel())


def test_a_kernel_cut_short_is_told():
    with pytest.raises(FormatError) as caught:
        read_bzimage(kernel()[:-1], subject="boot/vmlinuz-lts")
    assert str(caught.value) == (
        "boot/vmlinuz-lts: kernel is cut short; expected 20544 bytes, got 20543 bytes\n"
        "  next: copy or download it again"
    )


@pytest.mark.parametrize(
    "content,looks_like",
    [
        (b"", "nothing"),
        (b"\x1f\x8b\x08\0rest", "gzip data"),
        (b"\x7fELF\x02", "an ELF file"),
        (b"MZ" + bytes(54) + b"ARM\x64", "an arm64 Image"),
        (bytes(4096), "00 00 00 00 …"),
    ],
)
def test_what_is_no_kernel_is_named(content, looks_like):
    with pytest.raises(FormatError) as caught:
        read_bzimage(content)
    assert caught.value.message == (
        "kernel: not an x86 kernel (bzImage); expected boot flag 55aa and magic HdrS, "
        f"got {looks_like}"
    )


def test_an_ancient_protocol_is_refused():
    with pytest.raises(FormatError) as caught:
        read_bzimage(kernel(protocol=0x0203))
    assert caught.value.message == (
        "kernel: kernel of an unknown boot protocol; expected 2.06 or newer, got 2.03"
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"pointer": 0},
        {"pointer": 0xFFFF},
        {"version": b""},
        {"version": b" x"},
        {"version": b"6.6\n1"},
        {"version": b"\xff\xfe"},
        {"version": b"6" * 600},
    ],
)
def test_a_kernel_without_a_version_text_is_refused(broken):
    with pytest.raises(FormatError, match=r"^kernel: kernel does not say its version"):
        read_bzimage(kernel(**broken))


@given(st.integers(0, 0x268), st.binary(min_size=1, max_size=8))
def test_a_damaged_header_gives_an_answer_or_a_format_error(position, damage):
    content = bytearray(kernel())
    content[position : position + len(damage)] = damage
    try:
        read_bzimage(bytes(content))
    except FormatError:
        pass
