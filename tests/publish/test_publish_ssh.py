"""`doit publish` to another machine: real rsync, real ssh, on a network of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from publish_samples import MODLOOP_BYTES, listing, plain
from ssh_servers import ADDRESS, PORT, ssh_server

FIRST, SECOND = "2026-11-20.1", "2026-11-20.2"
COUNTS = "9 files and 3 links"
OBEYS = 'exec sh -c "$SSH_ORIGINAL_COMMAND"'
BY_HAND = f"ssh -p {PORT} -i {{key}} root@{ADDRESS}"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all; each test has keys and directories of its own."""
    with ssh_server(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def far(site, server, tmp_path):
    """The directory of the target, which is not there yet."""
    site.inside = server.inside
    site.targets(server.target("rack", tmp_path / "far", server.key(f"{tmp_path.name}-plain")))
    return tmp_path / "far"


@pytest.fixture
def behaving(site, server, tmp_path):
    """A function: let the machine run `script` in place of each command that it is given."""

    def behave(script, **more):
        path = tmp_path / "command"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        key = server.key(f"{tmp_path.name}-special", command=str(path))
        site.targets(server.target("rack", tmp_path / "far", key, **more))
        return key

    return behave


def shown(directory):
    return f"rack (root@{ADDRESS}:{directory})"


def names(directory):
    return sorted(os.listdir(directory))


def current(directory):
    return os.readlink(directory / "current")


def test_a_machine_becomes_a_head_node(site, far):
    home = site.make(FIRST)
    assert site.publish() == [
        f"rack: serves {FIRST}, was nothing; {COUNTS}, N B sent, N B shared, T s"
    ]
    assert names(far) == [f".current.{FIRST}", "armed", "current", "generations"]
    assert names(far / "generations") == [FIRST]
    assert current(far) == f"generations/{FIRST}"
    assert listing(far / "current") == listing(home)
    kernel = far / "current/kernel/virt/vmlinuz"
    assert kernel.samefile(far / "current/netboot/tftp/boot/virt/vmlinuz")
    assert kernel.stat().st_mode & 0o777 == 0o444
    # At home links with one text are one inode, which can have 65000 names on ext4; there it
    # would get as many from each generation.
    links = [f"netboot/tftp/pxelinux.cfg/01-52-54-01-02-00-0{number}" for number in (7, 8)]
    assert len({os.lstat(home / link).st_ino for link in links}) == 1
    assert len({os.lstat(far / "current" / link).st_ino for link in links}) == 2


def test_unchanged_files_are_not_sent_again(site, far):
    site.make(FIRST)
    assert site.publish_json()["rack"]["sent_bytes"] > MODLOOP_BYTES
    home = site.make(SECOND)
    plan = site.publish("--dry-run")
    assert plan == [
        f"rack: would be sent at most N B of N B, then serve {SECOND} instead of {FIRST}"
    ]
    assert names(far / "generations") == [FIRST]
    assert site.publish_json()["rack"]["sent_bytes"] < 20_000
    assert listing(far / "current") == listing(home)
    path = "modloop/virt/modloop"
    assert (far / "generations" / FIRST / path).samefile(far / "generations" / SECOND / path)


def test_going_back_and_again_sends_nothing(site, far):
    site.make(FIRST)
    site.publish()
    site.make(SECOND, b"two")
    site.publish()
    assert site.doit("rollback").returncode == 0
    assert current(far) == f"generations/{SECOND}"
    target = site.publish_json()["rack"]
    assert (target["was"], target["sent_bytes"]) == (SECOND, 0)
    assert current(far) == f"generations/{FIRST}"
    assert site.publish() == [
        f"rack: serves {FIRST}, as before; {COUNTS}, N B sent, N B shared, T s"
    ]


def test_a_place_with_busybox_will_do(site, server, behaving, tmp_path):
    """As on Alpine: no coreutils, but rsync."""
    programs = tmp_path / "bin"
    programs.mkdir()
    busybox = shutil.which("busybox")
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        (programs / name).symlink_to(busybox)
    (programs / "rsync").symlink_to(shutil.which("rsync"))
    behaving(f'PATH={programs}; export PATH; exec sh -c "$SSH_ORIGINAL_COMMAND"')
    site.inside = server.inside
    for identifier in (FIRST, SECOND):
        home = site.make(identifier)
        site.publish()
        assert listing(tmp_path / "far/current") == listing(home)
        assert current(tmp_path / "far") == f"generations/{identifier}"


def test_a_key_may_lie_anywhere(site, server, far, tmp_path):
    directory = tmp_path / "keys of 'ours' 100%"
    directory.mkdir()
    for name in (f"{tmp_path.name}-plain", f"{tmp_path.name}-plain.pub", "known_hosts"):
        shutil.copy(server.directory / name, directory)
    site.targets(
        server.target(
            "rack",
            far,
            directory / f"{tmp_path.name}-plain",
            known_hosts=str(directory / "known_hosts"),
        )
    )
    home = site.make(FIRST)
    site.publish()
    assert listing(far / "current") == listing(home)


def test_no_key_shows_in_what_is_left(site, server, far, tmp_path):
    site.make(FIRST)
    done = site.doit("publish")
    secret = (server.directory / f"{tmp_path.name}-plain").read_bytes()
    lines = [line for line in secret.splitlines() if not line.startswith(b"-----")]
    left = [path for path in site.root.rglob("*") if path.is_file() and not path.is_symlink()]
    left += [path for path in far.rglob("*") if path.is_file()]
    for line in lines:
        assert line.decode() not in done.stdout + done.stderr
        assert [path for path in left if line in path.read_bytes()] == []
    assert names(site.artifacts) == sorted(
        {
            *(".current.2026-11-20.1", "build", "current", "generations", "history.jsonl"),
            *("kernel", "modloop", "netboot", "publish.lock", "published.json", "store"),
        }
    )


# --- nobody there -------------------------------------------------------------------------------


def test_an_unknown_host_key_is_refused(site, server, far, tmp_path):
    site.make(FIRST)
    (tmp_path / "known").touch()
    key = server.key(f"{tmp_path.name}-known")
    site.targets(server.target("rack", far, key, known_hosts=str(tmp_path / "known")))
    assert site.refused() == (
        f"{shown(far)}: its host key is not known here\n"
        f"  next: log in once by hand and compare the fingerprint: {BY_HAND.format(key=key)}\n"
    )
    assert not far.exists()


def test_another_host_key_is_refused(site, server, far, tmp_path):
    site.make(FIRST)
    other = server.key(f"{tmp_path.name}-other")
    public = other.with_suffix(".pub").read_text()
    (tmp_path / "known").write_text(f"[{ADDRESS}]:{PORT} {public}")
    site.targets(server.target("rack", far, other, known_hosts=str(tmp_path / "known")))
    assert site.refused() == (
        f"{shown(far)}: shows another host key than the one that is known of it\n"
        "  next: make sure that it is the right machine; then forget the old key (ssh-keygen -R) "
        f"and log in once by hand: {BY_HAND.format(key=other)}\n"
    )
    assert not far.exists()


def test_a_key_that_opens_nothing_is_refused(site, server, far, tmp_path):
    site.make(FIRST)
    key = tmp_path / "none"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", key], check=True)
    site.targets(server.target("rack", far, key))
    assert site.refused() == (
        f"{shown(far)}: does not let this user in\n"
        f"  next: try it by hand: {BY_HAND.format(key=key)}; the key must be in "
        "~/.ssh/authorized_keys there, and have no passphrase or be in ssh-agent\n"
    )


def test_a_port_where_nobody_listens(site, server, far, tmp_path):
    site.make(FIRST)
    key = server.directory / f"{tmp_path.name}-plain"
    site.targets(server.target("rack", far, key).replace(f"port = {PORT}", "port = 2"))
    by_hand = f"ssh -p 2 -i {key} root@{ADDRESS}"
    assert site.refused() == (
        f"{shown(far)}: cannot be reached, or the connection broke; "
        f"got connect to host {ADDRESS} port 2: Connection refused\n"
        f"  next: see that it is up and runs an ssh server: {by_hand}\n"
    )


def test_a_name_that_nobody_knows(site, server, far, tmp_path):
    site.make(FIRST)
    key = server.directory / f"{tmp_path.name}-plain"
    site.targets(server.target("rack", far, key, ssh="root@rack.invalid:/srv/boot"))
    assert site.refused() == (
        "rack (root@rack.invalid:/srv/boot): has a name that nobody knows\n"
        "  next: correct `ssh` of the target in recipes/site.toml, or see to the name server\n"
    )


def test_a_machine_without_rsync(site, server, behaving, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "sha256sum", "readlink", "tr", "cut"):
        (programs / name).symlink_to(shutil.which(name))
    behaving(f'PATH={programs}; export PATH; exec sh -c "$SSH_ORIGINAL_COMMAND"')
    site.inside = server.inside
    site.make(FIRST)
    assert site.refused() == (
        f"{shown(tmp_path / 'far')}: has no rsync\n"
        "  next: install it there: apt-get install rsync\n"
    )
    assert not (tmp_path / "far").exists()


def test_a_user_who_may_not_write(site, server, behaving, tmp_path):
    behaving(
        "exec setpriv --reuid=65534 --regid=65534 --clear-groups "
        'sh -c "cd /; $SSH_ORIGINAL_COMMAND"'
    )
    site.inside = server.inside
    site.make(FIRST)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    far = tmp_path / "far"
    tmp_path.chmod(0o755)
    assert site.refused() == (
        f"{shown(far)}: permission denied; got mkdir: cannot create directory '{far}': "
        "Permission denied\n  next: let the user who delivers write there, then doit publish "
        "again: it goes on from what is there\n"
    )
    assert site.publish("--dry-run")[1:] == [
        f"  warning: this user cannot write in {tmp_path}/ there"
    ]


# --- half-way -----------------------------------------------------------------------------------

# The first upload gets some of it; the rest is lost, until somebody ends the connection.
HANGS = """
case $SSH_ORIGINAL_COMMAND in
rsync*)
	if mkdir {marker}.begun 2>/dev/null; then
		{{ dd bs=1k count=400 status=none; touch {marker}; cat >/dev/null; }} |
			sh -c "$SSH_ORIGINAL_COMMAND"
		exit
	fi ;;
esac
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""


def begin_to_publish(site, marker):
    """A run that hangs in the middle of its upload."""
    process = subprocess.Popen(
        [
            "env",
            *site.inside,
            "env",
            "--default-signal=INT",
            f"--chdir={site.root}",
            sys.executable,
            "-m",
            "doit",
            "publish",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not marker.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def big(site, identifier):
    """A generation with a file that no pipe holds, and that does not compress to nothing."""
    return site.make(identifier, b"two", extra={"kernel/virt/aaa": os.urandom(2_000_000)})


def children_of(process_id):
    path = f"/proc/{process_id}/task/{process_id}/children"
    with open(path) as children:
        return [int(word) for word in children.read().split()]


def family_of(process_id):
    return [process_id] + [one for child in children_of(process_id) for one in family_of(child)]


@pytest.fixture
def hanging(site, server, far, behaving, tmp_path):
    """A place that serves the first generation, and a run that hangs sending the second."""
    site.make(FIRST)
    site.publish()
    home = big(site, SECOND)
    marker = tmp_path / "marker"
    behaving(HANGS.format(marker=marker))
    process = begin_to_publish(site, marker)
    yield process, home
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def goes_on(site, far, home):
    """The next run has less to send, and ends well."""
    assert current(far) == f"generations/{FIRST}"
    assert names(far / "generations") == [f".incoming-{SECOND}", FIRST]
    kept = far / f"generations/.incoming-{SECOND}/kernel/virt/aaa"
    for _ in range(1000):  # rsync there has to notice first
        if kept.exists():
            break
        time.sleep(0.02)
    target = site.publish_json()["rack"]
    assert target["sent_bytes"] < 2_550_000  # of 2.7 MB
    assert listing(far / "current") == listing(home)
    assert names(far / "generations") == [FIRST, SECOND]


def test_a_machine_that_vanishes_half_way(site, server, far, hanging):
    process, home = hanging
    sshd = next(
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and is_our_sshd(entry, server.directory)
    )
    for process_id in children_of(sshd):
        os.kill(process_id, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) != (0, "")
    said = plain(stderr.partition("FAILED publish\n")[2])
    assert said.startswith(f"{shown(far)}: cannot be reached, or the connection broke; got ")
    assert "\n  next: see that it is up and runs an ssh server: ssh -p " in said
    goes_on(site, far, home)


def is_our_sshd(entry, directory):
    try:
        with open(f"/proc/{entry}/cmdline", "rb") as line:
            title = line.read()
    except OSError:
        return False
    return title.startswith(b"sshd: ") and os.fsencode(directory / "sshd_config") in title


def test_a_run_that_is_killed_half_way(site, far, hanging):
    process, home = hanging
    inner = [one for one in family_of(process.pid) if is_rsync(one)]
    assert inner
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for one in inner:
        while os.path.exists(f"/proc/{one}/exe"):
            time.sleep(0.02)  # the kernel ends it, not we
    goes_on(site, far, home)


def is_rsync(process_id):
    try:
        return os.readlink(f"/proc/{process_id}/exe").endswith("rsync")
    except OSError:
        return False


def test_a_run_that_is_interrupted_half_way(site, far, hanging):
    process, home = hanging
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "Traceback" not in stderr
    assert not [name for name in names(site.artifacts) if name.startswith(".ssh")]
    goes_on(site, far, home)


def test_a_full_disk_there(site, server, far, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    server.run("mount", "-t", "tmpfs", "-o", "size=16m", "disk", disk)
    try:
        key = server.directory / f"{tmp_path.name}-plain"
        site.targets(server.target("rack", disk / "far", key))
        site.make(FIRST)
        site.publish()
        big(site, SECOND)
        server.run("mount", "-o", "remount,size=1500k", disk)
        assert site.refused() == (
            f"{shown(disk / 'far')}: no space left on the disk there; "
            "expected room for at most N B more, got N B free\n"
            "  next: free some room there, then doit publish again: it goes on from what is there\n"
        )
        server.run("test", "-d", disk / f"far/generations/.incoming-{SECOND}")
        server.run("test", disk / "far/current", "-ef", disk / f"far/generations/{FIRST}")
        server.run("mount", "-o", "remount,size=16m", disk)
        site.publish()
        server.run("test", disk / "far/current", "-ef", disk / f"far/generations/{SECOND}")
    finally:
        server.run("umount", "-l", disk)


# Changes one byte of what has arrived, before it is checked, and sets its time back.
SPOILS = """
case $SSH_ORIGINAL_COMMAND in
*digests*)
	file={far}/generations/.incoming-{identifier}/modloop/virt/modloop
	if [ -e "$file" ] && {condition}; then
		touch -r "$file" {marker}
		chmod 644 "$file"
		printf X | dd of="$file" bs=1 seek=1000 conv=notrunc status=none
		chmod 444 "$file"
		touch -r {marker} "$file"
	fi ;;
