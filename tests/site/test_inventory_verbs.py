"""`doit hosts` and `doit explain-host`: every line that they print."""

# ruff: noqa: E501 -- tables stand as they are printed

from __future__ import annotations

import json
import re

import pytest

from bootsmith.errors import RecipeError
from bootsmith.site.inventory_explain import explain_host
from bootsmith.site.inventory_listing import list_hosts
from bootsmith.site.loader import load_site

HOSTS = """\
[mac]
fixed = "AA:BB"
levels = { low = 1 }
templates = { db = 2 }

[[rule]]
prefix = "AA:BB:01:02"
loader = "ipxe"

[[rule]]
prefix = "52:54:00"
template = "plain"

[group.racks]
options = ["a", "b"]
values = { rack = "?", row = "7" }

[group.rack-2]
parent = "racks"
media = "nfs"
install = "debian"
options = ["b", "c"]
overlays = ["extra"]
values = { rack = "r2" }

[host.db-1]
mac = "AA:BB:01:02:00:01"
address = "10.20.1.1"
management = "10.99.0.1"
group = "rack-2"
install = "none"
options = [
  "d",
]

[[import]]
file = "x.csv"
format = "csv"
group = "racks"
"""
NEXT = "\n  next: "


@pytest.fixture
def fleet(lab):
    lab.write("recipes/hosts.toml", HOSTS)
    lab.write("recipes/hosts/x.csv", "name,mac,options,boot\n\nweb-1,02-00-00-00-00-01,a z,disk\n")
    lab.write(
        "recipes/templates/dbase.toml",
        'name = "db"\nsummary = "a database"\noverlays = ["base"]\n'
        '[netboot]\nuefi_loader = "grub"\noptions = ["t"]\n',
    )
    (lab.root / "recipes/templates/db.toml").unlink()
    return lab


def explained(fleet, *operands):
    said = []
    explain_host(site=fleet.site(), operands=operands, say=said.append)
    return "\n".join(said) + "\n"


def refusal(fleet, *operands):
    with pytest.raises(RecipeError) as caught:
        explained(fleet, *operands)
    return str(caught.value)


def test_every_value_of_a_host(fleet):
    assert (
        explained(fleet, "db-1")
        == """\
db-1
  mac          aa:bb:01:02:00:01  host db-1               recipes/hosts.toml:27: host.db-1.mac
  address      10.20.1.1          host db-1               recipes/hosts.toml:28: host.db-1.address
  management   10.99.0.1          host db-1               recipes/hosts.toml:29: host.db-1.management
  group        rack-2             host db-1               recipes/hosts.toml:30: host.db-1.group
  template     db                 level low, template db  recipes/hosts.toml:4: mac.templates.db
  boot         template           default
  install      none               host db-1               recipes/hosts.toml:31: host.db-1.install
  loader       ipxe               level low, template db  recipes/hosts.toml:8: rule[0].loader
  uefi_loader  grub               template db             recipes/templates/dbase.toml:5: netboot.uefi_loader
  media        nfs                group rack-2            recipes/hosts.toml:20: group.rack-2.media
  options      t                  template db             recipes/templates/dbase.toml:6: netboot.options[0]
  options      a                  group racks             recipes/hosts.toml:15: group.racks.options[0]
  options      b                  group racks             recipes/hosts.toml:15: group.racks.options[1]
  options      c                  group rack-2            recipes/hosts.toml:22: group.rack-2.options[1]
  options      d                  host db-1               recipes/hosts.toml:33: host.db-1.options[0]
  overlays     extra              group rack-2            recipes/hosts.toml:23: group.rack-2.overlays[0]
  values.rack  r2                 group rack-2            recipes/hosts.toml:24: group.rack-2.values.rack
  values.row   7                  group racks             recipes/hosts.toml:16: group.racks.values.row
"""
    )


