"""`[publish.NAME]`: what `doit publish` gets of it, and what cannot be."""

from __future__ import annotations

import pytest

from bootsmith.graph.layout import Layout
from bootsmith.graph.publish_verb import plan_publish_verb

SITE = "recipes/site.toml"
READ = "\n  next: correct it; docs/recipes.md describes every key"
PLACE = (
    "expected a path, absolute or relative to the site, of letters, digits, dots, dashes and "
    "underscores, without `..`"
)


def with_targets(lab, text):
    """The site with these tables, and the line on which they begin."""
    path = lab.root / SITE
    before = path.read_text()
    path.write_text(f"{before}\n{text}")
    return before.count("\n") + 2


def targets(lab):
    """As the verb gets them."""
    site = lab.site()
    return plan_publish_verb(site, Layout(lab.root)).arguments["targets"]


def test_what_the_verb_gets(lab):
    with_targets(
        lab,
        '[publish.head]\ndirectory = "served"\n[publish.attic]\ndirectory = "/srv/boot"\nkeep = 2\n'
        '[publish.rack]\nssh = "rack-2:/srv/boot"\nport = 2200\nidentity = "keys/deploy"\n'
        'known_hosts = "/etc/rack/hosts"\n',
    )
    nothing = {"directory": None, "ssh": None, "port": None, "identity": None, "known_hosts": None}
    keep = lab.site().generation.keep
    assert targets(lab) == {
        "head": {**nothing, "directory": lab.root / "served", "keep": keep},
        "attic": {**nothing, "directory": lab.root / "/srv/boot", "keep": 2},
        "rack": {
            "directory": None,
            "ssh": "rack-2:/srv/boot",
            "port": 2200,
            "identity": lab.root / "recipes/keys/deploy",
            "known_hosts": type(lab.root)("/etc/rack/hosts"),
            "keep": keep,
        },
    }


def test_none_is_none(lab):
    assert targets(lab) == {}


@pytest.mark.parametrize(
    "table,line,message",
    [
        (
            "[publish.head]\nkeep = 2\n", 0,
            "publish.head: says neither directory nor ssh; expected exactly one of "
            'directory = "/..." and ssh = "user@host:/..."' + READ,
        ),
        (
            '[publish.head]\ndirectory = "/srv/boot"\nssh = "h:/srv/boot"\n', 0,
            "publish.head: says both directory and ssh; expected exactly one of "
            'directory = "/..." and ssh = "user@host:/..."' + READ,
        ),
        (
            '[publish.head]\ndirectory = "/srv/boot"\nport = 22\n', 2,
            "publish.head.port: is of no use: this target is a directory on this machine\n"
            "  next: remove it, or deliver to another machine with ssh",
        ),
        (
            '[publish.head]\ndirectory = "../boot"\n', 1,
            f'publish.head.directory: bad value; {PLACE}, got "../boot"{READ}',
        ),
        (
            '[publish.head]\nssh = "-oProxyCommand=x:/srv/boot"\n', 1,
            'publish.head.ssh: bad value; expected a place like "user@host:/srv/boot", '
            f'got "-oProxyCommand=x:/srv/boot"{READ}',
        ),
        (
            '[publish.head]\nssh = "host:relative"\n', 1,
            'publish.head.ssh: bad value; expected a place like "user@host:/srv/boot", '
            f'got "host:relative"{READ}',
        ),
        (
            '[publish.head]\nssh = "host:/srv/boot"\nport = 70000\n', 2,
            "publish.head.port: bad value; expected a whole number from 1 to 65535, got 70000"
            + READ,
        ),
        (
            '[publish.a]\ndirectory = "/srv/boot"\n[publish.b]\ndirectory = "/srv/boot"\n', 2,
            "publish.b: delivers to the same place as another target; expected a place for each, "
            "got /srv/boot, also of a\n  next: remove one of the two",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_a_place(lab, table, line, message):
    first = with_targets(lab, table)
    assert lab.refusal() == f"{SITE}:{first + line}: {message}"
