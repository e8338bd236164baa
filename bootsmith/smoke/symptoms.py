"""What consoles say, and what it means: landmarks of a boot, failures, complaints.

Tables, not code. A failure ends the run at once. A complaint does not (a boot may
survive it), but it stands in the evidence and explains a failure that comes later.
Rows are tried from the top: what names a cause comes before what only says "it broke".
The words are those of SeaBIOS, OVMF, SYSLINUX 6, GRUB 2, Linux, Alpine's mkinitfs
init (2.7 to 3.14), apk-tools 2 and 3, busybox and OpenRC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

STAGES = ("firmware", "bootloader", "kernel", "init", "openrc", "runlevel")
"""What a boot passes, in order; a quiet one may show only some. `runlevel` is reached when
the guest's report arrives, `firmware` when the console shows anything at all."""


@dataclass(frozen=True)
class Landmark:
    """A line that shows a boot has reached `stage`."""

    stage: str
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class Symptom:
    """A line that shows trouble. `cause` may use the pattern's groups as {1}, {2} …"""

    pattern: re.Pattern[str]
    cause: str
    look: str | None = None
    """Where to look next."""

    def explain(self, line: str) -> str | None:
        """The cause in words if `line` shows this symptom."""
        found = self.pattern.search(line)
        return self.cause.format(found.group(), *found.groups()) if found else None


def _landmark(stage: str, pattern: str) -> Landmark:
    return Landmark(stage, re.compile(pattern))


def _symptom(pattern: str, cause: str, look: str | None = None) -> Symptom:
    return Symptom(re.compile(pattern), cause, look)


_KEY_FILES = "the key's boot loader configuration and the names below boot/"
_INITRAMFS = "the report of doit pxerd and its features"
_OVERLAY = "the template's overlay trees and the apkovl built from them"
_MEMORY = "memory_mebibytes of [smoke] in recipes/site.toml"
STARVED_TIMER = "the emulated timer missed its ticks: this machine is too busy to emulate one"
"""Linux counts timer interrupts against the processor's clock while it starts
(arch/x86/kernel/apic/io_apic.c, timer_irq_works). Emulation that gets no time loses that
race; what is booted cannot cause it and cannot help it."""
_PACKAGES = "packages in the template recipe, and apks/ on the medium"
_NETWORK = "the lines above it, and dnsmasq.log or dhcp.log, tftp.log and http.log beside it"

LANDMARKS = (
    _landmark(
        "bootloader",
        r"(?:SYS|ISO|PXE)LINUX \d|(?:GNU|to) GRUB|GRUB loading|BdsDxe: starting|from ROM|iPXE",
    ),
    _landmark("kernel", r"Linux version \d|EFI stub: |^\[ *\d+\.\d{6}\]"),
    _landmark("init", r"Alpine Init |Run /init as init|Loading boot drivers|Mounting boot media"),
    _landmark("openrc", r"OpenRC \S+ is starting up|Entering runlevel|Mounting modloop"),
)
LOGIN_PROMPT = re.compile(r"(?:^| )login: *$")
"""busybox getty, started when the default runlevel has ended."""

