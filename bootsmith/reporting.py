"""What a run says to the person, or the program, that started it. Never a log of bytes.

Four ways, chosen by BOOTSMITH_REPORT or by what standard error is:

    live    bars and a closing table, on a terminal (reporting_live.py)
    plain   a line a step, and one every ten seconds of a long one: cron, CI, pipes
    quiet   what failed, and nothing else
    json    one object a line on standard output, for programs

Everything but json goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

from bootsmith.formats.human_bytes import human_bytes
from bootsmith.front import REPORT, end_unread

Progress = Callable[[str, int, int | None], None]
CHOICES = ("live", "plain", "quiet", "json")
_EVERY_SECONDS = 10.0
_WIDTH = 28
_SECONDS = "{seconds}"


@dataclass(kw_only=True)
class KindCount:
    """What became of the steps of one kind."""

    built: int = 0
    unchanged: int = 0
    saved: int = 0
    """Of the unchanged: those below a step that was done and made the same bytes again."""
    failed: int = 0
    size_bytes: int = 0
    """Of what was built."""
    seconds: float = 0.0


@dataclass(kw_only=True)
class Summary:
    """A run, counted."""

    kinds: dict[str, KindCount] = field(default_factory=dict)
    standing: str | None = None
    """What machines boot now, in words."""
    next_step: str | None = None
    """What people usually do then."""

    def of(self, label: str) -> KindCount:
        """The count that a step belongs to."""
        return self.kinds.setdefault(label.partition(":")[0], KindCount())

    def total(self, name: str) -> Any:
        """The sum of one number over all kinds."""
        return sum(getattr(kind, name) for kind in self.kinds.values())

    def closing_line(self) -> str:
        """Counts, and what machines boot now; `{seconds}` stands for the time."""
        saved = self.total("saved")
        parts = [
            f"{self.total('built')} built",
            f"{self.total('unchanged')} unchanged"
            + (f" ({saved} of them saved by a cut-off)" if saved else ""),
        ]
        if failed := self.total("failed"):
            parts.append(f"{failed} failed")
        where = f"; {self.standing}" if self.standing else ""
        return f"{', '.join(parts)} in {_SECONDS} s{where}"


class Report:
    """Plain lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._started: dict[str, float] = {}

    def planned(self, count: int) -> None:
        """So many steps will be looked at."""

    def waiting(self, reason: str) -> None:
        """Say that nothing happens, and why."""
        self.line(f"waiting: {reason}")

    def started(self, label: str) -> None:
        """A step, or a verb, begins."""
        self._started[label] = time.monotonic()

    def progress_of(self, label: str) -> Progress:
        """The progress function of one that began."""
        last = began = self._started.get(label, time.monotonic())

        def progress(message: str, done: int, total: int | None) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _EVERY_SECONDS:
                last = now
                share = share_of(done, total)
                self.line(f"{label:<{_WIDTH}} {message} {share}  {now - began:.0f} s")

        return progress

    @contextmanager
    def working(self, label: str) -> Iterator[Progress]:
        """`started`, its progress, and its end."""
        self.started(label)
        try:
            yield self.progress_of(label)
        finally:
            self.ended(label)

    def ended(self, label: str) -> None:
        """It is over, however."""
        self._started.pop(label, None)

    def say(self, text: str) -> None:
        """A line of an answer: it goes to standard output, for people and for pipes."""
        _write(sys.stdout, text)

    def remind(self, text: str) -> None:
        """What a person may want to do after an answer, on the other stream."""
        self.line(text)

    def built(self, label: str, seconds: float, size_bytes: int) -> None:
        """One step was done."""
        self.line(built_line(label, seconds, size_bytes))

    def failed(self, label: str, message: str) -> None:
        """One step failed; `message` may have several lines."""
        self.line(f"FAILED {label}\n{message}")

    def stopped(self) -> None:
        """The run was told to stop: what that means for the next one."""
        self.line("interrupted: what was finished stays finished; doit goes on from here")

    def close(self, summary: Summary, *, seconds: float) -> None:
        """Say how the run ended."""
        self.line(summary.closing_line().replace(_SECONDS, f"{seconds:.2f}"))

    def line(self, text: str) -> None:
        """One line, now."""
        _write(self.stream, text)


class QuietReport(Report):
    """What failed."""

    def progress_of(self, label: str) -> Progress:  # noqa: D102 - as in Report
        return _unsaid

    def waiting(self, reason: str) -> None:
        """Nothing: whoever asks for silence waits in silence."""

    def remind(self, text: str) -> None:
        """Nothing."""

    def built(self, label: str, seconds: float, size_bytes: int) -> None:
        """Nothing."""

    def close(self, summary: Summary, *, seconds: float) -> None:
        """Nothing."""


class JsonReport(QuietReport):
    """One object a line on standard output; failures on standard error too."""

    def waiting(self, reason: str) -> None:  # noqa: D102 - as in Report
        self._event("waiting", reason=reason)

    def started(self, label: str) -> None:  # noqa: D102 - as in Report
        super().started(label)
        self._event("started", step=label)

    def built(self, label: str, seconds: float, size_bytes: int) -> None:  # noqa: D102 - as in Report
        self._event("built", step=label, seconds=round(seconds, 3), size_bytes=size_bytes)

    def failed(self, label: str, message: str) -> None:  # noqa: D102 - as in Report
        super().failed(label, message)
        self._event("failed", step=label, message=message)

    def close(self, summary: Summary, *, seconds: float) -> None:  # noqa: D102 - as in Report
        kinds = {name: _rounded(asdict(kind)) for name, kind in sorted(summary.kinds.items())}
        totals = {name: summary.total(name) for name in ("built", "unchanged", "saved", "failed")}
        self._event(
            "closed", **totals, seconds=round(seconds, 3), standing=summary.standing, kinds=kinds
        )

    def _event(self, event: str, **values: Any) -> None:
        self.say(json.dumps({"event": event, **values}))


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        end_unread(stream)


def _unsaid(message: str, done: int, total: int | None) -> None:
    """A progress function that nobody sees."""


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) for name, value in values.items()}


def chosen_report(stream: TextIO, environment: Mapping[str, str] = os.environ) -> Report:
    """The report for `stream`; an unknown choice is none."""
    choice = environment.get(REPORT, "")
    if choice not in CHOICES:
        is_terminal = stream.isatty() and environment.get("TERM", "dumb") != "dumb"
        choice = "live" if is_terminal else "plain"
    if choice == "live":
        from bootsmith.reporting_live import LiveReport  # people's terminals only: it is large

        return LiveReport(stream)
    return {"plain": Report, "quiet": QuietReport, "json": JsonReport}[choice](stream)


def built_line(label: str, seconds: float, size_bytes: int) -> str:
    """What was done, its size and its time."""
    word, size = ("built", human_bytes(size_bytes)) if size_bytes else ("done", "")
    return f"{word:<6} {label:<{_WIDTH}} {size:>10}  {seconds:7.2f} s"


def share_of(done: int, total: int | None) -> str:
    """How far, in words."""
    if total:
        return f"{100 * done // total} %"
    return str(done) if done else ""
