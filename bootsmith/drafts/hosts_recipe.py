"""Hosts put behind all else in recipes/hosts.toml, where the inventory stays a good one."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bootsmith.drafts.recipe_text import toml_value
from bootsmith.errors import RecipeError
from bootsmith.files.atomic import write_file
from bootsmith.site.inventory import Surroundings, resolve
from bootsmith.site.inventory_files import RECIPE
from bootsmith.site.inventory_import import HostRecord
from bootsmith.site.inventory_read import Fleet


def check_with(host: HostRecord, fleet: Fleet, surroundings: Surroundings) -> None:
    """RecipeError unless the inventory would be a good one with this host too."""
    resolve(replace(fleet, hosts=(*fleet.hosts, host)), surroundings)


def append_table(root: Path, name: str, table: str, *, said: Mapping[str, Any]) -> int:
    """Put `table`, which says `said` of the host `name`, at the end; the line where it begins.

    RecipeError where nothing can follow, and then nothing is written.
    """
    path = Path(os.path.realpath(root / RECIPE))  # where the recipe is a link, it stays one
    text = path.read_bytes().decode()  # line ends stay as they are
    before = text if not text or text.endswith("\n") else f"{text}\n"
    added = f"{before}\n{table}" if before else table
    try:
        tomllib.loads(added)
    except tomllib.TOMLDecodeError:
        values = ", ".join(f"{key} = {toml_value(value)}" for key, value in said.items())
        raise RecipeError(
            RECIPE,
            "writes hosts so that no table [host.NAME] can follow",
            expected="each host as a table of its own",
            hint=f"add the host there yourself: {name} = {{ {values} }}",
        ) from None
    write_file(path, added.encode(), mode=stat.S_IMODE(path.stat().st_mode))
    return added[: -len(table)].count("\n") + table[: table.index("[host.")].count("\n") + 1
