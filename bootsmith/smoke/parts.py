"""The parts of a generation that a scenario boots, chosen from its manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bootsmith.errors import SmokeError
from bootsmith.files.digest import sha256_of

Wanted = Literal["hardware", "virtual", "any"]
"""Which kernels a scenario boots: one with drivers for hardware such as USB storage; one
for virtual machines, or else any; the first there is."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One artifact of a generation."""

    path: str
    kind: str
    file: Path
    sha256: str
    details: Mapping[str, Any]

    def detail(self, name: str) -> str | None:
        """One word of the manifest about this part."""
        value = self.details.get(name)
        return None if value is None else str(value)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A generation as far as booting it goes."""

    directory: Path
    id: str
    parts: Sequence[Part]

    def of_kind(self, kind: str) -> list[Part]:
        """The bootable files of a kind, in the manifest's order (reports are JSON)."""
        return [
            part for part in self.parts if part.kind == kind and not part.path.endswith(".json")
        ]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What one scenario boots. `kernel` and `pxerd` only where QEMU loads them itself."""

    template: str
    kernel_release: str | None
    key: Part
    kernel: Part | None = None
    pxerd: Part | None = None

    @property
    def parts(self) -> list[Part]:
        """Every part that is attached to the machine."""
        return [part for part in (self.key, self.kernel, self.pxerd) if part is not None]


def read_generation(directory: Path) -> Generation:
    """The generation in `directory`; SmokeError if its manifest cannot be read."""
    path = directory / "MANIFEST.json"
    try:
        manifest = json.loads(path.read_bytes())
        parts = [
            Part(
                path=artifact["path"],
                kind=artifact["kind"],
                file=directory / artifact["path"],
                sha256=artifact["sha256"],
                details=artifact.get("details", {}),
            )
            for artifact in manifest["artifacts"]
        ]
        return Generation(directory=directory, id=manifest["id"], parts=tuple(parts))
    except OSError as error:
        raise SmokeError(
            path, f"cannot be read ({error.strerror})", hint="build a generation: doit build"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SmokeError(
            path, f"is not a manifest ({error!r})", hint="build a generation: doit build"
        ) from error


def choose_parts(
    generation: Generation,
    *,
    scenario: str,
    wanted: Wanted,
    firmware: str,
    direct: bool,
    template: str | None,
) -> Chosen:
    """The key that fits, with its kernel and pxerd if `direct`.

    `template` names one explicitly; otherwise it is the first whose key fits. `firmware`
    (`bios` or `uefi`) must be among those that the key says it boots from.
    """
    key = _choose_key(generation, scenario, wanted, None if direct else firmware, template)
    kernel = _companion(generation, key, "kernel")
    pxerd = _companion(generation, key, "pxerd")
    modloop = _companion(generation, key, "modloop")
    chosen_template = key.detail("template") or Path(key.path).stem
    said = [part.detail("kernel_release") for part in (key, kernel, pxerd, modloop) if part]
    release = next((word for word in said if word), None)
    if not direct:
        return Chosen(template=chosen_template, kernel_release=release, key=key)
    if kernel is None or pxerd is None:
        missing = "kernel" if kernel is None else "pxerd"
        raise SmokeError(
            f"smoke {scenario}",
            f"generation {generation.id} has no {missing} for the key of {chosen_template}",
            expected=f"one of release {key.detail('release')}, flavor {key.detail('flavor')}",
            hint="build a whole generation: doit build",
        )
    return Chosen(
        template=chosen_template, kernel_release=release, key=key, kernel=kernel, pxerd=pxerd
    )


def digests_now(chosen: Chosen, *, scenario: str) -> dict[str, str]:
    """Path to sha256, read from the files at this moment.

    SmokeError if a file is gone or is not what the manifest says: evidence about other
    bytes would be worth nothing.
    """
    digests = {}
    for part in chosen.parts:
        try:
            digests[part.path] = sha256_of(part.file)
        except OSError as error:
            raise SmokeError(
                f"smoke {scenario}",
                f"cannot read {part.file} ({error.strerror})",
                hint="build again: doit build",
            ) from error
        if digests[part.path] != part.sha256:
            raise SmokeError(
                f"smoke {scenario}",
                f"{part.file} is not what the generation's manifest says",
                expected=f"sha256 {part.sha256}",
                got=f"sha256 {digests[part.path]}",
                hint="build again: doit build",
            )
    return digests


def _choose_key(
    generation: Generation,
    scenario: str,
    wanted: Wanted,
    firmware: str | None,
    template: str | None,
) -> Part:
    keys = generation.of_kind("usbkey")
    fitting = [key for key in keys if template in (None, key.detail("template"))]
    fitting = [key for key in fitting if firmware is None or _boots_from(key, firmware)]
    if wanted == "hardware":
        fitting = [key for key in fitting if not _is_virtual(key)]
    elif wanted == "virtual":
        fitting.sort(key=lambda key: not _is_virtual(key))  # stable: the first of its sort
    if fitting:
        return fitting[0]
    kernels = " and a kernel for hardware (flavor lts)" if wanted == "hardware" else ""
    firmwares = f" that boots from {firmware}" if firmware else ""
    found = ", ".join(f"{key.detail('template')} ({key.detail('flavor')})" for key in keys)
    raise SmokeError(
        f"smoke {scenario}",
        f"generation {generation.id} has no key for it",
        expected=f"a key of {template or 'any template'}{firmwares}{kernels}",
        got=found or "no key at all",
        hint="give a template that flavor and firmware, or leave this scenario out",
    )


def _is_virtual(key: Part) -> bool:
    """Alpine's kernels for virtual machines: virt, virtgrsec, virthardened."""
    return (key.detail("flavor") or "").startswith("virt")


def _boots_from(key: Part, firmware: str) -> bool:
    said = key.details.get("firmware")
    return said is None or firmware in said


def _companion(generation: Generation, key: Part, kind: str) -> Part | None:
    """The part of `kind` made for the same release and flavor as `key`."""
    for part in generation.of_kind(kind):
        if all(part.detail(name) == key.detail(name) for name in ("release", "flavor")):
            return part
    return None
