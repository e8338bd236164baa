"""An image that is changed is the image that is written whole, or it is not changed at all."""

from __future__ import annotations

import json
import os
import random

import pytest

from bootsmith.errors import SourceError
from bootsmith.files import disk_image
from bootsmith.files.disk_image import DiskImage, ImagePiece, ImageRecord, write_image

SIZE_BYTES = 1 << 20


def nobody(size_bytes):
    """Counts nothing."""


class Bench:
    """An image in a directory, its record, and the files that it is made of."""

    def __init__(self, directory):
        self.directory = directory
        self.target = directory / "out" / "key.img"
        self.record = ImageRecord(path=directory / "cache" / "key.json", maker="one")

    def from_file(self, offset, content):
        path = self.directory / f"part-{hash((offset, content)) & 0xFFFFFF:x}"
        path.write_bytes(content)
        return ImagePiece(
            offset_bytes=offset,
            container=path,
            extents=((0, len(content)),),
            digest=f"{hash(content) & 0xFFFFFFFF:08x}",
        )

    def image(self, *pieces, size_bytes=SIZE_BYTES):
        made = [
            ImagePiece(offset_bytes=at, content=text) if is_inline else self.from_file(at, text)
            for at, text, is_inline in pieces
        ]
        return DiskImage(size_bytes=size_bytes, pieces=made)

    def write(self, image, *, record=True):
        """Write it; whether it was made out of the last one, which then keeps its inode."""
        before = self.target.stat().st_ino if self.target.exists() else None
        kept = os.open(self.target, os.O_RDONLY) if before else None  # its number is not free
        write_image(self.target, image, record=self.record if record else None, copied=nobody)
        if kept is not None:
            os.close(kept)
        return self.target.stat().st_ino == before

    def whole(self, image):
        path = self.directory / "whole.img"
        write_image(path, image, record=None, copied=nobody)
        return path.read_bytes()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


FIRST = ((0, b"head", True), (8192, b"kernel" * 3000, False), (40960, b"overlay" * 900, False))


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(FIRST, id="nothing"),
        pytest.param((*FIRST[:2], (40960, b"another" * 1900, False)), id="larger"),
        pytest.param((*FIRST[:2], (40960, b"x", False)), id="smaller"),
        pytest.param((*FIRST[:2], (49152, b"overlay" * 900, False)), id="moved"),
        pytest.param((*FIRST[:2], (41984, b"overlay" * 900, False)), id="moved by a little"),
        pytest.param(FIRST[:2], id="gone"),
        pytest.param(((0, b"HEADER" * 700, True), *FIRST[1:]), id="longer head"),
        pytest.param(((0, b"h", True), *FIRST[1:]), id="shorter head"),
        pytest.param((FIRST[0], (8192, b"kernel" * 3000, True), FIRST[2]), id="file made inline"),
        pytest.param(((600000, b"kernel" * 3000, False),), id="all else gone"),
    ],
)
def test_a_changed_image_is_the_one_written_whole(bench, pieces):
    bench.write(bench.image(*FIRST))
    image = bench.image(*pieces)
    assert bench.write(image)
    assert bench.target.read_bytes() == bench.whole(image)
    assert [path.name for path in bench.target.parent.iterdir()] == ["key.img"]


def test_many_changes_one_after_another(bench):
    chance = random.Random(7)
    for round_number in range(60):
        offset, pieces = 0, []
        while offset < SIZE_BYTES - 70000:
            size = chance.choice([1, 511, 4096, 5000, 60000])
            letter = chance.choice([b"a", b"b", b"\0"])
            pieces.append((offset, letter * size, chance.random() < 0.3))
            offset += size + chance.choice([0, 1, 4096, 100000])
        image = bench.image(*pieces)
        assert bench.write(image) is (round_number > 0)
        assert bench.target.read_bytes() == bench.whole(image)


def test_only_pages_that_differ_are_written(bench, monkeypatch):
    bench.write(bench.image(*FIRST))
    written = []
    real = os.pwrite

    def pwrite(descriptor, data, offset):
        written.append((offset, len(data)))
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    bench.write(bench.image((0, b"HEAD", True), *FIRST[1:]))
    assert written == [(0, 4)]


def edited(bench):
    with open(bench.target, "r+b") as image:
        image.seek(9000)
        image.write(b"!")


