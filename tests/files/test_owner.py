"""What root makes in another's directory is handed over, and nothing beside it."""

from __future__ import annotations

import os

import pytest

from bootsmith.files.owner import give_to_owner_of, owned_as

USER, GROUP = 1234, 4321

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def home(tmp_path):
    """A user's directory."""
    directory = tmp_path / "home"
    directory.mkdir()
    os.chown(directory, USER, GROUP)
    return directory


def owner(path):
    status = os.lstat(path)
    return status.st_uid, status.st_gid


def test_what_is_root_s_is_given_to_the_owner(home):
    file = home / "top/deep/file"
    file.parent.mkdir(parents=True)
    file.touch()
    give_to_owner_of(home, home / "top")
    assert {owner(path) for path in home.rglob("*")} == {(USER, GROUP)}


def test_it_is_given_although_the_work_failed(home):
    with pytest.raises(ZeroDivisionError), owned_as(home, home / "top"):
        (home / "top").mkdir()
        raise ZeroDivisionError
    assert owner(home / "top") == (USER, GROUP)


def test_what_is_another_s_stays_so(home):
    (home / "top").mkdir()
    (home / "top/file").touch()
    os.chown(home / "top/file", 77, 78)
    give_to_owner_of(home, home / "top")
    assert owner(home / "top/file") == (77, 78)


def test_nothing_outside_changes_hands(home, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("linked", "second"):
        (outside / name).touch()
    (home / "top").mkdir()
    (home / "top/directory").symlink_to(outside)
    (home / "top/link").symlink_to(outside / "linked")
    os.link(outside / "second", home / "top/second")
    give_to_owner_of(home, home / "top")
    assert {owner(path) for path in (outside, *outside.iterdir())} == {(0, 0)}


def test_root_s_own_directory_stays_root_s(tmp_path):
    (tmp_path / "top").mkdir()
    give_to_owner_of(tmp_path, tmp_path / "top")
    give_to_owner_of(tmp_path, tmp_path / "absent")
    assert owner(tmp_path / "top") == (0, 0)
