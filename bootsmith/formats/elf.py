"""The few facts we need from ELF files: a section's bytes, what a program links to.

Facts: System V ABI, generic and AMD64/i386/ARM supplements; gABI chapter 4 and 5. Both
classes and byte orders are read, since releases come for several architectures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from struct import Struct
from struct import error as struct_error

from bootsmith.errors import FormatError

MACHINES = {
    3: "x86",
    8: "mips",
    21: "ppc64le",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
"""Names of `e_machine`, as Alpine spells its architectures; all of 32-bit ARM is `arm`."""

_PT_DYNAMIC, _PT_INTERP, _PT_LOAD = 2, 3, 1
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 0, 1, 5, 10


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where the fields of one ELF class lie: offsets into headers, as struct codes."""

    header: str  # e_phoff e_shoff, behind 32 (ELF64) or 28 (ELF32) bytes
    header_offset: int
    counts_offset: int  # e_phentsize e_phnum e_shentsize e_shnum e_shstrndx
    section: str  # sh_name sh_type sh_flags sh_addr sh_offset sh_size
    segment: str
    dynamic: str


_LAYOUTS = {
    1: _Layout(
        header="II", header_offset=28, counts_offset=42, section="6I", segment="8I", dynamic="II"
    ),
    2: _Layout(
        header="QQ",
        header_offset=32,
        counts_offset=54,
        section="IIQQQQ",
        segment="IIQQQQQQ",
        dynamic="QQ",
    ),
}


def is_elf(data: bytes | memoryview) -> bool:
    """Whether `data` begins like an ELF file."""
    return bytes(data[:4]) == b"\x7fELF"


def machine_of(data: bytes | memoryview, *, subject: str = "ELF") -> str:
    """What an ELF file runs on, as MACHINES has it; its first 20 bytes are enough."""
    view = memoryview(data)
    with _located(subject):
        _, order = _layout(view, subject)
        (number,) = Struct(order + "H").unpack_from(view, 18)
    return MACHINES.get(number, f"machine {number}")


def section_data(data: bytes | memoryview, name: str, *, subject: str = "ELF") -> memoryview:
    """The bytes of the first section called `name`; empty if there is none."""
    view = memoryview(data)
    with _located(subject):
        layout, order = _layout(view, subject)
        sections = list(_sections(view, layout, order))
        if not sections:
            return view[:0]
        names_index = Struct(order + "5H").unpack_from(view, layout.counts_offset)[4]
        names = _range(view, *sections[names_index][4:6])
        wanted = name.encode()
        for name_offset, _, _, _, offset, size in sections:
            if _string(names, name_offset) == wanted:
                return _range(view, offset, size)
    return view[:0]


def read_modinfo(module: bytes | memoryview, *, subject: str = "module") -> list[tuple[str, str]]:
    """The (key, value) pairs of a kernel module's `.modinfo`, in order (kernel moduleparam.h)."""
    fields = bytes(section_data(module, ".modinfo", subject=subject)).split(b"\0")
    pairs = (field.decode("utf-8", "surrogateescape").partition("=") for field in fields if field)
    return [(key, value) for key, _, value in pairs]


def linked_libraries(program: bytes | memoryview, *, subject: str = "program") -> list[str]:
    """What must be there for `program` to start: its interpreter's path, its NEEDED names.

    An interpreter has slashes in it, a library has not. Empty for a static program.
    """
    view = memoryview(program)
    wanted = []
    with _located(subject):
        layout, order = _layout(view, subject)
        segments = list(_segments(view, layout, order))
        for kind, offset, _, size in segments:
            if kind == _PT_INTERP:
                wanted.append(_string(_range(view, offset, size), 0))
        for kind, offset, _, size in segments:
            if kind == _PT_DYNAMIC:
                wanted += _needed(view, _range(view, offset, size), layout, order, segments)
    return [name.decode("utf-8", "surrogateescape") for name in wanted]


def _needed(
    view: memoryview,
    table: memoryview,
    layout: _Layout,
    order: str,
    segments: list[tuple[int, int, int, int]],
) -> list[bytes]:
    entry = Struct(order + layout.dynamic)
    tags: list[tuple[int, int]] = []
    for tag, value in entry.iter_unpack(table[: len(table) // entry.size * entry.size]):
        if tag == _DT_NULL:
            break
        tags.append((tag, value))
    values = dict(tags)
    if _DT_STRTAB not in values:
        return []
    # The table gives an address; the loadable segment that covers it gives the file offset.
    address = values[_DT_STRTAB]
    for kind, offset, start, size in segments:
        if kind == _PT_LOAD and start <= address < start + size:
            strings = _range(view, offset + address - start, values.get(_DT_STRSZ, 0))
            return [_string(strings, value) for tag, value in tags if tag == _DT_NEEDED]
    return []


def _layout(view: memoryview, subject: str) -> tuple[_Layout, str]:
    if not is_elf(view):
        raise FormatError(
            subject,
            "not an ELF file",
            expected="7f 45 4c 46",
            got=bytes(view[:4]).hex(" ") or "nothing",
            hint="the file is damaged; get the release again",
        )
    try:
        return _LAYOUTS[view[4]], {1: "<", 2: ">"}[view[5]]
    except (KeyError, IndexError):
        raise _damaged(subject) from None


def _sections(view: memoryview, layout: _Layout, order: str) -> Iterator[tuple[int, ...]]:
    _, start = Struct(order + layout.header).unpack_from(view, layout.header_offset)
    _, _, entry_size, count, _ = Struct(order + "5H").unpack_from(view, layout.counts_offset)
    header = Struct(order + layout.section)
    if start:
        for index in range(count):
            yield header.unpack_from(view, start + index * entry_size)


def _segments(view: memoryview, layout: _Layout, order: str) -> Iterator[tuple[int, int, int, int]]:
    """(type, file offset, address, bytes in the file) of every program header."""
    start, _ = Struct(order + layout.header).unpack_from(view, layout.header_offset)
    entry_size, count, *_ = Struct(order + "5H").unpack_from(view, layout.counts_offset)
    header = Struct(order + layout.segment)
    for index in range(count):
        fields = header.unpack_from(view, start + index * entry_size)
        if layout is _LAYOUTS[2]:  # ELF64 moved the flags in front of the offset
            yield fields[0], fields[2], fields[3], fields[5]
        else:
            yield fields[0], fields[1], fields[2], fields[4]


def _range(view: memoryview, offset: int, size: int) -> memoryview:
    if offset + size > len(view):
        raise IndexError
    return view[offset : offset + size]


def _string(table: memoryview, offset: int) -> bytes:
    if offset >= len(table):
        raise IndexError
    return bytes(table[offset : offset + 4096]).partition(b"\0")[0]


@contextmanager
def _located(subject: str) -> Iterator[None]:
    """Turns reads beyond the file into one FormatError about `subject`."""
    try:
        yield
    except (struct_error, IndexError):
        raise _damaged(subject) from None


def _damaged(subject: str) -> FormatError:
    return FormatError(
        subject,
        "damaged ELF headers: they point beyond the file",
        hint="the file is damaged; get the release again",
    )
