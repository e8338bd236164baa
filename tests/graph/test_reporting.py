"""What a run says: on a terminal, in a pipe, in silence, and to programs."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from test_doit_bridge import CHECKOUT, DODO, HERE

from bootsmith.reporting import Summary, chosen_report

FRONT = "import sys; from bootsmith.front import main; sys.argv[0] = 'doit'; sys.exit(main())"


@pytest.fixture
def site(tmp_path):
    (tmp_path / "dodo.py").write_text(DODO)
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    return tmp_path


def environment(**more):
    known = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return {**known, "PYTHONPATH": f"{HERE}:{CHECKOUT}", **more}


def doit(site, *words, **more):
    return subprocess.run(
        [sys.executable, "-c", FRONT, *words],
        cwd=site,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )


def on_a_terminal(site, *words, columns=100, **more):
    """What doit writes to a terminal, escape codes and all, and its status."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", FRONT, *words],
        cwd=site,
        env=environment(TERM="xterm-256color", COLUMNS=str(columns), **more),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 65536):
            said += block
    except OSError:
        pass  # as Linux tells that the other end is closed
    os.close(ours)
    return said.decode(), run.wait(timeout=60)


def text_of(said):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).replace("\r", "\n")


def test_a_terminal_gets_a_table_and_the_next_step(site):
    said, status = on_a_terminal(site)
    lines = [line.split() for line in text_of(said).splitlines() if line.strip()]
    assert status == 0
    assert "built unchanged cut off failed size time".split() in lines
    assert [line[:2] for line in lines if line[0] in {"upper", "joined"}][-2:] == [
        ["upper", "2"],
        ["joined", "1"],
    ]
    assert ["3", "built,", "0", "unchanged", "in"] in [line[:5] for line in lines]
    assert lines[-1][0] == "next:"


def test_a_long_step_is_seen_at_work(site):
    (site / "dodo.py").write_text(
        DODO.replace('builder="sample_builders:build_joined"', 'builder="sample_slow:build"')
    )
    (site / "sample_slow.py").write_text(
        "import time\n"
        "def build(*, parts, output, progress):\n"
        "    for done in range(1, 11):\n"
        "        progress('copying', done * 1_000_000, 10_000_000)\n"
        "        time.sleep(0.1)\n"
        "    output.write_text('x')\n"
    )
    said, status = on_a_terminal(site, PYTHONPATH=f"{site}:{HERE}:{CHECKOUT}")
    assert status == 0
    assert re.search(r"joined .*[1-9]\.0 MB of 10\.0 MB .*copying", text_of(said))


def test_without_colour_nothing_is_coloured(site):
    said, _ = on_a_terminal(site, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", said)


@pytest.mark.parametrize("columns", [40, 200])
def test_any_width_will_do(site, columns):
    said, status = on_a_terminal(site, columns=columns)
    assert status == 0
    assert "3 built, 0 unchanged in" in text_of(said)


def test_elsewhere_lines_are_plain(site):
    run = doit(site)
    assert "\x1b" not in run.stderr + run.stdout
    assert run.stderr.splitlines()[-1].startswith("3 built, 0 unchanged in ")
    assert "next:" not in run.stderr


def test_more_workers_say_the_same(site):
    for words in (["-n", "2"], ["-n", "2", "-P", "thread"]):
        run = doit(site, *words)
        assert run.stderr.splitlines()[-1].startswith("3 built, 0 unchanged in ")
        for path in (site / "artifacts/build").iterdir():
            path.unlink()


def test_steps_below_an_equal_output_are_counted_as_saved(site):
    doit(site)
    (site / "a").write_text("One")  # the same in upper case
    run = doit(site)
    assert "1 built, 2 unchanged (1 of them saved by a cut-off) in " in run.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--quiet"],
        ["--quiet", "build"],
        ["build", "--quiet"],
        ["-n", "1", "--quiet", "build"],
        ["run", "lock=fail", "--quiet"],
    ],
)
def test_quiet_says_nothing(site, words):
    run = doit(site, *words)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    (site / "a").unlink()
    run = doit(site, *words)
    assert run.returncode != 0
    assert run.stderr.startswith("FAILED upper:a\n")
    assert "unchanged" not in run.stderr


