"""doit release, really run: what is not proven is booted, and only then current moves.

The site is tiny and real; in QEMU's place stands a program that reports as a guest would,
or panics, and notes what was current while it "booted". Real boots are tests/shipped's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutation_site import Disc, write_site

from bootsmith.site.scenarios import SCENARIOS
from bootsmith.tools.run import PROGRAM_PATH, run_program

DODO = """
import os
from pathlib import Path

import bootsmith.tools.run

bootsmith.tools.run.PROGRAM_PATH = os.environ["TEST_PROGRAM_PATH"]

from bootsmith.doit_bridge import doit_config, site_tasks

ROOT = Path(__file__).resolve().parent
DOIT_CONFIG = doit_config(ROOT)


def task_site():
    yield from site_tasks(ROOT)
"""
# Reads its orders and writes its log beside itself: programs get no environment of ours.
GUEST = """#!{python}
import os, re, sys, time
from pathlib import Path

here = Path(__file__).parent
words = " ".join(sys.argv)
if "--version" in words:
    sys.exit(print("QEMU emulator version 7.2.22"))
nonce = re.search(r"bootsmith[-_](?:nonce=)?([0-9a-f]{{16}})", words)[1]
artifacts, template = re.search(r"file=(\\S+)/generations/\\S+/usbkey/(\\w+)/", words).groups()
current = Path(artifacts, "current")
with open(here / "boots", "a") as log:
    log.write(f"{{template}} {{os.readlink(current) if current.exists() else None}}\\n")
kernel = {{"alpha": "6.6.7-0-virt", "beta": "6.6.7-0-lts"}}[template]
with open(re.search(r"id=console,path=(\\S+?)(?:$| )", words)[1], "w") as console:
    if template in (here / "panics").read_text().split():
        print("Kernel panic - not syncing: no init found", file=console)
    else:
        print(f"bootsmith-report nonce={{nonce}} template={{template}} hostname=h "
              f"runlevel=default kernel={{kernel}} modloop=/media/x modules=1 end", file=console)
time.sleep(600)
"""
EVERY_ROW = {row.name for row in SCENARIOS if row.medium == "key"}  # unless asked for
OF_BETA = {"key-usb-bios", "key-usb-beside-disk"}  # the one for hardware
OF_ALPHA = EVERY_ROW - OF_BETA


class Fleet:
    """A site, the programs it finds, and what its guests did."""

    def __init__(self, root: Path, programs: Path) -> None:
        self.root = root
        self.artifacts = root / "artifacts"
        self.guest = root / "guest"
        self.has_qemu = True
        self._programs = programs

    def doit(self, *words):
        places = [self.guest] * self.has_qemu + [self._programs]
        return subprocess.run(
            [sys.executable, "-m", "doit", *words],
            cwd=self.root,
            env={**os.environ, "TEST_PROGRAM_PATH": ":".join(map(str, places))},
            capture_output=True,
            text=True,
            check=False,
        )

    def boots(self):
        """What booted since the last call: template and the `current` of that moment."""
        log = self.guest / "boots"
        found = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    def panic(self, *templates):
        (self.guest / "panics").write_text(" ".join(templates))

    def current(self):
        link = self.artifacts / "current"
        return os.readlink(link) if link.is_symlink() else None

    def gates(self):
        lines = (self.artifacts / "history.jsonl").read_text().splitlines()
        return [(line["to"], line["gate"]) for line in map(json.loads, lines)]

    def use_gate(self, gate, smoke=""):
        recipe = self.root / "recipes/site.toml"
        text = recipe.read_text().replace('gate = "checks"', f'gate = "{gate}"')
        recipe.write_text(text.replace("[smoke]", f"[smoke]\n{smoke}"))


def done(run):
    """Labels of the steps that ran."""
    return {line.split()[1] for line in run.stderr.splitlines() if line.startswith("built ")}


def proofs(names):
    return {f"proof:{name}" for name in names}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """All of this machine's programs but QEMU."""
    directory = tmp_path_factory.mktemp("programs")
    for place in PROGRAM_PATH.split(":"):
        for path in Path(place).glob("*"):
            if not path.name.startswith("qemu") and not (directory / path.name).is_symlink():
                (directory / path.name).symlink_to(path)
    return directory