FAILURES = (
    # SYSLINUX and its boot sectors
    _symptom(
        r"Loading (\S+?)(?:\.{3}|:)? *failed: (.+)",
        "SYSLINUX could not load {1}: {2}",
        _KEY_FILES,
    ),
    _symptom(r"Could not find kernel image: (\S+)", "SYSLINUX found no kernel {1}", _KEY_FILES),
    _symptom(
        r"Failed to load (\S+\.c32)",
        "SYSLINUX could not load its module {1}: it is missing or of another build",
        "boot/syslinux on the key: ldlinux.c32 must be the one the installer wrote",
    ),
    _symptom(
        r"No DEFAULT or UI configuration directive found",
        "SYSLINUX found no configuration, or one without DEFAULT",
        "boot/syslinux/syslinux.cfg on the key",
    ),
    _symptom(
        r"Invalid or corrupt kernel image",
        "the boot loader says that the kernel is not a kernel",
        "the vmlinuz of the release",
    ),
    _symptom(
        r"Missing operating system|Operating system load error|Boot error$",
        "the boot sector found no loader on the key",
        "the key's partition table and ldlinux.sys",
    ),
    # Firmware
    _symptom(
        r"No bootable device|No bootable option or device was found",
        "the firmware found nothing to boot",
        "whether the key has a boot sector (BIOS) or efi/boot/bootx64.efi (UEFI)",
    ),
    _symptom(
        r"UEFI Interactive Shell|^Shell> *$",
        "the UEFI firmware found nothing to boot and opened its shell",
        "efi/boot/bootx64.efi on the key, and whether its partition is FAT",
    ),
    # GRUB
    _symptom(
        # Over the network it looks for one name after the other: a machine's own, its prefix.
        r"error: (?:\.\./\S+:\d+:)?file [`'](?!/\S*netboot/tftp/grub/|/armed/)(\S+)' not found",
        "GRUB found no file {1}",
        "efi/boot/grub.cfg on the key",
    ),
    _symptom(
        r"^error: (?:\.\./\S+:\d+:)?out of memory",
        "GRUB had too little memory for kernel or initramfs",
        _MEMORY,
    ),
    _symptom(
        r"error: (?:\.\./\S+:\d+:)?you need to load the kernel first",
        "GRUB could not load the kernel",
        "efi/boot/grub.cfg on the key",
    ),
    _symptom(
        r"grub rescue>",
        "GRUB could not find its own files",
        "the search in GRUB's built-in configuration: label or file",
    ),
    _symptom(
        r"^grub>|Minimal BASH-like line editing",
        "GRUB found no configuration and opened its prompt",
        "efi/boot/grub.cfg on the key",
    ),
    # The network
    _symptom(
        r"PXE-E\d+: (.+)",
        "the firmware could not boot from the network: {1}",
        _NETWORK,
    ),
    _symptom(
        r"WARNING: No configuration file found",
        "PXELINUX found no configuration on the TFTP server",
        "tftp/pxelinux.cfg in the generation's netboot/, and options 209 and 210",
    ),
    _symptom(
        r"Trying again in \d+ seconds",
        "the boot loader could not boot what the network gave it, and begins again",
        _NETWORK,
    ),
    # Kernel and initramfs
    _symptom(
        r"Kernel panic - not syncing: IO-APIC \+ timer doesn't work",
        STARVED_TIMER,
        "what else runs on this machine",
    ),
    _symptom(
        r"(?:I|i)nitramfs unpacking failed: (.+)",
        "the kernel could not unpack the initramfs: {1}",
        "the compression of pxerd: this kernel must know it",
    ),
    _symptom(
        r"VFS: Unable to mount root fs|No working init found",
        "the kernel panicked: it found no /init in its initramfs",
        "whether the boot loader passes an initramfs, and its compression",
    ),
    _symptom(
        r"This kernel requires|Please use a kernel appropriate for your CPU",
        "the kernel refuses this processor",
    ),
    _symptom(
        r"Out of memory: Killed process \d+ \((\S+)\)|System is deadlocked on memory",
        "the guest ran out of memory",
        _MEMORY,
    ),
    # Alpine's init, and our patch to it
    _symptom(
        r"Obtaining IP via DHCP \((\S+)\):? *failed",
        "the initramfs got no address for {1}: no DHCP server answered",
    ),
    _symptom(
        r"Mounting boot medium from (\S+?): *failed\. *(.+)",
        "the initramfs could not mount the medium {1}: {2}",
        "nfs.log beside the console's log, and the options in alpine_dev=",
    ),
    _symptom(
        r"Mounting boot medium: *failed\. *(.+)",
        "the initramfs does not understand this word: {1}",
    ),
    _symptom(
        r"Mounting boot media(?:\.{3})?:? *failed",
        "the initramfs found no boot medium (no apks/.boot_repository on any device)",
        "drivers and file systems in the initramfs (features usb, virtio …), and the key's apks/",
    ),
    _symptom(
        r"Loading user settings from (\S+?):? *failed",
        "the initramfs could not unpack the apkovl {1}",
        _OVERLAY,
    ),
    _symptom(
        r"switch_root: (.+)",
        "the initramfs could not hand over to the new root: {1}",
        _PACKAGES,
    ),
    _symptom(
        r"(\S+) not found in new root",
        "the new root has no {1}: its packages were not installed",
        _PACKAGES,
    ),
    _symptom(
        r"apkovl packages install completed with errors",
        "apk could not install all packages of the template",
        _PACKAGES,
    ),
    _symptom(r"^ERROR: (.+)", "apk or the initramfs gave up: {1}", _PACKAGES),
    # What only says that it broke
    _symptom(
        r"emergency recovery shell",
        "the initramfs gave up and opened its recovery shell",
        "the lines above it; boot again without `quiet` and with `debug_init`",
    ),
    _symptom(r"Kernel panic - not syncing: (.+)", "the kernel panicked: {1}"),
)

