"""Will machines come up by what the netboot tree tells them? Read off configurations and files.

That every name leads somewhere is for formats/netboot_check. Here: that kernel, initramfs and
modloop of one configuration belong together; that the initramfs can do what the configuration
asks of it, and its init understands the words; that overlays are those of the right template;
that boot loaders are for the machines that will run them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bootsmith.errors import BootsmithError, FormatError, PublishError
from bootsmith.files.netboot_tree import tree_of
from bootsmith.formats.apkovl_reader import TEMPLATE_FILE
from bootsmith.formats.arming import HOOK_INVENTORY
from bootsmith.formats.elf import machine_of
from bootsmith.formats.init_words import wrong_words
from bootsmith.formats.inventory import read_inventory
from bootsmith.formats.manifest import Manifest
from bootsmith.formats.named_boots import (
    NamedBoot,
    NamedFiles,
    loader_of,
    read_named_files,
)
from bootsmith.formats.netboot_check import netboot_faults
from bootsmith.formats.netboot_names import PXELINUX
from bootsmith.formats.netboot_network import CURRENT
from bootsmith.formats.netboot_tree import NETBOOT, NetbootTree, render_text
from bootsmith.formats.pe import HEAD_BYTES, pe_machine
from bootsmith.formats.pxelinux_cfg import LINE_LIMIT_BYTES, NAME_LIMIT_BYTES
from bootsmith.generations.fact_memory import FactMemory
from bootsmith.generations.parts_check import BootSet, Parts, apkovl_problem
from bootsmith.generations.pxerd_abilities import Asked, missing_abilities

_LDLINUX = "tftp/ldlinux.c32"
_APKOVL_ENDING = ".apkovl.tar.gz"
_MOST_HOPS = 40
_MOST_SHOWN = 4
# The UEFI programs here are for 64 bits, which is what DHCP gives them to; the modules of
# PXELINUX run before the processor has left 32 bits.
_MACHINES = {".efi": "x86_64", ".c32": "x86"}
_PUBLISHED_NAME = re.compile(rf"{CURRENT}/((?:tftp|http)/[A-Za-z0-9._+/-]+)")


def netboot_problems(
    generation: Path, manifest: Manifest, parts: Parts, memory: FactMemory
) -> Iterator[BootsmithError]:
    """Whatever keeps a machine from booting over the network; nothing without a netboot tree."""
    tree = tree_of(generation, manifest)
    if tree is None or not any(tree.paths):
        return
    check = _Check(generation, tree, parts, memory)
    found = [
        PublishError(
            f"{generation.name}/{NETBOOT}/{fault.path}",
            fault.problem,
            hint="correct the recipe that says it, or build it again: doit netboot",
        )
        for fault in netboot_faults(tree, check.read)
    ]
    yield from _joint([*found, *check.configurations()])
    for name, asked in check.asked.items():
        yield from missing_abilities(parts, parts.boot_sets[name], asked)
    yield from check.overlays(manifest)
    yield from check.loaders()
    yield from check.servers()


def _joint(problems: Sequence[PublishError]) -> Iterator[PublishError]:
    """One for all configurations that are wrong in the same way, told by the first of them.

    A template has one for every loader, and more where its hosts differ.
    """
    alike: dict[tuple[str, ...], list[PublishError]] = {}
    for problem in problems:
        key = (problem.problem, str(problem.expected), str(problem.got), str(problem.hint))
        alike.setdefault(key, []).append(problem)
    for first, *others in alike.values():
        more = sorted({problem.subject for problem in others} - {first.subject})
        if more:
            names = [name.partition(f"/{NETBOOT}/")[2] for name in more[:_MOST_SHOWN]]
            rest = f" and {len(more) - _MOST_SHOWN} more" if len(more) > _MOST_SHOWN else ""
            first.problem += f" (as in {', '.join(names)}{rest})"
        yield first


class _Check:
    """One generation's tree, and what its configurations were found to ask for."""

    def __init__(
        self, generation: Path, tree: NetbootTree, parts: Parts, memory: FactMemory
    ) -> None:
        self._generation = generation
        self._tree = tree
        self._parts = parts
        self._memory = memory
        self.asked: dict[str, Asked] = {}
        self._set_of = {
            boot_set.parts["kernel"].sha256: boot_set
            for boot_set in parts.boot_sets.values()
            if "kernel" in boot_set.parts
        }

    def read(self, path: str) -> bytes:
        """The content of a file of the tree."""
        return (self._generation / NETBOOT / path).read_bytes()

    def _subject(self, path: str) -> str:
        return f"{self._generation.name}/{NETBOOT}/{path}"

    # --- configurations ------------------------------------------------------------------

    def configurations(self) -> Iterator[PublishError]:
        """Each configuration: its limits, its parts, its words."""
        for path in sorted({*self._tree.texts, *self._tree.files}):
            loader = loader_of(path)
            if loader is None:
                continue
            try:
                named = read_named_files(loader, self._content(path), subject=self._subject(path))
            except FormatError:
                continue  # netboot_faults has said it
            yield from self._limits(path, loader, named)
            for boot in named.boots:
                yield from self._boot(path, loader, boot)

    def _content(self, path: str) -> str:
        text = self._tree.texts.get(path)
        if text is not None:
            return render_text(text, self._generation.name).decode("utf-8", "replace")
        return self.read(path).decode("utf-8", "replace")

    def _limits(self, path: str, loader: str, named: NamedFiles) -> Iterator[PublishError]:
        for label in named.missing_labels:
            yield PublishError(
                self._subject(path),
                f"boots label {label}, and has no such label",
                hint="build it again: doit netboot",
            )
        if loader != PXELINUX:
            return
        if len(named.longest_line) > LINE_LIMIT_BYTES:
            yield PublishError(
                self._subject(path),
                "has a line that PXELINUX would take for two",
                expected=f"at most {LINE_LIMIT_BYTES} characters",
                got=len(named.longest_line),
                hint="leave out kernel words, or let a file of the overlay say them",
            )
        names = [*named.others, *(one for boot in named.boots for one in boot.files)]
        for name in names:
            if len(name.removeprefix("::")) > NAME_LIMIT_BYTES:
                yield PublishError(
                    self._subject(path),
                    "PXELINUX could not ask a server for a name so long",
                    expected=f"at most {NAME_LIMIT_BYTES} characters",
                    got=f"{len(name.removeprefix('::'))}: {name}",
                    hint="give the release, flavor or installer a shorter name",
                )

    def _boot(self, path: str, loader: str, boot: NamedBoot) -> Iterator[PublishError]:
        kernel = self._digest(boot.kernel, loader)
        boot_set = self._set_of.get(kernel or "")
        if kernel is None or boot_set is None:
            # No name is for netboot_faults to say; another system's kernel is none of ours.
            if kernel is not None and _has_words_of_alpine(boot):
                yield PublishError(
                    self._subject(path),
                    f"boots {boot.kernel}, which is the kernel of no boot set of this generation",
                    expected=", ".join(sorted(self._parts.boot_sets)),
                    hint="build a whole generation: doit build",
                )
            return
        yield from self._initramfs(path, loader, boot, boot_set)
        yield from self._words(path, boot, boot_set)
        asked = self.asked.setdefault(boot_set.name, Asked())
        asked.note(f"{NETBOOT}/{path}", boot)

    def _initramfs(
        self, path: str, loader: str, boot: NamedBoot, boot_set: BootSet
    ) -> Iterator[PublishError]:
        digests = {self._digest(name, loader) for name in boot.initrds}
        pxerd = boot_set.parts.get("pxerd")
        if pxerd is not None and None not in digests and pxerd.sha256 not in digests:
            yield PublishError(
                self._subject(path),
                f"boots the kernel of {boot_set.name} with another initramfs",
                expected=pxerd.path,
                got=", ".join(str(self._path_of(name, loader)) for name in boot.initrds) or "none",
                hint="build it again: doit netboot",
            )

    def _words(self, path: str, boot: NamedBoot, boot_set: BootSet) -> Iterator[PublishError]:
        if boot_set.pxerd is not None:
            for wrong in wrong_words(boot.options, boot_set.pxerd):
                yield PublishError(
                    self._subject(path),
                    f"{wrong.word}: {wrong.problem}",
                    expected=wrong.expected,
                    hint=wrong.hint,
                )
        limit_bytes = boot_set.kernel.command_line_limit_bytes if boot_set.kernel else 0
        length = len(" ".join(boot.options))
        if 0 < limit_bytes < length:
            yield PublishError(
                self._subject(path),
                f"has more words than the kernel of {boot_set.name} takes",
                expected=f"at most {limit_bytes} characters",
                got=length,
                hint="leave some out, or let a file of the overlay say them",
            )

    def _note(self, path: str, boot: NamedBoot, boot_set: BootSet) -> None:
        """Remember what this configuration asks of the pxerd."""

    def _digest(self, name: str, loader: str) -> str | None:
        """Of the file of the tree that a loader's name leads to."""
        path = self._path_of(name, loader)
        for _ in range(_MOST_HOPS):
            if path is None or path not in self._tree.links:
                break
            path = _joined(path.rpartition("/")[0], self._tree.links[path])
        file = self._tree.files.get(path or "")
        return file.sha256 if file else None

    def _path_of(self, name: str, loader: str) -> str | None:
        for start in (f"generations/{self._generation.name}/{NETBOOT}/", f"{CURRENT}/"):
            _, found, path = name.partition(start)
            if found:
                return path
        is_relative = loader == PXELINUX and ":" not in name
        return f"tftp/{name}" if is_relative else None

    # --- overlays -------------------------------------------------------------------------

    def overlays(self, manifest: Manifest) -> Iterator[BootsmithError]:
        """Every overlay can be unpacked, and is that of the template whose machines get it."""
        known = {
            part.sha256: part.details.get("template")
            for part in manifest.artifacts
            if part.kind == "apkovl"
        }
        hosts = self._templates_of_hosts()
        for path, file in self._tree.files.items():
            if not path.endswith(_APKOVL_ENDING):
                continue
            name = path.rpartition("/")[2].removesuffix(_APKOVL_ENDING)
            template = hosts.get(name, name)
            if file.sha256 not in known:
                problem = apkovl_problem(
                    self._generation / NETBOOT / path,
                    file.sha256,
                    template=template,
                    subject=self._subject(path),
                    memory=self._memory,
                )
                if problem is not None:
                    yield problem
            elif known[file.sha256] not in (None, template):
                yield PublishError(
                    self._subject(path),
                    f"is the overlay of another template, as {TEMPLATE_FILE} in it says",
                    expected=template,
                    got=known[file.sha256],
                    hint="build it again: doit netboot",
                )

    def _templates_of_hosts(self) -> Mapping[str, str]:
        """Template by MAC address."""
        if HOOK_INVENTORY not in self._tree.files:
            return {}
        content = self.read(HOOK_INVENTORY)
        inventory = read_inventory(content, subject=self._subject(HOOK_INVENTORY))
        return {host.mac: host.template for host in inventory.hosts}

    # --- loaders and servers --------------------------------------------------------------

    def loaders(self) -> Iterator[BootsmithError]:
        """Each program of a boot loader is for the machine that runs it, and has what it needs."""
        if {"tftp/pxelinux.0", "tftp/lpxelinux.0"} & self._tree.files.keys() and (
            _LDLINUX not in self._tree.files
        ):
            yield PublishError(
                self._subject(_LDLINUX),
                "is not published, and pxelinux.0 does nothing without it",
                hint="build it again: doit netloader",
            )
        for path in sorted(self._tree.files):
            ending = path[-4:]
            if not path.startswith(("tftp/", "http/")) or ending not in _MACHINES:
                continue
            with open(self._generation / NETBOOT / path, "rb") as file:
                head = file.read(HEAD_BYTES)
            subject = self._subject(path)
            try:
                read = pe_machine if ending == ".efi" else machine_of
                found = read(head, subject=subject)
            except FormatError as error:
                yield error
                continue
            if found != _MACHINES[ending]:
                yield PublishError(
                    subject,
                    "is a boot loader of the wrong arch",
                    expected=_MACHINES[ending],
                    got=found,
                    hint="install the package that it comes from, for this machine",
                )

    def servers(self) -> Iterator[BootsmithError]:
        """What configurations of servers name by its path is published."""
        names = {*self._tree.paths, *self._tree.directories}
        for path in sorted({*self._tree.texts, *self._tree.files}):
            if not path.startswith("conf/") or path == HOOK_INVENTORY:
                continue
            for name in sorted(set(_PUBLISHED_NAME.findall(self._content(path)))):
                if name.rstrip("/.") not in names:
                    yield PublishError(
                        self._subject(path),
                        f"names {name}, which is not published",
                        hint="build it again: doit netconf",
                    )


def _has_words_of_alpine(boot: NamedBoot) -> bool:
    return any(boot.option(name) is not None for name in ("alpine_repo", "alpine_dev", "modloop"))


def _joined(directory: str, target: str) -> str:
    parts = directory.split("/")
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