def test_what_is_explained_is_what_is_built(fleet):
    """Each value of each host, told by two ways."""
    for host in fleet.inventory().hosts:
        lines = explained(fleet, host.name).splitlines()[1:]
        told: dict[str, list[str]] = {}
        for key, value in (line.split()[:2] for line in lines):
            told.setdefault(key, []).append(value)
        for key in ("mac", "template", "boot", "loader", "uefi_loader", "media"):
            assert told[key] == [getattr(host, key)]
        assert told["address"] == [host.address or "pool"]
        assert told["management"] == [host.management or "-"]
        assert told["install"] in ([host.install], ["none"], ["-"])
        assert tuple(told.get("options", ())) == host.options
        assert tuple(told.get("overlays", ())) == host.overlays
        values = {key[7:]: value for key, (value, *_) in told.items() if key.startswith("values.")}
        assert values == host.values


def test_every_level_of_one_key(fleet):
    assert (
        explained(fleet, "db-1", "install")
        == """\
db-1 install
  debian  group rack-2  recipes/hosts.toml:21: group.rack-2.install  (overridden)
  none    host db-1     recipes/hosts.toml:31: host.db-1.install
"""
    )
    assert (
        explained(fleet, "db-1", "values.rack")
        == """\
db-1 values.rack
  ?   group racks   recipes/hosts.toml:16: group.racks.values.rack   (overridden)
  r2  group rack-2  recipes/hosts.toml:24: group.rack-2.values.rack
"""
    )
    assert (
        explained(fleet, "db-1", "template")
        == """\
db-1 template
  web  site                    recipes/site.toml:13: netboot.template  (overridden)
  db   level low, template db  recipes/hosts.toml:4: mac.templates.db
"""
    )
    assert explained(fleet, "db-1", "options").splitlines()[4:6] == [
        "  b  group rack-2  recipes/hosts.toml:22: group.rack-2.options[0]      (overridden)",
        "  c  group rack-2  recipes/hosts.toml:22: group.rack-2.options[1]",
    ]
    assert explained(fleet, "web-1", "loader") == "web-1 loader\n  pxelinux  default\n"
    assert explained(fleet, "web-1", "management") == "web-1 management\n  -\n"
    assert explained(fleet, "web-1", "address") == (
        "web-1 address\n  pool  site  recipes/site.toml:11: netboot.pool\n"
    )
    assert explained(fleet, "web-1", "overlays") == "web-1 overlays\n  -\n"


def test_an_imported_host_is_said_with_its_line(fleet):
    lines = explained(fleet, "web-1").splitlines()
    assert lines[1] == "  mac          02:00:00:00:00:01  host web-1    recipes/hosts/x.csv:3: mac"
    assert "  boot         disk               host web-1    recipes/hosts/x.csv:3: boot" in lines
    assert (
        "  options      z                  host web-1    recipes/hosts/x.csv:3: options[1]" in lines
    )


def test_a_group_that_the_import_says_is_said_there(fleet):
    recipe = (fleet.root / "recipes/hosts.toml").read_text()
    line = recipe[: recipe.index('group = "racks"')].count("\n") + 1
    said = f"recipes/hosts.toml:{line}: import[0].group"
    assert f"  group        racks              import x.csv  {said}" in explained(fleet, "web-1")
    assert explained(fleet, "web-1", "group") == f"web-1 group\n  racks  import x.csv  {said}\n"
    fleet.write("recipes/hosts/x.csv", "name,mac,group\nweb-1,02-00-00-00-00-01,rack-2\n")
    assert explained(fleet, "web-1", "group") == (
        "web-1 group\n  rack-2  host web-1  recipes/hosts/x.csv:2: group\n"
    )


@pytest.mark.parametrize(
    "word", ["db-1", "DB-1", "db-1.lab.example", "AABB.0102.0001", "10.20.1.1", "10.99.0.1"]
)
def test_a_host_by_any_of_its_names(fleet, word):
    assert explained(fleet, word) == explained(fleet, "db-1")


def test_a_machine_that_nobody_wrote_down(fleet):
    assert (
        explained(fleet, "52:54:00:12:34:56")
        == """\
52:54:00:12:34:56: not in the inventory; it begins with 52:54:00
  address      pool      site           recipes/site.toml:11: netboot.pool
  template     plain     rule 52:54:00  recipes/hosts.toml:12: rule[1].template
  boot         template  default
  install      -
  loader       pxelinux  default
  uefi_loader  ipxe      default
  media        http      default
"""
    )
    assert (
        explained(fleet, "02:54:00:12:34:56", "template")
        == """\
02:54:00:12:34:56 template
  web  site  recipes/site.toml:13: netboot.template
"""
    )
    assert explained(fleet, "02-54-00-12-34-56").startswith(
        "02:54:00:12:34:56: not in the inventory; nothing is known of it\n"
    )


