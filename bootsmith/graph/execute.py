"""Do a step, remember that it was done, and say whether it must be done again.

Nothing here knows doit. One Executor serves one run of one site.
"""

from __future__ import annotations

import fcntl
import importlib
import inspect
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from bootsmith.errors import BuildError, PublishError, SourceError
from bootsmith.files.atomic import collect_partials
from bootsmith.files.digest import describe_file
from bootsmith.files.state import State, StepRecord
from bootsmith.graph.code import code_digest, package_identity
from bootsmith.graph.key import Walk, differences, key_of, shown, walk_step
from bootsmith.graph.layout import Layout
from bootsmith.graph.step import Step, unwrapped

Progress = Callable[[str, int, int | None], None]
MISSING = "missing"


def installed_version(program: str) -> str | None:
    """The version of an installed program, None if it is not installed."""
    from bootsmith.tools import catalog  # read only where a step runs programs

    return catalog.program_version(program)


class Executor:
    """Runs steps of one site and keeps their records."""

    def __init__(
        self,
        layout: Layout,
        steps: Sequence[Step],
        *,
        program_version: Callable[[str], str | None] = installed_version,
    ) -> None:
        self.layout = layout
        self._program_version = program_version
        self.steps = {step.label: step for step in steps}
        self._states: dict[tuple[int, int], State] = {}
        self._lock: TextIO | None = None
        self._package: str | None = None
        self._versions: dict[str, str] = {}
        # What is made by request only (a lock) is a source to every other step.
        self._produced = {path for step in steps if not step.by_request for path in step.outputs}

    # -- state and lock ----------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state file, opened by each thread for itself (sqlite forbids sharing)."""
        owner = (os.getpid(), threading.get_ident())
        if owner not in self._states:
            self._states[owner] = State(self.layout.state)
        return self._states[owner]

    def take_lock(self, waiting: Callable[[str], None] | None = None) -> None:
        """Become the one run that changes this site's artifacts; wait if another is.

        The lock dies with its process, so a killed run leaves nothing to clean up but
        partial files, which are collected here. Child processes share the lock.
        """
        if self._lock is not None:
            return
        self.layout.artifacts.mkdir(parents=True, exist_ok=True)
        handle = open(self.layout.lock, "a+", encoding="utf-8")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            if waiting:
                waiting(f"another run holds {self.layout.lock} (process {handle.read().strip()})")
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        handle.truncate()
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        self._lock = handle
        collect_partials(self.layout.artifacts)

    def close(self) -> None:
        """Save remembered digests. The lock is let go when the process ends."""
        for (process, _), state in list(self._states.items()):
            if process == os.getpid():
                state.save_digests()

    # -- keys --------------------------------------------------------------------------

    def walk(self, step: Step) -> Walk:
        """Everything that decides the step's outputs, as it is now."""
        return walk_step(
            step,
            root=self.layout.root,
            memory=self.state,
            code_digest=self._code_digest,
            tool_version=self._tool_version,
        )

    def _code_digest(self, module: str) -> str:
        if self._package is None:
            self._package = package_identity()
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
            f"{shown(path, self.layout.root)}: must exist and does not"
            for path in step.witnesses
            if not path.exists()
        ]

    # -- do it -------------------------------------------------------------------------

    def execute(self, step: Step, progress: Progress) -> float:
        """Do the step; return its wall time in seconds.

        Raises a BootsmithError, after which the old outputs are still there.
        """
        self._check_inputs(step)
        walk = self.walk(step)  # before the builder reads: a change while it runs is seen later
        module, _, function = step.builder.partition(":")
        builder = getattr(importlib.import_module(module), function)
        started = time.monotonic()
        builder(**unwrapped(dict(step.arguments)), **self._services(builder, step, progress))
        seconds = time.monotonic() - started
        self.state.record(
            step.label, StepRecord(key=key_of(walk), walk=walk, outputs=self._outputs(step))
        )
        return seconds

    def _services(
        self, builder: Callable[..., None], step: Step, progress: Progress
    ) -> dict[str, Any]:
        """What a builder may ask for by parameter name, beside its declared arguments."""
        offered: dict[str, Any] = {"progress": progress, "provenance": self.provenance}
        wanted = inspect.signature(builder).parameters
        return {name: value for name, value in offered.items() if name in wanted}

    def _check_inputs(self, step: Step) -> None:
        for path in (*step.inputs, *step.trees):
            if not path.exists():
                raise SourceError(
                    shown(path, self.layout.root),
                    f"is needed by {step.label} and is not there",
                    hint=self._missing_hint(path),
                )

    def _missing_hint(self, path: Path) -> str:
        if self.producer_of(path) is not None:
            return f"doit {shown(path, self.layout.root)}"
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

    def provenance(self) -> Mapping[str, Any]:
        """By step: its key, the source files it read and the programs it ran."""
        produced = {shown(path, self.layout.root) for path in self._produced}
        return {
            label: _provenance_of(record, produced)
            for label in sorted(self.steps)
            if (record := self.state.step(label)) is not None
        }

    def producer_of(self, path: Path) -> Step | None:
        """The step that makes this file, or None."""
        for step in self.steps.values():
            if path in step.outputs:
                return step
        return None

    def require_known(self, name: str) -> Step:
        """The step of this label or output path; PublishError names the nearest."""
        step = self.steps.get(name) or self.producer_of(self.layout.root / name)
        if step is None:
            import difflib

            close = difflib.get_close_matches(name, self.steps, n=1)
            raise PublishError(
                name,
                "is neither a step nor a file that a step makes",
                hint=f"did you mean {close[0]}?" if close else "list them: doit list --all",
            )
        return step


def _provenance_of(record: StepRecord, produced: set[str]) -> dict[str, Any]:
    inputs, tools = {}, {}
    for subject, value in record.walk:
        word, _, rest = subject.partition(" ")
        if word == "input" and rest not in produced:
            inputs[rest] = value
        elif subject.startswith("version of "):
            tools[subject.removeprefix("version of ")] = value
    return {"key": record.key, "inputs": inputs, "tools": tools}
