"""The one line by which a guest proves its boot, and what it must say.

    bootsmith-report nonce=N template=T hostname=H runlevel=R kernel=K modloop=M modloop_fs=F
    modules=N init=I system=S overlay_sha=D mac=A address=A medium=M boot_image=B end

The overlay `report` writes it once OpenRC has ended the default runlevel, to the console
and to the first serial port. Other writers (the kernel, getty) may cut into it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
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
    report: Report,
    *,
    template: str,
    kernel_release: str | None,
    modloop_file_system: str | None = None,
    needs_modloop: bool = True,
) -> tuple[str, ...]:
    """What the report lacks for a proven boot, in words; empty if it proves it.

    `kernel_release` None leaves the kernel unchecked (a generation that does not say), as
    `modloop_file_system` does what the modloop lies on.
    """
    problems = []
    expected = {"template": template, "kernel": kernel_release, "runlevel": "default"}
    for name, wanted in expected.items():
        got = report.words.get(name, "")
        if wanted is not None and got != wanted:
            problems.append(f"the guest reports {name} {got or 'nothing'}, expected {wanted}")
    modloop = report.words.get("modloop", "")
    if not needs_modloop:
        return tuple(problems)
    if modloop in ("", "none"):
        problems.append("the guest runs without its modloop")
    elif modloop_file_system is not None and modloop_file_system != report.words.get("modloop_fs"):
        problems.append(
            f"the guest's modloop is {modloop} on {report.words.get('modloop_fs', 'nothing')}, "
            f"expected one on {modloop_file_system}"
        )
    return tuple(problems)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What one word of a report must be."""

    words: str
    """How a person is told."""
    accepts: Callable[[str], bool]


def exactly(text: str) -> Expected:
    """Nothing but `text`."""
    return Expected(words=text, accepts=lambda got: got == text)


def one_of(*texts: str) -> Expected:
    """One of these."""
    return Expected(words=" or ".join(texts), accepts=lambda got: got in texts)


def beginning(text: str) -> Expected:
    """`text`, and whatever is behind it."""
    return Expected(words=f"{text}...", accepts=lambda got: got.startswith(text))


def ending(text: str) -> Expected:
    """`text`, and whatever is in front of it."""
    return Expected(words=f"...{text}", accepts=lambda got: got.endswith(text))


def unexpected_words(report: Report, expected: Mapping[str, Expected]) -> tuple[str, ...]:
    """Each word that is not as `expected`, in words."""
    return tuple(
        f"the guest reports {name} {report.words.get(name) or 'nothing'}, expected {wanted.words}"
        for name, wanted in expected.items()
        if not wanted.accepts(report.words.get(name, ""))
    )
