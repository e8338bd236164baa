"""ramroot: a whole root filesystem, packed as the initramfs of one kernel.

    directory | tarball | packages ──► members ─┐
    overlays, hostname, runlevels ──────────────┼─► tree ──► segments ──► ramroot
    modloop ──► modules + firmware + indexes ───┤
    /init, /dev/console ────────────────────────┘

Nothing is unpacked to a disk and nothing of the root is run. All names of a file stay one file.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bootsmith.errors import BuildError, RecipeError
from bootsmith.files.atomic import replacing_file, write_file
from bootsmith.files.cache import Cache
from bootsmith.files.carried_modules import CarriedModules, match_modules
from bootsmith.files.feature_files import find_feature, known_features
from bootsmith.files.modloop_source import open_modloop_source
from bootsmith.files.overlay_stack import FILE_MODE, OverlayStack, service_links
from bootsmith.files.package_root import read_package_root
from bootsmith.files.release_packages import ReleasePackages
from bootsmith.files.root_sources import RootSource, read_root_directory, read_root_tarball
from bootsmith.files.segments import Progress, compressed_segments
from bootsmith.formats.compression import DEFAULT_LEVELS, check_level, choose_codec
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.formats.initramfs import (
    InitramfsTree,
    Member,
    directory_member,
    member_of,
    plan_segments,
    settle_links,
)
from bootsmith.formats.kernel_modules import (
    ModuleCatalog,
    close_over,
    plain_module_path,
    read_module_catalog,
)
from bootsmith.formats.ownership import created_directories, match_rules, read_ownership
from bootsmith.formats.ramroot_init import PROGRAMS, init_script

_PAGE_BYTES = 4096
# What the kernel has for itself before it makes its root, rounded up from Linux 6.1: 43 MiB and
# 1.7 % of the memory, measured with 128, 512 and 2048 MiB.
_KERNEL_BYTES = 48 << 20
_KERNEL_SHARE = 0.02
_PLACES = ("dev", "proc", "run", "sys", "tmp")
_APPLETS_OF_INIT = ("mount", "mkdir")
_PROGRAM_DIRECTORIES = ("bin", "sbin", "usr/bin", "usr/sbin")


def build_ramroot(
    *,
    image: str,
    directory: Path | None,
    keeps_owners: bool,
    tarball: Path | None,
    packages: Sequence[str],
    iso: Path | None,
    facts: Path | None,
    exclude: Sequence[str],
    owners: Path | None,
    overlays: Sequence[Path],
    overlay_owners: Sequence[Path | None],
    hostname: str,
    runlevels: Mapping[str, Sequence[str]],
    modules: Sequence[str],
    modloop: Path | None,
    feature_directories: Sequence[Path],
    init: str,
    memory_bytes: int,
    kernel_config: Path | None,
    compression: str,
    level: int | None,
    cache: Path,
    output: Path,
    report: Path,
    progress: Progress | None = None,
) -> None:
    """Write `output`, an initramfs that is the whole root of `image`, mode 0644.

    Exactly one of `directory`, `tarball` and `packages` is given; packages come from `iso`,
    whose `facts` the release step learned. `overlays` and `overlay_owners` go in pairs, lowest
    first; `owners` is an ownership file for the source itself. `modules` are names of features
    (their modules only) or of modules, taken from `modloop`. `init` is "auto" or the program to
    hand over to. A root that a machine with `memory_bytes` cannot hold is refused. `report`
    says in JSON what came in and what was left out.

    Raises RecipeError, SourceError, FormatError or BuildError; nothing is written then.
    """
    codec, reason = choose_codec(
        asked=compression,
        kernel_config=kernel_config.read_bytes() if kernel_config is not None else None,
        kernel_release=None,
    )
    level = DEFAULT_LEVELS[codec] if level is None or codec == "none" else level
    check_level(codec, level)
    store = Cache(cache)
    progress = progress or _silent
    progress("reading the root", 0, None)
    if directory is not None:
        source = read_root_directory(directory, exclude=exclude, keeps_owners=keeps_owners)
    elif tarball is not None:
        source = read_root_tarball(tarball, exclude=exclude)
    elif iso is not None and facts is not None:
        release = ReleasePackages(iso=iso, facts=facts, cache=store)
        source = read_package_root(release, packages, exclude=exclude, subject=f"ramroot {image}")
    else:
        raise BuildError(
            f"ramroot {image}",
            "has no source",
            expected="one of three",
            hint="name directory, tarball or packages in its recipe",
        )
    root = _Root(image=image, source=source)
    root.own(owners)
    root.lay(OverlayStack(overlays, overlay_owners))
    root.add_recipe(hostname, runlevels)
    root.add_init(init)
    with ExitStack() as opened:
        carried = None
        if modloop is not None:
            kernel = opened.enter_context(open_modloop_source(modloop, store))
            carried = CarriedModules(tree=root.tree, source=kernel, store=store)
            root.carry(carried, modules, feature_directories)
        members = settle_links(root.tree.members.values())
        document = root.report() | _sizes(members)
        segments = compressed_segments(
            plan_segments(members),
            codec=codec,
            level=level,
            store=store,
            fetch=carried.fetch_for if carried is not None else _fetch_nothing,
            progress=progress,
        )
    packed_bytes = sum(map(len, segments))
    _check_memory(image, document["memory_bytes"], packed_bytes, memory_bytes)
    with replacing_file(output) as unfinished, open(unfinished, "wb") as target:
        target.writelines(segments)
    document["compression"] = {"codec": codec, "level": level, "reason": reason}
    document["output"] = {"size_bytes": packed_bytes, "segments": len(segments)}
    write_file(report, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")


def _silent(message: str, done: int, total: int | None) -> None:
    """The progress of a caller that does not want any."""


def _fetch_nothing(members: Iterable[Member]) -> None:
    """Nothing of a root without modules is read at once."""


def _sizes(members: Sequence[Member]) -> dict[str, int]:
    """What the guest unpacks: entries, names beyond the first of a file, bytes, whole pages."""
    first_names = {member.linked or member.name: member for member in members}
    files = [member for member in first_names.values() if stat.S_ISREG(member.mode)]
    return {
        "entries": len(members),
        "further_names": len(members) - len(first_names),
        "unpacked_bytes": sum(member.size_bytes for member in files),
        "memory_bytes": sum(-(-member.size_bytes // _PAGE_BYTES) for member in files) * _PAGE_BYTES,
    }


def _check_memory(image: str, needed_bytes: int, packed_bytes: int, memory_bytes: int) -> None:
    """The root is a tmpfs: of what kernel and packed file leave, it takes half and no more."""
    left_bytes = memory_bytes * (1 - _KERNEL_SHARE) - _KERNEL_BYTES - packed_bytes
    allowed_bytes = max(0, int(left_bytes) // 2)
    if needed_bytes > allowed_bytes:
        raise BuildError(
            f"ramroot {image}",
            f"is too large for a machine with {memory_bytes >> 20} MiB of memory",
            expected=f"at most {human_bytes(allowed_bytes)} unpacked: half of what the kernel and "
            "the packed file leave",
            got=human_bytes(needed_bytes),
            hint="leave files out with exclude, or say in the image's recipe how much its "
            "machines have: memory_mebibytes",
        )


@dataclass(kw_only=True)
class _Root:
    """The tree on its way from what was found to what boots."""

    image: str
    source: RootSource
    supplied_init: bool = False
    modules: dict[str, Any] = field(default_factory=dict)
    firmware: dict[str, list[str]] = field(default_factory=dict)
    kernel_release: str | None = None

    @property
    def tree(self) -> InitramfsTree:
        return self.source.tree

    def own(self, ownership: Path | None) -> None:
        """Apply an ownership file to what the source brought."""
        if ownership is None:
            return
        subject = f"{ownership.parent.name}/{ownership.name}"
        try:
            rules = read_ownership(ownership.read_bytes(), subject=subject)
        except OSError as error:
            raise RecipeError(
                subject, f"cannot be read: {error.strerror}", hint="correct the path or its mode"
            ) from None
        for name in created_directories(rules):
            if self.tree.find(name) is None:
                self.tree.add(directory_member(name))
        is_directory = {
            name: stat.S_ISDIR(member.mode) for name, member in self.tree.members.items()
        }
        matched = match_rules(
            rules,
            directories=[name for name, true in is_directory.items() if true],
            files=[name for name, true in is_directory.items() if not true],
        )
        ruled = {name: (rule.mode, rule.uid, rule.gid) for name, rule in matched.items()}
        for name in list(ruled):
            # Owner and mode are of the file, not of the name.
            linked = self.tree.members[name].linked
            for other in self.tree.members.values():
                if linked is not None and other.linked == linked:
                    ruled[other.name] = ruled[name]
        for name, (mode, uid, gid) in ruled.items():
            member = self.tree.members[name]
            keeps_mode = mode is None or stat.S_ISLNK(member.mode)
            new_mode = member.mode if keeps_mode else stat.S_IFMT(member.mode) | (mode or 0)
            self.tree.add(replace(member, mode=new_mode, uid=uid, gid=gid))

    def lay(self, stack: OverlayStack) -> None:
        """Put overlays over the root; directories that it has keep their owner and mode."""
        for name, entry in sorted(stack.entries().items()):
            member = replace(member_of(name, entry.mode, entry.data), uid=entry.uid, gid=entry.gid)
            there = self.tree.find(name)
            if there is not None and stat.S_ISDIR(entry.mode) != stat.S_ISDIR(there.mode):
                if stat.S_ISDIR(entry.mode) and there.target is not None:
                    continue  # what is below it goes where the link leads
                raise BuildError(
                    f"ramroot {self.image}",
                    f"{name} is a {_kind(member)} in an overlay and a {_kind(there)} in the root",
                    hint="rename or remove the one in the overlay",
                )
            if there is None or not stat.S_ISDIR(entry.mode) or name in stack.ruled:
                self.tree.add(member)

    def add_recipe(self, hostname: str, runlevels: Mapping[str, Sequence[str]]) -> None:
        """Write what the recipe says: the host's name, the image's, services to start."""
        for name, text in (
            ("etc/hostname", f"{hostname}\n"),
            ("etc/bootsmith/template", f"{self.image}\n"),
        ):
            self.tree.add(member_of(name, FILE_MODE, text.encode()))
        for link in service_links(runlevels):
            service = link.name.rpartition("/")[2]
            if self.tree.find(f"etc/init.d/{service}") is None:
                raise BuildError(
                    f"ramroot {self.image}",
                    f"there is no service {service} in it",
                    expected=f"etc/init.d/{service}",
                    hint="add the package or overlay that brings it, or correct [runlevels]",
                )
            self.tree.add(member_of(link.name, link.mode, link.data))

    def add_init(self, init: str) -> None:
        """Supply /init where the root has none, and what must be there before it mounts anything.

        The kernel opens /dev/console for /init; no devtmpfs is mounted for an initramfs.
        """
        for name in _PLACES:
            if self.tree.find(name) is None:
                mode = 0o1777 if name == "tmp" else 0o755
                self.tree.add(replace(directory_member(name), mode=stat.S_IFDIR | mode))
        for name, mode, minor, major in (("console", 0o600, 1, 5), ("null", 0o666, 3, 1)):
            node = member_of(f"dev/{name}", stat.S_IFCHR | mode)
            self.tree.add(replace(node, rdev_major=major, rdev_minor=minor))
        own = self.tree.find("init")
        if init == "auto" and own is not None:
            if not (own.mode & 0o111 or own.target is not None):
                raise self._no_init("its /init is not executable", "make it so in the source")
            return
        if init != "auto":
            self._check_program(init)
        self._check_shell()
        programs = PROGRAMS if init == "auto" else (init,)
        script = init_script(programs, unlinked_busybox=self._unlinked_busybox())
        self.tree.add(member_of("init", stat.S_IFREG | 0o755, script))
        self.supplied_init = True

    def _check_program(self, init: str) -> None:
        if self.tree.find(init.lstrip("/")) is None and not self._unlinked_busybox():
            raise self._no_init(
                f"there is no {init} in it, which init names", "correct init, or add the program"
            )

    def _check_shell(self) -> None:
        if self.tree.find("bin/sh") is not None:
            return
        busybox = self._find_program("busybox")
        if not busybox:
            raise self._no_init(
                "the /init that is supplied needs a /bin/sh, and there is none",
                "add a shell (busybox), or put an /init of its own into the source or an overlay",
            )
        self.tree.add(member_of("bin/sh", stat.S_IFLNK | 0o777, f"/{busybox}".encode()))

    def _no_init(self, problem: str, hint: str) -> BuildError:
        return BuildError(f"ramroot {self.image}", problem, hint=hint)

    def _unlinked_busybox(self) -> str:
        """The path of a busybox whose names are missing: a package's script would make them."""
        busybox = self._find_program("busybox")
        missing = [name for name in _APPLETS_OF_INIT if not self._find_program(name)]
        return f"/{busybox}" if busybox and missing else ""

    def _find_program(self, name: str) -> str:
        paths = (f"{directory}/{name}" for directory in _PROGRAM_DIRECTORIES)
        return next((path for path in paths if self.tree.find(path) is not None), "")

    def carry(
        self, carried: CarriedModules, wanted: Sequence[str], feature_directories: Sequence[Path]
    ) -> None:
        """Add modules with all that they need, their firmware and depmod's indexes."""
        kernel = carried.source
        there = [name for name in self.tree.below(carried.directory) if ".ko" in name]
        if there:
            raise BuildError(
                f"ramroot {self.image}",
                f"has modules of kernel {kernel.kernel_release} already",
                got=f"{len(there)} of them, like {there[0]}",
                hint="leave modules out of the image's recipe, or the others: "
                'exclude = ["lib/modules"]',
            )
        subject = f"{kernel.image.subject}: modules.dep"
        catalog = read_module_catalog(kernel.texts, subject=subject)
        chosen = []
        for word in wanted:
            chosen += self._chosen(word, catalog, kernel.texts, feature_directories)
        closure = close_over(catalog, chosen)
        carried.add(list(closure.paths))
        carried.write_indexes({path: plain_module_path(path) for path in closure.paths})
        self.source.notes += [
            f"module {name}: its softdep {wish} is not in this kernel"
            for name, wish in closure.unresolved
        ]
        self.kernel_release = kernel.kernel_release
        self.firmware = carried.firmware_account
        self.modules = {
            "asked": list(wanted),
            "carried": sorted(closure.paths),
            "by_dependency": dict(closure.by_dependency),
            "by_softdep": dict(closure.by_softdep),
        }

    def _chosen(
        self,
        word: str,
        catalog: ModuleCatalog,
        texts: Mapping[str, bytes],
        feature_directories: Sequence[Path],
    ) -> list[str]:
        """Paths of the modules that a feature or module name stands for; none if built in."""
        if word in known_features(feature_directories):
            globs = find_feature(word, feature_directories).modules
            matched = match_modules(globs, catalog, texts).values()
            if any(one.modules or one.built_in for one in matched):
                return [path for one in matched for path in one.modules]
        name = word.replace("-", "_")
        if name in catalog.path_by_name:
            return [catalog.path_by_name[name]]
        if name in catalog.builtin_names:
            return []
        raise BuildError(
            f"ramroot {self.image}",
            f"{word} is neither a feature with modules nor a module of its kernel",
            hint="correct modules in the image's recipe; recipes/features.d has the features",
        )

    def report(self) -> dict[str, Any]:
        """What came in and what was left out, as JSON values."""
        known = {"kernel_release": self.kernel_release} if self.kernel_release else {}
        return known | {
            "schema": 1,
            "init": "supplied" if self.supplied_init else "the root's own",
            "packages": self.source.packages,
            "modules": self.modules,
            "firmware": self.firmware,
            "notes": self.source.notes,
        }


def _kind(member: Member) -> str:
    if stat.S_ISDIR(member.mode):
        return "directory"
    return "symbolic link" if stat.S_ISLNK(member.mode) else "file"
