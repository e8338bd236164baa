"""A whole tiny site, built again and again; and builders that are caught at what they leak."""

from __future__ import annotations

import json
import os
import re

from bootsmith.reproduce.conditions import FAKETIME


def table_of(run):
    """Condition to its cells."""
    lines = run.stdout.partition("\n\n")[0].splitlines()
    return {
        re.split(r" {2,}", line)[0]: re.split(r" {2,}", line)[1:]
        for line in lines
        if not line.startswith("not varied: ")
    }


def not_varied(run):
    return {
        line.split(": ")[1] for line in run.stdout.splitlines() if line.startswith("not varied: ")
    }


def not_possible_here():
    """What this machine may be unable to vary."""
    names = {"host"}
    if os.geteuid() != 0:
        names.add("user")
    if not FAKETIME.exists():
        names.add("date")
    if len(os.sched_getaffinity(0)) == 1:
        names.add("processors")
    return names


def test_a_name_of_no_step_is_told_before_anything_is_copied(site):
    run = site.reproduce("shuot")
    assert (run.returncode, run.stdout) == (2, "")
    assert "doit reproduce shuot: there is no such step" in run.stderr
    assert "next: " in run.stderr


def test_three_builds_are_identical_and_leave_nothing(site):
    run = site.reproduce()
    assert run.returncode == 0, run.stdout + run.stderr
    last = run.stdout.splitlines()[-1]
    assert re.fullmatch(r"\d+ files and directories in 3 builds, all identical", last)
    assert not site.scratch.exists()
    table = table_of(run)
    assert table["condition"] == ["build 1", "build 2", "build 3"]
    assert table["umask"] == ["0002", "0077", "0000"]
    assert table["jobs"] == ["-n 1", "-n 2", "-n 2 -P thread"]
    assert table["cache"] == ["empty", "empty", "of build 1"]
    assert {name for name, cells in table.items() if len(set(cells)) == 1} == not_varied(run)
    assert not_varied(run) <= not_possible_here()
    # The site itself was not built.
    assert not (site.root / "artifacts/build").exists()


LEAKS = """\
import json, os, subprocess, sys, time
from bootsmith.tools.run import run_program
umask = os.umask(0)
os.umask(umask)
leaks = {
    "directory": str(words["output"]),
    "user": os.getuid(),
    "host": os.uname().nodename,
    "umask": umask,
    "date": time.strftime("%Y-%m"),
    "date of programs": run_program(["date", "+%Y-%m"]).text,
    "time zone": time.strftime("%z"),
    "locale": os.environ.get("LC_ALL") or os.environ.get("LANG") or "C",
    "home": os.environ["HOME"],
    "processors": len(os.sched_getaffinity(0)),
    "jobs": sys.argv,
    "hash seed": hash("bootsmith"),
    "file order": [os.listdir("overlays/base/etc"), next(os.walk("overlays/base/etc"))[2]],
    "source times": os.stat("overlays/base/etc/motd").st_mtime,
}
words["output"].write_text(json.dumps(leaks))
"""


def test_a_builder_meets_other_conditions_indeed(site):
    site.spoil("apkovl", LEAKS)
    run = site.reproduce("--quick", "apkovl:node")
    assert run.returncode != 0
    first, second = (
        json.loads(path.read_text())
        for path in sorted(site.scratch.rglob("build/apkovl/node/node.apkovl.tar.gz"))
    )
    same = {name for name in first if first[name] == second[name]}
    unvaried = not_varied(run) - {"cache"}
    assert unvaried <= not_possible_here()
    assert same == unvaried | ({"date of programs"} if "date" in unvaried else set())


def test_a_builder_that_leaks_is_named_with_file_and_offset(site):
    site.spoil(
        "apkovl",
        # Behind the end of the gzip stream, where readers take it for padding.
        "import os\n"
        "content = words['output'].read_bytes().ljust(2000, bytes(1))\n"
        "words['output'].write_bytes(content + b'%010d' % os.getpid() + bytes(6))",
    )
    run = site.reproduce("--quick", "usbkey:node")
    assert run.returncode != 0
    file = "artifacts/build/apkovl/node/node.apkovl.tar.gz"
    said = run.stdout
    assert f"builds 1 and 2 differ; first by apkovl:node: {file}\n" in said
    found = re.search(
        r"  2,016 bytes; first difference at offset 2,00(\d) \(0x7d\d\), (\d+) bytes differ\n"
        r"    000007d0  ((?:[0-9a-f]{2} ){16}) \|(\d{10})\.{6}\|\n"
        r"    000007d0  ((?:[0-9a-f]{2} ){16}) \|(\d{10})\.{6}\|\n",
        said,
    )
    offset, count, first_hex, first, second_hex, second = found.groups()
    pairs = [one != other for one, other in zip(first, second, strict=True)]
    assert (int(offset), int(count)) == (pairs.index(True), sum(pairs))
    assert bytes.fromhex(first_hex) == first.encode() + bytes(6)
    assert bytes.fromhex(second_hex) == second.encode() + bytes(6)
    # The key holds the apkovl: a consequence, not a cause.
    assert "\nalso by " not in said
    assert "  artifacts/build/usbkey/node/node.img\n" in said
    assert f"FAILED reproduce\napkovl:node: made another {file} in build 2; " in run.stderr
    assert str(site.scratch) in run.stderr
    assert site.scratch.is_dir()


def test_a_member_that_differs_is_named(site):
    site.spoil(
        "apkovl",
        "import gzip, time\n"
        "plain = gzip.decompress(words['output'].read_bytes())\n"
        "assert b'first edition' in plain\n"
        "plain = plain.replace(b'first e', b'first %d' % (time.timezone == -14 * 3600))\n"
        "words['output'].write_bytes(gzip.compress(plain, mtime=0))",
    )
    run = site.reproduce("--quick", "apkovl:node")
    assert run.returncode != 0
    assert re.search(r"  1 of \d+ members differ; etc/motd: another content\n", run.stdout)
    assert "    18 bytes; first difference at offset 10 (0xa), 1 bytes differ\n" in run.stdout


def test_a_build_that_fails_says_why(site):
    (site.directory / "tiny.iso").write_text("this is no ISO\n" * 5000)
    run = site.reproduce()
    assert run.returncode != 0
    assert "build 1: failed\n" in run.stderr
    assert "tiny.iso: not an ISO 9660 image" in run.stderr
    assert "1.log" in run.stderr


def test_what_is_not_ours_is_not_removed(site, tmp_path):
    (tmp_path / "reproduce").mkdir()
    (tmp_path / "reproduce/precious").touch()
    run = site.reproduce("--scratch", str(tmp_path))
    assert run.returncode != 0
    assert f"{tmp_path / 'reproduce'}: was not made by doit reproduce" in run.stderr
    assert (tmp_path / "reproduce/precious").exists()
