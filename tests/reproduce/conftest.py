"""The tiny site, in a place that somebody else can reach, with a package that can be spoilt."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tiny_site import CHECKOUT, write_iso, write_site


@pytest.fixture(scope="session")
def iso(tmp_path_factory):
    return write_iso(tmp_path_factory.mktemp("medium"))


class Site:
    """A tiny site in `directory`."""

    def __init__(self, directory, iso):
        self.directory = directory
        self.package = CHECKOUT
        shutil.copy(iso, directory)  # where it lies is no part of the site, yet must be read
        self.root = write_site(directory / "site", directory / iso.name)

    @property
    def scratch(self):
        return self.root / "artifacts/reproduce"

    def spoil(self, builder, text):
        """From now on `build_<builder>` also runs `text`, after its work, its arguments in `words`.

        The package that does is a copy.
        """
        self.package = self.directory / "package"
        shutil.copytree(
            CHECKOUT / "bootsmith",
            self.package / "bootsmith",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        name = f"build_{builder}"
        with open(self.package / f"bootsmith/builders/{builder}.py", "a") as module:
            module.write(f"\n\n_honest = {name}\n\n\ndef {name}(**words):\n    _honest(**words)\n")
            module.writelines(f"    {line}\n" for line in text.splitlines())

    def reproduce(self, *words):
        return subprocess.run(
            [sys.executable, "-m", "doit", "reproduce", *words],
            cwd=self.root,
            env={
                **os.environ,
                "PYTHONPATH": str(self.package),
                "LC_ALL": "C.UTF-8",
                "TZ": "UTC",
            },
            capture_output=True,
            text=True,
        )


@pytest.fixture
def site(iso):
    # Not below pytest's own directory: somebody else builds here too, and that is for one user.
    with tempfile.TemporaryDirectory(prefix="reproduce-") as name:
        Path(name).chmod(0o755)
        yield Site(Path(name), iso)
