"""Arming on a head node that is another machine, over a real ssh server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ssh_servers import ADDRESS, PORT, ssh_server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")

ARM = """
import json, sys
from bootsmith.errors import BootsmithError
from bootsmith.netboot import arming

roots, words = json.loads(sys.argv[1]), sys.argv[3:]
common = {"roots": roots, "root": None, "say": print}
try:
    match sys.argv[2]:
        case "arm":
            power = {"power": False, "power_command": ()}
            arming.arm_machines(**common, **power, install=None, operands=words)
        case "disarm":
            arming.disarm_machines(**common, everything=False, operands=words)
        case "armed":
            arming.list_armed(**common, as_json=False)
except (BootsmithError, OSError) as error:
    print(error)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ssh_server(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def head(server, root, tmp_path):
    """A function: a verb and its words, over ssh; the other side runs `script` if there is one."""

    def run(*words, script=None):
        command = tmp_path / "command"
        if script is not None:
            command.write_text(f"#!/bin/sh\n{script}\n")
            command.chmod(0o755)
        key = server.key(
            f"{tmp_path.name}-{len(os.listdir(server.directory))}",
            command=str(command) if script is not None else None,
        )
        target = {
            "directory": None,
            "ssh": f"root@{ADDRESS}:{root.directory}",
            "port": PORT,
            "identity": str(key),
            "known_hosts": str(server.known_hosts),
        }
        roots = json.dumps({"usual": None, "targets": {"rack": target}})
        done = subprocess.run(
            ["env", *server.inside, sys.executable, "-c", ARM, roots, *words],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    return run


def test_machines_of_another_head_node(head, root):
    assert head("arm", "web1", "10.20.0.12") == (
        "web1 (52:54:01:02:00:01) is armed: it boots debian until it is disarmed\n"
        "web2 (52:54:01:02:00:02) is armed: it boots wipe until it is disarmed\n"
    )
    assert len(root.armed) == 6
    assert (root.directory / "armed/01-52-54-01-02-00-02").read_text() == (
        "boots wipe of 2026-11-20.1\n"
    )
    assert head("armed") == (
        "HOST  MAC                INSTALL\n"
        "web1  52:54:01:02:00:01  debian\n"
        "web2  52:54:01:02:00:02  wipe\n"
    )
    assert head("disarm", "web1") == "web1 (52:54:01:02:00:01) is disarmed\n"
    assert len(root.armed) == 3


def test_errors_name_the_other_machine(head, root):
    where = f"root@{ADDRESS}:{root.directory}"
    assert head("arm", "wep1") == (
        f"wep1: is no machine of the generation that {where} serves\n  next: the nearest is web1\n"
    )
    (root.directory / "armed").mkdir()
    (root.directory / "armed/01-52-54-01-02-00-01").write_text("by hand\n")
    assert head("arm", "web2", "web1") == (
        f"{where}/armed/01-52-54-01-02-00-01: is not a link, so it is not ours\n"
        "  next: look at it and move it away\n"
    )
    assert [*root.armed] == ["01-52-54-01-02-00-01"]


def test_what_its_disk_refuses_is_told(head, root):
    (root.directory / "armed").write_text("a file\n")
    path = f"root@{ADDRESS}:{root.directory}/armed"
    assert head("arm", "web1") == f"[Errno 20] Not a directory: '{path}'\n"


def test_a_machine_without_python(head, root):
    where = f"root@{ADDRESS}:{root.directory}"
    assert head("arm", "web1", script="exit 127") == (
        f"{where}: has no python3\n"
        "  next: install it there (apt-get install python3); the boot-default hook needs it too\n"
    )


def test_a_machine_that_answers_nonsense(head, root):
    said = head("arm", "web1", script="echo Welcome; echo 'no \033[1m JSON' >&2")
    lines = said.splitlines()
    assert lines[0] == (
        f"root@{ADDRESS}:{root.directory}: did not answer as it should; got no \\x1b[1m JSON"
    )
    assert lines[1].startswith(
        "  next: see what Python there is, and what logging in prints: ssh -p 2222 -i "
    )
    assert not (root.directory / "armed").exists()


def test_a_connection_that_breaks_changes_nothing(head, root):
    """Half of the request arrives: it is no JSON, so nothing is done."""
    said = head("arm", "web1", script='head -c 40 | sh -c "$SSH_ORIGINAL_COMMAND"')
    assert "did not answer as it should" in said
    assert not (root.directory / "armed").exists()
