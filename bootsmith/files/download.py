"""Large downloads that carry on where they stopped, hashed as they arrive.

The bytes grow in `<output>.partial`; a note beside it (`<output>.partial.json`) says of
which URL and of which version of the file they are. A later run asks for the rest with
`Range` and `If-Range`: a server whose file is still that version sends the rest, any other
sends the whole file and the partial is started again. Nothing is read back from disk
except the part that an earlier run left.

urllib is enough for this: resuming, which is the work here, is done by none of the larger
HTTP libraries either, and they would add to every installation.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bootsmith.errors import SourceError

Progress = Callable[[str, int, int | None], None]

_BLOCK_BYTES = 1 << 18
_TIMEOUT_SECONDS = 60.0
# Tries in a row that bring nothing; a connection that is cut often but brings bytes each
# time goes on for as long as it takes.
_FRUITLESS_TRIES = 5
_LARGEST_BYTES = 64 << 30
_BRIEF = {429, 500, 502, 503, 504}
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG}


def download(
    *,
    url: str,
    partial: Path,
    algorithms: Iterable[str],
    progress: Progress | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Bring `partial` to completion; return hex digests of its content by algorithm.

    Raises SourceError when the server says no or stays silent over several tries. The
    partial file is kept then, and `discard_partial` is for callers who know that it is bad.
    """
    with _Partial(partial, url, algorithms) as sink:
        fruitless = 0
        while True:
            before = sink.size_bytes
            try:
                if _receive(url, sink, progress):
                    return sink.hexdigests()
                reason: object = "connection cut"
            except (http.client.HTTPException, OSError) as error:
                # URLError is an OSError; so are time-outs, resets and a full disk.
                reason = _reason(error, url, partial)
            fruitless = 0 if sink.size_bytes > before else fruitless + 1
            if fruitless == _FRUITLESS_TRIES:
                raise SourceError(
                    url,
                    f"download failed ({reason})",
                    got=f"{sink.size_bytes} bytes so far, kept in {partial}",
                    hint="run again when the server can be reached; it will carry on from there",
                )
            pause(2.0**fruitless - 1)


def fetch_small(
    url: str, *, limit_bytes: int = 1 << 20, pause: Callable[[float], None] = time.sleep
) -> bytes:
    """Content of a small file, such as a checksum; SourceError if it cannot be had."""
    for attempt in range(_FRUITLESS_TRIES):
        try:
            with _open(url, {}) as response:
                content = response.read(limit_bytes + 1)
        except (http.client.HTTPException, OSError) as error:
            reason = _reason(error, url, None)
        else:
            if len(content) > limit_bytes:
                raise SourceError(
                    url, "far too large for what it should be",
                    expected=f"at most {limit_bytes} bytes",
                    hint="correct the URL in the release's recipe",
                )  # fmt: skip
            return content
        pause(2.0**attempt)
    raise SourceError(
        url, f"download failed ({reason})", hint="run again when the server can be reached"
    )


def discard_partial(partial: Path) -> None:
    """Forget what was downloaded so far."""
    partial.unlink(missing_ok=True)
    _note_path(partial).unlink(missing_ok=True)


