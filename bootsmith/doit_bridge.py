"""The only importer of doit: steps become tasks, errors become failures.

doit decides order and selection. Whether a step is up to date, how it is done and what
is remembered of it is the Executor's; doit's own records hold nothing of value.
doit's file_dep is not used: its answer for an unknown state is "changed", so a run
that was killed would redo what was finished. Order is given by task_dep instead.
"""

from __future__ import annotations

import atexit
import importlib
import inspect
import multiprocessing.process
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import doit
from doit import get_var
from doit.exceptions import TaskError
from doit.reporter import ConsoleReporter

from bootsmith.command_line import early_answer
from bootsmith.errors import BootsmithError, PublishError, RecipeError
from bootsmith.files.storage_errors import named_storage_errors
from bootsmith.front import COMPLETION, REPORT, UNFINISHED, end_unread, is_plain_build
from bootsmith.graph.execute import Executor
from bootsmith.graph.key import shown
from bootsmith.graph.layout import Layout
from bootsmith.graph.registry import plan_site
from bootsmith.graph.step import Group, Step
from bootsmith.graph.verb import Option, Verb
from bootsmith.graph.verbs import STANDING, plan_site_verbs, plan_verbs
from bootsmith.reporting import Report, Summary, chosen_report

_EXIT_BAD_RECIPE = 2
_EXIT_BAD_WORDS = 3  # as doit itself for words that it does not know
_EXIT_LOCKED = 2
_LOCK_CHOICES = ("wait", "fail")
_EXIT_LOST_WORKER = 2
_EXIT_SIGNAL = 128  # as shells report a program that a signal ended
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TOLD_AGAIN_SECONDS = 0.1
_DOIT = os.path.dirname(doit.__file__)
_MULTIPROCESSING = os.path.dirname(multiprocessing.process.__file__)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def doit_config(root: Path) -> dict[str, Any]:
    """DOIT_CONFIG of the site below `root`, where doit works from now on.

    Targets are named from there. With `doit -d DIR` it would look for them below DIR: every
    step would be done again, and `doit clean` would remove nothing.
    """
    os.chdir(root)
    return {
        "default_tasks": ["build"],
        # doit's own records hold nothing of value, and a run that is killed while it writes
        # them to a file leaves one that no later run can read: they stay in memory.
        "dep_file": ":memory:",
        "backend": "sqlite3",
        "reporter": SiteReporter,
        "verbosity": 2,
        "action_string_formatting": "new",
    }


def site_tasks(root: Path) -> Iterator[dict[str, Any]]:
    """Every task of the site below `root`, for a `task_` function to yield from."""
    layout = Layout(root)
    verbs = plan_verbs(layout)
    try:
        from bootsmith.site.loader import load_site

        site = load_site(root)
        steps, groups = plan_site(site, layout)
    except BootsmithError as error:
        if _asked_for(sys.argv) in {verb.name for verb in verbs}:
            yield from verb_tasks(layout, verbs)
            return
        # One failing task creator breaks every doit command with a traceback; a bad
        # recipe deserves its one clear message instead.
        print(error, file=sys.stderr)
        sys.exit(_EXIT_BAD_RECIPE)
    _RUN.targets = tuple(site.publish)
    verbs = (*plan_verbs(layout, site), *plan_site_verbs(site, layout, steps))
    tasks = [*step_tasks(layout, steps, groups), *verb_tasks(layout, verbs)]
    names: dict[str, Iterable[str]] = {
        "template": site.templates,
        "release": site.releases,
        "target": site.publish,
    }
    _answer_early(root, tasks, verbs, names)
    yield from tasks


