"""The argv of machines, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootsmith.errors import ToolMissing
from bootsmith.tools import qemu
from bootsmith.tools.qemu import (
    BlankDrive,
    DirectKernel,
    Drive,
    Machine,
    TapNic,
    UserNic,
    check_firmware,
    qemu_argv,
    qemu_version,
)

ALWAYS = [
    *("qemu-system-x86_64", "-no-user-config", "-nodefaults", "-machine", "q35,accel=tcg"),
    *("-m", "512", "-smp", "1", "-vga", "std", "-display", "none", "-no-reboot"),
    *("-device", "virtio-rng-pci"),
]


def test_a_bare_machine_has_its_console_on_the_terminal():
    assert qemu_argv(Machine()) == [*ALWAYS, "-serial", "mon:stdio"]


def test_a_stick_comes_before_a_blank_disk_by_boot_index():
    machine = Machine(
        console=Path("/log/console"),
        drives=(
            BlankDrive(size_bytes=4096, attach="sata"),
            Drive(file=Path("/g/key.img"), attach="usb", boot_index=0),
        ),
        smbios_system={"serial": "bootsmith-1f", "product": "a, b"},
    )
    assert qemu_argv(machine)[len(ALWAYS) :] == [
        *("-monitor", "none"),
        *("-chardev", "file,id=console,path=/log/console"),
        *("-serial", "chardev:console"),
        *("-device", "qemu-xhci"),
        *("-drive", "if=none,id=drive0,driver=null-co,size=4096,read-zeroes=on"),
        *("-device", "ide-hd,drive=drive0"),
        *("-drive", "if=none,id=drive1,file=/g/key.img,format=raw,snapshot=on"),
        *("-device", "usb-storage,removable=on,drive=drive1,bootindex=0"),
        *("-smbios", "type=1,product=a,, b,serial=bootsmith-1f"),
    ]


def test_a_direct_kernel_with_a_read_only_medium_and_a_nic():
    machine = Machine(
        console=Path("/log/console"),
        drives=(
            Drive(file=Path("/g/key.img"), attach="virtio", read_only=True),
            Drive(file=Path("/g/release.iso"), attach="cdrom", snapshot=False),
        ),
        kernel=DirectKernel(
            image=Path("/g/vmlinuz"), initramfs=Path("/g/pxerd"), command_line="modules=a,b quiet"
        ),
        nics=(UserNic(), UserNic(model="e1000e", isolated=False)),
    )
    assert qemu_argv(machine)[len(ALWAYS) + 6 :] == [
        *("-drive", "if=none,id=drive0,file=/g/key.img,format=raw,readonly=on"),
        *("-device", "virtio-blk-pci,drive=drive0"),
        *("-drive", "if=none,id=drive1,file=/g/release.iso,format=raw"),
        *("-device", "ide-cd,drive=drive1"),
        *("-kernel", "/g/vmlinuz", "-initrd", "/g/pxerd", "-append", "modules=a,b quiet"),
        *("-netdev", "user,id=net0,restrict=on"),
        *("-device", "virtio-net-pci,netdev=net0,romfile="),
        *("-netdev", "user,id=net1,restrict=off"),
        *("-device", "e1000e,netdev=net1,romfile="),
    ]


def test_uefi_gets_its_own_variables_and_kvm_the_host_processor():
    argv = qemu_argv(
        Machine(firmware="ovmf", accelerator="kvm", memory_mebibytes=1024, processors=2)
    )
    assert argv[3:] == [
        *("-machine", "q35,accel=kvm", "-cpu", "host", "-m", "1024", "-smp", "2"),
        *("-vga", "std", "-display", "none", "-no-reboot", "-device", "virtio-rng-pci"),
        "-drive",
        "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
        "-drive",
        "if=pflash,unit=1,format=raw,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd",
        *("-serial", "mon:stdio"),
    ]


def test_a_card_on_a_wire_boots_by_its_rom_or_by_the_firmware():
    nics = (
        TapNic(tap="guest0", mac="52:54:01:02:00:07", boot_index=0),
        TapNic(tap="guest1", mac="52:54:01:02:00:08", model="e1000e", option_rom=False),
    )
    card = "virtio-net-pci,netdev=net0,mac=52:54:01:02:00:07,bootindex=0"
    assert qemu_argv(Machine(nics=nics))[len(ALWAYS) + 2 :] == [
        *("-netdev", "tap,id=net0,ifname=guest0,script=no,downscript=no", "-device", card),
        *("-netdev", "tap,id=net1,ifname=guest1,script=no,downscript=no"),
        *("-device", "e1000e,netdev=net1,mac=52:54:01:02:00:08,romfile="),
    ]


@pytest.mark.parametrize(
    "network_boot,switched_off",
    [("pxe", ["IPv6PXESupport"]), ("http", ["IPv6PXESupport", "IPv4PXESupport"])],
)
def test_uefi_boots_from_a_wire_as_it_is_told(network_boot, switched_off):
    nic = TapNic(tap="guest0", mac="52:54:01:02:00:07")
    argv = qemu_argv(Machine(firmware="ovmf", nics=(nic,), network_boot=network_boot))
    assert [word for word in argv if word.startswith("name=")] == [
        f"name=opt/org.tianocore/{switch},string=n" for switch in switched_off
    ]


def test_the_screen_goes_to_the_second_port():
    machine = Machine(
        console=Path("/a,b/console"), screen=Path("/a,b/screen"), screen_port=Path("/a,b/port")
    )
    assert qemu_argv(machine)[len(ALWAYS) :] == [
        *("-monitor", "none"),
        *("-chardev", "file,id=console,path=/a,,b/console", "-serial", "chardev:console"),
        *("-chardev", "file,id=screen,path=/a,,b/screen", "-serial", "chardev:screen"),
        *("-fw_cfg", "name=etc/sercon-port,file=/a,,b/port"),
    ]


def test_the_version_is_what_qemu_says():
    assert qemu_version()[0].isdigit()


def test_missing_firmware_says_how_to_get_it(monkeypatch, tmp_path):
    check_firmware("ovmf")
    monkeypatch.setattr(qemu, "OVMF_VARIABLES", tmp_path / "none.fd")
    check_firmware("bios")
    with pytest.raises(ToolMissing) as caught:
        check_firmware("ovmf")
    assert str(caught.value) == (
        f"{tmp_path}/none.fd: UEFI firmware for virtual machines not found, needed by UEFI boots\n"
        "  next: sudo apt-get install ovmf"
    )
