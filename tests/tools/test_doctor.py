"""The doctor's table, its advice and its exit status."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bootsmith.tools import catalog, doctor
from bootsmith.tools.run import run_program

SH = catalog.DebianPackage(
    name="dash", group="build", used=("sh", "service:sh"), reason="everything"
)
NONE = catalog.DebianPackage(
    name="none", group="build", used=("no-such-program", "/no/such/file"), reason="the moon"
)
NONE_TEST = catalog.DebianPackage(
    name="none-test", group="test", used=("python:no_such_module",), reason="tests"
)


def findings(*packages, versions=None):
    return doctor.examine_debian(packages, {"dash": "0.5.12-2"} if versions is None else versions)


def test_what_is_used_of_a_package_is_looked_for():
    found = findings(SH, NONE, NONE_TEST)
    assert [(one.name, one.found, one.group, one.is_good) for one in found] == [
        ("sh", "0.5.12-2", "build", True),
        ("no-such-program", None, "build", False),
        ("/no/such/file", None, "build", False),
        ("python:no_such_module", None, "test", False),
    ]


def test_a_package_without_its_program_is_missing():
    (found,) = findings(
        catalog.DebianPackage(name="dash", group="build", used=("gone",), reason="x")
    )
    assert found.found is None


def test_a_program_that_is_not_debians_is_shown_by_its_path():
    (found,) = findings(SH, versions={})
    assert found.found.endswith("/sh")
    assert found.is_good


def test_a_python_package_is_compared_with_its_lock():
    def examined(name, version):
        package = catalog.PythonPackage(name=name, group="build", version=version, reason="x")
        (found,) = doctor.examine_python([package])
        return found

    installed = examined("pytest", "1").found
    assert examined("pytest", installed).is_good
    assert examined("pytest", "1").trouble == "locked: 1"
    assert not examined("pytest", "1").is_good
    assert examined("no-such-package", "1").found is None


def test_the_table_is_aligned():
    lines = doctor.render("program", findings(SH, NONE, NONE_TEST), color=False)
    assert lines == [
        "    program                found     for    comes with  needed by",
        "ok  sh                     0.5.12-2  build  dash        everything",
        "--  no-such-program        missing   build  none        the moon",
        "--  /no/such/file          missing   build  none        the moon",
        "--  python:no_such_module  missing   test   none-test   tests",
    ]


def test_colors_change_no_width():
    plain = doctor.render("program", findings(SH, NONE, NONE_TEST), color=False)
    painted = doctor.render("program", findings(SH, NONE, NONE_TEST), color=True)
    for code in ("\033[31m", "\033[32m", "\033[33m", "\033[1m"):
        assert code in "".join(painted)
        painted = [line.replace(code, "").replace("\033[0m", "") for line in painted]
    assert painted == plain


def test_all_there():
    assert doctor.conclude(findings(SH), []) == (0, ["Everything is here."])


def test_something_missing_for_building():
    assert doctor.conclude(findings(SH, NONE, NONE_TEST), []) == (
        1,
        [
            "Building needs: no-such-program, /no/such/file",
            "  next: make setup",
            "Only testing needs: python:no_such_module",
            "  next: make test, which installs them first",
            "  or by hand: sudo apt-get install --no-install-recommends none none-test",
        ],
    )


def test_something_missing_for_testing_only():
    status, advice = doctor.conclude(findings(SH, NONE_TEST), [])
    assert status == 0
    assert advice[0] == "Only testing needs: python:no_such_module"


@pytest.mark.parametrize("python", [sys.executable, "/usr/bin/python3"])
def test_it_answers_with_and_without_the_environment(checkout, python):
    """Before set-up there is only the system's interpreter, and no library of ours."""
    done = run_program(
        [Path(python), "-m", "bootsmith.tools.doctor"],
        cwd=checkout,
        accepted_statuses=(0, 1),
        needed_by="make doctor",
    )
    assert "mksquashfs " in done.text
    assert "\033[" not in done.text
    assert done.stderr == b""