def _answer_early(
    root: Path,
    tasks: Sequence[Mapping[str, Any]],
    verbs: Sequence[Verb],
    recipe_names: Mapping[str, Iterable[str]],
) -> None:
    """Leave with help, or with one message for a word that leads nowhere."""
    if Path(sys.argv[0]).parent.name != "doit" and Path(sys.argv[0]).name != "doit":
        return  # read by some other program: its words are not ours
    names = {}
    for task in tasks:
        name, part = task["basename"], task.get("name")
        names[f"{name}:{part}" if part else name] = task["doc"]
    if sys.argv[1:2] == [COMPLETION]:
        _complete(root, names, verbs, recipe_names)
    files = {path for task in tasks for path in task.get("targets", ())}
    try:
        answer = early_answer(sys.argv, tasks=names, files=files, verbs=verbs)
    except BootsmithError as error:
        print(error, file=sys.stderr)
        sys.exit(_EXIT_BAD_WORDS)
    if answer is not None:
        _RUN.report.say(answer)
        sys.exit(0)


def _complete(
    root: Path,
    tasks: Iterable[str],
    verbs: Sequence[Verb],
    recipe_names: Mapping[str, Iterable[str]],
) -> NoReturn:
    from bootsmith.completion import candidates, names_below  # when Tab was pressed

    steps = [name for name in tasks if ":" in name]
    sets = [name.partition(":")[2] for name in steps if name.startswith("pxerd:")]
    named = names_below(root, {"step": steps, "set": sets, **recipe_names})
    print("\n".join(candidates(UNFINISHED, tasks=tasks, verbs=verbs, named=named)))
    sys.exit(0)


def _asked_for(argv: Sequence[str]) -> str | None:
    """The task that a command line begins with: no options, no `name=value`, not `run`."""
    words = (word for word in argv[1:] if word != "run" and word[0] != "-" and "=" not in word)
    return next(words, None)


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
    for number in _STOPS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _stop)
    signal.signal(signal.SIGALRM, _leave_if_told)
    _RUN.process_id = os.getpid()
    os.register_at_fork(after_in_child=_end_with_doit, after_in_parent=_look_after_workers)


def _stop(number: int, frame: FrameType | None) -> None:
    is_worker = os.getpid() != _RUN.process_id
    if is_worker and _RUN.told:
        return  # by the terminal, then by doit: that must not cut short how it tidies up
    if not is_worker and not _RUN.told:  # one message is enough
        _RUN.report.stopped()
    _RUN.told = number
    _leave_if_told(None, frame)


def _leave_if_told(_: int | None = None, frame: FrameType | None = None) -> None:
    """Raise SystemExit, at once or, if that would break what runs now (`frame`), a moment later."""
    if not _RUN.told:
        return
    if _is_delicate(frame):
        signal.setitimer(signal.ITIMER_REAL, _TOLD_AGAIN_SECONDS)  # and SIGALRM leads here
        return
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise _ToldToStop(_EXIT_SIGNAL + _RUN.told)


class _ToldToStop(SystemExit):
    """doit raises it again for a worker's, knowing its class and text only."""

    def __init__(self, status: int | str) -> None:
        super().__init__(int(status))


def _is_delicate(frame: FrameType | None) -> bool:
    """Whether multiprocessing is at work, for doit, and does not only wait for an answer.

    Interrupted elsewhere, it leaves locks locked, threads that are waited for without an end and
    processes that nobody knows; and what is raised while it forks is swallowed.
    """
    while frame is not None:
        directory, file = os.path.split(frame.f_code.co_filename)
        if directory == _DOIT:
            return False
        if directory == _MULTIPROCESSING:
            return file != "connection.py"
        frame = frame.f_back
    return False


def _end_with_doit() -> None:
    """In a worker of `doit -n`: die when doit is killed.

    It would wait for work for ever otherwise, with the lock in its hands.
    """
    import ctypes  # only workers need it

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != _RUN.process_id:  # killed before the kernel knew of our wish
        os._exit(_EXIT_SIGNAL + signal.SIGKILL)
    _RUN.told = 0  # that was doit; workers are told by themselves


def _look_after_workers() -> None:
    """In doit, after a worker of `doit -n` was made."""
    if threading.current_thread() is threading.main_thread() and not _RUN.has_workers:
        _RUN.has_workers = True
        signal.signal(signal.SIGCHLD, _a_child_ended)
        atexit.register(_end_workers)  # runs before multiprocessing's own, which waits for them


