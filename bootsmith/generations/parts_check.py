"""Do the parts of each boot set fit each other? Read off the files, not off what is said of them.

A kernel, its initramfs and its modloop that are each whole can still be of three kernels, or of
two processors; a machine then starts, and stops where nobody sees it. An overlay that init
cannot unpack leaves a machine without configuration, and says so nowhere.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bootsmith.errors import BootsmithError, PublishError
from bootsmith.formats.apkovl_reader import TEMPLATE_FILE, ApkovlFacts, read_apkovl_facts
from bootsmith.formats.bzimage import HEAD_BYTES, BzImage, foreign_machine, read_bzimage
from bootsmith.formats.manifest import Artifact, Manifest
from bootsmith.formats.modloop import ModloopFacts, read_modloop_facts
from bootsmith.formats.pxerd_facts import PxerdFacts, read_pxerd_facts
from bootsmith.formats.squashfs import Squashfs
from bootsmith.generations.fact_memory import FactMemory

BOOT_KINDS = ("kernel", "pxerd", "modloop")
_X86 = ("x86", "x86_64")
# An initramfs unpacks for a tenth of a second or more, outside the interpreter's lock.
_THREADS = 2
_Facts = TypeVar("_Facts", PxerdFacts, ModloopFacts, ApkovlFacts)


@dataclass(kw_only=True)
class BootSet:
    """The parts of one release and flavor, and what was read off them; None where unreadable."""

    name: str
    release: str
    arch: str | None
    """The release's, in Alpine's spelling; None where nothing says it."""
    parts: dict[str, Artifact] = field(default_factory=dict)
    kernel: BzImage | None = None
    pxerd: PxerdFacts | None = None
    modloop: ModloopFacts | None = None


@dataclass(kw_only=True)
class Parts:
    """What is known of a generation's parts once they were read."""

    generation: Path
    boot_sets: Mapping[str, BootSet]
    problems: list[BootsmithError]

    def subject(self, artifact: Artifact) -> str:
        """How messages name a file: by its path in the generation, after the generation's id."""
        return f"{self.generation.name}/{artifact.path}"


def read_parts(generation: Path, manifest: Manifest, memory: FactMemory) -> Parts:
    """Every boot set, and what keeps a machine from booting with it; nothing is raised."""
    parts = Parts(generation=generation, boot_sets=_boot_sets(manifest), problems=[])
    wanted = [
        (boot_set, kind)
        for boot_set in parts.boot_sets.values()
        for kind in BOOT_KINDS
        if kind in boot_set.parts
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        for problem in pool.map(lambda one: _read(parts, one[0], one[1], memory), wanted):
            if problem is not None:
                parts.problems.append(problem)
    for boot_set in parts.boot_sets.values():
        parts.problems += _complete(parts, boot_set)
        parts.problems += _of_one_kernel(parts, boot_set)
        parts.problems += _of_one_machine(parts, boot_set)
        if boot_set.pxerd is not None and boot_set.pxerd.init_problem is not None:
            parts.problems.append(
                PublishError(
                    parts.subject(boot_set.parts["pxerd"]),
                    f"{boot_set.pxerd.init_problem}, so the kernel panics",
                    hint="take the initramfs of a whole release",
                )
            )
    parts.problems += _apkovls(parts, manifest, memory)
    return parts


def _boot_sets(manifest: Manifest) -> dict[str, BootSet]:
    found: dict[str, BootSet] = {}
    for part in manifest.artifacts:
        if part.kind not in BOOT_KINDS:
            continue
        name = str(part.details.get("set", part.name))
        release = str(part.details.get("release", ""))
        arch = manifest.releases.get(release, {}).get("arch")
        boot_set = found.setdefault(name, BootSet(name=name, release=release, arch=arch))
        boot_set.parts[part.kind] = part
    return found


# --- reading -------------------------------------------------------------------------------


def _read(parts: Parts, boot_set: BootSet, kind: str, memory: FactMemory) -> BootsmithError | None:
    """Fill in one of the three; the error where it cannot be read."""
    part = boot_set.parts[kind]
    path, subject = parts.generation / part.path, parts.subject(part)
    try:
        if kind == "kernel":
            boot_set.kernel = _read_kernel(path, boot_set, subject)
        elif kind == "pxerd":
            told = memory.recall(
                kind,
                part.sha256,
                lambda: asdict(read_pxerd_facts(path.read_bytes(), subject=subject)),
            )
            boot_set.pxerd = _facts(PxerdFacts, told)
        else:
            told = memory.recall(kind, part.sha256, lambda: asdict(_read_modloop(path, subject)))
            boot_set.modloop = _facts(ModloopFacts, told)
    except BootsmithError as error:
        return _with_hint(error, f"build it again: doit {part.kind}:{part.name}")
    return None


def _read_kernel(path: Path, boot_set: BootSet, subject: str) -> BzImage:
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    machine = foreign_machine(head)
    if machine is not None and boot_set.arch is not None:
        raise _wrong_arch(subject, "is a kernel of the wrong arch", boot_set, machine)
    return read_bzimage(head, file_size_bytes=path.stat().st_size, subject=subject)


def _read_modloop(path: Path, subject: str) -> ModloopFacts:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return read_modloop_facts(Squashfs(view, subject=subject))


def _facts(kind: type[_Facts], told: Mapping[str, Any]) -> _Facts:
    """From plain values, as a memory keeps them."""
    values: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in told.items()
    }
    return kind(**values)


