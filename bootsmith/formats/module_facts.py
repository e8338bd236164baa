"""What a kernel module says of itself: the facts that depmod makes its indexes of.

`.modinfo` holds aliases, softdeps, firmware and the kernel it was built for; what it
exports is in `__crc_…` symbols where the kernel checks versions of symbols, else in
`__ksymtab_strings`; what it needs are its undefined symbols. Facts: kmod's
libkmod-elf.c and tools/depmod.c, kernel include/linux/moduleparam.h and export.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from bootsmith.formats.elf import read_modinfo, section_data

_CRC_PREFIX = b"__crc_"
_UNDEFINED = 0
_IS_64_BIT = 2  # the class byte of an ELF header


@dataclass(frozen=True, kw_only=True)
class ModuleFacts:
    """`info` are the pairs of `.modinfo` in order; symbols are in the module's order."""

    info: tuple[tuple[str, str], ...]
    exports: tuple[str, ...]
    needs: tuple[str, ...]

    def values(self, key: str) -> list[str]:
        """All values of one key of `.modinfo`."""
        return [value for name, value in self.info if name == key]

    @property
    def kernel_release(self) -> str | None:
        """The kernel that it was built for: the first word of its `vermagic`."""
        words = " ".join(self.values("vermagic")[:1]).split()
        return words[0] if words else None


def read_module_facts(module: bytes, *, subject: str) -> ModuleFacts:
    """Facts of an uncompressed module; FormatError, naming `subject`, if it is no ELF file."""
    info = tuple(read_modinfo(module, subject=subject))
    exports, needs = [], []
    for name, section in _symbols(module, subject):
        if section == _UNDEFINED:
            needs.append(_text(name))
        elif name.startswith(_CRC_PREFIX):
            exports.append(_text(name[len(_CRC_PREFIX) :]))
    if not exports:
        names = bytes(section_data(module, "__ksymtab_strings", subject=subject)).split(b"\0")
        exports = [_text(name) for name in names if name]
    return ModuleFacts(
        info=info, exports=tuple(dict.fromkeys(exports)), needs=tuple(dict.fromkeys(needs))
    )


def _symbols(module: bytes, subject: str) -> Iterator[tuple[bytes, int]]:
    """(name, section index) of every symbol that has a name."""
    table = section_data(module, ".symtab", subject=subject)
    names = bytes(section_data(module, ".strtab", subject=subject))
    order = ">" if module[5] == 2 else "<"
    # st_name … st_shndx: ELF64 has them side by side, ELF32 address and size between.
    record = Struct(order + ("I2xH16x" if module[4] == _IS_64_BIT else "I10xH"))
    for name_offset, section in record.iter_unpack(
        table[: len(table) // record.size * record.size]
    ):
        end = names.find(b"\0", name_offset)
        if name_offset and end > name_offset:
            yield names[name_offset:end], section


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
