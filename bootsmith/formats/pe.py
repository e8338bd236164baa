"""PE: the one fact we need of UEFI programs, which machine they are for.

Source: Microsoft's PE format specification, COFF file header.
"""

from __future__ import annotations

from bootsmith.errors import FormatError

_POINTER_AT = 0x3C
_MACHINES = {
    0x14C: "x86",
    0x8664: "x86_64",
    0x1C0: "arm",
    0x1C2: "arm",
    0xAA64: "aarch64",
    0x5064: "riscv64",
    0x6264: "loongarch64",
}
HEAD_BYTES = 4096
"""Reading so much of a program is enough."""


def pe_machine(head: bytes, *, subject: object) -> str:
    """What the program that begins with `head` runs on, in Alpine's spelling."""
    at = int.from_bytes(head[_POINTER_AT : _POINTER_AT + 4], "little")
    if head[:2] != b"MZ" or head[at : at + 4] != b"PE\0\0":
        raise FormatError(
            subject,
            "is no UEFI program",
            expected="MZ, and a PE header",
            got=head[:4].hex(" ") or "nothing",
            hint="install the package that it comes from again",
        )
    number = int.from_bytes(head[at + 4 : at + 6], "little")
    return _MACHINES.get(number, f"machine {number:#x}")
