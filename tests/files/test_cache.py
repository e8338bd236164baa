"""The cache: found again, never wrong."""

from __future__ import annotations

import pytest

from bootsmith.files.cache import Cache


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def test_what_was_kept_is_recalled(cache):
    assert cache.recall("kind", "ab12") is None
    cache.keep("kind", "ab12", b"content")
    cache.keep("kind", "cd34", b"")
    cache.keep_document("kind", "ef56", {"a": [1, None, "x"]})
    assert cache.recall("kind", "ab12") == b"content"
    assert cache.recall("kind", "cd34") == b""
    assert cache.recall("other", "ab12") is None
    assert cache.recall_document("kind", "ef56") == {"a": [1, None, "x"]}
    assert [path for path in cache.directory.rglob("*") if path.name.startswith(".")] == []


@pytest.mark.parametrize("damage", [b"", b"con", b"cantent\0\0\0\0", bytes(11)])
def test_a_torn_entry_is_absent(cache, damage):
    cache.keep("kind", "ab12", b"content")
    (cache.directory / "kind/ab12").write_bytes(damage)
    assert cache.recall("kind", "ab12") is None
    cache.keep("kind", "ab12", b"content")
    assert cache.recall("kind", "ab12") == b"content"


def test_a_place_that_cannot_be_written_keeps_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(tmp_path / "file")
    cache.keep("kind", "ab12", b"content")
    assert cache.recall("kind", "ab12") is None


def test_digests_of_files_follow_their_content(cache, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = cache.sha256_of(path)
    path.write_bytes(b"two")
    assert cache.sha256_of(path) != first
