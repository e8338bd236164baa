"""Make a file of a netboot tree again, out of what steps have on record.

Configurations stand in the indexes of their steps, packages in the ISO of their release, and the
tree's own index is made of all of these: none of them is a file below artifacts/build.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bootsmith.errors import BootsmithError
from bootsmith.files.store import Content
from bootsmith.formats.manifest import Artifact, Manifest
from bootsmith.formats.netboot_tree import INDEX_PATH, write_netboot_tree
from bootsmith.generations.netboot_parts import (
    contents_of_indexes,
    gather_netboot,
    index_content,
)

_RECORDS = "what its steps have on record"


@dataclass(frozen=True, kw_only=True)
class Remake:
    """`netboot` has the `indexes`, `media` and `build` of `gather_netboot`.

    None where nothing boots from the network, or the recipes cannot be read.
    """

    netboot: Mapping[str, Any] | None

    def content_of(self, artifact: Artifact, manifest: Manifest) -> Content | None:
        """What this file of that generation can be made of; None if nothing is known of it."""
        if artifact.path == INDEX_PATH:
            return self._tree_index(artifact.sha256, manifest)
        return self._contents.get(artifact.sha256)

    @cached_property
    def _contents(self) -> Mapping[str, Content]:
        return contents_of_indexes(**self.netboot) if self.netboot is not None else {}

    def _tree_index(self, sha256: str, manifest: Manifest) -> Content | None:
        if self.netboot is None:
            return None
        by_path = {artifact.path: artifact for artifact in manifest.artifacts}
        try:
            index = write_netboot_tree(gather_netboot(**self.netboot, artifacts=by_path).tree)
        except (BootsmithError, OSError):
            return None
        # What steps have on record now may be of a newer generation.
        is_that = hashlib.sha256(index).hexdigest() == sha256
        return replace(index_content(index), subject=_RECORDS) if is_that else None
