"""Runs are killed at every point that can be named, and at points that nobody chose.

After each: what machines see is whole, the next run finishes with the same bytes, redoes
nothing that was finished, and finds neither lock, process nor file of the killed one.
"""

from __future__ import annotations

import gzip
import os
import signal
import time

import pytest
from torture import (
    KILLS,
    SCENARIOS,
    Run,
    count_files,
    finish_and_compare,
    fractions,
    inspect_killed,
    leftovers,
    step_hit,
)

# On a slow machine files have settled when they are read, so their digests are remembered:
# some events more. A killed run may have fewer than the undisturbed one that was counted.
FEWER_EVENTS = 0.9


def killed_runs(kind, count):
    """(scenario, fraction) of each kill; half of them begin with an outdated generation."""
    halves = {"changed": count - count // 2, "cold": count // 2}
    return [
        pytest.param(name, fraction, id=f"{name}-{fraction:.4f}")
        for name in SCENARIOS
        for fraction in fractions(f"{kind} {name}", halves[name])
    ]


@pytest.mark.parametrize("name,fraction", killed_runs("events", KILLS * 2 // 3))
def test_killed_before_an_event(tree, tmp_path, outcome, name, fraction):
    root, scenario = tree(name)
    number = 1 + int(fraction * len(scenario.events))
    ended = Run(root, "build", signal_at=number).end()
    step = step_hit(root, ended, scenario.steps)
    if ended.status == 0 and fraction > FEWER_EVENTS:
        outcome(how="KILL at an event", scenario=name, step=step, result="had ended")
    else:
        outcome(how="KILL at an event", scenario=name, step=step)
        assert ended.status == -signal.SIGKILL, ended.said
    inspect_killed(root, had_current=scenario.has_current)
    finish_and_compare(root, scenario, tmp_path)


@pytest.mark.parametrize("name,fraction", killed_runs("times", KILLS - KILLS * 2 // 3))
def test_killed_at_any_time(tree, tmp_path, outcome, name, fraction):
    root, scenario = tree(name)
    run = Run(root, "build")
    run.kill_after(fraction * scenario.processor_seconds)
    ended = run.end()
    step = step_hit(root, ended, scenario.steps)
    had_ended = "" if ended.status else "had ended"
    outcome(how="KILL at any time", scenario=name, step=step, result=had_ended)
    inspect_killed(root, had_current=scenario.has_current)
    finish_and_compare(root, scenario, tmp_path)


@pytest.mark.parametrize("fraction", fractions("workers", max(2, KILLS // 10)))
def test_killed_with_workers(tree, tmp_path, outcome, fraction):
    root, scenario = tree("cold")
    run = Run(root, "run", "-n", "2", "build")
    run.wait_until_it_holds_the_lock(root)
    total = count_files(scenario.undisturbed / "artifacts")
    run.wait_for_files(root / "artifacts", int(fraction * total))
    run.process.kill()
    ended = run.end()
    outcome(how="KILL of doit -n 2", scenario="cold", step=step_hit(root, ended, scenario.steps))
    inspect_killed(root, had_current=False)
    finish_and_compare(root, scenario, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("name,fraction", killed_runs("signals", max(2, KILLS // 20)))
def test_told_to_stop(tree, tmp_path, outcome, name, fraction, number):
    root, scenario = tree(name)
    at = 1 + int(fraction * len(scenario.events))
    ended = Run(root, "build", signal_at=at, number=number).end()
    step = step_hit(root, ended, scenario.steps)
    outcome(how=f"{number.name[3:]} at an event", scenario=name, step=step)
    if ended.status == 0 and fraction > FEWER_EVENTS:
        return
    assert ended.status == 128 + number, ended.said
    said, *closing = [line for line in ended.stderr.splitlines() if line.split()[0] != "built"]
    assert said == "interrupted: what was finished stays finished; doit goes on from here"
    assert len(closing) <= 1
    assert all(" unchanged in " in line for line in closing)
    inspect_killed(root, had_current=scenario.has_current)
    left = leftovers(root)
    assert not left, f"left behind at once: {left}"
    finish_and_compare(root, scenario, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_stop_with_doit(tree, tmp_path, outcome, number):
    root, scenario = tree("cold")
    run = Run(root, "run", "-n", "2", "build")
    run.wait_until_it_holds_the_lock(root)
    time.sleep(scenario.seconds / 4)
    run.process.send_signal(number)
    ended = run.end()
    step = step_hit(root, ended, scenario.steps)
    outcome(how=f"{number.name[3:]} of doit -n 2", scenario="cold", step=step)
    assert "Traceback" not in ended.said
    assert ended.said.count("interrupted") <= 1
    inspect_killed(root, had_current=False)
    finish_and_compare(root, scenario, tmp_path)


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_second_run_waits_and_takes_over(tree, tmp_path, outcome, is_killed):
    root, scenario = tree("changed")
    first = Run(root, "build", signal_at=len(scenario.events) // 2, number=signal.SIGSTOP)
    os.waitid(os.P_PID, first.process.pid, os.WSTOPPED)
    second = Run(root, "build")
    assert second.process.stderr.readline() == (
        f"waiting: another run holds {root}/artifacts/lock (process {first.process.pid})\n"
    )
    first.process.send_signal(signal.SIGKILL if is_killed else signal.SIGCONT)
    began, ended = first.end(), second.end()
    how = "first of two killed" if is_killed else "two at once"
    outcome(how=how, scenario="changed", step=began.built[-1])
    assert ended.status == 0, ended.said
    assert began.status == (-signal.SIGKILL if is_killed else 0)
    assert sorted(began.built + ended.built) == sorted(scenario.steps)
    finish_and_compare(root, scenario, tmp_path)


def key_of(root):
    (image,) = (root / "artifacts/build/usbkey").rglob("*.img")
    return image


def write_edition(root, number):
    (root / "overlays/base/etc/motd").write_text(f"edition {number:03}\n")


@pytest.mark.parametrize("fraction", fractions("in place", max(3, KILLS // 8)))
def test_killed_while_a_key_is_changed_in_place(tree, tmp_path, outcome, fraction):
    """A copied key is another file than was recorded: only one built here is changed in place."""
    root, _ = tree("changed")
    assert Run(root, "build").end().status == 0
    write_edition(root, 1)
    before, log = key_of(root).stat().st_ino, tmp_path / "events"
    undisturbed = Run(root, "build", log=log).end()
    assert undisturbed.status == 0, undisturbed.said
    assert key_of(root).stat().st_ino == before
    events = log.read_text().splitlines()
    of_key = [at for at, event in enumerate(events, 1) if key_of(root).name in event]
    write_edition(root, 2)
    # From the first time that the key is touched to one event after the last.
    at = of_key[0] + int(fraction * (of_key[-1] + 2 - of_key[0]))
    ended = Run(root, "build", signal_at=at).end()
    step = step_hit(root, ended, undisturbed.built)
    outcome(how="KILL, key in place", scenario="changed", step=step)
    assert ended.status == -signal.SIGKILL, ended.said
    inspect_killed(root, had_current=True)
    assert Run(root, "build").end().status == 0
    assert not leftovers(root)
    made = key_of(root).read_bytes()
    key_of(root).unlink()  # so the next one is written whole
    assert Run(root, "build").end().status == 0
    assert key_of(root).read_bytes() == made, "differs from a key that was written whole"
    assert b"edition 002" in gzip.decompress(overlay_of(root).read_bytes())


def overlay_of(root):
    (overlay,) = (root / "artifacts/build/apkovl").rglob("*.apkovl.tar.gz")
    return overlay
