"""hostovl: the apkovls of hosts that have overlays or values of their own.

One step for all of them, for there may be ten thousand. A host's archive is packed anew only
when something that goes into it has changed. What went in and what came out is on record beside
the caches: the manifest tells of content alone, so that an overlay's checkout by somebody else
changes nothing. The manifest is written after all that it names.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bootsmith.errors import BuildError, FormatError, RecipeError
from bootsmith.files.atomic import make_directory, write_file
from bootsmith.files.batch import FileBatch
from bootsmith.files.digest import DigestMemory, describe_file, describe_tree, remembered_sha256
from bootsmith.files.machine_overlay import (
    HOSTNAME_FILE,
    VALUES_FILE,
    MachineRecipe,
    OverlayBase,
)
from bootsmith.files.overlay_stack import OverlayStack
from bootsmith.formats.apkovl import write_apkovl
from bootsmith.formats.host_overlays import HostOverlay, read_host_overlays, write_host_overlays
from bootsmith.formats.inventory import Host, read_inventory

Progress = Callable[[str, int, int | None], None]
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def build_host_overlays(
    *,
    inventory: Path,
    templates: Mapping[str, Mapping[str, Any]],
    overlays: Mapping[str, Mapping[str, Path | None]],
    build: Path,
    record: Path,
    output: Path,
    memory: DigestMemory,
    maker: str,
    progress: Progress,
) -> None:
    """Write `output`, the manifest, and beside it `files/<host>.apkovl.tar.gz`.

    `templates` maps names to what `MachineRecipe` needs and `overlays`, names of trees, lowest
    first; `overlays` names to `tree` and `owners`. `build` is what paths in the manifest are
    relative to. `record` remembers what archives were made from; without it all are packed anew,
    and so they are by another `maker`, which stands for the code that packs.
    RecipeError for what cannot be packed; the manifest and all archives stay then.
    """
    hosts = [
        host
        for host in read_inventory(inventory.read_bytes(), subject=inventory).hosts
        if host.has_own_apkovl
    ]
    directory = output.parent / "files"
    make_directory(directory)
    sources = _Sources(templates, overlays, memory, maker)
    known, recorded = _known(output), _recorded(record)
    made_from = {host.name: sources.digest_of(host) for host in hosts}
    kept: list[HostOverlay] = []
    stale: list[Host] = []
    for host in hosts:
        made = known.get(host.name)
        if (
            made is not None
            and recorded.get(host.name) == [made_from[host.name], made.sha256]
            and _is_there(made, build, memory)
        ):
            # The same archive, for a machine that may have got another network card.
            kept.append(replace(made, mac=host.mac))
        else:
            stale.append(host)
    with FileBatch() as batch:
        packed = list(_packed(stale, sources, directory, build, batch, progress))
    overlays_of_hosts = [*kept, *packed]
    write_file(output, write_host_overlays(overlays_of_hosts))
    went_in = {one.name: [made_from[one.name], one.sha256] for one in overlays_of_hosts}
    write_file(record, json.dumps(went_in).encode(), durable=False)
    _remove_others(directory, {f"{host.name}.apkovl.tar.gz" for host in hosts})


def _known(manifest: Path) -> dict[str, HostOverlay]:
    """What the last run made; nothing where that cannot be told."""
    try:
        return read_host_overlays(manifest.read_bytes(), subject=manifest)
    except (FileNotFoundError, FormatError):
        return {}


def _recorded(record: Path) -> Mapping[str, Any]:
    """By host: a digest of what went in, and the digest of what came out."""
    try:
        found = json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):  # not there, or torn by a power cut
        return {}
    return found if isinstance(found, dict) else {}


def _is_there(made: HostOverlay, build: Path, memory: DigestMemory) -> bool:
    path = build / made.file
    try:
        status = os.lstat(path)
        is_file = stat.S_ISREG(status.st_mode)
        return is_file and remembered_sha256(path, memory, status) == made.sha256
    except OSError:
        return False


def _packed(
    stale: Sequence[Host],
    sources: _Sources,
    directory: Path,
    build: Path,
    batch: FileBatch,
    progress: Progress,
) -> Iterator[HostOverlay]:
    # Hosts with the same trees one after another: those are read once then.
    ordered = sorted(stale, key=lambda host: (host.template, host.overlays, host.name))
    for number, host in enumerate(ordered):
        progress(f"packing {host.name}", number, len(ordered))
        own = {HOSTNAME_FILE: f"{host.name}\n", **_values_file(host)}
        try:
            overlay = sources.base_of(host).machine(own)
            content = write_apkovl(overlay.entries.values())
        except (RecipeError, FormatError) as error:
            raise RecipeError(
                f"host {host.name}",
                f"its overlay cannot be packed: {error.message}",
                hint=error.hint or "see the overlays and values of this host in recipes/hosts.toml",
            ) from error
        path = directory / f"{host.name}.apkovl.tar.gz"
        batch.write(str(path), content)
        yield HostOverlay(
            name=host.name,
            mac=host.mac,
            template=host.template,
            file=path.relative_to(build).as_posix(),
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            overlay_sha256=overlay.overlay_sha256,
        )


def _values_file(host: Host) -> dict[str, str]:
    """The host's values for a shell to read; no file where there are none."""
    for name in host.values:
        if not _KEY.fullmatch(name):
            raise RecipeError(
                f"host {host.name}",
                f"{name!a} cannot be the name of a value",
                expected="letters, digits and _, no digit first",
                hint="rename it in recipes/hosts.toml",
            )
    lines = [f"{name}={_quoted(value)}\n" for name, value in sorted(host.values.items())]
    return {VALUES_FILE: "".join(lines)} if lines else {}


