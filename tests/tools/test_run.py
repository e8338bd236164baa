"""One door to programs: what they get, what is said when they fail, what is left running."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bootsmith.errors import ToolFailed, ToolMissing
from bootsmith.tools import catalog
from bootsmith.tools.run import (
    PROGRAM_PATH,
    find_program,
    program_environment,
    replay_line,
    run_program,
    running_program,
)

SH = shutil.which("sh", path=PROGRAM_PATH)


def test_output_is_bytes_and_text():
    done = run_program(["sh", "-c", "printf 'a\\377'; printf b >&2"])
    assert (done.stdout, done.stderr) == (b"a\xff", b"b")
    assert done.text == "a\N{REPLACEMENT CHARACTER}"


def test_words_are_not_read_by_a_shell():
    assert run_program(["printf", "%s|%s", "$HOME; true", Path("a b")]).text == "$HOME; true|a b"


def test_the_environment_is_built_from_nothing(monkeypatch):
    monkeypatch.setenv("MTOOLSRC", "/surprise")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    lines = run_program(["env"], environment={"EXTRA": "1", "HOME": ""}).text.splitlines()
    seen = dict(line.split("=", 1) for line in lines)
    assert seen == {
        "PATH": PROGRAM_PATH,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": "0",
        "TMPDIR": tempfile.gettempdir(),
        "EXTRA": "1",
    }
    assert "HOME" in program_environment()


def test_a_shifted_clock_is_passed_on_by_name(monkeypatch):
    monkeypatch.setenv("CLOCK", "+30d")
    monkeypatch.setenv("OTHER", "1")
    monkeypatch.setenv("BOOTSMITH_PROGRAMS_SEE", "CLOCK GONE")
    lines = run_program(["env"]).text.splitlines()
    assert "CLOCK=+30d" in lines
    assert not [line for line in lines if line.startswith(("OTHER=", "GONE=", "BOOTSMITH_"))]


def test_standard_input_is_given_or_empty_whatever_ours_is(checkout):
    assert run_program(["cat"], stdin=b"given").stdout == b"given"
    script = (
        "from bootsmith.tools.run import run_program\nprint(run_program(['cat']).stdout, input())\n"
    )
    ours = run_program([sys.executable, "-c", script], stdin=b"ours\n", cwd=checkout)
    assert ours.text == "b'' ours\n"


def test_more_than_a_pipe_holds_goes_both_ways():
    much = bytes(range(256)) * 4096
    assert run_program(["cat"], stdin=much).stdout == much


def test_a_failure_shows_status_words_and_the_command_to_replay(tmp_path):
    with pytest.raises(ToolFailed) as failure:
        run_program(["sh", "-c", "echo out; echo no room >&2; exit 3"], cwd=tmp_path)
    assert str(failure.value) == (
        "sh: exit status 3\n"
        "    no room\n"
        f"  next: replay: cd {tmp_path} && {SH} -c 'echo out; echo no room >&2; exit 3'"
    )


def test_the_replay_line_does_it_again(tmp_path):
    (tmp_path / "a b").write_text("content")
    line = replay_line(["cat", "a b"], cwd=tmp_path)
    assert run_program(["sh", "-c", line]).text == "content"


def test_a_program_that_met_a_full_disk_is_no_reason_to_replay_it():
    with pytest.raises(ToolFailed) as failure:
        run_program(["sh", "-c", "echo 'x: No space left on device' >&2; exit 1"])
    assert failure.value.hint.startswith("free some room, then run doit again; replay: ")


def test_a_program_that_was_ended_says_by_what():
    with pytest.raises(ToolFailed) as failure:
        run_program(["sh", "-c", "kill -XFSZ $$"])
    assert failure.value.message == "sh: ended by signal 25 (File size limit exceeded)"


def test_a_failure_without_error_output_shows_the_output():
    with pytest.raises(ToolFailed) as failure:
        run_program(["sh", "-c", "echo found trouble; exit 1"], hint="look there")
    assert str(failure.value) == (
        "sh: exit status 1\n"
        "    found trouble\n"
        f"  next: look there; replay: {SH} -c 'echo found trouble; exit 1'"
    )


def test_only_the_end_of_long_output_is_shown():
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1"
    with pytest.raises(ToolFailed) as failure:
        run_program(["sh", "-c", script])
    assert "line 2999\n" in failure.value.message + "\n"
    assert "line 0\n" not in failure.value.message
    assert len(failure.value.message) < 8000


def test_other_statuses_may_be_fine():
    done = run_program(["sh", "-c", "echo differs; exit 1"], accepted_statuses=(0, 1))
    assert done.text == "differs\n"


def test_a_missing_program_says_what_needs_it_and_how_to_get_it():
    with pytest.raises(ToolMissing) as failure:
        run_program(["no-such-program"], needed_by="the modloop builder")
    assert str(failure.value) == (
        "no-such-program: program not found, needed by the modloop builder; "
        f"expected an executable in {PROGRAM_PATH}\n"
        "  next: install no-such-program, or see all with: make doctor"
    )


def test_a_missing_listed_program_names_its_package(monkeypatch):
    monkeypatch.setattr("bootsmith.tools.run.PROGRAM_PATH", "/nowhere")
    with pytest.raises(ToolMissing) as failure:
        find_program("mksquashfs")
    assert str(failure.value) == (
        f"mksquashfs: program not found, needed by {catalog.purpose_of('mksquashfs')}; "
        "expected an executable in /nowhere\n"
        "  next: sudo apt-get install squashfs-tools, or see all with: make doctor"
    )


def test_programs_outside_a_users_path_are_found(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_program("sh") == SH


def test_errors_cross_process_borders_whole():
    with pytest.raises(ToolFailed) as failure:
        run_program(["false"])
    again = pickle.loads(pickle.dumps(failure.value))
    assert str(again) == str(failure.value)
    assert type(again) is ToolFailed


def is_running(process_id):
    """Whether a process is there and not just unburied."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def eventually(question):
    """Ask until the answer is yes; the kernel needs a moment to end a process."""
    for _ in range(500):
        if question():
            return True
        time.sleep(0.02)
    return False


