"""The list of host overlays: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.host_overlays import HostOverlay, read_host_overlays, write_host_overlays

ONE = HostOverlay(
    name="web-1",
    mac="52:54:01:02:00:07",
    template="web",
    file="hostovl/files/web-1.apkovl.tar.gz",
    sha256="1" * 64,
    size_bytes=4711,
    overlay_sha256="2" * 64,
)
LINE = (
    b'{"name":"web-1","mac":"52:54:01:02:00:07","template":"web",'
    b'"file":"hostovl/files/web-1.apkovl.tar.gz","sha256":"' + b"1" * 64 + b'","size_bytes":4711,'
    b'"overlay_sha256":"' + b"2" * 64 + b'"}\n'
)


def test_a_host_has_a_line():
    assert write_host_overlays([ONE]) == b'{"schema":1}\n' + LINE
    assert read_host_overlays(b'{"schema":1}\n' + LINE, subject="x") == {"web-1": ONE}


def test_no_host_has_none():
    assert read_host_overlays(write_host_overlays([]), subject="x") == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        LINE,
        b'{"schema":2}\n',
        b'{"schema":1}\n{"name":"web-1"}\n',
        b'{"schema":1}\n' + LINE.replace(b"hostovl/files", b"/etc"),
        b'{"schema":1}\n' + LINE.replace(b"hostovl/files", b"../files"),
        b'{"schema":1}\n' + LINE.replace(b"1" * 64, b"1" * 63),
        b'{"schema":1}\n' + LINE.replace(b"4711", b'"4711"'),
        b'{"schema":1}\n' + LINE[:-9],
    ],
)
def test_anything_else_is_refused(content):
    with pytest.raises(FormatError):
        read_host_overlays(content, subject="manifest.jsonl")
