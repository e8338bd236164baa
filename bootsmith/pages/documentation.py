"""`make docs`: the documentation as pages for a browser, from the Markdown beside the code.

Every page becomes one file in one directory, which may be opened from the disk. Links between
pages are turned to them; one that leads nowhere is an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bootsmith.errors import BootsmithError, FormatError
from bootsmith.files.atomic import replacing_directory, write_file
from bootsmith.pages.look import page

# In the order in which people need them; what is in none of these comes last.
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Start",
        ("README.md", "docs/quickstart.md", "docs/tour.md", "docs/howto.md", "docs/own-site.md"),
    ),
    (
        "Images",
        tuple(f"docs/{name}.md" for name in (
            "release", "pxerd", "modloop", "apkovl", "templates", "usbkey", "ramroot",
        )),
    ),
    (
        "Network boot",
        tuple(f"docs/{name}.md" for name in (
            "inventory", "netboot", "servers", "arming", "publish", "netboot-scale",
        )),
    ),
    (
        "Every day",
        tuple(f"docs/{name}.md" for name in (
            "generations", "gate", "smoke", "cron", "debugging", "troubleshooting", "report",
        )),
    ),
)  # fmt: skip
_REST = "Reference"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A page: where its Markdown is, the file it becomes, what it is called."""

    source: str
    file: str
    heading: str


def write_documentation(checkout: Path, target: Path) -> int:
    """Write every page below `target`; how many. FormatError for a link that leads nowhere."""
    texts = {
        path.relative_to(checkout).as_posix(): path.read_text("utf-8")
        for path in (
            checkout / "README.md",
            checkout / "CHANGELOG.md",
            *sorted((checkout / "docs").rglob("*.md")),
        )
    }
    entries = {source: _entry(source, text) for source, text in texts.items()}
    with replacing_directory(target) as draft:
        for source, text in texts.items():
            content = _html(text, entries[source], entries, checkout)
            values = {
                "heading": entries[source].heading,
                "file": entries[source].file,
                "navigation": _navigation(entries),
                "content": content,
            }
            write_file(draft / entries[source].file, page("documentation.html", values).encode())
        for parent in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
            parent.chmod(0o755)
    return len(entries)


def _entry(source: str, text: str) -> Entry:
    heading = re.search(r"^# (.+)$", text, flags=re.MULTILINE)
    name = PurePosixPath(source).stem
    return Entry(
        source=source,
        file="index.html" if source == "README.md" else f"{name.lower()}.html",
        heading=_plain(heading.group(1)) if heading else name,
    )


def _plain(text: str) -> str:
    return re.sub(r"[`*_]", "", text)


def _navigation(entries: Mapping[str, Entry]) -> list[tuple[str, list[Entry]]]:
    left = dict(entries)
    groups = []
    for name, sources in _GROUPS:
        found = [left.pop(source) for source in sources if source in left]
        if found:
            groups.append((name, found))
    return [*groups, (_REST, sorted(left.values(), key=lambda entry: entry.heading.lower()))]


def _html(text: str, entry: Entry, entries: Mapping[str, Entry], checkout: Path) -> str:
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(text)
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor_of(tokens[number + 1].content))
        if token.type == "table_open":
            token.attrSet("tabindex", "0")  # wide ones are scrolled by key
        for inner in _links(token):
            inner.attrSet("href", _target(str(inner.attrGet("href")), entry, entries, checkout))
    html = str(reader.renderer.render(tokens, reader.options, {}))
    html = html.replace("<pre>", '<pre tabindex="0">')  # so are long lines
    return html.replace("<table", '<div class="table"><table').replace("</table>", "</table></div>")


def _links(token: Token) -> Iterator[Token]:
    for inner in token.children or ():
        if inner.type == "link_open":
            yield inner


def anchor_of(heading: str) -> str:
    """The name that a heading is linked by, as repository hosts make it."""
    text = re.sub(r"[^\w\- ]", "", _plain(heading).strip().lower())
    return text.replace(" ", "-")


def _target(link: str, entry: Entry, entries: Mapping[str, Entry], checkout: Path) -> str:
    """Where a link of a page leads among the pages; files that are no pages are named only."""
    path, mark, anchor = link.partition("#")
    if "://" in path or path.startswith("mailto:") or not path:
        return link
    parts: list[str] = list(PurePosixPath(entry.source).parent.parts)
    for part in PurePosixPath(path).parts:
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    found = "/".join(parts)
    if found in entries:
        return f"{entries[found].file}{mark}{anchor}"
    if not (checkout / found).exists():
        raise FormatError(
            entry.source,
            f"a link leads nowhere: {link}",
            hint="correct it, or write the page",
        )
    return (checkout / found).as_uri()


def main(words: list[str]) -> int:
    """`python -m bootsmith.pages.documentation [DIR]`."""
    checkout = Path(__file__).parents[2]
    target = Path(words[0]).absolute() if words else checkout / "artifacts" / "docs"
    try:
        count = write_documentation(checkout, target)
    except BootsmithError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{target}/index.html: {count} pages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