@pytest.fixture(scope="module")
def built(tmp_path_factory, programs):
    """The tiny site, built and promoted under gate checks; nothing was booted yet."""
    directory = tmp_path_factory.mktemp("release")
    (directory / "site").mkdir()
    root = write_site(directory / "site", Disc(directory / "disc")).root
    (root / "dodo.py").write_text(DODO)
    (root / "guest").mkdir()
    (root / "guest/qemu-system-x86_64").write_text(GUEST.format(python=sys.executable))
    (root / "guest/qemu-system-x86_64").chmod(0o755)
    fleet = Fleet(root, programs)
    fleet.panic()
    run = fleet.doit("build")
    assert run.returncode == 0, run.stderr
    assert fleet.boots() == []
    return root


@pytest.fixture
def fleet(built, tmp_path, programs):
    run_program(["cp", "-a", built, tmp_path / "site"])
    return Fleet(tmp_path / "site", programs)


def change_alpha(fleet, text="changed\n"):
    (fleet.root / "overlays/alpha/etc/issue").write_text(text)


def test_a_release_boots_then_promotes_and_a_second_does_nothing(fleet):
    first = fleet.current()
    change_alpha(fleet)
    run = fleet.doit("release")
    assert run.returncode == 0, run.stderr
    assert {"apkovl:alpha", "usbkey:alpha", "generation", "release"} < done(run)
    assert done(run) & proofs(EVERY_ROW) == proofs(EVERY_ROW)
    assert "promote" not in done(run)
    boots = fleet.boots()
    assert sorted(template for template, _ in boots) == ["alpha"] * 3 + ["beta"] * 2
    assert {current for _, current in boots} == {first}, "promoted before the boots"
    assert fleet.current() != first
    identifier = Path(fleet.current()).name
    assert fleet.gates()[-1] == (identifier, "boot")
    kept = {path.parent.name for path in fleet.artifacts.glob(f"evidence/{identifier}/*/*.json")}
    assert kept == EVERY_ROW

    again = fleet.doit("release")
    assert (again.returncode, done(again), fleet.boots()) == (0, set(), [])
    assert again.stderr.startswith("0 built, ")
    explained = fleet.doit("explain", "release")
    assert explained.stdout == "release: up to date\n"


def test_only_changed_bytes_are_booted_again(fleet):
    assert fleet.doit("release").returncode == 0
    first = Path(fleet.current()).name
    fleet.boots()
    change_alpha(fleet)
    explained = fleet.doit("explain", "release").stdout
    assert "release: would be done\n" in explained
    assert "    input artifacts/build/proof/key-uefi.json: may change, proof:key-uefi " in explained
    assert fleet.doit("release").returncode == 0
    assert [template for template, _ in fleet.boots()] == ["alpha"] * 3
    second = Path(fleet.current()).name
    record = json.loads((fleet.artifacts / "build/release.json").read_bytes())
    booted = dict.fromkeys(OF_BETA, first) | dict.fromkeys(OF_ALPHA, second)
    assert (record["id"], record["gate"], record["booted"]) == (second, "boot", booted)
    # Back to what has booted before: a third generation, and nothing left to prove.
    change_alpha(fleet, "alpha\n")
    assert fleet.doit("release").returncode == 0
    assert fleet.boots() == []
    assert Path(fleet.current()).name not in (first, second)


def test_a_guest_that_fails_leaves_current_and_is_tried_again(fleet):
    first = fleet.current()
    fleet.panic("alpha")
    change_alpha(fleet)
    run = fleet.doit("release")
    assert run.returncode == 2
    identifier = os.readlink(fleet.artifacts / "candidate").rpartition("/")[2]
    (failed,) = [line for line in run.stderr.splitlines() if line.startswith("FAILED ")]
    scenario = failed.removeprefix("FAILED proof:")
    assert scenario in OF_ALPHA
    assert f"smoke {scenario}: the kernel panicked: no init found\n" in run.stderr
    assert f"log: artifacts/evidence/{identifier}/{scenario}/console.log\n" in run.stderr
    assert "Traceback" not in run.stderr
    name = Path(first).name
    closing = f"; current is {name}, candidate is {identifier} (next: doit release)\n"
    assert run.stderr.endswith(closing)
    assert fleet.current() == first
    assert not (fleet.artifacts / "build/release.json").exists()

    again = fleet.doit("release")  # nothing changed: a failure is not remembered as done
    assert again.returncode == 2
    assert "FAILED proof:" in again.stderr
    fleet.panic()
    assert fleet.doit("release").returncode == 0
    # Two boots of alpha failed, three went well; what had booted was not booted again.
    assert sorted(template for template, _ in fleet.boots()) == ["alpha"] * 5 + ["beta"] * 2
    assert fleet.current() == f"generations/{identifier}"
    assert not (fleet.artifacts / "candidate").is_symlink()


