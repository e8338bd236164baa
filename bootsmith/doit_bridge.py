"""The only importer of doit: steps become tasks, errors become failures.

doit decides order and selection. Whether a step is up to date, how it is done and what
is remembered of it is the Executor's; doit's own state file holds nothing of value.
doit's file_dep is not used: its answer for an unknown state is "changed", so a run
that was killed would redo what was finished. Order is given by task_dep instead.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from doit.exceptions import TaskError
from doit.reporter import ConsoleReporter

from bootsmith.errors import BootsmithError
from bootsmith.graph.execute import Executor
from bootsmith.graph.key import shown
from bootsmith.graph.layout import Layout
from bootsmith.graph.registry import plan_site
from bootsmith.graph.step import Group, Step
from bootsmith.reporting import Report

_EXIT_BAD_RECIPE = 2
_EXIT_SIGNAL = 128  # as shells report a program that a signal ended


def doit_config(root: Path) -> dict[str, Any]:
    """DOIT_CONFIG of a site."""
    artifacts = Layout(root).artifacts
    artifacts.mkdir(exist_ok=True)
    return {
        "default_tasks": ["build"],
        "dep_file": str(artifacts / "doit.json"),
        "backend": "json",
        "reporter": SiteReporter,
        "verbosity": 2,
        "action_string_formatting": "new",
    }


def site_tasks(root: Path) -> Iterator[dict[str, Any]]:
    """Every task of the site below `root`, for a `task_` function to yield from."""
    try:
        from bootsmith.site.loader import load_site

        site = load_site(root)
        layout = Layout(root)
        steps, groups = plan_site(site, layout)
    except BootsmithError as error:
        # One failing task creator breaks every doit command with a traceback; a bad
        # recipe deserves its one clear message instead.
        print(error, file=sys.stderr)
        sys.exit(_EXIT_BAD_RECIPE)
    yield from step_tasks(layout, steps, groups)


def step_tasks(
    layout: Layout, steps: Sequence[Step], groups: Sequence[Group]
) -> Iterator[dict[str, Any]]:
    """The tasks of these steps: a heading a kind, a task a step, the verbs over them."""
    _stop_tidily_when_told()
    executor = Executor(layout, steps)
    _RUN.executor = executor
    # What is made by request only (a lock) is a source to everyone else: never made for them.
    producers = {path: step.label for step in steps if not step.by_request for path in step.outputs}
    yield from _kind_headings(steps)
    for step in steps:
        yield _task_of(step, executor, producers)
    for group in groups:
        yield {
            "basename": group.name,
            "actions": None,
            "task_dep": list(group.members),
            "doc": group.summary,
        }
    yield _explain_task(executor)


def _stop_tidily_when_told() -> None:
    """Leave through every `finally` on SIGINT, SIGTERM and SIGHUP, without a traceback.

    Left alone, SIGTERM ends Python at once: programs that a step started would go on, and
    partial files would stay until the next run.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _stop)


def _stop(number: int, frame: object) -> NoReturn:
    _RUN.report.stopped()
    sys.exit(_EXIT_SIGNAL + number)


class _Run:
    """What the reporter and the tasks of one doit process share."""

    executor: Executor | None = None
    report = Report(sys.stderr)


_RUN = _Run()


def _kind_headings(steps: Sequence[Step]) -> Iterator[dict[str, Any]]:
    """`doit list` shows one line a kind; its subtasks appear with --all."""
    seen = set()
    for step in steps:
        if step.name and step.kind not in seen:
            seen.add(step.kind)
            yield {"basename": step.kind, "name": None, "doc": _KIND_WORDS.get(step.kind, "")}


_KIND_WORDS: Mapping[str, str] = {
    "lock": "pin the newest packages of each stand-in, to be committed",
    "source": "get each release's ISO: packages, download or stand-in",
    "release": "read each release: what its ISO holds",
    "flavor": "take kernel, initramfs and modloop of each flavor out of its ISO",
    "pxerd": "make each initramfs that can boot from the network",
    "modloop": "make each image of kernel modules",
    "apkovl": "pack each template's overlay",
    "usbkey": "make each template's USB key image",
    "smoke": "boot what was built and demand proof",
}


def _task_of(step: Step, executor: Executor, producers: Mapping[Path, str]) -> dict[str, Any]:
    before = {producers[path] for path in step.inputs if path in producers}
    task: dict[str, Any] = {
        "basename": step.kind,
        "actions": [(_do, [step.label])],
        "task_dep": sorted(before - {step.label}),
        "targets": [shown(path, executor.layout.root) for path in step.outputs],
        "uptodate": [(_is_done, [step.label])],
        "doc": step.summary,
        "title": lambda task: task.name,
        "clean": [] if step.by_request else True,
        "verbosity": 2,
    }
    if step.name:
        task["name"] = step.name
    return task


def _is_done(label: str) -> bool:
    executor = _RUN.executor
    assert executor is not None
    try:
        executor.take_lock(_RUN.report.waiting)
        return executor.is_done(executor.steps[label])
    except BootsmithError:
        return False  # doing the step meets the same error where doit can report it


def _do(label: str) -> TaskError | None:
    executor = _RUN.executor
    assert executor is not None
    step = executor.steps[label]
    try:
        with _RUN.report.working(label) as progress:
            seconds = executor.execute(step, progress)
    except BootsmithError as error:
        return TaskError(str(error))
    finally:
        executor.close()
    size_bytes = sum(path.stat().st_size for path in step.outputs)
    _RUN.report.built(label, seconds, size_bytes)
    return None


def _explain_task(executor: Executor) -> dict[str, Any]:
    return {
        "basename": "explain",
        "actions": [(_explain, [executor])],
        "pos_arg": "names",
        "doc": "why a step or file would be rebuilt: doit explain pxerd:standin-virt",
        "uptodate": [False],
        "verbosity": 2,
    }


def _explain(executor: Executor, names: Sequence[str]) -> TaskError | None:
    try:
        steps = [executor.require_known(name) for name in names] or [
            step for step in executor.steps.values() if not step.by_request
        ]
        for step in steps:
            reasons = executor.reasons_with_sources(step)
            print(f"{step.label}: {'would be done' if reasons else 'up to date'}")
            for line in reasons:
                print(f"    {line}")
    except BootsmithError as error:
        return TaskError(str(error))
    return None


class SiteReporter(ConsoleReporter):
    """One line a step that ran, one clear message a failure, one closing line."""

    desc = "bootsmith's own: what was built, unchanged or failed"

    def __init__(self, outstream: Any, options: Any) -> None:
        super().__init__(outstream, options)
        self._started = time.monotonic()
        self._unchanged = 0
        self._planned = False

    def execute_task(self, task: Any) -> None:
        """Steps announce themselves through the report."""

    def skip_uptodate(self, task: Any) -> None:
        """Counted; the closing line says how many."""
        if task.actions:
            self._unchanged += 1

    def add_failure(self, task: Any, fail: Any) -> None:
        """The message alone, unless it is a defect of ours: then with its traceback."""
        if not fail.report:
            return
        self.failures.append({"task": task, "exception": fail})
        _RUN.report.failed(task.name, fail.get_msg().rstrip())

    def complete_run(self) -> None:
        """The closing line, where steps of the site were involved."""
        if self.runtime_errors:
            super().complete_run()
        executor = _RUN.executor
        if executor is not None and (self._unchanged or _RUN.report.count):
            executor.close()
            _RUN.report.close(
                unchanged=self._unchanged,
                failed=len(self.failures),
                seconds=time.monotonic() - self._started,
                layout=executor.layout,
            )