def test_programs_get_one_object_a_line(site):
    events = [json.loads(line) for line in doit(site, "--json").stdout.splitlines()]
    assert [event["event"] for event in events] == ["started", "built"] * 3 + ["closed"]
    assert {event["step"] for event in events[:-1]} == {"upper:a", "upper:b", "joined"}
    assert {name: events[-1][name] for name in ("built", "unchanged", "saved", "failed")} == {
        "built": 3, "unchanged": 0, "saved": 0, "failed": 0,
    }  # fmt: skip
    assert events[-1]["kinds"]["upper"]["size_bytes"] == 6
    (site / "b").unlink()
    run = doit(site, "build", "--json")
    [failed] = [
        event
        for line in run.stdout.splitlines()
        if (event := json.loads(line))["event"] == "failed"
    ]
    assert failed["step"] == "upper:b"
    assert "is not there" in failed["message"]
    assert run.stderr.startswith("FAILED upper:b\n")


def test_an_unknown_choice_is_no_choice(site):
    run = doit(site, BOOTSMITH_REPORT="loud")
    assert run.stderr.splitlines()[-1].startswith("3 built, 0 unchanged in ")


def test_a_run_that_finds_everything_done_loads_no_screen(site):
    doit(site)
    words = FRONT.replace(
        "; sys.exit(main())", "\ntry:\n    main()\nfinally:\n    print('rich' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", words],
        cwd=site,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.endswith("False\n")


def test_a_reader_may_leave_early(site):
    (site / "dodo.py").write_text(
        DODO + "\n\nfrom bootsmith.doit_bridge import verb_tasks\n"
        "from bootsmith.graph.verb import Verb\n\n\n"
        "def task_verbs():\n"
        "    yield from verb_tasks(Layout(ROOT), (Verb(name='talk', summary='', "
        "call='sample_talk:talk', examples=()),))\n"
    )
    (site / "sample_talk.py").write_text(
        "def talk(*, say):\n    for number in range(100_000):\n        say(str(number))\n"
    )
    run = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" talk | head -n 1', sys.executable, FRONT],
        cwd=site,
        env=environment(PYTHONPATH=f"{site}:{HERE}:{CHECKOUT}"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (run.stdout, run.stderr) == ("0\n", "")


@pytest.mark.parametrize("words", ["--json", "--plain", "list --all", "help", "explain", "-h"])
def test_nobody_is_told_that_nobody_reads(site, words):
    closed = 'exec 3>&1 4>&2; { "$@" 2>&1; echo $? >&4; } | : >&3'
    run = subprocess.run(
        ["sh", "-c", closed, "sh", sys.executable, "-c", FRONT, *words.split()],
        cwd=site,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (run.stdout, run.stderr) == ("", "141\n")


def test_an_empty_word_is_no_word(site):
    run = doit(site, "build", "")
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr == "doit: there is an empty word\n  next: doit list --all\n"


def test_plain_progress_is_rare(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    report = chosen_report(sys.stderr, {})
    with report.working("iso:x") as progress:
        for second in range(1, 31):
            now[0] = float(second)
            progress("hashing", second, 30)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split() for line in lines] == [
        ["iso:x", "hashing", "33", "%", "10", "s"],
        ["iso:x", "hashing", "66", "%", "20", "s"],
        ["iso:x", "hashing", "100", "%", "30", "s"],
    ]


def test_a_closing_line_of_failures():
    summary = Summary(standing="current is x.1")
    summary.of("pxerd:a").built = 2
    summary.of("iso:a").failed = 1
    assert summary.closing_line() == (
        "2 built, 0 unchanged, 1 failed in {seconds} s; current is x.1"
    )
