from __future__ import annotations

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.netboot_index import (
    NetbootEntry,
    read_netboot_index,
    write_netboot_index,
)

ENTRIES = (
    NetbootEntry(path="tftp/pxelinux.cfg/01-52-54-01-02-00-07", link="template-web"),
    NetbootEntry(path="tftp/pxelinux.cfg/52:54:01:02", link="template-web+own"),
    NetbootEntry(path="http/boot/x-virt/pxerd", part="pxerd/x-virt/pxerd-virt"),
    NetbootEntry(path="nfs/x/apks/a b.apk", iso="x", from_path="apks/a b.apk"),
    NetbootEntry(path="nfs/x/l\udcffink", link='q"uote'),
    NetbootEntry(
        path="tftp/pxelinux.0",
        file="netboot/files/tftp/pxelinux.0",
        sha256="ab" * 32,
        size_bytes=42,
    ),
    NetbootEntry(path="tftp/pxelinux.cfg/disk", content="DEFAULT disk\n"),
    NetbootEntry(path="tftp/boot.ipxe", content="#!ipxe\n# @generation@\n", text=True),
    NetbootEntry(path="http/ipxe.efi", link="../tftp/ipxe.efi"),
)


def index(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in ('{"schema": 1}', *lines)).encode()


def read(content: bytes) -> list[NetbootEntry]:
    return list(read_netboot_index(content, subject="index.jsonl"))


def test_one_line_an_entry_sorted_by_path():
    assert write_netboot_index(ENTRIES) == (
        b'{"schema": 1}\n'
        b'{"path":"http/boot/x-virt/pxerd","part":"pxerd/x-virt/pxerd-virt"}\n'
        b'{"path":"http/ipxe.efi","link":"../tftp/ipxe.efi"}\n'
        b'{"path":"nfs/x/apks/a b.apk","iso":"x","from":"apks/a b.apk"}\n'
        b'{"path":"nfs/x/l\\udcffink","link":"q\\"uote"}\n'
        b'{"path":"tftp/boot.ipxe","content":"#!ipxe\\n# @generation@\\n","text":true}\n'
        b'{"path":"tftp/pxelinux.0","file":"netboot/files/tftp/pxelinux.0","sha256":"'
        + b"ab"
        * 32
        + b'","size_bytes":42}\n'
        b'{"path":"tftp/pxelinux.cfg/01-52-54-01-02-00-07","link":"template-web"}\n'
        b'{"path":"tftp/pxelinux.cfg/52:54:01:02","link":"template-web+own"}\n'
        b'{"path":"tftp/pxelinux.cfg/disk","content":"DEFAULT disk\\n"}\n'
    )


def test_what_was_written_is_read():
    expected = sorted(ENTRIES, key=lambda entry: entry.path)
    assert read(write_netboot_index(reversed(ENTRIES))) == expected


@pytest.mark.parametrize(
    "paths",
    [("a/b", "a/b"), ("a", "a/b"), ("a/b/c", "a-", "a/b")],
)
def test_two_makers_of_one_name_are_refused(paths):
    with pytest.raises(FormatError) as caught:
        write_netboot_index([NetbootEntry(path=path, content="") for path in paths])
    name = min(paths, key=len) if paths[0] == "a" else "a/b"
    assert str(caught.value) == (
        f"netboot/{name}: is made twice\n"
        "  next: give one of the two another name; templates, installers and hosts share these "
        "names"
    )


@pytest.mark.parametrize(
    "content, why",
    [
        (b"", "another schema, or cut short"),
        (b'{"schema": 2}\n', "another schema, or cut short"),
        (index()[:-1], "another schema, or cut short"),
        (index('{"path":"a","link":"b"}')[:-1], "another schema, or cut short"),
        (index('{"path":"b","link":"x"}', '{"path":"a","link":"x"}'), "'a' is out of order"),
        (index('{"path":"a","link":"x"}', '{"path":"a","link":"x"}'), "'a' is out of order"),
        (index('{"path":"a","link":"../b"}'), "'a' leads out of the tree"),
        (index('{"path":"a/b","link":"../c/../../d"}'), "'a/b' leads out of the tree"),
        (index('{"path":"a/b","link":"/etc"}'), "'a/b' leads out of the tree"),
        (index('{"path":"a//b","link":"x"}'), "'a//b' is not a plain path"),
        (index('{"path":"./b","link":"x"}'), "'./b' is not a plain path"),
        (index('{"path":"b/.","link":"x"}'), "'b/.' is not a plain path"),
        (index('{"path":"a"}'), "'a' has not exactly one source"),
        (index('{"path":"a","link":"b","content":""}'), "'a' has not exactly one source"),
        (index('{"path":"a","iso":"x"}'), "'a' has half a place on an ISO"),
        (index('{"path":"a","file":"x"}'), "'a' has no digest, or nothing that it is of"),
    ],
)
def test_what_is_no_index_is_refused(content, why):
    with pytest.raises(FormatError) as caught:
        read(content)
    assert str(caught.value) == (
        f"index.jsonl: is not an index of a netboot tree ({why})\n  next: build again: doit build"
    )


@pytest.mark.parametrize("path", ["../a", "a/../b", "/a", "a/.."])
def test_a_path_that_leads_out_is_refused(path):
    for line in (f'{{"path":"{path}","link":"x"}}', f'{{"path":"{path}","content":"x"}}'):
        with pytest.raises(FormatError):
            read(index(line))
