"""What modules say of themselves, in both classes and byte orders."""

from __future__ import annotations

import struct

import pytest
from kernel_samples import kernel_module

from bootsmith.errors import FormatError
from bootsmith.formats.module_facts import read_module_facts


def test_a_module_says_what_it_is_for_exports_and_needs():
    facts = read_module_facts(
        kernel_module(
            exports=["one", "two"],
            needs=["three", "four", "three"],
            info=["alias=a", "vermagic=6.6.7-0-virt SMP preempt", "alias=b", "firmware=x/y=z"],
        ),
        subject="x.ko",
    )
    assert facts.exports == ("one", "two")
    assert facts.needs == ("three", "four")
    assert facts.values("alias") == ["a", "b"]
    assert facts.values("firmware") == ["x/y=z"]
    assert facts.kernel_release == "6.6.7-0-virt"
    assert read_module_facts(kernel_module(), subject="x.ko").kernel_release is None


def elf(symbols: list[tuple[str, int]], *, is_64_bit: bool, order: str) -> bytes:
    """An ELF file with a symbol table; `symbols` are (name, section index)."""
    names, table = b"\0", b""
    for name, section in [("", 0), *symbols]:
        at = len(names) if name else 0
        names += name.encode() + b"\0" if name else b""
        if is_64_bit:
            table += struct.pack(order + "IBBHQQ", at, 0, 0, section, 0, 0)
        else:
            table += struct.pack(order + "IIIBBH", at, 0, 0, 0, 0, section)
    titles = b"\0.symtab\0.strtab\0.shstrtab\0"
    size = 64 if is_64_bit else 52
    header, body = b"", b""
    for title, content in ((0, b""), (1, table), (9, names), (17, titles)):
        fields = title, 1, 0, 0, size + len(body), len(content), 0, 0, 1, 0
        header += struct.pack(order + ("IIQQQQIIQQ" if is_64_bit else "10I"), *fields)
        body += content
    ident = b"\x7fELF" + bytes((1 + is_64_bit, 1 if order == "<" else 2, 1)) + bytes(9)
    counts = 0, size, 0, 0, len(header) // 4, 4, 3
    words = "QQQ" if is_64_bit else "III"
    return (
        ident
        + struct.pack(order + f"HHI{words}IHHHHHH", 1, 0, 1, 0, 0, size + len(body), *counts)[:size]
        + body
        + header
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_64_bit", [False, True])
def test_symbols_are_read_in_every_class_and_byte_order(order, is_64_bit):
    """Where the kernel checks versions, what is exported has a symbol with its checksum."""
    module = elf(
        [("printk", 0), ("local", 3), ("__crc_mine", 4), ("other", 0)],
        is_64_bit=is_64_bit,
        order=order,
    )
    facts = read_module_facts(module, subject="x.ko")
    assert facts.needs == ("printk", "other")
    assert facts.exports == ("mine",)


def test_what_is_no_module_is_refused():
    with pytest.raises(FormatError) as caught:
        read_module_facts(b"MZ", subject="x.ko")
    assert caught.value.message.startswith("x.ko: not an ELF file; expected 7f 45 4c 46")
