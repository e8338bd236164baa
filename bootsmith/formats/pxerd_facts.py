"""What an initramfs can do on a network, read from its bytes and believed from nowhere else.

Alpine's init and busybox are asked as they would act: which options the script knows, which
modules modprobe finds by modules.dep, which drivers a card finds by modules.alias.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from bootsmith.errors import BootsmithError, FormatError
from bootsmith.formats.compression import decompress_file, decompress_initramfs
from bootsmith.formats.cpio import read_cpio
from bootsmith.formats.elf import is_elf, linked_libraries, machine_of
from bootsmith.formats.initramfs import InitramfsTree, Member
from bootsmith.formats.kernel_modules import COMPRESSED_SUFFIXES, module_name
from bootsmith.formats.module_facts import read_module_facts
from bootsmith.formats.script_patch import read_init_version

LIMIT_BYTES = 1 << 30
"""Unpacked, an initramfs must fit the machine's memory."""
FILES = (
    "usr/share/udhcpc/default.script",
    "usr/bin/ssl_client",
    "usr/sbin/nbd-client",
)
"""What init or udhcpc need beside modules; PxerdFacts says which are there."""
_MODULE_LIMIT_BYTES = 64 << 20
# All of init's options stand in one list: Alpine's since 2.0, and the stand-in's.
_OPTIONS = re.compile(r'^(?:myopts|KNOWN_OPTIONS)="([^"]*)"', re.MULTILINE)
# Where it tells media by what alpine_dev= says: Alpine's own up to 3.2, and the patch's.
_NFS_CASE = re.compile(r"^\s*nfs(?::\*)?\)", re.MULTILINE)
# Buses on which a card says what it is, and a driver which cards it is for.
_CARD_BUSES = ("pci:", "usb:", "virtio:d00000001", "vmbus:", "xen:vif", "of:", "acpi", "platform:")
_NET_DRIVERS = "/drivers/net/"
_NO_CARDS = ("/wireless/", "/phy/", "/mdio/", "/can/")
_MOST_LINKS_FOLLOWED = 8


@dataclass(frozen=True, kw_only=True)
class PxerdFacts:
    """All that the gate asks an initramfs; lists are sorted."""

    kernel_releases: tuple[str, ...]
    """Names below lib/modules; a sound one has one."""
    built_for: str | None
    """The kernel that its modules themselves name, where one does."""
    machines: Mapping[str, str]
    """Machine to the first program or module that is for it, as formats.elf has them."""
    init_problem: str | None
    """Why the kernel cannot start /init, in words."""
    init_version: str | None
    """As init prints it; None where it does not say one."""
    init_numbers: tuple[int, ...]
    """The same for comparing: (3, 14)."""
    options: tuple[str, ...]
    """The options that init knows; none where it has no list of them."""
    mounts_nfs: bool
    """Whether init takes its medium from alpine_dev=nfs:..."""
    modules: tuple[str, ...]
    """Names that modprobe can load, with all that they depend on, or that are built in."""
    broken: Mapping[str, str]
    """Name of a module that lacks something to what it lacks."""
    cards: tuple[str, ...]
    """Those of `modules` that drive network cards."""
    files: tuple[str, ...]
    """Those of FILES that are there."""


def read_pxerd_facts(content: bytes, *, subject: str) -> PxerdFacts:
    """The facts of an initramfs; FormatError where it cannot be unpacked to its end."""
    plain = decompress_initramfs(content, limit_bytes=LIMIT_BYTES, subject=subject)
    tree = InitramfsTree(
        (
            _member(entry.name, entry.mode, entry.data)
            for entry in read_cpio(plain, subject=subject)
        ),
        subject=subject,
    )
    top = tree.resolve("lib/modules")
    releases = sorted({name.partition("/")[0] for name in tree.below("lib/modules")})
    modules = _Modules(tree, f"{top}/{releases[0]}" if len(releases) == 1 else "")
    loadable, broken = modules.loadable()
    init = _text(tree, "init")
    version, numbers = _init_version(init, subject)
    known = _OPTIONS.search(init)
    return PxerdFacts(
        kernel_releases=tuple(releases),
        built_for=modules.built_for(),
        machines=_machines(tree),
        init_problem=_init_problem(tree, init),
        init_version=version,
        init_numbers=numbers,
        options=tuple(sorted(known[1].split())) if known else (),
        mounts_nfs=bool(_NFS_CASE.search(init)),
        modules=tuple(sorted(loadable)),
        broken=dict(sorted(broken.items())),
        cards=tuple(sorted(modules.cards() & loadable)),
        files=tuple(name for name in FILES if _at(tree, name) is not None),
    )


def _member(name: str, mode: int, data: bytes | memoryview) -> Member:
    """A member that need not be told from others, so that its content is not digested."""
    is_link = stat.S_ISLNK(mode)
    return Member(
        name=name,
        mode=mode,
        size_bytes=len(data),
        identity="",
        load=lambda: data,
        target=bytes(data).decode("utf-8", "surrogateescape") if is_link else None,
    )


