from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from bootsmith.errors import RecipeError
from bootsmith.formats.grub_netboot_cfg import (
    FIRST_CONFIGURATION,
    write_grub_chooser_cfg,
    write_grub_disk_cfg,
    write_grub_netboot_cfg,
)
from bootsmith.formats.network_boot import NetworkBoot

BOOT = NetworkBoot(
    title="template web",
    kernel="tftp/boot/standin-virt/vmlinuz-virt",
    initrds=("tftp/boot/standin-virt/intel-ucode.img", "tftp/boot/standin-virt/pxerd"),
    options=("quiet", "apkovl=http://10.20.0.1/{MAC}.gz"),
    subject="template web",
)
TREE = "/generations/@generation@/netboot"


def is_a_grub_script(text: str) -> bool:
    return subprocess.run(["grub-script-check"], input=text.encode()).returncode == 0


def test_the_chooser():
    text = write_grub_chooser_cfg([3, 4, 3])
    assert text == (
        "regexp --set=1:a --set=2:b --set=3:c --set=4:d --set=5:e --set=6:f"
        " '^(..):(..):(..):(..):(..):(..)$' \"$net_default_mac\"\n"
        'set mac="01-$a-$b-$c-$d-$e-$f"\n'
        "export mac\n"
        "for name in $mac $a-$b-$c-$d $a-$b-$c default; do\n"
        '\tif [ "$found" != yes ]; then\n'
        f"\t\tsource {TREE}/tftp/grub/$name.cfg\n"
        "\tfi\n"
        "done\n"
    )
    assert is_a_grub_script(text)


def test_no_prefixes():
    text = write_grub_chooser_cfg()
    assert "\nfor name in $mac default; do\n" in text
    assert is_a_grub_script(text)


def test_a_template():
    text = write_grub_netboot_cfg(BOOT)
    assert text == (
        "set found=yes\n"
        "echo 'template web'\n"
        f"if linux {TREE}/tftp/boot/standin-virt/vmlinuz-virt"
        " quiet 'apkovl=http://10.20.0.1/{MAC}.gz' BOOTIF=$mac; then\n"
        f"\tif initrd {TREE}/tftp/boot/standin-virt/intel-ucode.img"
        f" {TREE}/tftp/boot/standin-virt/pxerd; then\n"
        "\t\tboot\n"
        "\tfi\n"
        "fi\n"
    )
    assert is_a_grub_script(text)


def test_a_serial_port_and_what_is_armed():
    text = write_grub_netboot_cfg(replace(BOOT, serial=True), is_armable=True)
    assert text.startswith(
        "set found=yes\n"
        "serial --unit=0 --speed=115200\n"
        "terminal_input console serial\n"
        "terminal_output console serial\n"
        "source /armed/$mac.cfg\n"
        "echo 'template web'\n"
    )
    assert is_a_grub_script(text)


def test_the_disk():
    text = write_grub_disk_cfg(is_armable=True)
    assert text == (
        "set found=yes\n"
        "source /armed/$mac.cfg\n"
        "if search --no-floppy --set=disk --file /efi/boot/bootx64.efi; then\n"
        "\tchainloader ($disk)/efi/boot/bootx64.efi\n"
        "\tboot\n"
        "fi\n"
        "exit\n"
    )
    assert is_a_grub_script(text)
    assert write_grub_disk_cfg() == text.replace("source /armed/$mac.cfg\n", "")


def test_what_runs_inside_the_program():
    by_own_address = [
        f"net_bootp efinet{card}\n"
        f"set net_default_interface=efinet{card}_dhcp\n"
        "export net_default_interface\n"
        f"set root=tftp,$net_efinet{card}_dhcp_next_server\n"
        "set prefix=($root)/current/netboot/tftp/grub\n"
        "source $prefix/grub.cfg\n"
        for card in range(4)
    ]
    expected = [
        "set prefix=$cmdpath/grub\n",
        "source $prefix/grub.cfg\n",
        *by_own_address,
        "echo 'Trying again in 10 seconds'\n",
        "sleep 10\n",
        "reboot\n",
    ]
    assert FIRST_CONFIGURATION.splitlines(keepends=True) == "".join(expected).splitlines(True)
    assert is_a_grub_script(FIRST_CONFIGURATION)


def test_words_that_grub_would_read_otherwise_are_quoted():
    text = write_grub_netboot_cfg(replace(BOOT, options=("a=$x;y", "b={c}", "d=#&|<>")))
    assert " 'a=$x;y' 'b={c}' 'd=#&|<>' BOOTIF=$mac; then\n" in text
    assert is_a_grub_script(text)


def test_the_longest_command_line():
    added = len(
        "BOOT_IMAGE=/generations/9999-12-31.99999/netboot/tftp/boot/standin-virt/vmlinuz-virt "
        "BOOTIF=01-52-54-00-00-00-00 "
    )
    write_grub_netboot_cfg(replace(BOOT, options=("a" * (2047 - added),)))
    with pytest.raises(RecipeError) as caught:
        write_grub_netboot_cfg(replace(BOOT, options=("a" * (2048 - added),)))
    assert str(caught.value) == (
        f"template web: boot options are too long for GRUB; expected at most {2047 - added} "
        f"characters, got {2048 - added}\n"
        "  next: leave some out, or let a file of the overlay say it"
    )
