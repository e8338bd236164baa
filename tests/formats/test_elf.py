"""ELF facts, against readelf's view of real programs, and of modules made here."""

from __future__ import annotations

import pytest
from elftools.elf.elffile import ELFFile
from kernel_samples import kernel_module

from bootsmith.errors import FormatError
from bootsmith.formats.elf import is_elf, linked_libraries, machine_of, read_modinfo, section_data
from bootsmith.tools.run import run_program


@pytest.mark.parametrize("program", ["/bin/ls", "/usr/bin/python3.11", "/bin/busybox"])
def test_what_a_program_links_to(program):
    with open(program, "rb") as source:
        told = ELFFile(source)
        expected = [
            segment.get_interp_name()
            for segment in told.iter_segments()
            if segment["p_type"] == "PT_INTERP"
        ]
        dynamic = told.get_section_by_name(".dynamic")
        expected += [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")] if dynamic else []
        source.seek(0)
        assert linked_libraries(source.read()) == expected


def test_modinfo_reads_what_we_read(tmp_path):
    module = kernel_module(info=["firmware=a.bin", "alias=x-y", "parm=n:a = b"], size_bytes=40)
    path = tmp_path / "m.ko"
    path.write_bytes(module)
    assert read_modinfo(module) == [
        ("license", "GPL"),
        ("firmware", "a.bin"),
        ("alias", "x-y"),
        ("parm", "n:a = b"),
    ]
    assert run_program(["modinfo", "-F", "firmware", path]).text == "a.bin\n"
    assert bytes(section_data(module, ".absent")) == b""


@pytest.mark.parametrize(
    "machine,name", [(62, "x86_64"), (3, "x86"), (183, "aarch64"), (4711, "machine 4711")]
)
def test_the_machine_of_a_module(machine, name):
    assert machine_of(kernel_module(machine=machine)[:20]) == name


def test_text_is_no_elf():
    assert not is_elf(b"#!/bin/sh")
    with pytest.raises(FormatError) as caught:
        read_modinfo(b"#!/bin/sh", subject="x.ko")
    assert caught.value.message == ("x.ko: not an ELF file; expected 7f 45 4c 46, got 23 21 2f 62")


@pytest.mark.parametrize("size", [5, 20, 63, 300, 700])
def test_a_cut_module_is_damaged(size):
    with pytest.raises(FormatError) as caught:
        read_modinfo(kernel_module(info=["a=b"] * 100)[:size], subject="x.ko")
    assert caught.value.message == "x.ko: damaged ELF headers: they point beyond the file"


def test_headers_may_not_point_anywhere():
    module = bytearray(kernel_module())
    module[40:48] = (1 << 62).to_bytes(8, "little")  # e_shoff
    with pytest.raises(FormatError):
        read_modinfo(bytes(module))