@pytest.mark.parametrize(
    "operands, message",
    [
        (
            (),
            "doit explain-host: says no machine; expected a name, a MAC or an address, and one "
            f"key at most{NEXT}doit explain-host NAME [KEY]",
        ),
        (
            ("a", "b", "c"),
            "doit explain-host: says too much; expected a name, a MAC or an address, and one "
            f"key at most{NEXT}doit explain-host NAME [KEY]",
        ),
        (
            ("db1",),
            'doit explain-host: there is no such host; expected db-1, got "db1"'
            f"{NEXT}doit explain-host db-1",
        ),
        (
            ("printer",),
            f'doit explain-host: there is no such host; got "printer"{NEXT}doit hosts lists them',
        ),
        (
            ("10.20.9.9",),
            'doit explain-host: no host has this address; got "10.20.9.9"'
            f"{NEXT}doit hosts lists them",
        ),
        (
            ("db-1", "medai"),
            'doit explain-host: there is no such key; expected media, got "medai"'
            f"{NEXT}doit explain-host db-1 media",
        ),
        (
            ("db-1", "values.rock"),
            'doit explain-host: there is no such key; expected values.rack, got "values.rock"'
            f"{NEXT}doit explain-host db-1 values.rack",
        ),
        (
            ("db-1", "xyz"),
            "doit explain-host: there is no such key; expected mac, address, management, group, "
            "template, boot, install, loader, uefi_loader, media, options, overlays, values, "
            f'values.rack, values.row, got "xyz"{NEXT}doit explain-host db-1',
        ),
    ],
)
def test_what_cannot_be_explained(fleet, operands, message):
    assert refusal(fleet, *operands) == message


def test_an_inventory_that_cannot_be_is_not_explained(fleet):
    fleet.write("recipes/hosts.toml", HOSTS.replace("10.20.1.1", "10.21.1.1"))
    assert refusal(fleet, "web-1").startswith(
        "recipes/hosts.toml:28: host.db-1.address: is outside the subnet; "
    )


def test_lines_are_right_in_an_inventory_of_many(fleet):
    many = "".join(f'[host.n{at}]\nmac = "02:00:00:01:{at >> 8:02x}:{at & 255:02x}"\n'
                   for at in range(3000))  # fmt: skip
    fleet.write("recipes/hosts.toml", HOSTS + many)
    shift = HOSTS.count("\n")
    [line] = explained(fleet, "n2999", "mac").splitlines()[1:]
    assert line.endswith(f"recipes/hosts.toml:{shift + 6000}: host.n2999.mac")
    assert (
        explained(fleet, "db-1", "options").splitlines()[1:]
        == explained(fleet, "db-1", "options").splitlines()[1:]
    )
    assert "recipes/hosts.toml:24: group.rack-2.values.rack" in explained(fleet, "db-1")


# --- the page ----------------------------------------------------------------------------


