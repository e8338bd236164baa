"""Runs of doit that are killed, and what must hold afterwards.

A `Run` is one doit process over one tree; `inspect_killed` says what a killed run may have
left, `finish_and_compare` what the next one must make of it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootsmith.files.digest import sha256_of
from bootsmith.files.manifest import MANIFEST_NAME, read_manifest
from bootsmith.formats.netboot_tree import INDEX_PATH, NETBOOT, read_netboot_tree
from bootsmith.generations.verify import check_files

KILLPOINTS = Path(__file__).with_name("killpoints")
CHECKOUT = Path(__file__).resolve().parents[2]
# `make torture` asks for more, and for a seed that nobody chose.
KILLS = int(os.environ.get("TORTURE_KILLS") or 24)
SEED = int(os.environ.get("TORTURE_SEED") or 20261120)
SCENARIOS = ("cold", "changed")
STARTING, CLOSING = "(start)", "(end)"
# What differs between two runs and holds nothing that is built.
# history.jsonl may hold lines of moves that never came.
VOLATILE = {
    *("lock", "moves.lock", "history.jsonl"),
    *("state.sqlite3", "state.sqlite3-wal", "state.sqlite3-shm"),
}
# The kernel kills what was bound to a killed process at once; burying takes a moment.
_DEATH_SECONDS = 10
_TICKS = os.sysconf("SC_CLK_TCK")


def fractions(kind: str, count: int) -> list[float]:
    """`count` points of [0, 1), one in each of as many equal parts, the same for one seed."""
    chance = random.Random(f"{SEED} {kind}")
    return [(part + chance.random()) / count for part in range(count)]


class Run:
    """One doit process over the site at `root`; `signal_at` kills it before that event."""

    def __init__(
        self,
        root: Path,
        *words: str,
        signal_at: int = 0,
        number: int = signal.SIGKILL,
        log: Path | None = None,
        before: Sequence[str] = (),
    ) -> None:
        settings = {
            "PYTHONPATH": f"{KILLPOINTS}:{CHECKOUT}",
            "XDG_CACHE_HOME": str(root / "home"),
            "KILLPOINTS_ROOT": str(root),
            "KILLPOINTS_AT": str(signal_at),
            "KILLPOINTS_SIGNAL": str(int(number)),
            **({"KILLPOINTS_LOG": str(log)} if log else {}),
        }
        # A test run in the background has SIGINT ignored, and children inherit that.
        doit = ["env", f"--chdir={root}", sys.executable, "-m", "doit", *words]
        self.process = subprocess.Popen(
            ["env", "--default-signal=INT", *before, *doit],
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill_after(self, processor_seconds: float) -> None:
        """Kill it when it has worked that long, if it works that long.

        Its own time, so that a busy machine does not put every kill into the start.
        """
        stat = Path(f"/proc/{self.process.pid}/stat")
        while self.process.poll() is None:
            fields = stat.read_text().rpartition(")")[2].split()
            # utime and stime, its own and of programs that ended
            if sum(map(int, fields[11:15])) >= processor_seconds * _TICKS:
                break
            time.sleep(0.002)
        self.process.kill()

    def wait_for_files(self, artifacts: Path, count: int) -> None:
        """Until there are so many, or it has ended. Workers' own times are hard to come by."""
        while self.process.poll() is None and count_files(artifacts) < count:
            time.sleep(0.002)

    def wait_until_it_holds_the_lock(self, root: Path) -> None:
        """Until then it only loads and plans."""
        lock = root / "artifacts/lock"
        while not (lock.exists() and lock.read_text() == f"{self.process.pid}\n"):
            assert self.process.poll() is None, self.end().said
            time.sleep(0.002)

    def end(self) -> Ended:
        """Wait for its end."""
        stdout, stderr = self.process.communicate(timeout=120)
        return Ended(self.process.returncode, stdout, stderr, self.process.pid)


