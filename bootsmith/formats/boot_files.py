"""Which files a boot loader's configuration names: `syslinux.cfg` and `grub.cfg` as Alpine's.

Only what our writers and Alpine's own media use is understood: one entry, plain words. Of
several entries the first counts, which is the one that boots unattended.
"""

from __future__ import annotations

from dataclasses import dataclass

from bootsmith.errors import FormatError


@dataclass(frozen=True, kw_only=True)
class BootFiles:
    """What is loaded: paths on the medium as written, and the kernel's command line."""

    kernel: str
    initrds: tuple[str, ...]
    options: tuple[str, ...]

    def option(self, name: str) -> str | None:
        """The value of the last `name=value` on the command line, None if there is none."""
        values = [word.partition("=")[2] for word in self.options if word.startswith(f"{name}=")]
        return values[-1] if values else None


def files_of_syslinux_cfg(content: bytes, *, subject: object) -> BootFiles:
    """What the first LABEL loads; FormatError if it names no kernel."""
    found: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word.lower() == "label" and "kernel" in found:
            break
        if word.lower() in ("kernel", "linux"):
            found["kernel"] = rest.strip()
        elif word.lower() in ("initrd", "append"):
            found[word.lower()] = rest.strip()
    return _boot_files(
        found.get("kernel"),
        tuple(filter(None, found.get("initrd", "").split(","))),
        tuple(found.get("append", "").split()),
        subject,
    )


def files_of_grub_cfg(content: bytes, *, subject: object) -> BootFiles:
    """What the first menuentry loads; FormatError if it names no kernel."""
    kernel, initrds, options = None, (), ()  # type: str | None, tuple[str, ...], tuple[str, ...]
    for line in content.decode("utf-8", "replace").splitlines():
        # Our words hold no quotes; GRUB's around a whole word mean nothing more.
        words = [word.strip("'\"") for word in line.split()]
        if words[:1] == ["menuentry"] and kernel:
            break
        if words[:1] == ["linux"] and len(words) > 1:
            kernel, options = words[1], tuple(words[2:])
        elif words[:1] == ["initrd"]:
            initrds = tuple(words[1:])
    return _boot_files(kernel, initrds, options, subject)


def _boot_files(
    kernel: str | None, initrds: tuple[str, ...], options: tuple[str, ...], subject: object
) -> BootFiles:
    if not kernel:
        raise FormatError(subject, "names no kernel to boot", hint="build it again")
    return BootFiles(kernel=kernel, initrds=initrds, options=options)
