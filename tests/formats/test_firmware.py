"""What answers a module's wish for firmware."""

from __future__ import annotations

import pytest

from bootsmith.formats.firmware import FirmwareTree

TREE = FirmwareTree(
    {
        "acme/a.bin": None,
        "acme/b.bin.xz": None,
        "acme/c.bin": "a.bin",
        "acme/d.bin.zst": "../acme/b.bin.xz",
        "alias": "acme",
        "deep/er": "../alias",
        "loop/x": "y",
        "loop/y": "x",
        "loop/self": "self/self",
        "out": "../../etc",
        "absolute": "/etc",
        "dangling": "nowhere",
    }
)


@pytest.mark.parametrize(
    "wanted,answer",
    [
        ("acme/a.bin", {"acme/a.bin"}),
        ("acme/b.bin", {"acme/b.bin.xz"}),
        ("acme/c.bin", {"acme/c.bin", "acme/a.bin"}),
        ("acme/d.bin", {"acme/d.bin.zst", "acme/b.bin.xz"}),
        ("alias/a.bin", {"alias", "acme/a.bin"}),
        ("alias/c.bin", {"alias", "acme/c.bin", "acme/a.bin"}),
        ("deep/er/b.bin", {"deep/er", "alias", "acme/b.bin.xz"}),
        ("acme/[ac].bin", {"acme/a.bin", "acme/c.bin"}),
        ("acme/none.bin", set()),
        ("loop/x", set()),
        ("loop/self/z", set()),
        ("out/passwd", set()),
        ("absolute/passwd", set()),
        ("dangling", set()),
        ("", set()),
    ],
)
def test_links_and_compressed_variants_are_followed(wanted, answer):
    assert TREE.answering(wanted) == answer


def test_a_glob_on_a_directory_stands_for_what_is_below():
    assert TREE.matching(["acme"]) == {
        "acme/a.bin",
        "acme/b.bin.xz",
        "acme/c.bin",
        "acme/d.bin.zst",
    }
    assert TREE.matching(["*/[xy]"]) == {"loop/x", "loop/y"}
