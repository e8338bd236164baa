"""Who reads through `current` while it moves sees whole generations, and no error."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from generation_samples import promote
from nfs4 import Nfs4
from serving import serving_http, serving_nfs

from bootsmith.files.atomic import replace_link
from bootsmith.generations.assemble import assemble_generation
from bootsmith.tools.ganesha import why_not_exportable

READING = Path(__file__).with_name("reading.py")
PROMOTIONS = 100
FILES = {
    "boot/virt/vmlinuz": 1000,
    "initramfs/virt/pxerd": 120_000,
    "modules/virt/modloop": 8000,
}
"""Path in a generation to the number of times that it holds the generation's mark."""
PATIENCE_SECONDS = 120
MOST_TRIES = 20_000


SERVERS = ["nginx", "nfs-ganesha"]


@pytest.fixture
def server(request, tmp_path):
    """What serves a directory: a context manager that gives its URL."""
    (tmp_path / "scratch").mkdir()
    if request.param == "nginx":
        return serving_http
    reason = why_not_exportable(tmp_path)
    if reason:
        pytest.skip(reason)
    return serving_nfs


class Site:
    """Artifacts made and promoted by the real code; every byte carries its generation's mark."""

    def __init__(self, root: Path) -> None:
        self.artifacts = root / "artifacts"
        self._built = root / "artifacts/build"
        self._built.mkdir(parents=True)
        (self._built / "facts.json").write_text('{"release": "3.24.0", "is_standin": true}')

    def assemble(self, mark: int) -> None:
        parts = []
        for path, count in FILES.items():
            kind, name, file = path.split("/")
            source = self._built / file
            source.write_bytes(b"mark %04d\n" % mark * count)
            values = {"flavor": "virt", "release": "standin"}
            parts.append(
                {"path": path, "source": source, "kind": kind, "name": name, "values": values}
            )
        assemble_generation(
            site="example",
            artifacts=[{**part, "reports": ()} for part in parts],
            facts={"standin": self._built / "facts.json"},
            store=self.artifacts / "store",
            generations=self.artifacts / "generations",
            candidate=self.artifacts / "candidate",
            output=self.artifacts / "generations/latest/MANIFEST.json",
            provenance=dict,
            progress=lambda message, done, total: None,
        )

    def promote(self) -> str:
        promote(self.artifacts)
        return os.readlink(self.artifacts / "generations/latest")

    def known(self) -> dict[str, dict[str, str]]:
        """Of each generation: path to sha256, as its manifest says."""
        manifests = (self.artifacts / "generations").glob("*.*/MANIFEST.json")
        return {
            manifest["id"]: {part["path"]: part["sha256"] for part in manifest["artifacts"]}
            for manifest in (json.loads(path.read_bytes()) for path in manifests)
        }


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


