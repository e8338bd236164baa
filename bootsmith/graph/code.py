"""The digest of a builder's code and of all it imports from the package.

Imports are read from the source (also those inside functions), not from a running
interpreter, so a module counts whether or not this run has loaded it. Versions of the
libraries outside the package count too: a new compressor may write other bytes.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from importlib import metadata
from pathlib import Path

import bootsmith

_PACKAGE = "bootsmith"
_PACKAGE_DIRECTORY = Path(bootsmith.__file__).parent


def package_identity() -> str:
    """Changes whenever any module of the package or the installed libraries may have."""
    parts = []
    for directory, _, files in os.walk(_PACKAGE_DIRECTORY):
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(directory, name)
                status = os.stat(path)
                parts.append(f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}")
    for entry in sorted(set(sys.path)):
        if entry.endswith("-packages") and os.path.isdir(entry):
            parts.append(f"{entry} {os.stat(entry).st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def code_digest(module: str) -> str:
    """Digest of `module`, every package module it reaches, and its libraries' versions."""
    modules: dict[str, str] = {}
    libraries: set[str] = set()
    _collect(module, modules, libraries)
    lines = [f"{name} {digest}" for name, digest in sorted(modules.items())]
    owners = metadata.packages_distributions()
    for library in sorted(libraries):
        for distribution in sorted(set(owners.get(library, ()))):
            lines.append(f"{distribution} {metadata.version(distribution)}")
    lines.append(f"python {sys.version_info.major}.{sys.version_info.minor}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


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
            parts = imported.split(".")
            for length in range(1, len(parts) + 1):
                _collect(".".join(parts[:length]), modules, libraries)
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


def imported_names(source: bytes, module: str) -> set[str]:
    """Dotted names that a module's source imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source, filename=module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names
