"""Words of a command: options before and behind operands, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootsmith.errors import PublishError
from bootsmith.graph.layout import Layout
from bootsmith.graph.verb import Option, Verb
from bootsmith.graph.verbs import plan_verbs
from bootsmith.site.loader import load_site

VERB = Verb(
    name="keep",
    summary="keep things",
    call="x:y",
    examples=("doit keep a",),
    options=(
        Option(name="note", about="why", default="", placeholder="TEXT"),
        Option(name="dry-run", about="only say", default=False),
        Option(name="count", about="how many", whole_number=True, placeholder="N"),
    ),
    operands="ID...",
)
GIVEN = {"note": "", "dry_run": False, "count": None, "help": False}


def sort(*operands, **given):
    return VERB.sorted_words({**GIVEN, **given, "operands": list(operands)})


def test_operands_alone():
    assert sort("a", "b", note="n") == {**GIVEN, "note": "n", "operands": ("a", "b")}


def test_options_behind_operands():
    assert sort("a", "--note", "two words", "b", "--dry-run", "--count=3") == {
        "note": "two words",
        "dry_run": True,
        "count": 3,
        "help": False,
        "operands": ("a", "b"),
    }


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_behind_operands(word):
    assert sort("a", word)["help"] is True


def test_after_two_dashes_everything_is_an_operand():
    assert sort("a", "--", "--note")["operands"] == ("a", "--note")


@pytest.mark.parametrize(
    "words,said",
    [
        (("a", "--nope"), "option --nope not recognized"),
        (("a", "--note"), "option --note requires argument"),
        (("a", "--dry-run=1"), "option --dry-run must not have an argument"),
        (("a", "--count", "x"), "bad value of --count; expected a whole number, got x"),
    ],
)
def test_misuse_is_one_message(words, said):
    with pytest.raises(PublishError) as caught:
        sort(*words)
    assert str(caught.value) == f"doit keep: {said}\n  next: doit keep --help"


def test_usage():
    assert VERB.usage == (
        "usage: doit keep [--note TEXT] [--dry-run] [--count N] ID...\n"
        "\n"
        "keep things\n"
        "\n"
        "  --note TEXT  why\n"
        "  --dry-run    only say\n"
        "  --count N    how many\n"
        "\n"
        "examples:\n"
        "  doit keep a"
    )


def test_what_a_tree_is_mended_of_is_known_where_the_recipes_are():
    root = Path(__file__).resolve().parents[2]
    layout = Layout(root)
    (verify,) = (verb for verb in plan_verbs(layout, load_site(root)) if verb.name == "verify")
    sources = verify.arguments["netboot"]
    assert layout.of("netconf", "index.jsonl") in sources["indexes"]
    assert sources["media"]["standin"]["digests"] == layout.of("medium", "standin", "digests.json")
    assert sources["build"] == layout.build
    (verify,) = (verb for verb in plan_verbs(layout) if verb.name == "verify")
    assert verify.arguments["netboot"] is None
