"""Every page can be reached, every link leads somewhere."""

from __future__ import annotations

import house_rules

ENTRANCES = ("README.md", "docs/index.md")


def pages(checkout):
    """Path relative to the checkout to text, of every page for people."""
    paths = [*checkout.glob("*.md"), *(checkout / "docs").rglob("*.md")]
    return {path.relative_to(checkout).as_posix(): path.read_text("utf-8") for path in paths}


def test_links_lead_somewhere(checkout):
    house_rules.forbid(house_rules.link_violations(pages(checkout), checkout=checkout))


def test_every_page_can_be_reached(checkout):
    house_rules.forbid(house_rules.unlinked_pages(pages(checkout), entrances=ENTRANCES))


def test_broken_links_are_seen(tmp_path):
    (tmp_path / "docs").mkdir()
    readme = "# A\n[a](docs/a.md) [b](docs/b.md) [c](docs/a.md#two-words) [d](docs/a.md#three)\n"
    texts = {
        "README.md": readme + "`[e](none.md)` [f](https://example.org/none)\n",
        "docs/a.md": "# One\n## Two words!\n```\n[g](none.md)\n# three\n```\n[^](../README.md#a)\n",
        "docs/lonely.md": "[self](#nowhere)\n",
    }
    for path, text in texts.items():
        (tmp_path / path).write_text(text)
    assert house_rules.link_violations(texts, checkout=tmp_path) == [
        "README.md:2: docs/b.md: no such file",
        "README.md:2: docs/a.md#three: no such heading",
        "docs/lonely.md:1: #nowhere: no such heading",
    ]
    assert house_rules.unlinked_pages(texts, entrances=ENTRANCES) == [
        "docs/lonely.md: no link leads here; link it from README.md or docs/index.md"
    ]