esac
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""


def test_what_was_spoilt_on_the_way_is_mended(site, server, behaving, tmp_path):
    marker, far = tmp_path / "marker", tmp_path / "far"
    behaving(
        SPOILS.format(far=far, identifier=FIRST, marker=marker, condition=f"[ ! -e {marker} ]")
    )
    site.inside = server.inside
    home = site.make(FIRST)
    site.publish()
    assert marker.exists()
    assert listing(far / "current") == listing(home)


def test_what_is_spoilt_again_is_not_served(site, server, far, behaving, tmp_path):
    site.make(FIRST)
    site.publish()
    site.make(SECOND, b"two")
    marker = tmp_path / "marker"
    behaving(SPOILS.format(far=far, identifier=SECOND, marker=marker, condition=":"))
    assert site.refused() == (
        f"{shown(far)}: what arrived is not what was sent, twice; got modloop/virt/modloop\n"
        "  next: look at the kernel's log there (dmesg): the disk may be failing, or somebody "
        "writes below generations/\n"
    )
    assert current(far) == f"generations/{FIRST}"
    assert names(far / "generations") == [f".incoming-{SECOND}", FIRST]


def test_damage_of_any_kind_there_is_found(site, far):
    home = site.make(FIRST)
    site.publish()
    kernel = far / "current/kernel/virt/vmlinuz"
    other = far / "current/netboot/tftp/boot/virt/vmlinuz"
    # One of two names of a file is another file now, of the same size and time.
    status = kernel.stat()
    other.unlink()
    other.write_bytes(b"x" * status.st_size)
    other.chmod(0o444)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    link = far / "current/netboot/tftp/pxelinux.cfg/01-52-54-01-02-00-07"
    link.unlink()
    link.symlink_to("template-db")
    (far / "current/stray").write_text("stray")
    (target,) = site.publish_json().values()
    assert sorted(target["mended"]) == [
        "netboot/tftp/boot/virt/vmlinuz",
        "netboot/tftp/pxelinux.cfg/01-52-54-01-02-00-07",
        "stray",
    ]
    assert listing(far / "current") == listing(home)
    assert kernel.samefile(other)


