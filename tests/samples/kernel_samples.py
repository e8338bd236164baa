"""Kernels without a compiler: module files, module trees, modloops and initramfs images.

The modules are relocatable ELF files with just the sections that depmod and modinfo read:
`.modinfo`, `__ksymtab_strings` for what a module exports, undefined symbols in `.symtab`
for what it needs. So real depmod decides who depends on whom.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from bootsmith.formats.cpio import CpioEntry, directory_entry, file_entry, link_entry, write_cpio
from bootsmith.tools.run import run_program

KERNEL = "6.6.7-0-virt"
_PADDING = b"\x90"


def bzimage(kernel_release: str, payload: bytes = bytes(128), *, is_64_bit: bool = True) -> bytes:
    """A kernel that is nothing but its header."""
    setup = bytearray(16 * 512)
    setup[0x1F1] = 15
    struct.pack_into("<I", setup, 0x1F4, -(-len(payload) // 16))
    struct.pack_into("<H", setup, 0x1FE, 0xAA55)
    setup[0x202:0x208] = b"HdrS\x0f\x02"
    struct.pack_into("<H", setup, 0x20E, 0x800)
    setup[0x236] = is_64_bit
    struct.pack_into("<I", setup, 0x238, 2047)
    text = f"{kernel_release} (build@host) #1 SMP\0".encode()
    setup[0xA00 : 0xA00 + len(text)] = text
    return bytes(setup) + payload + bytes(-len(payload) % 16)


def kernel_module(
    *,
    exports: Sequence[str] = (),
    needs: Sequence[str] = (),
    info: Sequence[str] = (),
    size_bytes: int = 0,
    machine: int = 62,
) -> bytes:
    """An ELF64 module; `info` are `key=value` texts (`alias=…`, `softdep=…`, `firmware=…`)."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in needs)
    symbols = [bytes(24)]
    position = 1
    for name in needs:
        symbols.append(struct.pack("<IBBHQQ", position, 0x10, 0, 0, 0, 0))
        position += len(name) + 1
    sections = {
        "": b"",
        ".modinfo": b"".join(text.encode() + b"\0" for text in ("license=GPL", *info)),
        "__ksymtab_strings": b"".join(name.encode() + b"\0" for name in exports),
        ".symtab": b"".join(symbols),
        ".strtab": names,
        ".text": _PADDING * size_bytes,
    }
    return _elf64(sections, machine)


def _elf64(sections: dict[str, bytes], machine: int) -> bytes:
    titles = "\0".join([*sections, ".shstrtab"]).encode() + b"\0"
    sections = {**sections, ".shstrtab": titles}
    kinds = {"": 0, ".symtab": 2, ".strtab": 3, ".shstrtab": 3}
    order = list(sections)
    body, headers = b"", []
    for name, content in sections.items():
        is_table = name == ".symtab"
        headers.append(
            struct.pack(
                "<IIQQQQIIQQ",
                _title_offset(order, name),
                kinds.get(name, 1),
                *(0, 0, 64 + len(body), len(content)),
                order.index(".strtab") if is_table else 0,
                *(1 if is_table else 0, 1, 24 if is_table else 0),
            )
        )
        body += content + bytes(-len(content) % 8)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack(
        "<HHIQQQIHHHHHH",
        *(1, machine, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(order), len(order) - 1),
    )
    return ident + head + body + b"".join(headers)


def _title_offset(order: Sequence[str], name: str) -> int:
    return sum(len(title) + 1 for title in order[: order.index(name)])


MODULES: Mapping[str, bytes] = {
    "kernel/drivers/block/loop.ko": kernel_module(info=["alias=block-major-7-*"], size_bytes=9000),
    "kernel/drivers/virtio/virtio.ko": kernel_module(exports=["register_virtio"], size_bytes=5000),
    "kernel/drivers/net/net_failover.ko": kernel_module(exports=["failover_create"]),
    "kernel/drivers/net/virtio_net.ko": kernel_module(
        needs=["register_virtio", "failover_create"],
        info=["alias=virtio:d00000001v*", "firmware=virtio/blob.bin", "firmware=virtio/absent.bin"],
        size_bytes=20_000,
    ),
    "kernel/drivers/net/ethernet/acme/acme-100.ko": kernel_module(
        info=["alias=pci:v0000ACMEd0000[0-9]*", "firmware=acme/fw.bin"], size_bytes=4500
    ),
    "kernel/fs/ext4/ext4.ko": kernel_module(
        needs=["crc32c", "jbd2_begin"], info=["alias=fs-ext4", "softdep=pre: crypto-crc32c"]
    ),
    "kernel/fs/jbd2/jbd2.ko": kernel_module(exports=["jbd2_begin"]),
    "kernel/lib/libcrc32c.ko": kernel_module(
        exports=["crc32c"], info=["softdep=pre: crc32c", "softdep=post: not-there"]
    ),
    "kernel/crypto/crc32c_generic.ko": kernel_module(
        info=["alias=crypto-crc32c", "alias=crc32c", "alias=crypto-crc32c-generic"]
    ),
    "kernel/crypto/crc32c-intel.ko": kernel_module(
        info=["alias=crypto-crc32c", "alias=crypto-crc32c-in[te]*"]
    ),
    "kernel/fs/squashfs/squashfs.ko": kernel_module(
        info=["alias=fs-squashfs", "softdep=pre: built-in-thing"], size_bytes=30_000
    ),
    "kernel/net/packet/af_packet.ko": kernel_module(info=["alias=net-pf-17"], size_bytes=6000),
    "kernel/drivers/char/misc-dev.ko": kernel_module(
        info=["alias=devname:misc/thing", "alias=char-major-10-200"]
    ),
}

