"""The inventory of a site, resolved: a line for each host, each rule and unknown machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bootsmith.files.atomic import write_file
from bootsmith.formats.inventory import write_inventory
from bootsmith.site.inventory import Surroundings, load_inventory


def build_inventory(
    *,
    recipe: Path,
    imports: Path,
    levels: Mapping[str, Any],
    network: Mapping[str, Any],
    installers: Sequence[str],
    overlays: Sequence[str],
    nfs_templates: Sequence[str],
    output: Path,
) -> None:
    """Write what `recipe` and the files of hosts below `imports` say, inheritance resolved.

    The other arguments are `site.inventory.inventory_arguments`. Raises RecipeError, with file
    and line, for all that cannot be.
    """
    surroundings = Surroundings(
        levels=levels,
        network=network,
        installers=installers,
        overlays=overlays,
        nfs_templates=nfs_templates,
    )
    write_file(output, write_inventory(load_inventory(recipe, imports, surroundings)))
