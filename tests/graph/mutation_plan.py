"""Every kind of step, planned and recorded as done without having been done.

Choosing Debian packages, downloading an ISO and assembling the stand-in take too long to be
done for each mutation. What is asked here is only whether a step counts as done, and that is
asked of the real Executor: the files are made up, their records are real.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mutation_site import RECIPES, close

from bootsmith.files.digest import describe_file
from bootsmith.files.state import StepRecord
from bootsmith.graph.execute import Executor
from bootsmith.graph.key import key_of, shown
from bootsmith.graph.layout import Layout
from bootsmith.graph.registry import plan_site
from bootsmith.graph.step import Input, Output, Scratch, Step, Tree
from bootsmith.site.loader import load_site

# Beside the one that lies there: a release from Debian's packages, and one that is downloaded;
# and machines that boot from the network.
_MORE = {
    "recipes/releases/standin.toml": """\
kind = "standin"
lock = "standin.lock"
flavors = ["virt"]
[pxerd]
features = ["network"]
""",
    "recipes/releases/fetched.toml": f"""\
url = "https://example.org/alpine.iso"
sha256 = "{"1" * 64}"
sha512 = "{"2" * 128}"
checksum_url = "https://example.org/alpine.iso.sha512"
signature_url = "https://example.org/alpine.iso.asc"
keyring = "../../media/keyring.gpg"
flavors = ["lts"]
[pxerd]
features = ["network"]
""",
    "recipes/releases/standin.lock": "lock\n",
    "recipes/site.toml": RECIPES["recipes/site.toml"]
    + """
[netboot]
server = "10.20.0.1"
subnet = "10.20.0.0/24"
interface = "eth1"
domain = "tiny.example"
pool = ["10.20.0.100", "10.20.0.200"]
template = "alpha"
""",
    "recipes/hosts.toml": """\
[host.one]
mac = "52:54:00:00:00:01"

[[import]]
file = "more.csv"
format = "csv"
""",
    "recipes/hosts/more.csv": "name,mac\ntwo,52:54:00:00:00:02\n",
    "media/tiny.iso": "iso\n",
    "media/keyring.gpg": "keys\n",
}
BY_REQUEST_REASON = ["done each time it is asked for"]


class PlannedSite:
    """The steps of a site, all of them recorded as done."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)
        self.programs: dict[str, str | None] = {}
        self.python = "3.11.2 as tested"
        write_recipes(root)
        self.steps = self.plan()

    def plan(self) -> dict[str, Step]:
        """What the recipes ask for now."""
        steps, _ = plan_site(load_site(self.root), self.layout)
        return {step.label: step for step in steps}

    def executor(self) -> Executor:
        return Executor(
            self.layout,
            list(self.steps.values()),
            program_version=lambda name: self.programs.get(name, "1.0"),
            python_version=lambda: self.python,
        )

    def record_all(self) -> None:
        """Make up what each step would have made, and write down that it is done."""
        executor = self.executor()
        for step in self.steps.values():
            for path in step.outputs:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{step.label} {path.name}\n")
        for step in self.steps.values():
            if step.by_request:
                continue
            self._stand_witnesses(step)
            walk = executor.walk(step)
            outputs = {
                shown(path, self.root): describe_file(path, executor.state) for path in step.outputs
            }
            executor.state.record(
                step.label, StepRecord(key=key_of(walk), walk=walk, outputs=outputs)
            )
        close(executor)

    def _stand_witnesses(self, step: Step) -> None:
        for witness in step.witnesses:
            path = witness.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if witness.text is not None:
                path.unlink(missing_ok=True)
                path.symlink_to(witness.text)
            elif witness.like is not None:
                path.write_bytes(witness.like.read_bytes())
            elif not path.exists():
                path.mkdir(parents=True)

    def reasons(self) -> dict[str, list[str]]:
        """Why each step would be done, by label; those that would not are left out."""
        executor = self.executor()
        try:
            found = {label: executor.reasons(step) for label, step in executor.steps.items()}
        finally:
            close(executor)
        return {
            label: lines for label, lines in found.items() if lines and lines != BY_REQUEST_REASON
        }


def write_recipes(root: Path) -> None:
    """The tiny site's recipes with a release of each kind, and what they name."""
    for name, text in (RECIPES | _MORE).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def altered(value: Any) -> Any:
    """Another value of the same nature; a path gets a sibling, with a copy of what is there."""
    match value:
        case Input(path=path):
            other = path.with_name(f"{path.name}.other")
            other.write_bytes(path.read_bytes())
            return Input(other)
        case Output(path=path):
            return Output(path.with_name(f"{path.name}.other"))
        case Tree(path=path):
            # With a dot, since another overlay would be one that hosts may name.
            (path.parent / ".other").mkdir(exist_ok=True)
            return Tree(path.parent / ".other")
        case Scratch(path=path):
            return Scratch(path.with_name("other"))
        case None:
            return "other"
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}.other"
        case tuple() | list():
            return (altered(value[0]), *value[1:]) if value else ("other",)
        case dict():
            first = next(iter(value), None)
            return {**value, first: altered(value[first])} if value else {"other": ("one",)}
    raise AssertionError(f"a new kind of argument: {value!r}")


def with_argument(step: Step, name: str, value: Any) -> Step:
    return dataclasses.replace(step, arguments={**step.arguments, name: value})
