"""Time that other work takes from a guest."""

from __future__ import annotations

import os
import subprocess

from bootsmith.smoke.machine import starved_seconds


def test_a_process_that_must_share_a_processor_is_starved():
    processor = str(min(os.sched_getaffinity(0)))
    spin = ["taskset", "-c", processor, "sh", "-c", "while :; do :; done"]
    rivals = [subprocess.Popen(spin) for _ in range(2)]
    try:
        while max(starved_seconds(rival.pid) for rival in rivals) < 0.2:
            assert all(rival.poll() is None for rival in rivals)
    finally:
        for rival in rivals:
            rival.kill()
            rival.wait()


def test_a_process_that_is_gone_is_not():
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert starved_seconds(gone.pid) == 0.0
