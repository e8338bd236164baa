"""docs/troubleshooting.md quotes messages as they are printed: each is said somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bootsmith.smoke.symptoms import COMPLAINTS, FAILURES

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "troubleshooting.md"
# The section about words of firmware, boot loaders and Alpine's init.
OTHERS = "A machine that boots from the network"
# Of them, what no console in a smoke test says: ROMs of network cards, iPXE.
ROMS = frozenset(
    {
        "PXE-E16",
        "PXE-E32",
        "PXE-E51",
        "PXE-E53",
        "PXE-T01",
        "No DHCP offers",
        "No boot filename received",
        "TFTP open timeout",
        "File not found",
        "Nothing to boot",
        "Could not boot",
    }
)


def quoted(text):
    """Section and message, of each code span in the first column of a table with messages."""
    section, found = "", []
    for line in text.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif section and line.startswith("| ") and not line.startswith("| message"):
            found += [(section, span) for span in re.findall("`([^`]+)`", line.split(" | ")[0])]
    return found


def said_in(source):
    """Every text of a module, with `…` where a value is filled in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"\{\w*\}", "…", node.value)


@pytest.fixture(scope="module")
def texts():
    return [
        text
        for path in sorted((CHECKOUT / "bootsmith").rglob("*.py"))
        for text in said_in(path.read_text("utf-8"))
    ]


def is_said(message, texts):
    pattern = re.compile(".*".join(map(re.escape, message.split("…"))))
    return any(pattern.search(text) for text in texts)


OURS = [message for section, message in quoted(PAGE.read_text("utf-8")) if section != OTHERS]
THEIRS = [message for section, message in quoted(PAGE.read_text("utf-8")) if section == OTHERS]


@pytest.mark.parametrize("message", OURS)
def test_what_bootsmith_says_is_in_its_code(message, texts):
    assert is_said(message, texts)


@pytest.mark.parametrize("message", sorted(set(THEIRS) - ROMS))
def test_what_machines_say_is_known_to_smoke_tests(message):
    console = message.replace("…", "x") + " x"
    known = [row.explain(line) for row in (*FAILURES, *COMPLAINTS) for line in variants(console)]
    assert any(known)


def variants(console):
    """A console's lines as programs write them: with their word in front, or a file before."""
    return (console, f"Loading x... {console}", f"ERROR: {console}")


def test_no_rom_is_listed_in_vain():
    assert set(THEIRS) >= ROMS


def test_a_message_that_nobody_says_is_seen(texts):
    assert len(OURS) > 50
    assert not is_said("release … has no such flavour", texts)
    page = "# A\n| `no` | |\n## B\n| message | do |\n|---|---|\n| `one …`, `two` | `three` |\n"
    assert quoted(page) == [("B", "one …"), ("B", "two")]