def _end_workers() -> None:
    """Tell each worker to stop until it has.

    doit tells them once, and not before it has started all of them. And Python forgets signals
    that reach a process just after it was forked.
    """
    from multiprocessing.connection import wait

    # A worker may have told doit, which then left before it would have left by itself.
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in _STOPS:  # again, by somebody who does not want to wait: they die with us
        signal.signal(number, lambda number, _: os._exit(_EXIT_SIGNAL + number))
    for worker in _workers():
        while not wait([worker.sentinel], _TOLD_AGAIN_SECONDS):
            worker.terminate()


def _workers() -> list[multiprocessing.process.BaseProcess]:
    # There is no public list: active_children() drops those that ended.
    return list(multiprocessing.process._children)  # type: ignore[attr-defined] # noqa: SLF001


def _a_child_ended(number: int, frame: object) -> None:
    """End if it was a worker that someone killed: doit would wait for its answer for ever."""
    for worker in _workers():
        status = worker.exitcode or 0
        if status < 0:
            _RUN.report.failed(
                "doit -n",
                f"a worker was ended by signal {-status}, by a lack of memory perhaps\n"
                "  next: run it with fewer workers; what was finished stays finished",
            )
            # Not sys.exit: raised within a finalizer it would be swallowed. The other workers
            # die with us, and their programs with them; what they left the next run collects.
            os._exit(_EXIT_LOST_WORKER)


class _Run:
    """What the reporter and the tasks of one doit process share."""

    executor: Executor | None = None
    targets: tuple[str, ...] = ()
    """Of [publish]."""
    process_id = 0
    told = 0
    """The signal that told this process to stop, if one did."""
    has_workers = False
    started_epoch_ns = time.time_ns()
    summary = Summary()

    @cached_property
    def report(self) -> Report:
        return chosen_report(sys.stderr)


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
    "iso": "read each ISO: what the release holds",
    "flavor": "take kernel, initramfs and modloop of each flavor out of its ISO",
    "medium": "digest each file of each ISO, for trees that are served",
    "pxerd": "make each initramfs that can boot from the network",
    "modloop": "make each image of kernel modules",
    "apkovl": "pack each template's overlay",
    "usbkey": "make each template's USB key image",
    "ramroot": "pack each image that runs from memory",
    "installer": "take each installer's kernel and initramfs",
    "smoke": "boot what was built and demand proof",
    "proof": "boot what was built, where no boot of the very same bytes is on record",
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
        "clean": _may_be_cleaned(step, executor.layout),
        "verbosity": 2,
    }
    if step.by_name:
        task["basename"] = step.label  # not a subtask: `doit KIND` passes over it
    elif step.name:
        task["name"] = step.name
    return task


def _may_be_cleaned(step: Step, layout: Layout) -> bool | list[Any]:
    """True where `doit clean` may remove the outputs: only what can be built again.

    A lock is a source to everyone else, and generations are what machines boot.
    """
    return all(layout.build in path.parents for path in step.outputs) or []


def _is_done(label: str) -> bool:
    executor = _RUN.executor
    assert executor is not None
    _leave_if_told()
    try:
        with named_storage_errors(executor.layout.artifacts):
            _take_lock(executor)
            return executor.is_done(executor.steps[label])
    except BootsmithError:
        return False  # doing the step meets the same error where doit can report it


def _take_lock(executor: Executor) -> None:
    """Wait for another run, or leave with its process id: `doit lock=fail build`."""
    choice = get_var("lock") or "wait"
    try:
        if choice not in _LOCK_CHOICES:
            raise RecipeError(
                "lock",
                "no such choice",
                expected=" or ".join(_LOCK_CHOICES),
                got=choice,
                hint="doit lock=fail build",
            )
        executor.take_lock(_RUN.report.waiting, patient=choice == "wait")
    except (PublishError, RecipeError) as error:
        # Left here and not as a failed task: each task to come would say the same.
        print(error, file=sys.stderr)
        sys.exit(_EXIT_LOCKED)


