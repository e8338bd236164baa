"""`doit report`: what is on the page, with and without anything to say, as a browser sees it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from bootsmith.formats.plots import bars_svg, stages_svg
from bootsmith.formats.screen_picture import last_screen, screen_svg
from bootsmith.formats.step_graph import Node, dot_text, page_svg
from bootsmith.graph.step import Input, Output, Step
from bootsmith.pages.report import write_report
from bootsmith.smoke.evidence import Evidence, evidence_path, write_evidence
from bootsmith.tools.graphviz import draw_svg
from bootsmith.tools.run import run_program


class Page(HTMLParser):
    """Elements, ids and links; fails on what is closed in another order than it was opened."""

    VOID = frozenset({"meta", "link", "br", "img", "rect", "line"})

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.open, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.ids += [known["id"]] if "id" in known else []
        self.links += [known[name] for name in ("href", "src", "xlink:href") if name in known]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        known = dict(attrs)
        self.ids += [known["id"]] if "id" in known else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def record(scenario, *, verdict="booted", started_epoch=1, cause=None, landmarks=None):
    return Evidence(
        scenario=scenario, generation="2026-11-21.1", template="web", verdict=verdict, cause=cause,
        artifacts={}, nonce="1", landmarks_seconds=landmarks or {}, elapsed_seconds=12.34,
        starved_seconds=0.0, accelerator="tcg", qemu="7.2", command="qemu", report={},
        started_epoch=started_epoch,
    )  # fmt: skip


@pytest.fixture
def steps(tmp_path):
    (tmp_path / "source").write_text("x")
    return (
        Step(
            kind="copy", name="<a>", summary="x", builder="bootsmith.errors:BuildError",
            arguments={"a": Input(tmp_path / "source"), "b": Output(tmp_path / "made")},
        ),
    )  # fmt: skip


def report(tmp_path, steps):
    said = []
    write_report(
        name="lab & co", root=tmp_path, artifacts=tmp_path / "artifacts", steps=steps, output=None,
        say=said.append, progress=lambda message, done, total: None,
    )  # fmt: skip
    target = tmp_path / "artifacts/report/index.html"
    assert said[0].startswith(f"{target}: ")
    return target, Page(target.read_text("utf-8"))


def keep(tmp_path, evidence, console=b""):
    path = evidence_path(tmp_path / "artifacts/evidence", evidence.generation, evidence.scenario)
    write_evidence(path, evidence)
    path.with_name("console.log").write_bytes(console)


def test_a_site_with_nothing_built(tmp_path, steps):
    _, page = report(tmp_path, steps)
    assert "There is no generation yet. Next: doit build" in page.text
    assert "Nothing was booted yet. Next: doit smoke" in page.text
    assert "lab & co" in page.text
    assert page.open == []


def test_nothing_is_asked_of_a_network_and_ids_are_unique(tmp_path, steps):
    keep(tmp_path, record("key-uefi", landmarks={"kernel": 1.0, "runlevel": 3.0}))
    keep(tmp_path, record("nfs-v4", landmarks={"kernel": 2.0, "runlevel": 4.0}))
    target, page = report(tmp_path, steps)
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"<script|@import|url\(", target.read_text())
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_the_newest_run_of_a_scenario_counts(tmp_path, steps):
    keep(tmp_path, record("key-uefi", started_epoch=5, verdict="failed", cause="it <panicked>"))
    older = record("key-uefi", started_epoch=4)
    write_evidence(
        evidence_path(tmp_path / "artifacts/evidence", "2026-11-22.1", "key-uefi"), older
    )
    _, page = report(tmp_path, steps)
    assert page.text.count("key-uefi: ") == 1
    assert "failed" in page.text
    assert "it <panicked>" in page.text


def test_hostile_consoles_stay_text(tmp_path, steps):
    keep(tmp_path, record("key-uefi"), b"\x1b[2J\x1b[1;1H<script>alert(1)</script>\r\n\xff\x00end")
    target, page = report(tmp_path, steps)
    assert "<script" not in target.read_text()
    assert page.text.count("<script>alert(1)</script>") == 2


def test_the_last_screen():
    raw = b"".join(f"line {number}\r\n".encode() for number in range(50))
    assert last_screen(raw)[0] == "line 21"
    assert last_screen(raw)[-1] == "line 49"
    assert last_screen(b"one\ntwo\x1b[1;1HX") == ["Xne", "two"]
    assert last_screen(b"") == []
    assert 'aria-labelledby="i"' in screen_svg([], title="t", identifier="i")


def test_plots_say_their_values():
    bars = bars_svg(
        {"a": 1.0, "b": 0.0}, title="T", identifier="i", said=lambda size: f"{size:g} B",
        marks={"a": "current"},
    )  # fmt: skip
    assert 'aria-label="a (current): 1 B"' in bars
    assert 'aria-label="b: 0 B"' in bars
    runs = {
        "x": [("kernel", 1.5), ("runlevel", 4.0)],
        "empty": [],
        "y": [("firmware", 1.0), ("kernel", 2.0)],
    }
    order = ("firmware", "bootloader", "kernel", "runlevel")
    stages = stages_svg(runs, stages=order, title="T", identifier="j")
    assert re.findall(r'y="16">(\w+)<', stages) == ["firmware", "kernel", "runlevel"]
    assert 'aria-label="x: runlevel after 4.0 s, 2.5 s of it"' in stages
    assert bars_svg({}, title="T", identifier="k", said=str)


@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_it(tmp_path, steps, width, dark):
    keep(
        tmp_path,
        record("key-uefi", landmarks={"kernel": 1.0, "runlevel": 3.0}),
        b"Alpine Linux\r\nlogin:",
    )
    target, _ = report(tmp_path, steps)
    corner = pixel(screenshot(tmp_path, target, width=width, dark=dark))
    assert (max(corner) < 64) is dark


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_a_graph_by_itself(tmp_path, dark):
    target = tmp_path / "graph.svg"
    nodes = (Node(label="iso:tiny", summary="read it", before=()),)
    target.write_text(page_svg(draw_svg(dot_text(nodes, title="T")), nodes, title="T"))
    corner = pixel(screenshot(tmp_path, target, width=1400, dark=dark))
    assert (max(corner) < 64) is dark


def screenshot(tmp_path, target, *, width, dark):
    picture = tmp_path / "page.png"
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    run_program(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={tmp_path}/profile", f"--screenshot={picture}",
            f"--window-size={width},2000", "--virtual-time-budget=2000", *scheme,
            "--host-resolver-rules=MAP * ~NOTFOUND", f"file://{target}",
        ],
        timeout_seconds=300,
    )  # fmt: skip
    return picture


def pixel(picture):
    """Red, green and blue of the first pixel of a PNG, read by its own definition."""
    import struct
    import zlib

    content, data, position = picture.read_bytes(), b"", 8
    while position < len(content):
        size, kind = struct.unpack(">I4s", content[position : position + 8])
        if kind == b"IDAT":
            data += content[position + 8 : position + 8 + size]
        position += size + 12
    return tuple(zlib.decompress(data)[1:4])
