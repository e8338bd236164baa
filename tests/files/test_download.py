"""Downloads from real servers on this machine: nginx, and one that misbehaves on demand."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import random
import socket
import threading
import time
from pathlib import Path

import pytest

from bootsmith.errors import SourceError
from bootsmith.files import download as module
from bootsmith.files.download import discard_partial, download, fetch_small
from bootsmith.tools.run import running_program

CONTENT = random.Random(1).randbytes(2_000_003)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Origin(http.server.ThreadingHTTPServer):
    """One file, and how to serve it. `asked` keeps (path, Range, If-Range) of each request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.date = None
        self.ranges = True
        self.states_length = True
        self.cuts = []  # bytes to send on each of the next connections before cutting it
        self.statuses = []  # answers to the next requests instead of the file
        self.shift = 0  # how far beside the asked place a part starts
        self.location = None
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/alpine.iso"

    def handle_error(self, request, client_address):
        """The client hangs up in some tests; that is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        origin = self.server
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        origin.asked.append((self.path, asked, condition))
        if origin.statuses:
            self.send_error(origin.statuses.pop(0))
            return
        if origin.location:
            self.send_response(302)
            self.send_header("Location", origin.location)
            self.end_headers()
            return
        start = 0
        if asked and origin.ranges and condition in (origin.etag, origin.date):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(origin.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(origin.content)}")
                self.end_headers()
                return
            start += origin.shift
            self.send_response(206)
            total = len(origin.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        body = origin.content[start:]
        if origin.states_length:
            self.send_header("Content-Length", str(len(body)))
        if origin.etag:
            self.send_header("ETag", origin.etag)
        if origin.date:
            self.send_header("Last-Modified", origin.date)
        self.end_headers()
        self.wfile.write(body[: origin.cuts.pop(0)] if origin.cuts else body)


@pytest.fixture
def origin():
    with Origin() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def get(origin, tmp_path):
    """Download from `origin` without waiting between tries; `get.pauses` keeps what it asked."""

    def get(url=None, algorithms=("sha256",), progress=None):
        return download(
            url=url or origin.url,
            partial=tmp_path / "x.iso.partial",
            algorithms=algorithms,
            progress=progress,
            pause=get.pauses.append,
        )

    get.pauses = []
    get.partial = tmp_path / "x.iso.partial"
    return get


def test_a_file_arrives_whole_with_its_digests(get, origin):
    assert get(algorithms=("sha256", "sha512")) == {
        "sha256": SHA256,
        "sha512": hashlib.sha512(CONTENT).hexdigest(),
    }
    assert get.partial.read_bytes() == CONTENT
    assert origin.asked == [("/alpine.iso", None, None)]


def test_progress_ends_at_the_whole(get):
    steps = []
    get(progress=lambda *step: steps.append(step))
    assert steps[-1] == ("downloading alpine.iso", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)


def test_a_connection_that_is_cut_goes_on_where_it_was(get, origin):
    origin.cuts = [1_000_000, 1, 0, 500_000]
    assert get()["sha256"] == SHA256
    assert get.partial.read_bytes() == CONTENT
    assert [(asked, condition) for _, asked, condition in origin.asked] == [
        (None, None),
        ("bytes=1000000-", '"one"'),
        ("bytes=1000001-", '"one"'),
        ("bytes=1000001-", '"one"'),
        ("bytes=1500001-", '"one"'),
    ]


def leave_partial(get, origin, size_bytes):
    """What a run leaves that lost its server."""
    origin.cuts = [size_bytes]
    origin.statuses = []
    with pytest.raises(SourceError):
        download(
            url=origin.url,
            partial=get.partial,
            algorithms=["sha256"],
            pause=lambda _: origin.statuses.extend([503]),
        )
    origin.statuses = []
    origin.asked = []
    assert get.partial.stat().st_size == size_bytes


def test_a_later_run_goes_on_from_what_was_left(get, origin):
    leave_partial(get, origin, 700_000)
    assert get()["sha256"] == SHA256
    assert get.partial.read_bytes() == CONTENT
    assert origin.asked == [("/alpine.iso", "bytes=700000-", '"one"')]


def test_a_server_without_etag_is_asked_by_date(get, origin):
    origin.etag, origin.date = 'W/"weak"', "Sat, 21 Nov 2026 01:00:00 GMT"
    leave_partial(get, origin, 700_000)
    assert get()["sha256"] == SHA256
    assert origin.asked == [("/alpine.iso", "bytes=700000-", "Sat, 21 Nov 2026 01:00:00 GMT")]


def test_without_a_name_for_the_version_nothing_is_resumed(get, origin):
    origin.etag = 'W/"weak"'
    leave_partial(get, origin, 700_000)
    assert get()["sha256"] == SHA256
    assert origin.asked == [("/alpine.iso", None, None)]


def test_a_file_that_changed_is_fetched_from_the_start(get, origin):
    leave_partial(get, origin, 700_000)
    origin.etag, origin.content = '"two"', CONTENT[::-1]
    assert get()["sha256"] == hashlib.sha256(CONTENT[::-1]).hexdigest()
    assert get.partial.read_bytes() == CONTENT[::-1]


def test_a_server_that_ignores_ranges_sends_it_all_again(get, origin):
    leave_partial(get, origin, 700_000)
    origin.ranges = False
    assert get()["sha256"] == SHA256
    assert get.partial.read_bytes() == CONTENT


def test_a_file_that_grew_shorter_is_fetched_from_the_start(get, origin):
    leave_partial(get, origin, 700_000)
    origin.content = CONTENT[:600_000]
    assert get()["sha256"] == hashlib.sha256(CONTENT[:600_000]).hexdigest()


def test_a_part_from_another_place_is_not_used(get, origin):
    leave_partial(get, origin, 700_000)
    origin.shift = 5
    assert get()["sha256"] == SHA256
    assert [asked for _, asked, _ in origin.asked] == ["bytes=700000-", None]


def test_a_part_of_another_version_is_not_used(get, origin, monkeypatch):
    leave_partial(get, origin, 700_000)
    note = json.loads(get.partial.with_name("x.iso.partial.json").read_text())
    assert note == {"url": origin.url, "validator": '"one"'}
    # A server that minds Range but not If-Range.
    monkeypatch.setattr(origin, "date", '"one"')
    origin.etag, origin.content = '"two"', CONTENT[::-1]
    assert get()["sha256"] == hashlib.sha256(CONTENT[::-1]).hexdigest()


def test_a_complete_partial_needs_no_byte_more(get, origin):
    get()
    origin.asked = []
    assert get()["sha256"] == SHA256
    assert origin.asked == [("/alpine.iso", f"bytes={len(CONTENT)}-", '"one"')]


def test_the_partial_of_another_url_is_not_used(get, origin):
    leave_partial(get, origin, 700_000)
    assert get(origin.url.replace("alpine", "other"))["sha256"] == SHA256
    assert origin.asked == [("/other.iso", None, None)]


@pytest.mark.parametrize("note", [None, "", "{", "[]", '{"url": 1}'])
def test_a_partial_without_a_sound_note_is_not_used(get, origin, note):
    leave_partial(get, origin, 700_000)
    path = get.partial.with_name("x.iso.partial.json")
    path.unlink()
    if note is not None:
        path.write_text(note)
    assert get()["sha256"] == SHA256
    assert origin.asked == [("/alpine.iso", None, None)]


def test_a_server_that_states_no_length_ends_the_file_by_closing(get, origin):
    origin.states_length = False
    assert get()["sha256"] == SHA256


def test_an_empty_file_is_a_file(get, origin):
    origin.content = b""
    assert get()["sha256"] == hashlib.sha256().hexdigest()


def test_trouble_that_passes_is_waited_out(get, origin):
    origin.statuses = [503, 429, 500, 502]
    assert get()["sha256"] == SHA256
    assert get.pauses == [1.0, 3.0, 7.0, 15.0]


def test_trouble_that_stays_is_told_with_what_was_kept(get, origin):
    origin.cuts = [123_456]
    origin.statuses = []
    url = origin.url
    with pytest.raises(SourceError) as caught:
        download(
            url=url,
            partial=get.partial,
            algorithms=["sha256"],
            pause=lambda _: origin.statuses.append(503),
        )
    assert str(caught.value) == (
        f"{url}: download failed (HTTP 503 Service Unavailable); "
        f"got 123456 bytes so far, kept in {get.partial}\n"
        "  next: run again when the server can be reached; it will carry on from there"
    )


def test_a_missing_file_is_told_at_once(get, origin):
    origin.statuses = [404]
    with pytest.raises(SourceError) as caught:
        get()
    assert str(caught.value) == (
        f"{origin.url}: the server refuses it (HTTP 404 Not Found)\n"
        "  next: correct the URL in the release's recipe"
    )
    assert get.pauses == []


def test_a_server_that_is_not_there_is_told(get):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x.iso"
        with pytest.raises(SourceError) as caught:
            get(url)
    assert caught.value.message == (
        f"{url}: download failed ([Errno 111] Connection refused); "
        f"got 0 bytes so far, kept in {get.partial}"
    )
    assert len(get.pauses) == 4


def test_a_redirection_is_followed(get, origin):
    with Origin() as first:
        first.location = origin.url
        thread = threading.Thread(target=first.serve_forever, args=(0.01,))
        thread.start()
        assert get(first.url)["sha256"] == SHA256
        first.shutdown()
        thread.join()


def test_a_redirection_to_a_local_file_is_not_followed(get, origin):
    origin.location = "file:///etc/passwd"
    with pytest.raises(SourceError, match="the server refuses it"):
        get()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "x.iso", "//host/x"])
def test_only_http_is_spoken(get, url):
    with pytest.raises(SourceError) as caught:
        get(url)
    assert str(caught.value) == (
        f'{url}: not an http or https URL\n  next: for a file on this machine write iso = "path"'
    )


def test_a_file_too_large_for_the_disk_is_not_begun(get, origin, monkeypatch):
    usage = module.shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SourceError) as caught:
        get()
    assert caught.value.message == (
        f"{origin.url}: does not fit on the disk that holds {get.partial.parent}; "
        f"expected {len(CONTENT)} bytes free, got 1000000 bytes"
    )


def test_a_disk_that_fills_up_is_told(get, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module._Partial, "write", full)
    with pytest.raises(SourceError) as caught:
        get()
    assert str(caught.value) == (
        f"{get.partial}: cannot be written (No space left on device)\n"
        "  next: make room, then run again"
    )


def test_a_download_that_never_ends_is_stopped(get, origin, monkeypatch):
    monkeypatch.setattr(module, "_LARGEST_BYTES", 1_000_000)
    origin.states_length = False
    with pytest.raises(SourceError, match="endless download; expected at most 1000000 bytes"):
        get()


def test_discarding_leaves_nothing(get):
    get()
    discard_partial(get.partial)
    assert list(get.partial.parent.iterdir()) == []
    discard_partial(get.partial)


def test_small_files_are_fetched_and_bounded(origin):
    assert fetch_small(origin.url, limit_bytes=len(CONTENT)) == CONTENT
    with pytest.raises(SourceError) as caught:
        fetch_small(origin.url, limit_bytes=1000)
    assert caught.value.message == (
        f"{origin.url}: far too large for what it should be; expected at most 1000 bytes"
    )


def test_small_files_are_asked_for_again(origin):
    pauses = []
    origin.statuses = [503, 503]
    origin.content = b"sum"
    assert fetch_small(origin.url, pause=pauses.append) == b"sum"
    assert len(pauses) == 2
    origin.statuses = [503] * 5
    with pytest.raises(SourceError) as caught:
        fetch_small(origin.url, pause=pauses.append)
    assert caught.value.message == (f"{origin.url}: download failed (HTTP 503 Service Unavailable)")


# -- nginx --------------------------------------------------------------------------------


@pytest.fixture
def nginx(tmp_path):
    """(URL, served file) of an nginx that serves one directory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    served = tmp_path / "served"
    served.mkdir()
    tmp_path.chmod(0o755)
    configuration = tmp_path / "nginx.conf"
    paths = "\n".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/errors;\n"
        f"events {{}} http {{ access_log {tmp_path}/access; {paths}\n"
        f"server {{ listen 127.0.0.1:{port}; root {served}; }} }}\n"
    )
    (served / "x.iso").write_bytes(CONTENT)
    command = ["nginx", "-p", tmp_path, "-c", configuration, "-e", tmp_path / "errors"]
    with running_program(command, log=tmp_path / "log"):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/x.iso", served / "x.iso"


def statuses(served: Path):
    return [
        line.split('"')[2].split()[0]
        for line in (served.parents[1] / "access").read_text().splitlines()
    ]


def leave_nginx_partial(url, served, partial, size_bytes):
    download(url=url, partial=partial, algorithms=["sha256"])
    with open(partial, "r+b") as file:
        file.truncate(size_bytes)


def test_nginx_sends_the_rest(nginx, tmp_path):
    url, served = nginx
    partial = tmp_path / "partial"
    leave_nginx_partial(url, served, partial, 1_234_567)
    assert download(url=url, partial=partial, algorithms=["sha256"])["sha256"] == SHA256
    assert partial.read_bytes() == CONTENT
    assert statuses(served) == ["200", "206"]


def test_nginx_sends_all_of_a_file_that_changed(nginx, tmp_path):
    url, served = nginx
    partial = tmp_path / "partial"
    leave_nginx_partial(url, served, partial, 1_234_567)
    served.write_bytes(CONTENT[::-1] + b"more")
    found = download(url=url, partial=partial, algorithms=["sha256"])["sha256"]
    assert found == hashlib.sha256(CONTENT[::-1] + b"more").hexdigest()
    assert statuses(served) == ["200", "200"]
