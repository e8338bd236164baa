"""QEMU: a machine as a value, and the command that runs it.

`Machine` says what the machine is; `qemu_argv` is pure and turns it into an argv.

Two serial ports are wired. The first is the guest's console. The second, if asked for,
gets what the BIOS and boot loaders put on the VGA screen: SeaBIOS copies its text screen
to the port that the firmware file `etc/sercon-port` names (SeaBIOS docs, "Runtime
config"). They are two ports because a boot loader that was told `SERIAL 0` would write
every character twice to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bootsmith.errors import ToolMissing
from bootsmith.tools.run import find_program, run_program

PROGRAM = "qemu-system-x86_64"
# Debian's ovmf: the build without Secure Boot, which needs no system management mode.
OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
_OVMF_SWITCH = "opt/org.tianocore"
# The second PC serial port, as a little-endian number: what etc/sercon-port holds.
SCREEN_PORT = (0x2F8).to_bytes(2, "little")

Attachment = Literal["virtio", "usb", "sata", "cdrom"]
Firmware = Literal["bios", "ovmf"]


@dataclass(frozen=True, kw_only=True)
class Drive:
    """A raw image. With `snapshot` the guest may write and the file never changes."""

    file: Path
    attach: Attachment
    boot_index: int | None = None
    snapshot: bool = True
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class BlankDrive:
    """A new disk: all zeros, forgets what is written; there is no file."""

    size_bytes: int
    attach: Attachment
    boot_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class DirectKernel:
    """A kernel that QEMU loads itself, without boot loader or medium."""

    image: Path
    initramfs: Path
    command_line: str


@dataclass(frozen=True, kw_only=True)
class UserNic:
    """A network card on QEMU's own little network, which serves DHCP at 10.0.2.2.

    With `isolated` nothing outside the guest can be reached. There is no option ROM:
    the firmware shall not try to boot from it.
    """

    model: str = "virtio-net-pci"
    isolated: bool = True


@dataclass(frozen=True, kw_only=True)
class TapNic:
    """A network card on a wire of the host: the end of a bridge that tools/unshare.py lays.

    With an option ROM, which is iPXE, the card boots by that; without one the firmware must
    know the card and boot from the network by itself, as OVMF does.
    """

    tap: str
    mac: str
    model: str = "virtio-net-pci"
    boot_index: int | None = None
    option_rom: bool = True


NetworkBoot = Literal["pxe", "http"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine. `console` None puts the first serial port on the caller's terminal."""

    memory_mebibytes: int = 512
    processors: int = 1
    accelerator: Literal["tcg", "kvm"] = "tcg"
    firmware: Firmware = "bios"
    drives: Sequence[Drive | BlankDrive] = ()
    kernel: DirectKernel | None = None
    nics: Sequence[UserNic | TapNic] = ()
    network_boot: NetworkBoot = "pxe"
    """What UEFI firmware tries on its network cards."""
    smbios_system: Mapping[str, str] = field(default_factory=dict)
    """Strings of SMBIOS type 1, as `{"serial": "…"}`: /sys/class/dmi/id/product_serial."""
    console: Path | None = None
    screen: Path | None = None
    """Where the second serial port goes; needs `screen_port`."""
    screen_port: Path | None = None
    """A file that holds SCREEN_PORT."""


def qemu_argv(machine: Machine) -> list[str]:
    """The command of this machine. Pure: the same machine gives the same words."""
    return [
        PROGRAM,
        # Neither the administrator's nor QEMU's own choice of devices: what is not in
        # these words is not in the machine.
        "-no-user-config",
        "-nodefaults",
        *("-machine", f"q35,accel={machine.accelerator}"),
        *processor_words(machine.accelerator),
        *("-m", str(machine.memory_mebibytes)),
        *("-smp", str(machine.processors)),
        # A card, since boot loaders and kernels expect one, but no window.
        *("-vga", "std", "-display", "none"),
        # A reset ends the run: a guest that restarts has not booted.
        "-no-reboot",
        # dropbear and others wait for random numbers that an idle guest cannot make.
        *("-device", "virtio-rng-pci"),
        *_firmware_words(machine),
        *_serial_words(machine),
        *_drive_words(machine.drives),
        *_kernel_words(machine.kernel),
        *_nic_words(machine.nics),
        *_smbios_words(machine.smbios_system),
    ]


def processor_words(accelerator: Literal["tcg", "kvm"]) -> tuple[str, ...]:
    """The processor of every machine on this accelerator: with KVM all that the host's has."""
    return ("-cpu", "host") if accelerator == "kvm" else ()


def qemu_version() -> str:
    """`7.2.22 (Debian …)`, as QEMU says it."""
    first = run_program([PROGRAM, "--version"]).text.partition("\n")[0]
    return first.removeprefix("QEMU emulator version ")


