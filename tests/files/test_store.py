"""The store copies; what is published cannot be reached through a built file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from bootsmith.errors import PublishError
from bootsmith.files.digest import sha256_of
from bootsmith.files.store import Store, clone_file


def test_editing_the_source_leaves_the_object(tmp_path):
    source = tmp_path / "built"
    source.write_bytes(b"as built")
    stored = Store(tmp_path / "store").add(source, sha256_of(source))
    source.write_bytes(b"edited")
    assert stored.read_bytes() == b"as built"


def test_a_damaged_object_is_replaced(tmp_path):
    source = tmp_path / "built"
    source.write_bytes(b"as built")
    store = Store(tmp_path / "store")
    stored = store.add(source, sha256_of(source))
    assert stored.stat().st_mode & 0o777 == 0o444
    stored.chmod(0o644)
    stored.write_bytes(b"rotten")
    assert store.add(source, sha256_of(source)).read_bytes() == b"as built"


def test_a_wrong_digest_is_refused_and_leaves_nothing(tmp_path):
    source = tmp_path / "built"
    source.write_bytes(b"as built")
    with pytest.raises(PublishError, match="changed while it was being stored"):
        Store(tmp_path / "store").add(source, "0" * 64)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_holes_stay_holes(tmp_path):
    source, target = tmp_path / "sparse", tmp_path / "clone"
    with open(source, "wb") as out:
        out.truncate(64 << 20)
        out.seek(8 << 20)
        out.write(b"data in the middle")
    target.touch()
    clone_file(source, target)
    assert sha256_of(target) == sha256_of(source)
    assert os.stat(target).st_blocks * 512 < 1 << 20


def test_links_share_the_object(tmp_path):
    source = tmp_path / "built"
    source.write_bytes(b"as built")
    store = Store(tmp_path / "store")
    digest = sha256_of(source)
    stored = store.add(source, digest)
    store.link(digest, tmp_path / "generation/kernel/vmlinuz")
    assert (tmp_path / "generation/kernel/vmlinuz").samefile(stored)


def test_another_kind_of_file_system_gets_a_copy(tmp_path):
    source = tmp_path / "source"
    with open(source, "wb") as file:
        file.write(b"begins")
        file.seek(3_000_000)
        file.write(b"ends")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as target:
        if os.stat(target.name).st_dev == source.stat().st_dev:
            pytest.skip("/dev/shm is no file system of its own here")
        clone_file(source, Path(target.name))
        assert Path(target.name).read_bytes() == source.read_bytes()