class _Modules:
    """The modules of one kernel in a tree; those of `directory`, "" where there are none."""

    def __init__(self, tree: InitramfsTree, directory: str) -> None:
        self._tree = tree
        self._directory = directory
        self._paths = set(tree.below(directory)) if directory else set()
        builtin = self._lines("modules.builtin")
        self._builtin = {module_name(path): path for path in builtin}
        lines = (line.partition(":") for line in self._lines("modules.dep"))
        self._needs = {path: needed.split() for path, colon, needed in lines if colon}

    def loadable(self) -> tuple[set[str], dict[str, str]]:
        """Names that modprobe can load or need not, and those that lack what they need."""
        found, broken = set(self._builtin), {}
        for path, needed in self._needs.items():
            missing = next((one for one in (path, *needed) if one not in self._paths), None)
            if missing is None:
                found.add(module_name(path))
            else:
                broken[module_name(path)] = missing
        for path in self._paths:
            name = module_name(path)
            if _is_module(path) and name not in found:
                broken.setdefault(name, "its line in modules.dep")
        return found, broken

    def cards(self) -> set[str]:
        """Names of drivers of network cards, loadable or not."""
        paths = {module_name(path): f"/{path}" for path in self._needs}
        found = set()
        for line in self._lines("modules.alias"):
            words = line.split(" ")
            if words[0] == "alias" and len(words) == 3 and words[1].startswith(_CARD_BUSES):
                found.add(words[2])
        of_modules = {name for name in found if _drives_cards(paths.get(name, ""))}
        # What is built in says its aliases only since 5.3, but where it lies always.
        return of_modules | {
            name for name, path in self._builtin.items() if _drives_cards(f"/{path}")
        }

    def built_for(self) -> str | None:
        """The kernel that a module of it names."""
        for path in sorted(self._paths):
            if not _is_module(path):
                continue
            content = bytes(self._tree.members[f"{self._directory}/{path}"].load())
            if path.endswith(COMPRESSED_SUFFIXES):
                content = decompress_file(content, limit_bytes=_MODULE_LIMIT_BYTES, subject=path)
            release = read_module_facts(content, subject=path).kernel_release
            if release is not None:
                return release
        return None

    def _lines(self, name: str) -> list[str]:
        return _text(self._tree, f"{self._directory}/{name}").splitlines()


def _is_module(path: str) -> bool:
    return path.endswith((".ko", *(f".ko{suffix}" for suffix in COMPRESSED_SUFFIXES)))


def _drives_cards(path: str) -> bool:
    return _NET_DRIVERS in path and not any(part in path for part in _NO_CARDS)


def _init_version(init: str, subject: str) -> tuple[str | None, tuple[int, ...]]:
    try:
        version = read_init_version(init.encode("utf-8", "surrogateescape"), subject=subject)
    except BootsmithError:
        return None, ()  # an init of one's own may be of no version
    return str(version), tuple(version.rank[0])


def _machines(tree: InitramfsTree) -> dict[str, str]:
    """Of programs, libraries and modules; firmware may be programs for other processors."""
    found: dict[str, str] = {}
    for name, member in tree.members.items():
        if not stat.S_ISREG(member.mode) or member.size_bytes < 64 or "/firmware/" in name:
            continue
        data = memoryview(member.load())[:64]
        if is_elf(data):
            found.setdefault(machine_of(data, subject=name), name)
    return dict(sorted(found.items()))


def _init_problem(tree: InitramfsTree, init: str) -> str | None:
    member = _at(tree, "init")
    if member is None or not stat.S_ISREG(member.mode):
        return "has no file /init"
    if not member.mode & 0o111:
        return "has an /init that may not be executed"
    name, wanted = "init", _interpreters(member, init)
    for _ in range(_MOST_LINKS_FOLLOWED):
        if not wanted:
            return None
        found = _at(tree, wanted.lstrip("/"))
        if found is None:
            return f"cannot start /{name}: it needs {wanted}, which is not there"
        name = wanted.lstrip("/")
        wanted = _interpreters(found, "")
    return f"cannot start /{name}: its interpreters lead in a circle"


def _interpreters(member: Member, script: str) -> str | None:
    """The program that the kernel starts for this one, if any."""
    if script.startswith("#!"):
        words = script[2:].splitlines()[0].split()
        return words[0] if words else None
    data = memoryview(member.load())
    if not is_elf(data):
        return None
    try:
        libraries = linked_libraries(data, subject=member.name)
    except FormatError:
        return None
    return next((name for name in libraries if "/" in name), None)


def _at(tree: InitramfsTree, path: str) -> Member | None:
    """What is at `path`, the last link followed too."""
    for _ in range(_MOST_LINKS_FOLLOWED):
        found = tree.find(path)
        if found is None or found.target is None:
            return found
        parent = found.name.rpartition("/")[0]
        path = found.target if found.target.startswith("/") else f"{parent}/{found.target}"
        path = path.lstrip("/")
    return None


def _text(tree: InitramfsTree, path: str) -> str:
    """The content of a file; "" where there is none."""
    found = _at(tree, path)
    return "" if found is None else bytes(found.load()).decode("utf-8", "surrogateescape")
