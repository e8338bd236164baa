"""`doit publish` into directories of this machine."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
from own_mounts import own_mounts
from publish_samples import MODLOOP_BYTES, listing
from torture import Run

FIRST, SECOND, THIRD, FOURTH = "2026-11-20.1", "2026-11-20.2", "2026-11-21.1", "2026-11-22.1"
TARGET = '[publish.head]\ndirectory = "served"\n'
COUNTS = "9 files and 3 links"


@pytest.fixture
def served(site):
    """The directory of the one target, which is not there yet."""
    site.targets(TARGET)
    return site.root / "served"


def names(directory):
    return sorted(os.listdir(directory))


def current(served):
    return os.readlink(served / "current")


def test_a_directory_becomes_a_serving_root(site, served):
    home = site.make(FIRST)
    assert site.publish() == [
        f"head: serves {FIRST}, was nothing; {COUNTS}, N B sent, N B shared, T s"
    ]
    assert names(served) == [f".current.{FIRST}", "armed", "current", "generations"]
    assert names(served / "generations") == [FIRST]
    assert current(served) == f"generations/{FIRST}"
    assert listing(served / "current") == listing(home)
    text = (served / "current/netboot/tftp/pxelinux.cfg/template-web").read_text()
    assert text == f"KERNEL ::generations/{FIRST}/netboot/tftp/boot/virt/vmlinuz\n"


def test_files_of_one_file_system_are_links(site, served):
    home = site.make(FIRST)
    (target,) = site.publish_json().values()
    assert (target["sent_bytes"], target["was"], target["is_current"]) == (0, None, True)
    for path in ("kernel/virt/vmlinuz", "MANIFEST.json", "netboot/http/boot/virt/modloop"):
        assert (served / "current" / path).samefile(home / path)


def test_serving_goes_on_from_generation_to_generation(site, served):
    site.make(FIRST)
    site.publish()
    (served / "armed/01-52-54-01-02-00-07").symlink_to("../current/x")
    home = site.make(SECOND)
    assert site.publish() == [
        f"head: serves {SECOND}, was {FIRST}; {COUNTS}, N B sent, N B shared, T s"
    ]
    assert site.publish() == [
        f"head: serves {SECOND}, as before; {COUNTS}, N B sent, N B shared, T s"
    ]
    assert listing(served / "current") == listing(home)
    assert names(served / "generations") == [FIRST, SECOND]
    assert names(served / "armed") == ["01-52-54-01-02-00-07"]
    # No link that a reader over NFS may hold was removed.
    assert os.lstat(served / "current").st_ino == os.lstat(served / f".current.{SECOND}").st_ino
    assert current(served).replace(SECOND, FIRST) == os.readlink(served / f".current.{FIRST}")


def test_the_armed_directory_is_for_the_hook_to_write(site, served):
    site.make(FIRST)
    (served / "armed").mkdir(parents=True, mode=0o711)
    site.publish()
    assert (served / "armed").stat().st_mode & 0o7777 == 0o711
    shutil.rmtree(served)
    site.publish()
    has_web_server = "\nwww-data:" in Path("/etc/group").read_text()
    expected = 0o2775 if os.geteuid() == 0 and has_web_server else 0o755
    assert (served / "armed").stat().st_mode & 0o7777 == expected


def test_a_rollback_is_published_without_sending_anything(site, served):
    site.make(FIRST)
    site.publish()
    site.make(SECOND, b"two")
    site.publish()
    assert site.doit("rollback").returncode == 0
    assert current(served) == f"generations/{SECOND}"
    (target,) = site.publish_json().values()
    assert (target["was"], target["sent_bytes"], target["is_current"]) == (SECOND, 0, True)
    assert current(served) == f"generations/{FIRST}"


def test_an_older_generation_is_published_by_its_name(site, served):
    site.make(FIRST)
    site.make(SECOND)
    assert site.publish("--generation", FIRST) == [
        f"head: serves {FIRST}, was nothing; {COUNTS}, N B sent, N B shared, T s"
    ]
    # An option behind a target.
    assert site.publish("head", "--generation", ".2")[0].startswith(f"head: serves {SECOND}, was")


def test_what_never_passed_its_gate_is_not_published(site, served):
    site.make(FIRST)
    site.make(SECOND, promote=False)
    os.symlink(SECOND, site.artifacts / "generations/latest")
    assert site.refused("--generation", SECOND) == (
        f"{SECOND}: never passed its gate: it was not current here\n"
        "  next: put it through: doit promote, or doit release with its boots\n"
    )
    assert not served.exists()


# --- another file system ------------------------------------------------------------------------


@pytest.fixture
def elsewhere(site, tmp_path):
    """A small file system of its own, seen by `doit publish`; a function that sets its size."""
    with own_mounts() as mounts:
        directory = tmp_path / "elsewhere"
        directory.mkdir()
        mounts.run("mount", "-t", "tmpfs", "-o", "size=16m", "elsewhere", directory)
        site.inside = mounts.before
        site.targets(f'[publish.head]\ndirectory = "{directory}/served"\nkeep = 2\n')

        class Elsewhere:
            served = mounts.seen(directory / "served")

            def resize(self, size):
                mounts.run("mount", "-o", f"remount,size={size}", directory)

            def unmount(self):
                mounts.run("umount", "-l", directory)

        yield Elsewhere()


def test_another_file_system_gets_copies_once(site, elsewhere):
    home, served = site.make(FIRST), elsewhere.served
    (target,) = site.publish_json().values()
    assert target["sent_bytes"] + target["shared_bytes"] == target["sent_bytes"] > MODLOOP_BYTES
    assert listing(served / "current") == listing(home)
    kernel = served / "current/kernel/virt/vmlinuz"
    assert not kernel.samefile(home / "kernel/virt/vmlinuz")
    assert kernel.samefile(served / "current/netboot/tftp/boot/virt/vmlinuz")
    assert kernel.stat().st_mode & 0o777 == 0o444


def test_unchanged_files_are_links_to_the_generation_before(site, elsewhere):
    site.make(FIRST)
    site.publish()
    home = site.make(SECOND)
    plan = site.publish("--dry-run")
    (target,) = site.publish_json().values()
    assert plan == [
        f"head: would be sent at most N B of N B, then serve {SECOND} instead of {FIRST}"
    ]
    assert 0 < target["sent_bytes"] < 10_000
    generations = elsewhere.served / "generations"
    path = "modloop/virt/modloop"
    assert (generations / SECOND / path).samefile(generations / FIRST / path)
    assert listing(elsewhere.served / "current") == listing(home)


def test_a_full_disk_leaves_what_is_served_and_is_gone_on_with(site, elsewhere):
    site.make(FIRST)
    site.publish()
    home = site.make(SECOND, b"two", extra={"kernel/virt/aaa": b"a" * 300_000})
    served = elsewhere.served
    elsewhere.resize("1300k")
    said = site.refused()
    assert said == (
        f"head ({site_directory(site)}): no space left on the disk; "
        "expected room for at most N B more, got N B free\n"
        "  next: free some room, then doit publish again: it goes on from what is there\n"
    )
    assert current(served) == f"generations/{FIRST}"
    assert names(served / "generations") == [f".incoming-{SECOND}", FIRST]
    assert (served / f"generations/.incoming-{SECOND}/kernel/virt/aaa").exists()
    elsewhere.resize("16m")
    (target,) = site.publish_json().values()
    assert target["sent_bytes"] < MODLOOP_BYTES + 10_000  # without kernel/virt/aaa
    assert listing(served / "current") == listing(home)
    assert names(served / "generations") == [FIRST, SECOND]


def site_directory(site):
    return site.root.parent / "elsewhere/served"


def test_what_was_begun_of_another_generation_is_a_start(site, elsewhere):
    site.make(FIRST, b"one")
    elsewhere.resize("400k")
    site.refused()
    elsewhere.resize("16m")
    home = site.make(SECOND, b"one")
    site.publish()
    assert names(elsewhere.served / "generations") == [SECOND]
    assert listing(elsewhere.served / "current") == listing(home)


def test_old_generations_are_removed_but_never_the_one_before(site, elsewhere):
    kept = elsewhere.served / "generations"
    for identifier in (FIRST, SECOND, THIRD):
        site.make(identifier)
        said = site.publish()
    assert names(kept) == [SECOND, THIRD]
    assert said[0].endswith(f"; removed {FIRST}")
    # To an older one and back: both stay, whatever `keep` says, and also the next time.
    site.make(FOURTH)
    site.publish()
    assert names(kept) == [THIRD, FOURTH]
    site.publish("--generation", SECOND)
    assert current(elsewhere.served) == f"generations/{SECOND}"
    for _ in range(2):
        site.publish()
        assert current(elsewhere.served) == f"generations/{FOURTH}"
        assert names(kept) == [SECOND, THIRD, FOURTH]
    assert not os.path.lexists(elsewhere.served / f".current.{FIRST}")


# --- kills --------------------------------------------------------------------------------------


def events_of(site, tmp_path):
    """What an undisturbed run does to the disk below the site, event by event."""
    log = tmp_path / "events"
    log.unlink(missing_ok=True)
    assert Run(site.root, "publish", log=log).end().status == 0
    # A statement of sqlite has several lines.
    return [line for line in log.read_text().splitlines() if line[:1].isalpha() and "\t" in line]


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4, 0.6, 0.75, 0.85, 0.92, 0.97, 1.0])
def test_a_killed_run_leaves_what_is_served_and_the_next_goes_on(site, served, tmp_path, share):
    site.make(FIRST)
    site.publish()
    home = site.make(SECOND, b"two")
    before = site.root.parent / "before"
    shutil.copytree(served, before, symlinks=True)

    def begin_again():
        shutil.rmtree(served)
        shutil.copytree(before, served, symlinks=True)

    events = []
    for _ in range(2):  # the first one also makes caches
        begin_again()
        events = events_of(site, tmp_path)
    begin_again()
    count = len(events)
    ended = Run(site.root, "publish", signal_at=max(1, round(count * share))).end()
    assert ended.status == -9, ended.said
    now = current(served)
    assert now in (f"generations/{FIRST}", f"generations/{SECOND}")
    if now.endswith(SECOND):
        assert listing(served / "current") == listing(home)
    else:
        assert listing(served / "current") == listing(site.artifacts / "generations" / FIRST)
    site.publish()
    assert listing(served / "current") == listing(home)
    assert names(served / "generations") == [FIRST, SECOND]
    assert [name for name in names(served) if "new" in name] == []
    assert not list(served.rglob("*.partial"))


# --- damage -------------------------------------------------------------------------------------


def test_damage_at_a_place_is_found_and_mended(site, elsewhere):
    home, served = site.make(FIRST), elsewhere.served
    site.publish()
    modloop = served / "current/modloop/virt/modloop"
    times = modloop.stat()
    content = bytearray(modloop.read_bytes())
    content[1000] ^= 1
    modloop.chmod(0o644)
    modloop.write_bytes(content)
    os.utime(modloop, ns=(times.st_atime_ns, times.st_mtime_ns))
    (served / "current/stray").write_text("stray")
    (served / "current/netboot/http/apkovl/web.apkovl.tar.gz").unlink()
    link = served / "current/netboot/tftp/pxelinux.cfg/01-52-54-01-02-00-07"
    link.unlink()
    link.symlink_to("template-db")
    shutil.rmtree(served / "current/kernel")
    (served / "current/kernel").symlink_to("/etc")
    assert site.publish() == [
        f"head: serves {FIRST}, as before; {COUNTS}, N B sent, N B shared, T s; mended 7: kernel, "
        "kernel/virt/vmlinuz, modloop/virt/modloop and 4 more"
    ]
    assert listing(served / "current") == listing(home)
    assert site.publish_json()["head"]["mended"] == []


def test_damage_at_home_is_not_delivered(site, served):
    home = site.make(FIRST)
    kernel = home / "kernel/virt/vmlinuz"
    kernel.chmod(0o644)
    kernel.write_bytes(b"rotten" * 200)
    assert site.refused() == (
        f"head ({served}): cannot get kernel/virt/vmlinuz, which is damaged here at home\n"
        f"  next: doit verify --repair {FIRST}, then doit publish again\n"
    )
    assert names(served) == ["armed", "generations"]
    assert names(served / "generations") == [f".incoming-{FIRST}"]


@pytest.mark.parametrize(
    "path,content,problem",
    [
        ("kernel/virt/vmlinuz", b"short", "has another size than the manifest says"),
        ("kernel/virt/other", b"other", "is not in the manifest"),
        ("kernel/virt/vmlinuz", None, "is in the manifest but not in the generation"),
        ("netboot/INDEX.jsonl", b"{}", "is damaged"),
        ("netboot/tftp/pxelinux.cfg/01-52-54-01-02-00-07", b"x", "is not a symbolic link"),
    ],
)
def test_a_generation_that_is_not_its_manifest_is_refused(site, served, path, content, problem):
    file = site.make(FIRST) / path
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content)
    assert site.refused() == f"{file}: {problem}\n  next: doit verify --repair {FIRST}\n"
    assert not served.exists()


# --- places that cannot be used -----------------------------------------------------------------

MOVE_AWAY = "look at {place}{path} there, and move it out of the way"


def as_file(path):
    path.write_text("a file")


def as_link(path):
    path.symlink_to("/etc")


def as_directory(path):
    path.mkdir()


@pytest.mark.parametrize(
    "path,make,problem",
    [
        ("", as_file, "it is no directory"),
        ("/generations", as_file, "generations is no directory"),
        ("/generations", as_link, "generations is a symbolic link"),
        ("/armed", as_file, "armed is no directory"),
        ("/armed", as_link, "armed is a symbolic link"),
        ("/current", as_directory, "current is no symbolic link"),
        ("/current", as_file, "current is no symbolic link"),
        ("/current", as_link, "current leads to /etc"),
        (f"/generations/{FIRST}", as_file, f"generations/{FIRST} is no directory"),
        (f"/generations/{FIRST}", as_link, f"generations/{FIRST} is a symbolic link"),
    ],
)
def test_a_place_that_is_no_serving_root_is_refused(site, served, path, make, problem):
    site.make(FIRST)
    parent = os.path.dirname(f"{served}{path}")
    os.makedirs(parent, exist_ok=True)
    make(served.parent / f"served{path}")
    before = listing(site.root / "served") if served.is_dir() else None
    assert site.refused() == (
        f"head ({served}): {problem}\n  next: {MOVE_AWAY.format(place=served, path=path)}\n"
    )
    assert before is None or listing(site.root / "served") == before


def test_an_incoming_directory_that_leads_out_is_not_followed(site, served):
    home, out = site.make(FIRST), site.root / "out"
    out.mkdir()
    (served / "generations").mkdir(parents=True)
    (served / f"generations/.incoming-{FIRST}").symlink_to(out)
    site.publish()
    assert names(out) == []
    incoming = served / f"generations/.incoming-{SECOND}"
    incoming.mkdir()
    (incoming / "kernel").symlink_to(out)
    site.make(SECOND)
    site.publish()
    assert names(out) == []
    assert listing(served / f"generations/{FIRST}") == listing(home)


def test_another_generation_of_the_same_name_is_not_written_over(site, served):
    site.make(FIRST)
    site.publish()
    shutil.rmtree(site.artifacts)
    (site.artifacts / "build").mkdir(parents=True)
    site.make(FIRST, b"two")
    before = listing(served)
    said = site.refused()
    assert said.startswith(
        f"head ({served}): has another generation that is called {FIRST} too; "
        "expected MANIFEST.json of sha256 "
    )
    assert said.endswith(
        "\n  next: two sites need two places; if it is of no use, remove it there: "
        f"rm -rf {served}/generations/{FIRST}\n"
    )
    assert listing(served) == before


def test_a_place_of_another_site_is_left_alone_unless_it_is_taken_over(site, served):
    site.make(FIRST)
    site.publish()
    before = listing(served)
    site.named = "other"
    site.make(SECOND)
    assert site.refused() == (
        f"head ({served}): serves another site; expected other, got tiny ({FIRST})\n"
        "  next: two sites need two places; if this one is to take its place: "
        "doit publish --take-over head\n"
    )
    assert "serves another site" in site.refused("--dry-run")
    assert listing(served) == before
    site.publish("--take-over", "head")
    assert os.readlink(served / "current") == f"generations/{SECOND}"
    site.publish()


def test_a_directory_below_one_that_is_not_there_is_refused(site):
    site.make(FIRST)
    site.targets('[publish.head]\ndirectory = "absent/boot"\n')
    assert site.refused() == (
        f"head ({site.root}/absent/boot): is not there, nor is the directory that it would be in\n"
        "  next: make it, or mount what it should be on\n"
    )


@pytest.mark.parametrize("directory", ["artifacts", "artifacts/served", "link"])
def test_the_artifacts_are_no_place(site, directory):
    site.make(FIRST)
    (site.root / "link").symlink_to("artifacts")
    site.targets(f'[publish.head]\ndirectory = "{directory}"\n')
    assert site.refused() == (
        f"head ({site.root}/{directory}): is inside of artifacts/, where the generations come "
        "from\n  next: take a directory elsewhere: directory of this target in "
        "recipes/site.toml\n"
    )


def test_a_site_without_targets_is_told_what_to_write(site):
    site.make(FIRST)
    assert site.refused() == (
        "recipes/site.toml: says nowhere to publish to; expected a table such as\n"
        "    [publish.head]\n"
        '    directory = "/srv/boot"          # on this machine\n'
        "    [publish.rack-2]\n"
        '    ssh = "deploy@rack-2:/srv/boot"  # on another one\n'
        "  next: add one; docs/publish.md tells what a place needs\n"
    )


def test_an_unknown_target_is_refused(site, served):
    site.make(FIRST)
    assert site.refused("haed") == (
        "haed: is no target of [publish] in recipes/site.toml; expected head\n"
        "  next: the nearest is head\n"
    )


def test_nothing_current_is_refused(site, served):
    assert site.refused() == "current: there is none\n  next: make the first: doit build\n"
    assert not served.exists()


def test_two_runs_do_not_meet(site, served):
    site.make(FIRST)
    with open(site.artifacts / "publish.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert site.refused() == (
            "doit publish: another one is at work\n  next: wait until it has ended\n"
        )
    assert not served.exists()


def test_a_read_only_home_names_the_command_to_repeat(site, served):
    site.make(FIRST)
    with own_mounts() as mounts:
        mounts.run("mount", "--bind", site.artifacts, site.artifacts)
        mounts.run("mount", "-o", "remount,bind,ro", site.artifacts)
        site.inside = mounts.before
        said = site.refused()
    assert said == (
        f"{site.artifacts}/publish.lock: the file system is read-only\n"
        "  next: mount it writable, then doit publish again\n"
    )


def test_a_dry_run_changes_nothing(site, served):
    site.make(FIRST)
    assert site.publish("--dry-run") == [
        f"head: would be sent at most N B of N B, then serve {FIRST} instead of nothing"
    ]
    assert not served.exists()
    site.publish()
    before = listing(site.root)
    assert site.publish("--dry-run") == [
        f"head: serves {FIRST} already; it would be read and compared"
    ]
    site.make(SECOND)
    site.publish()
    assert site.publish("--dry-run", "--generation", FIRST) == [
        f"head: has {FIRST}; it would be read, then served instead of {SECOND}"
    ]
    (target,) = site.publish_json("--dry-run", "--generation", FIRST).values()
    assert (target["is_there"], target["is_current"], target["sent_bytes"]) == (True, False, 0)
    assert {path for path in before if path not in listing(site.root)} == set()


def test_a_dry_run_tells_of_too_little_room(site, elsewhere):
    site.make(FIRST)
    elsewhere.resize("400k")
    assert site.publish("--dry-run") == [
        f"head: would be sent at most N B of N B, then serve {FIRST} instead of nothing",
        "  warning: N B are free there, which may be N B too little",
    ]
    (target,) = site.publish_json("--dry-run").values()
    assert target["free_bytes"] == 400 * 1024 < target["sent_bytes"]
    elsewhere.resize("16m")
    assert len(site.publish("--dry-run")) == 1


def test_a_dry_run_tells_where_nobody_can_write(site, tmp_path):
    place = tmp_path / "read-only"
    place.mkdir()
    site.targets(f'[publish.head]\ndirectory = "{place}/served"\n')
    site.make(FIRST)
    site.publish()
    with own_mounts() as mounts:
        mounts.run("mount", "--bind", place, place)
        mounts.run("mount", "-o", "remount,bind,ro", place)
        site.inside = mounts.before
        assert site.publish("--dry-run") == [
            f"head: serves {FIRST} already; it would be read and compared",
            f"  warning: this user cannot write in {place}/served there",
        ]


# --- several ------------------------------------------------------------------------------------


def test_where_one_place_fails_none_moves(site, elsewhere, served):
    site.targets(
        f'[publish.head]\ndirectory = "served"\n'
        f'[publish.small]\ndirectory = "{site_directory(site)}"\n'
    )
    site.make(FIRST)
    site.publish()
    home = site.make(SECOND, b"two")
    elsewhere.resize("900k")
    said = site.refused()
    lines = said.splitlines()
    small = f"small ({site_directory(site)}): "
    assert lines[:2] == [
        f"{SECOND}: did not arrive everywhere, so every place serves what it served",
        f"    head ({served}): has {SECOND}, and serves {FIRST}",
    ]
    assert lines[2].startswith(f"    {small}")
    assert ": no space left on the disk; expected room for at most N B more, got N B f" in lines[2]
    assert lines[3:] == [
        "  next: see to small, then doit publish again: it goes on from what is there"
    ]
    assert current(served) == current(elsewhere.served) == f"generations/{FIRST}"
    elsewhere.resize("16m")
    targets = site.publish_json()
    assert targets["head"]["sent_bytes"] == 0
    for place in (served, elsewhere.served):
        assert listing(place / "current") == listing(home)


def test_targets_can_be_named(site, served):
    site.targets(TARGET + '[publish.other]\ndirectory = "other"\n')
    site.make(FIRST)
    assert [line.partition(":")[0] for line in site.publish("other")] == ["other"]
    assert not served.exists()
    assert [line.partition(":")[0] for line in site.publish()] == ["head", "other"]


def test_one_bad_place_stops_all_before_anything_is_sent(site, served):
    site.targets(TARGET + '[publish.other]\ndirectory = "absent/boot"\n')
    site.make(FIRST)
    assert site.refused().startswith(f"other ({site.root}/absent/boot): is not there, nor ")
    assert not served.exists()


# --- the record ---------------------------------------------------------------------------------


def test_what_is_published_where_is_remembered(site, served):
    site.make(FIRST)
    site.publish()
    site.make(SECOND)
    site.publish()
    record = json.loads((site.artifacts / "published.json").read_bytes())
    assert record["targets"]["head"].pop("at_epoch") > 0
    assert record == {
        "schema": 1,
        "targets": {"head": {"before": FIRST, "current": SECOND, "place": str(served)}},
    }


def test_a_record_that_is_none_is_no_obstacle(site, served):
    site.make(FIRST)
    (site.artifacts / "published.json").write_text('{"schema": 1, "targets": [1]}')
    site.publish()
    record = json.loads((site.artifacts / "published.json").read_bytes())
    assert record["targets"]["head"]["current"] == FIRST
