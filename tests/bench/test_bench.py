"""What the bench says of what it runs: real processes, real memory, real failures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.measure import FLOOR, OURS, PEER, Candidate, Measured, Row, Sample, measure_row
from bench.programs import run
from bench.record import keep, last_ratios, machine, ratio_of, worse_than_before
from bench.table import table

ROOT = Path(__file__).resolve().parents[2]
MEMORY_BYTES = 200 << 20


def candidate(name, role=OURS, run=lambda place: None, **more):
    return Candidate(name=name, role=role, run=run, **more)


def measured(ours, floor, name="a job"):
    """As if `ours` and `floor` seconds had been measured, in one round each."""
    candidates = (candidate("ours"), candidate("floor", FLOOR))
    result = Measured(row=Row(name=name, about="", candidates=candidates, bar=2.0, bar_text="≤ 2"))
    for who, seconds in (("ours", ours), ("floor", floor)):
        result.samples[who] = [
            Sample(wall_seconds=one, cpu_seconds=one, peak_bytes=1, result_bytes=None)
            for one in seconds
        ]
    return result


def test_candidates_take_turns_each_in_an_empty_directory(tmp_path):
    log = tmp_path / "log"

    def note(word):
        def run(place):
            assert list(place.iterdir()) == []
            (place / word).write_text(word)
            with open(log, "a") as out:
                out.write(word)

        return run

    row = Row(
        name="turns",
        about="",
        candidates=(candidate("a", run=note("a")), candidate("b", FLOOR, run=note("b"))),
    )
    result = measure_row(row, rounds=2, scratch=tmp_path)
    assert log.read_text() == "ababab"  # the first round only warms caches
    assert [len(result.samples[name]) for name in "ab"] == [2, 2]


def test_what_need_not_count_is_not_counted(tmp_path):
    def burn(_place):
        started = os.times().user
        while os.times().user - started < 0.3:
            pass

    row = Row(name="x", about="", candidates=(candidate("a", prepare=burn),))
    (sample,) = measure_row(row, rounds=1, scratch=tmp_path).samples["a"]
    assert sample.cpu_seconds < 0.3


def test_memory_is_that_of_the_candidate(tmp_path):
    row = Row(
        name="memory",
        about="",
        candidates=(
            candidate("large", run=lambda _place: bytearray(MEMORY_BYTES)),
            candidate("small", FLOOR),
        ),
    )
    samples = measure_row(row, rounds=1, scratch=tmp_path).samples
    difference = samples["large"][0].peak_bytes - samples["small"][0].peak_bytes
    assert difference > MEMORY_BYTES * 9 // 10


def test_a_candidate_that_cannot_run_says_why_and_the_rest_is_measured(tmp_path):
    row = Row(
        name="peers",
        about="all of them",
        candidates=(
            candidate("ours", run=lambda place: (place / "made").write_bytes(b"12345"),
                      result=lambda place: (place / "made").stat().st_size),
            candidate("gone", PEER, run=lambda _place: run(["no-such-program"])),
            candidate("fails", PEER, run=lambda _place: run(["sh", "-c", "echo why; exit 3"])),
            candidate("floor", FLOOR),
        ),
    )  # fmt: skip
    result = measure_row(row, rounds=1, scratch=tmp_path)
    assert result.troubles == {
        "gone": "no-such-program is not installed here",
        "fails": "sh: status 3: why",
    }
    text = "\n".join(table([result]))
    assert "not measured: no-such-program is not installed here" in text
    assert "5 B" in text


def test_ratios_are_taken_within_a_round():
    result = measured([1.0, 20.0, 3.0], [1.0, 10.0, 1.0])
    assert result.ratios("ours", "floor") == [1.0, 2.0, 3.0]
    assert ratio_of(result) == 2.0
    assert any("met with 2.00" in line for line in table([result]))
    assert any("MISSED with 3.00" in line for line in table([measured([3.0], [1.0])]))


def test_a_row_that_got_slower_is_named(tmp_path):
    keep(tmp_path, [measured([1.0], [1.0]), measured([1.0], [1.0], "another")], machine())
    assert last_ratios(tmp_path)["a job"][0] == 1.0
    now = [measured([1.3], [1.0]), measured([1.1], [1.0], "another")]
    (line,) = worse_than_before(tmp_path, now)
    assert line.startswith("slower: a job: 1.00x at ")
    assert line.endswith("now 1.30x")


def bench(*words):
    return subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "words, said",
    [
        (["pxe"], "no such row: pxe; there are pxerd, modloop"),
        (["--rounds", "0"], "--rounds: expected at least 1, got 0"),
    ],
)
def test_what_it_cannot_measure(words, said):
    done = bench(*words)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_shipped_site_is_measured(tmp_path):
    subprocess.run([sys.executable, "-m", "doit", "build"], cwd=ROOT, check=True)
    rows = ("iso", "usbkey")  # the others take minutes
    done = bench(*rows, "--rounds", "1", "--scratch", str(tmp_path), "--keep", str(tmp_path / "k"))
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "k").glob("*.json")
    document = json.loads(record.read_text())
    assert "not measured" not in done.stdout
    for name, row in document["rows"].items():
        assert row["troubles"] == {}, name
    page = (tmp_path / "k/index.html").read_text()
    assert "<svg" in page
    assert "ISO standin to a tree, a second time" in page
    assert "<svg" in (tmp_path / "k/plots.svg").read_text()
