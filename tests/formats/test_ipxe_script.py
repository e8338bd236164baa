from __future__ import annotations

from dataclasses import replace

import pytest

from bootsmith.errors import RecipeError
from bootsmith.formats.ipxe_script import (
    write_boot_script,
    write_ipxe_disk_script,
    write_ipxe_script,
)
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.network_boot import NetworkBoot

NETWORK = Network(
    server="10.20.0.1",
    subnet="10.20.0.0/16",
    interface="eth1",
    root="/srv/boot",
    domain="boot.example",
    http_port=8080,
)
BOOT = NetworkBoot(
    title="template web",
    kernel="tftp/boot/standin-virt/vmlinuz-virt",
    initrds=("tftp/boot/standin-virt/intel-ucode.img", "tftp/boot/standin-virt/pxerd"),
    options=("quiet", "ip=dhcp"),
    subject="template web",
)
TREE = "http://10.20.0.1:8080/generations/@generation@/netboot"
MAC = "01-${netX/mac:hexhyp}"
RETRY = (
    ":failed\n"
    "echo Trying again in 10 seconds\n"
    "sleep 10\n"
    "imgfree\n"
    "chain --replace http://10.20.0.1:8080/current/netboot/tftp/boot.ipxe || goto failed\n"
)


def test_the_chooser():
    assert write_boot_script(network=NETWORK) == (
        "#!ipxe\n"
        f"chain --replace {TREE}/tftp/ipxe/{MAC}.ipxe ||\n"
        f"imgfetch --name default {TREE}/tftp/ipxe/default.ipxe || goto failed\n"
        f"chain --replace {TREE}/tftp/ipxe/{MAC}.ipxe ||\n"
        f"isset ${{209:string}} && chain --replace {TREE}/tftp/ipxe/${{209:string}}.ipxe ||\n"
        "chain --replace default ||\n"
        f"{RETRY}"
    )


def test_a_template():
    assert write_ipxe_script(BOOT, network=NETWORK) == (
        "#!ipxe\n"
        "# template web\n"
        "imgfree\n"
        f"kernel --name vmlinuz-virt {TREE}/tftp/boot/standin-virt/vmlinuz-virt || goto failed\n"
        f"initrd --name intel-ucode.img {TREE}/tftp/boot/standin-virt/intel-ucode.img"
        " || goto failed\n"
        f"initrd --name pxerd {TREE}/tftp/boot/standin-virt/pxerd || goto failed\n"
        f"imgargs vmlinuz-virt quiet ip=dhcp initrd=intel-ucode.img initrd=pxerd BOOTIF={MAC}\n"
        "boot ||\n"
        f"{RETRY}"
    )


def test_a_template_of_hosts_that_can_be_armed():
    plain = write_ipxe_script(BOOT, network=NETWORK)
    armable = write_ipxe_script(BOOT, network=NETWORK, is_armable=True)
    title = "# template web\n"
    assert armable == plain.replace(
        title, f"{title}chain --replace http://10.20.0.1:8080/armed/{MAC}.ipxe ||\n"
    )


def test_the_disk():
    assert write_ipxe_disk_script(network=NETWORK) == (
        "#!ipxe\n"
        "# the machine's own disk\n"
        "iseq ${platform} efi && exit 1 ||\n"
        "sanboot --no-describe --drive 0x80 || exit 1\n"
    )
    assert write_ipxe_disk_script(network=NETWORK, is_armable=True) == (
        "#!ipxe\n"
        "# the machine's own disk\n"
        f"chain --replace http://10.20.0.1:8080/armed/{MAC}.ipxe ||\n"
        "iseq ${platform} efi && exit 1 ||\n"
        "sanboot --no-describe --drive 0x80 || exit 1\n"
    )


@pytest.mark.parametrize("option", ["a=${net0/mac}", "#x", "||", "&&", ";"])
def test_a_word_that_ipxe_would_read_is_refused(option):
    with pytest.raises(RecipeError) as caught:
        write_ipxe_script(replace(BOOT, options=("quiet", option)), network=NETWORK)
    assert str(caught.value) == (
        "template web: iPXE would not hand on this kernel word as it is; expected no ${, no # in "
        f"front, and none of || && ;, got {option}\n"
        "  next: write it otherwise, or let a file of the overlay say it"
    )


@pytest.mark.parametrize("option", ["a=$x", "a#b", "a||b", "{MAC}"])
def test_other_words_arrive(option):
    text = write_ipxe_script(replace(BOOT, options=(option,)), network=NETWORK)
    assert f"imgargs vmlinuz-virt {option} initrd=" in text


def test_the_longest_command_line():
    added = len("vmlinuz-virt initrd=intel-ucode.img initrd=pxerd BOOTIF=01-52-54-00-00-00-00 ")
    write_ipxe_script(replace(BOOT, options=("a" * (2047 - added),)), network=NETWORK)
    with pytest.raises(RecipeError) as caught:
        write_ipxe_script(replace(BOOT, options=("a" * (2048 - added),)), network=NETWORK)
    assert str(caught.value) == (
        f"template web: boot options are too long for iPXE; expected at most {2047 - added} "
        f"characters, got {2048 - added}\n"
        "  next: leave some out, or let a file of the overlay say it"
    )
