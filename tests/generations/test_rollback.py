"""Rolling back: to what was current before, and a build does not undo it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil

import pytest

from bootsmith.errors import PublishError
from bootsmith.generations import history
from bootsmith.generations.rollback import roll_back


def back(fleet, to=None):
    fleet.said.clear()
    roll_back(artifacts=fleet.artifacts, to=to, say=fleet.say, progress=fleet.progress)
    return fleet.said


def refused(fleet, to=None):
    with pytest.raises(PublishError) as caught:
        back(fleet, to)
    return str(caught.value)


@pytest.fixture
def three(fleet):
    """.1, .2 and .3 promoted in turn."""
    for number in b"123":
        fleet.release(pxerd=bytes([number]))
    return fleet


def test_it_goes_to_what_was_current_before(three):
    assert back(three) == [
        "current is 2026-11-20.2 (was 2026-11-20.3); "
        "to go forward again: doit rollback --to 2026-11-20.3"
    ]
    assert (three.artifacts / "pxerd/virt/current/pxerd").read_bytes() == b"2"


def test_a_second_one_goes_on_backward(three):
    back(three)
    back(three)
    assert three.current == "2026-11-20.1"
    assert "no generation was current before 2026-11-20.1" in refused(three)


def test_what_never_was_current_is_passed_over(fleet):
    fleet.release(pxerd=b"1")
    fleet.assemble(pxerd=b"2")
    fleet.release(pxerd=b"3")
    back(fleet)
    assert fleet.current == "2026-11-20.1"


def test_what_never_was_current_is_no_target_where_the_history_ends_either(fleet):
    fleet.release(pxerd=b"1")
    fleet.assemble(pxerd=b"2")
    fleet.release(pxerd=b"3")
    shutil.rmtree(fleet.generation("2026-11-20.1"))
    assert "no generation was current before 2026-11-20.3" in refused(fleet)


def test_after_going_forward_it_returns_to_where_one_came_from(three):
    back(three, "2026-11-20.1")
    back(three, "2026-11-20.3")
    assert three.said == ["current is 2026-11-20.3 (was 2026-11-20.1)"]
    back(three)
    assert three.current == "2026-11-20.1"


def test_without_a_history_the_id_before_is_taken(three):
    (three.artifacts / "history.jsonl").unlink()
    back(three)
    assert three.current == "2026-11-20.2"


def test_ids_sort_by_number(fleet):
    ids = [fleet.release(pxerd=b"%d" % number) for number in range(11)]
    (fleet.artifacts / "history.jsonl").unlink()
    assert ids[-1] == "2026-11-20.11"
    back(fleet)
    assert fleet.current == "2026-11-20.10"


def test_a_torn_history_line_is_passed_over(three):
    path = three.artifacts / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-9])  # the power went while the last line was written
    back(three, "2026-11-20.1")
    assert len(path.read_text().splitlines()) == 4
    assert history.read_moves(three.artifacts)[-1].to == "2026-11-20.1"


def test_the_line_is_written_before_the_link_moves(three, monkeypatch):
    def killed(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr("bootsmith.generations.promote.move_current", killed)
    with pytest.raises(KeyboardInterrupt):
        back(three)
    monkeypatch.undo()
    assert three.current == "2026-11-20.3"
    assert len(history.read_moves(three.artifacts)) == 4
    back(three)
    assert three.current == "2026-11-20.2"


# --- what is refused ---------------------------------------------------------------------


def test_an_unknown_id_names_the_nearest(three):
    assert refused(three, "2026-11-02.3") == (
        "2026-11-02.3: is not a generation here\n"
        "  next: the nearest is 2026-11-20.3; doit generations lists all"
    )


def test_an_ambiguous_id_names_what_it_can_be(three):
    assert refused(three, "2026-11") == (
        "2026-11: can be any of 2026-11-20.1, 2026-11-20.2, 2026-11-20.3\n"
        "  next: give more of the id"
    )


def test_a_unique_beginning_is_enough(three):
    three.release(pxerd=b"4", date="2026-12-01")
    back(three)
    back(three, "2026-12")
    assert three.current == "2026-12-01.1"


def test_a_damaged_one_is_refused_and_current_stays(three):
    three.damage(three.generation("2026-11-20.2") / "pxerd/virt/pxerd")
    said = refused(three)
    assert "2026-11-20.2/pxerd/virt/pxerd: is damaged" in said
    assert said.endswith(
        "next: doit verify --repair 2026-11-20.2, or doit rollback --to 2026-11-20.1"
    )
    assert three.current == "2026-11-20.3"
    assert len(history.read_moves(three.artifacts)) == 3


def test_one_that_lost_a_file_is_refused(three):
    (three.generation("2026-11-20.2") / "kernel/virt/kernel").unlink()
    assert "is in the manifest but not in the generation" in refused(three)


def test_one_without_a_manifest_is_refused(three):
    (three.generation("2026-11-20.2") / "MANIFEST.json").unlink()
    assert refused(three).startswith("2026-11-20.2: cannot be used: MANIFEST.json cannot be read")


def test_a_newer_one_that_never_passed_its_gate_is_refused(three):
    three.assemble(pxerd=b"4")
    assert refused(three, "candidate") == (
        "2026-11-20.4: is newer than 2026-11-20.3 and never passed its gate\n"
        "  next: put it through: doit promote"
    )


def test_damage_elsewhere_does_not_disturb(three):
    (three.generation("2026-11-20.1") / "MANIFEST.json").write_text("{")
    (three.artifacts / "generations/lost+found").mkdir()
    back(three)
    assert three.current == "2026-11-20.2"


# --- what a build does after it ---------------------------------------------------------------


def test_a_build_does_not_bring_back_what_was_left(three):
    back(three)
    (three.build / "promotion.json").unlink()  # as `make clean` does
    three.promote()
    assert three.current == "2026-11-20.2"


def test_nor_the_same_content_under_another_id(three):
    back(three)
    (three.generation("2026-11-20.3") / "kernel/virt/kernel").unlink()
    assert three.assemble() == "2026-11-20.4"  # the damaged one is replaced
    assert not os.path.lexists(three.artifacts / "candidate")
    three.promote()
    assert three.current == "2026-11-20.2"
    back(three, "2026-11-20.4")  # its content was current once
    assert three.current == "2026-11-20.4"


def test_a_candidate_that_is_overtaken_by_withdrawn_content_waits_no_more(three):
    back(three)
    three.assemble(pxerd=b"4")
    three.assemble(pxerd=b"3")
    assert not os.path.lexists(three.artifacts / "candidate")
    assert refused(three, "2026-11-20.4").endswith(
        "next: only the newest, 2026-11-20.5, can be put through: doit promote"
    )


@pytest.mark.parametrize("astray", [None, "/etc"])
def test_a_lost_current_is_made_again_as_the_history_has_it(three, astray):
    back(three)
    current = three.artifacts / "current"
    current.unlink()
    if astray:
        current.symlink_to(astray)
    assert history.describe_current(three.artifacts) == (
        "current is lost; it was 2026-11-20.2: doit rollback --to 2026-11-20.2"
    )
    three.promote()
    assert three.current == "2026-11-20.2"
    back(three)
    assert three.current == "2026-11-20.1"


def test_a_lost_current_that_is_damaged_is_for_a_person(three):
    back(three)
    (three.artifacts / "current").unlink()
    three.damage(three.generation("2026-11-20.2") / "pxerd/virt/pxerd")
    with pytest.raises(PublishError, match="is damaged") as caught:
        three.promote()
    assert caught.value.hint.startswith("choose what machines boot: doit rollback --to ID")
    assert not os.path.lexists(three.artifacts / "current")


def test_without_any_generation_the_first_is_to_be_made(fleet):
    assert refused(fleet).endswith("next: make the first generation: doit build")
    assert refused(fleet, "current").endswith("next: make the first: doit build")


def test_new_content_goes_forward(three):
    back(three)
    three.release(pxerd=b"4")
    assert three.current == "2026-11-20.4"
    back(three)
    assert three.current == "2026-11-20.2"


def test_going_forward_by_hand_ends_it(three):
    back(three)
    back(three, "2026-11-20.3")
    assert history.describe_current(three.artifacts) == "current is 2026-11-20.3"


def test_what_was_current_again_since_is_not_held_against_it(three):
    back(three)
    back(three, "2026-11-20.3")
    three.release(pxerd=b"4")
    back(three, "2026-11-20.2")
    moves = history.read_moves(three.artifacts)
    assert history.rolled_back_from(moves) == {"2026-11-20.4"}


def test_the_closing_line_says_so(three):
    back(three)
    assert history.describe_current(three.artifacts) == (
        "current is 2026-11-20.2, rolled back from 2026-11-20.3; "
        "to go forward again: doit rollback --to 2026-11-20.3"
    )


def test_the_closing_line_names_a_candidate_too(three):
    back(three)
    three.assemble(pxerd=b"4")
    assert history.describe_current(three.artifacts) == (
        "current is 2026-11-20.2, rolled back from 2026-11-20.3, candidate is 2026-11-20.4 "
        "(next: doit release); to go forward again: doit rollback --to 2026-11-20.3"
    )


def test_no_candidate_comes_of_it(three):
    back(three)
    assert not os.path.lexists(three.artifacts / "candidate")


# --- through doit --------------------------------------------------------------------------------


def test_doit_rolls_back_with_broken_recipes_while_a_build_runs(three):
    with open(three.artifacts / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = three.doit("rollback")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("current is 2026-11-20.2 (was 2026-11-20.3)")
    assert three.current == "2026-11-20.2"


def test_doit_takes_a_lone_word_for_the_id(three):
    assert three.doit("rollback", "2026-11-20.1").returncode == 0
    assert three.current == "2026-11-20.1"
    run = three.doit("rollback", "2026-11-20.2", "--to", "2026-11-20.3")
    assert run.returncode == 2
    assert "doit rollback: one generation, not 2\n" in run.stderr


def test_doit_refuses_in_one_message(three):
    run = three.doit("rollback", "--to", "2026-11-20.9")
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert "FAILED rollback\n2026-11-20.9: is not a generation here\n" in run.stderr


def test_a_manifest_that_leads_out_is_not_followed(three):
    path = three.generation("2026-11-20.2") / "MANIFEST.json"
    manifest = json.loads(path.read_bytes())
    manifest["artifacts"][0]["kind"] = "../.."
    path.chmod(0o644)
    path.write_text(json.dumps(manifest))
    assert "cannot be used" in refused(three)


def test_a_serial_is_enough_where_one_has_it(three):
    back(three, ".1")
    assert three.current == "2026-11-20.1"
    three.release(pxerd=b"4", date="2026-12-01")
    assert refused(three, ".1").startswith(".1: can be any of 2026-11-20.1, 2026-12-01.1\n")
    back(three, "2")
    assert three.current == "2026-11-20.2"
    assert refused(three, "2026").startswith("2026: can be any of ")


def test_the_only_one_has_none_before(fleet):
    fleet.release()
    said = refused(fleet)
    assert "next: it is the only one; what you change makes another: doit build" in said


def test_after_everything_was_removed_ids_begin_anew(three):
    for name in ("generations", "store"):
        shutil.rmtree(three.artifacts / name)
    (three.artifacts / "current").unlink()
    for number in b"456":
        assert three.release(pxerd=bytes([number])) == three.current
    assert three.current == "2026-11-20.3"
