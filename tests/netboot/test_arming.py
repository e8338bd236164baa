"""`doit arm`, `disarm` and `armed` over real directories."""

from __future__ import annotations

import grp
import json
import os
import subprocess
import sys

import pytest

from bootsmith.errors import PublishError
from bootsmith.formats.inventory import Host
from bootsmith.netboot import arming

WEB1 = {
    "01-52-54-01-02-00-01": "../current/netboot/tftp/pxelinux.cfg/install-debian",
    "01-52-54-01-02-00-01.cfg": "../current/netboot/tftp/grub/install-debian.cfg",
    "01-52-54-01-02-00-01.ipxe": "../current/netboot/tftp/ipxe/install-debian.ipxe",
}


def arm(root, *operands, install=None, chosen=None, roots=None, power=False, power_command=()):
    arming.arm_machines(
        roots=roots or root.roots,
        root=chosen,
        install=install,
        power=power,
        power_command=power_command,
        operands=operands,
        say=root.say,
    )


def disarm(root, *operands, everything=False):
    arming.disarm_machines(
        roots=root.roots, root=None, everything=everything, operands=operands, say=root.say
    )


def listed(root, *, as_json=False):
    lines = []
    arming.list_armed(roots=root.roots, root=None, as_json=as_json, say=lines.append)
    return "\n".join(lines)


@pytest.mark.parametrize(
    "word",
    ["web1", "WEB1", "52:54:01:02:00:01", "52-54-01-02-00-01", "10.20.0.11", "10.20.200.11"],
)
def test_a_machine_is_armed_by_whatever_names_it(root, word):
    arm(root, word)
    assert root.armed == WEB1
    assert root.said == ["web1 (52:54:01:02:00:01) is armed: it boots debian until it is disarmed"]
    for name in WEB1:
        assert (root.directory / "armed" / name).read_text() == "boots debian of 2026-11-20.1\n"


def test_arming_again_changes_nothing(root):
    arm(root, "web1")
    before = {name: os.lstat(root.directory / "armed" / name).st_ino for name in WEB1}
    root.said.clear()
    arm(root, "web1", "10.20.0.11")
    assert before == {name: os.lstat(root.directory / "armed" / name).st_ino for name in WEB1}
    assert root.said == [
        "web1 (52:54:01:02:00:01) was armed already: it boots debian until it is disarmed"
    ]


def test_what_was_armed_in_part_is_armed_whole(root):
    arm(root, "web1")
    (root.directory / "armed/01-52-54-01-02-00-01.cfg").unlink()
    root.said.clear()
    arm(root, "web1")
    assert root.armed == WEB1
    assert root.said == ["web1 (52:54:01:02:00:01) is armed: it boots debian until it is disarmed"]


def test_another_installer_replaces_the_one_before(root):
    arm(root, "web1", "web2")
    arm(root, "web1", install="wipe")
    assert root.armed["01-52-54-01-02-00-01.ipxe"].endswith("/ipxe/install-wipe.ipxe")
    assert listed(root) == (
        "HOST  MAC                INSTALL\n"
        "web1  52:54:01:02:00:01  wipe\n"
        "web2  52:54:01:02:00:02  wipe"
    )


def test_arming_outlives_promotions_and_rollbacks(root):
    arm(root, "web1")
    config = root.directory / "armed/01-52-54-01-02-00-01"
    root.publish("2026-11-20.2")
    assert config.read_text() == "boots debian of 2026-11-20.2\n"
    root.move_current("2026-11-20.1")
    assert config.read_text() == "boots debian of 2026-11-20.1\n"
    # Without the installer the link leads nowhere: the machine boots as its role says.
    root.publish("2026-11-20.3", installers=("wipe",))
    assert not config.exists()
    assert listed(root) == (
        "HOST  MAC                INSTALL\n"
        "web1  52:54:01:02:00:01  debian   not published: boots as its role says"
    )


