"""`bootsmith init DIR`: a site of one's own, beside the checkout that builds it."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bootsmith.errors import BootsmithError, RecipeError
from bootsmith.files.atomic import replacing_directory
from bootsmith.site.loader import load_site
from bootsmith.site.models import NAME

CHECKOUT = Path(__file__).parents[2]
_COPIED = ("dodo.py", "recipes", "overlays")
_IGNORED = """\
# Generated: everything below artifacts can be built again, or is what machines boot.
/artifacts/
# Private keys never leave this machine.
/recipes/keys/*.rsa
"""
_MAKEFILE = """\
# Verbs for people; bare `make` prints them. bootsmith is installed in its own checkout.

.DEFAULT_GOAL := help
.PHONY: help build smoke release publish rollback doctor
.NOTPARALLEL:

BOOTSMITH := {checkout}
SETUP := sh "$(BOOTSMITH)/bootsmith/tools/setup.sh"
DOIT := "$(BOOTSMITH)/.venv/bin/doit"

help:
	@echo 'make build     set up, then build everything that recipes/ describes'
	@echo 'make smoke     boot what was built in virtual machines'
	@echo 'make release   build, boot what is not proven, make it the current one'
	@echo 'make publish   copy the current generation to the places in recipes/site.toml'
	@echo 'make rollback  make the generation before it the current one again'
	@echo 'make doctor    show each program and library: found, needed by, how to get it'

build:
	@$(SETUP) build
	@$(DOIT) build

smoke:
	@$(SETUP) test
	@$(DOIT) smoke

release:
	@$(SETUP) test
	@$(DOIT) release

publish:
	@$(SETUP) build
	@$(DOIT) publish

rollback:
	@$(DOIT) rollback

doctor:
	@cd "$(BOOTSMITH)" && $(MAKE) --no-print-directory doctor
"""


def main(words: Sequence[str] | None = None) -> int:
    """The command `bootsmith`."""
    parser = argparse.ArgumentParser(
        prog="bootsmith",
        description="Bootable images as a dependency-tracked graph. In a site, run doit.",
        epilog="example: bootsmith init ~/fleet && cd ~/fleet && make build",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="init")
    init = verbs.add_parser("init", help="lay down a site of your own")
    init.add_argument("directory", metavar="DIR", help="where; it must not hold anything yet")
    init.add_argument("--name", help="name of the site (default: the directory's)")
    given = parser.parse_args(words)
    target = Path(os.path.abspath(given.directory))
    try:
        lay_down_site(target, name=given.name)
    except BootsmithError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{target}: {error.strerror}\n  next: choose another place\n")
        return 2
    sys.stdout.write(
        f"{target}: dodo.py, Makefile, recipes/ and overlays/ are there\n"
        f"next: cd {shlex.quote(str(target))} && make build\n"
    )
    return 0


def lay_down_site(target: Path, *, name: str | None = None) -> None:
    """Make `target` a site like the shipped one. RecipeError if it holds something already."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RecipeError(
            target,
            "holds something already",
            expected="a new or an empty directory",
            hint="bootsmith init another/directory",
        )
    name = name or _name_of(target)
    if not NAME.accepts(name):
        raise RecipeError(
            f"bootsmith init --name {name}",
            "not a good name of a site",
            expected=NAME.expected,
            hint="choose another one",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing_directory(target) as draft:
        for part in _COPIED:
            _copy(CHECKOUT / part, draft / part)
        settings = draft / "recipes/site.toml"
        text = settings.read_text("utf-8")
        text = re.sub(r'(?m)^name = ".*"$', f'name = "{name}"', text, count=1)
        settings.write_text(_without_targets(text))
        (draft / "Makefile").write_text(_MAKEFILE.format(checkout=CHECKOUT))
        (draft / ".gitignore").write_text(_IGNORED)
        load_site(draft)
        os.chmod(draft, 0o755)  # noqa: S103 - as a person would have made it


def _without_targets(text: str) -> str:
    """site.toml with its `[publish]` as comments: what is served there is another site."""
    lines, is_target = [], False
    for line in text.splitlines():
        if line.startswith("["):
            is_target = line.startswith("[publish")
        lines.append(f"#{line}" if is_target and line and not line.startswith("#") else line)
    return "\n".join(lines) + "\n"


def _name_of(target: Path) -> str:
    cleaned = re.sub(r"[^a-z0-9._-]+", "-", target.name.lower()).lstrip("._-")
    return cleaned or "site"


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("keys"))
    else:
        shutil.copyfile(source, target)