BUILTIN = "kernel/fs/nfs/nfs.ko\nkernel/drivers/tty/built-in-thing.ko\n"
# Two share an alias: depmod keeps the later one first.
BUILTIN_INFO = (
    b"nfs.alias=fs-nfs\0nfs.alias=shared\0nfs.license=GPL\0"
    b"built_in_thing.alias=tty-x-[a-b]\0built_in_thing.alias=shared\0"
)
FIRMWARE: Mapping[str, bytes] = {"virtio/blob.bin": b"blob" * 2000, "acme/fw-1.bin.xz": b"packed"}
FIRMWARE_LINKS = {"acme/fw.bin.xz": "fw-1.bin.xz"}


def write_module_tree(
    root: Path,
    *,
    modules: Mapping[str, bytes] = MODULES,
    kernel: str = KERNEL,
    firmware: Mapping[str, bytes] = FIRMWARE,
    builtin: str = BUILTIN,
) -> Path:
    """`modules/<kernel>/…` and `modules/firmware/…` below `root`, indexed by real depmod."""
    directory = root / "modules" / kernel
    for path, content in modules.items():
        _write(directory / path, content)
    _write(directory / "modules.order", "".join(f"{path}\n" for path in modules).encode())
    _write(directory / "modules.builtin", builtin.encode())
    _write(directory / "modules.builtin.modinfo", BUILTIN_INFO)
    for name, content in firmware.items():
        _write(root / "modules/firmware" / name, content)
    for name, target in FIRMWARE_LINKS.items():
        (root / "modules/firmware" / name).symlink_to(target)
    index_tree(root, kernel)
    return directory


def index_tree(root: Path, kernel: str = KERNEL) -> None:
    """Run depmod over `root/modules`, which it looks for below lib."""
    (root / "lib").mkdir()
    (root / "lib/modules").symlink_to("../modules")
    run_program(["depmod", "-b", root, kernel])
    (root / "lib/modules").unlink()
    (root / "lib").rmdir()


def write_modloop(root: Path, modloop: Path) -> Path:
    """A squashfs of the tree below `root`, as Alpine's scripts make it."""
    run_program(
        [
            *("mksquashfs", root, modloop, "-comp", "xz", "-Xbcj", "x86", "-noappend"),
            *("-all-root", "-no-xattrs", "-quiet", "-no-progress"),
        ]
    )
    return modloop


BUSYBOX = kernel_module(size_bytes=10_000)
"""An ELF file that needs nothing, which is all that anyone here asks of busybox."""
STOCK_MODULES = ("kernel/drivers/block/loop.ko", "kernel/fs/ext4/ext4.ko")


def stock_initramfs(
    directory: Path,
    *,
    usr_merged: bool,
    kernel: str = KERNEL,
    modules: Sequence[str] = STOCK_MODULES,
    more: Sequence[CpioEntry] = (),
) -> bytes:
    """A plain cpio laid out as mkinitfs does, with modules of the tree in `directory`.

    As mkinitfs, it takes hard dependencies along and ignores softdeps.
    """
    lines = (directory / "modules.dep").read_text().splitlines()
    needs = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
    kept = sorted({path for name in modules for path in (name, *needs[name])})
    usr = "usr/" if usr_merged else ""
    where = f"{usr}lib/modules/{kernel}"
    files = {f"{where}/{path}": (directory / path).read_bytes() for path in kept}
    files |= {
        f"{where}/modules.dep": "".join(
            f"{path}: {' '.join(needs[path])}\n" for path in kept
        ).encode(),
        f"{where}/modules.order": (directory / "modules.order").read_bytes(),
        f"{where}/modules.dep.bin": b"stale index" * 600,
        f"{usr}bin/busybox": BUSYBOX,
        "etc/apk/keys/alpine.rsa.pub": b"key",
    }
    entries = {name: file_entry(name, content) for name, content in files.items()}
    entries["init"] = file_entry("init", b"#!/bin/sh\n", mode=0o755)
    entries[f"{usr}bin/sh"] = link_entry(f"{usr}bin/sh", "/bin/busybox")
    for name in ("dev", "proc", "sys", ".modloop", "media/usb"):
        entries[name] = directory_entry(name)
    for name in ("bin", "sbin", "lib"):
        entries[f"{usr}{name}"] = directory_entry(f"{usr}{name}")
        if usr_merged:
            entries[name] = link_entry(name, f"usr/{name}")
    for name in list(entries):
        parent = name.rpartition("/")[0]
        while parent and parent not in entries:
            entries[parent] = directory_entry(parent)
            parent = parent.rpartition("/")[0]
    entries |= {entry.name: entry for entry in more}
    return write_cpio(entries[name] for name in sorted(entries))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
