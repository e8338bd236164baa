"""What bootsmith needs of the machine: Debian packages, programs, Python packages.

Three small text files say it, each line with its reason: debian-packages.txt beside this
module, requirements/build.in and test.in in the checkout, with versions in the .lock files.
Only the standard library is needed here: `make doctor` runs this before set-up.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import FormatError, ToolFailed, ToolMissing
from bootsmith.files.atomic import PARTIAL_SUFFIX, write_file
from bootsmith.files.digest import is_settled
from bootsmith.tools.run import PROGRAM_PATH, run_program

DEBIAN_PACKAGES = Path(__file__).with_name("debian-packages.txt")
CHECKOUT = Path(__file__).parents[2]
GROUPS = ("build", "test", "bench")
PYTHON_GROUPS = ("build", "test")
"""Benchmarks need no Python package that tests do not."""
_SET_UP_MARKS = ("service:", "directory:")


@dataclass(frozen=True, kw_only=True)
class DebianPackage:
    """One line of debian-packages.txt."""

    name: str
    group: str
    """`build`, `test` or `bench`"""
    used: tuple[str, ...]
    """Program names, absolute paths and `python:MODULE`s that the code uses of it; and what
    only concerns set-up: `service:NAME`, `directory:PATH`."""
    reason: str
    """Who needs it, and for what; reads well after "needed by"."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What of `used` can be looked for: all but what only concerns set-up."""
        return tuple(word for word in self.used if not word.startswith(_SET_UP_MARKS))


@dataclass(frozen=True, kw_only=True)
class PythonPackage:
    """One line of requirements/*.in with the version of its lock."""

    name: str
    group: str
    """`build` or `test`"""
    version: str
    reason: str


def parse_debian_packages(text: str, *, source: str) -> tuple[DebianPackage, ...]:
    """The lines `package | group | used … | reason`; FormatError names `source:line`."""
    packages: list[DebianPackage] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{source}:{number}"
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 4 or not all(fields):
            raise FormatError(
                where,
                "not a package line",
                expected="package | build, test or bench | what is used | reason",
                got=line.strip(),
            )
        name, group, used, reason = fields
        if group not in GROUPS:
            raise FormatError(where, "unknown group", expected="build, test or bench", got=group)
        if any(package.name == name for package in packages):
            raise FormatError(where, f"{name} is listed twice", expected="one line a package")
        packages.append(
            DebianPackage(name=name, group=group, used=tuple(used.split()), reason=reason)
        )
    return tuple(packages)


def parse_python_packages(
    text: str, *, group: str, versions: dict[str, str], source: str
) -> tuple[PythonPackage, ...]:
    """The lines `name  # reason` of a requirements input; FormatError names `source:line`."""
    packages = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("#", "-c")):
            continue
        name, _, reason = (part.strip() for part in line.partition("#"))
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or not reason:
            raise FormatError(
                f"{source}:{number}",
                "not a requirement with its reason",
                expected="name  # reason",
                got=line.strip(),
            )
        version = versions.get(canonical_name(name), "not locked")
        packages.append(PythonPackage(name=name, group=group, version=version, reason=reason))
    return tuple(packages)


def locked_versions(text: str) -> dict[str, str]:
    """Canonical name to version of every pin in a lock file."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, flags=re.MULTILINE)
    return {canonical_name(name): version for name, version in pins}


def canonical_name(name: str) -> str:
    """A Python package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def debian_packages() -> tuple[DebianPackage, ...]:
    """All of debian-packages.txt, in its order."""
    return parse_debian_packages(DEBIAN_PACKAGES.read_text("utf-8"), source=DEBIAN_PACKAGES.name)


@functools.cache
def python_packages() -> tuple[PythonPackage, ...]:
    """All direct Python dependencies, those of building first."""
    packages: list[PythonPackage] = []
    for group in PYTHON_GROUPS:
        source = CHECKOUT / "requirements" / f"{group}.in"
        lock = source.with_suffix(".lock")
        packages += parse_python_packages(
            source.read_text("utf-8"),
            group=group,
            versions=locked_versions(lock.read_text("utf-8")),
            source=str(source.relative_to(CHECKOUT)),
        )
    return tuple(packages)


def package_of(used: str) -> DebianPackage | None:
    """The Debian package that a program, path or `python:MODULE` is listed under."""
    for package in debian_packages():
        if used in package.used:
            return package
    return None


def purpose_of(program: str) -> str:
    """Who needs `program`, and for what; reads well after "needed by"."""
    package = package_of(program)
    return package.reason if package else "bootsmith"


def how_to_get(program: str) -> str:
    """The one command that brings `program`."""
    package = package_of(program)
    return f"sudo apt-get install {package.name}" if package else f"install {program}"


def installed_debian_versions(names: Sequence[str]) -> dict[str, str]:
    """Versions of those packages that dpkg calls installed; empty where there is no dpkg."""
    try:
        answer = run_program(
            [
                "dpkg-query",
                "--show",
                "--showformat",
                "${Package} ${Version} ${db:Status-Status}\n",
                *names,
            ],
            accepted_statuses=(0, 1),  # 1: does not know one of them
        )
    except (ToolMissing, ToolFailed):
        return {}
    rows = [line.split(" ") for line in answer.text.splitlines()]
    return {name: version for name, version, status in rows if status == "installed"}


