"""Who inherits what; files of hosts; names and MACs that are made."""

from __future__ import annotations

import pytest

from bootsmith.formats.inventory import Host, Role, Rule
from bootsmith.site.inventory_models import name_from

MAC = "52:54:00:00:00:{:02x}"
LEVELS = """\
[[rule]]
prefix = "52:54:00"
template = "db"
loader = "ipxe"
options = ["rule", "both"]

[group.all]
options = ["all"]
overlays = ["extra"]
values = { rack = "r1", row = "9" }

[group.some]
parent = "all"
template = "web"
media = "nfs"
options = ["some", "both"]
overlays = ["more", "extra"]
values = { rack = "r2" }

[host.plain]
mac = "02:00:00:00:00:01"

[host.ruled]
mac = "52:54:00:00:00:01"

[host.grouped]
mac = "52:54:00:00:00:02"
group = "some"

[host.itself]
mac = "52-54-00-00-00-03"
address = "10.20.1.3"
management = "10.99.0.3"
group = "some"
template = "db"
boot = "disk"
install = "debian"
loader = "lpxelinux"
uefi_loader = "grub"
media = "http"
options = ["itself"]
overlays = ["base"]
values = { rack = "r3" }
"""


@pytest.fixture
def levels(lab):
    """The inventory in which every level says something."""
    site = lab.root / "recipes/site.toml"
    site.write_text(site.read_text() + 'options = ["site"]\nuefi_loader = "grub"\n')
    lab.write(
        "recipes/templates/db.toml",
        'summary = "a database"\noverlays = ["base"]\n'
        '[netboot]\noptions = ["template"]\nuefi_loader = "ipxe"\nloader = "lpxelinux"\n',
    )
    return lab.inventory(LEVELS)


def host(inventory, name):
    [found] = [host for host in inventory.hosts if host.name == name]
    return found


def test_nothing_but_the_site(levels):
    expected = Role(template="web", uefi_loader="grub", options=("site",))
    assert levels.unknown == expected
    assert host(levels, "plain") == Host(
        name="plain",
        mac="02:00:00:00:00:01",
        template="web",
        uefi_loader="grub",
        options=("site",),
    )


def test_the_template_comes_from_the_rule_and_speaks_before_it(levels):
    values = {
        "template": "db",
        "loader": "ipxe",
        "uefi_loader": "ipxe",
        "options": ("site", "template", "rule", "both"),
    }
    assert levels.rules == (Rule(prefix="52:54:00", **values),)
    assert host(levels, "ruled") == Host(name="ruled", mac=MAC.format(1), **values)


def test_parents_come_before_their_groups(levels):
    assert host(levels, "grouped") == Host(
        name="grouped",
        mac=MAC.format(2),
        template="web",
        loader="ipxe",
        uefi_loader="grub",
        media="nfs",
        options=("site", "rule", "both", "all", "some"),
        overlays=("extra", "more"),
        values={"rack": "r2", "row": "9"},
    )


def test_the_host_has_the_last_word(levels):
    assert host(levels, "itself") == Host(
        name="itself",
        mac=MAC.format(3),
        address="10.20.1.3",
        management="10.99.0.3",
        template="db",
        boot="disk",
        install="debian",
        loader="lpxelinux",
        uefi_loader="grub",
        options=("site", "template", "rule", "both", "all", "some", "itself"),
        overlays=("extra", "more", "base"),
        values={"rack": "r3", "row": "9"},
    )


def test_hosts_are_sorted_whatever_their_order(lab):
    recipes = [f'[host.n{at}]\nmac = "{MAC.format(at)}"\n' for at in (3, 1, 2)]
    inventory = lab.inventory("".join(recipes))
    assert [one.name for one in inventory.hosts] == ["n1", "n2", "n3"]
    assert lab.inventory("".join(reversed(recipes))) == inventory


def test_an_installer_is_taken_back_by_a_word(lab):
    inventory = lab.inventory(
        '[group.g]\ninstall = "debian"\n'
        f'[host.a]\nmac = "{MAC.format(1)}"\ngroup = "g"\n'
        f'[host.b]\nmac = "{MAC.format(2)}"\ngroup = "g"\ninstall = "none"\n'
        f'[host.c]\nmac = "{MAC.format(3)}"\ninstall = "db"\n'
    )
    assert [one.install for one in inventory.hosts] == ["debian", None, "db"]


def test_the_convention_makes_rules_and_a_rule_may_add_to_one(lab):
    inventory = lab.inventory(
        '[mac]\nfixed = "AA-BB"\nlevels = { low = 1, high = 0xff }\ntemplates = { db = 0x10 }\n'
        '[[rule]]\nprefix = "AA:BB:FF:10"\nmedia = "nfs"\n'
        '[host.a]\nmac = "AA:BB:01:10:00:01"\n[host.b]\nmac = "AA:BB:FF:10:00:01"\n'
    )
    assert inventory.rules == (
        Rule(prefix="aa:bb:01:10", template="db"),
        Rule(prefix="aa:bb:ff:10", template="db", media="nfs"),
    )
    assert [(one.template, one.media) for one in inventory.hosts] == [("db", "http"), ("db", "nfs")]