def test_machines_are_disarmed(root):
    arm(root, "web1", "web2", "db1")
    root.said.clear()
    disarm(root, "web1", "10.20.0.11", "52:54:01:02:00:02")
    assert [name for name in root.armed if not name.startswith("01-52-54-01-03")] == []
    disarm(root, "web1")
    disarm(root, everything=True)
    assert root.armed == {}
    disarm(root, everything=True)
    assert root.said == [
        "web1 (52:54:01:02:00:01) is disarmed",
        "web2 (52:54:01:02:00:02) is disarmed",
        "web1 (52:54:01:02:00:01) was not armed",
        "db1 (52:54:01:03:00:01) is disarmed",
        "no machine is armed",
    ]
    assert listed(root) == "no machine is armed"


def test_a_machine_that_left_the_inventory_can_be_disarmed(root):
    arm(root, "web1")
    root.publish("2026-11-20.2", hosts=[])
    assert listed(root) == ("HOST  MAC                INSTALL\n-     52:54:01:02:00:01  debian")
    disarm(root, "52:54:01:02:00:01")
    assert root.armed == {}
    assert root.said[-1] == "52:54:01:02:00:01 is disarmed"


def test_the_list_for_programs(root):
    arm(root, "web2")
    assert json.loads(listed(root, as_json=True)) == {
        "schema": 1,
        "root": str(root.directory),
        "armed": [
            {"name": "web2", "mac": "52:54:01:02:00:02", "install": "wipe", "published": True}
        ],
    }


def test_what_is_no_link_of_ours_is_left_alone(root):
    arm(root, "db1")
    (root.directory / "armed/README").write_text("about this directory\n")
    (root.directory / "armed/01-52-54-01-02-00-02.ipxe").write_text("by hand\n")
    before = root.armed
    with pytest.raises(PublishError) as caught:
        arm(root, "web1", "web2")
    assert str(caught.value) == (
        f"{root.directory}/armed/01-52-54-01-02-00-02.ipxe: is not a link, so it is not ours\n"
        "  next: look at it and move it away"
    )
    assert root.armed == before
    disarm(root, everything=True)
    assert [*root.armed] == ["01-52-54-01-02-00-02.ipxe", "README"]


REFUSED = [
    (["wep1"], None,
     "wep1: is no machine of the generation that ROOT serves\n  next: the nearest is web1"),
    (["52:54:01:02:00:03"], None,
     "52:54:01:02:00:03: is no machine of the generation that ROOT serves\n"
     "  next: add it to recipes/hosts.toml; then doit build and doit publish"),
    (["\x1b[31m/../x"], None,
     "\\x1b[31m/../x: is no machine of the generation that ROOT serves\n"
     "  next: add it to recipes/hosts.toml; then doit build and doit publish"),
    (["worker"], None,
     "worker: has no installer, so its boot configuration does not look whether it is armed\n"
     '  next: give it one in recipes/hosts.toml (install = "..."); then doit build and '
     "doit publish"),
    (["worker"], "debian",
     "worker: has no installer, so its boot configuration does not look whether it is armed\n"
     '  next: give it one in recipes/hosts.toml (install = "..."); then doit build and '
     "doit publish"),
    (["web1"], "debain",
     "ROOT: its generation publishes no such installer; expected debian, wipe, got debain\n"
     "  next: the nearest is debian"),
    (["web1"], "../../../etc/passwd",
     "ROOT: its generation publishes no such installer; expected debian, wipe, got "
     "../../../etc/passwd\n"
     "  next: name it as `install` of a host or group; then doit build and doit publish"),
    ([], None, "doit arm: which machine?\n  next: doit arm HOST: a name, MAC or address"),
]  # fmt: skip


@pytest.mark.parametrize("operands, install, message", REFUSED)
def test_nobody_is_armed_where_one_cannot_be(root, operands, install, message):
    with pytest.raises(PublishError) as caught:
        arm(root, *(["web2", *operands] if operands else []), install=install)
    assert str(caught.value) == message.replace("ROOT", str(root.directory))
    assert not (root.directory / "armed").exists()
    assert root.said == []


@pytest.mark.parametrize(
    "operands, everything, problem",
    [([], False, "name machines, or say --all"), (["web1"], True, "--all takes no names")],
)
def test_disarming_takes_names_or_all(root, operands, everything, problem):
    arm(root, "web1")
    with pytest.raises(PublishError) as caught:
        disarm(root, *operands, everything=everything)
    assert str(caught.value) == (
        f"doit disarm: {problem}\n  next: doit armed lists the machines that are armed"
    )
    assert root.armed == WEB1