def wait_for_text(path):
    """What a program wrote to a file, once it did."""
    assert eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return path.read_text().split()


FAMILY = "sleep 1000 & echo $$ $! > ids.partial; mv ids.partial ids; wait"


def test_a_time_out_ends_the_whole_family(tmp_path):
    with pytest.raises(ToolFailed) as failure:
        run_program(["sh", "-c", FAMILY], cwd=tmp_path, timeout_seconds=1.5)
    assert str(failure.value) == (
        "sh: did not finish within 1.5 s\n"
        f"  next: replay: {replay_line([SH, '-c', FAMILY], cwd=tmp_path)}"
    )
    for process_id in (tmp_path / "ids").read_text().split():
        assert eventually(lambda process_id=process_id: not is_running(process_id))


def test_a_server_ends_with_its_block_and_so_do_its_children(tmp_path):
    log = tmp_path / "log"
    with running_program(["sh", "-c", f"echo started; {FAMILY}"], log=log, cwd=tmp_path):
        family = wait_for_text(tmp_path / "ids")
        assert all(map(is_running, family))
    assert log.read_text() == "started\n"
    for process_id in family:
        assert eventually(lambda process_id=process_id: not is_running(process_id))


def test_children_are_asked_before_they_are_killed(tmp_path):
    child = "trap 'echo tidied > tidied; exit' TERM; echo > ready; while :; do sleep 0.05; done"
    (tmp_path / "child").write_text(child)
    with running_program(
        ["sh", "-c", "trap : TERM; sh child & wait; wait"], cwd=tmp_path
    ) as process:
        wait_for_text(tmp_path / "ready")
        assert process.poll() is None
    assert wait_for_text(tmp_path / "tidied") == ["tidied"]


def test_a_server_ends_when_its_block_fails(tmp_path):
    with (
        pytest.raises(ValueError, match=r"^trouble$"),
        running_program(["sh", "-c", FAMILY], cwd=tmp_path),
    ):
        family = wait_for_text(tmp_path / "ids")
        raise ValueError("trouble")
    for process_id in family:
        assert eventually(lambda process_id=process_id: not is_running(process_id))


def test_children_of_a_server_that_is_gone_end_too(tmp_path):
    script = "sleep 1000 & echo $! > ids.partial; mv ids.partial ids; exit 0"
    with running_program(["sh", "-c", script], cwd=tmp_path) as process:
        (child,) = wait_for_text(tmp_path / "ids")
        assert process.wait() == 0
        assert is_running(child)
    assert eventually(lambda: not is_running(child))


def test_a_descriptor_can_be_passed():
    reader, writer = os.pipe()
    with open(reader, "rb") as incoming:
        try:
            argv = ["sh", "-c", f"echo through > /dev/fd/{writer}"]
            with running_program(argv, pass_descriptors=[writer]) as process:
                process.wait()
        finally:
            os.close(writer)  # or a program that wrote nothing would be waited for
        assert incoming.read() == b"through\n"
