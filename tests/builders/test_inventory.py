"""The inventory's step, and MAC addresses for new machines."""

from __future__ import annotations

import os
import stat

import pytest

from bootsmith.builders.inventory import build_inventory
from bootsmith.builders.mac_address import make_mac
from bootsmith.errors import RecipeError
from bootsmith.formats.inventory import read_inventory
from bootsmith.graph.layout import Layout
from bootsmith.graph.plan_inventory import plan_inventory
from bootsmith.graph.step import Input, Output, Tree, unwrapped
from bootsmith.site.loader import load_site

SITE = """\
schema = 1
name = "lab"
release = "alpine"
flavor = "lts"
"""
NETBOOT = """
[netboot]
server = "10.20.0.1"
subnet = "10.20.0.0/16"
interface = "eth1"
domain = "lab.example"
template = "web"
"""
HOSTS = """\
[mac]
fixed = "AA:BB"
levels = { infra = 1, service = 2 }
templates = { web = 0x10 }

[host.web-1]
mac = "AA:BB:02:10:00:05"

[[import]]
file = "more.csv"
format = "csv"
"""
NEXT = "\n  next: "
USAGE = "doit mac new TEMPLATE [--level LEVEL] [--add NAME]"


@pytest.fixture
def root(tmp_path):
    for name, text in {
        "recipes/site.toml": SITE + NETBOOT,
        "recipes/hosts.toml": HOSTS,
        "recipes/hosts/more.csv": "name,mac\nweb-2,AA:BB:02:10:00:09\n",
        "recipes/releases/alpine.toml": 'iso = "a.iso"\nflavors = ["lts"]\n'
        '[pxerd]\nfeatures = ["network"]\n',
        "recipes/templates/web.toml": 'summary = "web"\noverlays = ["base"]\n',
        "recipes/features.d/network.modules": "",
        "overlays/base/etc/motd": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


# --- the step ----------------------------------------------------------------------------


def build(root):
    """Do what the step declares; the inventory's bytes."""
    [step] = plan_inventory(load_site(root), Layout(root))
    output = step.outputs[0]
    output.parent.mkdir(parents=True, exist_ok=True)
    build_inventory(**unwrapped(dict(step.arguments)))
    return output.read_bytes()


def test_the_step_reads_the_recipe_and_all_files_of_hosts(root):
    layout = Layout(root)
    [step] = plan_inventory(load_site(root), layout)
    assert step.label == "inventory"
    assert step.arguments["recipe"] == Input(root / "recipes/hosts.toml")
    assert step.arguments["imports"] == Tree(root / "recipes/hosts")
    assert step.arguments["output"] == Output(layout.build / "inventory/inventory.jsonl")


def test_declaring_reads_no_host(root):
    (root / "recipes/hosts.toml").write_text("this is no TOML")
    assert plan_inventory(load_site(root), Layout(root))


def test_a_site_without_netboot_has_no_such_step(root):
    (root / "recipes/site.toml").write_text(SITE)
    assert plan_inventory(load_site(root), Layout(root)) == ()


def test_hosts_of_the_recipe_and_of_its_files(root):
    inventory = read_inventory(build(root), subject="x")
    assert [(host.name, host.mac) for host in inventory.hosts] == [
        ("web-1", "aa:bb:02:10:00:05"),
        ("web-2", "aa:bb:02:10:00:09"),
    ]
    assert [rule.prefix for rule in inventory.rules] == ["aa:bb:01:10", "aa:bb:02:10"]
    assert inventory.unknown.template == "web"


def test_one_changed_host_changes_one_line(root):
    before = build(root).splitlines()
    more = root / "recipes/hosts/more.csv"
    more.write_text("name,mac,media\nweb-2,AA:BB:02:10:00:0A,http\n")
    after = build(root).splitlines()
    assert len(set(before) ^ set(after)) == 2
    assert len(after) == len(before)


def test_nothing_is_left_of_an_inventory_that_cannot_be(root):
    before = build(root)
    (root / "recipes/hosts/more.csv").write_text("name,mac\nweb-2,AA:BB:02:10:00:05\n")
    with pytest.raises(RecipeError) as caught:
        build(root)
    assert str(caught.value) == (
        "recipes/hosts/more.csv:2: mac: another host has this MAC address; expected each MAC "
        "address once, got aa:bb:02:10:00:05, also at recipes/hosts.toml:7: host.web-1.mac"
        f"{NEXT}correct or remove one of the two"
    )
    output = Layout(root).build / "inventory/inventory.jsonl"
    assert output.read_bytes() == before
    assert os.listdir(output.parent) == ["inventory.jsonl"]


# --- new MAC addresses -------------------------------------------------------------------


def mac(root, *operands, level=None, add=None):
    """What `doit mac` prints."""
    said = []
    make_mac(site=load_site(root), operands=operands, level=level, add=add, say=said.append)
    return said


def refusal(root, *operands, **options):
    with pytest.raises(RecipeError) as caught:
        mac(root, *operands, **options)
    return str(caught.value)


def test_the_next_one_is_behind_the_last_one_wherever_it_is_said(root):
    assert mac(root, "new", "web", level="service") == ["aa:bb:02:10:00:0a"]
    assert mac(root, "new", "web", level="infra") == ["aa:bb:01:10:00:01"]


def test_a_single_level_needs_no_word(root):
    recipe = root / "recipes/hosts.toml"
    recipe.write_text(recipe.read_text().replace("infra = 1, ", ""))
    assert mac(root, "new", "web") == ["aa:bb:02:10:00:0a"]


def test_adding_makes_it_a_host(root):
    recipe = root / "recipes/hosts.toml"
    recipe.chmod(0o640)
    before = recipe.read_text()
    assert mac(root, "new", "web", level="service", add="web-3") == [
        "aa:bb:02:10:00:0a is host web-3 now: recipes/hosts.toml:13"
    ]
    assert recipe.read_text() == f'{before}\n[host.web-3]\nmac = "aa:bb:02:10:00:0a"\n'
    assert recipe.read_text().splitlines()[12] == "[host.web-3]"
    assert stat.S_IMODE(recipe.stat().st_mode) == 0o640
    assert mac(root, "new", "web", level="service", add="web-4")[0].startswith("aa:bb:02:10:00:0b")
    names = [host.name for host in read_inventory(build(root), subject="x").hosts]
    assert names == ["web-1", "web-2", "web-3", "web-4"]


def test_adding_to_a_recipe_that_ends_without_a_line_end_or_is_a_link(root):
    recipe, real = root / "recipes/hosts.toml", root / "shared.toml"
    real.write_text(recipe.read_text().rstrip())
    recipe.unlink()
    recipe.symlink_to(real)
    mac(root, "new", "web", level="infra", add="web-3")
    assert recipe.is_symlink()
    assert real.read_text().endswith('format = "csv"\n\n[host.web-3]\nmac = "aa:bb:01:10:00:01"\n')


@pytest.mark.parametrize(
    "operands, options, message",
    [
        ((), {}, f"doit mac: says not what to do; expected {USAGE}{NEXT}doit mac --help"),
        (
            ("old", "web"),
            {},
            f"doit mac: is not said so; expected {USAGE}, got old web{NEXT}doit mac --help",
        ),
        (
            ("new",),
            {},
            f"doit mac: is not said so; expected {USAGE}, got new{NEXT}doit mac --help",
        ),
        (
            ("new", "wbe"),
            {"level": "infra"},
            'doit mac: the convention has no such template; expected web, got "wbe"'
            f'{NEXT}write "web", or give it a byte in [mac] of recipes/hosts.toml',
        ),
        (
            ("new", "web"),
            {},
            f"doit mac: there are several levels; expected --level infra or service{NEXT}{USAGE}",
        ),
        (
            ("new", "web"),
            {"level": "low"},
            'doit mac: the convention has no such level; expected infra or service, got "low"'
            f"{NEXT}give it a byte in [mac] of recipes/hosts.toml",
        ),
        (
            ("new", "web"),
            {"level": "infra", "add": "web-1"},
            "doit mac --add: another host has this name; expected each name once, "
            f'got "web-1", also at recipes/hosts.toml:6: host.web-1{NEXT}'
            "correct or remove one of the two",
        ),
        (
            ("new", "web"),
            {"level": "infra", "add": "Web"},
            "doit mac --add: bad value; expected a host name without its domain: lower-case "
            f'letters, digits and inner dashes, at most 63, got "Web"{NEXT}correct it; '
            "docs/recipes.md describes every key",
        ),
        (
            ("new", "web"),
            {"level": "infra", "add": "head"},
            "doit mac --add: is no name for a host; expected another name than head and "
            f'localhost, got "head"{NEXT}rename the host',
        ),
    ],
)
def test_what_cannot_be_made(root, operands, options, message):
    before = (root / "recipes/hosts.toml").read_text()
    assert refusal(root, *operands, **options) == message
    assert (root / "recipes/hosts.toml").read_text() == before


def test_there_must_be_a_convention(root):
    (root / "recipes/hosts.toml").write_text("")
    assert refusal(root, "new", "web") == (
        "recipes/hosts.toml: says no convention for MAC addresses; expected a table [mac]"
        f"{NEXT}add one; docs/inventory.md describes it"
    )


def test_serials_may_be_used_up(root):
    rows = "".join(f"n{at},AA:BB:01:10:{at >> 8:02x}:{at & 255:02x}\n" for at in range(1, 1 << 16))
    (root / "recipes/hosts/more.csv").write_text(f"name,mac\n{rows}")
    assert refusal(root, "new", "web", level="infra") == (
        "doit mac: no serial is free behind aa:bb:01:10; expected one of 1 to 65535"
        f"{NEXT}give the template another byte, or remove hosts that are no more"
    )


def test_hosts_that_are_written_in_one_table_are_not_added_to(root):
    recipe = root / "recipes/hosts.toml"
    recipe.write_text(
        'host = { a = { mac = "AA:BB:01:10:00:01" } }\n' + HOSTS[: HOSTS.index("[host")]
    )
    before = recipe.read_text()
    assert refusal(root, "new", "web", level="infra", add="b") == (
        "recipes/hosts.toml: writes hosts so that no table [host.NAME] can follow; expected "
        f"each host as a table of its own{NEXT}add the host there yourself: "
        'b = { mac = "aa:bb:01:10:00:02" }'
    )
    assert recipe.read_text() == before


def test_a_site_without_netboot_has_no_inventory(root):
    (root / "recipes/site.toml").write_text(SITE)
    assert refusal(root, "new", "web") == (
        "doit mac: this site has no inventory: recipes/site.toml has no table [netboot]"
        f"{NEXT}add [netboot]; docs/inventory.md describes it"
    )
