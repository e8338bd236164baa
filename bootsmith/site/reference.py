"""docs/recipes.md, made from the declarations in models.py.

`python -m bootsmith.site.reference > docs/recipes.md` writes the page; a test compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from bootsmith.site.inventory_models import HostsRecipe
from bootsmith.site.models import Image, Installer, Release, SiteSettings, Template
from bootsmith.site.schema import Key, ListOfTables, Model, Table, TableOf, TablesOf

_INTRODUCTION = """\
# Recipes: every key

*This page is made from the models: `python -m bootsmith.site.reference > docs/recipes.md`.*

A site is what `recipes/` and `overlays/` say. All recipes are TOML. A key that is not
listed here is an error, and so is anything that does not fit; each error names the file,
the line and the key. [Why no library checks them](dependencies.md#which-library-checks-the-recipes)
was measured.

Names of releases, templates, overlays and features are lower-case letters, digits, dots,
dashes and underscores, since they become parts of file names. Paths are relative to the
directory of the recipe that says them, unless they are absolute.

| file | says |
|---|---|
| `recipes/site.toml` | [what holds for the whole site](#recipessitetoml) |
| `recipes/releases/*.toml` | [one Alpine release, or the stand-in](#recipesreleasesnametoml) |
| `recipes/templates/*.toml` | [one role of machine](#recipestemplatesnametoml) |
| `recipes/images/*.toml` | [one root filesystem that runs from memory](#recipesimagesnametoml) |
| `recipes/hosts.toml` | [which machine is what](#recipeshoststoml) |
| `recipes/installers/*.toml` | [another system's installer](#recipesinstallersnametoml) |
| `recipes/features.d/*.modules`, `*.files` | initramfs features, see [pxerd](pxerd.md) |
| `recipes/patches/*.toml` | patches to Alpine's scripts, see [script patches](script-patches.md) |
| `overlays/*/`, `overlays/*.owners` | files of machines, see [apkovl](apkovl.md) |
"""

_SECTIONS: tuple[tuple[str, type[Model], str], ...] = (
    (
        "recipes/site.toml",
        SiteSettings,
        """\
```toml
schema = 1
name = "lab"
release = "standin"
flavor = "lts"

[netboot]
server = "10.20.0.1"
subnet = "10.20.0.0/16"
interface = "eth1"
domain = "boot.example"
pool = ["10.20.250.1", "10.20.250.254"]
template = "default"

[publish.rack-2]
ssh = "deploy@rack-2:/srv/boot"
```
""",
    ),
    (
        "recipes/releases/NAME.toml",
        Release,
        """\
A release on this machine:

```toml
iso = "/srv/isos/alpine-standard-3.24.1-x86_64.iso"
flavors = ["lts"]
```

A release that is downloaded; the download resumes, and is used only when the digest (and
the signature, if one is named) fits:

```toml
url = "https://dl-cdn.alpinelinux.org/alpine/v3.24/releases/x86_64/alpine-virt-3.24.1-x86_64.iso"
sha256 = "64 hexadecimal digits from the .sha256 file beside it"
flavors = ["virt"]
```

The stand-in, assembled from Debian packages where no Alpine mirror can be reached:

```toml
kind = "standin"
lock = "standin.lock"
flavors = ["virt", "lts"]
```

Two releases cannot have one name. A digest beside `iso` is checked when it is given.
""",
    ),
    (
        "recipes/templates/NAME.toml",
        Template,
        """\
```toml
summary = "answers for the web shop"
overlays = ["base", "report", "web"]
packages = ["nginx", "dropbear"]

[runlevels]
boot = ["networking"]
default = ["nginx", "dropbear", "local"]
```

The shipped ones are described in [templates](templates.md).
""",
    ),
    (
        "recipes/images/NAME.toml",
        Image,
        """\
A root filesystem packed as the initramfs of a kernel, from exactly one of `directory`, `tarball`
and `packages`; [ramroot](ramroot.md) describes it. A site without images needs no such directory.

```toml
kind = "ramroot"
summary = "computes, and forgets"
tarball = "/srv/roots/alpine-minirootfs-3.20.3-x86_64.tar.gz"
flavor = "virt"
modules = ["virtio"]
```
""",
    ),
    (
        "recipes/hosts.toml",
        HostsRecipe,
        """\
Machines that boot from the network; [inventory](inventory.md) describes who inherits what.
A site with `[netboot]` must have this file, which may be empty.

```toml
[[rule]]
prefix = "00:1b:21"
template = "default"

[group.repos]
template = "lxc-repo"

[host.repo-1]
mac = "00:1b:21:4f:00:01"
address = "10.20.2.1"
group = "repos"

[[import]]
file = "rack-2.csv"
format = "csv"
```
""",
    ),
    (
        "recipes/installers/NAME.toml",
        Installer,
        """\
A kernel and an initramfs of another system, which machines boot from the network when they
are armed to; [inventory](inventory.md) says which. A site without installers needs no such
directory.

```toml
summary = "installs Debian on the first disk"
kernel = "/srv/debian-12/linux"
initrd = "/srv/debian-12/initrd.gz"
options = ["auto=true", "priority=critical", "url=@url@/preseed.cfg"]
files = ["preseed.cfg"]
```
""",
    ),
)


def reference_page() -> str:
    """The text of docs/recipes.md."""
    parts = [_INTRODUCTION]
    for heading, model, prose in _SECTIONS:
        parts.append(f"\n## {heading}\n\n{prose}")
        parts += _tables(model, "")
    return "".join(parts)


def _tables(model: type[Model], prefix: str) -> Iterator[str]:
    """The keys of a model, then each of its tables under a heading of its own."""
    tables = Table | TableOf | TablesOf | ListOfTables
    plain = [one for one in model.declared_keys() if not isinstance(one.check, tables)]
    if plain:
        yield "\n| key | value | default | |\n|---|---|---|---|\n"
        yield from (_row(one) for one in plain)
    for one in model.declared_keys():
        if isinstance(one.check, Table):
            yield f"\n### `[{prefix}{one.name}]`\n\n{one.about}\n"
            yield from _tables(one.check.model, f"{prefix}{one.name}.")
        elif isinstance(one.check, ListOfTables):
            yield f"\n### `[[{prefix}{one.name}]]`\n\n{one.about}\n"
            yield from _tables(one.check.model, f"{prefix}{one.name}.")
        elif isinstance(one.check, TablesOf):
            yield f"\n### `[{prefix}{one.name}.NAME]`\n\n{one.about}\n"
            yield from _tables(one.check.model, f"{prefix}{one.name}.NAME.")
        elif isinstance(one.check, TableOf):
            yield f"\n### `[{prefix}{one.name}]`\n\n{one.about}\n"
            yield f"\nEach key is {one.check.item.expected}, which may be left out.\n"
            yield "\n| key | |\n|---|---|\n"
            yield from (f"| `{name}` | {about} |\n" for name, about in one.check.names.items())


def _row(one: Key) -> str:
    if one.is_required:
        default = "*required*"
    elif one.shown_default is not None:
        default = one.shown_default
    elif one.default is None:
        default = ""
    else:
        default = f"`{json.dumps(one.default)}`"
    return f"| `{one.name}` | {_value_text(one)} | {default} | {one.about} |\n"


def _value_text(one: Key) -> str:
    return one.check.expected.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference_page())