def test_a_machine_of_another_installer_of_the_past_is_refused(root):
    root.publish("2026-11-20.2", installers=("wipe",))
    with pytest.raises(PublishError) as caught:
        arm(root, "web2", "web1")
    assert str(caught.value) == (
        f"{root.directory}: its generation publishes no such installer; expected wipe, got debian\n"
        "  next: name it as `install` of a host or group; then doit build and doit publish"
    )
    assert not (root.directory / "armed").exists()


def target(directory=None, ssh=None):
    return {
        "directory": directory,
        "ssh": ssh,
        **dict.fromkeys(("port", "identity", "known_hosts")),
    }


def test_where_the_root_is(root, tmp_path):
    other = type(root)(tmp_path / "other")
    other.publish("2026-11-20.9")
    both = {"usual": str(root.directory), "targets": {"rack": target(str(other.directory))}}
    # What [netboot] names goes before all others, if something is served there.
    arm(root, "web1", roots=both)
    assert root.armed == WEB1
    arm(root, "web1", roots=both, chosen="rack")
    assert other.armed == WEB1
    arm(root, "web2", roots=both, chosen=str(other.directory))
    assert len(other.armed) == 6
    assert root.armed == WEB1
    unsaid = {"usual": None, "targets": {"a": target(str(root.directory)), **both["targets"]}}
    with pytest.raises(PublishError) as caught:
        arm(root, "web1", roots=unsaid)
    assert str(caught.value) == (
        f"the serving root: there is more than one; got {root.directory}, {other.directory}\n"
        f"  next: choose: --root {root.directory}"
    )
    # What is on this machine goes before what is not.
    beside = {"usual": str(root.directory), "targets": {"far": target(ssh="h:/srv/boot")}}
    arm(root, "web1", roots=beside)
    assert root.armed == WEB1


NO_ROOT = [
    ({"usual": "/srv/none", "targets": {}}, None,
     "the serving root: is not on this machine; expected /srv/none\n"
     "  next: run doit publish, or say where it is: --root DIR"),
    ({"usual": "/srv/none", "targets": {"a": target("/srv/no")}}, None,
     "the serving root: is not on this machine; expected /srv/none or /srv/no\n"
     "  next: run doit publish, or say where it is: --root DIR"),
    ({"usual": None, "targets": {}}, None,
     "the serving root: is not on this machine; expected [netboot] in recipes/site.toml\n"
     "  next: run doit publish, or say where it is: --root DIR"),
    ({"usual": None, "targets": {"a": target(ssh="a:/b"), "b": target(ssh="b:/b")}}, None,
     "the serving root: there is more than one; got a, b\n  next: choose: --root a"),
    ({"usual": None, "targets": {"rack-1": target("/x")}}, "rack-2",
     "rack-2: is neither a directory nor a target of [publish]; expected a directory here, or "
     "rack-1\n  next: the nearest is rack-1"),
    ({"usual": None, "targets": {}}, "/srv/none",
     "/srv/none: is neither a directory nor a target of [publish]; expected a directory here\n"
     "  next: check --root"),
]  # fmt: skip


@pytest.mark.parametrize("roots, chosen, message", NO_ROOT)
def test_no_root_or_too_many(root, roots, chosen, message):
    with pytest.raises(PublishError) as caught:
        arm(root, "web1", roots=roots, chosen=chosen)
    assert str(caught.value) == message


def test_a_root_without_hosts_is_told(root):
    (root.directory / "current/netboot/conf/inventory.jsonl").unlink()
    with pytest.raises(PublishError) as caught:
        arm(root, "web1")
    assert str(caught.value) == (
        f"{root.directory}: no generation with hosts is published here; "
        "expected current/netboot/conf/inventory.jsonl\n  next: deliver one first: doit publish"
    )


DELIVER = "deliver one: doit publish"
BUILD = "make it current: doit build, or doit rollback --to ID for one of doit generations"


