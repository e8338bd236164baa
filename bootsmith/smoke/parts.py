"""The parts of a generation that a scenario boots, chosen from its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bootsmith.errors import SmokeError
from bootsmith.files.digest import sha256_of
from bootsmith.files.netboot_tree import index_of
from bootsmith.formats.manifest import Artifact, Manifest
from bootsmith.site.scenarios import Bootable, Scenario, is_virtual


@dataclass(frozen=True, kw_only=True)
class Iso:
    """The ISO of a release, whose packages are on an NFS medium."""

    release: str
    sha256: str

    @property
    def label(self) -> str:
        """What evidence calls it; no path of a generation begins so."""
        return f"iso/{self.release}"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What one scenario boots. `kernel` and `pxerd` only where QEMU loads them itself.

    A `key` is attached; `iso`, `modloop` and `apkovl` make a medium on a server. A `ramroot`,
    of the image called `template`, needs nothing but its kernel. With `netboot` the inventory
    decides about templates and kernels.
    """

    template: str
    kernel_release: str | None
    key: Artifact | None = None
    kernel: Artifact | None = None
    pxerd: Artifact | None = None
    modloop: Artifact | None = None
    apkovl: Artifact | None = None
    ramroot: Artifact | None = None
    iso: Iso | None = None
    netboot: Artifact | None = None
    """The index of all that machines find on the network."""
    modloop_name: str | None = None
    """The file name of the modloop for the kernel, on whatever medium it is."""

    @property
    def parts(self) -> list[Artifact]:
        """Every part that the machine can see."""
        parts = [self.key, self.kernel, self.pxerd, self.modloop, self.apkovl]
        parts += [self.ramroot, self.netboot]
        return [part for part in parts if part is not None]

    @property
    def memory_mebibytes(self) -> int:
        """What a machine must have at least, in MiB; 0 where nothing says it."""
        return int(self.ramroot.details.get("memory_mebibytes") or 0) if self.ramroot else 0

    @property
    def digests(self) -> Mapping[str, str]:
        """Path in the generation to sha256, as the manifest has them: what is to be proven."""
        digests = {part.path: part.sha256 for part in self.parts}
        if self.iso is not None:
            digests[self.iso.label] = self.iso.sha256
        return digests


def choose_parts(manifest: Manifest, scenario: Scenario, *, template: str | None = None) -> Chosen:
    """The first key that fits, with its kernel and pxerd if QEMU loads them; SmokeError if none.

    Or what is on a medium that stands for it on a server; or the first ramroot, with its kernel.
    `template` names a template, or an image, explicitly.
    """
    if scenario.medium == "network":
        return _choose_netboot(manifest, scenario, template)
    if scenario.medium == "ramroot":
        return _choose_ramroot(manifest, scenario, template)
    key = _choose_key(manifest, scenario, template)
    kernel = _companion(manifest, key, "kernel")
    pxerd = _companion(manifest, key, "pxerd")
    modloop = _companion(manifest, key, "modloop")
    chosen_template = _detail(key, "template") or Path(key.path).stem
    said = [_detail(part, "kernel_release") for part in (key, kernel, pxerd, modloop) if part]
    release = next((word for word in said if word), None)
    chosen = Chosen(template=chosen_template, kernel_release=release, key=key)
    if not scenario.direct:
        return chosen
    needed = {"kernel": kernel, "pxerd": pxerd}
    if scenario.medium == "nfs":
        needed |= {"modloop": modloop, "apkovl": _companion(manifest, key, "apkovl", "template")}
    for kind, part in needed.items():
        if part is None:
            raise SmokeError(
                f"smoke {scenario.name}",
                f"generation {manifest.id} has no {kind} for the key of {chosen_template}",
                expected=f"one of release {_detail(key, 'release')}, "
                f"flavor {_detail(key, 'flavor')}",
                hint="build a whole generation: doit build",
            )
    chosen = replace(chosen, kernel=kernel, pxerd=pxerd)
    if scenario.medium == "key":
        return chosen
    assert modloop is not None
    chosen = replace(chosen, iso=_iso(manifest, key, scenario), modloop_name=_file_name(modloop))
    if scenario.modloop == "key":
        return chosen
    return replace(chosen, key=None, modloop=modloop, apkovl=needed["apkovl"])


def _choose_netboot(manifest: Manifest, scenario: Scenario, template: str | None) -> Chosen:
    index = index_of(manifest)
    if index is None:
        raise SmokeError(
            f"smoke {scenario.name}",
            f"generation {manifest.id} has nothing for machines that boot from the network",
            hint="add [netboot] to recipes/site.toml, or leave this scenario out",
        )
    return Chosen(template=template or "", kernel_release=None, netboot=index)


