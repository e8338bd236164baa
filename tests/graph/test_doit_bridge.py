"""doit, really run, over steps that really write files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DODO = """
from pathlib import Path
from bootsmith.doit_bridge import doit_config, step_tasks
from bootsmith.graph.layout import Layout
from bootsmith.graph.step import Group, Input, Output, Step

ROOT = Path(__file__).resolve().parent
DOIT_CONFIG = doit_config(ROOT)
BUILD = ROOT / "artifacts/build"


def upper(name):
    return Step(
        kind="upper", name=name, summary="", builder="sample_builders:build_upper",
        arguments={"source": Input(ROOT / name), "output": Output(BUILD / name)},
    )


STEPS = [upper("a"), upper("b"), Step(
    kind="joined", summary="", builder="sample_builders:build_joined",
    arguments={"parts": (Input(BUILD / "a"), Input(BUILD / "b")), "output": Output(BUILD / "all")},
)]


def task_all():
    build = Group(name="build", summary="", members=("joined",))
    yield from step_tasks(Layout(ROOT), STEPS, [build])
"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "dodo.py").write_text(DODO)
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    return tmp_path


def doit(site, *words):
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.run(
        [sys.executable, "-m", "doit", *words],
        cwd=site,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def built(run):
    return {line.split()[1] for line in run.stderr.splitlines() if line.startswith("built")}


EVERYTHING = {"upper:a", "upper:b", "joined"}


def test_build_then_nothing(site):
    first = doit(site)
    assert (first.returncode, built(first)) == (0, EVERYTHING)
    assert (site / "artifacts/build/all").read_text() == "ONETWO"
    second = doit(site)
    assert (second.returncode, built(second)) == (0, set())
    assert "0 built, 3 unchanged" in second.stderr


def test_only_what_changed_is_rebuilt(site):
    doit(site)
    (site / "a").write_text("three")
    assert built(doit(site)) == {"upper:a", "joined"}


def test_a_change_without_effect_rebuilds_nothing_below(site):
    doit(site)
    (site / "a").write_text("o n e !")
    assert built(doit(site)) == {"upper:a"}


def test_touch_rebuilds_nothing(site):
    doit(site)
    os.utime(site / "a")
    assert built(doit(site)) == set()


@pytest.mark.parametrize("parallel", [["-n", "2"], ["-n", "2", "-P", "thread"]])
def test_parallel_runs_do_the_same(site, parallel):
    run = doit(site, "run", *parallel)
    assert (run.returncode, built(run)) == (0, EVERYTHING)
    assert (site / "artifacts/build/all").read_text() == "ONETWO"
    assert built(doit(site)) == set()


def test_doit_forgetting_everything_it_knows_changes_nothing(site):
    doit(site)
    (site / "artifacts/doit.json").unlink()
    assert built(doit(site)) == set()


def test_an_output_can_be_asked_for_by_its_path(site):
    assert built(doit(site, "artifacts/build/a")) == {"upper:a"}


def test_a_failure_is_one_message_and_status_2(site):
    (site / "b").unlink()
    run = doit(site)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr + run.stdout
    assert "FAILED upper:b\nb: is needed by upper:b and is not there\n" in run.stderr
    assert "1 failed" in run.stderr


def test_explain_gives_the_reason_and_changes_nothing(site):
    doit(site)
    (site / "a").chmod(0o600)
    run = doit(site, "explain", "upper:a", "artifacts/build/all")
    assert run.returncode == 0
    assert "upper:a: would be done\n    input a: was file 0644" in run.stdout
    assert (
        "joined: would be done\n    input artifacts/build/a: may change, upper:a would be done\n"
    ) in run.stdout
    assert "upper:b: up to date" in doit(site, "explain").stdout
    assert built(doit(site, "explain")) == set()


def test_explain_of_nothing_known_names_the_nearest(site):
    run = doit(site, "explain", "uper:a")
    assert run.returncode == 2
    assert "next: did you mean upper:a?" in run.stderr


def test_a_second_run_waits_for_the_first(site):
    doit(site)
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl,time; f=open({str(site / 'artifacts/lock')!r},'a+');"
         "fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    holder.stdout.readline()
    waiter = subprocess.Popen(
        [sys.executable, "-m", "doit"],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiter.stderr.readline().startswith("waiting: another run holds")
    assert waiter.poll() is None
    holder.send_signal(signal.SIGKILL)  # a killed run leaves no lock behind
    holder.wait()
    holder.stdout.close()
    assert "0 built, 3 unchanged" in waiter.stderr.read()
    assert waiter.wait() == 0
    waiter.stderr.close()


def test_partial_files_of_a_killed_run_are_collected(site):
    doit(site)
    leaked = site / "artifacts/build/.a.0123456789ab.partial"
    leaked.write_text("half")
    (site / "a").write_text("three")
    doit(site)
    assert not leaked.exists()


def slow_dodo(site, body):
    """Make `joined` a step that runs `body` and then hangs; return the old dodo.py."""
    (site / "sample_slow.py").write_text(f"def build_slow(*, source, output):\n    {body}\n")
    dodo = (site / "dodo.py").read_text()
    (site / "dodo.py").write_text(
        dodo.replace("sample_builders:build_joined", "sample_slow:build_slow").replace(
            '"parts": (Input(BUILD / "a"), Input(BUILD / "b"))', '"source": Input(BUILD / "a")'
        )
    )
    return dodo


def start(site):
    """doit beside us. A test run in the background has SIGINT ignored, and children inherit
    that: doit gets the handling that a terminal would give it.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "doit"],
        cwd=site,
        env={**os.environ, "PYTHONPATH": f"{HERE}:{site}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads
    )


def programs_running(word):
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            pass  # it ended while we looked
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_takes_its_programs_with_it(site, number):
    seconds = f"9876{number}.5"
    slow_dodo(
        site,
        "from bootsmith.tools.run import run_program; print('slow', flush=True); "
        f"run_program(['sleep', '{seconds}'])",
    )
    run = start(site)
    assert run.stdout.readline() == "slow\n"
    while not programs_running(seconds.encode()):
        time.sleep(0.01)
    run.send_signal(number)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 128 + number
    assert "Traceback" not in said
    assert "interrupted: what was finished stays finished; doit goes on from here" in said
    assert not programs_running(seconds.encode())


def test_a_killed_run_keeps_what_it_finished(site):
    dodo = slow_dodo(site, "import time; print('slow', flush=True); time.sleep(60)")
    run = start(site)
    assert run.stdout.readline() == "slow\n"
    time.sleep(0.1)
    run.kill()
    run.communicate()
    (site / "dodo.py").write_text(dodo)
    assert built(doit(site)) == {"joined", "upper:b"}