@pytest.mark.parametrize("is_built_here", [False, True])
def test_a_lost_current_is_told(root, is_built_here):
    """Where the site's own artifacts are served, nothing is to be delivered."""
    roots = {**root.roots, "artifacts": str(root.directory) if is_built_here else "/srv/site"}
    elsewhere = {**roots, "targets": {"far": target(ssh="h:/srv/boot")}}
    (root.directory / "current").unlink()
    hint = BUILD if is_built_here else DELIVER
    for given, chosen in ((roots, None), (roots, str(root.directory)), (elsewhere, None)):
        with pytest.raises(PublishError) as caught:
            arm(root, "web1", roots=given, chosen=chosen)
        assert str(caught.value) == (f"{root.directory}: has no current generation\n  next: {hint}")
    (root.directory / "current").symlink_to("generations/2026-11-19.1")
    with pytest.raises(PublishError) as caught:
        arm(root, "web1", roots=roots)
    assert str(caught.value) == (
        f"{root.directory}: its current generation is not there any more; "
        f"expected generations/2026-11-19.1\n  next: {hint}"
    )


def test_a_root_that_leads_to_the_artifacts_is_built_here(root, tmp_path):
    (tmp_path / "srv").symlink_to(root.directory)
    roots = {"usual": str(tmp_path / "srv"), "targets": {}, "artifacts": str(root.directory)}
    (root.directory / "current").unlink()
    with pytest.raises(PublishError) as caught:
        arm(root, "web1", roots=roots)
    assert caught.value.hint == BUILD


def test_without_a_root_what_lacks_first_is_said_first(root, tmp_path):
    """`doit publish` would only say that nothing is current."""
    roots = {"usual": "/srv/none", "targets": {}, "artifacts": str(root.directory)}
    with pytest.raises(PublishError, match="is not on this machine"):
        arm(root, "web1", roots=roots)
    (root.directory / "current").unlink()
    with pytest.raises(PublishError) as caught:
        arm(root, "web1", roots=roots)
    assert str(caught.value) == f"{root.directory}: has no current generation\n  next: {BUILD}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories to groups")
@pytest.mark.parametrize(
    "mode,group,is_told",
    [
        (0o755, "root", True),
        (0o755, "www-data", True),
        (0o2775, "root", True),
        (0o757, "www-data", True),  # what others may do counts for others only
        (0o2775, "www-data", False),
        (0o1777, "root", False),
    ],
)
def test_a_hook_that_may_not_write_is_told(root, mode, group, is_told):
    armed = root.directory / "armed"
    armed.mkdir()
    os.chown(armed, 0, grp.getgrnam(group).gr_gid)
    armed.chmod(mode)
    arm(root, "web1")
    warning = (
        f"{armed}: www-data cannot write there, so no installer can say that it is done, and "
        "machines install themselves again and again\n"
        f"  next: chgrp www-data {armed} && chmod 2775 {armed}"
    )
    assert root.said[1:] == ([warning] if is_told else [])
    assert armed.stat().st_mode & 0o7777 == mode


def test_machines_are_power_cycled_once_all_are_armed(root, tmp_path):
    log = tmp_path / "log"
    script = f'echo "$1 $2 $3" $(ls {root.directory}/armed | wc -l) >>{log}'
    command = ["sh", "-c", script, "sh", "{name}", "-H{management}", "{mac}"]
    hosts = [
        Host(name=f"m{n}", mac=f"52:54:00:00:00:0{n}", template="web", install="debian",
             management=f"10.20.200.{n}")
        for n in (1, 2)
    ]  # fmt: skip
    root.publish("2026-11-20.2", hosts=hosts)
    arm(root, "m2", "m1", power=True, power_command=command)
    assert log.read_text() == (
        "m2 -H10.20.200.2 52:54:00:00:00:02 6\nm1 -H10.20.200.1 52:54:00:00:00:01 6\n"
    )
    assert root.said[2:] == ["m2 is power cycled", "m1 is power cycled"]


def test_power_that_does_not_come(root):
    with pytest.raises(PublishError) as caught:
        arm(root, "web1", power=True)
    assert str(caught.value) == (
        "recipes/site.toml: says no command that power cycles machines; expected power of "
        "[netboot]\n"
        '  next: for instance: power = "ipmitool -H {management} chassis power cycle"'
    )
    with pytest.raises(PublishError) as caught:
        arm(root, "web1", "db1", power=True, power_command=["true", "{management}"])
    assert str(caught.value) == (
        "db1: has no management address, which the command for its power needs\n"
        "  next: give it one in recipes/hosts.toml (management = ...), or leave --power out"
    )
    assert not (root.directory / "armed").exists()
    with pytest.raises(PublishError) as caught:
        arm(root, "web1", power=True, power_command=["sh", "-c", "echo no answer >&2; exit 3"])
    assert str(caught.value).startswith(
        "web1: is armed, but could not be power cycled: sh: exit status 3\n    no answer\n"
        "  next: replay: "
    )
    assert root.armed == WEB1


