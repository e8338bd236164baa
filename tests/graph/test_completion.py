"""What Tab offers, through the module and through a real bash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_command_line import PIN, PRUNE, TASKS

from bootsmith.completion import candidates, names_below
from bootsmith.graph.verb import Option, Verb

CHECKOUT = Path(__file__).parents[2]
SCRIPT = CHECKOUT / "contrib/completion/doit.bash"
BACK = Verb(
    name="rollback", summary="back", call="m:f", examples=("doit rollback",), operands="[ID]",
    completes="generation",
    options=(Option(name="to", about="where", placeholder="ID", completes="generation"),),
)  # fmt: skip
ARM = Verb(
    name="arm", summary="arm", call="m:f", examples=("doit arm x",), operands="HOST...",
    completes="host",
)  # fmt: skip


@pytest.fixture
def root(tmp_path):
    (tmp_path / "artifacts/generations/2026-11-20.1").mkdir(parents=True)
    (tmp_path / "artifacts/generations/latest").symlink_to("2026-11-20.1")
    (tmp_path / "artifacts/build/inventory").mkdir(parents=True)
    (tmp_path / "artifacts/build/inventory/inventory.jsonl").write_text(
        '{"schema":1}\n{"host":{"mac":"aa","name":"web1"}}\n{"host":{"mac":"ab","name":"db1"}}\n'
    )
    return tmp_path


def offered(root, *words):
    named = names_below(root, {"template": ("default", "web")})
    return candidates(words, tasks=TASKS, verbs=(PRUNE, PIN, BACK, ARM), named=named)


@pytest.mark.parametrize(
    "words,expected",
    [
        (("p",), ["pin", "prune", "pxerd", "pxerd:lts"]),
        (("pxerd:",), ["pxerd:lts"]),
        (("build", "pxerd:l"), ["pxerd:lts"]),
        (("rollback", ""), ["2026-11-20.1", "candidate", "current", "latest"]),
        (("rollback", "--to", "2"), ["2026-11-20.1"]),
        (("rollback", "-"), ["--help", "--to"]),
        (("prune", "--k"), ["--keep"]),
        (("prune", "--keep", ""), []),
        (("arm", ""), ["db1", "web1"]),
        (("arm", "web1", "d"), ["db1"]),
        (("--q",), ["--quiet"]),
        (("--quiet", "bu"), ["build"]),
        (("zz",), []),
        (("explain", "overlays/d"), []),
        (("list", "--"), ["--all", "--help"]),
    ],
    ids=str,
)
def test_what_is_offered(root, words, expected):
    assert offered(root, *words) == expected


def test_a_site_with_nothing_built_offers_no_names(tmp_path):
    assert offered(tmp_path, "arm", "") == []
    assert offered(tmp_path, "pin", "2") == []


def in_bash(root, line, *, doit):
    """COMPREPLY of a real bash for a line with the cursor at its end."""
    return subprocess.run(
        [
            "bash", "--norc", "-c",
            'cd "$2"; . "$1"; COMP_LINE=$3 COMP_POINT=${#3}; _bootsmith_doit; '
            'printf "%s\\n" "${COMPREPLY[@]}"',
            "bash", SCRIPT, root, f"{doit} {line}",
        ],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip


def test_bash_asks_and_takes_colons_into_account(root):
    doit = root / "doit"
    doit.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$*" >>asked\n'
        'case $* in *lain*) echo;; *pxe*) printf "pxerd:lts\\npxerd:virt\\n";;\n'
        "*) echo build;; esac\n"
    )
    doit.chmod(0o755)
    assert in_bash(root, "bu", doit=doit) == []  # no site here
    (root / "dodo.py").write_text("")
    assert in_bash(root, "bu", doit=doit) == ["build"]
    assert in_bash(root, "build pxerd:", doit=doit) == ["lts", "virt"]
    in_bash(root, "arm ", doit=doit)
    assert in_bash(root, "explain rec", doit=doit) == []  # an empty word would end this one
    assert (root / "asked").read_text().splitlines() == [
        "__complete bu",
        "__complete build pxerd:",
        "__complete arm ",
        "__complete explain rec",
    ]


def test_the_whole_way_on_a_real_site(tmp_path):
    for name in ("dodo.py", "recipes", "overlays"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    doit = tmp_path / "doit"
    doit.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(CHECKOUT)!r})\n"
        "from bootsmith.front import main\n"
        "main()\n"
    )

    def said(*line):
        run = subprocess.run(
            [sys.executable, doit, "__complete", *line],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return run.stdout.split()

    assert "usbkey:default" in said("build", "usbk")
    assert said("roll") == ["rollback"]
    assert "build" in said("")
    assert {"standin-lts", "standin-virt"} <= {*said("why", "")}
    assert said("new", "") == ["host", "release", "template"]
    assert "lxc-repo" in said("new", "host", "x", "--template", "l")
