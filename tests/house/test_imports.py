"""Who may import whom; one door to programs; one importer of doit; formats are pure."""

from __future__ import annotations

import sys
from pathlib import Path

import house_rules
import pytest

from bootsmith.tools.run import run_program

DOOR = "bootsmith/tools/run.py"
BRIDGE = "bootsmith/doit_bridge.py"
FRONT = "bootsmith/front.py"


@pytest.fixture(scope="module")
def package(checkout):
    return house_rules.read_sources(checkout, "bootsmith")


@pytest.fixture(scope="module")
def package_and_dodo(checkout):
    return house_rules.read_sources(checkout, "bootsmith", "dodo.py")


def source(path, text):
    return house_rules.parse_source(path, text)


def test_imports_follow_the_direction(package):
    house_rules.forbid(house_rules.import_violations(package))


@pytest.mark.parametrize(
    "path,text,breach",
    [
        (
            "bootsmith/formats/cpio.py",
            "import struct\nfrom bootsmith.files.atomic import write_file\n",
            "bootsmith/formats/cpio.py:2: imports bootsmith.files.atomic.write_file; "
            "formats may import errors",
        ),
        (
            "bootsmith/files/store.py",
            "def late():\n    from bootsmith.tools import run\n",
            "bootsmith/files/store.py:2: imports bootsmith.tools.run; "
            "files may import errors, formats",
        ),
        (
            "bootsmith/graph/plan_pxerd.py",
            "from bootsmith.builders.pxerd import build_pxerd\n",
            "bootsmith/graph/plan_pxerd.py:1: imports bootsmith.builders.pxerd.build_pxerd; "
            "graph may import errors, site",
        ),
        (
            "bootsmith/graph/execute.py",
            "from bootsmith.tools.run import run_program\n",
            "bootsmith/graph/execute.py:1: imports bootsmith.tools.run.run_program; "
            "graph.execute may import errors, files, tools.catalog",
        ),
        (
            "bootsmith/generations/verify.py",
            "import bootsmith.smoke.machine\n",
            "bootsmith/generations/verify.py:1: imports bootsmith.smoke.machine; "
            "generations may import errors, files, formats, site, smoke.evidence, smoke.parts",
        ),
        (
            "bootsmith/site/loader.py",
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from bootsmith.files.digest import Digest\n",
            "bootsmith/site/loader.py:3: imports bootsmith.files.digest.Digest; "
            "site may import errors, formats",
        ),
        (
            "bootsmith/errors.py",
            "from bootsmith.formats import cpio\n",
            "bootsmith/errors.py:1: imports bootsmith.formats.cpio; errors may import nothing",
        ),
        (
            "bootsmith/builders/usbkey.py",
            "from bootsmith.builders.pxerd import build_pxerd\n",
            "bootsmith/builders/usbkey.py:1: imports bootsmith.builders.pxerd.build_pxerd; "
            "sibling builders never import each other",
        ),
        (
            "bootsmith/tools/mtools.py",
            "from .run import run_program\n",
            "bootsmith/tools/mtools.py:1: imports .run.run_program; "
            "relative imports hide the direction: name it in full",
        ),
        (
            "bootsmith/attic.py",
            "import bootsmith.errors\n",
            "bootsmith/attic.py:1: imports bootsmith.errors; attic has no line in ALLOWED_IMPORTS",
        ),
    ],
)
def test_an_import_against_the_direction_is_named(path, text, breach):
    assert house_rules.import_violations([source(path, text)]) == [breach]


def test_parts_of_one_builder_may_import_each_other():
    part = source(
        "bootsmith/builders/standin/packages.py",
        "from bootsmith.builders.standin.rules import Rule\n",
    )
    assert not house_rules.import_violations([part])


def test_every_room_has_its_line(checkout):
    rooms = {
        path.stem if path.is_file() else path.name
        for path in (checkout / "bootsmith").iterdir()
        if not path.name.startswith("__")
    }
    assert rooms == {name for name in house_rules.ALLOWED_IMPORTS if "." not in name}


def test_programs_start_at_one_door(package_and_dodo):
    house_rules.forbid(
        house_rules.lone_importer_violations(package_and_dodo, library="subprocess", importer=DOOR)
    )
    house_rules.forbid(house_rules.starter_violations(package_and_dodo, door=DOOR))


