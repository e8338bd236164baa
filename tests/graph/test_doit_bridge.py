"""doit, really run, over steps that really write files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bootsmith.doit_bridge import _next_step
from bootsmith.graph.layout import Layout

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
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
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{CHECKOUT}"}
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


def test_names_are_those_of_the_site_wherever_doit_is_told_to_work(site, tmp_path_factory):
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    told = ("-d", elsewhere, "-f", str(site / "dodo.py"))
    assert built(doit(site, "run", *told)) == EVERYTHING
    assert built(doit(site, "run", *told)) == set()
    assert built(doit(site)) == set()
    doit(site, "clean", *told, "joined")
    assert not (site / "artifacts/build/all").exists()
    assert os.listdir(elsewhere) == []


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


@pytest.mark.parametrize("words", [["run"], ["run", "-n", "2"]])
def test_what_a_step_tells_is_said_behind_its_line(site, words):
    slow_dodo(site, "pass")
    (site / "sample_slow.py").write_text(
        "from sample_builders import build_joined\n"
        "def build_slow(*, source, output, tell):\n"
        "    build_joined(parts=(source,), output=output)\n"
        "    tell('joined by hand')\n"
    )
    run = start(site, *words)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 0
    lines = said.splitlines()
    joined = next(line for line in lines if line.startswith("built  joined"))
    assert lines[lines.index(joined) + 1] == "       joined by hand"


def test_doit_itself_leaves_no_file(site):
    doit(site)
    assert sorted(path.name for path in (site / "artifacts").iterdir()) == [
        *("build", "cache", "lock", "state.sqlite3"),
    ]


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


@pytest.fixture
def holder(site):
    """Another run of the site, in the middle of a step."""
    dodo = slow_dodo(site, "import time; print('slow', flush=True); time.sleep(60)")
    run = start(site)
    assert run.stdout.readline() == "slow\n"
    (site / "dodo.py").write_text(dodo)
    yield run
    run.kill()
    run.communicate()


@pytest.mark.parametrize("words", [[], ["-n", "2"], ["-n", "2", "-P", "thread"]])
def test_a_second_run_says_who_holds_the_lock_if_asked_to(site, holder, words):
    run = doit(site, "run", *words, "lock=fail", "build")
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == (
        f"{site}/artifacts/lock: another run holds it (process {holder.pid})\n"
        "  next: say it again when that run has ended, or let it wait: lock=wait\n"
    )


def test_a_lock_that_is_free_does_not_fail(site):
    assert built(doit(site, "lock=fail")) == EVERYTHING
    assert built(doit(site, "lock=wait")) == set()


def test_another_choice_of_lock_is_refused(site):
    run = doit(site, "lock=later")
    assert run.returncode == 2
    assert run.stderr == (
        "lock: no such choice; expected wait or fail, got later\n  next: doit lock=fail build\n"
    )


def test_explain_asks_no_one(site, holder):
    run = doit(site, "explain", "joined")
    assert run.returncode == 0
    assert run.stdout.startswith("joined: would be done\n    never finished here\n")


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
        env={**os.environ, "PYTHONPATH": f"{HERE}:{CHECKOUT}"},
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


def start(site, *words, **options):
    """doit beside us. A test run in the background has SIGINT ignored, and children inherit
    that: doit gets the handling that a terminal would give it.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "doit", *words],
        cwd=site,
        env={**os.environ, "PYTHONPATH": f"{HERE}:{site}:{CHECKOUT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads
        **options,
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


def ends(word):
    """Whether programs with that word end by themselves: what the kernel kills when doit ends
    takes a moment to be gone. The programs that we look for would run for a day.
    """
    give_up = time.monotonic() + 10
    while programs_running(word) and time.monotonic() < give_up:
        time.sleep(0.01)
    return not programs_running(word)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_takes_its_programs_with_it(site, number):
    seconds = f"{os.getpid()}{number}.5"
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
    assert ends(seconds.encode())


# Put behind DODO: each tells `doit -n 2` to stop at a moment that a signal from outside meets
# once in some dozen runs.
STOPS = {
    "while it makes a worker": """
import os, signal
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
""",
    "between its workers": """
import os, signal, sys
forked = []
os.register_at_fork(after_in_parent=lambda: forked.append(1))


def stop(event, arguments):
    if event == "open" and forked and str(arguments[0]) == str(ROOT / "b"):
        forked.clear()
        os.kill(os.getpid(), signal.SIGTERM)


sys.addaudithook(stop)
""",
    "and a worker is still being made": """
import os, signal
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
""",
    # What reaches a process before Python has seen that it is another one is forgotten.
    "and a worker does not hear": """
import os, signal, threading


stop = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))


def be_deaf():
    hear = signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, hear))


os.register_at_fork(after_in_child=be_deaf)
os.register_at_fork(after_in_parent=lambda: stop.ident or stop.start())
""",
}


@pytest.mark.parametrize("moment", STOPS)
def test_workers_end_whenever_doit_is_told_to_stop(site, moment):
    doit(site)
    for name in ("a", "b"):  # so that each is read before it is given to a worker
        (site / name).write_text("three")
    slow = "def build_slow(*, source, output):\n    import time; time.sleep(60)\n"
    (site / "sample_slow.py").write_text(slow)
    dodo = DODO.replace("sample_builders:build_upper", "sample_slow:build_slow")
    (site / "dodo.py").write_text(dodo + STOPS[moment])
    run = start(site, "run", "-n", "2", start_new_session=True)
    try:
        _, said = run.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        pytest.fail(f"hangs: {run.communicate()[1]}")
    assert run.returncode == 128 + signal.SIGTERM, said
    assert said.count("interrupted: what was finished stays finished") == 1
    assert "Traceback" not in said


def test_a_worker_that_is_told_twice_tidies_up_all_the_same(site):
    """A terminal tells each process, and doit its workers once more."""
    slow_dodo(
        site,
        "import pathlib, time\n    try:\n"
        "        pathlib.Path('at-work').touch()\n        time.sleep(60)\n    finally:\n"
        "        time.sleep(1)\n        pathlib.Path('tidy').touch()",
    )
    run = start(site, "run", "-n", "2", start_new_session=True)
    while not (site / "at-work").exists():
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGINT
    assert (site / "tidy").exists()


@pytest.mark.parametrize("parallel", [[], ["-n", "2"], ["-n", "2", "-P", "thread"]])
def test_a_killed_run_takes_its_programs_with_it(site, parallel):
    seconds = f"{os.getpid()}9{len(parallel)}.5"
    dodo = slow_dodo(
        site, f"from bootsmith.tools.run import run_program; run_program(['sleep', '{seconds}'])"
    )
    run = start(site, "run", *parallel)
    while not programs_running(seconds.encode()):
        time.sleep(0.01)
    run.kill()
    run.communicate(timeout=60)  # ends when nobody is left who could write
    assert ends(seconds.encode())
    (site / "dodo.py").write_text(dodo)
    after = doit(site)
    assert (after.returncode, "waiting" in after.stderr) == (0, False)


def test_a_killed_worker_ends_the_run(site):
    seconds = f"{os.getpid()}98.5"
    dodo = slow_dodo(
        site, f"from bootsmith.tools.run import run_program; run_program(['sleep', '{seconds}'])"
    )
    run = start(site, "run", "-n", "2")
    while not (found := programs_running(seconds.encode())):
        time.sleep(0.01)
    worker = int(Path(f"/proc/{found[0]}/stat").read_text().rpartition(")")[2].split()[1])
    assert worker != run.pid
    os.kill(worker, signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "Traceback" not in said
    assert "FAILED doit -n\na worker was ended by signal 9" in said
    (site / "dodo.py").write_text(dodo)
    assert doit(site).returncode == 0


def test_a_killed_run_keeps_what_it_finished(site):
    dodo = slow_dodo(site, "import time; print('slow', flush=True); time.sleep(60)")
    run = start(site)
    assert run.stdout.readline() == "slow\n"
    time.sleep(0.1)
    run.kill()
    run.communicate()
    (site / "dodo.py").write_text(dodo)
    assert built(doit(site)) == {"joined", "upper:b"}


def test_clean_leaves_what_machines_boot(site):
    dodo = (site / "dodo.py").read_text()
    (site / "dodo.py").write_text(
        dodo.replace('Output(BUILD / "all")', 'Output(ROOT / "artifacts/generations/latest/all")')
    )
    doit(site)
    assert doit(site, "clean").returncode == 0
    assert (site / "artifacts/generations/latest/all").read_text() == "ONETWO"
    assert not (site / "artifacts/build/a").exists()


def test_an_answer_that_nobody_reads_to_its_end_is_no_failure(site):
    doit(site)
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(
        [sys.executable, "-u", "-m", "doit", "explain"],
        cwd=site,
        env={**os.environ, "PYTHONPATH": f"{HERE}:{CHECKOUT}"},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert run.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in run.stderr
    assert "FAILED" not in run.stderr


def test_what_to_do_after_a_build(tmp_path):
    layout = Layout(tmp_path)
    assert _next_step(layout, "usbkey:default") is None
    for name, said in [("2026-11-21.1", "doit help"), ("2026-11-21.2", "doit diff")]:
        directory = layout.artifacts / "generations" / name
        directory.mkdir(parents=True)
        (directory / "MANIFEST.json").touch()
        if said == "doit help":
            (layout.artifacts / "generations" / "latest").symlink_to(name)
        for asked_for in (None, "build"):
            assert _next_step(layout, asked_for).startswith(said)
