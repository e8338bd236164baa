"""MANIFEST.json: what a generation holds and what it was made from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bootsmith.errors import FormatError
from bootsmith.formats.member_names import check_member_name

MANIFEST_NAME = "MANIFEST.json"
SCHEMA = 1
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One file of a generation. `path` is relative to the generation's directory."""

    path: str
    kind: str
    name: str
    sha256: str
    size_bytes: int
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The directory of all that has this kind and name; `kind` alone where that is one."""
        return self.kind if self.path.count("/") == 1 else f"{self.kind}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A generation in words.

    `releases` maps a release's name to its facts (version, arch, whether it is the
    stand-in); `steps` maps each step that led here to its key, inputs and tools.
    `site_revision` is the commit that the recipes were checked out from, if they were;
    `created_epoch` is when it was assembled. Neither is part of the content.
    """

    id: str
    site: str
    artifacts: tuple[Artifact, ...]
    releases: Mapping[str, Any]
    steps: Mapping[str, Any]
    site_revision: str | None = None
    created_epoch: int | None = None

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
            "site_revision": self.site_revision,
            "created_epoch": self.created_epoch,
            "content_digest": self.content_digest,
            "artifacts": [vars(artifact) for artifact in self.artifacts],
            "releases": self.releases,
            "steps": self.steps,
        }
        return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def parse_manifest(content: bytes, *, subject: object) -> Manifest:
    """The manifest in these bytes of the file `subject`; FormatError if they hold none.

    Paths, kinds and names in it become paths below artifacts/, so none may lead out.
    """
    try:
        value = json.loads(content)
        if value["schema"] != SCHEMA:
            raise FormatError(
                subject,
                "was written by another version of bootsmith",
                expected=f"schema {SCHEMA}",
                got=f"schema {value['schema']}",
                hint="build again; the new generation is readable",
            )
        manifest = Manifest(
            id=_text(value["id"]),
            site=_text(value["site"]),
            artifacts=tuple(_artifact(part, subject) for part in value["artifacts"]),
            releases=dict(value["releases"]),
            steps=dict(value["steps"]),
            site_revision=value.get("site_revision"),
            created_epoch=value.get("created_epoch"),
        )
        if value["content_digest"] != manifest.content_digest:
            raise ValueError("content_digest is of other artifacts")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(
            subject,
            f"is damaged ({_in_words(error)})",
            hint="doit verify says what else is wrong; doit build makes a new generation",
        ) from error
    return manifest


def _in_words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}: not JSON"
    if isinstance(error, UnicodeDecodeError):
        return "not JSON"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return str(error)


def _artifact(value: Mapping[str, Any], subject: object) -> Artifact:
    artifact = Artifact(**value)
    for word in (artifact.path, artifact.kind, artifact.name):
        # As it will be used: one that says the same in another way would be found nowhere.
        if check_member_name(_text(word), subject=subject) != word or not word:
            raise ValueError(f"{word!a} is not a plain path")
    if "/" in artifact.kind or "/" in artifact.name:
        raise ValueError(f"{artifact.kind!a} or {artifact.name!a} is not one word")
    if not _SHA256.fullmatch(artifact.sha256) or type(artifact.size_bytes) is not int:
        raise ValueError(f"{artifact.path!a} has no digest and size")
    if not isinstance(artifact.details, dict):
        raise TypeError(f"details of {artifact.path!a} are no table")
    return artifact


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!a} is not text")
    return value
