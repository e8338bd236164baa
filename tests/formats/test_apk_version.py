"""Versions sort as apk sorts them; constraints take what apk would take."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.apk_version import read_constraint, version_key

# The rules of apk-tools doc/apk-package.5, each between two neighbours.
ASCENDING = (
    "0.9 1_alpha 1_beta2 1_beta10 1_pre1 1_rc1 1 1-r1 1-r10 1_git20240101 1_p1 1a 1b "
    "1.0 1.0.1 1.2 1.10 2 10"
).split()


def test_versions_sort():
    for lower, higher in pairwise(ASCENDING):
        assert version_key(lower) < version_key(higher), (lower, higher)
    assert version_key("1.2~abc123-r1") == version_key("1.2-r1")


@pytest.mark.parametrize("text", ["", "x", "1..2", "1_what", "1-rx", "1 2"])
def test_what_is_no_version(text):
    with pytest.raises(FormatError) as caught:
        version_key(text)
    assert caught.value.problem == "is not a package version"


@pytest.mark.parametrize(
    "constraint,accepted,refused",
    [
        ("nginx", ["1", "2", None], []),
        ("nginx=1.2-r0", ["1.2-r0"], ["1.2-r1", None]),
        ("nginx>1.2", ["1.2-r1", "1.3"], ["1.2", "1.1"]),
        ("nginx>=1.2", ["1.2", "1.3"], ["1.1"]),
        ("nginx<1.2", ["1.1"], ["1.2"]),
        ("nginx<=1.2", ["1.2"], ["1.3"]),
        ("nginx~1.2", ["1.2", "1.2.9-r3"], ["1.20", "1.3"]),
        ("nginx~=1.2", ["1.2.1"], ["2"]),
        ("so:libc.musl-x86_64.so.1", ["1", None], []),
        ("nginx>1.26@edge", ["1.27"], ["1.26"]),
    ],
)
def test_constraints(constraint, accepted, refused):
    read = read_constraint(constraint)
    assert [version for version in accepted if not read.accepts(version)] == []
    assert [version for version in refused if read.accepts(version)] == []


def test_the_parts_of_a_constraint():
    read = read_constraint("!so:libx.so.1>=2")
    assert (read.forbids, read.name, read.operator, read.version) == (
        *(True, "so:libx.so.1"),
        *(">=", "2"),
    )
    with pytest.raises(FormatError) as caught:
        read_constraint("=1")
    assert caught.value.problem == "is not a package constraint"
