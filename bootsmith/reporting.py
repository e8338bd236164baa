"""What a run says to the person who started it. Standard error only; never a log of bytes.

On a terminal the step at work keeps one live line; elsewhere (cron, CI) a line is
written when a step starts to take long and when it ends, and nothing in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from bootsmith.graph.layout import Layout

Progress = Callable[[str, int, int | None], None]
_LIVE_EVERY_SECONDS = 0.1
_PLAIN_EVERY_SECONDS = 10.0
_WIDTH = 28


class Report:
    """Lines of one run, written to `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._live_width = 0
        self.count = 0

    def waiting(self, reason: str) -> None:
        """Say that nothing happens, and why."""
        self._line(f"waiting: {reason}")

    @contextmanager
    def working(self, label: str) -> Iterator[Progress]:
        """Yield the progress function of one step."""
        started = time.monotonic()
        last = started if not self._live else 0.0

        def progress(message: str, done: int, total: int | None) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < (_LIVE_EVERY_SECONDS if self._live else _PLAIN_EVERY_SECONDS):
                return
            last = now
            text = f"{label:<{_WIDTH}} {message}{_share(done, total)}  {now - started:.0f} s"
            self._show(text) if self._live else self._line(text)

        if self._live:
            self._show(f"{label:<{_WIDTH}} …")
        try:
            yield progress
        finally:
            self._show("")

    def built(self, label: str, seconds: float, size_bytes: int) -> None:
        """One step finished."""
        self.count += 1
        word, size = ("built", human_bytes(size_bytes)) if size_bytes else ("done", "")
        self._line(f"{word:<6} {label:<{_WIDTH}} {size:>10}  {seconds:7.2f} s")

    def failed(self, label: str, message: str) -> None:
        """One step failed; `message` may have several lines."""
        self._line(f"FAILED {label}\n{message}")

    def stopped(self) -> None:
        """The run was told to stop: what that means for the next one."""
        self._line("interrupted: what was finished stays finished; doit goes on from here")

    def close(self, *, unchanged: int, failed: int, seconds: float, layout: Layout) -> None:
        """The closing line: counts, time, what machines boot now."""
        parts = [f"{self.count} built", f"{unchanged} unchanged"]
        if failed:
            parts.append(f"{failed} failed")
        current = _generation_name(layout.artifacts / "current")
        where = f"; current is {current}" if current else ""
        self._line(f"{', '.join(parts)} in {seconds:.2f} s{where}")

    def _show(self, text: str) -> None:
        if not self._live:
            return
        clipped = text[:110]
        self._stream.write("\r" + clipped.ljust(self._live_width) + ("\r" if not text else ""))
        self._live_width = len(clipped)
        self._stream.flush()

    def _line(self, text: str) -> None:
        self._show("")
        self._stream.write(text + "\n")
        self._stream.flush()


def human_bytes(size_bytes: int) -> str:
    """`4.6 MB`: decimal units, as disks and downloads are sold."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def _share(done: int, total: int | None) -> str:
    if total:
        return f" {100 * done // total} %"
    return f" {done}" if done else ""


def _generation_name(link: Path) -> str | None:
    try:
        return link.readlink().name
    except OSError:
        return None
