"""Installers of other systems in a netboot tree: where their files are, what their words say.

    tftp/installers/NAME/kernel     http/installers/NAME/kernel
    tftp/installers/NAME/initrd     http/installers/NAME/initrd
                                    http/installers/NAME/preseed.cfg

Kernel words and files that are text may say `@server@`, `@url@` and `@disarm@`. Other words
between two `@` are left as they are: they are the file's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bootsmith.formats.arming import HOOK_LOCATION
from bootsmith.formats.netboot_index import NetbootEntry
from bootsmith.formats.netboot_network import GENERATION, HERE, Network

KERNEL, INITRD = NAMES = ("kernel", "initrd")
"""What kernel and initramfs are called; other files keep their names."""
_DIRECTORY = "installers"
_WORD = re.compile("@([a-z]+)@")
MOST_TEXT_BYTES = 1 << 20
"""More than any preseed or kickstart file; what is larger is no text that a person wrote."""


@dataclass(frozen=True, kw_only=True)
class InstallerFile:
    """One file as a step has made it; a `text` is published instead of its content."""

    name: str
    made_at: str
    """Below `artifacts/build`."""
    sha256: str
    size_bytes: int
    text: str | None = None


def installer_kernel(name: str) -> str:
    """Its path in a netboot tree, as boot loaders get it."""
    return f"tftp/{_DIRECTORY}/{name}/{KERNEL}"


def installer_initrd(name: str) -> str:
    """Its path in a netboot tree, as boot loaders get it."""
    return f"tftp/{_DIRECTORY}/{name}/{INITRD}"


def installer_values(name: str, network: Network) -> dict[str, str]:
    """What stands for each word, `@` left out."""
    return {
        "server": network.server,
        "url": f"{network.url}/{HERE}/http/{_DIRECTORY}/{name}",
        "disarm": f"{network.url}{HOOK_LOCATION}",
    }


WORDS = ("disarm", "server", "url")
"""The keys of `installer_values`, sorted."""


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """`text` with what its words stand for."""
    return _WORD.sub(lambda match: values.get(match[1], match[0]), text)


def published_text(content: bytes, values: Mapping[str, str]) -> str | None:
    """A text that says one of the words, filled in; None for what is published as it is."""
    if len(content) > MOST_TEXT_BYTES:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    filled = filled_in(text, values)
    return filled if filled != text else None


def installer_entries(name: str, files: Iterable[InstallerFile]) -> Iterator[NetbootEntry]:
    """What is published of an installer."""
    for file in files:
        roots = ("http", "tftp") if file.name in NAMES else ("http",)
        for root in roots:
            path = f"{root}/{_DIRECTORY}/{name}/{file.name}"
            if file.text is not None:
                yield NetbootEntry(path=path, content=file.text, text=GENERATION in file.text)
            else:
                yield NetbootEntry(
                    path=path,
                    file=file.made_at,
                    sha256=file.sha256,
                    size_bytes=file.size_bytes,
                )
