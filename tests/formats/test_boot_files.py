"""What boot configurations name, in our spelling and in Alpine's."""

from __future__ import annotations

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.boot_files import files_of_grub_cfg, files_of_syslinux_cfg
from bootsmith.formats.boot_menu import BootMenu
from bootsmith.formats.grub_cfg import write_grub_cfg
from bootsmith.formats.syslinux_cfg import write_syslinux_cfg

MENU = BootMenu(
    flavor="lts",
    kernel="/boot/vmlinuz-lts",
    initrds=("/boot/intel-ucode.img", "/boot/pxerd-lts"),
    options=("modules=loop,squashfs", "modloop=/boot/modloop-lts", "quiet", "ip=a;b"),
    timeout_deciseconds=10,
    serial_console=True,
)
# As aports' mkimg.base.sh writes them.
ALPINE_SYSLINUX = b"""TIMEOUT 10
PROMPT 1
DEFAULT lts

LABEL lts
MENU LABEL Linux lts
KERNEL /boot/vmlinuz-lts
INITRD /boot/initramfs-lts
FDTDIR /boot/dtbs-lts
APPEND modules=loop,squashfs quiet

LABEL other
KERNEL /boot/vmlinuz-other
"""
ALPINE_GRUB = b"""set timeout=1

menuentry "Linux lts" {
linux\t/boot/vmlinuz-lts modules=loop,squashfs quiet
initrd\t/boot/initramfs-lts
}
menuentry "Linux virt" {
linux\t/boot/vmlinuz-virt
}
"""


@pytest.mark.parametrize(
    "read,content",
    [
        (files_of_syslinux_cfg, write_syslinux_cfg(MENU)),
        (files_of_grub_cfg, write_grub_cfg(MENU)),
    ],
)
def test_what_we_write_is_read(read, content):
    files = read(content, subject="x.cfg")
    assert (files.kernel, files.initrds, files.options) == (
        MENU.kernel,
        MENU.initrds,
        MENU.options,
    )
    assert files.option("modloop") == "/boot/modloop-lts"
    assert files.option("mod") is None


@pytest.mark.parametrize(
    "read,content", [(files_of_syslinux_cfg, ALPINE_SYSLINUX), (files_of_grub_cfg, ALPINE_GRUB)]
)
def test_the_first_entry_of_alpines_counts(read, content):
    files = read(content, subject="x.cfg")
    assert (files.kernel, files.initrds) == ("/boot/vmlinuz-lts", ("/boot/initramfs-lts",))
    assert files.options == ("modules=loop,squashfs", "quiet")


@pytest.mark.parametrize("read", [files_of_syslinux_cfg, files_of_grub_cfg])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b"KERNEL\nlinux\n", b"LABEL x\nboot\n"])
def test_a_menu_without_a_kernel(read, content):
    with pytest.raises(FormatError) as caught:
        read(content, subject="k.img: x.cfg")
    assert str(caught.value) == ("k.img: x.cfg: names no kernel to boot\n  next: build it again")
