"""How building for the network grows with the number of hosts: `python -m bench.scale_netboot`.

Takes a site that is built (this checkout, or `--site`), copies it, and gives it 100, 1,000 and
10,000 hosts: a tenth with overlays or values of their own, groups, rules, addresses. Measured are
real runs of `doit build`: everything from the inventory to `current`, then one changed host.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HOSTS = (100, 1_000, 10_000)
STEPS = ("inventory", "hostovl", "netboot", "netconf", "generation", "promote")
NETBOOT_STEPS = STEPS[:4]
_BUILT = re.compile(r"built\s+(\S+)\s.*\s([\d.]+) s$")
_OF_NETBOOT = ("inventory", "hostovl", "netboot", "netconf", "netloader")
_MADE = ("generations", "store", "current", "candidate", "history.jsonl", "netboot")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of doit."""

    what: str
    wall_seconds: float
    processor_seconds: float
    """Of doit and its programs: what a machine that does other things too does not stretch."""
    peak_bytes: int
    steps: dict[str, float]

    @property
    def netboot_seconds(self) -> float:
        """Of the steps that know hosts, but for the generation."""
        return sum(self.steps.get(name, 0.0) for name in NETBOOT_STEPS)


def hosts_toml(count: int, *, option: str = "", value: str = "r1", more: int = 0) -> str:
    """`count` hosts; of the one in the middle `option` and `value` are said."""
    lines = [
        '[[rule]]\nprefix = "00:1b:21"\ntemplate = "default"\noptions = ["panic=30"]\n',
        '[group.all]\ntemplate = "default"\n',
    ]
    lines += [
        f'[group.rack-{rack}]\nparent = "all"\noptions = ["rack={rack}"]\n' for rack in range(10)
    ]
    middle = count // 2
    for number in range(count + more):
        octets = f"{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        lines.append(
            f'[host.node-{number:05}]\nmac = "52:54:01:{octets}"\n'
            f'address = "10.20.{10 + number // 250}.{1 + number % 250}"\n'
            f'group = "rack-{number % 10}"'
        )
        if number == middle and option:
            lines.append(f'options = ["{option}"]')
        if number % 10 == middle % 10:
            lines.append(f'values = {{ rack = "{value if number == middle else "r0"}" }}')
            if number % 20 == middle % 20:
                lines.append('overlays = ["mirror"]')
    return "\n".join(lines) + "\n"


class ScaledSite:
    """A copy of a built site, whose hosts are made up."""

    def __init__(self, source: Path, root: Path) -> None:
        self.root = root
        for name in ("recipes", "overlays", "artifacts", "dodo.py"):
            run_quietly("cp", "-a", "--reflink=auto", source / name, root)
        (root / "artifacts/lock").unlink(missing_ok=True)
        # What no host changes shall not count; a second time, so that digests are remembered.
        self.doit("as it was", check_steps=False)
        self.doit("settled", check_steps=False)

    def forget(self) -> None:
        """As if no host had ever been built for, and nothing been published."""
        artifacts = self.root / "artifacts"
        for path in (
            *(artifacts / name for name in _MADE),
            *(artifacts / "build" / name for name in _OF_NETBOOT),
        ):
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.exists():
                shutil.rmtree(path)
        for link in artifacts.glob(".current.*"):
            link.unlink()

    def write_hosts(self, text: str) -> None:
        """Let these be its hosts."""
        (self.root / "recipes/hosts.toml").write_text(text)

    def doit(self, what: str, *, check_steps: bool = True) -> Run:
        """`doit build`, timed from outside."""
        with open(self.root / "said", "w+", encoding="utf-8") as said:
            started = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "doit", "build"],
                cwd=self.root,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
                stdout=said,
                stderr=said,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall_seconds = time.monotonic() - started
            said.seek(0)
            text = said.read()
        if status != 0:
            raise SystemExit(f"doit build failed:\n{text}")
        matches = (match for line in text.splitlines() if (match := _BUILT.match(line)))
        steps = {match[1]: float(match[2]) for match in matches}
        if check_steps and (strange := steps.keys() - {*STEPS, "netloader"}):
            raise SystemExit(f"not to be built again: {', '.join(sorted(strange))}")
        return Run(
            what=what,
            wall_seconds=wall_seconds,
            processor_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=usage.ru_maxrss * 1024,
            steps=steps,
        )

    def names(self) -> int:
        """Files and links of the netboot tree that is current."""
        top = self.root / "artifacts/current/netboot"
        return sum(len(files) for _, _, files in os.walk(top.resolve()))


def run_quietly(*words: object) -> None:
    """Run a program that has nothing to say."""
    subprocess.run([str(word) for word in words], check=True)


def measure(site: ScaledSite, count: int) -> list[Run]:
    """A full build, then one thing changed after another."""
    site.forget()
    site.write_hosts(hosts_toml(count))
    runs = [site.doit("everything")]
    changes: Sequence[tuple[str, Callable[[], str]]] = (
        ("nothing", lambda: hosts_toml(count)),
        ("an option of one host", lambda: hosts_toml(count, option="debug")),
        ("a value of one host", lambda: hosts_toml(count, option="debug", value="r9")),
        ("a host more", lambda: hosts_toml(count, option="debug", value="r9", more=1)),
    )
    for what, text in changes:
        site.write_hosts(text())
        runs.append(site.doit(what))
    return runs


def table(count: int, names: int, runs: Sequence[Run]) -> str:
    """What was measured, for a reader."""
    heading = f"{count:,} hosts, {names:,} names in the tree"
    titles = ("changed", "wall s", "CPU s", "MB", "4 steps s", *(f"{name} s" for name in STEPS))
    lines = [heading, _aligned(titles)]
    for run in runs:
        cells = (
            run.what,
            f"{run.wall_seconds:.2f}",
            f"{run.processor_seconds:.2f}",
            f"{run.peak_bytes / 1e6:.0f}",
            f"{run.netboot_seconds:.2f}",
            *(f"{run.steps[name]:.2f}" if name in run.steps else "-" for name in STEPS),
        )
        lines.append(_aligned(cells))
    return "\n".join(lines) + "\n"


def _aligned(cells: Sequence[str]) -> str:
    first, *numbers = cells
    return "  ".join([first.ljust(21), *(cell.rjust(12) for cell in numbers)])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    checkout = Path(__file__).resolve().parents[1]
    parser.add_argument("--site", type=Path, default=checkout, help="a site that is built")
    parser.add_argument("--scratch", type=Path, required=True, help="an empty directory")
    parser.add_argument("--hosts", type=int, nargs="+", default=HOSTS, help="how many hosts")
    words = parser.parse_args()
    words.scratch.mkdir(parents=True, exist_ok=True)
    site = ScaledSite(words.site.resolve(), words.scratch.resolve())
    for count in words.hosts:
        runs = measure(site, count)
        sys.stdout.write(f"{table(count, site.names(), runs)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