def answers_in(page):
    """(words, answer) of every `$ doit` in a page that asks and changes nothing."""
    for block in re.findall(r"^```\n(\$ doit .*?)^```", page, re.DOTALL | re.MULTILINE):
        for words, answer in re.findall(r"^\$ doit (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            verb, *operands = words.split()
            if verb in ("hosts", "explain-host"):
                yield verb, operands, answer


def test_the_page_shows_what_the_shipped_site_says(checkout):
    site, shown = load_site(checkout), 0
    for verb, operands, answer in answers_in((checkout / "docs/inventory.md").read_text()):
        said: list[str] = []
        if verb == "hosts":
            list_hosts(site=site, template=None, as_json=False, say=said.append)
        else:
            explain_host(site=site, operands=operands, say=said.append)
        assert "\n".join(said) + "\n" == answer, "write this answer into docs/inventory.md"
        shown += 1
    assert shown == 4


# --- doit hosts --------------------------------------------------------------------------


def listed(fleet, *, template=None, as_json=False):
    said = []
    list_hosts(site=fleet.site(), template=template, as_json=as_json, say=said.append)
    return "\n".join(said) + "\n"


def test_the_table(fleet):
    assert (
        listed(fleet)
        == """\
NAME   MAC                ADDRESS    MANAGEMENT  TEMPLATE  BOOTS           MEDIA  OVERLAY
db-1   aa:bb:01:02:00:01  10.20.1.1  10.99.0.1   db        ipxe, grub      nfs    own
web-1  02:00:00:00:00:01  pool       -           web       disk            http   own
       52:54:00:*         pool                   plain     pxelinux, ipxe  http
       aa:bb:01:02:*      pool                   db        ipxe, grub      http
       *                  pool                   web       pxelinux, ipxe  http
2 hosts, 2 MAC prefixes
"""
    )


def test_the_table_of_one_template(fleet):
    assert (
        listed(fleet, template="plain")
        == """\
NAME  MAC         ADDRESS  MANAGEMENT  TEMPLATE  BOOTS           MEDIA  OVERLAY
      52:54:00:*  pool                 plain     pxelinux, ipxe  http
0 of 2 hosts, 1 MAC prefix
"""
    )


def test_installers_are_shown(fleet):
    fleet.write("recipes/hosts.toml", HOSTS.replace('install = "none"\n', ""))
    assert "db-1   aa:bb:01:02:00:01" in listed(fleet)
    assert " ipxe, grub (if armed: debian)  nfs " in listed(fleet)


def test_the_table_of_nothing(lab):
    assert (
        listed(lab)
        == """\
NAME  MAC  ADDRESS  MANAGEMENT  TEMPLATE  BOOTS           MEDIA  OVERLAY
      *    pool                 web       pxelinux, ipxe  http
0 hosts, 0 MAC prefixes
"""
    )


def test_without_a_pool_no_address_is_promised(lab):
    text = (lab.root / "recipes/site.toml").read_text()
    lab.write("recipes/site.toml", re.sub("pool = .*\n", "", text))
    lab.write("recipes/hosts.toml", '[host.a]\nmac = "02:00:00:00:00:01"\n')
    assert [line.split()[1:3] for line in listed(lab).splitlines()[1:2]] == [
        ["02:00:00:00:00:01", "-"]
    ]
    assert listed(lab).splitlines()[2].split()[:2] == ["*", "-"]
    assert explained(lab, "a", "address") == "a address\n  -\n"
    assert explained(lab, "02:00:00:00:00:02", "address").endswith("\n  -\n")


def test_the_document(fleet):
    document = json.loads(listed(fleet, as_json=True))
    assert document.keys() == {"schema", "hosts", "rules", "unknown"}
    db, web = document["hosts"]
    assert (db["name"], db["values"], db["own_apkovl"]) == (
        "db-1",
        {"rack": "r2", "row": "7"},
        True,
    )
    assert (web["boot"], web["options"], web["address"]) == ("disk", ["a", "b", "z"], None)
    assert [rule["prefix"] for rule in document["rules"]] == ["52:54:00", "aa:bb:01:02"]
    assert document["unknown"]["template"] == "web"
    only = json.loads(listed(fleet, template="db", as_json=True))
    assert [host["name"] for host in only["hosts"]] == ["db-1"]
    assert [rule["prefix"] for rule in only["rules"]] == ["aa:bb:01:02"]


def test_a_template_that_there_is_not(fleet):
    with pytest.raises(RecipeError) as caught:
        listed(fleet, template="dbs")
    assert str(caught.value) == (
        "doit hosts --template: there is no such template; expected db, plain or web, "
        f'got "dbs"{NEXT}write "db", or leave it out'
    )


def test_a_site_without_netboot(lab):
    text = (lab.root / "recipes/site.toml").read_text()
    lab.write("recipes/site.toml", text[: text.index("[netboot]")])
    with pytest.raises(RecipeError) as caught:
        listed(lab)
    assert str(caught.value) == (
        "doit hosts: this site has no inventory: recipes/site.toml has no table [netboot]"
        f"{NEXT}add [netboot]; docs/inventory.md describes it"
    )
