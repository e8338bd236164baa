"""The tree of an ISO on the disk: what bsdtar takes out of it, and readable for servers."""

from __future__ import annotations

import hashlib
import os
import random

import pytest

from bootsmith.errors import SourceError
from bootsmith.files.iso9660 import read_iso_tree
from bootsmith.files.iso_tree import write_iso_tree
from bootsmith.tools.run import run_program


@pytest.fixture
def iso(tmp_path):
    """An ISO with a private file, a program, a link and a file of many blocks."""
    tree = tmp_path / "made"
    (tree / "boot").mkdir(parents=True)
    (tree / ".alpine-release").write_text("alpine-virt-3.20.3 240906\n")
    (tree / "boot/initramfs-virt").write_bytes(b"private")
    (tree / "boot/initramfs-virt").chmod(0o600)
    (tree / "boot/program").write_bytes(b"#!")
    (tree / "boot/program").chmod(0o700)
    (tree / "boot/large").write_bytes(random.Random(1).randbytes(5_000_000))
    (tree / "boot/link").symlink_to("initramfs-virt")
    iso = tmp_path / "tiny.iso"
    run_program(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-lJR", tree])
    return iso


def written(iso, root, progress=None):
    root.mkdir()
    with open(iso, "rb", buffering=0) as source:
        files = read_iso_tree(source, subject=iso).files
        write_iso_tree(source, files, root, progress)
    return root


def contents(root):
    """Path → what it is, for everything below `root`."""
    found = {}
    for parent, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(parent, name)
            if os.path.islink(path):
                what = os.readlink(path)
            elif os.path.isdir(path):
                what = None
            else:
                with open(path, "rb") as file:
                    what = hashlib.sha256(file.read()).hexdigest()
            found[os.path.relpath(path, root)] = what
    return found


def test_it_holds_what_bsdtar_takes_out(iso, tmp_path):
    seen = []
    root = written(iso, tmp_path / "tree", lambda message, done, total: seen.append((done, total)))
    (tmp_path / "other").mkdir()
    run_program(["bsdtar", "-xf", iso, "-C", tmp_path / "other"])
    assert contents(root) == contents(tmp_path / "other")
    assert len(seen) == 4
    assert seen[-1][0] == seen[-1][1] > 5_000_000


def test_servers_can_read_it(iso, tmp_path):
    root = written(iso, tmp_path / "tree")
    paths = ("boot", "boot/initramfs-virt", "boot/program", ".alpine-release")
    assert {path: (root / path).stat().st_mode & 0o7777 for path in paths} == {
        "boot": 0o755,
        "boot/initramfs-virt": 0o644,
        "boot/program": 0o755,
        ".alpine-release": 0o644,
    }


def test_an_iso_that_ends_early_is_refused(iso, tmp_path):
    with open(iso, "rb", buffering=0) as source:
        files = read_iso_tree(source, subject=iso).files
    large = next(entry for entry in files if entry.path == "boot/large")
    with open(iso, "r+b") as file:
        file.truncate(large.extents[0][0] + 4096)
    (tmp_path / "tree").mkdir()
    with open(iso, "rb", buffering=0) as source, pytest.raises(SourceError):
        write_iso_tree(source, files, tmp_path / "tree")
