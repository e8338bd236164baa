"""`doit console` and `doit shell`: words of a log, refusals, and a real terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from bootsmith.errors import SmokeError
from bootsmith.smoke.shell import open_shell, show_console
from bootsmith.tools.run import run_on_terminal


def keep(evidence, generation, scenario, started_epoch, console=b"hello\r\n"):
    directory = evidence / generation / scenario
    directory.mkdir(parents=True)
    (directory / "evidence.json").write_text(json.dumps({"started_epoch": started_epoch}))
    (directory / "console.log").write_bytes(console)
    return directory


def shown(evidence, *operands, raw=False):
    said = []
    show_console(evidence=evidence, operands=operands, raw=raw, say=said.append)
    return said


def test_the_newest_run_is_shown(tmp_path):
    keep(tmp_path, "2026-11-21.1", "key-uefi", 2, b"second")
    keep(tmp_path, "2026-11-22.1", "key-uefi", 1, b"first")
    assert shown(tmp_path, "key-uefi")[0] == "second"


def test_a_log_cannot_move_the_readers_cursor(tmp_path):
    raw = b"\x1b[2J\x1b[31mred\x1b[0m\r\n\x07bell\x1bc\ttab\xff\r\n"
    directory = keep(tmp_path, "2026-11-21.1", "key-uefi", 1, raw)
    text, where = shown(tmp_path, "key-uefi")
    assert text == "red\nbell\ttab\N{REPLACEMENT CHARACTER}"
    assert where.endswith(f"{directory.relative_to(tmp_path)}/console.log)")
    assert "\x1b[2J" in shown(tmp_path, "key-uefi", raw=True)[0]


@pytest.mark.parametrize(
    "operands,said",
    [
        ((), "which scenario?; expected one of key-uefi, got none\n  next: doit console key-uefi"),
        (("key-uef",), "no run of it is on record; expected one of key-uefi, got key-uef"),
        (("a", "b"), "which scenario?"),
    ],
)
def test_what_cannot_be_shown(tmp_path, operands, said):
    keep(tmp_path, "2026-11-21.1", "key-uefi", 1)
    (tmp_path / "x/broken").mkdir(parents=True)
    (tmp_path / "x/broken/evidence.json").write_text("{")
    with pytest.raises(SmokeError) as caught:
        shown(tmp_path, *operands)
    assert said in str(caught.value)


def test_nothing_was_booted_yet(tmp_path):
    with pytest.raises(SmokeError, match=r"next: doit smoke$"):
        shown(tmp_path, "key-uefi")


@pytest.mark.parametrize(
    "operands,said",
    [
        ((), "which template?; expected one of default, web, got none"),
        (("wep",), "there is no such template; expected one of default, web, got wep\n"
                   "  next: doit shell web"),
        (("web",), "nothing is built yet\n  next: doit build"),
    ],
)  # fmt: skip
def test_what_cannot_be_booted(tmp_path, operands, said):
    with pytest.raises(SmokeError) as caught:
        open_shell(
            templates=("default", "web"), artifacts=tmp_path, memory_mebibytes=64,
            accelerator="tcg", operands=operands, uefi=False, netboot=False, network=None,
            memory=None, say=print,
        )  # fmt: skip
    assert said in str(caught.value)


def test_a_machine_with_too_little_memory(tmp_path):
    with pytest.raises(SmokeError, match=r"too little to boot in; expected at least 128 \(MiB\)"):
        open_shell(
            templates=("default",), artifacts=tmp_path, memory_mebibytes=512, accelerator="tcg",
            operands=("default",), uefi=False, netboot=False, network=None, memory=10, say=print,
        )  # fmt: skip


def test_a_site_without_netboot_has_nothing_to_boot_from(tmp_path):
    with pytest.raises(SmokeError, match="nothing of this site boots from the network"):
        open_shell(
            templates=("default",), artifacts=tmp_path, memory_mebibytes=512, accelerator="tcg",
            operands=("default",), uefi=False, netboot=True, network=None, memory=None, say=print,
        )  # fmt: skip


def test_without_a_terminal_nothing_is_booted(tmp_path):
    (tmp_path / "generations/latest").mkdir(parents=True)
    (tmp_path / "generations/latest/MANIFEST.json").write_text("{}")
    with pytest.raises(SmokeError, match="needs a terminal"):
        open_shell(
            templates=("default",), artifacts=tmp_path, memory_mebibytes=512, accelerator="tcg",
            operands=("default",), uefi=False, netboot=False, network=None, memory=None, say=print,
        )  # fmt: skip


def test_a_program_gets_the_terminal(tmp_path):
    ours, theirs = pty.openpty()
    words = "from bootsmith.tools.run import run_on_terminal; import sys; "
    words += "sys.exit(run_on_terminal(['sh', '-c', 'tty; read word; echo got $word; exit 7']))"
    run = subprocess.Popen(
        [sys.executable, "-c", words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    os.close(theirs)
    os.write(ours, b"it\n")
    assert run.wait(timeout=60) == 7
    said = os.read(ours, 4096).decode()
    assert "/dev/pts/" in said
    assert "got it" in said


def test_its_status_is_told():
    assert run_on_terminal(["false"]) == 1
