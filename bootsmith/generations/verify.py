"""Is a generation what its manifest says? Read every byte and answer."""

from __future__ import annotations

from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.files.digest import sha256_of
from bootsmith.generations.manifest import Manifest


def check_files(generation: Path, manifest: Manifest) -> None:
    """Raise PublishError for the first file that is missing or is not what was built."""
    for artifact in manifest.artifacts:
        path = generation / artifact.path
        if not path.is_file():
            raise PublishError(
                path,
                "is in the manifest but not in the generation",
                hint="build again: doit build",
            )
        found = sha256_of(path)
        if found != artifact.sha256:
            raise PublishError(
                path,
                "is damaged",
                expected=f"sha256 {artifact.sha256}",
                got=f"sha256 {found}",
                hint=f"remove {generation} and build again: doit build",
            )


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
