"""Lint, types, names, words, shell syntax: what a machine can see of style."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import house_rules
import pytest

from bootsmith.tools.run import run_program

SKIPPED_DIRECTORIES = {".git", ".venv", "artifacts", "build", "dist", "__pycache__"}


def tree_files(checkout):
    """Every file of the checkout that is ours, relative, without caches and what is generated."""
    for parent, directories, names in os.walk(checkout):
        directories[:] = sorted(
            name
            for name in directories
            if name not in SKIPPED_DIRECTORIES and not name.endswith(("_cache", ".egg-info"))
            if name != ".hypothesis"
        )
        for name in sorted(names):
            path = Path(parent, name)
            if not path.is_symlink() and not name.endswith(".partial"):
                yield path.relative_to(checkout)


def text_files(checkout):
    """(path, text) of every file that is UTF-8."""
    for path in tree_files(checkout):
        try:
            yield path, (checkout / path).read_text("utf-8")
        except UnicodeDecodeError:
            continue


def ruff(checkout, *words, stdin=None):
    """Ruff's findings, empty if there are none."""
    return run_program(
        [Path(sys.executable), "-m", "ruff", *words],
        cwd=checkout,
        stdin=stdin,
        accepted_statuses=(0, 1),
    ).text


def test_ruff_finds_nothing(checkout):
    said = ruff(checkout, "check", "--quiet", "--output-format", "concise", ".")
    house_rules.forbid(said.splitlines())


def test_ruff_would_format_nothing(checkout):
    said = ruff(checkout, "format", "--diff", "--quiet", ".")
    house_rules.forbid(said.splitlines())


@pytest.mark.parametrize(
    "text,rule",
    [
        ('"""Doc."""\n\n\ndef public() -> None:\n    pass\n', "D103"),
        ('"""Doc."""\n\n\nclass Public:\n    pass\n', "D101"),
        ("X = 1\n", "D100"),
        ('"""Doc."""\n\nimport os\n', "F401"),
        ('"""Doc."""\n\n\ndef untyped(value):\n    """Doc."""\n', "ANN001"),
        ('"""Doc."""\n\nprint(1)\n', "T201"),
    ],
)
def test_the_rules_are_on(checkout, text, rule):
    words = ("check", "--quiet", "--output-format", "concise", "--stdin-filename")
    said = ruff(checkout, *words, "bootsmith/formats/example.py", "-", stdin=text.encode())
    assert f": {rule} " in said or f": {rule}[" in said, said


def test_types_hold(checkout):
    # Not incremental: a cache that another run is writing has been seen to invent errors.
    said = run_program(
        [Path(sys.executable), "-m", "mypy", "--no-incremental", "--no-error-summary"],
        cwd=checkout,
        accepted_statuses=(0, 1),
    ).text
    house_rules.forbid(said.splitlines())


def test_a_wrong_type_is_seen(checkout, tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text('def f(x: int) -> str:\n    return x\ndef g(y): return y\nf("1")\n')
    said = run_program(
        [Path(sys.executable), "-m", "mypy", "--cache-dir", os.devnull, wrong],
        cwd=checkout,
        accepted_statuses=(0, 1),
    ).text
    assert re.findall(r"\[([a-z-]+)\]", said) == ["return-value", "no-untyped-def", "arg-type"]


def test_every_module_names_its_subject(checkout):
    paths = [path.as_posix() for path in tree_files(checkout) if path.suffix == ".py"]
    house_rules.forbid(house_rules.vague_name_violations(paths))


@pytest.mark.parametrize("path", ["bootsmith/utils.py", "tests/common/x.py"])
def test_a_vague_name_is_seen(path):
    assert house_rules.vague_name_violations([path]) == [
        f"{path}: a name that fits anything; name the one subject"
    ]


def test_no_unwanted_word(checkout):
    found = []
    for path, text in text_files(checkout):
        found += house_rules.unwanted_words(path.as_posix(), text)
    house_rules.forbid(found)


@pytest.mark.parametrize(
    "line",
    [
        "# TO" + "DO later",
        "raise NotImplemented" + "Error",
        "open('/wor" + "k/x')",
        "index = https://pypi." + "org/simple",
        "as issue " + "A says",
        "the agen" + "t wrote it",
        "/home/" + "joe/x",
    ],
)
def test_an_unwanted_word_is_seen(line):
    (breach,) = house_rules.unwanted_words("x.py", f"fine\n{line}\n")
    assert breach.startswith("x.py:2: ")


@pytest.mark.parametrize("line", ["mktemp x.XXXXXX", "ssh-agen" + "t", "network/", "/root/.ssh"])
def test_a_fine_word_is_left_alone(line):
    assert not house_rules.unwanted_words("x.py", line)


def shell_scripts(checkout):
    """Scripts for a shell, OpenRC's included."""
    return [
        path
        for path, text in text_files(checkout)
        if path.suffix == ".sh"
        or re.match(r"#!\s*\S*/(env +)?(sh|ash|dash|openrc-run)\b", text)
        or re.match(r"#!\s*\S*/busybox +(sh|ash)\b", text)
    ]


def shell_errors(path, *shell):
    """What a shell says about the syntax of a script."""
    done = run_program([*shell, "-n", path], accepted_statuses=(0, 1, 2))
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("shell", [("sh",), ("busybox", "sh")], ids=" ".join)
def test_shell_scripts_parse(checkout, shell):
    scripts = shell_scripts(checkout)
    assert Path("bootsmith/tools/setup.sh") in scripts
    said = "".join(shell_errors(checkout / path, *shell) for path in scripts)
    house_rules.forbid(said.splitlines())


def test_a_broken_script_is_seen(tmp_path):
    (tmp_path / "run").write_text("#!/sbin/openrc-run\nif true; then echo\n")
    (tmp_path / "note").write_text("if you read this\n")
    assert shell_scripts(tmp_path) == [Path("run")]
    assert "Syntax error" in shell_errors(tmp_path / "run", "sh")
