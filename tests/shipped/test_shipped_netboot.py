"""The shipped site's machines boot from the network, and what is wrong there is seen."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from published_samples import Published

from bootsmith.errors import SmokeError
from bootsmith.files.manifest import read_manifest
from bootsmith.site.loader import load_site
from bootsmith.site.scenarios import SCENARIOS
from bootsmith.smoke.evidence import check_evidence, evidence_path, read_evidence
from bootsmith.smoke.parts import choose_parts
from bootsmith.smoke.run import run_smoke
from bootsmith.tools.ganesha import why_not_exportable

ROOT = Path(__file__).resolve().parents[2]
CURRENT = ROOT / "artifacts/current"
EVIDENCE = ROOT / "artifacts/evidence"
ROWS = [row for row in SCENARIOS if row.medium == "network"]

pytestmark = [pytest.mark.boot, pytest.mark.network]


def doit(*words):
    return subprocess.run(
        [sys.executable, "-m", "doit", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def built():
    """The shipped site, built; the generation that is current then."""
    reason = why_not_exportable(ROOT)
    if reason:
        pytest.skip(reason)
    run = doit("build")
    assert run.returncode == 0, run.stdout + run.stderr
    return CURRENT.resolve()


def test_every_row_boots(built):
    # Two at a time, which is what two processors carry.
    run = doit("run", "-n", "2", *(f"smoke:{row.name}" for row in ROWS))
    assert run.returncode == 0, run.stdout + run.stderr
    for row in ROWS:
        record = read_evidence(evidence_path(EVIDENCE, built.name, row.name))
        digests = choose_parts(read_manifest(built), row).digests
        check_evidence(record, scenario=row.name, digests=digests)
        assert 1 + len(record.others) == len(row.guests)


def test_a_wrong_template_is_seen(built, tmp_path):
    """Unknown machines get another overlay: they boot, and are not what they should be."""
    published = Published(built, tmp_path / "artifacts")
    for path, text in published.tree.texts.items():
        if path.startswith("tftp/") and "/default.apkovl" in text:
            published.write_text(path, text.replace("/default.apkovl", "/pxeboot.apkovl"))
    published.finish()
    with pytest.raises(SmokeError) as caught:
        run_smoke(
            scenario="netboot-unknown",
            manifest=published.generation / "MANIFEST.json",
            evidence=tmp_path / "evidence",
            memory_mebibytes=512,
            accelerator="auto",
            network=load_site(ROOT).netboot.network_values,
        )
    first = str(caught.value).splitlines()[0]
    assert "the guest reports template pxeboot, expected default; " in first
    assert "the guest reports overlay_sha " in first
    (record,) = (tmp_path / "evidence").glob("*/netboot-unknown/evidence.json")
    assert json.loads(record.read_text())["verdict"] == "failed"
    assert not [name for name in os.listdir(record.parent) if name.startswith("root-")]


def shell_on_a_terminal(name, *, leave_at=None):
    """`doit shell --netboot NAME`: its status, and all that it showed before and after leaving."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-m", "doit", "shell", "--netboot", name],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    try:
        while leave_at is None or leave_at not in said:
            said += os.read(ours, 4096)
        os.write(ours, b"\x01x")
    except OSError:
        pass  # as Linux tells that the other end is closed
    status = run.wait(timeout=60)
    os.close(ours)
    return status, said.decode("utf-8", "replace")


def test_a_machine_boots_from_the_network_on_a_terminal(built):
    """Until it asks who logs in; then the keys that are said at the start end it."""
    status, said = shell_on_a_terminal("repo-1", leave_at=b"repo-1 login: ")
    assert status == 0, said
    assert f"host repo-1, from {built.name}; leave with Ctrl-A X" in said
    assert "repo-1 login: " in said


@pytest.mark.parametrize(
    "name,said",
    [
        ("repo-11", "did you mean: doit shell --netboot repo-1"),
        ("nosuchthing", "next: doit hosts lists them"),
    ],
)
def test_a_name_of_no_machine_boots_nothing(built, name, said):
    status, shown = shell_on_a_terminal(name)
    assert status == 2
    assert "no machine of the inventory is called so" in shown
    assert said in shown