def _do(label: str) -> TaskError | str | None:
    """Do a step; what it tells, for doit to hand it on from a worker."""
    executor = _RUN.executor
    assert executor is not None
    step = executor.steps[label]
    place = executor.layout.artifacts
    # A worker of `doit -n` has no screen: the run that started it shows what is at work.
    is_worker = os.getpid() != _RUN.process_id
    report = _report_of_a_worker() if is_worker else _RUN.report
    told: list[str] = []
    try:
        with named_storage_errors(place):
            _take_lock(executor)  # unless asking whether it is done has
            executor.execute(step, report.progress_of(label), told.append)
    except BootsmithError as error:
        return TaskError(str(error))
    finally:
        executor.close()
        _leave_if_told()
    return "\n".join(told) or None


def _report_of_a_worker() -> Report:
    """Plain lines in a pipe; on a terminal none, which would stand across the table."""
    is_shown = os.environ.get(REPORT) not in ("quiet", "json") and not sys.stderr.isatty()
    return chosen_report(sys.stderr, {REPORT: "plain" if is_shown else "quiet"})


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
    from bootsmith.graph.explain import explain

    layout = executor.layout
    looking = Executor(layout, tuple(executor.steps.values()), only_looks=True)
    try:
        with named_storage_errors(layout.artifacts):
            for line in explain(looking, names):
                print(line)
    except BootsmithError as error:
        return TaskError(str(error))
    except BrokenPipeError:
        end_unread(sys.stdout)
    return None


def verb_tasks(layout: Layout, verbs: Sequence[Verb]) -> Iterator[dict[str, Any]]:
    """The tasks of these verbs."""
    for verb in verbs:
        task: dict[str, Any] = {
            "basename": verb.name,
            "actions": [(_speak, [layout, verb])],
            "params": [*map(_doit_option, verb.options), _HELP],
            "doc": verb.summary,
            "uptodate": [False],
            "verbosity": 2,
        }
        if verb.operands:
            task["pos_arg"] = "operands"
        yield task


_HELP = {"name": "help", "short": "h", "long": "help", "type": bool, "default": False}


def _doit_option(option: Option) -> dict[str, Any]:
    kind = int if option.whole_number else bool if isinstance(option.default, bool) else str
    return {
        "name": option.keyword,
        "long": option.name,
        "type": kind,
        "default": option.default,
        "help": option.about,
    }


def _speak(layout: Layout, verb: Verb, **words: Any) -> TaskError | None:
    """Call a verb's function with what the person gave."""
    executor = _RUN.executor or Executor(layout, ())
    again = f"doit {verb.name} again"
    try:
        words = verb.sorted_words(words)
        if words.pop("help"):
            print(verb.usage)
            return None
        if verb.changes or (verb.changes_if is not None and words[verb.changes_if]):
            with named_storage_errors(layout.artifacts, again=again):
                _take_lock(executor)
        module, _, name = verb.call.partition(":")
        function = getattr(importlib.import_module(module), name)
        wanted = inspect.signature(function).parameters
        place = layout.artifacts
        with _RUN.report.working(verb.name) as progress, named_storage_errors(place, again=again):
            offered = {
                "say": _RUN.report.say,
                "remind": _RUN.report.remind,
                "progress": progress,
            }
            words.update((name, offered[name]) for name in offered if name in wanted)
            function(**verb.arguments, **words)
    except BootsmithError as error:
        return TaskError(str(error))
    except BrokenPipeError:
        end_unread(sys.stdout)
    except OSError as error:
        # A full or read-only disk, a directory of another user: no defect, so no traceback.
        return TaskError(f"doit {verb.name}: {error}\n  next: see to that, then {again}")
    finally:
        executor.close()
    return None