def program_version(program: str) -> str | None:
    """What tells two builds of a program apart, for step keys: "1:4.5.1-1 3f2a90c1d2e4".

    The version is Debian's where the program is one of its packages, followed by the first
    12 hex digits of a sha256 over the program and the shared libraries it loads: a rebuilt
    program, a hand-made one or another liblzma changes the key even if `--version` says the
    same. None if there is no such program. `program` may be the absolute path of a data file
    or of a directory of them. Cached per machine by the identity of every file that counts.
    """
    path = shutil.which(program, path=PROGRAM_PATH) if "/" not in program else program
    if path is None or not os.path.exists(path):
        return None
    known = _version_cache().get(path)
    if known is not None and _identity(path, known.libraries) == known.identity:
        return known.version
    libraries = _libraries_of(path)
    identity = _identity(path, libraries)
    version = _examined_version(program, path, libraries)
    if identity is not None and identity == _identity(path, libraries):
        _remember(path, _Known(libraries=libraries, identity=identity, version=version))
    return version


def files_of_program(program: str) -> list[str]:
    """Every file behind `program_version`, and the directories where it would be found first."""
    if "/" in program:
        path, places = program, []
    else:
        path = shutil.which(program, path=PROGRAM_PATH) or ""
        places = PROGRAM_PATH.split(":")
        if path:
            places = places[: places.index(os.path.dirname(path))]
    if not path or not os.path.exists(path):
        return [*places, *([path] if path else [])]
    known = _version_cache().get(path)
    libraries = known.libraries if known is not None else _libraries_of(path)
    return [*places, path, *_parts_of(path), *libraries, _LINKER_CACHE]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What was found out about a program; holds while `identity` does."""

    libraries: tuple[str, ...]
    identity: str
    version: str


def _parts_of(path: str) -> list[str]:
    """The file itself, or every file in a directory."""
    if not os.path.isdir(path):
        return [path]
    with os.scandir(path) as found:
        return sorted(entry.path for entry in found if entry.is_file())


def _identity(path: str, libraries: Sequence[str]) -> str | None:
    """A digest of what stat(2) says of all files that count.

    None if one is gone, or changed so lately that another change might not show.
    """
    lines = []
    # Where libraries are found: another one may come to stand for the same name.
    search = [_LINKER_CACHE] if libraries and os.path.exists(_LINKER_CACHE) else []
    try:
        for part in (*_parts_of(path), *libraries, *search):
            found = os.stat(part)
            if not is_settled(found):
                return None
            lines.append(
                f"{part} {found.st_dev} {found.st_ino} {found.st_size} "
                f"{found.st_mtime_ns} {found.st_ctime_ns}"
            )
    except FileNotFoundError:
        return None
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


_LINKER_CACHE = "/etc/ld.so.cache"
# The C library is not counted: its updates within a Debian release change no program's
# output, and each would rebuild everything.
_C_LIBRARY = re.compile(r"(?:ld-linux|lib(?:c|m|dl|rt|pthread|resolv))[-.]")


def _libraries_of(path: str) -> tuple[str, ...]:
    """Paths of the shared libraries that a program loads, those of libraries included."""
    if os.path.isdir(path):
        return ()
    try:
        said = run_program(["ldd", path], accepted_statuses=(0, 1)).text  # 1: loads none
    except (ToolMissing, ToolFailed):
        return ()
    found = re.findall(r"(?:=>|^)\s*(/\S+) \(0x", said, flags=re.MULTILINE)
    names = {name for name in found if not _C_LIBRARY.match(os.path.basename(name))}
    return tuple(sorted(names))


def cache_directory() -> Path:
    """Where facts about this machine are remembered between runs (XDG base directories)."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path.home() / ".cache"
    return base / "bootsmith"


def _examined_version(program: str, path: str, libraries: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for part in (*_parts_of(path), *libraries):
        with open(part, "rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
        digest.update(os.path.basename(part).encode())
    short = digest.hexdigest()[:12]
    package = package_of(program)
    if package is None or path.startswith("/usr/local/"):
        return short
    installed = installed_debian_versions([package.name]).get(package.name)
    return f"{installed} {short}" if installed else short


@functools.cache
def _version_cache() -> dict[str, _Known]:
    """What is remembered, by path; read once a process, empty if unreadable."""
    try:
        return {
            path: _Known(
                libraries=tuple(known["libraries"]),
                identity=known["identity"],
                version=known["version"],
            )
            for path, known in json.loads(
                (cache_directory() / "programs.json").read_text("utf-8")
            ).items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError):
        return {}  # a cache that cannot be read is an empty one


def _remember(path: str, known: _Known) -> None:
    cache = _version_cache()
    cache[path] = known
    document = {name: vars(entry) for name, entry in cache.items()}
    try:
        # What a process left that was killed here; another's, at work now, does without.
        for partial in cache_directory().glob(f".programs.json.*{PARTIAL_SUFFIX}"):
            partial.unlink()
        write_file(
            cache_directory() / "programs.json",
            json.dumps(document, indent=1, sort_keys=True).encode(),
            durable=False,
        )
    except (OSError, RuntimeError):
        pass  # no home, or a read-only one: the next process examines again
