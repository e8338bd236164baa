"""netloader: the boot loaders of a netboot tree, and the index of where they are published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from bootsmith.errors import RecipeError
from bootsmith.files.atomic import write_file
from bootsmith.formats.elf import linked_libraries
from bootsmith.formats.grub_netboot_cfg import FIRST_CONFIGURATION
from bootsmith.formats.netboot_index import NetbootEntry, write_netboot_index
from bootsmith.tools.grub_efi import NETWORK_MODULES, build_grub_image
from bootsmith.tools.netboot_loaders import read_loader, read_pxelinux_module

_RECIPE = "recipes/site.toml: netboot.modules"


def build_netloader(
    *,
    loaders: Mapping[str, Path],
    modules: Mapping[str, Path],
    grub: Path,
    build: Path,
    index: Path,
) -> None:
    """Write each loader and each module of PXELINUX, by its file name, and GRUB's program.

    In `index` they lie in `tftp/`; UEFI programs are also linked from `http/`. Outputs lie below
    `build`. Raises RecipeError for a module that there is not, or that needs one that is not
    among `modules`; ToolMissing without a package.
    """
    contents = {name: read_loader(name) for name in loaders} | _modules(tuple(modules))
    contents[grub.name] = build_grub_image(
        first_configuration=FIRST_CONFIGURATION, prefix="/grub", modules=NETWORK_MODULES
    )
    outputs = {**loaders, **modules, grub.name: grub}
    for name, content in contents.items():
        write_file(outputs[name], content)
    entries = [*_entries(contents, {name: _below(outputs[name], build) for name in contents})]
    write_file(index, write_netboot_index(entries))


def _modules(names: tuple[str, ...]) -> dict[str, bytes]:
    found = {}
    for name in names:
        content = read_pxelinux_module(name)
        if content is None:
            raise RecipeError(
                _RECIPE,
                "PXELINUX has no such module",
                got=name.removesuffix(".c32"),
                hint="see: ls /usr/lib/syslinux/modules/bios",
            )
        found[name] = content
    for name, content in found.items():
        for needed in linked_libraries(content, subject=name):
            if needed not in found:
                raise RecipeError(
                    _RECIPE,
                    f"{name.removesuffix('.c32')} needs another module",
                    got=needed.removesuffix(".c32"),
                    hint="name that one too",
                )
    return found


def _entries(contents: Mapping[str, bytes], made_at: Mapping[str, str]) -> Iterator[NetbootEntry]:
    for name, content in contents.items():
        yield NetbootEntry(
            path=f"tftp/{name}",
            file=made_at[name],
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
        )
        if name.endswith(".efi"):
            yield NetbootEntry(path=f"http/{name}", link=f"../tftp/{name}")


def _below(output: Path, build: Path) -> str:
    return output.relative_to(build).as_posix()
