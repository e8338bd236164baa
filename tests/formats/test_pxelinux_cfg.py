from __future__ import annotations

from dataclasses import replace

import pytest

from bootsmith.errors import RecipeError
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.network_boot import NetworkBoot
from bootsmith.formats.pxelinux_cfg import (
    write_pxelinux_armable_cfg,
    write_pxelinux_cfg,
    write_pxelinux_disk_cfg,
)

NETWORK = Network(
    server="10.20.0.1",
    subnet="10.20.0.0/16",
    interface="eth1",
    root="/srv/boot",
    domain="boot.example",
)
BOOT = NetworkBoot(
    title="template web",
    kernel="tftp/boot/standin-virt/vmlinuz-virt",
    initrds=("tftp/boot/standin-virt/pxerd",),
    options=("quiet", "ip=dhcp"),
    subject="template web",
)


def test_a_template():
    assert write_pxelinux_cfg(BOOT, network=NETWORK) == (
        "PROMPT 0\n"
        "TIMEOUT 100\n"
        "ONTIMEOUT again\n"
        "DEFAULT boot\n"
        "\n"
        "LABEL boot\n"
        "\tMENU LABEL template web\n"
        "\tLINUX ::generations/@generation@/netboot/tftp/boot/standin-virt/vmlinuz-virt\n"
        "\tINITRD ::generations/@generation@/netboot/tftp/boot/standin-virt/pxerd\n"
        "\tAPPEND quiet ip=dhcp\n"
        "\tSYSAPPEND 2\n"
        "\n"
        "LABEL again\n"
        "\tCOM32 reboot.c32\n"
    )


def test_an_installer_by_http_with_microcode_and_a_serial_port():
    boot = replace(
        BOOT,
        title="installer debian",
        initrds=("tftp/boot/x/intel-ucode.img", "tftp/boot/x/pxerd"),
        serial=True,
    )
    network = replace(NETWORK, http_port=8080)
    assert write_pxelinux_cfg(boot, network=network, by_http=True, is_installer=True) == (
        "SERIAL 0 115200\n"
        "PROMPT 0\n"
        "TIMEOUT 100\n"
        "ONTIMEOUT again\n"
        "DEFAULT install\n"
        "\n"
        "LABEL install\n"
        "\tMENU LABEL installer debian\n"
        "\tLINUX http://10.20.0.1:8080/generations/@generation@/netboot/"
        "tftp/boot/standin-virt/vmlinuz-virt\n"
        "\tINITRD http://10.20.0.1:8080/generations/@generation@/netboot/"
        "tftp/boot/x/intel-ucode.img,"
        "http://10.20.0.1:8080/generations/@generation@/netboot/tftp/boot/x/pxerd\n"
        "\tAPPEND quiet ip=dhcp\n"
        "\tSYSAPPEND 2\n"
        "\n"
        "LABEL again\n"
        "\tCOM32 reboot.c32\n"
    )


def test_the_disk():
    assert write_pxelinux_disk_cfg() == ("DEFAULT disk\nPROMPT 0\n\nLABEL disk\n\tLOCALBOOT 0\n")


def test_a_host_that_can_be_armed():
    assert write_pxelinux_armable_cfg("52:54:01:02:00:07", "template-web") == (
        "INCLUDE pxelinux.cfg/template-web\nINCLUDE ::armed/01-52-54-01-02-00-07\n"
    )


# What PXELINUX adds: BOOT_IMAGE= and initrd= with names of 16 characters for the generation,
# BOOTIF=, and blanks.
ADDED = len(
    "BOOT_IMAGE=::generations/9999-12-31.99999/netboot/tftp/boot/standin-virt/vmlinuz-virt "
    "initrd=::generations/9999-12-31.99999/netboot/tftp/boot/standin-virt/pxerd "
    "BOOTIF=01-52-54-00-00-00-00 "
)


def test_the_longest_command_line():
    longest = "a" * (2047 - ADDED)
    assert longest in write_pxelinux_cfg(replace(BOOT, options=(longest,)), network=NETWORK)
    with pytest.raises(RecipeError) as caught:
        write_pxelinux_cfg(replace(BOOT, options=(f"{longest}a",)), network=NETWORK)
    assert str(caught.value) == (
        f"template web: boot options are too long for PXELINUX; expected at most {2047 - ADDED} "
        f"characters, got {2048 - ADDED}\n"
        "  next: leave some out, or let a file of the overlay say it"
    )


def test_the_generation_counts_as_long_as_it_may_be():
    word = "x=@generation@"
    boot = replace(BOOT, options=(word, "a" * (2047 - ADDED - len("x=9999-12-31.99999 ") + 1)))
    with pytest.raises(RecipeError, match=f"got {2048 - ADDED}"):
        write_pxelinux_cfg(boot, network=NETWORK)


def test_names_too_long_for_tftp():
    base = "generations/9999-12-31.99999/netboot/"
    kernel = "tftp/boot/".ljust(127 - len(base), "k")
    assert f"::{'generations/@generation@/netboot/'}{kernel}" in write_pxelinux_cfg(
        replace(BOOT, kernel=kernel), network=NETWORK
    )
    with pytest.raises(RecipeError) as caught:
        write_pxelinux_cfg(replace(BOOT, kernel=f"{kernel}k"), network=NETWORK)
    assert str(caught.value) == (
        "template web: PXELINUX could not ask a server for a name so long; expected at most 127 "
        f"characters, got 128: ::generations/@generation@/netboot/{kernel}k\n"
        "  next: give the release, flavor or installer a shorter name"
    )


@pytest.mark.parametrize("option", ["initrd=/x", "noinitrd=1"])
def test_a_word_that_pxelinux_takes_for_its_own_is_refused(option):
    with pytest.raises(RecipeError) as caught:
        write_pxelinux_cfg(replace(BOOT, options=("quiet", option)), network=NETWORK)
    assert str(caught.value) == (
        "template web: PXELINUX would load this instead of the initramfs; expected no initrd= in "
        f"a kernel word, got {option}\n"
        "  next: leave it out; the initramfs is named for every loader"
    )


def test_a_line_that_would_be_two_is_refused():
    boot = replace(BOOT, title="x" * 4083)
    write_pxelinux_cfg(replace(boot, title="x" * 4082), network=NETWORK)
    with pytest.raises(RecipeError) as caught:
        write_pxelinux_cfg(boot, network=NETWORK)
    assert str(caught.value) == (
        "template web: PXELINUX would take this line for two; expected at most 4094 characters, "
        "got 4095\n  next: use fewer or shorter names of initramfs images"
    )


def test_a_word_of_two_is_refused():
    with pytest.raises(RecipeError) as caught:
        write_pxelinux_cfg(replace(BOOT, options=("two words",)), network=NETWORK)
    assert str(caught.value) == (
        "template web: not a boot option; expected one word of ASCII without blanks, quotes and "
        "backslashes, got 'two words'\n  next: write each option as an item of its own"
    )