# --- several ------------------------------------------------------------------------------------


def two_targets(site, server, tmp_path, script):
    """`rack`, and `second`, which runs `script` in place of each command."""
    path = tmp_path / "command"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    key = server.directory / f"{tmp_path.name}-plain"
    special = server.key(f"{tmp_path.name}-special", command=str(path))
    site.targets(
        server.target("rack", tmp_path / "far", key)
        + server.target("second", tmp_path / "second", special)
        + f'[publish.third]\ndirectory = "{tmp_path}/third"\n'
    )


def test_an_upload_that_fails_moves_nothing(site, server, far, tmp_path):
    fails = tmp_path / "fails"
    two_targets(
        site,
        server,
        tmp_path,
        f"test -e {fails} && case $SSH_ORIGINAL_COMMAND in rsync*) exit 9;; esac\n"
        'exec sh -c "$SSH_ORIGINAL_COMMAND"',
    )
    places = [far, tmp_path / "second", tmp_path / "third"]
    site.make(FIRST)
    site.publish()
    home = site.make(SECOND)
    fails.touch()
    lines = site.refused().splitlines()
    assert lines[:2] == [
        f"{SECOND}: did not arrive everywhere, so every place serves what it served",
        f"    {shown(far)}: has {SECOND}, and serves {FIRST}",
    ]
    assert lines[2].startswith(f"    second (root@{ADDRESS}:{places[1]}): ")
    assert lines[-2:] == [
        f"    third ({places[2]}): has {SECOND}, and serves {FIRST}",
        "  next: see to second, then doit publish again: it goes on from what is there",
    ]
    assert [current(place) for place in places] == [f"generations/{FIRST}"] * 3
    fails.unlink()
    targets = site.publish_json()
    assert [targets[name]["sent_bytes"] for name in ("rack", "third")] == [0, 0]
    assert [listing(place / "current") for place in places] == [listing(home)] * 3


