"""MANIFEST.json: what a generation holds and what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootsmith.errors import PublishError

MANIFEST_NAME = "MANIFEST.json"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One file of a generation. `path` is relative to the generation's directory."""

    path: str
    kind: str
    name: str
    sha256: str
    size_bytes: int
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A generation in words.

    `releases` maps a release's name to its facts (version, arch, whether it is the
    stand-in); `steps` maps each step that led here to its key, inputs and tools.
    """

    id: str
    site: str
    artifacts: tuple[Artifact, ...]
    releases: Mapping[str, Any]
    steps: Mapping[str, Any]

    @property
    def content_digest(self) -> str:
        """Equal for two generations exactly when machines would see the same files."""
        lines = sorted(f"{artifact.sha256} {artifact.path}" for artifact in self.artifacts)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def to_json(self) -> bytes:
        """The file's bytes: sorted keys, one newline at the end."""
        value = {
            "schema": SCHEMA,
            "id": self.id,
            "site": self.site,
            "content_digest": self.content_digest,
            "artifacts": [vars(artifact) for artifact in self.artifacts],
            "releases": self.releases,
            "steps": self.steps,
        }
        return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def read_manifest(generation: Path) -> Manifest:
    """The manifest of the generation in this directory; PublishError if it has none."""
    path = generation / MANIFEST_NAME
    try:
        value = json.loads(path.read_bytes())
        if value["schema"] != SCHEMA:
            raise PublishError(
                path,
                "was written by another version of bootsmith",
                expected=f"schema {SCHEMA}",
                got=f"schema {value['schema']}",
                hint="build again; the new generation is readable",
            )
        return Manifest(
            id=value["id"],
            site=value["site"],
            artifacts=tuple(Artifact(**artifact) for artifact in value["artifacts"]),
            releases=value["releases"],
            steps=value["steps"],
        )
    except OSError as error:
        raise PublishError(
            path, f"cannot be read ({error.strerror})", hint="build again: doit build"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(
            path, f"is damaged ({error})", hint="remove that generation and build again"
        ) from error