COMPLAINTS = (
    _symptom(
        r"Refusing to mount (\S+): (.+?)!?$",
        "the modloop {1} was refused: {2}",
        "that pxerd and modloop are of one generation; docs/modloop.md, strict machines",
    ),
    _symptom(
        r"mounting \S+ on /\.modloop failed: (.+)",
        "the modloop could not be mounted ({1}): squashfs or loop may be missing",
        _INITRAMFS,
    ),
    _symptom(
        r"No modloop for (\S+) found",
        "no modloop for the kernel {1} was found on any medium",
        "that kernel, initramfs and modloop are of one release",
    ),
    _symptom(r"Could not mount (\S*modloop\S*)", "the modloop {1} could not be mounted"),
    _symptom(
        r"ERROR: modloop failed to start",
        "no modloop for this kernel was found or could be mounted",
        "that kernel, initramfs and modloop are of one release; that squashfs is in the initramfs",
    ),
    _symptom(
        r"Failed to verify signature of (\S+?)!?$",
        "the signature of {1} does not fit",
        "the signature in the initramfs below var/cache/misc, or modloop_verify=no",
    ),
    _symptom(r"ERROR: (\S+) failed to (?:start|stop)", "the service {1} failed"),
    _symptom(r"modprobe: (?:FATAL: |ERROR: )?(.+)", "a module could not be loaded: {1}"),
    _symptom(r"UNTRUSTED signature", "apk does not trust the repository's signature"),
    _symptom(
        r"(?:tar|gzip|gunzip): .*(?:invalid|corrupt|short read|unexpected|crc error)",
        "an archive is damaged ({0})",
        _OVERLAY,
    ),
    _symptom(r"No space left on device", "a file system of the guest is full"),
    _symptom(r"SQUASHFS error: (.+)", "the modloop cannot be read: {1}"),
    _symptom(r"(?:Buffer )?I/O error(?:,| on) dev(?:ice)? (\w+)", "{1} cannot be read"),
    _symptom(r"BdsDxe: failed to load (.+)", "the UEFI firmware could not load {1}"),
    _symptom(r"Boot failed: (.+)", "the BIOS could not boot from a device: {1}"),
    _symptom(r"^error: (.+)", "the boot loader complains: {1}"),
    _symptom(r"nfs: server (\S+) not responding", "the NFS server {1} does not answer any more"),
    _symptom(
        r"wget: server returned error: HTTP/\S+ (.+)",
        "the HTTP server does not give the machine what it asks for: {1}",
        "http.log beside the console's log",
    ),
    _symptom(r"wget: (.+)", "a download failed: {1}"),
    # iPXE says so too of a machine that the network sends to its own disk.
    _symptom(
        r"No more network devices|Nothing to boot",
        "iPXE found nothing to boot on the network",
        _NETWORK,
    ),
    _symptom(
        r"((?:tftp|http)://\S+?)\.\.\. (.+) \(https?://ipxe\.org/\w+\)",
        "iPXE could not load {1}: {2}",
    ),
    _symptom(r"^WARNING: (.+)", "{1}"),
    _symptom(r"(?:Oops|BUG|general protection fault)[: ].*", "the kernel stumbled: {0}"),
)