FAILS = """
import errno, os, sys
from bootsmith.netboot import arming

call, left = sys.argv[2], int(sys.argv[3])
real = getattr(os, call)
def refusing(source, target):
    global left
    left -= 1
    # A full disk stays full; a disk that fails once does not keep us from putting things back.
    if left == -1 or (left < 0 and call == "symlink"):
        raise OSError(errno.ENOSPC if call == "symlink" else errno.EIO, "refused", target)
    real(source, target)
setattr(os, call, refusing)
arming.arm_machines(
    roots={"usual": sys.argv[1], "targets": {}}, root=None, install=None,
    power=False, power_command=(), operands=("web1", "web2", "db1"), say=print,
)
"""


@pytest.mark.parametrize(
    "call, successes",
    [*(("symlink", count) for count in range(12)), *(("replace", count) for count in range(9))],
)
def test_a_disk_that_refuses_half_way_leaves_what_was(root, call, successes):
    arm(root, "web1", install="wipe")
    before = root.armed
    run = subprocess.run(
        [sys.executable, "-c", FAILS, root.directory, call, str(successes)],
        capture_output=True,
        text=True,
    )
    assert "refused" in run.stderr.splitlines()[-1]
    assert run.stdout == ""
    assert root.armed == before


def test_what_a_killed_one_left_is_collected(root):
    arm(root, "web1")
    (root.directory / "armed/.0123456789ab.partial").mkdir()
    assert listed(root).count("52:54") == 1
    arm(root, "web2")
    assert not (root.directory / "armed/.0123456789ab.partial").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories to groups")
def test_the_hook_may_write_where_root_arms(root):
    arm(root, "web1")
    status = os.stat(root.directory / "armed")
    assert (status.st_mode & 0o7777, status.st_gid) == (0o2775, grp.getgrnam("www-data").gr_gid)


def test_a_thousand_machines_at_once(root):
    macs = [f"52:54:02:00:{number >> 8:02x}:{number & 255:02x}" for number in range(1000)]
    hosts = [
        Host(name=f"m{number}", mac=mac, template="web", install="debian")
        for number, mac in enumerate(macs)
    ]
    root.publish("2026-11-20.2", hosts=hosts)
    arm(root, *macs)
    assert len(root.armed) == 3000
    disarm(root, *(host.name for host in hosts))
    assert root.armed == {}


def test_they_are_words_of_doit(root):
    """The real command, of a site whose recipes cannot be read."""
    site = root.directory.parent / "site"
    site.mkdir()
    (site / "dodo.py").write_text(
        "from pathlib import Path\n"
        "from bootsmith.doit_bridge import doit_config, site_tasks\n"
        "ROOT = Path(__file__).resolve().parent\n"
        "DOIT_CONFIG = doit_config(ROOT)\n"
        "def task_site():\n    yield from site_tasks(ROOT)\n"
    )

    def doit(*words):
        run = subprocess.run(
            [sys.executable, "-m", "doit", *words], cwd=site, capture_output=True, text=True
        )
        return run.returncode, run.stdout, run.stderr

    where = ("--root", str(root.directory))
    assert doit("arm", "web1", *where) == (
        0, "web1 (52:54:01:02:00:01) is armed: it boots debian until it is disarmed\n", "",
    )  # fmt: skip
    assert doit("armed", *where)[1].splitlines()[1] == "web1  52:54:01:02:00:01  debian"
    assert doit("disarm", "--all", *where) == (
        0, "web1 (52:54:01:02:00:01) is disarmed\n", "",
    )  # fmt: skip
    status, output, errors = doit("arm", "wep1", *where)
    assert (status, output) == (2, "")
    assert errors.endswith("serves\n  next: the nearest is web1\n")
