"""What the closing line says of targets that serve another generation."""

from __future__ import annotations

import pytest

from bootsmith.generations.published import Published, write_published
from bootsmith.generations.rollback import roll_back
from bootsmith.generations.standing import describe_behind, describe_standing

FIRST, SECOND, THIRD = "2026-11-20.1", "2026-11-20.2", "2026-11-20.3"


@pytest.fixture
def three(fleet):
    """.1, .2 and .3 promoted in turn."""
    for number in b"123":
        fleet.release(pxerd=bytes([number]))
    return fleet


def deliver(fleet, **served):
    write_published(
        fleet.artifacts,
        {
            name: Published(place=f"/srv/{name}", current=identifier, before=None, at_epoch=7)
            for name, identifier in served.items()
        },
    )


@pytest.mark.parametrize(
    "served,targets,said",
    [
        ({}, (), None),
        ({}, None, None),
        ({"head": THIRD}, ("head",), None),
        ({"head": SECOND}, (), None),  # not in the recipes any more
        ({"head": SECOND}, None, f"head still serves {SECOND}"),
        ({"head": SECOND}, ("head",), f"head still serves {SECOND}"),
        (
            {"a": SECOND, "b": SECOND, "c": SECOND, "d": FIRST, "e": THIRD},
            ("e", "d", "c", "b", "a"),
            f"d still serves {FIRST}, a, b and c still serve {SECOND}",
        ),
        ({"a": SECOND}, ("a", "b"), f"a still serves {SECOND}, nothing was delivered to b yet"),
        ({}, ("a", "b"), "nothing was delivered to a and b yet"),
    ],
)
def test_who_is_behind(three, served, targets, said):
    deliver(three, **served)
    assert describe_behind(three.artifacts, targets) == (said and f"{said} (next: doit publish)")


def test_the_closing_line_says_so(three):
    deliver(three, head=SECOND)
    assert describe_standing(three.artifacts, ("head",)) == (
        f"current is {THIRD}; head still serves {SECOND} (next: doit publish)"
    )
    assert describe_standing(three.artifacts, ()) == f"current is {THIRD}"


def test_without_anything_current_there_is_nothing_to_publish(fleet, three):
    deliver(three, head=SECOND)
    (three.artifacts / "current").unlink()
    assert describe_behind(three.artifacts, ("head",)) is None
    assert "doit publish" not in describe_standing(three.artifacts, ("head",))


@pytest.mark.parametrize("to", [SECOND, THIRD])
def test_a_rollback_reminds_of_it(three, to):
    deliver(three, head=FIRST)
    reminders = []
    roll_back(
        artifacts=three.artifacts, to=to, say=three.say, progress=three.progress,
        targets=("head",), remind=reminders.append,
    )  # fmt: skip
    assert reminders == [f"head still serves {FIRST} (next: doit publish)"]
    assert three.said[-1].startswith(f"current is {to}")


def test_a_rollback_to_what_is_served_has_nothing_to_remind_of(three):
    deliver(three, head=SECOND)
    roll_back(
        artifacts=three.artifacts, to=SECOND, say=three.say, progress=three.progress,
        targets=("head",),
    )  # fmt: skip
    assert len(three.said) == 1