class SiteReporter(ConsoleReporter):
    """One line a step that ran, one clear message a failure, one closing line."""

    desc = "bootsmith's own: what was built, unchanged or failed"

    def __init__(self, outstream: Any, options: Any) -> None:
        super().__init__(outstream, options)
        self._started = time.monotonic()
        self._began: dict[str, float] = {}
        self._redone: set[str] = set()

    def execute_task(self, task: Any) -> None:
        """A step begins; verbs announce themselves."""
        if _step_of(task) is not None:
            self._began[task.name] = time.monotonic()
            _RUN.report.started(task.name)

    def add_success(self, task: Any) -> None:
        """A step was done."""
        step = _step_of(task)
        if step is None:
            return
        seconds = self._end(task.name)
        count = _RUN.summary.of(task.name)
        size_bytes = sum(path.stat().st_size for path in step.outputs)
        count.built += 1
        count.seconds += seconds
        count.size_bytes += size_bytes
        self._redone.add(task.name)
        _RUN.report.built(task.name, seconds, size_bytes)
        for line in (task.result or "").splitlines():
            _RUN.report.remind(f"       {line}")

    def skip_uptodate(self, task: Any) -> None:
        """Counted; the closing line says how many, and how many only because of a cut-off."""
        if _step_of(task) is None:
            return
        count = _RUN.summary.of(task.name)
        count.unchanged += 1
        # doit asks about a step behind those it needs: what they made turned out the same.
        if self._redone.intersection(task.task_dep):
            count.saved += 1
            self._redone.add(task.name)  # so are those below it

    def _end(self, label: str) -> float:
        _RUN.report.ended(label)
        now = time.monotonic()
        return now - self._began.pop(label, now)

    def add_failure(self, task: Any, fail: Any) -> None:
        """The message alone, unless it is a defect of ours: then with its traceback."""
        if not fail.report:
            return
        self.failures.append({"task": task, "exception": fail})
        if _step_of(task) is not None:
            self._end(task.name)
            _RUN.summary.of(task.name).failed += 1
        _RUN.report.failed(task.name, fail.get_msg().rstrip())

    def complete_run(self) -> None:
        """The closing line, where steps of the site were involved."""
        if self.runtime_errors:
            super().complete_run()
        executor, summary = _RUN.executor, _RUN.summary
        if executor is None or not summary.kinds:
            return
        executor.close()
        summary.standing = _standing(executor.layout)
        if summary.total("built") and not self.failures and not _RUN.told:
            summary.next_step = _next_step(executor.layout, _asked_for(sys.argv))
        _RUN.report.close(summary, seconds=time.monotonic() - self._started)
        if not summary.total("built") and not self.failures and is_plain_build(sys.argv):
            _note_that_nothing_changed(executor, summary.closing_line())


def _next_step(layout: Layout, asked_for: str | None) -> str | None:
    """What a person may want to do after a build."""
    if asked_for not in (None, "build"):
        return None
    every = layout.artifacts.glob("generations/[!.]*/MANIFEST.json")
    is_first = sum(not path.parent.is_symlink() for path in every) < 2
    look = "doit help shows what can be done" if is_first else "doit diff shows what is new"
    return f"{look}; doit release boots it"


def _step_of(task: Any) -> Step | None:
    """The step that a task stands for; verbs and groups stand for none."""
    return _RUN.executor.steps.get(task.name) if _RUN.executor is not None else None


def _note_that_nothing_changed(executor: Executor, closing: str) -> None:
    from bootsmith.graph.snapshot import write_snapshot  # only where there was nothing to do

    steps = [step for step in executor.steps.values() if step.in_build and not step.by_request]
    with suppress(OSError):  # a full or read-only disk: the next run looks for itself, as this one
        write_snapshot(executor.layout, steps, closing, looked_epoch_ns=_RUN.started_epoch_ns)


def _standing(layout: Layout) -> str | None:
    """What machines boot now, in words; None where nobody can say."""
    module, _, name = STANDING.partition(":")
    try:
        return getattr(importlib.import_module(module), name)(layout.artifacts, _RUN.targets)
    except OSError:
        return None
