"""What lines of real consoles are taken for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootsmith.smoke.symptoms import COMPLAINTS, FAILURES, LANDMARKS, LOGIN_PROMPT, STAGES

FAILURE_LINES = {
    "Loading /boot/wrong... failed: No such file or directory": (
        "SYSLINUX could not load /boot/wrong: No such file or directory"
    ),
    "Loading /boot/initramfs-lts failed: No such file or directory": (
        "SYSLINUX could not load /boot/initramfs-lts: No such file or directory"
    ),
    "Could not find kernel image: linux": "SYSLINUX found no kernel linux",
    "Failed to load ldlinux.c32": (
        "SYSLINUX could not load its module ldlinux.c32: it is missing or of another build"
    ),
    "No DEFAULT or UI configuration directive found!": (
        "SYSLINUX found no configuration, or one without DEFAULT"
    ),
    "Invalid or corrupt kernel image.": "the boot loader says that the kernel is not a kernel",
    "Missing operating system.": "the boot sector found no loader on the key",
    "No bootable device.": "the firmware found nothing to boot",
    "BdsDxe: No bootable option or device was found.": "the firmware found nothing to boot",
    "UEFI Interactive Shell v2.2": ("the UEFI firmware found nothing to boot and opened its shell"),
    "error: file `/boot/vmlinuz-lts' not found.": "GRUB found no file /boot/vmlinuz-lts",
    "error: ../../grub-core/fs/fshelp.c:257:file `/x' not found.": "GRUB found no file /x",
    "error: out of memory.": "GRUB had too little memory for kernel or initramfs",
    "grub rescue> ": "GRUB could not find its own files",
    "grub> ": "GRUB found no configuration and opened its prompt",
    "error: you need to load the kernel first.": "GRUB could not load the kernel",
    "  PXE-E18: Server response timeout.": (
        "the firmware could not boot from the network: Server response timeout."
    ),
    "WARNING: No configuration file found": "PXELINUX found no configuration on the TFTP server",
    "Trying again in 10 seconds": (
        "the boot loader could not boot what the network gave it, and begins again"
    ),
    "[    0.51] Initramfs unpacking failed: invalid magic at start of compressed archive": (
        "the kernel could not unpack the initramfs: invalid magic at start of compressed archive"
    ),
    "[ 1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)": (
        "the kernel panicked: it found no /init in its initramfs"
    ),
    "[ 0.06] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug": (
        "the emulated timer missed its ticks: this machine is too busy to emulate one"
    ),
    "This kernel requires an x86-64 CPU, but only detected an i686 CPU.": (
        "the kernel refuses this processor"
    ),
    "[   3.0] Out of memory: Killed process 71 (tar) total-vm:1kB": ("the guest ran out of memory"),
    " * Obtaining IP via DHCP (eth0): failed. ": (
        "the initramfs got no address for eth0: no DHCP server answered"
    ),
    " * Mounting boot medium from 10.0.2.2:/medium: failed. "
    "mount: mounting 10.0.2.2:/medium on /media/alpine failed: Connection refused": (
        "the initramfs could not mount the medium 10.0.2.2:/medium: "
        "mount: mounting 10.0.2.2:/medium on /media/alpine failed: Connection refused"
    ),
    " * Mounting boot medium from s:/m: failed. "
    "there is no network card that a driver in the initramfs knows": (
        "the initramfs could not mount the medium s:/m: "
        "there is no network card that a driver in the initramfs knows"
    ),
    " * Mounting boot medium: failed. alpine_dev=nfs:s; "
    "expected alpine_dev=nfs:SERVER:/EXPORT[:OPTIONS]": (
        "the initramfs does not understand this word: alpine_dev=nfs:s; "
        "expected alpine_dev=nfs:SERVER:/EXPORT[:OPTIONS]"
    ),
    " * Mounting boot media: failed. ": (
        "the initramfs found no boot medium (no apks/.boot_repository on any device)"
    ),
    "Mounting boot media failed. ": (
        "the initramfs found no boot medium (no apks/.boot_repository on any device)"
    ),
    " * Loading user settings from /media/sda1/x.apkovl.tar.gz: failed. ": (
        "the initramfs could not unpack the apkovl /media/sda1/x.apkovl.tar.gz"
    ),
    "switch_root: can't execute '/sbin/init': No such file or directory": (
        "the initramfs could not hand over to the new root: "
        "can't execute '/sbin/init': No such file or directory"
    ),
    "/sbin/init not found in new root": (
        "the new root has no /sbin/init: its packages were not installed"
    ),
    "WARNING: apkovl packages install completed with errors...": (
        "apk could not install all packages of the template"
    ),
    "ERROR: unable to select packages:": (
        "apk or the initramfs gave up: unable to select packages:"
    ),
    "Launching initramfs emergency recovery shell.": (
        "the initramfs gave up and opened its recovery shell"
    ),
    "[    1.9] Kernel panic - not syncing: sysrq triggered crash": (
        "the kernel panicked: sysrq triggered crash"
    ),
}

COMPLAINT_LINES = {
    "No more network devices": "iPXE found nothing to boot on the network",
    "wget: server returned error: HTTP/1.1 404 Not Found": (
        "the HTTP server does not give the machine what it asks for: 404 Not Found"
    ),
    "wget: can't connect to remote host (10.20.0.1): Connection refused": (
        "a download failed: can't connect to remote host (10.20.0.1): Connection refused"
    ),
    "http://10.20.0.1/x/01-02-fe.ipxe... No such file or directory (http://ipxe.org/2d0c618e)": (
        "iPXE could not load http://10.20.0.1/x/01-02-fe.ipxe: No such file or directory"
    ),
    "mount: mounting /dev/loop0 on /.modloop failed: Invalid argument": (
        "the modloop could not be mounted (Invalid argument): squashfs or loop may be missing"
    ),
    " * No modloop for 6.1.0-56-amd64 found": (
        "no modloop for the kernel 6.1.0-56-amd64 was found on any medium"
    ),
    " * Could not mount /media/vda1/boot/modloop-lts": (
        "the modloop /media/vda1/boot/modloop-lts could not be mounted"
    ),
    " * ERROR: modloop failed to start": (
        "no modloop for this kernel was found or could be mounted"
    ),
    " * Refusing to mount /media/sda1/boot/modloop-lts: its signature does not match!": (
        "the modloop /media/sda1/boot/modloop-lts was refused: its signature does not match"
    ),
    " * Failed to verify signature of /media/sda1/boot/modloop-lts!": (
        "the signature of /media/sda1/boot/modloop-lts does not fit"
    ),
    " * ERROR: nginx failed to start": "the service nginx failed",
    "modprobe: FATAL: Module x not found in directory /lib/modules/6.1": (
        "a module could not be loaded: Module x not found in directory /lib/modules/6.1"
    ),
    "modprobe: can't change directory to '6.1': No such file or directory": (
        "a module could not be loaded: can't change directory to '6.1': No such file or directory"
    ),
    "WARNING: Ignoring /media/vda1/apks: UNTRUSTED signature": (
        "apk does not trust the repository's signature"
    ),
    "tar: invalid tar magic": "an archive is damaged (tar: invalid)",
    "gzip: crc error": "an archive is damaged (gzip: crc error)",
    "cp: write error: No space left on device": "a file system of the guest is full",
    "[ 9.1] SQUASHFS error: Unable to read inode 0x11e": (
        "the modloop cannot be read: Unable to read inode 0x11e"
    ),
    "[ 9.1] I/O error, dev vda, sector 8 op 0x0": "vda cannot be read",
    "[ 9.1] Buffer I/O error on dev sda1, logical block 1": "sda1 cannot be read",
    'BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Not Found': (
        'the UEFI firmware could not load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Not Found'
    ),
    "Boot failed: not a bootable disk": (
        "the BIOS could not boot from a device: not a bootable disk"
    ),
    "[ 99.1] nfs: server 10.0.2.2 not responding, still trying": (
        "the NFS server 10.0.2.2 does not answer any more"
    ),
    "error: no such device: alpine.": "the boot loader complains: no such device: alpine.",
    "WARNING: opening /media/x: No such file or directory": (
        "opening /media/x: No such file or directory"
    ),
    "[ 3.1] BUG: unable to handle page fault": (
        "the kernel stumbled: BUG: unable to handle page fault"
    ),
}

LANDMARK_LINES = {
    "SYSLINUX 6.04 EDD 20210613 Copyright (C) 1994-2015 H. Peter Anvin et al": "bootloader",
    "ISOLINUX 6.04 20200816 ETCD": "bootloader",
    "Welcome to GRUB!": "bootloader",
    'BdsDxe: starting Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x2,0x0)': "bootloader",
    "Booting from ROM...": "bootloader",
    "[    0.000000] Linux version 6.1.0-56-amd64": "kernel",
    "EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path": "kernel",
    "Alpine Init 3.14.0-r0": "init",
    " * Mounting boot media: ok.": "init",
    "   OpenRC 0.45.2 is starting up Linux 6.1.0-56-amd64 (x86_64)": "openrc",
    " * Mounting modloop ...": "openrc",
}

HARMLESS = (
    "[    0.000000] Command line: console=ttyS0 panic=1 modules=loop,squashfs quiet",
    "Loading /boot/vmlinuz-lts... ok",
    "Booting from Hard Disk...",
    " * Mounting boot media: ok.",
    " * Obtaining IP via DHCP (eth0): ok.",
    " * Mounting boot medium from 10.0.2.2:/medium: ok.",
    " * Loading user settings from /media/vda1/default.apkovl.tar.gz: ok.",
    " * Starting nginx ... [ ok ]",
    "OK: 12.3 MiB in 24 packages",
    "[    0.7] Run /init as init process",
    "[    1.1] squashfs: version 4.0 (2009/01/31) Phillip Lougher",
    "bootsmith-report nonce=1 template=default runlevel=default end",
)


def first(table, line):
    return next((row for row in table if row.explain(line) is not None), None)


@pytest.mark.parametrize("line", FAILURE_LINES)
def test_failures(line):
    row = first(FAILURES, line)
    assert row is not None
    assert row.explain(line).strip() == FAILURE_LINES[line]


@pytest.mark.parametrize("line", COMPLAINT_LINES)
def test_complaints(line):
    assert first(FAILURES, line) is None
    row = first(COMPLAINTS, line)
    assert row is not None
    assert row.explain(line).strip() == COMPLAINT_LINES[line]


@pytest.mark.parametrize("line", HARMLESS)
def test_harmless_lines(line):
    assert first(FAILURES, line) is None
    assert first(COMPLAINTS, line) is None


@pytest.mark.parametrize("line", LANDMARK_LINES)
def test_landmarks(line):
    stages = [landmark.stage for landmark in LANDMARKS if landmark.pattern.search(line)]
    assert LANDMARK_LINES[line] in stages


def test_every_row_is_tried():
    rows = {first(FAILURES, line) for line in FAILURE_LINES}
    assert [row.cause for row in FAILURES if row not in rows] == []
    rows = {first(COMPLAINTS, line) for line in COMPLAINT_LINES}
    assert [row.cause for row in COMPLAINTS if row not in rows] == []
    assert {landmark.stage for landmark in LANDMARKS} == set(STAGES) - {"firmware", "runlevel"}


@pytest.mark.parametrize(
    "path", ["/generations/2026-11-21.1/netboot/tftp/grub/01-52-54-00-00-00-01.cfg", "/armed/01-52"]
)
def test_names_that_grub_only_tries(path):
    assert first(FAILURES, f"error: file `{path}' not found.") is None


def test_the_login_prompt():
    assert LOGIN_PROMPT.search("localhost login: ")
    assert not LOGIN_PROMPT.search("last login: Monday")


def test_the_debugging_page_explains_every_failure():
    page = (Path(__file__).parents[2] / "docs/debugging.md").read_text()
    cells = [line.split("|")[1].strip(" …") for line in page.splitlines() if "|" in line]
    explained = tuple(cell for cell in cells if len(cell) > len("the message"))
    assert [row.cause for row in FAILURES if not row.cause.startswith(explained)] == []