def check_firmware(firmware: Firmware) -> None:
    """Raise ToolMissing unless QEMU and this firmware are installed."""
    find_program(PROGRAM)
    if firmware != "ovmf":
        return
    for path in (OVMF_CODE, OVMF_VARIABLES):
        if not path.is_file():
            raise ToolMissing(
                path,
                "UEFI firmware for virtual machines not found, needed by UEFI boots",
                hint="sudo apt-get install ovmf",
            )


def _firmware_words(machine: Machine) -> list[str]:
    if machine.firmware == "bios":
        return []  # SeaBIOS is QEMU's default
    # The snapshot is this run's own copy of the variable store: boot entries of one run
    # do not reach the next, and the command can be replayed.
    code = f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}"
    variables = f"if=pflash,unit=1,format=raw,snapshot=on,file={OVMF_VARIABLES}"
    words = ["-drive", code, "-drive", variables]
    if any(isinstance(nic, TapNic) for nic in machine.nics):
        # OVMF tries PXE and HTTP boot in turn, each by IPv4 and IPv6 (edk2 OvmfPkg/README).
        words += ["-fw_cfg", f"name={_OVMF_SWITCH}/IPv6PXESupport,string=n"]
        if machine.network_boot == "http":
            words += ["-fw_cfg", f"name={_OVMF_SWITCH}/IPv4PXESupport,string=n"]
    return words


def _serial_words(machine: Machine) -> list[str]:
    if machine.console is None:
        # Ctrl-a x leaves, Ctrl-a c gives QEMU's prompt.
        words = ["-serial", "mon:stdio"]
    else:
        words = [
            *("-monitor", "none"),
            *("-chardev", f"file,id=console,path={_escaped(machine.console)}"),
            *("-serial", "chardev:console"),
        ]
    if machine.screen is not None and machine.screen_port is not None:
        words += [
            *("-chardev", f"file,id=screen,path={_escaped(machine.screen)}"),
            *("-serial", "chardev:screen"),
            *("-fw_cfg", f"name=etc/sercon-port,file={_escaped(machine.screen_port)}"),
        ]
    return words


def _drive_words(drives: Sequence[Drive | BlankDrive]) -> list[str]:
    words = []
    if any(drive.attach == "usb" for drive in drives):
        words += ["-device", "qemu-xhci"]
    for number, drive in enumerate(drives):
        name = f"drive{number}"
        words += ["-drive", f"if=none,id={name},{_backing(drive)}"]
        device = _DEVICES[drive.attach] + f",drive={name}"
        if drive.boot_index is not None:
            # Without it the firmware tries hard disks before USB sticks.
            device += f",bootindex={drive.boot_index}"
        words += ["-device", device]
    return words


_DEVICES: dict[Attachment, str] = {
    "virtio": "virtio-blk-pci",
    "usb": "usb-storage,removable=on",
    "sata": "ide-hd",
    "cdrom": "ide-cd",
}


def _backing(drive: Drive | BlankDrive) -> str:
    if isinstance(drive, BlankDrive):
        return f"driver=null-co,size={drive.size_bytes},read-zeroes=on"
    # The format is said, not probed: a guest could write another format's header.
    words = f"file={_escaped(drive.file)},format=raw"
    if drive.read_only:
        return words + ",readonly=on"
    return words + (",snapshot=on" if drive.snapshot else "")


def _kernel_words(kernel: DirectKernel | None) -> list[str]:
    if kernel is None:
        return []
    return [
        *("-kernel", str(kernel.image)),
        *("-initrd", str(kernel.initramfs)),
        *("-append", kernel.command_line),
    ]


def _nic_words(nics: Sequence[UserNic | TapNic]) -> list[str]:
    words = []
    for number, nic in enumerate(nics):
        device = f"{nic.model},netdev=net{number}"
        if isinstance(nic, UserNic):
            restrict = "on" if nic.isolated else "off"
            words += ["-netdev", f"user,id=net{number},restrict={restrict}"]
            device += ",romfile="
        else:
            # No scripts: whoever made the tap has joined it to its bridge.
            backing = f"tap,id=net{number},ifname={nic.tap},script=no,downscript=no"
            words += ["-netdev", backing]
            device += f",mac={nic.mac}"
            device += "" if nic.boot_index is None else f",bootindex={nic.boot_index}"
            device += "" if nic.option_rom else ",romfile="
        words += ["-device", device]
    return words


def _smbios_words(system: Mapping[str, str]) -> list[str]:
    if not system:
        return []
    strings = ",".join(f"{name}={_escaped(value)}" for name, value in sorted(system.items()))
    return ["-smbios", f"type=1,{strings}"]


def _escaped(value: object) -> str:
    """QEMU splits options at commas; a doubled comma stands for one."""
    return str(value).replace(",", ",,")