@dataclass(frozen=True)
class Ended:
    """How a run ended and what it said."""

    status: int
    stdout: str
    stderr: str
    process_id: int

    @property
    def built(self) -> list[str]:
        """Steps that were done, in their order."""
        lines = [line.split() for line in self.stderr.splitlines()]
        return [words[1] for words in lines if words[:1] in (["built"], ["done"])]

    @property
    def said(self) -> str:
        return self.stdout + self.stderr


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Where a killed run begins, and what an undisturbed one makes of it."""

    name: str
    start: Path
    undisturbed: Path
    finished: Mapping[str, str]
    """Every file and link below artifacts after an undisturbed run."""
    keys: Mapping[str, str]
    steps: Sequence[str]
    events: Sequence[str]
    seconds: float
    processor_seconds: float
    has_current: bool

    def start_names(self, root: Path) -> Iterator[Path]:
        """What is there before a run of the scenario at `root`."""
        for path in self.start.rglob("*"):
            yield root / path.relative_to(self.start)


@dataclass
class Outcome:
    """A row of the closing table."""

    how: str
    scenario: str
    step: str
    result: str = field(default="")


def copy_tree(source: Path, target: Path) -> Path:
    """As it is, hard links and holes too."""
    subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", target], check=True)
    return target


def contents(artifacts: Path) -> dict[str, str]:
    """Every file and link with its mode and content; without what is volatile or a cache."""
    found = {}
    for path in sorted(artifacts.rglob("*")):
        name = path.relative_to(artifacts).as_posix()
        if name in VOLATILE or name.startswith("cache/"):
            continue
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = f"{stat.S_IMODE(path.stat().st_mode):04o} {sha256_of(path)}"
    return found


def count_files(artifacts: Path) -> int:
    """Names of what is made for good."""
    return sum(
        not name.startswith(".")
        for place in ("build", "store", "generations")
        for _, _, names in os.walk(artifacts / place)
        for name in names
    )


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """What is not as expected, one line a name."""
    return [
        f"{name}: is {found.get(name)}, expected {expected.get(name)}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]


def recorded_keys(root: Path, scratch: Path) -> dict[str, str]:
    """Steps that are recorded as finished, read from a copy: looking must not mend."""
    copy = scratch / "state-copy"
    copy.mkdir(exist_ok=True)
    for name in ("state.sqlite3", "state.sqlite3-wal"):
        (copy / name).unlink(missing_ok=True)
        if (root / "artifacts" / name).exists():
            shutil.copy(root / "artifacts" / name, copy / name)
    connection = sqlite3.connect(copy / "state.sqlite3")
    try:
        return dict(connection.execute("select name, key from step"))
    except sqlite3.OperationalError:
        return {}  # killed before it made the tables
    finally:
        connection.close()


def step_hit(root: Path, ended: Ended, steps: Sequence[str]) -> str:
    """Which step was at work when the run ended."""
    try:
        has_begun = (root / "artifacts/lock").read_text().strip() == str(ended.process_id)
    except FileNotFoundError:
        has_begun = False
    left = [step for step in steps if step not in ended.built]
    return STARTING if not has_begun else left[0] if left else CLOSING


def inspect_killed(root: Path, *, had_current: bool) -> None:
    """What machines see after a kill: complete generations and links that lead to them."""
    alive = survivors(root)
    assert not alive, f"outlived the run: {alive}"
    artifacts = root / "artifacts"
    whole = {path.name for path in complete_generations(artifacts)}
    current = artifacts / "current"
    if not current.is_symlink():
        assert not had_current, "current is gone"
        return
    place, _, name = os.readlink(current).rpartition("/")
    assert place == "generations"
    assert name in whole
    for part in read_manifest(current).artifacts:
        place = f"{part.kind}/{part.name}" if part.kind != NETBOOT else part.kind
        through = artifacts / place / "current"
        assert os.readlink(through) == f"{'../' * (place.count('/') + 1)}current/{place}"
        assert (through / Path(part.path).name).is_file()


def complete_generations(artifacts: Path) -> Iterator[Path]:
    """Every generation there is, each re-hashed and with nothing beside its manifest's files."""
    for directory in sorted((artifacts / "generations").glob("[!.]*")):
        if directory.is_symlink():
            assert directory.is_dir(), f"{directory} dangles"
            continue
        manifest = read_manifest(directory)
        assert manifest.id == directory.name
        check_files(directory, manifest)
        names = {path.relative_to(directory).as_posix() for path in directory.rglob("*")}
        directories = {name for name in names if (directory / name).is_dir()}
        links = {name for name in names if (directory / name).is_symlink()}
        index = directory / INDEX_PATH
        tree = read_netboot_tree(index.read_bytes(), subject=index)
        assert names - directories | links == {
            MANIFEST_NAME,
            *(part.path for part in manifest.artifacts),
            *(f"{NETBOOT}/{path}" for path in tree.paths),
        }
        yield directory


def finish_and_compare(
    root: Path, scenario: Scenario, scratch: Path, *, seen_as: Path | None = None, **run: Any
) -> None:
    """The next run ends well, redoes nothing that was finished, and makes the same bytes.

    `seen_as` is where we find `root`, if the run has mounts of its own.
    """
    seen = seen_as or root
    recorded = recorded_keys(seen, scratch)
    finished = {step for step, key in recorded.items() if key == scenario.keys.get(step)}
    ended = Run(root, "build", **run).end()
    assert ended.status == 0, ended.said
    assert "Traceback" not in ended.said
    assert "waiting" not in ended.stderr, "someone still held the lock"
    again = sorted(finished & set(ended.built))
    assert not again, f"finished steps were done again: {again}"
    wrong = differences(contents(seen / "artifacts"), scenario.finished)
    assert not wrong, "\n".join(wrong)
    left = leftovers(seen)
    assert not left, f"left behind: {left}"


def leftovers(root: Path) -> list[Path]:
    """Unfinished files, wherever a run may have left some."""
    scratch = root / "artifacts/cache/tmp"
    return [
        path
        for path in root.rglob("*")
        if path.name.endswith(".partial") or (scratch in path.parents)
    ]


def survivors(root: Path) -> list[str]:
    """Command lines of processes that work for the site at `root`, once they had time to die."""
    give_up = time.monotonic() + _DEATH_SECONDS
    while (alive := _processes_of(root)) and time.monotonic() < give_up:
        time.sleep(0.02)
    return alive


def _processes_of(root: Path) -> list[str]:
    mark = os.fsencode(root) + b"/"
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            place = os.fsencode(os.readlink(entry / "cwd")) + b"/"
            if mark in words + (entry / "environ").read_bytes() + place:
                found.append(words.replace(b"\0", b" ").decode())
        except OSError:
            pass  # it ended while we looked, or is not ours to look at
    return found