@pytest.mark.parametrize(
    "text,name",
    [
        ("import os\nos.system('x')\n", "os.system"),
        ("import os\nos.execvp('x', ['x'])\n", "os.execvp"),
        ("import os\nif os.fork():\n    pass\n", "os.fork"),
        ("import os\nstart = os.posix_spawn\n", "os.posix_spawn"),
        ("import re\nfrom os import popen\n", "os.popen"),
        ("import asyncio\nasyncio.create_subprocess_exec\n", "asyncio.create_subprocess_exec"),
    ],
)
def test_a_side_door_is_named(text, name):
    breaches = house_rules.starter_violations([source("bootsmith/x.py", text)], door=DOOR)
    assert breaches == [f"bootsmith/x.py:2: {name}; programs start in {DOOR} only"]


def test_only_the_bridge_knows_doit(package_and_dodo):
    # The command itself starts doit, and knows nothing else of it.
    sources = [source for source in package_and_dodo if source.path != FRONT]
    house_rules.forbid(
        house_rules.lone_importer_violations(sources, library="doit", importer=BRIDGE)
    )


def test_another_importer_is_named():
    text = "import subprocess\nfrom doit.tools import run_once\n"
    other = source("bootsmith/graph/step.py", text)
    assert house_rules.lone_importer_violations([other], library="doit", importer=BRIDGE) == [
        f"bootsmith/graph/step.py:2: imports doit.tools.run_once; only {BRIDGE} may"
    ]
    assert house_rules.lone_importer_violations([other], library="subprocess", importer=DOOR) == [
        f"bootsmith/graph/step.py:1: imports subprocess; only {DOOR} may"
    ]


def test_formats_are_pure(package):
    house_rules.forbid(house_rules.purity_violations(package))


@pytest.mark.parametrize(
    "text,breach",
    [
        ("import time\n", "1: imports time"),
        ("from os import environ\n", "1: imports os.environ"),
        ("import os\nwhere = os.getcwd()\n", "2: uses os.getcwd"),
        ("def late():\n    from pathlib import Path\n", "2: imports pathlib.Path"),
        ("data = open('/etc/passwd')\n", "1: calls open()"),
    ],
)
def test_an_impure_format_is_named(text, breach):
    breaches = house_rules.purity_violations([source("bootsmith/formats/x.py", text)])
    assert breaches == [f"bootsmith/formats/x.py:{breach}; formats are pure"]


def test_dodo_holds_no_logic(checkout):
    (dodo,) = house_rules.read_sources(checkout, "dodo.py")
    house_rules.forbid(house_rules.logic_violations(dodo))


@pytest.mark.parametrize(
    "text,what",
    [
        ("if True:\n    X = 1\n", "If"),
        ("X = [a for a in ()]\n", "comprehension"),
        ("X = 1 if __name__ else 2\n", "IfExp"),
        ("X = 1 and 2\n", "BoolOp"),
        ("def task_a():\n    x = 1\n    return x\n", "task_a() of 2 statements"),
    ],
)
def test_logic_in_dodo_is_named(text, what):
    (breach,) = house_rules.logic_violations(source("dodo.py", text))
    assert breach.endswith(f": {what}; dodo.py holds no logic, doit_bridge.py does")


# Declaring a graph must stay cheap: `doit list` and a no-op build import no heavy library.
HEAVY = ("cryptography", "deflate", "elftools", "isal", "libarchive", "pycdlib", "zstandard")


def test_declaring_imports_nothing_heavy(checkout):
    modules = [
        source.module
        for source in house_rules.read_sources(
            checkout, "bootsmith/site", "bootsmith/graph", "bootsmith/doit_bridge.py"
        )
    ]
    script = (
        "import importlib, sys\n"
        f"for name in {sorted(modules)!r}: importlib.import_module('bootsmith.' + name)\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert run_program([Path(sys.executable), "-c", script], cwd=checkout).text.split() == []


def test_a_heavy_import_would_be_seen(checkout):
    script = f"import sys, zstandard\nprint(*[n for n in {HEAVY!r} if n in sys.modules])\n"
    said = run_program([Path(sys.executable), "-c", script], cwd=checkout).text
    assert said.split() == ["zstandard"]