@pytest.mark.parametrize("prefix", ["02", "02:1", "02:1b", "02:1b:21:4f:00"])
def test_prefixes_of_any_number_of_bytes(lab, prefix):
    recipe = (
        f'[[rule]]\nprefix = "{prefix}"\ntemplate = "db"\n[host.a]\nmac = "02:1b:21:4f:00:01"\n'
    )
    if prefix == "02:1":
        assert "rule[0].prefix: ends inside a byte" in lab.message(recipe)
    else:
        assert lab.inventory(recipe).hosts[0].template == "db"


def test_a_prefix_ends_where_a_byte_does(lab):
    recipe = '[[rule]]\nprefix = "52:54"\ntemplate = "db"\n[host.a]\nmac = "52:45:54:00:00:01"\n'
    assert lab.inventory(recipe).hosts[0].template == "web"


def test_an_empty_file_is_an_inventory_without_hosts(lab):
    assert lab.inventory("").hosts == ()


# --- files of hosts ----------------------------------------------------------------------


def test_machines(lab):
    lab.write(
        "recipes/hosts/rack/machines.txt",
        "# the first rack\r\n\r\n52:54:00:00:00:0A  10.99.0.1\r\n"
        "  52-54-00-00-00-0b\t10.99.0.2  # behind the door\n",
    )
    inventory = lab.inventory(
        '[group.g]\ntemplate = "db"\n'
        '[[import]]\nfile = "rack/machines.txt"\nformat = "machines"\ngroup = "g"\n'
        'name = "slave{number:03}"\nfirst = 7\n'
    )
    assert inventory.hosts == (
        Host(name="slave007", mac=MAC.format(10), management="10.99.0.1", template="db"),
        Host(name="slave008", mac=MAC.format(11), management="10.99.0.2", template="db"),
    )


def test_csv_with_every_column(lab):
    lab.write(
        "recipes/hosts/all.csv",
        "\ufeffname,MAC,address,management,group,template,boot,install,loader,uefi_loader,media,"
        "options,overlays,values.rack,values.note\n"
        "# a comment\n\nweb-1,52:54:00:00:00:01,10.20.1.1,10.99.0.1,g,db,disk,debian,ipxe,grub,"
        'nfs,quiet  a=b,extra more,r1,"says ""hi"", twice"\n'
        "web-2 , 52:54:00:00:00:02,,,,,,,,,,,,,\n",
    )
    inventory = lab.inventory(
        '[group.g]\noptions = ["g"]\n[group.other]\ntemplate = "plain"\n'
        '[[import]]\nfile = "all.csv"\nformat = "csv"\ngroup = "other"\n'
    )
    assert inventory.hosts == (
        Host(
            name="web-1",
            mac=MAC.format(1),
            address="10.20.1.1",
            management="10.99.0.1",
            template="db",
            boot="disk",
            install="debian",
            loader="ipxe",
            uefi_loader="grub",
            media="nfs",
            options=("g", "quiet", "a=b"),
            overlays=("extra", "more"),
            values={"rack": "r1", "note": 'says "hi", twice'},
        ),
        Host(name="web-2", mac=MAC.format(2), template="plain"),
    )


def test_csv_with_titles_of_its_own(lab):
    lab.write(
        "recipes/hosts/asset.csv",
        "Asset tag;Ethernet;Bought\nA-1;525400000001;2019\nA-2;525400000002;2020\n",
    )
    inventory = lab.inventory(
        '[[import]]\nfile = "asset.csv"\nformat = "csv"\ndelimiter = ";"\nname = "node-{mac}"\n'
        'columns = { "Asset tag" = "values.asset", Ethernet = "mac", Bought = "ignore" }\n'
    )
    assert [(one.name, one.mac, one.values) for one in inventory.hosts] == [
        ("node-525400000001", MAC.format(1), {"asset": "A-1"}),
        ("node-525400000002", MAC.format(2), {"asset": "A-2"}),
    ]


def test_csv_with_tabs_and_names_that_are_made_where_there_is_none(lab):
    lab.write("recipes/hosts/t.csv", "name\tmac\n\t525400000001\nweb\t525400000002\n\t525400000003")
    inventory = lab.inventory(
        '[[import]]\nfile = "t.csv"\nformat = "csv"\ndelimiter = "tab"\nname = "n{number}"\n'
    )
    assert [one.name for one in inventory.hosts] == ["n1", "n3", "web"]


def test_a_link_inside_the_directory_is_followed(lab):
    lab.write("recipes/hosts/real.csv", "name,mac\na,525400000001\n")
    (lab.root / "recipes/hosts/link.csv").symlink_to("real.csv")
    assert lab.inventory('[[import]]\nfile = "link.csv"\nformat = "csv"\n').hosts[0].name == "a"


@pytest.mark.parametrize(
    "pattern, name",
    [
        ("node{number:03}", "node007"),
        ("n{number}-x", "n7-x"),
        ("{mac}", "5254000000ff"),
        ("{number:02}{number:01}", "077"),
    ],
)
def test_names_are_made(pattern, name):
    assert name_from(pattern, number=7, mac="52:54:00:00:00:ff") == name


@pytest.mark.parametrize(
    "pattern",
    ["{number", "{", "{}", "{name}", "{number:3}", "{number:010}", "{number.real}", "{number!r}",
     "{mac:03}", "{number:}", "{0}"],
)  # fmt: skip
def test_patterns_are_no_format_strings(pattern):
    with pytest.raises(ValueError, match=r"^\{"):
        name_from(pattern, number=7, mac="52:54:00:00:00:ff")
