"""`make doctor`: each program and library, found version, what needs it, how to get it.

Needs nothing but a python3, so that it can answer before set-up. Exit status 1 when
something that building needs is missing; what only tests or benchmarks need is marked.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import BootsmithError
from bootsmith.tools import catalog
from bootsmith.tools.run import PROGRAM_PATH

_RED, _YELLOW, _GREEN, _BOLD, _PLAIN = "\033[31m", "\033[33m", "\033[32m", "\033[1m", "\033[0m"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the table."""

    name: str
    found: str | None
    """Version, or None if it is missing."""
    group: str
    """`build`, `test` or `bench`"""
    source: str
    """The package that brings it."""
    reason: str
    trouble: str | None = None
    """What is wrong with it though something was found."""

    @property
    def is_good(self) -> bool:
        """Found, and nothing wrong with it."""
        return self.found is not None and self.trouble is None


def examine_debian(
    packages: Sequence[catalog.DebianPackage], versions: Mapping[str, str]
) -> list[Finding]:
    """One finding for each program, file or module used; `versions` as dpkg tells them."""
    return [
        Finding(
            name=used,
            found=_found_version(used, versions.get(package.name)),
            group=package.group,
            source=package.name,
            reason=package.reason,
        )
        for package in packages
        for used in package.parts
    ]


def examine_python(packages: Sequence[catalog.PythonPackage]) -> list[Finding]:
    """One finding for each direct Python dependency, compared with its lock."""
    findings = []
    for package in packages:
        try:
            found = importlib.metadata.version(package.name)
        except importlib.metadata.PackageNotFoundError:
            found = None
        trouble = None if found in (None, package.version) else f"locked: {package.version}"
        findings.append(
            Finding(
                name=package.name,
                found=found,
                group=package.group,
                source=f"requirements/{package.group}.lock",
                reason=package.reason,
                trouble=trouble,
            )
        )
    return findings


def render(title: str, findings: Sequence[Finding], *, color: bool) -> list[str]:
    """The findings as aligned lines under a heading."""
    header = ("", title, "found", "for", "comes with", "needed by")
    rows = [
        (
            "ok" if finding.is_good else "--",
            finding.name,
            f"{finding.found or 'missing'}" + (f" ({finding.trouble})" if finding.trouble else ""),
            finding.group,
            finding.source,
            finding.reason,
        )
        for finding in findings
    ]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [_painted(_aligned(header, widths), _BOLD, color=color)]
    for finding, row in zip(findings, rows, strict=True):
        paint = _GREEN if finding.is_good else _RED if finding.group == "build" else _YELLOW
        mark, rest = _aligned(row, widths)[: widths[0]], _aligned(row, widths)[widths[0] :]
        lines.append(_painted(mark, paint, color=color) + rest)
    return lines


def conclude(debian: Sequence[Finding], python: Sequence[Finding]) -> tuple[int, list[str]]:
    """Exit status and the last lines: what to do about what is missing."""
    bad = [finding for finding in [*debian, *python] if not finding.is_good]
    if not bad:
        return 0, ["Everything is here."]
    needed = [finding for finding in bad if finding.group == "build"]
    lines = []
    if needed:
        lines.append(f"Building needs: {_names(needed)}")
        lines.append("  next: make setup")
    for group, who in (("test", "testing"), ("bench", "measuring")):
        wanted = [finding for finding in bad if finding.group == group]
        if wanted:
            lines.append(f"Only {who} needs: {_names(wanted)}")
            lines.append(f"  next: make {group}, which installs them first")
    missing = sorted({finding.source for finding in debian if not finding.is_good})
    if missing:
        lines.append(
            f"  or by hand: sudo apt-get install --no-install-recommends {' '.join(missing)}"
        )
    return (1 if needed else 0), lines


def main() -> int:
    """Print the tables; return the exit status."""
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    try:
        packages = catalog.debian_packages()
        versions = catalog.installed_debian_versions([package.name for package in packages])
        debian = examine_debian(packages, versions)
        python = examine_python(catalog.python_packages())
    except BootsmithError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    status, advice = conclude(debian, python)
    print(*render("program or file", debian, color=color), "", sep="\n")
    print(*render("Python package", python, color=color), "", sep="\n")
    print(f"Python {sys.version.split()[0]} at {sys.executable}")
    print(*advice, sep="\n")
    return status


def _found_version(used: str, packaged: str | None) -> str | None:
    """Debian's version of a present file; its path if it is not Debian's; None if absent."""
    if used.startswith("python:"):
        present = importlib.util.find_spec(used.removeprefix("python:")) is not None
        return (packaged or "present") if present else None
    path = used if used.startswith("/") else shutil.which(used, path=PROGRAM_PATH)
    if path is None or not Path(path).exists():
        return None
    return packaged if packaged and not path.startswith("/usr/local/") else path


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _painted(text: str, paint: str, *, color: bool) -> str:
    return f"{paint}{text}{_PLAIN}" if color else text


def _names(findings: Sequence[Finding]) -> str:
    return ", ".join(finding.name for finding in findings)


if __name__ == "__main__":
    sys.exit(main())
