"""Words of a command line, before doit sees them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bootsmith.command_line import early_answer
from bootsmith.errors import PublishError
from bootsmith.graph.layout import Layout
from bootsmith.graph.registry import plan_site
from bootsmith.graph.verb import Option, Verb
from bootsmith.graph.verbs import plan_site_verbs, plan_verbs
from bootsmith.overview import OVERVIEW, seen_to
from bootsmith.site.loader import load_site

CHECKOUT = Path(__file__).parents[2]

PRUNE = Verb(
    name="prune",
    summary="remove old generations",
    call="m:f",
    examples=("doit prune",),
    options=(Option(name="keep", about="how many", whole_number=True, placeholder="N"),),
)
PIN = Verb(name="pin", summary="keep", call="m:f", examples=("doit pin ID",), operands="ID...")
TASKS = {"build": "build everything", "pxerd": "", "pxerd:lts": "an initramfs", "prune": ""}
FILES = {"artifacts/build/pxerd/lts/pxerd-lts"}


def answer(line):
    return early_answer(["doit", *line.split()], tasks=TASKS, files=FILES, verbs=(PRUNE, PIN))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "build",
        "run build",
        "-n 2 build pxerd:lts",
        "-n 2 -P thread",
        "lock=fail build",
        "build lock=fail",
        "pxerd:*",
        "artifacts/build/pxerd/lts/pxerd-lts",
        "list --all pxerd",
        "clean pxerd:lts",
        "help task",
        "prune --keep 3",
        "pin 2026-11-21.1 2026-11-21.2",
        "explain nothing-at-all",
        "build prune",
    ],
)
def test_what_leads_somewhere_is_left_to_doit(line):
    assert answer(line) is None


@pytest.mark.parametrize(
    "line,said",
    [
        ("build --help", "build everything"),
        ("pxerd:lts -h", "an initramfs"),
        ("prune --help", "usage: doit prune [--keep N]"),
        ("explain --help", "usage: doit explain"),
        ("pin --help", "usage: doit pin ID..."),
    ],
)
def test_help_that_was_asked_for(line, said):
    assert said in answer(line)


@pytest.mark.parametrize(
    "line,said",
    [
        ("buld", "did you mean: doit build"),
        ("pxerd:ltss", "did you mean: doit pxerd:lts"),
        ("build pxerd:ltss", "pxerd:ltss: is neither"),
        ("zzzzzz", "doit list --all shows what there is"),
        ("nothing:*", "is neither a command nor a step"),
        ("build -n 2", "options of a run stand before the name"),
        ("list nonsense", "nonsense: is neither"),
        ("clean pxerd:ltss", "did you mean: doit pxerd:lts"),
        ("prune --kep 2", "option --kep not recognized"),
        ("prune --keep", "requires argument"),
        ("prune --keep x", "expected a whole number, got x"),
        ("prune 2026-11-21.1", "takes no words; got 2026-11-21.1"),
    ],
)
def test_words_that_lead_nowhere(line, said):
    with pytest.raises(PublishError) as caught:
        answer(line)
    assert said in str(caught.value)
    assert caught.value.hint


ROWS = ("netboot-two", "netboot-prefix", "netboot-kea", "netboot-ipxe-http", "nfs-v3", "key-uefi")


@pytest.mark.parametrize(
    "word,said",
    [
        ("smoke:netboot-", "doit 'smoke:netboot-*', which is smoke:netboot-two, "
         "smoke:netboot-prefix, smoke:netboot-kea and 1 more"),
        ("smoke:netbot-", "doit 'smoke:netboot-*', which is smoke:netboot-two, "
         "smoke:netboot-prefix, smoke:netboot-kea and 1 more"),
        ("smoke:netboot", "doit 'smoke:netboot*', which is smoke:netboot-two, "
         "smoke:netboot-prefix, smoke:netboot-kea and 1 more"),
        ("smoke:netbot-*", "doit 'smoke:netboot-*', which is smoke:netboot-two, "
         "smoke:netboot-prefix, smoke:netboot-kea and 1 more"),
        ("smoke:n", "doit 'smoke:n*', which is smoke:netboot-two, smoke:netboot-prefix, "
         "smoke:netboot-kea and 2 more"),
        ("smoke:key", "doit smoke:key-uefi"),
        ("smoke:netbot-kae", "doit smoke:netboot-kea"),
        ("smoke:", "doit smoke"),
        ("smok:", "doit smoke"),
    ],
)  # fmt: skip
def test_rows_that_begin_alike(word, said):
    tasks = {"smoke": "", **{f"smoke:{row}": "" for row in ROWS}, "build": ""}
    with pytest.raises(PublishError) as caught:
        early_answer(["doit", word], tasks=tasks, files=(), verbs=())
    assert caught.value.hint == f"did you mean: {said}"


@pytest.mark.parametrize(
    "line,seen",
    [
        ("build", "build"),
        ("-n 2 build", "-n 2 build"),
        ("lock=fail -n2 -v 1 build", "lock=fail -n2 -v 1 build"),
        ("run --process=2 build", "run --process=2 build"),
        ("list --all -q pxerd", "list --all -q pxerd"),
        ("clean -n --clean-all", "clean -n --clean-all"),
        ("help strace", "help strace"),
        ("info usbkey:x", "explain usbkey:x"),
        ("help build", "build --help"),
        ("help biuld", "biuld --help"),
        ("-h prune", "prune --help"),
        ("prune --keep x", "prune --keep x"),
    ],
)
def test_what_doit_is_given(line, seen):
    assert seen_to(line.split(), is_site=True) == seen.split()


@pytest.mark.parametrize(
    "line,said",
    [
        ("--version", "bootsmith 0."),
        ("list --help", "usage: doit list"),
        ("help list", "usage: doit list"),
        ("clean -h", "usage: doit clean"),
        ("help forget", "without effect here"),
        ("dumpdb", "without effect here"),
        ("forget pxerd:lts", "without effect here"),
    ],
)
def test_what_is_answered_at_once(line, said):
    assert said in seen_to(line.split(), is_site=False)


@pytest.mark.parametrize("line", ["list -s", "list --all --status"])
def test_doit_does_not_know_what_is_stale(line):
    with pytest.raises(PublishError, match="does not know what is stale"):
        seen_to(line.split(), is_site=True)


@pytest.mark.parametrize("line", ["help", "-h", "--help", "help help", "help run", "run --help"])
def test_the_overview(line, monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    assert seen_to(line.split(), is_site=False) == OVERVIEW


@pytest.mark.parametrize(
    "line,said",
    [
        ("-n x build", "doit -n: bad value; expected how many steps to do at once, got x"),
        ("--process=-1 build", "doit --process: bad value"),
        ("-n", "doit: option -n requires argument\n  next: doit help shows the options"),
        ("-x build", "doit: option -x not recognized\n  next: doit help shows the options"),
        ("--nonsense build", "doit: option --nonsense not recognized"),
        ("list --json", "doit list: --json is no option of it\n  next: doit list --help"),
        ("clean", "doit clean: what of?; expected steps, or --clean-all"),
    ],
)
def test_options_before_a_name_that_are_none(line, said):
    with pytest.raises(PublishError) as caught:
        seen_to(line.split(), is_site=True)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("line", ["", "build", "list", "-n 2"])
def test_where_there_is_no_site(line):
    with pytest.raises(PublishError, match="there is no site in this directory"):
        seen_to(line.split(), is_site=False)
    assert seen_to(["-f", "elsewhere.py", *line.split()], is_site=False)[0] == "-f"


def test_the_overview_names_every_command():
    site = load_site(CHECKOUT)
    layout = Layout(CHECKOUT)
    steps, groups = plan_site(site, layout)
    verbs = (*plan_verbs(layout, site), *plan_site_verbs(site, layout, steps))
    names = [*(verb.name for verb in verbs), *(group.name for group in groups if group.name)]
    missing = {name for name in names if not re.search(rf"doit {name}\b", OVERVIEW)}
    assert missing == set()
    assert max(map(len, OVERVIEW.splitlines())) <= 100


def test_help_is_given_without_a_site_or_doit(tmp_path):
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from bootsmith.front import main; sys.argv = ['doit', *sys.argv[1:]]; "
            "status = main(); assert 'doit' not in sys.modules; sys.exit(status)",
            "--help",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    # A site of one's own has no docs/.
    assert run.stdout == f"{OVERVIEW}\ndocs/ is below {CHECKOUT}\n"
