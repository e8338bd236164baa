"""Bars on a terminal while steps are at work, and a table at the end.

rich draws; it honours NO_COLOR, narrow windows and resizing. It is imported when the first
step begins, so a run that finds everything done never loads it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from bootsmith.formats.human_bytes import human_bytes
from bootsmith.reporting import Progress, Report, Summary, built_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_EVERY_SECONDS = 0.05
# From here on a number is a count of bytes, not of files.
_BYTES_FROM = 1_000_000


class LiveReport(Report):
    """What is being done and how far it is; lines of what was done stay above."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._console: Console | None = None
        self._bars: Bars | None = None
        self._rows: dict[str, TaskID] = {}

    def started(self, label: str) -> None:  # noqa: D102 - as in Report
        super().started(label)
        bars = self._drawn()
        self._rows[label] = bars.add_task(label, total=None, message="", amount="")

    @contextmanager
    def working(self, label: str) -> Iterator[Progress]:
        """Of a verb: most answer at once, so nothing is drawn before there is progress."""

        def progress(message: str, done: int, total: int | None) -> None:
            if label not in self._rows:
                self.started(label)
            shown(message, done, total)

        shown = self.progress_of(label)
        try:
            yield progress
        finally:
            self.ended(label)

    def progress_of(self, label: str) -> Progress:  # noqa: D102 - as in Report
        last = 0.0

        def progress(message: str, done: int, total: int | None) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _EVERY_SECONDS and self._bars is not None and label in self._rows:
                last = now
                self._bars.update(
                    self._rows[label],
                    completed=done,
                    total=total,
                    message=message,
                    amount=_amount(done, total),
                )

        return progress

    def ended(self, label: str) -> None:  # noqa: D102 - as in Report
        super().ended(label)
        if self._bars is None or label not in self._rows:
            return
        self._bars.remove_task(self._rows.pop(label))
        if not self._rows:
            self._bars.stop()  # leaves the cursor where the next line begins
            self._bars = None

    def say(self, text: str) -> None:  # noqa: D102 - as in Report
        self._pause()
        super().say(text)

    def built(self, label: str, seconds: float, size_bytes: int) -> None:  # noqa: D102 - as in Report
        self.line(built_line(label, seconds, size_bytes))

    def close(self, summary: Summary, *, seconds: float) -> None:
        """A table where something was done, then the closing line and what comes next."""
        self._pause()
        if summary.total("built") + summary.total("failed"):
            self._show_table(summary)
        super().close(summary, seconds=seconds)
        if summary.next_step:
            self.line(f"next: {summary.next_step}")

    def line(self, text: str) -> None:
        """Above the bars, as it is: sizes and names are not markup."""
        if self._bars is None:
            super().line(text)
        else:
            self._bars.console.out(text, highlight=False)

    def _drawn(self) -> Bars:
        if self._bars is None:
            from rich.progress import (
                BarColumn,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
            )
            from rich.progress import Progress as Bars

            self._bars = Bars(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[amount]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("{task.fields[message]}", markup=False),
                console=self._screen(),
                transient=True,
            )
            self._bars.start()
        return self._bars

    def _screen(self) -> Console:
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self.stream)
        return self._console

    def _pause(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._rows.clear()

    def _show_table(self, summary: Summary) -> None:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        for heading in ("built", "unchanged", "cut off", "failed", "size", "time"):
            table.add_column(heading, justify="right")
        for kind, count in summary.kinds.items():
            table.add_row(kind, *_cells(count), style="red" if count.failed else None)
        self._screen().print(table)


def _cells(count: Any) -> list[str]:
    numbers = (count.built, count.unchanged, count.saved, count.failed)
    size = human_bytes(count.size_bytes) if count.size_bytes else ""
    time_text = f"{count.seconds:.2f} s" if count.built else ""
    return [*(str(number) if number else "" for number in numbers), size, time_text]


def _amount(done: int, total: int | None) -> str:
    in_words = human_bytes if max(done, total or 0) >= _BYTES_FROM else str
    if total:
        return f"{in_words(done)} of {in_words(total)}"
    return in_words(done) if done else ""
