"""setup.sh makes .venv once, again when something it was made from changes, and never half.

Run on a small checkout of its own, with two small packages of the real locks; that a fresh
Debian gets what it lacks is seen where `make test` runs on one.
"""

from __future__ import annotations

import os
import re
import shutil

import pytest

from bootsmith.errors import ToolFailed
from bootsmith.tools.run import run_program

pytestmark = pytest.mark.network

SMALL = {"build": "flit-core", "test": "iniconfig"}
COPIED = ("Makefile", "LICENSE", "pyproject.toml", "bootsmith/__init__.py")


def pin_of(lock, name):
    """One pin of a lock with its hashes."""
    return re.search(rf"^{name}==.*?(?=^[a-z]|\Z)", lock, flags=re.MULTILINE | re.DOTALL)[0]


@pytest.fixture
def small(checkout, tmp_path):
    """A checkout that needs little."""
    root = tmp_path / "checkout"
    (root / "bootsmith/tools").mkdir(parents=True)
    (root / "requirements").mkdir()
    for name in (*COPIED, "bootsmith/tools/setup.sh"):
        shutil.copy(checkout / name, root / name)
    (root / "bootsmith/tools/debian-packages.txt").write_text("dash | build | sh | all\n")
    for group, name in SMALL.items():
        lock = (checkout / f"requirements/{group}.lock").read_text("utf-8")
        (root / f"requirements/{group}.lock").write_text(pin_of(lock, name))
    return root


def set_up(root, group="build", **environment):
    """What set-up says, without pip's own remarks; the caller's pip configuration holds."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name == "HOME" or name.startswith(("PIP_", "SSL_")) or name.lower().endswith("_proxy")
    }
    script = root / "bootsmith/tools/setup.sh"
    said = run_program(["sh", script, group], environment={**passed, **environment}).stderr
    return [
        line.removeprefix("setup: ")
        for line in said.decode().splitlines()
        if line.startswith("setup: ")
    ]


MADE = ["making .venv", "installing the Python packages of requirements/build.lock", "done"]
ADDED = ["installing the Python packages of requirements/test.lock", "done"]
MADE_WITH_TEST = [*MADE[:-1], *ADDED]


def packages(root):
    """Names in .venv itself, whatever the system has."""
    return {
        path.name.partition("-")[0]
        for path in (root / ".venv").glob("lib/python3*/site-packages/*.dist-info")
    }


# Making .venv takes seconds, so each of these goes through several steps with one.


def test_it_is_made_once_and_tests_are_a_layer_on_top(small, tmp_path):
    assert set_up(small) == MADE
    assert {"flit_core", "bootsmith"} <= packages(small)
    asked = "import bootsmith; print(bootsmith.__file__)"
    said = run_program(["env", small / ".venv/bin/python", "-c", asked], cwd=tmp_path)
    assert said.text == f"{small}/bootsmith/__init__.py\n"
    assert set_up(small) == []

    # What it was not made from does not matter, nor do times.
    with open(small / "pyproject.toml", "a") as project:
        project.write("\n[tool.other]\nx = 1\n")
    (small / "bootsmith/other.py").write_text("")
    os.utime(small / "requirements/build.lock")
    assert set_up(small) == []

    assert set_up(small, "test") == ADDED
    assert {"flit_core", "bootsmith", "iniconfig"} <= packages(small)
    assert set_up(small, "test") == []
    assert set_up(small, "build") == []


def test_an_interrupted_one_is_made_again_and_so_is_a_moved_one(small):
    (small / ".venv/lib").mkdir(parents=True)
    leftover = small / ".venv/lib/leftover"
    leftover.write_text("half")  # and no record: that is written last
    assert set_up(small) == MADE
    assert not leftover.exists()

    moved = small.with_name("moved")
    small.rename(moved)
    assert set_up(moved) == MADE

    (moved / ".venv/bin/python").unlink()
    assert set_up(moved) == MADE


def test_a_changed_lock_makes_it_again_with_its_tests(small):
    assert set_up(small, "test") == MADE_WITH_TEST
    with open(small / "requirements/build.lock", "a") as lock:
        lock.write("# changed\n")
    assert set_up(small, "build") == MADE_WITH_TEST
    with open(small / "requirements/test.lock", "a") as lock:
        lock.write("# changed\n")
    assert set_up(small, "build") == []
    assert set_up(small, "test") == MADE_WITH_TEST


def test_the_callers_python_settings_lead_nowhere_else(small, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    settings = {"PIP_TARGET": str(elsewhere), "PIP_USER": "1", "PYTHONHOME": "/nowhere"}
    assert set_up(small, **settings) == MADE
    assert not elsewhere.exists()
    assert "flit_core" in packages(small)


def test_a_wrong_hash_is_refused_and_nothing_is_recorded(small):
    lock = small / "requirements/build.lock"
    lock.write_text(re.sub(r"[0-9a-f]{64}", "0" * 64, lock.read_text()))
    with pytest.raises(ToolFailed) as failure:
        set_up(small)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in failure.value.problem
    assert "setup: pip could not install what requirements/build.lock names" in str(failure.value)
    assert not (small / ".venv/bootsmith-setup").exists()


def test_directories_are_made(small, tmp_path):
    with open(small / "bootsmith/tools/debian-packages.txt", "a") as listed:
        listed.write(f"libc6 | test | directory:{tmp_path}/for/tests | tests\n")
    assert set_up(small) == MADE
    assert not (tmp_path / "for").exists()
    set_up(small, "test")
    assert (tmp_path / "for/tests").is_dir()


def test_without_root_and_sudo_it_says_what_to_do(small, tmp_path):
    with open(small / "bootsmith/tools/debian-packages.txt", "a") as listed:
        listed.write("no-such-package | build | x | nothing\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in "awk dirname dpkg-query flock sh tr wc".split():
        (programs / name).symlink_to(shutil.which(name))
    (programs / "id").write_text("#!/bin/sh\necho 1000\n")
    (programs / "id").chmod(0o755)
    with pytest.raises(ToolFailed) as failure:
        set_up(small, PATH=str(programs))
    assert (
        "    setup: Debian packages are missing, and there is neither root nor sudo to install "
        "them\n"
        "      next: as root: apt-get install --no-install-recommends no-such-package"
    ) in str(failure.value)
    assert not (small / ".venv").exists()


@pytest.mark.parametrize("words", [[], ["both"], ["build", "test"]])
def test_wrong_words_are_told_the_right_ones(small, words):
    with pytest.raises(ToolFailed) as failure:
        run_program(["sh", small / "bootsmith/tools/setup.sh", *words])
    assert "exit status 2\n    usage: setup.sh build|test|bench\n" in str(failure.value)
