"""A site with a few small generations, and `doit publish` over it, as people call it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys

from tiny_site import write_site

from bootsmith.files.digest import sha256_of
from bootsmith.files.netboot_tree import lay_tree
from bootsmith.files.store import Store
from bootsmith.formats.manifest import MANIFEST_NAME, Artifact, Manifest
from bootsmith.formats.netboot_tree import (
    INDEX_PATH,
    NETBOOT,
    NetbootTree,
    TreeFile,
    write_netboot_tree,
)
from bootsmith.generations.promote import point_current

MODLOOP_BYTES = 700_000
LINKS = {
    "tftp/pxelinux.cfg/01-52-54-01-02-00-07": "template-web",
    "tftp/pxelinux.cfg/01-52-54-01-02-00-08": "template-web",
    "http/apkovl/52:54:01:02:00:07.apkovl.tar.gz": "web.apkovl.tar.gz",
}
TEXT = "KERNEL ::generations/@generation@/netboot/tftp/boot/virt/vmlinuz\n"


class Publisher:
    """The site below `root`."""

    def __init__(self, root):
        self.root = root
        self.named = "tiny"
        self.artifacts = root / "artifacts"
        self.inside = ()
        write_site(root, root / "absent.iso")
        (self.artifacts / "build").mkdir(parents=True)
        self.recipe = (root / "recipes/site.toml").read_text()

    def targets(self, text):
        """Let site.toml have these tables."""
        (self.root / "recipes/site.toml").write_text(self.recipe + text)

    def make(self, identifier, mark=b"one", *, extra=None, promote=True):
        """A generation whose kernel and texts are its own, and whose modloop is all of `mark`."""
        files = {
            "kernel/virt/vmlinuz": identifier.encode() * 100,
            "modloop/virt/modloop": mark * (MODLOOP_BYTES // len(mark)),
            **(extra or {}),
        }
        store, build = Store(self.artifacts / "store"), self.artifacts / "build"
        digests = {}
        for path, content in files.items():
            (build / "part").write_bytes(content)
            digests[path] = TreeFile(sha256_of(build / "part"), len(content))
            store.add(build / "part", digests[path].sha256)
        tree = NetbootTree(
            links=LINKS,
            files={
                "tftp/boot/virt/vmlinuz": digests["kernel/virt/vmlinuz"],
                "http/boot/virt/modloop": digests["modloop/virt/modloop"],
                "http/apkovl/web.apkovl.tar.gz": digests["kernel/virt/vmlinuz"],
                "nfs/virt/boot/with a\\blank": digests["kernel/virt/vmlinuz"],
            },
            texts={"tftp/pxelinux.cfg/template-web": TEXT},
        )
        (build / "part").write_bytes(write_netboot_tree(tree))
        digests[INDEX_PATH] = TreeFile(sha256_of(build / "part"), (build / "part").stat().st_size)
        store.add(build / "part", digests[INDEX_PATH].sha256)
        directory = self.artifacts / "generations" / identifier
        for path, file in digests.items():
            store.link(file.sha256, directory / path)
        lay_tree(directory, identifier, tree, store)
        manifest = self._manifest(identifier, digests)
        (directory / MANIFEST_NAME).write_bytes(manifest.to_json())
        if promote:
            self.promote(identifier, manifest)
        return directory

    def _manifest(self, identifier, digests):
        parts = []
        for path, file in sorted(digests.items()):
            kind, name = path.split("/")[:2] if path != INDEX_PATH else (NETBOOT, NETBOOT)
            parts.append(
                Artifact(
                    path=path, kind=kind, name=name, sha256=file.sha256, size_bytes=file.size_bytes
                )
            )
        return Manifest(
            id=identifier, site=self.named, artifacts=tuple(parts), releases={}, steps={}
        )

    def promote(self, identifier, manifest):
        point_current(self.artifacts, manifest, gate="checks")

    def doit(self, *words):
        """The real command; its end and what it said."""
        return subprocess.run(
            [
                "env",
                *self.inside,
                "env",
                f"--chdir={self.root}",
                sys.executable,
                "-m",
                "doit",
                *words,
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    def publish(self, *words):
        """`doit publish`, which is to succeed; lines of its answer, times and sizes left out."""
        done = self.doit("publish", *words)
        assert done.returncode == 0, done.stderr + done.stdout
        return [plain(line) for line in done.stdout.splitlines()]

    def publish_json(self, *words):
        """By target, what `doit publish --json` says."""
        done = self.doit("publish", "--json", *words)
        assert done.returncode == 0, done.stderr + done.stdout
        return {target["name"]: target for target in json.loads(done.stdout)["targets"]}

    def refused(self, *words):
        """What `doit publish` says when it fails."""
        done = self.doit("publish", *words)
        assert done.returncode != 0, done.stdout
        # On a busy machine lines of progress come first.
        return plain(done.stderr.partition("FAILED publish\n")[2])


def plain(text):
    """Without what differs from run to run: times, and sizes, which count rsync's own words."""
    text = re.sub(r"\b\d+\.\d s\b", "T s", text)
    return re.sub(r"\b[\d.]+ [kMG]?B\b", "N B", text)


def listing(top):
    """Everything below `top` by path: link text, or digest; modes of files and directories."""
    found = {}
    for parent, directories, names in os.walk(top):
        for name in [*directories, *names]:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, top)
            if stat.S_ISLNK(status.st_mode):
                found[relative] = f"-> {os.readlink(path)}"
            elif stat.S_ISDIR(status.st_mode):
                found[relative] = f"{stat.S_IMODE(status.st_mode):04o}/"
            else:
                found[relative] = sha256_of(path)
    return found
