"""Follow the consoles of one guest: stages reached, failures, complaints, the report.

Pure: bytes and elapsed seconds in, findings out. Runs no guest and reads no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from bootsmith.smoke.console import ConsoleText
from bootsmith.smoke.report import Report, find_reports
from bootsmith.smoke.symptoms import (
    COMPLAINTS,
    FAILURES,
    LANDMARKS,
    LOGIN_PROMPT,
    STAGES,
    Symptom,
)

_MOST_COMPLAINTS = 40
# A report is one line; with lines of others between its halves it spans a few.
_REPORT_LINES = 40


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Trouble that a console showed: the cause in words, and where to look."""

    cause: str
    look: str | None
    rank: int
    """The row of its table: the smaller, the more it says about the cause."""


class ConsoleWatch:
    """What the consoles of one run have shown so far. `nonce` is this run's number."""

    def __init__(self, *, nonce: str) -> None:
        self.nonce = nonce
        self.landmarks: dict[str, float] = {}
        """Stage to seconds since the start, for each stage seen."""
        self.failure: Finding | None = None
        self.complaints: list[str] = []
        self.report: Report | None = None
        """The guest's report with our nonce."""
        self.foreign_nonce: str | None = None
        """The nonce of a report that is not ours: it proves nothing."""
        self.login_seconds: float | None = None
        """When a login prompt was seen: from then on a report is due."""
        self._texts: dict[str, ConsoleText] = {}
        self._shown: deque[str] = deque(maxlen=200)

    @property
    def stage(self) -> str:
        """The furthest stage reached, or `start`."""
        reached = [stage for stage in STAGES if stage in self.landmarks]
        return reached[-1] if reached else "start"

    def feed(self, console: str, data: bytes, *, elapsed_seconds: float) -> None:
        """Take what `console` wrote."""
        if not data:
            return
        text = self._texts.setdefault(console, ConsoleText())
        self._reach("firmware", elapsed_seconds)
        kept_before = text.kept_count
        for line in text.feed(data):
            self._judge(line, elapsed_seconds)
        fresh_count = min(text.kept_count - kept_before, len(text.lines))
        self._shown.extend(islice(text.lines, len(text.lines) - fresh_count, None))
        if text.partial:
            self._judge(text.partial, elapsed_seconds)
            if LOGIN_PROMPT.search(text.partial) and self.login_seconds is None:
                self.login_seconds = elapsed_seconds
        self._look_for_report(text, elapsed_seconds)

    def tail(self, count: int = 15) -> list[str]:
        """The last lines of all consoles in the order they came, with unfinished ones."""
        unfinished = [text.partial for text in self._texts.values() if text.partial.strip()]
        return [*self._shown, *unfinished][-count:]

    def _reach(self, stage: str, elapsed_seconds: float) -> None:
        self.landmarks.setdefault(stage, round(elapsed_seconds, 2))

    def _judge(self, line: str, elapsed_seconds: float) -> None:
        for landmark in LANDMARKS:
            if landmark.stage not in self.landmarks and landmark.pattern.search(line):
                self._reach(landmark.stage, elapsed_seconds)
        failure = _first(FAILURES, line)
        if failure:
            self._fail(failure)
        else:
            complaint = _first(COMPLAINTS, line)
            if complaint:
                self._complain(complaint.cause)

    def _fail(self, failure: Finding) -> None:
        known = self.failure
        # A prompt-like partial line is judged early: its rest may say more.
        if (
            known is None
            or failure.rank < known.rank
            or (failure.rank == known.rank and failure.cause.startswith(known.cause))
        ):
            self.failure = failure

    def _complain(self, cause: str) -> None:
        if self.complaints and cause.startswith(self.complaints[-1]):
            self.complaints[-1] = cause  # the same line, read on
        elif cause not in self.complaints and len(self.complaints) < _MOST_COMPLAINTS:
            self.complaints.append(cause)

    def _look_for_report(self, text: ConsoleText, elapsed_seconds: float) -> None:
        window = [*list(text.lines)[-_REPORT_LINES:], text.partial]
        for report in find_reports("\n".join(window)):
            if report.nonce == self.nonce:
                self.report = report
                self._reach("runlevel", elapsed_seconds)
            else:
                self.foreign_nonce = report.nonce


def _first(table: Iterable[Symptom], line: str) -> Finding | None:
    for rank, symptom in enumerate(table):
        cause = symptom.explain(line)
        if cause is not None:
            return Finding(cause=cause.strip(), look=symptom.look, rank=rank)
    return None
