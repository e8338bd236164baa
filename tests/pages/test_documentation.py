"""The documentation as pages: every link leads somewhere, headings can be linked."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from bootsmith.errors import FormatError
from bootsmith.pages.documentation import _GROUPS, anchor_of, main, write_documentation

CHECKOUT = Path(__file__).parents[2]


class Reader(HTMLParser):
    """Links, names and unclosed elements of one page."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self, text):
        super().__init__()
        self.links, self.names, self.open, self.headings = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        if tag == "a":
            self.links.append(known["href"])
        if "id" in known:
            self.names.add(known["id"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    target = tmp_path_factory.mktemp("docs") / "docs"
    write_documentation(CHECKOUT, target)
    return {path.name: Reader(path.read_text("utf-8")) for path in target.iterdir()}


def test_every_link_leads_to_a_page_and_a_heading(written):
    for name, page in written.items():
        assert page.open == [], name
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https"):
                continue
            if parts.scheme == "file":
                assert Path(unquote(parts.path)).exists(), f"{name}: {link}"
                continue
            target = written[parts.path or name]
            assert not parts.fragment or unquote(parts.fragment) in target.names, f"{name}: {link}"


def test_every_page_can_be_reached_from_the_first(written):
    reached, ahead = set(), ["index.html"]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += [link.partition("#")[0] for link in written[name].links if ".html" in link]
    assert reached == set(written)


def test_pages_have_one_title_and_a_way_past_the_navigation(written):
    for name, page in written.items():
        outside = [level for level in page.headings if level == 1]
        assert len(outside) == 1, name
        assert page.links[0] == "#content"
        assert "content" in page.names


def test_the_way_to_all_pages_is_short_and_comes_before_the_content(written):
    for name, page in written.items():
        assert page.links[1] == "#pages", name
        assert "pages" in page.names


def test_every_page_of_the_navigation_is_there():
    assert [name for _, names in _GROUPS for name in names if not (CHECKOUT / name).exists()] == []


def test_a_link_that_leads_nowhere_is_an_error_and_nothing_is_written(tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "CHANGELOG.md"):
        (tmp_path / name).write_text("# One\n")
    (tmp_path / "docs/a.md").write_text("# A\n[b](b.md)\n")
    with pytest.raises(FormatError, match=r"docs/a\.md: a link leads nowhere: b\.md"):
        write_documentation(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "docs/b.md").write_text(
        "<script>alert(1)</script>\n\n# `B` & c\n| a |\n|---|\n| b |\n"
    )
    assert write_documentation(tmp_path, tmp_path / "out") == 4
    text = (tmp_path / "out/b.html").read_text()
    assert "<script" not in text
    assert '<h1 id="b--c">' in text
    assert main([str(tmp_path / "here")]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/here/index.html: ")


def test_names_of_headings():
    assert anchor_of("`[netboot]` and *more*: 2 of them") == "netboot-and-more-2-of-them"


def test_make_docs_is_this(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "bootsmith.pages.documentation", str(tmp_path / "x")],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r".*/x/index\.html: \d+ pages\n", run.stdout)
    assert "$(PYTHON) -m bootsmith.pages.documentation" in (CHECKOUT / "Makefile").read_text()
