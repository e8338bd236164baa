"""What a UEFI program says it runs on, held against objdump's view of real ones."""

from __future__ import annotations

import struct

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.pe import HEAD_BYTES, pe_machine


def program(machine):
    return (
        b"MZ".ljust(0x3C, b"\0")
        + struct.pack("<I", 0x80).ljust(0x44, b"\0")
        + b"PE\0\0"
        + (struct.pack("<H", machine) + bytes(64))
    )


@pytest.mark.parametrize("machine,name", [(0x8664, "x86_64"), (0x14C, "x86"), (0xAA64, "aarch64")])
def test_a_machine_has_a_name(machine, name):
    assert pe_machine(program(machine), subject="x.efi") == name


def test_another_machine_is_said_by_number():
    assert pe_machine(program(0x1234), subject="x.efi") == "machine 0x1234"


def test_ipxe_of_this_machine_is_for_it():
    with open("/usr/lib/ipxe/snponly.efi", "rb") as source:
        assert pe_machine(source.read(HEAD_BYTES), subject="snponly.efi") == "x86_64"


@pytest.mark.parametrize("content", [b"", b"MZ", b"\x7fELF" * 40, program(0x8664)[:0x80]])
def test_what_is_no_program_is_refused(content):
    with pytest.raises(FormatError) as caught:
        pe_machine(content, subject="x.efi")
    assert str(caught.value) == (
        "x.efi: is no UEFI program; expected MZ, and a PE header, "
        f"got {content[:4].hex(' ') or 'nothing'}\n"
        "  next: install the package that it comes from again"
    )
