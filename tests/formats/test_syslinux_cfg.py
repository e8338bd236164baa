from __future__ import annotations

from dataclasses import replace

import pytest

from bootsmith.errors import RecipeError
from bootsmith.formats.boot_menu import BootMenu, check_kernel_options, merge_kernel_options
from bootsmith.formats.syslinux_cfg import write_syslinux_cfg

MENU = BootMenu(
    flavor="lts",
    kernel="/boot/vmlinuz-lts",
    initrds=("/boot/pxerd-lts",),
    options=("modules=loop,squashfs,sd-mod,usb-storage", "quiet"),
    timeout_deciseconds=10,
)


def test_plain():
    assert write_syslinux_cfg(MENU) == (
        b"TIMEOUT 10\n"
        b"PROMPT 1\n"
        b"DEFAULT lts\n"
        b"\n"
        b"LABEL lts\n"
        b"\tMENU LABEL Linux lts\n"
        b"\tKERNEL /boot/vmlinuz-lts\n"
        b"\tINITRD /boot/pxerd-lts\n"
        b"\tAPPEND modules=loop,squashfs,sd-mod,usb-storage quiet\n"
    )


def test_serial_microcode_and_no_waiting():
    menu = replace(
        MENU,
        initrds=("/boot/intel-ucode.img", "/boot/amd-ucode.img", "/boot/initramfs-lts"),
        options=("console=tty0", "console=ttyS0,115200"),
        timeout_deciseconds=0,
        serial_console=True,
    )
    assert write_syslinux_cfg(menu) == (
        b"SERIAL 0 115200\n"
        b"PROMPT 0\n"
        b"DEFAULT lts\n"
        b"\n"
        b"LABEL lts\n"
        b"\tMENU LABEL Linux lts\n"
        b"\tKERNEL /boot/vmlinuz-lts\n"
        b"\tINITRD /boot/intel-ucode.img,/boot/amd-ucode.img,/boot/initramfs-lts\n"
        b"\tAPPEND console=tty0 console=ttyS0,115200\n"
    )


def test_chosen_options_stand_for_defaults_of_their_name():
    assert merge_kernel_options(
        ("modules=loop", "quiet", "console=tty0"),
        ("modules=loop,nfs", "console=ttyS0", "console=tty1", "nomodeset"),
    ) == ("quiet", "modules=loop,nfs", "console=ttyS0", "console=tty1", "nomodeset")


@pytest.mark.parametrize(
    "option", ["", "two words", 'a="b"', "tab\t", "line\n", "grün", "a'b", "\\"]
)
def test_option_that_would_not_arrive_is_refused(option):
    with pytest.raises(RecipeError) as caught:
        write_syslinux_cfg(replace(MENU, options=("quiet", option)))
    assert str(caught.value) == (
        "syslinux.cfg: not a boot option; expected one word of ASCII without blanks, quotes and "
        f"backslashes, got {option!a}\n  next: write each option as an item of its own"
    )


def test_longest_command_line():
    check_kernel_options(["a" * 2000, "b" * 46], subject="x")
    with pytest.raises(RecipeError) as caught:
        check_kernel_options(["a" * 2000, "b" * 47], subject="x")
    assert str(caught.value) == (
        "x: boot options are too long for the kernel; expected at most 2047 characters, got 2048\n"
        "  next: leave some out"
    )