def test_a_move_that_fails_tells_who_serves_what(site, server, far, tmp_path):
    fails = tmp_path / "fails"
    two_targets(
        site,
        server,
        tmp_path,
        f"test -e {fails} && case $SSH_ORIGINAL_COMMAND in *' flip '*) "
        f"rm -f {tmp_path}/second/current.d; mv {tmp_path}/second/current {tmp_path}/kept; "
        f'mkdir {tmp_path}/second/current;; esac\nexec sh -c "$SSH_ORIGINAL_COMMAND"',
    )
    second, third = tmp_path / "second", tmp_path / "third"
    site.make(FIRST)
    site.publish()
    site.make(SECOND)
    fails.touch()
    said = site.refused()
    assert said.startswith(
        f"{SECOND}: is not served everywhere: second (root@{ADDRESS}:{second}): refuses; got mv: "
    )
    assert said.endswith(
        "\n"
        f"    {shown(far)}: serves {SECOND}\n"
        f"    second (root@{ADDRESS}:{second}): has {SECOND}, and serves nothing\n"
        f"    third ({third}): has {SECOND}, and serves {FIRST}\n"
        "  next: to go on: see to it there, then doit publish again: it goes on from what is "
        f"there; doit publish does the rest; to go back: doit publish --generation {FIRST}\n"
    )
    record = json.loads((site.artifacts / "published.json").read_bytes())["targets"]
    assert {name: one["current"] for name, one in record.items()} == {
        "rack": SECOND,
        "second": FIRST,
        "third": FIRST,
    }
    fails.unlink()
    (second / "current").rmdir()
    os.rename(tmp_path / "kept", second / "current")
    site.publish()
    assert {current(place) for place in (far, second, third)} == {f"generations/{SECOND}"}


