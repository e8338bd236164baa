"""A step is done again exactly when something that decides its bytes has changed."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from bootsmith.errors import BuildError, SourceError
from bootsmith.graph.execute import Executor
from bootsmith.graph.layout import Layout
from bootsmith.graph.step import Input, Output, Scratch, Step, Tree

HERE = str(Path(__file__).parent)


def quiet(message: str, done: int, total: int | None) -> None:
    """No one is watching."""


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    (tmp_path / "source").write_text("one")
    (tmp_path / "tree/etc").mkdir(parents=True)
    (tmp_path / "tree/etc/motd").write_text("hello")
    return tmp_path


def upper_step(root, **arguments):
    return Step(
        kind="upper",
        name="a",
        summary="",
        builder="sample_builders:build_upper",
        arguments={
            "source": Input(root / "source"),
            "output": Output(root / "artifacts/build/upper"),
            **arguments,
        },
    )


def tree_step(root):
    return Step(
        kind="listing",
        summary="",
        builder="sample_builders:build_listing",
        arguments={"tree": Tree(root / "tree"), "output": Output(root / "artifacts/build/list")},
    )


def done_once(root, step):
    executor = Executor(Layout(root), [step])
    executor.execute(step, quiet)
    executor.close()
    return executor


def test_done_then_done(site):
    step = upper_step(site)
    executor = done_once(site, step)
    assert executor.reasons(step) == []
    assert (site / "artifacts/build/upper").read_text() == "ONE"


def test_a_new_process_remembers(site):
    step = upper_step(site)
    done_once(site, step)
    assert Executor(Layout(site), [step]).is_done(step)


def test_never_done_says_so(site):
    step = upper_step(site)
    assert Executor(Layout(site), [step]).reasons(step) == ["never finished here"]


def edit_keeping_mtime(path):
    status = path.stat()
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "change,subject",
    [
        (lambda root: edit_keeping_mtime(root / "source"), "input source"),
        (lambda root: (root / "source").chmod(0o600), "input source"),
        (lambda root: (root / "artifacts/build/upper").write_text("ONe"), "output"),
        (lambda root: (root / "artifacts/build/upper").write_text(""), "output"),
        (lambda root: (root / "artifacts/build/upper").unlink(), "output"),
        (lambda root: (root / "artifacts/build/upper").chmod(0o600), "output"),
    ],
)
def test_a_change_is_a_reason(site, change, subject):
    step = upper_step(site)
    executor = done_once(site, step)
    change(site)
    reasons = executor.reasons(step)
    assert len(reasons) == 1
    assert reasons[0].startswith(subject)
    executor.execute(step, quiet)
    assert executor.is_done(step)


def test_touching_is_no_reason(site):
    step = upper_step(site)
    executor = done_once(site, step)
    os.utime(site / "source", (1, 1))
    os.utime(site / "artifacts/build/upper", (1, 1))
    assert executor.reasons(step) == []


def test_an_argument_is_a_reason(site):
    done_once(site, upper_step(site))
    step = upper_step(site, suffix="!")
    assert Executor(Layout(site), [step]).reasons(step) == ['argument suffix: new ("!")']


def test_where_a_cache_lies_is_no_reason(site):
    step = dataclasses.replace(
        upper_step(site), arguments={**upper_step(site).arguments, "suffix": Scratch(site / "a")}
    )
    moved = dataclasses.replace(
        step, arguments={**step.arguments, "suffix": Scratch(site / "elsewhere")}
    )
    executor = Executor(Layout(site), [step])
    assert executor.walk(step) == executor.walk(moved)


def test_a_tree_counts_every_entry(site):
    step = tree_step(site)
    executor = done_once(site, step)
    (site / "tree/etc/issue").write_text("")
    assert [reason.partition(":")[0] for reason in executor.reasons(step)] == [
        "input tree/etc/issue"
    ]


def test_the_same_site_elsewhere_has_the_same_key(site, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "source").write_text("one")
    step, moved = upper_step(site), upper_step(other)
    here = Executor(Layout(site), [step]).walk(step)
    there = Executor(Layout(other), [moved]).walk(moved)
    assert here == there


def test_a_program_upgrade_is_a_reason(site):
    step = dataclasses.replace(upper_step(site), tools=("cp",))
    Executor(Layout(site), [step], program_version=lambda name: "9.1").execute(step, quiet)
    later = Executor(Layout(site), [step], program_version=lambda name: "9.2")
    assert later.reasons(step) == ["version of cp: was 9.1, is 9.2"]


def test_a_missing_input_is_named(site):
    (site / "source").unlink()
    step = upper_step(site)
    with pytest.raises(SourceError) as caught:
        Executor(Layout(site), [step]).execute(step, quiet)
    assert str(caught.value) == (
        "source: is needed by upper:a and is not there\n"
        "  next: put it there, or correct the recipe that names it"
    )


def test_a_builder_that_makes_nothing_is_a_defect(site):
    step = Step(
        kind="nothing",
        summary="",
        builder="sample_builders:build_nothing",
        arguments={"output": Output(site / "artifacts/build/none")},
    )
    with pytest.raises(BuildError, match="finished without making artifacts/build/none"):
        Executor(Layout(site), [step]).execute(step, quiet)


def test_a_failure_keeps_the_old_output_and_its_record(site):
    step = upper_step(site)
    done_once(site, step)
    broken = dataclasses.replace(step, builder="sample_builders:build_half")
    executor = Executor(Layout(site), [broken])
    with pytest.raises(BuildError, match="failed in the middle"):
        executor.execute(broken, quiet)
    assert (site / "artifacts/build/upper").read_text() == "ONE"
    assert os.listdir(site / "artifacts/build") == ["upper"]


def test_code_of_what_a_builder_imports_counts():
    from bootsmith.graph.code import _collect

    modules: dict[str, str] = {}
    _collect("bootsmith.graph.execute", modules, set())
    assert {"bootsmith.graph.step", "bootsmith.files.digest", "bootsmith.errors"} <= set(modules)
    assert "bootsmith.smoke.machine" not in modules


def test_a_builder_may_ask_what_stands_for_its_code(site):
    def maker(tools="1.0", python="3.11.2", content="one"):
        (site / "source").write_text(content)
        step = dataclasses.replace(
            upper_step(site), builder="sample_builders:build_maker", tools=("cp",)
        )
        executor = Executor(
            Layout(site),
            [step],
            program_version=lambda name: tools,
            python_version=lambda: python,
        )
        executor.execute(step, quiet)
        executor.close()
        return (site / "artifacts/build/upper").read_text()

    first = maker()
    assert maker(content="two") == first
    assert maker(tools="2.0") != first
    assert maker(python="3.12.0") != first
