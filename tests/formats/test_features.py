"""Features in mkinitfs's syntax; globs against the shell itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.errors import RecipeError
from bootsmith.formats.features import Feature, expand_globs, read_feature
from bootsmith.tools.run import run_program

NAMES = sorted(
    [
        *("kernel/fs/nfs/nfs.ko", "kernel/fs/nfs/nfsv3.ko.gz", "kernel/fs/nfs/flexfile/x.ko"),
        *("kernel/fs/nfs_common/grace.ko", "kernel/net/a[1].ko", "kernel/net/a1.ko"),
        *("kernel/net/a-2.ko", "kernel/net/.hidden.ko", "kernel/net/star*.ko"),
    ]
)


def test_lines_as_mkinitfs_takes_them():
    feature = read_feature(
        "x",
        modules=b"# a comment\n\n/kernel/fs/nfs/\nkernel/net/a#b.ko # kept\n",
        files=b"//usr/bin/x\n #not a comment\n",
    )
    assert feature == Feature(
        name="x",
        modules=("kernel/fs/nfs", "kernel/net/a#b.ko # kept"),
        files=("usr/bin/x", " #not a comment"),
        places={
            "kernel/fs/nfs": "x.modules:3",
            "kernel/net/a#b.ko # kept": "x.modules:4",
            "/usr/bin/x": "x.files:1",
            "/ #not a comment": "x.files:2",
        },
    )
    assert read_feature("y", modules=None, files=None).modules == ()


def test_required_lines_repeat_lines_of_the_lists():
    lists = {"modules": b"kernel/a\nboth\n", "files": b"/both\n/b\n"}
    feature = read_feature("x", **lists, required=b"# a comment\n/b/\n\n/kernel/a\nboth\n")
    assert feature.required == {
        "/b": "x.required:2",
        "kernel/a": "x.required:4",
        "both": "x.required:5",
    }
    assert read_feature("x", **lists).required == {}
    with pytest.raises(RecipeError) as caught:
        read_feature("x", **lists, required=b"b\nkernel/b\n")
    assert str(caught.value) == (
        "x.required:2: kernel/b is no line of x.modules or x.files\n"
        "  next: repeat a line of theirs, letter by letter, or remove it"
    )


def test_a_directory_stands_for_all_below_it():
    assert expand_globs(["kernel/fs/nfs", "kernel/f?/nfs_*"], NAMES) == {
        "kernel/fs/nfs": tuple(name for name in NAMES if name.startswith("kernel/fs/nfs/")),
        "kernel/f?/nfs_*": ("kernel/fs/nfs_common/grace.ko",),
    }


GLOBS = [
    *("kernel/net/*", "kernel/net/a?.ko", "kernel/net/a[[]1].ko", "kernel/net/a[!1]2.ko"),
    *("kernel/net/a[^1]2.ko", "kernel/net/[a-b]1.ko", "kernel/net/star\\*.ko", "kernel/*/*.ko"),
    *("kernel/net/a[1", "kernel/net/.h*", "kernel/fs/nfs/nfs*.ko*", "*/*/nfs/*"),
    "kernel/net/[]a]1.ko",
]  # fmt: skip


@pytest.mark.parametrize("glob", GLOBS)
def test_the_shell_matches_the_same(tmp_path, glob):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    script = f'for name in {glob}; do [ -f "$name" ] && echo "$name"; done; true'
    shell = run_program(["bash", "-c", script], cwd=tmp_path).text.split("\n")[:-1]
    files_only = [
        name for name in expand_globs([glob], NAMES)[glob] if name.count("/") == glob.count("/")
    ]
    assert files_only == sorted(shell)


@given(st.text("ab*?[]!^-\\/.", min_size=1, max_size=10))
def test_any_glob_can_be_asked(glob):
    for found in expand_globs([glob], NAMES).values():
        assert set(found) <= set(NAMES)
