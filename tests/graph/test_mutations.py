"""Whatever is changed, exactly the steps that must be redone are redone. See mutation_rows."""

from __future__ import annotations

import shutil

import pytest
from mutation_rows import ALL, rows
from mutation_site import Disc, Original, write_site

from bootsmith.graph import code

ROWS = rows()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package whose source may be edited: keys count its code instead of ours."""
    copy = tmp_path_factory.mktemp("package") / "bootsmith"
    shutil.copytree(code._PACKAGE_DIRECTORY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "_PACKAGE_DIRECTORY", copy)
        yield copy


@pytest.fixture(scope="module")
def original(tmp_path_factory, package):
    directory = tmp_path_factory.mktemp("mutations")
    (directory / "site").mkdir()
    site = write_site(directory / "site", Disc(directory / "disc"))
    assert site.run() == ALL
    return Original(site, directory)


@pytest.fixture
def site(original):
    yield original.site
    original.restore()


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_exactly_what_must_be_redone_is(site, row):
    row.change(site)
    if row.fails is not None:
        assert row.fails in site.failure()
        return
    assert sorted(site.run()) == sorted(row.redone)
    assert site.run() == set()
