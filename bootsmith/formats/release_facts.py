"""What is known about a release once its ISO has been read: `facts.json`.

Facts let later steps work on the ISO file in place: every file is named with the byte
ranges that hold its content, so nothing is unpacked to read or copy it. They carry the
ISO's own sha256, so that facts (and everything derived from them) change exactly when the
ISO's bytes do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bootsmith.errors import FormatError

SCHEMA = 1
FILE, DIRECTORY, LINK = "file", "dir", "link"

# Alpine branch that brought each boot generation, newest first; what sets them apart is in
# docs/release.md. Source: the history of initramfs-init in alpinelinux/mkinitfs.
_GENERATION_BY_BRANCH = (
    ((3, 23), "G5"),
    ((3, 20), "G4"),
    ((3, 9), "G3"),
    ((3, 5), "G2b"),
    ((3, 3), "G2"),
    ((0, 0), "G1"),
)
# A snapshot is cut from the development branch, which has a new initramfs-init from the day
# mkinitfs releases it: 3.13.0, 3.9.1, 3.4.0, 3.0.6, and the rewrite of October 2015.
_GENERATION_BY_DAY = (
    ("251202", "G5"),
    ("240118", "G4"),
    ("190123", "G3"),
    ("161124", "G2b"),
    ("151009", "G2"),
    ("000000", "G1"),
)


@dataclass(frozen=True, kw_only=True)
class IsoFile:
    """One entry of the ISO's Rock Ridge tree.

    `path` is relative, without a leading slash (`boot/vmlinuz-lts`); bytes that are not
    UTF-8 are surrogate escapes. `type` is `file`, `dir` or `link`. `mode` holds permission
    bits only. `extents` are (offset_bytes, size_bytes) pairs into the ISO file, in order;
    their sizes add up to `size_bytes`. `target` is set for links only.
    """

    path: str
    type: str
    mode: int
    size_bytes: int = 0
    extents: tuple[tuple[int, int], ...] = ()
    target: str | None = None


@dataclass(frozen=True, kw_only=True)
class FlavorFacts:
    """The boot files of one kernel flavor; links are already resolved to real files.

    `kernel_release` is what `uname -r` will say, None where the kernel does not tell
    (kernels of architectures without a bzImage header).
    """

    kernel_release: str | None
    kernel: IsoFile
    initramfs: IsoFile
    modloop: IsoFile
    config: IsoFile | None = None


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts:
    """All that later steps need to know about one release ISO.

    `release` is the word of `.alpine-release` ("3.24.0", "3.21.0_rc1", "edge", "150122"),
    `generation` one of G1, G2, G2b, G3, G4, G5. `flavors` is sorted by name, `files` by path.
    """

    release: str
    profile: str
    arch: str
    generation: str
    is_standin: bool
    volume_id: str
    iso_size_bytes: int
    iso_sha256: str
    flavors: Mapping[str, FlavorFacts]
    files: tuple[IsoFile, ...]

    def file(self, path: str) -> IsoFile | None:
        """The entry named `path`, or None."""
        return next((entry for entry in self.files if entry.path == path), None)


def write_release_facts(facts: ReleaseFacts) -> bytes:
    """JSON text of `facts`: sorted keys, one final newline, ASCII only."""
    document = {"schema": SCHEMA, **asdict(facts)}
    document["files"] = [_file_to_json(entry) for entry in facts.files]
    document["flavors"] = {
        name: {
            "kernel_release": flavor.kernel_release,
            "kernel": _file_to_json(flavor.kernel),
            "initramfs": _file_to_json(flavor.initramfs),
            "modloop": _file_to_json(flavor.modloop),
            "config": _file_to_json(flavor.config) if flavor.config else None,
        }
        for name, flavor in facts.flavors.items()
    }
    return json.dumps(document, indent=1, sort_keys=True).encode("ascii") + b"\n"


def read_release_facts(content: bytes, *, subject: str = "facts.json") -> ReleaseFacts:
    """Facts from the bytes that `write_release_facts` made; FormatError otherwise."""
    hint = f"remove {subject} and run again: doit build"
    try:
        document = json.loads(content)
        schema = document.pop("schema")
        if schema != SCHEMA:
            raise FormatError(
                subject, "facts of another schema", expected=SCHEMA, got=schema, hint=hint
            )
        document["files"] = tuple(_file_from_json(entry) for entry in document["files"])
        document["flavors"] = {
            name: _flavor_from_json(flavor) for name, flavor in document["flavors"].items()
        }
        return ReleaseFacts(**document)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(subject, f"not release facts ({error})", hint=hint) from None


def generation_of(release: str) -> str:
    """Boot generation of an Alpine release word.

    `3.24.0`, `3.21.0_rc1`, `3.19_alpha20230901` and `v3.4` go by their branch; `edge` is
    the newest generation; a snapshot (`yymmdd` or `yyyymmdd`) goes by its day. Raises
    FormatError for anything else.
    """
    version = re.fullmatch(r"v?(\d+)\.(\d+)(?:[._-].*)?", release)
    if version:
        branch = (int(version[1]), int(version[2]))
        return next(name for first, name in _GENERATION_BY_BRANCH if branch >= first)
    if release == "edge" or release.startswith("edge_"):
        return _GENERATION_BY_BRANCH[0][1]
    snapshot = re.fullmatch(r"(?:20)?(\d{6})", release)
    if snapshot:
        return next(name for first, name in _GENERATION_BY_DAY if snapshot[1] >= first)
    raise FormatError(
        ".alpine-release",
        "unknown form of release",
        expected="a version (3.24.0), edge, or a snapshot day (yymmdd)",
        got=repr(release),
        hint="use an ISO of an Alpine release",
    )


def _file_to_json(entry: IsoFile) -> dict[str, Any]:
    return {key: value for key, value in asdict(entry).items() if value not in (None, ())}


def _file_from_json(document: dict[str, Any]) -> IsoFile:
    extents = tuple((offset, size) for offset, size in document.pop("extents", ()))
    return IsoFile(**document, extents=extents)


def _flavor_from_json(document: dict[str, Any]) -> FlavorFacts:
    config = document["config"]
    return FlavorFacts(
        kernel_release=document["kernel_release"],
        kernel=_file_from_json(document["kernel"]),
        initramfs=_file_from_json(document["initramfs"]),
        modloop=_file_from_json(document["modloop"]),
        config=_file_from_json(config) if config else None,
    )