class Reader:
    """A reading process and the rounds that it has told of so far."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.rounds: list[dict] = []
        self.is_over = False
        self._process = process
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            with self._news:
                self.rounds.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self.is_over = True
            self._news.notify_all()

    def wait_for(self, is_enough) -> None:
        """Until `is_enough()`; AssertionError if the reader ended or is stuck."""
        with self._news:
            said = self._news.wait_for(lambda: self.is_over or is_enough(), PATIENCE_SECONDS)
        assert said, f"a reader is stuck after {self.rounds[-1:]}"
        assert not self.is_over, f"a reader ended after {self.rounds[-1:]}"

    def wait_for_generation(self, identifier: str) -> None:
        """Until a round has found that generation current, or has failed."""
        self.wait_for(
            lambda: (
                self.rounds
                and ("error" in self.rounds[-1] or self.rounds[-1]["generation"] == identifier)
            )
        )

    def stop(self) -> None:
        """End of input, end of reading."""
        self._process.stdin.close()
        self._thread.join()
        self._process.stdout.close()
        self._process.wait()


@contextmanager
def reading(url):
    """A reader of each role of what a server at `url` serves, both at work."""
    readers = []
    try:
        for role in ("visitor", "holder"):
            process = subprocess.Popen(
                [sys.executable, READING, role, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            readers.append(Reader(process))
        for reader in readers:
            reader.wait_for(lambda reader=reader: reader.rounds)
        yield readers
    finally:
        for reader in readers:
            reader.stop()


def faults(rounds, known):
    """Everything that is not as promised, in words."""
    of_path = {path: {files[path] for files in known.values()} for path in FILES}
    for number, one in enumerate(rounds):
        if "error" in one:
            yield f"round {number}: {one['error']}"
            continue
        if one.get("resolved") not in (None, known[one["generation"]]):
            yield f"round {number}: {one['generation']} is not what its manifest says"
        held = [one["held"]] if one.get("held") else []
        for path, digest in [*one.get("through", ()), *held]:
            if digest not in of_path[path]:
                yield f"round {number}: {path} is torn"


def held_across(rounds, known):
    """How often a file was finished after `current` had left its generation."""
    return sum(
        known[one["generation"]][one["held"][0]] != one["held"][1] for one in rounds if one["held"]
    )


@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_a_hundred_promotions_show_no_error_and_no_mixture(site, server, tmp_path):
    site.assemble(0)
    site.promote()
    with server(site.artifacts, tmp_path / "scratch") as url, reading(url) as (visitor, holder):
        for mark in range(1, PROMOTIONS + 1):
            site.assemble(mark)
            promoted = site.promote()
            for reader in (visitor, holder):
                reader.wait_for_generation(promoted)
    known = site.known()
    assert len(known) == PROMOTIONS + 1
    for reader in (visitor, holder):
        assert not list(faults(reader.rounds, known))
        assert {one["generation"] for one in reader.rounds} == set(known)
    assert held_across(holder.rounds, known)


def unlink_then_link(artifacts, identifier):
    (artifacts / "current").unlink()
    time.sleep(0.001)
    (artifacts / "current").symlink_to(f"generations/{identifier}")


def rename_a_new_link(artifacts, identifier):
    replace_link(artifacts / "current", f"generations/{identifier}")


def copy_over(artifacts, identifier):
    """`current` as a directory into which each generation is copied."""
    current = artifacts / "current"
    if current.is_symlink():
        current.unlink()
    shutil.copytree(artifacts / "generations" / identifier, current, dirs_exist_ok=True)
    for path in current.rglob("*"):
        path.chmod(0o755)


@pytest.mark.parametrize(
    "server,move",
    [
        ("nginx", unlink_then_link),
        ("nginx", copy_over),
        ("nfs-ganesha", unlink_then_link),
        ("nfs-ganesha", rename_a_new_link),  # an HTTP server follows a link in one call
        ("nfs-ganesha", copy_over),
    ],
    indirect=["server"],
)
def test_a_worse_way_to_promote_is_caught(site, server, move, tmp_path):
    """The readers are no proof unless they notice what is done wrong."""
    site.assemble(0)
    first = site.promote()
    site.assemble(1)
    second = site.promote()
    known = site.known()
    found = []
    with server(site.artifacts, tmp_path / "scratch") as url, reading(url) as readers:
        for number in range(MOST_TRIES):
            move(site.artifacts, (first, second)[number % 2])
            found = [fault for reader in readers for fault in faults(list(reader.rounds), known)]
            if found:
                break
    assert found


@pytest.mark.parametrize("server", ["nfs-ganesha"], indirect=True)
def test_what_was_looked_up_before_a_promotion_can_be_read_after_it(site, server, tmp_path):
    site.assemble(0)
    first = site.promote()
    with server(site.artifacts, tmp_path / "scratch") as url:
        parts = urllib.parse.urlsplit(url)
        with closing(Nfs4(parts.hostname, parts.port, parts.path.strip("/"))) as client:
            link = client.find_link("current")
            # Not through the link: the server would remember what it says.
            file = client.find(f"generations/{first}/boot/virt/vmlinuz")
            site.assemble(1)
            second = site.promote()
            assert client.read_link(client.find_link("current")) == f"generations/{second}"
            assert client.read_link(link) == f"generations/{first}"
            assert client.read(file, 0, 10) == (b"mark 0000\n", False)
