"""Identities of files in squashfs images made by mksquashfs."""

from __future__ import annotations

import itertools
import random

import pytest

from bootsmith.formats.squashfs_content import IdentifiedSquashfs
from bootsmith.tools.run import run_program


@pytest.fixture
def images(tmp_path):
    """One tree twice: as it was, and after one file changed and one came in front of all."""
    noise = random.Random(1).randbytes
    tree = tmp_path / "tree"
    tree.mkdir()
    contents = {"large": noise(300_000), "small": noise(500), "exact": noise(262_144), "empty": b""}
    contents |= {"zeros": bytes(200_000), "twin": contents["small"]}
    made = []
    for more in ({}, {"aaa": noise(9000), "changed": b"b"}):
        for name, content in (contents | {"changed": b"a"} | more).items():
            (tree / name).write_bytes(content)
        path = tmp_path / f"{len(made)}.squashfs"
        run_program(["mksquashfs", tree, path, "-comp", "xz", "-noappend", "-quiet"])
        made.append(IdentifiedSquashfs(path.read_bytes(), subject=path.name))
    return made


def test_whole_blocks_keep_their_identity_in_another_image(images):
    before, after = images
    for name in ("exact", "zeros", "empty"):
        assert before.identity(before.entry(name)) == after.identity(after.entry(name)), name


def test_equal_identities_mean_equal_content(images):
    files = [(image, entry) for image in images for entry in image.walk()]
    for (one, entry), (other, other_entry) in itertools.combinations(files, 2):
        if one.identity(entry) == other.identity(other_entry):
            assert one.read_entry(entry) == other.read_entry(other_entry)
    changed = {image.identity(image.entry("changed")) for image in images}
    assert len(changed) == 2


def test_files_of_one_image_that_are_alike_have_one_identity(images):
    image = images[0]
    assert image.identity(image.entry("small")) == image.identity(image.entry("twin"))
