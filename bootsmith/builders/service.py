"""The modloop service of a release, patched, for apkovls to carry.

The script comes out of the release's own openrc package. A file in an apkovl stands for the
packaged one, so only releases that need a patch get theirs replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bootsmith.errors import BuildError
from bootsmith.files.atomic import write_file
from bootsmith.files.cache import Cache
from bootsmith.files.release_packages import ReleasePackages
from bootsmith.files.script_patches import choose_patches
from bootsmith.formats.additions import AddedFile, Additions, write_additions
from bootsmith.formats.release_facts import read_release_facts
from bootsmith.formats.script_patch import apply_patch, read_script_version

SCRIPT = "modloop"
SCRIPT_PATH = "etc/init.d/modloop"
_PACKAGE = "openrc"
_STANDIN_EDITION = "bootsmith stand-in"


def build_service(
    *,
    iso: Path,
    facts: Path,
    features: Sequence[str],
    patches: Sequence[str],
    patch_directories: Sequence[Path],
    cache: Path,
    output: Path,
) -> None:
    """Write `output`, the Additions that apkovls of this release get: one script or none.

    `patches` are names, "auto" stands for those that `features` want. The script's version
    is that of its package. Raises RecipeError for patches, BuildError for a release without
    the script or a script that a patch does not fit.
    """
    wanted = choose_patches(
        patches, script=SCRIPT, features=features, directories=patch_directories
    )
    if not wanted:
        write_file(output, write_additions(Additions(choice="not needed")))
        return
    release = read_release_facts(facts.read_bytes(), subject=str(facts))
    packages = ReleasePackages(iso=iso, facts=facts, cache=Cache(cache))
    found = packages.file_of(_PACKAGE, SCRIPT_PATH)
    if found is None:
        raise BuildError(
            iso,
            f"its packages have no /{SCRIPT_PATH} to patch",
            expected=f"a package {_PACKAGE} in apks/{release.arch}",
            hint="take an ISO that carries packages, or leave patches and verify out of [modloop]",
        )
    subject = f"{iso}: {found.package}-{found.version}: {SCRIPT_PATH}"
    edition = _STANDIN_EDITION if release.is_standin else ""
    version = read_script_version(found.version, edition=edition, subject=f"{subject}: version")
    notes = []
    script = found.entry.data
    for patch in wanted:
        script, chosen = apply_patch(patch, script, version, subject=subject)
        notes.append(f"{patch.name} for {chosen}: {chosen.not_needed or 'applied'}")
    is_patched = script != found.entry.data
    file = AddedFile(path=SCRIPT_PATH, content=script, mode=0o755)
    additions = Additions(
        choice="patched" if is_patched else "not needed",
        files=(file,) if is_patched else (),
        notes=tuple(notes),
    )
    write_file(output, write_additions(additions))
