"""Do a step, remember that it was done, and say whether it must be done again.

Nothing here knows doit. One Executor serves one run of one site.
"""

from __future__ import annotations

import fcntl
import importlib
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TextIO

from bootsmith.errors import BuildError, PublishError, SourceError
from bootsmith.files.atomic import collect_partials, keep_temporary_files_in
from bootsmith.files.digest import describe_file
from bootsmith.files.state import State, StepRecord
from bootsmith.graph.code import code_digest, package_identity
from bootsmith.graph.key import Walk, differences, key_of, shown, walk_step
from bootsmith.graph.layout import Layout
from bootsmith.graph.step import Step, Witness, unwrapped

Progress = Callable[[str, int, int | None], None]
Tell = Callable[[str], None]
MISSING = "missing"


def installed_version(program: str) -> str | None:
    """The version of an installed program, None if it is not installed."""
    from bootsmith.tools import catalog  # read only where a step runs programs

    return catalog.program_version(program)


def running_python() -> str:
    """What tells this interpreter from another that may compress to other bytes.

    Its zlib is named by version; liblzma says none, so it counts by content.
    """
    import zlib
    from importlib.util import find_spec

    lzma = find_spec("_lzma")
    version = ".".join(map(str, sys.version_info[:3]))
    packer = installed_version(lzma.origin) if lzma and lzma.origin else None
    return f"{version} zlib {zlib.ZLIB_RUNTIME_VERSION} lzma {packer or MISSING}"


