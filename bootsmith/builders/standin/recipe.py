"""The stand-in's own recipe: packages.toml, initramfs.toml and medium.toml of its data.

Every rule is explicit: unknown keys, wrong types and names that fit nothing are errors.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from bootsmith.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class PackageRule:
    """How one package is made: files of Debian packages, and our own tree."""

    name: str
    summary: str
    version: str = ""
    """Default: that of the first deb, made fit for apk."""
    debs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Globs of absolute paths in the debs; a directory takes all below it."""
    moves: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[str, ...] = ()
    """Absolute paths, each with a mode in front if it is not 0755: "0700 /root"."""
    modes: Mapping[str, str] = field(default_factory=dict)
    joins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Files that are the concatenation, in order of names, of files of the debs."""
    own: str = ""
    """Directory below packages/ whose tree is added."""
    keys: bool = False
    """Whether the repository's public key goes into this package."""
    depends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    install_if: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    """Text, or "@NAME" for a file `.scripts/NAME` of the own tree."""


@dataclass(frozen=True, kw_only=True)
class InitramfsRule:
    """What the stock initramfs holds besides modules."""

    features: tuple[str, ...]
    own: str
    files: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FlavorRule:
    """One kernel: its Debian metapackage, boot options, and what its modloop leaves out."""

    kernel: str
    options: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StandinData:
    """All rules; `directory` is where the own trees and features.d are."""

    directory: Path
    moves: Mapping[str, str]
    """Prefix moves that apply to every package after its own."""
    packages: tuple[PackageRule, ...]
    initramfs: InitramfsRule
    flavors: Mapping[str, FlavorRule]
    boot_debs: tuple[str, ...]

    def kernel_metapackages(self, flavors: Sequence[str]) -> tuple[str, ...]:
        """The Debian metapackage of each flavor's kernel; RecipeError for an unknown one."""
        return tuple(self.flavor(name).kernel for name in flavors)

    def flavor(self, name: str) -> FlavorRule:
        """The rule of one flavor."""
        if name not in self.flavors:
            raise RecipeError(
                "stand-in",
                f"no flavor {name!r}",
                expected=" or ".join(sorted(self.flavors)),
                hint="change `flavors` in the release's recipe",
            )
        return self.flavors[name]


@dataclass(frozen=True, kw_only=True)
class _PackagesFile:
    package: tuple[dict[str, Any], ...] = ()
    moves: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _MediumFile:
    boot_debs: tuple[str, ...]
    flavor: Mapping[str, dict[str, Any]]


def read_standin_data(directory: Path) -> StandinData:
    """The rules in a data directory. Raises RecipeError, located `file: key`."""
    packages_path = directory / "packages.toml"
    medium_path = directory / "medium.toml"
    packages_file = _decode(_PackagesFile, _load(packages_path), packages_path)
    medium = _decode(_MediumFile, _load(medium_path), medium_path)
    packages = tuple(
        _decode(PackageRule, table, f"{packages_path}: {table.get('name', 'package')}")
        for table in packages_file.package
    )
    _check_names(packages, packages_path)
    initramfs_path = directory / "initramfs.toml"
    return StandinData(
        directory=directory,
        moves=packages_file.moves,
        packages=packages,
        initramfs=_decode(InitramfsRule, _load(initramfs_path), initramfs_path),
        flavors={
            name: _decode(FlavorRule, table, f"{medium_path}: flavor.{name}")
            for name, table in medium.flavor.items()
        },
        boot_debs=medium.boot_debs,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RecipeError(path, "file is missing", hint="restore it from the sources") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(path, f"not TOML: {error}", hint="correct that place") from None


def _decode(kind: type[Any], table: Mapping[str, Any], subject: object) -> Any:
    """`table` as a `kind`: no unknown keys, every value of the annotated type."""
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise RecipeError(
                subject, f"unknown key {key!r}", expected=f"one of {', '.join(sorted(hints))}"
            )
        values[key] = _fit(hints[key], value, f"{subject}: {key}")
    for known in fields(kind):
        is_required = known.default is MISSING and known.default_factory is MISSING
        if is_required and known.name not in values:
            raise RecipeError(subject, f"key {known.name!r} is missing")
    return kind(**values)


def _fit(hint: Any, value: Any, subject: str) -> Any:
    if hint in (str, bool):
        if type(value) is not hint:
            raise RecipeError(subject, "wrong type", expected=hint.__name__, got=f"{value!r}")
        return value
    inner = hint.__args__
    if hint.__origin__ is tuple:
        if not isinstance(value, list):
            raise RecipeError(subject, "wrong type", expected="a list", got=f"{value!r}")
        return tuple(_fit(inner[0], item, subject) for item in value)
    if not isinstance(value, dict):
        raise RecipeError(subject, "wrong type", expected="a table", got=f"{value!r}")
    if hint.__origin__ is dict:
        return value
    return {key: _fit(inner[1], item, f"{subject}.{key}") for key, item in value.items()}


def _check_names(packages: Sequence[PackageRule], path: Path) -> None:
    seen: set[str] = set()
    for package in packages:
        if package.name in seen:
            raise RecipeError(f"{path}: {package.name}", "two packages have this name")
        seen.add(package.name)
    provided = seen | {
        provide.partition("=")[0] for package in packages for provide in package.provides
    }
    for package in packages:
        for dependency in package.depends:
            if dependency not in provided:
                raise RecipeError(
                    f"{path}: {package.name}",
                    f"depends on {dependency!r}, which no package is or provides",
                )
