"""What the kill tests share: trees to begin from, how many kills, and the closing table."""

from __future__ import annotations

import resource
import shutil
import time
from collections import Counter
from dataclasses import asdict

import pytest
from tiny_site import change_site, write_iso, write_site
from torture import (
    KILLS,
    SEED,
    Outcome,
    Run,
    Scenario,
    contents,
    copy_tree,
    recorded_keys,
)


def pytest_report_header():
    return f"torture: {KILLS} kills, seed {SEED}"


@pytest.fixture(scope="session")
def scenarios(tmp_path_factory):
    """`cold` begins with nothing, `changed` with a generation that is current and outdated."""
    directory = tmp_path_factory.mktemp("torture")
    cold = write_site(_made(directory / "cold"), write_iso(_made(directory / "iso")))
    changed = copy_tree(cold, _made(directory / "changed"))
    assert Run(changed, "build").end().status == 0
    change_site(changed)
    return {
        name: _undisturbed(name, start, _made(directory / "undisturbed") / name, directory)
        for name, start in (("cold", cold), ("changed", changed))
    }


def _made(directory):
    directory.mkdir(exist_ok=True)
    return directory


def _undisturbed(name, start, root, scratch):
    log = scratch / f"{name}.events"
    # At the same path as the killed runs': messages and keys must not differ by it.
    copy_tree(start, _made(root))
    started, worked = time.monotonic(), _processor_seconds()
    ended = Run(root, "build", log=log).end()
    assert ended.status == 0, ended.said
    return Scenario(
        name=name,
        start=start,
        undisturbed=root,
        finished=contents(root / "artifacts"),
        keys=recorded_keys(root, scratch),
        steps=ended.built,
        events=log.read_text().splitlines(),
        seconds=time.monotonic() - started,
        processor_seconds=_processor_seconds() - worked,
        has_current=(start / "artifacts/current").is_symlink(),
    )


def _processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def tree(scenarios, tmp_path):
    """A function that makes a tree to be killed in; it is removed after the test."""
    root = tmp_path / "site"

    def begin(name):
        copy_tree(scenarios[name].start, _made(root))
        return root, scenarios[name]

    yield begin
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def outcome(record_property):
    """A function that puts a row into the closing table."""

    def record(**row):
        record_property("torture", asdict(Outcome(**row)))

    return record


def pytest_terminal_summary(terminalreporter):
    reports = [
        report
        for word in ("passed", "failed")
        for report in terminalreporter.stats.get(word, [])
        if getattr(report, "when", None) == "call"
    ]
    rows = [
        (row["how"], row["scenario"], row["step"], row["result"] or report.outcome)
        for report in reports
        for name, row in report.user_properties
        if name == "torture"
    ]
    if not rows:
        return
    terminalreporter.section(f"torture: seed {SEED}")
    titles = ("how", "tree", "step at work", "outcome")
    for row, count in [(titles, "runs"), *sorted(Counter(rows).items())]:
        how, scenario, step, result = row
        terminalreporter.write_line(f"{how:<22} {scenario:<8} {step:<18} {result:<14} {count:>4}")
    terminalreporter.write_line(f"{len(rows)} runs")
