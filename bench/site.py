"""The built site that is measured on: its steps, their arguments, and where scratch goes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bootsmith.files.digest import Identity, sha256_of
from bootsmith.graph.layout import Layout
from bootsmith.graph.registry import plan_site
from bootsmith.graph.step import Input, Output, Scratch, Step, unwrapped
from bootsmith.site.loader import load_site


class BuiltSite:
    """The site below `root`, built; nothing in it is changed by measuring."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)
        self.site = load_site(root)
        steps, _ = plan_site(self.site, self.layout)
        self.steps: Mapping[str, Step] = {step.label: step for step in steps}

    def sets(self) -> list[str]:
        """Names of the boot sets: `standin-lts` and the like."""
        return [step.name or "" for step in self.steps.values() if step.kind == "pxerd"]

    def input(self, label: str, argument: str) -> Path:
        """The path of an input or output of a step."""
        wrapped = self.steps[label].arguments[argument]
        assert isinstance(wrapped, Input | Output)
        return wrapped.path

    def job(
        self,
        label: str,
        *,
        keep_cache: bool = False,
        memory: Remembered | None = None,
        **changes: Any,
    ) -> Callable[..., None]:
        """The builder of a step as a function of a directory, where its outputs go.

        It is imported now, not when it runs; what depends on the directory may be given to that
        function by name. Caches go there too, empty, unless they are to be kept. `memory` has
        the digests of inputs that did not change; none if None.
        """
        step = self.steps[label]
        module, _, name = step.builder.partition(":")
        builder = getattr(importlib.import_module(module), name)
        offered = {
            "progress": _unheard,
            "memory": memory or Remembered(),
            "maker": "bench",
            "damaged": frozenset[Path](),
        }
        wanted = inspect.signature(builder).parameters

        def run(place: Path, **more: Any) -> None:
            arguments = dict(unwrapped(dict(step.arguments)))
            for argument, wrapped in step.arguments.items():
                if isinstance(wrapped, Output):
                    arguments[argument] = place / wrapped.path.name
                elif isinstance(wrapped, Scratch) and not keep_cache:
                    arguments[argument] = place / f"cache-{argument}"
            arguments.update(changes | more)
            arguments.update({key: offered[key] for key in offered if key in wanted})
            builder(**arguments)

        return run


class Remembered:
    """Digests of files, as the state of a site remembers them (files.digest.DigestMemory)."""

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        """With those of `paths`, as if a run had looked at them before."""
        self._known: dict[str, tuple[Identity, str]] = {}
        for path in paths:
            self.remember(str(path), Identity.of(path.stat()), sha256_of(path))

    def recall(self, path: str, identity: Identity) -> str | None:
        """The digest that was remembered for exactly this identity."""
        known = self._known.get(path)
        return known[1] if known is not None and known[0] == identity else None

    def remember(self, path: str, identity: Identity, sha256: str) -> None:
        """Keep a digest."""
        self._known[path] = identity, sha256


def _unheard(message: str, done: int, total: int | None) -> None:
    """Progress that nobody looks at."""
