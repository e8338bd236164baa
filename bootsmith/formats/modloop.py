"""What a modloop holds: `modules/<kernel release>/…` and, beside it, `modules/firmware/…`.

Source: alpinelinux/alpine-conf update-kernel.in. The image of a 3.1 release is a squash of
a whole `lib/`, so other names beside `modules` are no error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bootsmith.errors import BuildError, FormatError
from bootsmith.formats.compression import decompress_file
from bootsmith.formats.elf import machine_of
from bootsmith.formats.kernel_modules import COMPRESSED_SUFFIXES, module_name
from bootsmith.formats.module_facts import read_module_facts
from bootsmith.formats.squashfs import FILE, Squashfs, SquashfsEntry

_MODULE_LIMIT_BYTES = 64 << 20
_MODULE_SUFFIXES = (".ko", *(f".ko{suffix}" for suffix in COMPRESSED_SUFFIXES))


@dataclass(frozen=True, kw_only=True)
class ModloopFacts:
    """What a machine gets of a modloop; `modules` are sorted names.

    `machine` (as formats.elf has them) and `built_for` are what the first module says of
    itself; None where there is no module, or where it does not say it.
    """

    kernel_release: str
    machine: str | None
    built_for: str | None
    modules: tuple[str, ...]


def read_modloop_facts(image: Squashfs) -> ModloopFacts:
    """The facts of a modloop, after every table of it was read; FormatError for damage.

    Of the contents only the first module is unpacked, but all of them must lie in the image.
    """
    release = modloop_kernel_release(image)
    found: list[SquashfsEntry] = []
    for entry in image.walk():
        if entry.type == FILE:
            image.check_place(entry)
            if entry.path.endswith(_MODULE_SUFFIXES):
                found.append(entry)
    machine, built_for = _of_first(image, found)
    return ModloopFacts(
        kernel_release=release,
        machine=machine,
        built_for=built_for,
        modules=tuple(sorted({module_name(entry.path) for entry in found})),
    )


def _of_first(image: Squashfs, modules: list[SquashfsEntry]) -> tuple[str | None, str | None]:
    if not modules:
        return None, None
    first = modules[0]
    subject = f"{image.subject}: {first.path}"
    content = image.read_entry(first, limit_bytes=_MODULE_LIMIT_BYTES)
    if first.path.endswith(COMPRESSED_SUFFIXES):
        content = decompress_file(content, limit_bytes=_MODULE_LIMIT_BYTES, subject=subject)
    return (
        machine_of(content, subject=subject),
        read_module_facts(content, subject=subject).kernel_release,
    )


def modloop_kernel_release(image: Squashfs) -> str:
    """The kernel release (`uname -r`) whose modules `image` holds; FormatError unless one."""
    names = image.names("modules") if image.exists("modules") else ()
    releases = [
        name
        for name in names
        if name != "firmware" and image.entry(f"modules/{name}").type == "dir"
    ]
    if len(releases) != 1:
        raise FormatError(
            image.subject,
            "not a modloop",
            expected="one directory modules/<kernel release>",
            got=", ".join(f"modules/{name}" for name in releases) or "none",
            hint="use the modloop of the same release as the kernel",
        )
    return releases[0]


# The option that lets a kernel read each compressor, and the first kernel that has it.
_READABLE = {
    "gzip": (b"CONFIG_SQUASHFS_ZLIB", (2, 6, 29)),
    "xz": (b"CONFIG_SQUASHFS_XZ", (2, 6, 38)),
    "zstd": (b"CONFIG_SQUASHFS_ZSTD", (4, 14)),
}


def check_kernel_reads(compression: str, *, kernel_config: bytes, kernel_release: str) -> None:
    """BuildError if this kernel is known not to mount a squashfs of `compression`.

    `kernel_config` is the text of `/boot/config-*`; empty, the kernel's version decides.
    """
    option, since = _READABLE[compression]
    if kernel_config:
        is_able = re.search(rb"^" + option + rb"=y$", kernel_config, re.MULTILINE) is not None
        expected = f"{option.decode()}=y in its configuration"
    else:
        found = re.match(r"\d+(?:\.\d+)*", kernel_release)
        is_able = not found or tuple(map(int, found[0].split("."))) >= since
        expected = f"Linux {'.'.join(map(str, since))} or newer"
    if not is_able:
        raise BuildError(
            f"kernel {kernel_release}",
            f"cannot mount a modloop compressed with {compression}",
            expected=expected,
            hint='set compression = "stock" in the [modloop] table of the release recipe',
        )
