from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from bootsmith.errors import RecipeError
from bootsmith.formats.boot_menu import BootMenu
from bootsmith.formats.grub_cfg import write_grub_cfg, write_grub_first_cfg

MENU = BootMenu(
    flavor="virt",
    kernel="/boot/vmlinuz-virt",
    initrds=("/boot/pxerd-virt",),
    options=("modules=loop,squashfs,sd-mod,usb-storage", "quiet"),
    timeout_deciseconds=10,
)


def is_a_grub_script(text: bytes) -> bool:
    return subprocess.run(["grub-script-check"], input=text).returncode == 0


def test_plain():
    text = write_grub_cfg(MENU)
    assert text == (
        b"set timeout=1\n"
        b"menuentry 'Linux virt' {\n"
        b"\tlinux /boot/vmlinuz-virt modules=loop,squashfs,sd-mod,usb-storage quiet\n"
        b"\tinitrd /boot/pxerd-virt\n"
        b"}\n"
    )
    assert is_a_grub_script(text)


def test_serial_microcode_and_words_that_grub_would_read_otherwise():
    menu = replace(
        MENU,
        initrds=("/boot/intel-ucode.img", "/boot/initramfs-virt"),
        options=("console=ttyS0,115200", "a=$x;y", "b={c}", "d=#&|<>"),
        timeout_deciseconds=11,
        serial_console=True,
    )
    text = write_grub_cfg(menu)
    assert text == (
        b"serial --unit=0 --speed=115200\n"
        b"terminal_input console serial\n"
        b"terminal_output console serial\n"
        b"set timeout=2\n"
        b"menuentry 'Linux virt' {\n"
        b"\tlinux /boot/vmlinuz-virt console=ttyS0,115200 'a=$x;y' 'b={c}' 'd=#&|<>'\n"
        b"\tinitrd /boot/intel-ucode.img /boot/initramfs-virt\n"
        b"}\n"
    )
    assert is_a_grub_script(text)


def test_no_waiting():
    assert write_grub_cfg(replace(MENU, timeout_deciseconds=0)).startswith(b"set timeout=0\n")


def test_first_configuration_finds_its_volume():
    text = write_grub_first_cfg(volume_uuid="1A2B-3C4D")
    assert text == (
        "search --no-floppy --fs-uuid --set=root 1A2B-3C4D\nset prefix=($root)/boot/grub\n"
    )
    assert is_a_grub_script(text.encode())


@pytest.mark.parametrize("option", ["two words", "quo'te"])
def test_option_that_would_not_arrive_is_refused(option):
    with pytest.raises(RecipeError) as caught:
        write_grub_cfg(replace(MENU, options=(option,)))
    assert str(caught.value) == (
        "grub.cfg: not a boot option; expected one word of ASCII without blanks, quotes and "
        f"backslashes, got {option!a}\n  next: write each option as an item of its own"
    )
