"""apkovl: a template's overlay trees, stacked and packed with what its recipe says.

Later trees lie over earlier ones. From the working tree only names, contents, link targets
and the executable bit count; owner and mode come from ownership files, so a checkout under
another umask or user gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bootsmith.files.atomic import write_file
from bootsmith.files.machine_overlay import (
    HOSTNAME_FILE,
    MachineOverlay,
    MachineRecipe,
    OverlayBase,
)
from bootsmith.files.overlay_stack import OverlayStack
from bootsmith.formats.apkovl import write_apkovl


def build_apkovl(
    *,
    overlays: Sequence[Path],
    owners: Sequence[Path | None],
    template: str,
    hostname: str,
    packages: Sequence[str],
    runlevels: Mapping[str, Sequence[str]],
    default_boot_services: bool,
    service: Path | None = None,
    output: Path,
    contents: Path,
) -> None:
    """Write the apkovl `output` and `contents`, the JSON list of its members.

    `overlays` and `owners` go in pairs, lowest first; `packages` are apk constraints,
    `runlevels` services by OpenRC runlevel; `service` holds Additions, scripts that stand
    for packaged ones. Raises RecipeError for what cannot be packed;
    both outputs stay as they were then.
    """
    recipe = MachineRecipe(
        template=template,
        packages=packages,
        runlevels=runlevels,
        default_boot_services=default_boot_services,
        service=service,
    )
    base = OverlayBase(OverlayStack(overlays, owners), recipe)
    overlay = base.machine({HOSTNAME_FILE: f"{hostname}\n"})
    packed = write_apkovl(overlay.entries.values())
    write_file(contents, _listing(template, overlay), durable=False)
    write_file(output, packed)


def _listing(template: str, overlay: MachineOverlay) -> bytes:
    members = {
        name: {
            "mode": f"{entry.mode:06o}",
            "owner": f"{entry.uid}:{entry.gid}",
            "sha256": overlay.digests[name],
            "size_bytes": len(entry.data),
        }
        for name, entry in overlay.entries.items()
    }
    document = {
        "schema": 1,
        "template": template,
        "overlay_sha256": overlay.overlay_sha256,
        "members": members,
    }
    return (json.dumps(document, sort_keys=True) + "\n").encode()
