"""Time that other work takes from a guest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bootsmith.smoke.machine import starved_seconds


def test_a_process_that_must_share_a_processor_is_starved():
    rivals = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(4)]
    try:
        for rival in rivals:
            os.sched_setaffinity(rival.pid, {min(os.sched_getaffinity(0))})
        # Each runs a quarter of the time at best: it waits longer than it runs.
        while sum(starved_seconds(rival.pid) for rival in rivals) < 1.0:
            assert all(rival.poll() is None for rival in rivals)
        starved = sum(starved_seconds(rival.pid) for rival in rivals)
        ran = sum(seconds_run(rival.pid) for rival in rivals)
        assert starved > ran
    finally:
        for rival in rivals:
            rival.kill()
            rival.wait()


def test_a_process_that_is_gone_is_not():
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert starved_seconds(gone.pid) == 0.0


def seconds_run(process: int) -> float:
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9
