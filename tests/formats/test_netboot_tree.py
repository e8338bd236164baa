"""The index of a generation's netboot tree: what is written is read, and nothing else is."""

from __future__ import annotations

import json

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.netboot_tree import (
    NetbootTree,
    TreeFile,
    read_netboot_tree,
    render_text,
    write_netboot_tree,
)

ONE, TWO = "1" * 64, "2" * 64
TREE = NetbootTree(
    links={
        "tftp/pxelinux.cfg/01-52-54-01-02-00-07": "template-web",
        "http/apkovl/52:54:01:02:00:07.apkovl.tar.gz": "../x/web.apkovl.tar.gz",
        "odd/a b": "a \\ \" 'ü",
    },
    files={"tftp/pxelinux.0": TreeFile(ONE, 42), 'odd/ü "x"': TreeFile(TWO, 0)},
    texts={"tftp/pxelinux.cfg/template-web": 'KERNEL ::generations/@generation@/"k"\n'},
)
INDEX = (
    b'{"schema": 1}\n'
    b'{"path":"http/apkovl/52:54:01:02:00:07.apkovl.tar.gz","link":"../x/web.apkovl.tar.gz"}\n'
    b'{"path":"odd/a b","link":"a \\\\ \\" \'\\u00fc"}\n'
    b'{"path":"odd/\\u00fc \\"x\\"","sha256":"' + TWO.encode() + b'","size_bytes":0}\n'
    b'{"path":"tftp/pxelinux.0","sha256":"' + ONE.encode() + b'","size_bytes":42}\n'
    b'{"path":"tftp/pxelinux.cfg/01-52-54-01-02-00-07","link":"template-web"}\n'
    b'{"path":"tftp/pxelinux.cfg/template-web",'
    b'"text":"KERNEL ::generations/@generation@/\\"k\\"\\n"}\n'
)


def test_an_index_has_one_sorted_line_a_name():
    assert write_netboot_tree(TREE) == INDEX
    assert all(isinstance(json.loads(line), dict) for line in INDEX.splitlines())


def test_what_was_written_is_read():
    assert read_netboot_tree(INDEX, subject="INDEX.jsonl") == TREE


def test_an_empty_tree_has_an_index_too():
    assert read_netboot_tree(write_netboot_tree(NetbootTree()), subject="x") == NetbootTree()


def test_directories_are_those_that_hold_something():
    assert TREE.directories == {"tftp", "tftp/pxelinux.cfg", "http", "http/apkovl", "odd"}


def test_equal_files_count_once():
    tree = NetbootTree(files={"a": TreeFile(ONE, 5), "b": TreeFile(ONE, 5), "c": TreeFile(TWO, 7)})
    assert tree.content_bytes == {ONE: 5, TWO: 7}


def test_a_text_names_its_generation_wherever_it_says_so():
    assert render_text("a/@generation@/b @generation@ @gen", "2026-11-20.1") == (
        b"a/2026-11-20.1/b 2026-11-20.1 @gen"
    )


@pytest.mark.parametrize(
    "tree",
    [
        NetbootTree(links={"a": "b"}, texts={"a": ""}),
        NetbootTree(links={"a": "b"}, files={"a": TreeFile(ONE, 1)}),
        NetbootTree(files={"a": TreeFile(ONE, 1)}, texts={"a": ""}),
        NetbootTree(links={"a": "b"}, texts={"a/b/c": ""}),
    ],
)
def test_one_name_cannot_be_two_things(tree):
    with pytest.raises(FormatError) as caught:
        write_netboot_tree(tree)
    assert str(caught.value) == (
        "netboot/a: is made twice\n"
        "  next: give one of the two another name; templates, installers and hosts share these "
        "names"
    )


HEAD = '{"schema": 1}\n'


@pytest.mark.parametrize(
    "content,why",
    [
        ("", "another schema, or cut short"),
        ('{"schema": 2}\n', "another schema, or cut short"),
        (HEAD + '{"path":"a","link":"b"}', "another schema, or cut short"),
        (HEAD + '{"path":"b","link":"x"}\n{"path":"a","link":"x"}\n', "'a' is out of order"),
        (HEAD + '{"path":"a","link":"x"}\n{"path":"a","link":"x"}\n', "'a' is out of order"),
        (HEAD + '{"path":"../a","link":"b"}\n', None),
        (HEAD + '{"path":"/a","link":"b"}\n', None),
        (HEAD + '{"path":"a/./b","link":"c"}\n', "'a/./b' is not a plain path"),
        (HEAD + '{"path":"a//b","link":"c"}\n', "'a//b' is not a plain path"),
        (HEAD + '{"path":"","link":"c"}\n', "'' is not a plain path"),
        (HEAD + '{"path":7,"link":"c"}\n', "7 is not a plain path"),
        (HEAD + '{"path":"a","link":"../b"}\n', "'a' leads out of the tree"),
        (HEAD + '{"path":"a/b","link":"x/../../../c"}\n', "'a/b' leads out of the tree"),
        (HEAD + '{"path":"a","link":"/etc/passwd"}\n', "'a' leads out of the tree"),
        (HEAD + '{"path":"a b","link":"/etc/passwd"}\n', "'a b' leads out of the tree"),
        (HEAD + '{"path":"a","link":""}\n', "'a' leads out of the tree"),
        (HEAD + '{"path":"a"}\n', "'a' is neither link nor file nor text"),
        (HEAD + '{"path":"a","link":"b","text":"c"}\n', "'a' is neither link nor file nor text"),
        (HEAD + '{"path":"a","sha256":"00","size_bytes":1}\n', "'a' has no digest"),
        (HEAD + '{"path":"a","text":1}\n', "'a' is neither link nor file nor text"),
        (
            HEAD + '{"path":"a","link":"b"}\n{"path":"a/b","text":"c"}\n',
            "'a' is a directory and something else",
        ),
        (HEAD + "[]\n", None),
        (HEAD + "{}\n", "'path'"),
    ],
)
def test_what_is_no_index_is_refused(content, why):
    with pytest.raises(FormatError) as caught:
        read_netboot_tree(content.encode(), subject="INDEX.jsonl")
    if why is not None:
        assert caught.value.problem == f"is not the index of a netboot tree ({why})"


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(FormatError, match="is not the index of a netboot tree"):
        read_netboot_tree(HEAD.encode() + b'{"path":"\xff","link":"b"}\n', subject="INDEX.jsonl")