def test_a_move_that_was_only_said_to_be_done(site, server, far, behaving):
    site.make(FIRST)
    site.publish()
    site.make(SECOND)
    behaving("case $SSH_ORIGINAL_COMMAND in *' flip '*) exit 0;; esac\n" + OBEYS)
    assert site.refused() == (
        f"{SECOND}: is not served everywhere: {shown(far)}: its link `current` is not what it was "
        f"made to be; expected generations/{SECOND}\n"
        f"    {shown(far)}: has {SECOND}, and serves {FIRST}\n"
        "  next: to go on: see whether somebody else publishes there; then doit publish again; "
        f"doit publish does the rest; to go back: doit publish --generation {FIRST}\n"
    )
    assert current(far) == f"generations/{FIRST}"


def test_a_move_that_nobody_can_ask_about(site, server, far, tmp_path):
    fails = tmp_path / "fails"
    # From the move on, the machine does not even answer.
    two_targets(
        site,
        server,
        tmp_path,
        f"test -e {fails} && case $SSH_ORIGINAL_COMMAND in *' flip '*) touch {fails}.now;; esac\n"
        f'test -e {fails}.now && exit 255\nexec sh -c "$SSH_ORIGINAL_COMMAND"',
    )
    site.make(FIRST)
    site.publish()
    site.make(SECOND)
    fails.touch()
    lines = site.refused().splitlines()
    assert (
        f"    second (root@{ADDRESS}:{tmp_path}/second): cannot be asked; it served {FIRST}, "
        f"and may serve {SECOND} now"
    ) in lines
