"""The digest of a builder's code and of all it imports from the package.

Imports are read from the source (also those inside functions), not from a running
interpreter, so a module counts whether or not this run has loaded it. Versions of the
libraries outside the package count too: a new compressor may write other bytes.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import sys
from importlib import metadata
from pathlib import Path

import bootsmith
from bootsmith.files.digest import Identity, is_settled

_PACKAGE = "bootsmith"
_PACKAGE_DIRECTORY = Path(bootsmith.__file__).parent


def package_directory() -> Path:
    """Where the package's source is."""
    return _PACKAGE_DIRECTORY


def package_identity() -> str | None:
    """Changes whenever any module of the package or the installed libraries may have.

    None while something of it changed so lately that another change might not show: what
    was derived from it may be used then, but not remembered.
    """
    parts = []
    for directory, _, files in os.walk(_PACKAGE_DIRECTORY):
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(directory, name)
                parts.append((path, os.stat(path)))
    for entry in set(sys.path):
        if entry.endswith("-packages") and os.path.isdir(entry):
            parts.append((entry, os.stat(entry)))
    if not all(is_settled(status) for _, status in parts):
        return None
    lines = sorted(f"{path} {Identity.of(status)}" for path, status in parts)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def code_digest(module: str) -> str:
    """Digest of `module`, every package module it reaches, and its libraries' versions.

    Python's own version is not in it: Executor adds it to every key.
    """
    modules: dict[str, str] = {}
    libraries: set[str] = set()
    _collect_with_parents(module, modules, libraries)
    lines = [f"{name} {digest}" for name, digest in sorted(modules.items())]
    owners = metadata.packages_distributions()
    for library in sorted(libraries):
        for distribution in sorted(set(owners.get(library, ()))):
            lines.append(f"{distribution} {metadata.version(distribution)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _collect_with_parents(module: str, modules: dict[str, str], libraries: set[str]) -> None:
    """Importing `a.b.c` runs `a` and `a.b` first."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        _collect(".".join(parts[:length]), modules, libraries)


def _collect(module: str, modules: dict[str, str], libraries: set[str]) -> None:
    path = module_path(module)
    if module in modules or path is None:
        return
    source = path.read_bytes()
    modules[module] = hashlib.sha256(source).hexdigest()
    for imported in imported_names(source, module):
        top = imported.partition(".")[0]
        if top == _PACKAGE:
            # `from bootsmith.a import b`: b may be a module or a name inside a.
            _collect_with_parents(imported, modules, libraries)
        elif top not in sys.stdlib_module_names:
            libraries.add(top)


def module_path(module: str) -> Path | None:
    """The file of a module of this package, or None."""
    top, *rest = module.split(".")
    if top != _PACKAGE:
        return None
    relative = Path(*rest)
    for candidate in (
        _PACKAGE_DIRECTORY / relative / "__init__.py",
        (_PACKAGE_DIRECTORY / relative).with_suffix(".py"),
    ):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def imported_names(source: bytes, module: str) -> frozenset[str]:
    """Dotted names that a module's source imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source, filename=module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = _package_of(module, node.level) if node.level else ""
            origin = ".".join(filter(None, (start, node.module)))
            names.update(f"{origin}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _package_of(module: str, level: int) -> str:
    """The package that `level` leading dots in an import of `module` mean."""
    path = module_path(module)
    parts = module.split(".")
    if path is not None and path.name == "__init__.py":
        level -= 1  # a package's own dots begin at itself
    return ".".join(parts[: len(parts) - level])