def _quoted(value: str) -> str:
    quote = "'"
    return quote + value.replace(quote, "'\\''") + quote


def _remove_others(directory: Path, wanted: set[str]) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name not in wanted and not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)


@dataclass(frozen=True)
class _Template:
    overlays: tuple[str, ...]
    recipe: MachineRecipe


class _Sources:
    """The trees and recipes that archives are made of, each read when it is first needed."""

    def __init__(
        self,
        templates: Mapping[str, Mapping[str, Any]],
        overlays: Mapping[str, Mapping[str, Path | None]],
        memory: DigestMemory,
        maker: str,
    ) -> None:
        self._templates = {
            name: _Template(
                tuple(values["overlays"]),
                MachineRecipe(
                    template=name,
                    **{key: value for key, value in values.items() if key != "overlays"},
                ),
            )
            for name, values in templates.items()
        }
        self._overlays = overlays
        self._memory = memory
        self._maker = maker
        self._tree_digests: dict[str, str] = {}
        self._template_digests: dict[str, str] = {}
        self._stacks: dict[str, OverlayStack] = {}
        self._base: tuple[tuple[str, tuple[str, ...]], OverlayBase] | None = None

    def digest_of(self, host: Host) -> str:
        """Of all that goes into the archive of `host`."""
        if host.template not in self._template_digests:
            self._template_digests[host.template] = self._digest_of_template(host.template)
        return _digest(
            self._template_digests[host.template],
            [self._digest_of_overlay(name, host) for name in host.overlays],
            host.name,
            dict(host.values),
        )

    def base_of(self, host: Host) -> OverlayBase:
        """What `host` shares with others of its template and overlays."""
        key = (host.template, host.overlays)
        if self._base is None or self._base[0] != key:
            template = self._templates[host.template]
            if host.template not in self._stacks:
                self._stacks[host.template] = OverlayStack(*self._trees(template.overlays))
            stack = self._stacks[host.template].with_trees(*self._trees(host.overlays))
            self._base = (key, OverlayBase(stack, template.recipe))
        return self._base[1]

    def _trees(self, names: Sequence[str]) -> tuple[list[Path], list[Path | None]]:
        chosen = [self._overlays[name] for name in names]
        return [Path(one["tree"] or "") for one in chosen], [one["owners"] for one in chosen]

    def _digest_of_template(self, name: str) -> str:
        template = self._templates.get(name)
        if template is None:
            raise _gone(f"template {name}")
        recipe = template.recipe
        return _digest(
            self._maker,
            [self._digest_of_overlay(overlay, None) for overlay in template.overlays],
            [name, list(recipe.packages), dict(recipe.runlevels), recipe.default_boot_services],
            describe_file(recipe.service, self._memory) if recipe.service else None,
        )

    def _digest_of_overlay(self, name: str, host: Host | None) -> str:
        if name not in self._tree_digests:
            source = self._overlays.get(name)
            if source is None or source["tree"] is None:
                raise _gone(f"overlay {name}" + (f" of host {host.name}" if host else ""))
            owners = source["owners"]
            self._tree_digests[name] = _digest(
                list(describe_tree(source["tree"], self._memory)),
                describe_file(owners, self._memory) if owners else None,
            )
        return self._tree_digests[name]


def _gone(what: str) -> BuildError:
    return BuildError(
        what,
        "is named in the inventory, and there is none",
        hint="build again: doit inventory",
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
