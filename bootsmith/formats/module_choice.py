"""Which modules of a kernel stay, by globs of what to keep and what to drop.

Globs are mkinitfs's (see features), relative to the kernel's module directory; those that
begin with `firmware/` are about firmware. `keep` takes along what the kept ones need,
softly or not; without `keep` all stay. Of these, what `drop` names goes, unless a module
that stays needs it: that is an error which names both.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bootsmith.errors import BuildError
from bootsmith.formats.features import expand_globs
from bootsmith.formats.firmware import FirmwareTree
from bootsmith.formats.kernel_modules import (
    ModuleCatalog,
    close_over,
    module_name,
)

_FIRMWARE = "firmware"
_FLAVOR_HINT = (
    "correct it in the release recipe; what only one flavor has belongs in [modloop.flavor.NAME]"
)


@dataclass(frozen=True, kw_only=True)
class ModuleChoice:
    """`modules` stay, in depmod's order. Of firmware, `firmware_kept` were named to stay."""

    modules: tuple[str, ...]
    firmware_kept: frozenset[str]
    firmware_dropped: frozenset[str]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Matched:
    modules: dict[str, str]  # to the glob that matched first
    firmware: frozenset[str]


def choose_modules(
    catalog: ModuleCatalog,
    *,
    builtin: Sequence[str],
    firmware: FirmwareTree,
    keep: Sequence[str],
    drop: Sequence[str],
    added: Collection[str],
) -> ModuleChoice:
    """What stays of the modules in `catalog`; those `added` do, and `drop` is not about them.

    `builtin` are the paths in modules.builtin. Raises BuildError for a glob that matches
    nothing, for one that drops what is built in, and for dropping what is needed.
    """
    kept = _matches("keep", keep, catalog, builtin, firmware)
    dropped = _matches("drop", drop, catalog, (), firmware, builtin)
    going = {path for path in dropped.modules if path not in added}
    notes = []
    stay = set(catalog.dependencies)
    if keep:
        closure = close_over(catalog, [*kept.modules, *added])
        stay = set(closure.paths)
        notes += [
            f"module {name}: its softdep {wish} is not in this kernel"
            for name, wish in closure.unresolved
        ]
    stay -= going
    _check_needs(catalog, stay, dropped)
    notes += _missed_softdeps(catalog, stay, going)
    return ModuleChoice(
        modules=tuple(path for path in catalog.dependencies if path in stay),
        firmware_kept=kept.firmware,
        firmware_dropped=dropped.firmware,
        notes=tuple(notes),
    )


def _matches(
    key: str,
    globs: Sequence[str],
    catalog: ModuleCatalog,
    builtin: Sequence[str],
    firmware: FirmwareTree,
    forbidden: Sequence[str] = (),
) -> _Matched:
    path_by_plain = catalog.path_by_plain
    names = list(path_by_plain)
    modules: dict[str, str] = {}
    files: set[str] = set()
    for glob in globs:
        top, _, rest = glob.strip("/").partition("/")
        if top == _FIRMWARE:
            found = firmware.matching([rest or "*"])
            files |= found
        else:
            found = set(expand_globs([glob.strip("/")], names)[glob.strip("/")])
            for name in sorted(found):
                modules.setdefault(path_by_plain[name], glob)
        if not found and not _names_any(glob, builtin):
            is_builtin = _names_any(glob, forbidden)
            raise BuildError(
                f"[modloop] {key}: {glob}",
                "is built into this kernel and cannot be dropped"
                if is_builtin
                else "matches no module and no firmware of this kernel",
                hint=_FLAVOR_HINT,
            )
    return _Matched(modules=modules, firmware=frozenset(files))


def _names_any(glob: str, names: Sequence[str]) -> bool:
    return any(expand_globs([glob.strip("/")], sorted(names)).values())


def _check_needs(catalog: ModuleCatalog, stay: set[str], dropped: _Matched) -> None:
    conflicts = [
        (path, needed)
        for path in catalog.dependencies
        if path in stay
        for needed in catalog.dependencies[path]
        if needed not in stay
    ]
    if not conflicts:
        return
    path, needed = conflicts[0]
    more = len(conflicts) - 1
    raise BuildError(
        f"[modloop] drop: {dropped.modules[needed]}",
        f"drops {needed}, which {path} needs" + (f" (and {more} more such needs)" if more else ""),
        hint=f"drop {path} as well, or leave {needed} in",
    )


def _missed_softdeps(catalog: ModuleCatalog, stay: set[str], going: set[str]) -> list[str]:
    names = {module_name(path) for path in going}
    return [
        f"module {name}: its softdep {wish} is dropped"
        for name, wishes in sorted(catalog.softdeps.items())
        if catalog.path_by_name.get(name) in stay
        for wish in wishes
        if wish.replace("-", "_") in names
    ]
