"""Whoever changes what is current is reminded of targets; whoever publishes, of servers."""

from __future__ import annotations

import shutil

import pytest
from tiny_site import write_iso, write_site

FIRST, SECOND = "2026-11-20.1", "2026-11-20.2"
TARGET = '[publish.head]\ndirectory = "served"\n'
BEHIND = f"head still serves {SECOND} (next: doit publish)\n"


@pytest.fixture
def published(site):
    """Two generations, the second one delivered."""
    site.targets(TARGET)
    for identifier in (FIRST, SECOND):
        site.make(identifier)
    site.publish()
    return site


def test_a_rollback_reminds_of_targets_beside_its_answer(published):
    done = published.doit("rollback")
    assert done.stdout.startswith(f"current is {FIRST} (was {SECOND})")
    assert done.stderr == BEHIND


def test_whoever_asks_for_silence_is_not_reminded(published):
    published.inside = ("BOOTSMITH_REPORT=quiet",)
    done = published.doit("rollback")
    assert done.stdout.startswith(f"current is {FIRST} (was {SECOND})")
    assert done.stderr == ""


def test_it_does_so_with_broken_recipes(published):
    published.targets("[publish")
    assert published.doit("rollback").stderr == BEHIND


def test_a_target_that_left_the_recipes_is_not_told_of(published):
    published.targets("")
    assert published.doit("rollback").stderr == ""


def test_a_build_reminds_in_its_closing_line(site, tmp_path):
    (tmp_path / "disc").mkdir()
    write_site(site.root, write_iso(tmp_path / "disc"))
    site.targets(TARGET)

    def closing():
        done = site.doit("build")
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()[-1].partition("; ")[2]

    first = closing().partition(";")[0].removeprefix("current is ")
    assert closing() == (
        f"current is {first}; nothing was delivered to head yet (next: doit publish)"
    )
    site.publish()
    assert closing() == f"current is {first}"
    (site.root / "overlays/base/etc/motd").write_text("the second edition\n")
    second = f"{first[:-1]}2"
    assert closing() == f"current is {second}; head still serves {first} (next: doit publish)"
    site.inside = ("BOOTSMITH_REPORT=quiet",)
    assert site.doit("build").stderr == ""


def test_publishing_says_which_servers_read_their_files_again(site, tmp_path):
    (tmp_path / "disc").mkdir()
    write_site(site.root, write_iso(tmp_path / "disc"))
    site.targets(f'{TARGET}[publish.rack]\ndirectory = "rack"\n')

    def said(*words):
        done = site.doit("publish", *words)
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    def build(path, old="", new=""):
        file = site.root / path
        file.write_text(file.read_text().replace(old, new))
        done = site.doit("build")
        assert done.returncode == 0, done.stderr

    build("recipes/hosts.toml")
    assert said() == []  # nothing was served, so no server has read anything
    build("overlays/base/etc/motd", "first", "second")
    assert said() == []
    build("recipes/hosts.toml", "10.9.0.11", "10.9.0.12")
    assert said("--dry-run") == []
    heading, *rows = said()
    assert heading == (
        "head, rack: configurations of servers changed; tell those that run there "
        "(docs/servers.md):"
    )
    told = {row.split("  ")[1].strip(): row.rpartition("  ")[2] for row in rows}
    assert told["dnsmasq"] == "systemctl reload dnsmasq"
    assert told["BIND"] == "rndc reload"
    assert "nginx" not in told
    assert said() == []  # served as before
    build("recipes/hosts.toml", "10.9.0.12", "10.9.0.13")
    site.inside = ("BOOTSMITH_REPORT=quiet",)
    assert said() == []
    site.inside = ()
    build("recipes/hosts.toml", "10.9.0.13", "10.9.0.14")
    assert said("--json") == []
    build("recipes/hosts.toml", "10.9.0.14", "10.9.0.15")
    was = (site.root / "served/current").resolve().name
    shutil.rmtree(site.artifacts / "generations" / was)  # nobody can say what has changed
    assert said() == []
