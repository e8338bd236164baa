"""A copy of a generation whose netboot tree and files can be edited, and still be true to itself.

Every digest is made right again, so that what is wrong then is the sense and not the bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace

import pytest
from generation_samples import promote

from bootsmith.errors import BootsmithError
from bootsmith.files.manifest import read_manifest
from bootsmith.files.netboot_tree import tree_of
from bootsmith.formats.netboot_tree import (
    INDEX_PATH,
    TreeFile,
    render_text,
    write_netboot_tree,
)
from bootsmith.generations.gate import problems_of


class Published:
    """A copy of the generation, whose tree can be edited."""

    def __init__(self, built, artifacts):
        self.artifacts = artifacts
        self.generation = artifacts / "generations" / built.name
        shutil.copytree(built, self.generation, symlinks=True, copy_function=os.link)
        self.manifest = read_manifest(self.generation)
        self.tree = tree_of(self.generation, self.manifest)

    def replace_text(self, path, old, new):
        text = self.tree.texts[path]
        assert old in text
        self.write_text(path, text.replace(old, new))

    def write_text(self, path, text):
        self.tree = replace(self.tree, texts={**self.tree.texts, path: text})
        self._write(path, render_text(text, self.generation.name))

    def write_file(self, path, content):
        file = TreeFile(hashlib.sha256(content).hexdigest(), len(content))
        self.tree = replace(self.tree, files={**self.tree.files, path: file})
        self._write(path, content)

    def replace_part(self, path, content):
        """An artifact, and all that the tree has of it."""
        before = next(part for part in self.manifest.artifacts if part.path == path)
        digest = hashlib.sha256(content).hexdigest()
        parts = [
            replace(part, sha256=digest, size_bytes=len(content)) if part is before else part
            for part in self.manifest.artifacts
        ]
        self.manifest = replace(self.manifest, artifacts=tuple(parts))
        (self.generation / path).unlink()
        (self.generation / path).write_bytes(content)
        for name, file in self.tree.files.items():
            if file.sha256 == before.sha256:
                self.write_file(name, content)

    def remove(self, path):
        files = {name: file for name, file in self.tree.files.items() if name != path}
        self.tree = replace(self.tree, files=files)
        (self.generation / "netboot" / path).unlink()

    def _write(self, path, content):
        place = self.generation / "netboot" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_bytes(content)

    def finish(self):
        """Make index and manifest say what there is; without keys, which hold copies."""
        index = write_netboot_tree(self.tree)
        (self.generation / INDEX_PATH).unlink()
        (self.generation / INDEX_PATH).write_bytes(index)
        manifest = self.manifest
        parts = [
            replace(part, sha256=hashlib.sha256(index).hexdigest(), size_bytes=len(index))
            if part.path == INDEX_PATH
            else part
            for part in manifest.artifacts
            if part.kind != "usbkey"
        ]
        manifest = replace(manifest, artifacts=tuple(parts))
        place = self.generation / "MANIFEST.json"
        place.unlink()
        place.write_bytes(manifest.to_json())
        return manifest

    def refusal(self, **named):
        """What promotion says, and that it moved nothing."""
        manifest = self.finish()
        (self.artifacts / "generations/latest").symlink_to(manifest.id)
        (self.artifacts / "current").symlink_to("generations/older")
        with pytest.raises(BootsmithError) as caught:
            promote(self.artifacts, **named)
        assert os.readlink(self.artifacts / "current") == "generations/older"
        return str(caught.value).replace(manifest.id, "ID")

    def problems(self):
        manifest = self.finish()
        found = problems_of(self.generation, manifest, self.artifacts / "facts.json")
        return [problem.message.replace(manifest.id, "ID") for problem in found]