class Executor:
    """Runs steps of one site and keeps their records."""

    def __init__(
        self,
        layout: Layout,
        steps: Sequence[Step],
        *,
        program_version: Callable[[str], str | None] = installed_version,
        python_version: Callable[[], str] = running_python,
        only_looks: bool = False,
    ) -> None:
        """`only_looks`: to ask for reasons; nothing is written, not even what was learned."""
        self.layout = layout
        self._only_looks = only_looks
        self._program_version = program_version
        self.steps = {step.label: step for step in steps}
        self._states: dict[tuple[int, int], State] = {}
        self._lock: TextIO | None = None
        self._python_version = python_version
        self._codes: dict[str, str] = {}
        self._versions: dict[str, str] = {}
        # What is made by request only (a lock) is a source to every other step.
        self._produced = {path for step in steps if not step.by_request for path in step.outputs}

    # -- state and lock ----------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state file, opened by each thread for itself (sqlite forbids sharing)."""
        owner = (os.getpid(), threading.get_ident())
        if owner not in self._states:
            self._states[owner] = State(self.layout.state, only_looks=self._only_looks)
        return self._states[owner]

    def take_lock(
        self, waiting: Callable[[str], None] | None = None, *, patient: bool = True
    ) -> None:
        """Become the one run that changes this site's artifacts; wait if another is.

        If not `patient`, raise PublishError with the holder's process instead. The lock dies
        with its process, so a killed run leaves nothing to clean up but partial files, which
        are collected here. Child processes share the lock.
        """
        if self._lock is not None:
            return
        self.layout.artifacts.mkdir(parents=True, exist_ok=True)
        handle = open(self.layout.lock, "a+", encoding="utf-8")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            holder = f"process {handle.read().strip() or 'unknown'}"
            if not patient:
                handle.close()
                raise PublishError(
                    self.layout.lock,
                    f"another run holds it ({holder})",
                    hint="say it again when that run has ended, or let it wait: lock=wait",
                ) from None
            if waiting:
                waiting(f"another run holds {self.layout.lock} ({holder})")
            fcntl.flock(handle, fcntl.LOCK_EX)
        self._lock = handle
        with suppress(OSError):  # a full disk: whoever waits is not told for whom
            os.truncate(handle.fileno(), 0)
            os.write(handle.fileno(), f"{os.getpid()}\n".encode())
        generations = self.layout.latest_manifest.parent.parent
        collect_partials(self.layout.artifacts, whole=generations)
        keep_temporary_files_in(self.layout.temporary)

    def close(self) -> None:
        """Save what this thread remembers. The lock is let go when the process ends."""
        state = self._states.get((os.getpid(), threading.get_ident()))
        if state is not None:  # sqlite forbids saving for another thread
            state.save_digests_if_possible()

    # -- keys --------------------------------------------------------------------------

    def walk(self, step: Step) -> Walk:
        """Everything that decides the step's outputs, as it is now."""
        return walk_step(
            step,
            root=self.layout.root,
            memory=self.state,
            code_digest=self._code_digest,
            tool_version=self._tool_version,
            python_version=self._python,
        )

    @cached_property
    def _python(self) -> str:
        return self._python_version()

    @cached_property
    def _package(self) -> str | None:
        return package_identity()

    def _code_digest(self, module: str) -> str:
        if module not in self._codes:
            self._codes[module] = self._noted_code_digest(module)
        return self._codes[module]

    def _noted_code_digest(self, module: str) -> str:
        if self._package is None:  # edited this instant: nothing read now may be remembered
            return code_digest(module)
        subject = f"code of {module}"
        known = self.state.note(subject, self._package)
        if known is None:
            known = code_digest(module)
            self.state.write_note(subject, self._package, known)
        return known

    def _tool_version(self, program: str) -> str:
        if program not in self._versions:
            self._versions[program] = self._program_version(program) or MISSING
        return self._versions[program]

    # -- is it done? -------------------------------------------------------------------

    def is_done(self, step: Step) -> bool:
        """True when doing the step again would make the same bytes that are there."""
        return not self.reasons(step)

    def reasons(self, step: Step) -> list[str]:
        """Why the step must be done, one line each; empty when it need not be."""
        if step.by_request:
            return ["done each time it is asked for"]
        record = self.state.step(step.label)
        if record is None:
            return ["never finished here"]
        walk = self.walk(step)
        if key_of(walk) != record.key:
            return differences(record.walk, walk)
        return [*self._target_reasons(step, record), *self._witness_reasons(step)]

    def reasons_with_sources(self, step: Step) -> list[str]:
        """As `reasons`, and what the steps before it may bring.

        A step whose inputs are unchanged *now* is done all the same if a step before it
        will be and makes other bytes; that cannot be known without doing it.
        """
        return self._reasons_with_sources(step, {})

    def _reasons_with_sources(self, step: Step, known: dict[str, list[str]]) -> list[str]:
        if step.label not in known:
            lines = self.reasons(step)
            for path in step.inputs:
                source = self.producer_of(path)
                if source is not None and not source.by_request:
                    before = self._reasons_with_sources(source, known)
                    name = shown(path, self.layout.root)
                    if before:
                        lines.append(f"input {name}: may change, {source.label} would be done")
            known[step.label] = lines
        return known[step.label]

    def _target_reasons(self, step: Step, record: StepRecord) -> list[str]:
        lines = []
        for path in step.outputs:
            name = shown(path, self.layout.root)
            now, was = describe_file(path, self.state), record.outputs.get(name)
            if now != was:
                lines.append(f"output {name}: was {was}, is {now}")
        return lines

    def _witness_reasons(self, step: Step) -> list[str]:
        return [
            f"{shown(witness.path, self.layout.root)}: {problem}"
            for witness in step.witnesses
            if (problem := _problem_of(witness)) is not None
        ]

    def recorded(self, step: Step) -> Walk:
        """What the step read and made when it last finished, as its reasons name it."""
        record = self.state.step(step.label)
        if record is None:
            return ()
        made = tuple((f"output {name}", value) for name, value in record.outputs.items())
        return (*record.walk, *made)

    # -- do it -------------------------------------------------------------------------

    def execute(self, step: Step, progress: Progress, tell: Tell | None = None) -> float:
        """Do the step; return its wall time in seconds.

        `tell` gets what a builder wants people to know of what it did. Raises a BootsmithError,
        after which the old outputs are still there.
        """
        self._check_inputs(step)
        self._check_outputs(step)
        walk = self.walk(step)  # before the builder reads: a change while it runs is seen later
        module, _, function = step.builder.partition(":")
        builder = getattr(importlib.import_module(module), function)
        started = time.monotonic()
        services = self._services(builder, step, walk, progress, tell)
        builder(**unwrapped(dict(step.arguments)), **services)
        seconds = time.monotonic() - started
        self.state.record(
            step.label, StepRecord(key=key_of(walk), walk=walk, outputs=self._outputs(step))
        )
        return seconds

    def _services(
        self,
        builder: Callable[..., None],
        step: Step,
        walk: Walk,
        progress: Progress,
        tell: Tell | None,
    ) -> dict[str, Any]:
        """What a builder may ask for by parameter name, beside its declared arguments."""
        offered: dict[str, Any] = {
            "progress": progress,
            "tell": tell,
            "provenance": partial(self.provenance, step),
            "memory": self.state,
            "damaged": self._damaged(step, walk),
            "maker": _maker(walk),
        }
        wanted = inspect.signature(builder).parameters
        return {name: value for name, value in offered.items() if name in wanted}

    def _damaged(self, step: Step, walk: Walk) -> frozenset[Path]:
        """Outputs that are there but are not what the step left, and ought to be.

        Where what decides them has changed, another output may be the step's own: of a run
        that was killed after it made it and before that was recorded.
        """
        record = self.state.step(step.label)
        known = record.outputs if record is not None and record.key == key_of(walk) else {}
        return frozenset(
            path
            for path in step.outputs
            if (was := known.get(shown(path, self.layout.root))) is not None
            and describe_file(path, self.state) not in (was, "missing")
        )

    def _check_inputs(self, step: Step) -> None:
        for path in step.inputs:  # a tree may be absent: then it holds nothing
            if not path.exists():
                raise SourceError(
                    shown(path, self.layout.root),
                    f"is needed by {step.label} and is not there",
                    hint=self._missing_hint(path),
                )

    def _check_outputs(self, step: Step) -> None:
        for path in step.outputs:
            if path.is_dir() and not path.is_symlink():
                raise BuildError(
                    shown(path, self.layout.root),
                    f"is a directory where {step.label} writes a file",
                    hint=f"remove it: rm -r {path}",
                )

    def _missing_hint(self, path: Path) -> str:
        if self.producer_of(path) is not None:
            return f"doit {shown(path, self.layout.root)}"
        if path.parent == self.layout.keys:
            name = path.name.partition(".rsa")[0]
            return f"copy it there from where it is kept, or make it: doit key --name {name}"
        return "put it there, or correct the recipe that names it"

    def _outputs(self, step: Step) -> dict[str, str]:
        outputs = {}
        for path in step.outputs:
            description = describe_file(path, self.state)
            if not description.startswith("file "):
                raise BuildError(
                    step.label,
                    f"finished without making {shown(path, self.layout.root)}",
                    expected="a regular file",
                    got=description,
                    hint=f"this is a defect of {step.builder}; please report it",
                )
            outputs[shown(path, self.layout.root)] = description
        return outputs

    # -- what led here -----------------------------------------------------------------

    def provenance(self, step: Step) -> Mapping[str, Any]:
        """By step that led to `step`: its key, the source files it read, the programs it ran.

        Not of the others that were ever done: what is made must not tell how often.
        """
        produced = {shown(path, self.layout.root) for path in self._produced}
        return {
            label: _provenance_of(record, produced)
            for label in sorted(self._steps_before(step))
            if (record := self.state.step(label)) is not None
        }

    def _steps_before(self, step: Step) -> set[str]:
        found: set[str] = set()
        ahead = [step]
        while ahead:
            for path in ahead.pop().inputs:
                source = self.producer_of(path)
                if source is not None and not source.by_request and source.label not in found:
                    found.add(source.label)
                    ahead.append(source)
        return found

    def producer_of(self, path: Path) -> Step | None:
        """The step that makes this file, or None."""
        for step in self.steps.values():
            if path in step.outputs:
                return step
        return None