class _Partial:
    """The growing file, its hashes, and the note that says what it is a part of."""

    def __init__(self, path: Path, url: str, algorithms: Iterable[str]) -> None:
        self.path = path
        self.url = url
        self.validator: str | None = None
        self.size_bytes = 0
        self._algorithms = tuple(algorithms)
        self._digests = self._fresh_digests()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        self._take_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:  # of a part, a power cut may take what it likes: the checksum tells
                os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _fresh_digests(self) -> dict[str, Any]:
        return {name: hashlib.new(name, usedforsecurity=True) for name in self._algorithms}

    def _take_up(self) -> None:
        """Go on from what an earlier run left, if its note tells what that was."""
        try:
            note = json.loads(_note_path(self.path).read_bytes())
            same, validator = note["url"] == self.url, str(note["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            same, validator = False, ""
        if not same:
            self.start_again(None)
            return
        self.validator = validator
        while block := self._file.read(_BLOCK_BYTES):
            self._hash(block)

    def start_again(self, validator: str | None) -> None:
        """Empty the file; what comes now is of the version that `validator` names."""
        self._file.seek(0)
        self._file.truncate()
        self.size_bytes = 0
        self._digests = self._fresh_digests()
        self.validator = validator
        note = _note_path(self.path)
        if validator is None:
            note.unlink(missing_ok=True)
        else:
            note.write_text(json.dumps({"url": self.url, "validator": validator}))

    def write(self, block: bytes) -> None:
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]
        self._hash(block)

    def _hash(self, block: bytes) -> None:
        self.size_bytes += len(block)
        for digest in self._digests.values():
            digest.update(block)

    def hexdigests(self) -> dict[str, str]:
        return {name: digest.hexdigest() for name, digest in self._digests.items()}


def _note_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _receive(url: str, sink: _Partial, progress: Progress | None) -> bool:
    """One connection; whether the file is complete after it."""
    headers = {}
    if sink.size_bytes and sink.validator is not None:
        headers = {"Range": f"bytes={sink.size_bytes}-", "If-Range": sink.validator}
    try:
        response = _open(url, headers)
    except urllib.error.HTTPError as error:
        total = _content_range(error.headers)[1]
        if error.code == 416 and total == sink.size_bytes:
            return True  # an earlier run got everything and stopped before checking it
        if error.code == 416:
            sink.start_again(None)
            return False
        raise
    with response:
        total = _place(response, sink)
        _check_space(url, sink, total)
        message = f"downloading {url.rpartition('/')[2]}"
        while block := response.read(_BLOCK_BYTES):
            sink.write(block)
            if sink.size_bytes > _LARGEST_BYTES:
                raise SourceError(
                    url, "endless download", expected=f"at most {_LARGEST_BYTES} bytes",
                    hint="correct the URL in the release's recipe",
                )  # fmt: skip
            if progress:
                progress(message, sink.size_bytes, total)
    # A server that states no length ends the file by closing: the checksum has to tell.
    return total is None or sink.size_bytes == total


def _place(response: http.client.HTTPResponse, sink: _Partial) -> int | None:
    """Make the sink stand where the answer begins; return the whole file's size if stated."""
    validator = _validator(response.headers)
    if response.status == 206:
        start, total = _content_range(response.headers)
        if start == sink.size_bytes and validator in (None, sink.validator):
            return total
        sink.start_again(None)
        raise http.client.HTTPException("the server sent another part than was asked for")
    sink.start_again(validator)
    length = response.headers.get("Content-Length")
    return int(length) if length and length.isdecimal() else None


def _validator(headers: Any) -> str | None:
    """What names this version of the file: a strong ETag, else its date."""
    etag = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return headers.get("Last-Modified")


def _content_range(headers: Any) -> tuple[int | None, int | None]:
    """(start, size of the whole file) of a Content-Range."""
    found = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", (headers.get("Content-Range") or "").strip()
    )
    if not found:
        return None, None
    start, total = found.groups()
    return int(start) if start else None, int(total) if total != "*" else None


def _check_space(url: str, sink: _Partial, total: int | None) -> None:
    needed = (total or 0) - sink.size_bytes
    free = shutil.disk_usage(sink.path.parent).free
    if needed > free:
        raise SourceError(
            url,
            f"does not fit on the disk that holds {sink.path.parent}",
            expected=f"{needed} bytes free",
            got=f"{free} bytes",
            hint="make room, then run again",
        )


def _open(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    if not url.startswith(("http://", "https://")):
        raise SourceError(
            url, "not an http or https URL", hint='for a file on this machine write iso = "path"'
        )
    # Only these: the usual opener would also follow a redirection to file: or ftp:.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers={"User-Agent": "bootsmith", **headers})  # noqa: S310 - checked above
    return opener.open(request, timeout=_TIMEOUT_SECONDS)


def _reason(error: Exception, url: str, partial: Path | None) -> str:
    """What went wrong, for another try; SourceError at once where that cannot help."""
    if isinstance(error, urllib.error.HTTPError):
        text = f"HTTP {error.code} {error.reason}"
        error.close()
        if error.code in _BRIEF:
            return text
        raise SourceError(
            url, f"the server refuses it ({text})", hint="correct the URL in the release's recipe"
        ) from None
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise SourceError(
            url,
            f"the server's certificate is not valid here ({cause.verify_message})",
            hint="check this machine's clock and its ca-certificates package",
        ) from None
    if isinstance(cause, OSError) and cause.filename is None and cause.errno in _DISK_ERRORS:
        raise SourceError(
            partial or url,
            f"cannot be written ({cause.strerror})",
            hint="make room, then run again",
        ) from None
    return str(cause) or type(cause).__name__
