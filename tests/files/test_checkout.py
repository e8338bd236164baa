"""The commit that a directory was checked out from, in every layout of .git that git makes.

Laid out here by hand, as gitrepository-layout(5) says: testing needs no git.
"""

from __future__ import annotations

import pytest

from bootsmith.files.checkout import checked_out_commit

FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture
def work(tmp_path):
    work = tmp_path / "main"
    (work / "site/recipes").mkdir(parents=True)
    (work / ".git/refs/heads").mkdir(parents=True)
    (work / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (work / ".git/refs/heads/main").write_text(f"{FIRST}\n")
    return work


def pack(work):
    (work / ".git/refs/heads/main").unlink()
    (work / ".git/packed-refs").write_text(
        "# pack-refs with: peeled fully-peeled sorted \n"
        f"{SECOND} refs/heads/other\n{FIRST} refs/heads/main\n"
        f"{'3' * 40} refs/tags/main\n^{SECOND}\n"
    )


def test_a_branch_seen_from_below(work):
    assert checked_out_commit(work / "site/recipes") == FIRST


def test_packed_references(work):
    pack(work)
    assert checked_out_commit(work) == FIRST


def test_a_loose_reference_is_newer_than_a_packed_one(work):
    pack(work)
    (work / ".git/refs/heads/main").write_text(f"{SECOND}\n")
    assert checked_out_commit(work) == SECOND


def test_a_detached_head(work):
    (work / ".git/HEAD").write_text(f"{'a' * 64}\n")  # a repository of sha256
    assert checked_out_commit(work) == "a" * 64


@pytest.mark.parametrize("is_absolute", [False, True])
def test_a_linked_work_tree(work, tmp_path, is_absolute):
    pack(work)
    own = work / ".git/worktrees/linked"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/other\n")
    (own / "commondir").write_text("../..\n")
    linked = tmp_path / "linked"
    linked.mkdir()
    place = own if is_absolute else "../main/.git/worktrees/linked"
    (linked / ".git").write_text(f"gitdir: {place}\n")
    assert checked_out_commit(linked) == SECOND


def test_before_the_first_commit(work):
    (work / ".git/refs/heads/main").unlink()
    assert checked_out_commit(work) is None


def test_no_work_tree_at_all(tmp_path):
    (tmp_path / ".git").write_text("")
    assert checked_out_commit(tmp_path) is None


@pytest.mark.parametrize(
    "head",
    ["", "ref: refs/heads/../../secret", "ref: /etc/passwd", "0" * 39, "ref: refs/heads/x", "\0"],
)
def test_what_git_would_not_write_is_nothing(work, head):
    (work / ".git/secret").write_text("1" * 40)
    (work / ".git/HEAD").write_text(head)
    assert checked_out_commit(work) is None


def test_references_in_a_circle(work):
    (work / ".git/refs/heads/a").write_text("ref: refs/heads/a")
    (work / ".git/HEAD").write_text("ref: refs/heads/a")
    assert checked_out_commit(work) is None
