"""docs/recipes.md, made from the declarations in models.py.

`python -m bootsmith.site.reference > docs/recipes.md` writes the page; a test compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from bootsmith.site.models import Release, SiteSettings, Template
from bootsmith.site.schema import Key, Model, Table, TableOf

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
| `recipes/features.d/*.modules`, `*.files` | initramfs features, see [pxerd](pxerd.md) |
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
    plain = [one for one in model.declared_keys() if not isinstance(one.check, Table | TableOf)]
    if plain:
        yield "\n| key | value | default | |\n|---|---|---|---|\n"
        yield from (_row(one) for one in plain)
    for one in model.declared_keys():
        if isinstance(one.check, Table):
            yield f"\n### `[{prefix}{one.name}]`\n\n{one.about}\n"
            yield from _tables(one.check.model, f"{prefix}{one.name}.")
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