def test_under_gate_boot_a_build_makes_a_candidate(fleet):
    first = fleet.current()
    fleet.use_gate("boot", 'scenarios = ["key-uefi", "key-usb-bios"]')
    change_alpha(fleet)
    run = fleet.doit("build")
    assert run.returncode == 0
    assert "promote" not in done(run)
    assert fleet.boots() == []
    identifier = os.readlink(fleet.artifacts / "candidate").rpartition("/")[2]
    assert run.stderr.endswith(f"candidate is {identifier} (next: doit release)\n")

    refused = fleet.doit("promote")
    assert refused.returncode == 2
    assert (
        f"FAILED promote\ngeneration {identifier}: key-uefi is not proven to boot: "
    ) in refused.stderr
    assert "\n  next: boot what is not proven: doit release\n" in refused.stderr
    assert fleet.current() == first

    assert fleet.doit("smoke").returncode == 0
    assert sorted(template for template, _ in fleet.boots()) == ["alpha", "beta"]
    assert fleet.doit("promote").returncode == 0
    assert fleet.current() == f"generations/{identifier}"
    assert fleet.boots() == []
    assert fleet.gates()[-1] == (identifier, "boot")
    assert fleet.doit("release").returncode == 0
    assert fleet.boots() == []


def test_a_boot_that_fails_later_takes_the_proof_back(fleet):
    """The newest boot of the same bytes counts, also against an older one that went well."""
    assert fleet.doit("release").returncode == 0
    fleet.panic("beta")
    assert fleet.doit("smoke:key-usb-bios").returncode == 2
    first = fleet.current()
    fleet.boots()
    change_alpha(fleet)
    run = fleet.doit("release")
    assert run.returncode == 2
    assert "FAILED proof:key-usb-bios\n" in run.stderr
    assert "beta" in [template for template, _ in fleet.boots()]
    assert fleet.current() == first


def test_without_qemu_nothing_is_promoted(fleet):
    first = fleet.current()
    change_alpha(fleet)
    fleet.has_qemu = False
    run = fleet.doit("release")
    assert run.returncode == 2
    assert run.stderr.count("FAILED ") == 1
    assert "qemu-system-x86_64: program not found, needed by " in run.stderr
    assert "make doctor" in run.stderr
    assert fleet.current() == first
    fleet.has_qemu = True
    assert fleet.doit("release").returncode == 0


def test_two_boots_at_once(fleet):
    first = fleet.current()
    change_alpha(fleet)
    run = fleet.doit("run", "-n", "2", "release")
    assert run.returncode == 0, run.stderr
    boots = fleet.boots()
    assert (len(boots), {current for _, current in boots}) == (5, {first})
    assert fleet.current() != first


def test_what_was_rolled_back_from_is_not_released_again(fleet):
    change_alpha(fleet)
    assert fleet.doit("release").returncode == 0
    assert fleet.doit("rollback").returncode == 0
    back = fleet.current()
    for verb in ("build", "release"):
        run = fleet.doit(verb)
        assert run.returncode == 0
        assert f"; current is {Path(back).name}, rolled back from " in run.stderr
        assert fleet.current() == back
    change_alpha(fleet, "better\n")
    assert fleet.doit("release").returncode == 0
    assert fleet.current() != back


def test_what_was_rolled_back_from_before_it_was_booted(fleet):
    """A release of it fails, its boots count, and going forward is put on record as proven."""
    change_alpha(fleet)
    assert fleet.doit("build").returncode == 0
    assert fleet.doit("rollback").returncode == 0
    back, left = fleet.current(), os.readlink(fleet.artifacts / "generations/latest")
    run = fleet.doit("release")
    assert run.returncode == 2
    assert (
        f"FAILED release\n{left}: is held back: current stays {Path(back).name}, "
        f"rolled back from {left}\n  next: to go forward again: doit rollback --to {left}, "
    ) in run.stderr
    assert fleet.current() == back
    assert fleet.doit("rollback", "--to", left).returncode == 0
    fleet.boots()
    assert fleet.doit("release").returncode == 0
    assert fleet.boots() == []
    assert fleet.gates()[-1] == (left, "boot")
