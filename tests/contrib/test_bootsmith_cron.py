"""contrib/bootsmith-cron: the wrapper that cron and systemd call, as they call it.

The wrapper is real and is run by dash with an empty environment. Where it is the thing under
test, `doit` is a script that does what the test says; the last tests use the real one.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mutation_site import Disc, write_site

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
WRAPPER = CONTRIB / "bootsmith-cron"
PATIENCE_SECONDS = 60


class Site:
    """A site whose name has a blank, with a `doit` of the test's own making."""

    def __init__(self, root: Path) -> None:
        self.root = root / "my site"
        (self.root / ".venv/bin").mkdir(parents=True)
        (self.root / "artifacts/generations").mkdir(parents=True)
        (self.root / "dodo.py").touch()
        self.log = self.root / "artifacts/log/bootsmith-cron.log"
        self.doit("true")

    def doit(self, script: str) -> None:
        """What `doit VERB` does: a shell script, begun in the site's directory."""
        self.doit_of(self.root, script)

    def doit_of(self, checkout: Path, script: str) -> None:
        """The same, of the .venv in another place."""
        path = checkout / ".venv/bin/doit"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    wrapper = WRAPPER

    def words(self, *arguments, **settings) -> list[str | Path]:
        """What cron's shell would start the wrapper with: next to no environment."""
        given = {"BOOTSMITH_SITE": self.root, **settings}
        named = [f"{name}={value}" for name, value in given.items()]
        return ["PATH=/usr/bin:/bin", "SHELL=/bin/sh", *named, "dash", self.wrapper, *arguments]

    def run(self, *arguments, **settings) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["env", "-i", *self.words(*arguments, **settings)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    def start(self, **settings) -> subprocess.Popen:
        return subprocess.Popen(
            # Whoever runs the tests in the background has SIGINT ignored, for children too.
            ["env", "-i", "--default-signal=INT", *self.words(**settings)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def has(self, name: str) -> bool:
        return (self.root / name).exists()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def wait_until(is_so) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def is_running(process: str) -> bool:
    """Whether there is such a process, and not merely what is left of it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


PROMOTES = "ln -sfn generations/2026-11-20.2 artifacts/current"


def test_nothing_is_said_when_nothing_changed(site):
    site.doit('echo "doit was asked to $*"')
    done = site.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert re.fullmatch(
        r"=== \S+Z doit release\n"
        r"doit was asked to release\n"
        r"=== \S+Z status 0 after \d+ s; current is none\n",
        site.log.read_text(),
    )


def test_a_promotion_is_one_line(site):
    site.doit(f"echo built; {PROMOTES}")
    done = site.run()
    said = "bootsmith-cron: current is 2026-11-20.2, was none\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    assert site.run().stdout == ""


def test_a_failure_is_one_message(site):
    site.doit(
        "echo 'built  flavor:x    1 MB'\n"
        "echo 'FAILED pxerd:x'; echo 'recipes/x.toml: no such feature'; echo '  next: choose one'\n"
        "echo 'built  apkovl:y    1 kB'\n"
        "echo 'FAILED modloop:x'; echo 'disk on fire'\n"
        "echo '2 built, 0 unchanged, 2 failed in 1.00 s'\n"
        "exit 1"
    )
    done = site.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert re.sub(r"after \d+ s", "after 0 s", done.stderr) == (
        "bootsmith-cron: doit release failed with status 1 after 0 s; current is none, was none\n"
        "    FAILED pxerd:x\n"
        "    recipes/x.toml: no such feature\n"
        "      next: choose one\n"
        "    FAILED modloop:x\n"
        "    disk on fire\n"
        "    2 built, 0 unchanged, 2 failed in 1.00 s\n"
        f"  site: {site.root}\n"
        f"  log:  {site.log}\n"
    )


def test_what_to_do_is_kept_of_a_long_failure(site):
    console = "".join(f"echo '      | line {number}'; " for number in range(30))
    site.doit(
        "echo 'FAILED smoke:key'; echo 'smoke key: no report'; echo '    last console lines:'\n"
        f"{console}\n"
        "echo '    log: artifacts/console.log'; echo '  next: look at the log'\n"
        "echo 'FAILED second'; seq 40; echo '  next: do that'\n"
        "echo '0 built, 0 unchanged, 2 failed in 1.00 s; machines boot x.1'\n"
        "exit 2"
    )
    lines = site.run().stderr.splitlines()
    assert lines[1:6] == [
        "    FAILED smoke:key",
        "    smoke key: no report",
        "        log: artifacts/console.log",
        "      next: look at the log",
        "    FAILED second",
    ]
    assert lines[-5:] == [
        "    15",
        "      next: do that",
        "    0 built, 0 unchanged, 2 failed in 1.00 s; machines boot x.1",
        f"  site: {site.root}",
        f"  log:  {site.log}",
    ]


def test_a_failure_in_other_words_shows_the_end_of_them(site):
    site.run()
    site.doit("seq 30; exit 2")
    done = site.run()
    assert done.returncode == 2
    shown = [int(line) for line in done.stderr.splitlines() if line.strip().isdigit()]
    assert shown == list(range(11, 31))


def test_one_run_at_a_time(site):
    site.doit("touch begun; while [ ! -e go ]; do sleep 0.05; done")
    first = site.start()
    wait_until(lambda: site.has("begun"))
    site.doit("touch second")
    second = site.run()
    assert (second.returncode, second.stdout) == (75, "")
    lock = site.root / "artifacts/cron.lock"
    assert re.fullmatch(
        rf"bootsmith-cron: not started: another run holds {re.escape(str(lock))}: "
        rf"process {first.pid} since \S+Z\n"
        rf"  next: wait until it has ended, or end it: kill {first.pid}\n",
        second.stderr,
    )
    assert not site.has("second")
    (site.root / "go").touch()
    assert first.communicate(timeout=PATIENCE_SECONDS) == ("", "")
    assert first.returncode == 0


def test_a_run_whose_wrapper_was_killed_is_named(site):
    site.doit("touch begun; while [ ! -e go ]; do sleep 0.05; done")
    first = site.start()
    wait_until(lambda: site.has("begun"))
    first.kill()
    first.communicate(timeout=PATIENCE_SECONDS)
    second = site.run()
    assert second.returncode == 75
    holder = re.search(
        r"cron.lock: process (\d+) \(timeout\)\n  next: .*: kill \1\n", second.stderr
    )
    assert holder, second.stderr
    assert holder[1] != str(first.pid)
    (site.root / "go").touch()
    wait_until(lambda: not is_running(holder[1]))
    assert site.run().returncode == 0


def test_a_lock_file_that_says_nothing_true(site):
    """Of a run that had no room to write its number, here one of another program."""
    lock = site.root / "artifacts/cron.lock"
    for said in ("", "process 4194304999 since then\n"):
        lock.write_text(said)
        with open(lock) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            done = site.run()
        assert (done.returncode, done.stdout) == (75, "")
        assert done.stderr == (
            f"bootsmith-cron: not started: another run holds {lock}: "
            f"a process that {pwd.getpwuid(os.getuid()).pw_name} is not shown\n"
            "  next: wait until it has ended, or end it: kill PROCESS\n"
        )


def test_what_a_run_leaves_behind_does_not_hold_the_lock(site):
    site.doit("setsid sleep 60 & echo $! >left")
    assert site.run().returncode == 0
    left = (site.root / "left").read_text().strip()
    try:
        site.doit("true")
        assert is_running(left)
        assert site.run().returncode == 0
    finally:
        os.kill(int(left), signal.SIGKILL)


def test_the_time_limit_stops_doit(site):
    site.doit("trap 'echo stopping tidily; exit 143' TERM; sleep 60 & wait")
    done = site.run(BOOTSMITH_TIME_LIMIT=1)
    assert (done.returncode, done.stdout) == (124, "")
    assert done.stderr.startswith(
        "bootsmith-cron: doit release did not finish within 1 s (BOOTSMITH_TIME_LIMIT); current is"
    )
    assert "    stopping tidily\n" in done.stderr


def test_who_does_not_stop_is_killed(site):
    site.doit("trap '' TERM; echo $$ >pid; while :; do sleep 0.1; done")
    done = site.run(BOOTSMITH_TIME_LIMIT=1, BOOTSMITH_KILL_AFTER=1)
    assert done.returncode == 124
    wait_until(lambda: not is_running((site.root / "pid").read_text().strip()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_wrapper_that_is_stopped_stops_doit(site, number):
    site.doit("trap 'touch tidy; exit 143' TERM; touch begun; sleep 60 & wait")
    running = site.start()
    wait_until(lambda: site.has("begun"))
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=PATIENCE_SECONDS)
    assert (running.returncode, stdout) == (128 + number, "")
    assert site.has("tidy")
    assert stderr.startswith("bootsmith-cron: doit release was told to stop after ")
    site.doit("true")
    assert site.run().returncode == 0


def test_logs_are_put_aside_by_size(site):
    site.doit("read number <number; echo run $number; echo $((number + 1)) >number")
    (site.root / "number").write_text("1\n")
    for _ in range(5):
        site.run(BOOTSMITH_LOG_BYTES=1, BOOTSMITH_LOG_KEEP=2)
    logs = {path.name: path.read_text() for path in site.log.parent.iterdir()}
    assert sorted(logs) == ["bootsmith-cron.log", "bootsmith-cron.log.1", "bootsmith-cron.log.2"]
    assert [re.findall(r"run \d", logs[name]) for name in sorted(logs)] == [
        ["run 5"],
        ["run 4"],
        ["run 3"],
    ]
    site.run(BOOTSMITH_LOG_BYTES=1, BOOTSMITH_LOG_KEEP=0)
    assert re.findall(r"run \d", site.log.read_text()) == ["run 6"]
    site.run()
    assert re.findall(r"run \d", site.log.read_text()) == ["run 6", "run 7"]
    assert stat.S_IMODE(site.log.parent.stat().st_mode) == 0o750


@pytest.mark.parametrize(
    "setting,words",
    [
        ("BOOTSMITH_FREE_MEBIBYTES", r"\d+ MiB"),
        ("BOOTSMITH_FREE_INODES", r"\d+ inodes"),
    ],
)
def test_too_little_disk_is_told_before_the_start(site, setting, words):
    if setting.endswith("INODES") and os.statvfs(site.root).f_files == 0:
        pytest.skip("this file system counts no inodes")
    site.doit("touch begun")
    done = site.run(**{setting: 10**15})
    assert (done.returncode, done.stdout) == (28, "")
    assert re.fullmatch(
        rf"bootsmith-cron: not started: {words} are free below {site.root}/artifacts, "
        rf"{setting} asks for {10**15}\n"
        rf"  next: cd '{site.root}' && '{site.root}/.venv/bin/doit' prune\n",
        done.stderr,
    )
    assert not site.has("begun")


@pytest.mark.parametrize(
    "settings,said",
    [
        (
            {"BOOTSMITH_TIME_LIMIT": "2h"},
            "BOOTSMITH_TIME_LIMIT: not a setting; expected a whole number from 1, got 2h",
        ),
        (
            {"BOOTSMITH_NICE": "20"},
            "BOOTSMITH_NICE: not a setting; expected a whole number from 0 to 19, got 20",
        ),
        (
            {"BOOTSMITH_LOG_BYTES": "9" * 30},
            "BOOTSMITH_LOG_BYTES: not a setting; expected a whole number from 1, got " + "9" * 30,
        ),
        ({"BOOTSMITH_UMASK": "rwx"}, "BOOTSMITH_UMASK: not a mode; got rwx"),
        ({"BOOTSMITH_PRUNE": "maybe"}, "BOOTSMITH_PRUNE: expected yes or no, got maybe"),
        ({"BOOTSMITH_SITE": "/nowhere"}, "BOOTSMITH_SITE: /nowhere is no directory"),
        (
            {"BOOTSMITH_SITE": "/proc"},
            "BOOTSMITH_SITE: /proc is no site: there is no dodo.py in it",
        ),
        (
            {"BOOTSMITH_NCIE": "5", "BOOT_IMAGE": "of the kernel's command line"},
            "environment: BOOTSMITH_NCIE: no such setting",
        ),
        (
            {"BOOTSMITH_LOG_DIR": "log"},
            "BOOTSMITH_LOG_DIR: expected a path that begins with /, got log",
        ),
    ],
)
def test_a_wrong_setting_is_named(site, settings, said):
    site.doit("touch begun")
    done = site.run(**settings)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith(f"bootsmith-cron: {said}\n  next: ")
    assert not site.has("begun")


@pytest.mark.parametrize(
    "text,said",
    [
        ("BOOTSMITH_NCIE=5\n", "BOOTSMITH_NCIE: no such setting"),
        ("BOOTSMTH_NICE=5\n", "BOOTSMTH_NICE: no such setting"),
        ("BOOTSMITH_NICE = 5\n", "not settings; the shell says: .*BOOTSMITH_NICE: not found"),
        ("BOOTSMITH_NICE='5\n", "not settings; the shell says: .*Unterminated quoted string"),
        ("exit 0\n", "not settings; the shell says: "),
    ],
)
def test_a_wrong_file_of_settings_is_named(site, tmp_path, text, said):
    config = tmp_path / "x.conf"
    config.write_text(text)
    site.doit("touch begun")
    done = site.run(config, BOOT_IMAGE="of the kernel's command line")
    assert (done.returncode, done.stdout) == (64, "")
    assert re.fullmatch(rf"bootsmith-cron: {config}: {said}\n  next: .*\n", done.stderr), done
    assert not site.has("begun")


@pytest.mark.parametrize("arguments", [["--fast"], ["/nowhere.conf"], ["/proc"], ["a", "b"]])
def test_a_wrong_argument_is_refused(site, arguments):
    done = site.run(*arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.count("\n") == 2


@pytest.fixture
def elsewhere(site, tmp_path):
    """A checkout that the wrapper is in, which the site is not."""
    checkout = tmp_path / "the checkout"
    (checkout / "contrib").mkdir(parents=True)
    site.wrapper = shutil.copy(WRAPPER, checkout / "contrib")
    return checkout


def test_a_site_of_its_own_uses_the_checkouts_doit(site, elsewhere):
    shutil.move(site.root / ".venv", elsewhere)
    site.doit_of(elsewhere, f"pwd >begun; {PROMOTES}")
    done = site.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert (site.root / "begun").read_text() == f"{site.root}\n"


def test_a_site_without_doit_is_told_how_to_get_it(site, elsewhere):
    (site.root / ".venv/bin/doit").unlink()
    done = site.run()
    assert done.returncode == 69
    assert done.stderr == (
        f"bootsmith-cron: {site.root}: there is no .venv/bin/doit in it, nor in {elsewhere}\n"
        f"  next: cd '{elsewhere}' && make setup\n"
    )


def test_a_log_that_cannot_be_written_is_told(site):
    site.log.mkdir(parents=True)
    done = site.run()
    assert done.returncode == 73
    assert done.stderr == (
        f"bootsmith-cron: {site.log}: cannot be written\n"
        "  next: set BOOTSMITH_LOG_DIR to another place\n"
    )


def test_a_lock_that_cannot_be_written_is_told(site):
    (site.root / "artifacts/cron.lock").mkdir()
    done = site.run()
    assert done.returncode == 73
    assert done.stderr.startswith(
        f"bootsmith-cron: {site.root}/artifacts/cron.lock: cannot be written\n  next: give "
    )


def test_a_read_only_disk_is_told(site):
    """In namespaces of the test's own, with the site on a read-only mount."""
    words = shlex.join(["env", "-i", *map(str, site.words())])
    root = shlex.quote(str(site.root))
    namespaces = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*namespaces, "mount -t tmpfs x /mnt"], capture_output=True).returncode:
        pytest.skip("this machine allows no namespaces")
    done = subprocess.run(
        [*namespaces, f"mount --bind {root} {root} && mount -o remount,bind,ro {root} && {words}"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (73, "")
    assert re.fullmatch(
        r"bootsmith-cron: .*: cannot be \w+: the file system is read-only\n"
        r"  next: mount it writable\n",
        done.stderr,
    ), done


def test_settings_may_come_from_a_file(site, tmp_path):
    config = tmp_path / "a file.conf"
    config.write_text(
        f"BOOTSMITH_SITE={shlex.quote(str(site.root))}\n"
        f"BOOTSMITH_LOG_DIR={shlex.quote(str(tmp_path / 'my log'))}\nBOOTSMITH_VERB=build\n"
    )
    assert site.run(config, BOOTSMITH_SITE="/nowhere").returncode == 0
    assert "doit build\n" in (tmp_path / "my log/bootsmith-cron.log").read_text()


def test_doit_gets_a_plain_and_patient_place_to_run(site):
    site.doit("pwd; nice; ionice; env | sort; umask; ls -l /proc/self/fd; cat; touch file; exit 1")
    said = site.run(BOOTSMITH_NICE=19).stderr + site.log.read_text()
    lines = said.splitlines()
    assert str(site.root) in lines
    assert "19" in lines
    assert "idle" in lines
    assert "0022" in lines
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in lines
    assert "LC_ALL=C.UTF-8" in lines
    assert "cron.lock" not in said
    site.run(BOOTSMITH_UMASK="027")
    (site.root / "file").unlink()
    site.run(BOOTSMITH_UMASK="027")
    assert stat.S_IMODE((site.root / "file").stat().st_mode) == 0o640


def test_old_generations_go_after_a_success(site):
    site.doit("echo $1 >>verbs; [ ! -e fail ] || exit 1")
    assert site.run(BOOTSMITH_PRUNE="yes").returncode == 0
    (site.root / "fail").touch()
    assert site.run(BOOTSMITH_PRUNE="yes").returncode == 1
    assert (site.root / "verbs").read_text().split() == ["release", "prune", "release"]


def test_a_prune_that_fails_is_told(site):
    site.doit('[ "$1" != prune ] || { echo FAILED prune; exit 1; }')
    done = site.run(BOOTSMITH_PRUNE="yes")
    assert done.returncode == 1
    assert done.stderr.startswith("bootsmith-cron: doit prune failed with status 1 after ")


def test_the_site_of_the_checkout_is_the_default(site):
    (site.root / "contrib").mkdir()
    wrapper = site.root / "contrib/bootsmith-cron"
    wrapper.write_bytes(WRAPPER.read_bytes())
    site.doit("touch begun")
    subprocess.run(["env", "-i", "PATH=/usr/bin:/bin", "dash", wrapper], cwd="/", check=True)
    assert site.has("begun")


# --- with the real doit -----------------------------------------------------------------------


def built(log: Path) -> list[str]:
    """The steps that the last run did."""
    last = log.read_text().rpartition(" doit build\n")[2]
    return re.findall(r"^(?:built|done) +(\S+)", last, re.MULTILINE)


def test_a_site_is_built_when_an_overlay_changed_and_else_left_alone(site, tmp_path, checkout):
    (tmp_path / "disc").mkdir()
    write_site(site.root, Disc(tmp_path / "disc"))
    shutil.copy(checkout / "dodo.py", site.root)
    python = f"PYTHONPATH={shlex.quote(str(checkout))} exec {shlex.quote(sys.executable)}"
    site.doit(f'{python} -m doit "$@"')
    # `release` is `build` and boots; these kernels are nothing but headers.
    settings = {"BOOTSMITH_VERB": "build", "XDG_CACHE_HOME": tmp_path / "cache"}

    first = site.run(**settings)
    assert re.fullmatch(r"bootsmith-cron: current is \S+\.1, was none\n", first.stdout), first
    assert "apkovl:beta" in built(site.log)

    for name in ("alpha/etc/issue", "base/etc/motd"):
        os.utime(site.root / "overlays" / name)
    idle = site.run(**settings)
    assert (idle.returncode, idle.stdout, idle.stderr) == (0, "", "")
    assert built(site.log) == []

    (site.root / "overlays/alpha/etc/issue").write_text("another\n")
    changed = site.run(**settings)
    assert re.fullmatch(r"bootsmith-cron: current is \S+\.2, was \S+\.1\n", changed.stdout), changed
    assert set(built(site.log)) == {"apkovl:alpha", "usbkey:alpha", "generation", "promote"}

    (site.root / "overlays/alpha.owners").write_text("0644 root:root no/such/file\n")
    failed = site.run(**settings)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert re.match(
        r"bootsmith-cron: doit build failed with status 2 after \d+ s; "
        r"current is (\S+\.2), was \1\n"
        r"    FAILED apkovl:alpha\n"
        r"    overlays/alpha.owners:1: matches nothing; .*\n"
        r"      next: .*\n"
        r"    0 built, \d+ unchanged, 1 failed in .*\n"
        r"  site: ",
        failed.stderr,
    ), failed


# --- what is written beside it ---------------------------------------------------------------


def settings_in(text: str) -> set[str]:
    return set(re.findall(r"\bBOOTSMITH_[A-Z_]+[A-Z]\b", text))


def test_every_setting_and_status_is_documented(site):
    script = WRAPPER.read_text()
    shown = site.run("--help").stdout
    page = (CONTRIB.parent / "docs/cron.md").read_text()
    defaults = dict(re.findall(r': "\$\{(BOOTSMITH_[A-Z_]+):=(.*)\}"', script))
    example = dict(
        re.findall(r"^#(\w+)=(.*)$", (CONTRIB / "bootsmith-cron.conf").read_text(), re.MULTILINE)
    )
    assert set(defaults) == set(example) == settings_in(shown) == settings_in(page)
    for name, value in defaults.items():
        if "$" not in value:
            assert example[name] == value
            assert re.search(rf"{name} .*\(default: {re.escape(value)}\)", shown)
            assert re.search(rf"\| `{name}` \| .* \| `{re.escape(value)}` \|", page)
    statuses = set(re.findall(r"give_up (\d+)", script)) | {"0", "1", "75", "124", "143"}
    for status in statuses:
        assert re.search(rf"^  (\d+, )*{status}\b", shown, re.MULTILINE), status
        assert re.search(rf"^\| (\d+, )*{status}\b", page, re.MULTILINE), status


def test_the_unit_and_the_crontab_call_the_wrapper():
    wrapper = "/srv/bootsmith/contrib/bootsmith-cron"
    unit = (CONTRIB / "systemd/bootsmith.service").read_text()
    assert re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE) == [wrapper]
    (line,) = re.findall(r"^\d.*$", (CONTRIB / "bootsmith.crontab").read_text(), re.MULTILINE)
    assert line.split()[5:] == ["bootsmith", wrapper]
    assert os.access(WRAPPER, os.X_OK)
