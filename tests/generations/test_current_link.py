"""`current` moves with one rename and deletes no link that a reader may hold by its handle."""

from __future__ import annotations

import os

import pytest

from bootsmith.generations.current_link import move_current


@pytest.fixture
def artifacts(tmp_path):
    for identifier in ("2026-11-20.1", "2026-11-20.2"):
        (tmp_path / "generations" / identifier).mkdir(parents=True)
    return tmp_path


def test_it_leads_where_it_should(artifacts):
    for identifier in ("2026-11-20.1", "2026-11-20.2", "2026-11-20.2", "2026-11-20.1"):
        move_current(artifacts, identifier)
        assert os.readlink(artifacts / "current") == f"generations/{identifier}"
    assert sorted(os.listdir(artifacts)) == [
        ".current.2026-11-20.1",
        ".current.2026-11-20.2",
        "current",
        "generations",
    ]


def test_the_link_that_was_current_lives_on(artifacts):
    move_current(artifacts, "2026-11-20.1")
    held = os.open(artifacts / "current", os.O_PATH | os.O_NOFOLLOW)
    try:
        move_current(artifacts, "2026-11-20.2")
        assert os.fstat(held).st_nlink == 1
        assert os.readlink("", dir_fd=held) == "generations/2026-11-20.1"
    finally:
        os.close(held)


def test_a_link_of_other_making_is_replaced(artifacts):
    (artifacts / "current").symlink_to("generations/2026-11-20.1")
    (artifacts / ".current.2026-11-20.2").symlink_to("nowhere")
    move_current(artifacts, "2026-11-20.2")
    assert (artifacts / "current").samefile(artifacts / "generations/2026-11-20.2")


def test_links_go_with_their_generations(artifacts):
    move_current(artifacts, "2026-11-20.1")
    (artifacts / "generations/2026-11-20.1").rmdir()
    move_current(artifacts, "2026-11-20.2")
    assert sorted(os.listdir(artifacts)) == [".current.2026-11-20.2", "current", "generations"]


def test_without_hard_links_the_rename_is_as_atomic(artifacts, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for identifier in ("2026-11-20.1", "2026-11-20.2"):
        move_current(artifacts, identifier)
        assert os.readlink(artifacts / "current") == f"generations/{identifier}"
    assert not [name for name in os.listdir(artifacts) if name.endswith(".partial")]
