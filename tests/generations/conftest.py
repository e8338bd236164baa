"""Tiny generations, made as the real ones are."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from generation_samples import promote
from mutation_site import Disc, write_site

from bootsmith.builders.medium import build_medium_digests
from bootsmith.files.digest import sha256_of
from bootsmith.files.iso9660 import read_iso_tree
from bootsmith.files.manifest import read_manifest
from bootsmith.files.store import clone_file
from bootsmith.formats.netboot_index import NetbootEntry, write_netboot_index
from bootsmith.formats.release_facts import ReleaseFacts, write_release_facts
from bootsmith.generations.assemble import assemble_generation
from bootsmith.tools.run import run_program

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
            netboot=self.netboot_sources(),
            today=lambda: date,
            site_root=site_root,
            clock=clock,
            tell=self.say,
        )
        return os.readlink(self.artifacts / "generations/latest")

    def netboot_sources(self):
        """What a netboot tree is made of; None where the site has none."""
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


@pytest.fixture
def medium(fleet, tmp_path):
    """The release `tiny`, whose ISO is known file by file."""
    iso = tmp_path / "tiny.iso"
    disc = tmp_path / "disc"
    (disc / "apks/x86_64").mkdir(parents=True)
    (disc / "apks/.boot_repository").touch()
    (disc / "apks/x86_64/busybox-1.36.1-r29.apk").write_bytes(b"apk" * 999)
    run_program(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-lJR", disc])
    with open(iso, "rb", buffering=0) as source:
        files = read_iso_tree(source, subject=iso).files
    facts = ReleaseFacts(
        release="3.20.3",
        profile="standard",
        arch="x86_64",
        generation="G4",
        is_standin=False,
        volume_id="x",
        iso_size_bytes=iso.stat().st_size,
        iso_sha256=sha256_of(iso),
        flavors={},
        files=files,
    )
    (tmp_path / "facts.json").write_bytes(write_release_facts(facts))
    paths = {"iso": iso, "facts": tmp_path / "facts.json", "digests": tmp_path / "digests.json"}
    build_medium_digests(
        iso=iso, facts=paths["facts"], output=paths["digests"], progress=fleet.progress
    )
    fleet.media = {"tiny": paths}
    fleet.entries = [
        NetbootEntry(path=f"{way}/tiny/{name}", iso="tiny", from_path=name)
        for way in ("http", "nfs")
        for name in ("apks/x86_64/busybox-1.36.1-r29.apk", "apks/.boot_repository")
    ]
    return fleet


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
