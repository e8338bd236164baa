"""What we read and write of the shipped site's kernels, against kmod, GNU cpio and unsquashfs."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bootsmith.files.cache import Cache
from bootsmith.files.modloop_source import open_modloop_source
from bootsmith.formats.compression import decompress_initramfs
from bootsmith.formats.cpio import archive_length, read_cpio, write_cpio
from bootsmith.formats.kernel_modules import close_over, read_module_catalog
from bootsmith.formats.squashfs import FILE, LINK
from bootsmith.tools.run import run_program

ROOT = Path(__file__).resolve().parents[2]
TRAILER = write_cpio([])
# A loop in one shell: a thousand times run_program would take a minute.
SHOW_DEPENDS = """
while read -r name; do
	echo "= $name"
	modprobe -C "$1" -d "$2" -S "$3" --show-depends "$name"
done
"""

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def built():
    """The shipped site, built; the generation that is current then."""
    run = subprocess.run(
        [sys.executable, "-m", "doit", "build"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return (ROOT / "artifacts/current").resolve()


@pytest.fixture(scope="module", params=["virt", "lts"])
def modloop(request, built, tmp_path_factory):
    """(what we read of a modloop, its tree as unsquashfs unpacks it)."""
    directory = tmp_path_factory.mktemp(request.param)
    path = built / f"modloop/standin-{request.param}/modloop-{request.param}"
    run_program(["unsquashfs", "-quiet", "-no-progress", "-dest", directory / "lib", path])
    with open_modloop_source(path, Cache(directory / "cache")) as source:
        yield source, directory


def test_every_file_of_a_modloop_is_read_as_unsquashfs_does(modloop):
    source, directory = modloop
    ours = {
        entry.path: (entry.target, None)
        for entry in source.image.walk("")
        if entry.type in (FILE, LINK)
    }
    files = [path for path, (target, _) in ours.items() if target is None]
    for path, content in zip(files, source.image.read_many(files), strict=True):
        ours[path] = (None, hashlib.sha256(content).digest())
    theirs = {}
    for path in (directory / "lib").rglob("*"):
        name = str(path.relative_to(directory / "lib"))
        if path.is_symlink():
            theirs[name] = (os.readlink(path), None)
        elif path.is_file():
            theirs[name] = (None, hashlib.sha256(path.read_bytes()).digest())
    assert len(theirs) > 1000
    assert ours == theirs


def test_every_module_needs_what_modprobe_says(modloop):
    source, directory = modloop
    kernel = source.kernel_release
    catalog = read_module_catalog(source.texts)
    (directory / "no-configuration").mkdir()
    shown = run_program(
        ["sh", "-c", SHOW_DEPENDS, "sh", directory / "no-configuration", directory, kernel],
        stdin="".join(f"{name}\n" for name in catalog.path_by_name).encode(),
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    ).text
    theirs = {}
    for part in shown.split("= ")[1:]:
        name, *lines = part.splitlines()
        paths = [line.split()[1] for line in lines if line.startswith("insmod ")]
        theirs[name] = {path.partition(f"/lib/modules/{kernel}/")[2] for path in paths}
    # kmod takes the first line of a module and forgets the others; words without pre: or post:
    # mean nothing to it. Modules with several lines ask for all of them, and so do we.
    lines = re.findall(r"(?m)^softdep (\S+) (.*)$", source.texts["modules.softdep"].decode())
    first = {name: kmod_wishes(text) for name, text in reversed(lines)}
    as_kmod = replace(catalog, softdeps=first)
    ours = {
        name: set(close_over(as_kmod, [path]).paths) for name, path in catalog.path_by_name.items()
    }
    assert len(ours) > 1000
    assert ours == theirs
    for name, path in catalog.path_by_name.items():
        assert set(close_over(catalog, [path]).paths) >= theirs[name]


def kmod_wishes(text):
    if not text.startswith(("pre:", "post:")):
        return ()
    return tuple(word for word in text.split() if word not in ("pre:", "post:"))


@pytest.mark.parametrize("flavor", ["virt", "lts"])
def test_gnu_cpio_lists_each_entry_of_a_pxerd_as_we_read_it(built, flavor):
    packed = (built / f"pxerd/standin-{flavor}/pxerd-{flavor}").read_bytes()
    data = decompress_initramfs(packed, limit_bytes=1 << 30)
    # One archive of all: GNU cpio stops at the first trailer.
    row, at, data = [], 0, memoryview(data)
    while at < len(data):
        end = at + archive_length(data[at:])
        assert data[end - len(TRAILER) : end] == TRAILER
        row.append(data[at : end - len(TRAILER)])
        at = end
    assert len(row) > 100
    joined = b"".join([*row, TRAILER])
    listed = run_program(
        ["cpio", "-itv", "--quiet", "--numeric-uid-gid"],
        stdin=joined,
        environment={"TZ": "UTC"},
    ).text.splitlines()
    assert listed == [line_of(entry) for entry in read_cpio(data)]


def line_of(entry):
    """An entry as GNU cpio lists it; at time 0, alone or with all its names in one archive."""
    count = 2 if stat.S_ISDIR(entry.mode) else 1
    size = f"{len(entry.data):8}"
    if stat.S_ISCHR(entry.mode) or stat.S_ISBLK(entry.mode):
        size = f"{entry.rdev_major:3}, {entry.rdev_minor:3}"
    end = f" -> {bytes(entry.data).decode()}" if stat.S_ISLNK(entry.mode) else ""
    assert (entry.linked, entry.mtime_epoch) == (None, 0)
    return (
        f"{stat.filemode(entry.mode)} {count:3} {entry.uid:<8} {entry.gid:<8} {size} "
        f"Jan  1  1970 {entry.name}{end}"
    )
