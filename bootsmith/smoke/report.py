"""The one line by which a guest proves its boot, and what it must say.

    bootsmith-report nonce=N template=T hostname=H runlevel=R kernel=K modloop=M … end

The overlay `report` writes it once OpenRC has ended the default runlevel, to the console
and to the first serial port. Other writers (the kernel, getty) may cut into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_REPORT = re.compile(r"bootsmith-report((?: [a-z_]+=\S*)+) end\b")
# printk writes its line where the cursor stands and ends it: taken out, the halves of
# whatever it cut into fit together again.
_KERNEL_LINE = re.compile(r"\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? [^\n]*\n?")


@dataclass(frozen=True, kw_only=True)
class Report:
    """The words of a report, as the guest wrote them."""

    words: Mapping[str, str]

    @property
    def nonce(self) -> str:
        """The number that this guest was given."""
        return self.words.get("nonce", "")


def find_reports(text: str) -> Iterator[Report]:
    """Every whole report in console text (each line ended by a line feed)."""
    for found in _REPORT.finditer(_KERNEL_LINE.sub("", text)):
        pairs = (word.partition("=") for word in found.group(1).split())
        yield Report(words={name: value for name, _, value in pairs})


def report_problems(
    report: Report, *, template: str, kernel_release: str | None
) -> tuple[str, ...]:
    """What the report lacks for a proven boot, in words; empty if it proves it.

    `kernel_release` None leaves the kernel unchecked (a generation that does not say).
    """
    problems = []
    expected = {"template": template, "kernel": kernel_release, "runlevel": "default"}
    for name, wanted in expected.items():
        got = report.words.get(name, "")
        if wanted is not None and got != wanted:
            problems.append(f"the guest reports {name} {got or 'nothing'}, expected {wanted}")
    modloop = report.words.get("modloop", "")
    if modloop in ("", "none"):
        problems.append("the guest runs without its modloop")
    return tuple(problems)
