"""Is a generation what its manifest says? Read every byte and answer.

Of its netboot tree the manifest names the index alone; the tree is held against that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bootsmith.errors import PublishError
from bootsmith.files.netboot_tree import index_of
from bootsmith.formats.manifest import MANIFEST_NAME, Manifest
from bootsmith.formats.netboot_tree import NETBOOT
from bootsmith.generations.digests import Digests, Progress
from bootsmith.generations.problem import FILE_MODE, Problem
from bootsmith.generations.tree_check import damaged_file


def check_files(
    generation: Path,
    manifest: Manifest,
    progress: Progress | None = None,
    *,
    digests: Digests | None = None,
) -> None:
    """Raise PublishError for the first file that is missing or is not what was built.

    `digests` are what the caller has read already, moments ago.
    """
    for problem in examine_contents(generation, manifest, digests or Digests(progress)):
        raise PublishError(
            problem.path,
            problem.what,
            expected=problem.expected,
            got=problem.got,
            hint=f"doit verify --repair {manifest.id}",
        )


def examine_contents(generation: Path, manifest: Manifest, digests: Digests) -> Iterator[Problem]:
    """Files that are missing, are none, or hold other bytes than the manifest says."""
    paths = [f"{generation}/{artifact.path}" for artifact in manifest.artifacts]
    tree = digests.tree(generation, manifest)
    # All at once, so that the threads and the figure of progress cover the whole.
    digests.read([*paths, *(tree.paths_to_read() if tree else ())])
    for artifact in manifest.artifacts:
        path = generation / artifact.path
        digest = digests.of(path)
        if digest != artifact.sha256:
            is_there = os.path.lexists(path)
            no_file = "is in the manifest but not in the generation"
            yield damaged_file(
                path, artifact, digest, "is not a regular file" if is_there else no_file
            )
    if tree is not None:  # else the index is among what is wrong already
        yield from tree.contents(digests.of_inode)


def examine_surroundings(
    generation: Path, manifest: Manifest, digests: Digests
) -> Iterator[Problem]:
    """Entries that the manifest does not name, and modes that are not as published."""
    promised = {artifact.path: artifact for artifact in manifest.artifacts}
    directories = {parent.as_posix() for path in promised for parent in PurePosixPath(path).parents}
    has_tree = index_of(manifest) is not None
    for parent, below, names in os.walk(generation):
        for name in sorted([*below, *names]):
            path = Path(parent, name)
            relative = path.relative_to(generation).as_posix()
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode):
                if relative not in directories:
                    yield Problem(path=path, what="is not in the manifest")
            elif relative in promised:
                if stat.S_ISREG(mode) and stat.S_IMODE(mode) != FILE_MODE:
                    yield Problem(
                        path=path,
                        what="has another mode",
                        expected=f"{FILE_MODE:04o}",
                        got=f"{stat.S_IMODE(mode):04o}",
                        mode=FILE_MODE,
                    )
            elif relative != MANIFEST_NAME:
                yield Problem(path=path, what="is not in the manifest")
        if has_tree and Path(parent) == generation and NETBOOT in below:
            below.remove(NETBOOT)  # its index says what is in it
    tree = digests.tree(generation, manifest)
    if tree is not None:
        yield from tree.surroundings()


def check_kernel_releases(generation: Path, manifest: Manifest) -> None:
    """Raise PublishError unless kernel, pxerd and modloop of each name agree.

    A modloop of another kernel release mounts and then gives no module (contract of
    OpenRC's modloop service: it looks for modules/$(uname -r)).
    """
    releases: dict[str, dict[str, str]] = {}
    for artifact in manifest.artifacts:
        if "kernel_release" in artifact.details:
            name = artifact.details.get("set", artifact.name)
            releases.setdefault(name, {})[artifact.path] = artifact.details["kernel_release"]
    for name, found in releases.items():
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{path} has {release}" for path, release in sorted(found.items()))
            raise PublishError(
                generation,
                f"kernel releases of {name} disagree: {listed}",
                expected="one kernel release",
                hint=f"rebuild that set: doit pxerd:{name} modloop:{name}",
            )
