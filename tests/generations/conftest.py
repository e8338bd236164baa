"""Tiny generations, made as the real ones are."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from generation_samples import promote
from mutation_site import Disc, write_site

from bootsmith.files.digest import sha256_of
from bootsmith.files.manifest import read_manifest
from bootsmith.files.store import clone_file
from bootsmith.formats.netboot_index import NetbootEntry, write_netboot_index
from bootsmith.generations.assemble import assemble_generation

PARTS = ("kernel", "pxerd", "modloop")


class Fleet:
    """A site's artifacts, and what was said about them."""

    def __init__(self, root):
        self.root = root
        self.artifacts = root / "artifacts"
        self.build = self.artifacts / "build"
        self.build.mkdir(parents=True)
        (self.build / "facts.json").write_text('{"release": "3.24.0", "is_standin": true}')
        for kind in PARTS:
            (self.build / kind).write_bytes(kind.encode())
        self.said = []
        self.details = {}
        self.steps = {}
        self.files = {}
        self.entries = None
        self.media = {}

    def say(self, line):
        self.said.append(line)

    def progress(self, message, done, total):
        """No one is watching."""

    def assemble(self, *, date="2026-11-20", site_root=None, clock=lambda: 1_000, **contents):
        """A generation of what was built last, but for `contents` by kind; its id."""
        for kind, content in contents.items():
            (self.build / kind).write_bytes(content)
        assemble_generation(
            site="example",
            artifacts=[
                {
                    "path": f"{kind}/virt/{self.files.get(kind, kind)}",
                    "source": self.build / kind,
                    "kind": kind,
                    "name": "virt",
                    # Real kernels and modloops are read for their release; these are none.
                    "values": {"release": "standin", **self.details.get(kind, {})},
                    "reports": (),
                }
                for kind in sorted({*PARTS, *contents})
            ],
            facts={"standin": self.build / "facts.json"},
            store=self.artifacts / "store",
            generations=self.artifacts / "generations",
            candidate=self.artifacts / "candidate",
            output=self.artifacts / "generations/latest/MANIFEST.json",
            provenance=lambda: self.steps,
            progress=self.progress,
            netboot=self._netboot(),
            today=lambda: date,
            site_root=site_root,
            clock=clock,
        )
        return os.readlink(self.artifacts / "generations/latest")

    def _netboot(self):
        if self.entries is None:
            return None
        index = self.build / "netboot/index.jsonl"
        index.parent.mkdir(exist_ok=True)
        index.write_bytes(write_netboot_index(self.entries))
        return {"indexes": (index,), "media": self.media, "build": self.build}

    def made(self, path, content):
        """An index entry of a file that a step has made."""
        place = self.build / "netboot/files" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return NetbootEntry(
            path=path,
            file=f"netboot/files/{path}",
            sha256=sha256_of(place),
            size_bytes=len(content),
        )

    def promote(self):
        promote(self.artifacts)

    def release(self, **contents):
        """Assemble and promote; the id."""
        identifier = self.assemble(**contents)
        self.promote()
        return identifier

    @property
    def current(self):
        return os.path.basename(os.readlink(self.artifacts / "current"))

    def generation(self, identifier):
        return self.artifacts / "generations" / identifier

    def damage(self, path, content=b"rotten"):
        """Write into a published file, as a disk or a careless hand would."""
        path.chmod(0o644)
        path.write_bytes(content)

    def doit(self, *words):
        """The real command, with recipes that cannot be read."""
        (self.root / "dodo.py").write_text(
            "from pathlib import Path\n"
            "from bootsmith.doit_bridge import doit_config, site_tasks\n"
            "ROOT = Path(__file__).resolve().parent\n"
            "DOIT_CONFIG = doit_config(ROOT)\n"
            "def task_site():\n    yield from site_tasks(ROOT)\n"
        )
        return subprocess.run(
            [sys.executable, "-m", "doit", *words],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    # Their kernels and modloops are a few bytes: nothing to read a release from, or to boot.
    monkeypatch.setattr("bootsmith.generations.assemble._KERNEL_RELEASE_READERS", {})
    monkeypatch.setattr("bootsmith.generations.parts_check.BOOT_KINDS", ())
    return Fleet(tmp_path)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A whole generation with real keys; the kernels are nothing but headers."""
    directory = tmp_path_factory.mktemp("gate")
    (directory / "site").mkdir()
    site = write_site(directory / "site", Disc(directory / "disc"))
    site.run()
    return (site.root / "artifacts/current").resolve()


@pytest.fixture
def changed(built, tmp_path):
    """A function that copies the generation with other files and details; hard links else.

    `files` maps path to content; a function gets the copy's path and edits it in place.
    """

    def make(files=None, details=None):
        files, generation = files or {}, tmp_path / "artifacts/generations" / built.name
        manifest, parts = read_manifest(built), []
        for part in manifest.artifacts:
            target = generation / part.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if part.path not in files:
                os.link(built / part.path, target)
            elif callable(files[part.path]):
                target.touch()
                clone_file(built / part.path, target)
                files[part.path](target)
            else:
                target.write_bytes(files[part.path])
            more = (details or {}).get(part.path, {})
            parts.append(replace(part, sha256=sha256_of(target), details={**part.details, **more}))
        manifest = replace(manifest, artifacts=tuple(parts))
        (generation / "MANIFEST.json").write_bytes(manifest.to_json())
        return generation

    return make