def edited_with_old_times(bench):
    status = bench.target.stat()
    edited(bench)
    os.utime(bench.target, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced_by_a_copy(bench):
    content = bench.target.read_bytes()
    bench.target.unlink()
    bench.target.write_bytes(content)


def second_name(bench):
    # Its identity as of now, or the changed ctime alone would refuse it.
    os.link(bench.target, bench.directory / "second")
    known = json.loads(bench.record.path.read_bytes())
    known["image"]["ctime_ns"] = bench.target.stat().st_ctime_ns
    bench.record.path.write_text(json.dumps(known))


def moved_away_behind_a_link(bench):
    os.rename(bench.target, bench.directory / "real.img")
    bench.target.symlink_to(bench.directory / "real.img")


@pytest.mark.parametrize(
    "disturb",
    [
        edited,
        edited_with_old_times,
        replaced_by_a_copy,
        second_name,
        moved_away_behind_a_link,
        pytest.param(lambda bench: bench.target.unlink(), id="gone"),
        pytest.param(lambda bench: bench.record.path.unlink(), id="no record"),
        pytest.param(lambda bench: bench.record.path.write_bytes(b""), id="empty record"),
        pytest.param(lambda bench: bench.record.path.write_bytes(b"[1, 2]"), id="strange record"),
        pytest.param(lambda bench: bench.record.path.write_bytes(b'{"a": '), id="torn record"),
    ],
)
def test_an_image_that_is_not_what_was_recorded_is_not_changed(bench, disturb):
    bench.write(bench.image(*FIRST))
    disturb(bench)
    image = bench.image(*FIRST[:2])
    assert not bench.write(image)
    assert bench.target.read_bytes() == bench.whole(image)
    assert not bench.target.is_symlink()


def test_an_image_of_other_code_or_size_is_not_changed(bench):
    bench.write(bench.image(*FIRST))
    assert not bench.write(bench.image(*FIRST, size_bytes=2 * SIZE_BYTES))
    bench.record = ImageRecord(path=bench.record.path, maker="two")
    assert not bench.write(bench.image(*FIRST, size_bytes=2 * SIZE_BYTES))
    assert bench.write(bench.image(*FIRST, size_bytes=2 * SIZE_BYTES))


def test_what_is_nearly_all_new_is_written_whole(bench, monkeypatch):
    monkeypatch.setattr(disk_image, "_MOST_NEW_BYTES", 1000)
    bench.write(bench.image(*FIRST))
    assert not bench.write(bench.image(*FIRST[:2], (40960, b"another" * 900, False)))
    assert bench.write(bench.image(*FIRST[:2], (40960, b"small", False)))


def test_no_record_where_the_clock_stands_still(bench, monkeypatch):
    monkeypatch.setattr(disk_image, "_is_later", lambda path, identity: False)
    bench.write(bench.image(*FIRST))
    assert not bench.record.path.exists()


def test_a_clock_that_went_on_is_told_from_one_that_did_not(bench):
    bench.write(bench.image(*FIRST))
    identity = disk_image.Identity.of(bench.target.stat())
    assert disk_image._is_later(bench.record.path, identity)
    os.utime(bench.record.path, ns=(identity.ctime_ns, identity.ctime_ns))
    assert not disk_image._is_later(bench.record.path, identity)


def test_a_part_that_is_cut_short_changes_nothing(bench):
    bench.write(bench.image(*FIRST))
    before = bench.target.read_bytes()
    image = bench.image(*FIRST[:2], (40960, b"another" * 900, False))
    image.pieces[-1].container.write_bytes(b"short")
    with pytest.raises(SourceError, match="file ends before its content"):
        bench.write(image)
    assert bench.target.read_bytes() == before


def test_a_disk_that_refuses_half_way_leaves_the_old_image(bench, monkeypatch):
    bench.write(bench.image(*FIRST))
    before = bench.target.read_bytes()
    image = bench.image((0, b"HEAD", True), FIRST[1], (40960, b"another" * 1900, False))
    real, calls = os.pwrite, []

    def refusing(descriptor, data, offset):
        calls.append(offset)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", refusing)
    with pytest.raises(OSError, match="No space left"):
        bench.write(image)
    monkeypatch.undo()
    assert bench.target.read_bytes() == before
    assert [path.name for path in bench.target.parent.iterdir()] == ["key.img"]
    assert not bench.write(image)  # nothing is recorded of it any more
    assert bench.target.read_bytes() == bench.whole(image)


def test_a_kill_half_way_leaves_a_partial_file_and_no_image(bench, monkeypatch):
    bench.write(bench.image(*FIRST))
    image = bench.image(*FIRST[:2])
    seen = []
    monkeypatch.setattr(
        disk_image,
        "_apply",
        lambda out, changes: seen.extend(path.name for path in bench.target.parent.iterdir()),
    )
    bench.write(image)
    assert len(seen) == 1
    assert seen[0].startswith(".key.img.")
    assert seen[0].endswith(".partial")
