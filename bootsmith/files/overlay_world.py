"""What a machine's overlay wants installed, and its medium does not carry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bootsmith.errors import BootsmithError, BuildError
from bootsmith.files.archive import read_archive
from bootsmith.files.machine_overlay import WORLD_FILE
from bootsmith.formats.apk import IndexRecord
from bootsmith.formats.apk_closure import close_packages

_REPOSITORIES = "etc/apk/repositories"


def unmet_world(on_medium: Iterable[IndexRecord], apkovl: Path) -> BuildError | None:
    """Why `etc/apk/world` of the overlay cannot be installed from the release's medium.

    None if it can, and for an overlay that names repositories elsewhere: what they have
    nobody can say here. Alpine's init gives a machine the medium's repository; whatever is not
    in it is not installed, and the machine comes up without it. What cannot be read is
    left to whoever is about reading it.
    """
    try:
        wanted = (WORLD_FILE, _REPOSITORIES)
        members = read_archive(apkovl, wanted=lambda name: name in wanted)
        texts = {member.name: member.data.decode("utf-8", "replace") for member in members}
        if any(map(_is_elsewhere, texts.get(_REPOSITORIES, "").splitlines())):
            return None
        close_packages(on_medium, texts.get(WORLD_FILE, "").split(), subject=WORLD_FILE)
    except BuildError as error:
        return error
    except BootsmithError:
        return None
    return None


def _is_elsewhere(line: str) -> bool:
    """Of a line of etc/apk/repositories: not on a medium, and no comment."""
    words = line.split("#", maxsplit=1)[0].split()
    return bool(words) and not words[-1].startswith("/media/")