def _maker(walk: Walk) -> str:
    """A digest of what makes the outputs, and not of what they are made from.

    For builders that keep, within one step, what they would make again just the same.
    """
    own = ("key format", "version of ", "code of ")
    return key_of(tuple(line for line in walk if line[0].startswith(own)))


def _problem_of(witness: Witness) -> str | None:
    """What is wrong with what a witness names; None if nothing is."""
    if witness.where is not None and not os.path.exists(witness.where):
        return None
    if witness.text is not None:
        try:
            text = os.readlink(witness.path)
        except OSError:
            return f"must be a link to {witness.text} and is not"
        return None if text == witness.text else f"must lead to {witness.text}, leads to {text}"
    try:
        size_bytes = os.stat(witness.path).st_size
        if witness.like is not None and size_bytes != (like := os.stat(witness.like).st_size):
            return f"must have {like} bytes and has {size_bytes}"
    except OSError:
        return "must exist and does not"
    return None


def _provenance_of(record: StepRecord, produced: set[str]) -> dict[str, Any]:
    inputs, tools = {}, {}
    for subject, value in record.walk:
        word, _, rest = subject.partition(" ")
        if word == "input" and rest not in produced:
            inputs[rest] = value
        elif subject.startswith("version of "):
            tools[subject.removeprefix("version of ")] = value
    return {"key": record.key, "inputs": inputs, "tools": tools}