def _choose_ramroot(manifest: Manifest, scenario: Scenario, image: str | None) -> Chosen:
    there = _of_kind(manifest, "ramroot")
    fitting = [part for part in there if image in (None, part.name)]
    fitting.sort(key=lambda part: not is_virtual(_flavor(part)))  # stable: first of its sort
    for ramroot in fitting:
        kernel = _companion(manifest, ramroot, "kernel")
        if kernel is not None:
            return Chosen(
                template=ramroot.name,
                kernel_release=_detail(kernel, "kernel_release"),
                kernel=kernel,
                ramroot=ramroot,
            )
    raise SmokeError(
        f"smoke {scenario.name}",
        f"generation {manifest.id} has no ramroot for it, or no kernel for one",
        expected=f"the ramroot of {image or 'any image'} and its kernel",
        got=", ".join(part.name for part in there) or "no ramroot at all",
        hint="add an image below recipes/images, or leave this scenario out",
    )


def digests_now(
    chosen: Chosen,
    *,
    generation: Path,
    scenario: str,
    isos: Mapping[str, Path] | None = None,
) -> dict[str, str]:
    """Path to sha256, read at this moment from the files in the directory `generation`.

    `isos` are the ISOs of releases by name. SmokeError if a file is gone or is not what the
    manifest says: evidence about other bytes would be worth nothing.
    """
    digests = {}
    for path, expected in chosen.digests.items():
        file = generation / path
        if chosen.iso is not None and path == chosen.iso.label:
            file = (isos or {})[chosen.iso.release]
        try:
            digests[path] = sha256_of(file)
        except OSError as error:
            raise SmokeError(
                f"smoke {scenario}",
                f"cannot read {file} ({error.strerror})",
                hint="build again: doit build",
            ) from error
        if digests[path] != expected:
            raise SmokeError(
                f"smoke {scenario}",
                f"{file} is not what the generation's manifest says",
                expected=f"sha256 {expected}",
                got=f"sha256 {digests[path]}",
                hint="build again: doit build",
            )
    return digests


def _choose_key(manifest: Manifest, scenario: Scenario, template: str | None) -> Artifact:
    keys = _of_kind(manifest, "usbkey")
    fitting = [key for key in keys if template in (None, _detail(key, "template"))]
    fitting = [key for key in fitting if scenario.boots(_bootable(manifest, key, scenario))]
    if scenario.wanted == "virtual":
        fitting.sort(key=lambda key: not is_virtual(_flavor(key)))  # stable: first of its sort
    if fitting:
        return fitting[0]
    kernels = " and a kernel for hardware (flavor lts)" if scenario.wanted == "hardware" else ""
    firmwares = "" if scenario.direct else f" that boots from {scenario.firmware}"
    firmwares += ", whose pxerd has the feature nfs" if scenario.medium == "nfs" else ""
    found = ", ".join(f"{_detail(key, 'template')} ({_flavor(key)})" for key in keys)
    raise SmokeError(
        f"smoke {scenario.name}",
        f"generation {manifest.id} has no key for it",
        expected=f"a key of {template or 'any template'}{firmwares}{kernels}",
        got=found or "no key at all",
        hint="give a template what is expected, or leave this scenario out",
    )


def _of_kind(manifest: Manifest, kind: str) -> Sequence[Artifact]:
    """The bootable files of a kind, in the manifest's order (reports are JSON)."""
    return [
        part for part in manifest.artifacts if part.kind == kind and not part.path.endswith(".json")
    ]


def _companion(manifest: Manifest, key: Artifact, kind: str, *more: str) -> Artifact | None:
    """The part of `kind` made for the same release and flavor as `key`, and the same `more`."""
    for part in _of_kind(manifest, kind):
        if all(_detail(part, name) == _detail(key, name) for name in ("release", "flavor", *more)):
            return part
    return None


def _iso(manifest: Manifest, key: Artifact, scenario: Scenario) -> Iso:
    release = _detail(key, "release") or ""
    sha256 = manifest.releases.get(release, {}).get("iso_sha256")
    if not isinstance(sha256, str):
        raise SmokeError(
            f"smoke {scenario.name}",
            f"generation {manifest.id} does not say which ISO {release or 'its key'} is of",
            hint="build a whole generation: doit build",
        )
    return Iso(release=release, sha256=sha256)


def _file_name(part: Artifact) -> str:
    return part.path.rpartition("/")[2]


def _detail(part: Artifact, name: str) -> str | None:
    value = part.details.get(name)
    return None if value is None else str(value)


def _flavor(key: Artifact) -> str:
    return _detail(key, "flavor") or ""


def _bootable(manifest: Manifest, key: Artifact, scenario: Scenario) -> Bootable:
    """What key and pxerd say they are made for; where they do not say, that they will do."""
    firmware = key.details.get("firmware")
    pxerd = _companion(manifest, key, "pxerd")
    features = pxerd.details.get("features") if pxerd else None
    return Bootable(
        flavor=_flavor(key),
        firmware=(scenario.firmware,) if firmware is None else tuple(firmware),
        features=(scenario.medium,) if features is None else tuple(features),
    )