def _with_hint(error: BootsmithError, hint: str) -> BootsmithError:
    error.hint = error.hint or hint
    return error


# --- fitting -------------------------------------------------------------------------------


def _complete(parts: Parts, boot_set: BootSet) -> Iterator[PublishError]:
    for kind in BOOT_KINDS:
        if kind not in boot_set.parts:
            yield PublishError(
                f"{parts.generation.name}/{kind}/{boot_set.name}",
                f"is missing: {boot_set.name} has no {kind}",
                expected="kernel, pxerd and modloop of each release and flavor",
                got=", ".join(sorted(boot_set.parts)),
                hint="build a whole generation: doit build",
            )


def _of_one_kernel(parts: Parts, boot_set: BootSet) -> Iterator[PublishError]:
    """Initramfs and modloop are for the release of the kernel that is booted with them.

    A modloop of another mounts, and then gives no module: its service looks for
    modules/$(uname -r).
    """
    if boot_set.kernel is None:
        return
    release = boot_set.kernel.kernel_release
    expected = f"{release}, as {boot_set.parts['kernel'].path}"
    hint = f"build the set from one release: doit pxerd:{boot_set.name} modloop:{boot_set.name}"
    if boot_set.pxerd is not None:
        found = boot_set.pxerd.kernel_releases
        if found != (release,):
            yield PublishError(
                parts.subject(boot_set.parts["pxerd"]),
                "holds modules of another kernel" if found else "holds no modules",
                expected=expected,
                got=", ".join(found) or "no directory in lib/modules",
                hint=hint,
            )
        elif boot_set.pxerd.built_for not in (None, release):
            yield _built_for_another(
                parts, boot_set.parts["pxerd"], expected, boot_set.pxerd.built_for, hint
            )
    if boot_set.modloop is not None:
        if boot_set.modloop.kernel_release != release:
            yield PublishError(
                parts.subject(boot_set.parts["modloop"]),
                "is the modloop of another kernel",
                expected=expected,
                got=boot_set.modloop.kernel_release,
                hint=hint,
            )
        elif boot_set.modloop.built_for not in (None, release):
            yield _built_for_another(
                parts, boot_set.parts["modloop"], expected, boot_set.modloop.built_for, hint
            )


def _built_for_another(
    parts: Parts, part: Artifact, expected: str, got: str | None, hint: str
) -> PublishError:
    return PublishError(
        parts.subject(part),
        "has modules that say they are of another kernel",
        expected=expected,
        got=got,
        hint=hint,
    )


def _of_one_machine(parts: Parts, boot_set: BootSet) -> Iterator[PublishError]:
    """Everything in a set runs on the processors that its release is for."""
    arch = boot_set.arch
    if arch is None:
        return
    kernel, found = boot_set.kernel, boot_set.parts
    if kernel is not None:
        got = "x86_64" if kernel.is_64_bit else "x86" if kernel.is_64_bit is False else None
        if arch not in _X86 or got not in (None, arch):
            subject = parts.subject(found["kernel"])
            yield _wrong_arch(subject, "is a kernel of the wrong arch", boot_set, got or "x86")
    wanted = "arm" if arch.startswith("arm") else arch
    for machine, name in boot_set.pxerd.machines.items() if boot_set.pxerd else ():
        if machine != wanted:
            subject = parts.subject(found["pxerd"])
            yield _wrong_arch(
                subject, f"holds {name}, which is of the wrong arch", boot_set, machine
            )
    machine_of_modules = boot_set.modloop.machine if boot_set.modloop else None
    if machine_of_modules not in (None, wanted):
        subject = parts.subject(found["modloop"])
        yield _wrong_arch(subject, "holds modules of the wrong arch", boot_set, machine_of_modules)


def _wrong_arch(subject: str, problem: str, boot_set: BootSet, got: str | None) -> PublishError:
    return PublishError(
        subject,
        problem,
        expected=f"{boot_set.arch}, as release {boot_set.release}",
        got=got,
        hint=f"use files of one release for {boot_set.arch}, then build again: doit build",
    )


# --- overlays ------------------------------------------------------------------------------


def _apkovls(parts: Parts, manifest: Manifest, memory: FactMemory) -> Iterator[BootsmithError]:
    for part in manifest.artifacts:
        if part.kind == "apkovl" and not part.path.endswith(".json"):
            problem = apkovl_problem(
                parts.generation / part.path,
                part.sha256,
                template=part.details.get("template"),
                subject=parts.subject(part),
                memory=memory,
            )
            if problem is not None:
                yield problem


def apkovl_problem(
    path: Path, sha256: str, *, template: str | None, subject: str, memory: FactMemory
) -> BootsmithError | None:
    """What keeps init from unpacking an overlay, or makes it that of another template."""
    try:
        told = memory.recall(
            "apkovl", sha256, lambda: asdict(read_apkovl_facts(path.read_bytes(), subject=subject))
        )
    except BootsmithError as error:
        about = "" if error.subject == subject else f"{error.subject} "
        return PublishError(
            subject,
            f"is a corrupt overlay: {about}{error.problem}",
            expected=error.expected,
            got=error.got,
            hint=error.hint or "build it again: doit apkovl",
        )
    found = _facts(ApkovlFacts, told).template
    if template is not None and found != template:
        return PublishError(
            subject,
            f"is the overlay of another template, as {TEMPLATE_FILE} in it says",
            expected=template,
            got=found or "nothing",
            hint=f"build it again: doit apkovl:{template}",
        )
    return None
