"""`doit graph`: the text for Graphviz, and the picture as an XML reader sees it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from bootsmith.errors import PublishError
from bootsmith.formats.step_graph import Node, dot_text, kinds_of, page_svg
from bootsmith.graph.step import Input, Output, Step
from bootsmith.pages.step_graph import draw_graph
from bootsmith.tools.graphviz import draw_svg

SVG = "{http://www.w3.org/2000/svg}"
NODES = (
    Node(label="iso:tiny", summary="read it", before=()),
    Node(label="pxerd:tiny-virt", summary='a "quoted" one', before=("iso:tiny",), why=("edited",)),
    Node(label="promote", summary="<&>", before=("pxerd:tiny-virt", "elsewhere")),
)


def test_the_text():
    assert dot_text(NODES, title="Steps") == (
        "digraph steps {\n"
        'graph [rankdir=LR, bgcolor=transparent, tooltip="Steps", ranksep=0.9]\n'
        'node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11]\n'
        "edge [arrowsize=0.7]\n"
        'n0 [label="iso\\ntiny", class="step kind0", id="step-iso-tiny", tooltip="read it"]\n'
        'n1 [label="pxerd\\ntiny-virt", class="step kind1 stale", id="step-pxerd-tiny-virt", '
        'tooltip="a \\"quoted\\" one; would be done: edited", style="filled,rounded,dashed", '
        "penwidth=2.5]\n"
        'n2 [label="promote", class="step kind2", id="step-promote", tooltip="<&>"]\n'
        "n0 -> n1\n"
        "n1 -> n2\n"
        "}\n"
    )


def test_the_picture_is_sound_and_says_what_is_stale():
    root = ET.fromstring(page_svg(draw_svg(dot_text(NODES, title="T")), NODES, title="<T>"))
    assert root.tag == f"{SVG}svg"
    assert root.find(f"{SVG}title").text == "<T>"
    assert root.find(f"{SVG}desc").text == "3 steps; 1 would be done again, with dashed borders."
    groups = {group.get("id"): group.get("class") for group in root.iter(f"{SVG}g")}
    assert groups["step-pxerd-tiny-virt"] == "node step kind1 stale"
    assert groups["step-iso-tiny"] == "node step kind0"
    assert len([one for one in groups.values() if one == "edge"]) == 2


def test_kinds_differ_in_colour():
    assert len(set(kinds_of(NODES).values())) == 3


@pytest.fixture
def steps(tmp_path):
    (tmp_path / "source").write_text("x")

    def step(name, source):
        return Step(
            kind="copy", name=name, summary="", builder="bootsmith.errors:BuildError",
            arguments={
                "source": Input(tmp_path / source), "output": Output(tmp_path / f"made-{name}")
            },
        )  # fmt: skip

    return (step("a", "source"), step("b", "made-a"), step("c", "source"))


def drawn(tmp_path, steps, *operands, **words):
    said = []
    words = {"output": None, "dot": False, **words}
    draw_graph(root=tmp_path, steps=steps, operands=operands, say=said.append, **words)
    return said


def test_only_what_leads_to_a_step(tmp_path, steps):
    [text] = drawn(tmp_path, steps, "copy:b", dot=True)
    assert [line for line in text.splitlines() if "->" in line] == ["n0 -> n1"]
    assert "made-c" not in text
    assert "copy-c" not in text


def test_the_file_and_what_is_said_of_it(tmp_path, steps):
    [line] = drawn(tmp_path, steps)
    target = tmp_path / "artifacts/report/graph.svg"
    assert line == f"{target}: 3 steps, 3 would be done again"
    assert ET.parse(target)
    [line] = drawn(tmp_path, steps, output=str(tmp_path / "x.svg"))
    assert (tmp_path / "x.svg").stat().st_size
    assert not (tmp_path / "artifacts/state.sqlite3").exists()  # looking changes nothing


@pytest.mark.parametrize(
    "label, hint",
    [
        ("copy:z", "did you mean: doit graph copy:"),
        ("cpy", "did you mean: doit graph copy"),
        ("something-else", "doit list --all"),
    ],
)
def test_an_unknown_step(tmp_path, steps, label, hint):
    with pytest.raises(PublishError) as caught:
        drawn(tmp_path, steps, label)
    assert caught.value.message == f"doit graph {label}: there is no such step"
    assert caught.value.hint.startswith(hint)


def test_a_directory_is_no_picture(tmp_path):
    steps = (Step(kind="sum", summary="", builder="m:f", arguments={}),)
    for place, said in ((tmp_path, "is a directory"), (tmp_path / "none/x.svg", "is not there")):
        with pytest.raises(PublishError, match=said):
            drawn(tmp_path, steps, output=str(place))
    assert list(tmp_path.iterdir()) == []
