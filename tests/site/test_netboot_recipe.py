"""`[netboot]`, `[publish.NAME]`, installers: what steps get of them, and what cannot be."""

from __future__ import annotations

import pytest

from bootsmith.formats.netboot_network import Network
from bootsmith.site.netboot import inventory_arguments, role_levels

SITE = "recipes/site.toml"
WEB = "recipes/templates/web.toml"
NEXT = "\n  next: "
READ = f"{NEXT}correct it; docs/recipes.md describes every key"


def with_netboot(lab, old, new):
    """The site's recipe with `new` in place of `old`."""
    path = lab.root / SITE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_site_without_the_table_has_no_netboot(lab):
    text = (lab.root / SITE).read_text()
    lab.write(SITE, text[: text.index("[netboot]")])
    (lab.root / "recipes/hosts.toml").unlink()
    assert lab.site().netboot is None


def test_the_network(lab):
    netboot = lab.site().netboot
    assert netboot is not None
    assert Network(**netboot.network_values) == Network(
        server="10.20.0.1",
        subnet="10.20.0.0/16",
        interface="eth1",
        root="/srv/boot",
        domain="lab.example",
        pool=("10.20.250.1", "10.20.250.254"),
        gateway="10.20.0.254",
        dns=(),
        http_port=80,
        lease_seconds=3600,
    )


def test_every_key_of_the_network_is_one_of_the_format(lab):
    with_netboot(
        lab,
        'gateway = "10.20.0.254"\n',
        'root = "/var/lib/boot"\ndns = ["10.20.0.9", "9.9.9.9"]\nhttp_port = 8080\n'
        "lease_seconds = 120\n",
    )
    netboot = lab.site().netboot
    assert netboot is not None
    network = Network(**netboot.network_values)
    assert (network.root, network.dns, network.gateway) == (
        "/var/lib/boot",
        ("10.20.0.9", "9.9.9.9"),
        None,
    )
    assert (network.url, network.lease_seconds) == ("http://10.20.0.1:8080", 120)


def test_levels_hold_what_is_said_and_nothing_else(lab):
    with_netboot(lab, 'template = "web"\n', 'template = "web"\nmedia = "http"\noptions = ["a"]\n')
    lab.write(WEB, (lab.root / WEB).read_text() + '[netboot]\nboot = "disk"\ninstall = "debian"\n')
    site = lab.site()
    assert site.netboot is not None
    assert role_levels(site.netboot, site.templates) == {
        "site": {"template": "web", "media": "http", "options": ("a",)},
        "templates": {"db": {}, "plain": {}, "web": {"boot": "disk", "install": "debian"}},
    }
    arguments = inventory_arguments(site)
    assert arguments["installers"] == ("debian",)
    assert arguments["overlays"] == ("base", "extra", "more")
    assert arguments["nfs_templates"] == ("db", "web")


@pytest.mark.parametrize(
    "old, new, message",
    [
        (
            'subnet = "10.20.0.0/16"',
            'subnet = "10.20.0.1/16"',
            f'{SITE}:8: netboot.subnet: bad value; expected a subnet like "10.20.0.0/16", /8 to '
            f'/30, zeros behind its prefix, got "10.20.0.1/16"{READ}',
        ),
        (
            'subnet = "10.20.0.0/16"',
            'subnet = "10.20.0.0/31"',
            f'{SITE}:8: netboot.subnet: bad value; expected a subnet like "10.20.0.0/16", /8 to '
            f'/30, zeros behind its prefix, got "10.20.0.0/31"{READ}',
        ),
        (
            'server = "10.20.0.1"',
            'server = "10.21.0.1"',
            f"{SITE}:7: netboot.server: is outside the subnet; expected an address of "
            f'10.20.0.0/16, got "10.21.0.1"{READ}',
        ),
        (
            'server = "10.20.0.1"',
            'server = "10.20.0.0"',
            f"{SITE}:7: netboot.server: is the network address of the subnet; expected 10.20.0.1 "
            f'to 10.20.255.254, got "10.20.0.0"{READ}',
        ),
        (
            'gateway = "10.20.0.254"',
            'gateway = "10.20.255.255"',
            f"{SITE}:12: netboot.gateway: is the broadcast address of the subnet; expected "
            f'10.20.0.1 to 10.20.255.254, got "10.20.255.255"{READ}',
        ),
        (
            'pool = ["10.20.250.1", "10.20.250.254"]',
            'pool = ["10.20.250.1"]',
            f"{SITE}:11: netboot.pool: bad value; expected two addresses, the first and the last, "
            f"got 1 addresses{READ}",
        ),
        (
            'pool = ["10.20.250.1", "10.20.250.254"]',
            'pool = ["10.20.250.9", "10.20.250.1"]',
            f"{SITE}:11: netboot.pool: ends before it begins; got 10.20.250.9 to 10.20.250.1"
            f"{NEXT}exchange the two addresses",
        ),
        (
            'pool = ["10.20.250.1", "10.20.250.254"]',
            'pool = ["10.20.250.1", "10.21.250.254"]',
            f"{SITE}:11: netboot.pool[1]: is outside the subnet; expected an address of "
            f'10.20.0.0/16, got "10.21.250.254"{READ}',
        ),
        (
            'pool = ["10.20.250.1", "10.20.250.254"]',
            'pool = ["10.20.0.1", "10.20.0.99"]',
            f"{SITE}:11: netboot.pool: holds the address of the server, which would be given "
            f"away; got 10.20.0.1 to 10.20.0.99{NEXT}let the pool begin behind 10.20.0.1, or end "
            "before it",
        ),
        (
            'pool = ["10.20.250.1", "10.20.250.254"]',
            'pool = ["10.20.0.99", "10.20.1.99"]',
            f"{SITE}:11: netboot.pool: holds the address of the gateway, which would be given "
            f"away; got 10.20.0.99 to 10.20.1.99{NEXT}let the pool begin behind 10.20.0.254, or "
            "end before it",
        ),
        (
            'interface = "eth1"',
            'interface = "eth1; reboot"',
            f'{SITE}:9: netboot.interface: bad value; expected a network interface like "eth1", '
            f'at most 15 characters, got "eth1; reboot"{READ}',
        ),
        (
            'domain = "lab.example"',
            'domain = "lab_1.example"',
            f'{SITE}:10: netboot.domain: bad value; expected a DNS domain like "boot.example" in '
            f'lower case, got "lab_1.example"{READ}',
        ),
        (
            'template = "web"',
            'template = "wbe"',
            f"{SITE}:13: netboot.template: there is no such template; expected db, plain or web, "
            f'got "wbe"{NEXT}write "web", or add recipes/templates/wbe.toml',
        ),
        (
            'template = "web"',
            "",
            f"{SITE}: netboot.template: missing key; expected a name of lower-case letters, "
            f'digits, dots, dashes and underscores{NEXT}add: template = "default"',
        ),
        (
            'template = "web"',
            'template = "web"\ninstall = "fedora"',
            f"{SITE}:14: netboot.install: there is no such installer or template; expected db, "
            f'debian, none, plain or web, got "fedora"{NEXT}add recipes/installers/fedora.toml',
        ),
        (
            'template = "web"',
            'template = "web"\nmedia = "nfs"',
            f"{SITE}:14: netboot.media: template plain cannot mount it: the pxerd of plain-lts "
            f'lacks the feature nfs; expected media = "http", or the feature, got "nfs"{NEXT}'
            'add "nfs" to the features of [pxerd] in release plain',
        ),
        *(
            (
                'domain = "lab.example"',
                f'domain = "lab.example"\nroot = "{root}"',
                f"{SITE}:11: netboot.root: bad value; expected an absolute path of letters, "
                f'digits, dots, dashes and underscores, without `..`, got "{root}"{READ}',
            )
            for root in ("srv/boot", "/", "/srv/../etc", "/srv//boot", "/srv/my boot", "/srv/$x/")
        ),
    ],
)
def test_a_network_that_cannot_be(lab, old, new, message):
    with_netboot(lab, old, new)
    assert lab.refusal() == message


def test_a_site_with_netboot_needs_an_inventory(lab):
    (lab.root / "recipes/hosts.toml").unlink()
    assert lab.refusal() == (
        "recipes/hosts.toml: is missing; expected the inventory, since recipes/site.toml has a "
        f"table [netboot]{NEXT}make it; an empty file is an inventory without hosts "
        "(docs/inventory.md)"
    )


def test_templates_say_nothing_of_it_where_the_site_says_nothing(lab):
    text = (lab.root / SITE).read_text()
    lab.write(SITE, text[: text.index("[netboot]")])
    lab.write(WEB, (lab.root / WEB).read_text() + '[netboot]\nboot = "disk"\n')
    assert lab.refusal() == (
        f"{WEB}:3: netboot: is of no use: recipes/site.toml has no table [netboot]{NEXT}"
        "add [netboot] to recipes/site.toml, or remove it here"
    )


@pytest.mark.parametrize(
    "line, message",
    [
        (
            'install = "fedora"',
            f"{WEB}:4: netboot.install: there is no such installer or template; expected db, "
            f'debian, none, plain or web, got "fedora"{NEXT}add recipes/installers/fedora.toml',
        ),
        (
            'template = "db"',
            f"{WEB}:4: netboot.template: unknown key; expected boot, install, loader, "
            f"uefi_loader, media or options{NEXT}remove it; docs/recipes.md describes every key",
        ),
        (
            'media = "nfs"\nboot = "template"',
            f"{WEB}:4: netboot.media: template web cannot mount it: the pxerd of alpine-lts lacks "
            f'the feature nfs; expected media = "http", or the feature, got "nfs"{NEXT}'
            'add "nfs" to the features of [pxerd] in release alpine',
        ),
    ],
)
def test_a_template_that_cannot_be(lab, line, message):
    if "nfs" in line:
        release = "recipes/releases/alpine.toml"
        text = (lab.root / release).read_text()
        lab.write(release, f'{text}[pxerd]\nfeatures = ["network"]\n')
    lab.write(WEB, f"{(lab.root / WEB).read_text()}[netboot]\n{line}\n")
    assert lab.refusal() == message


def test_a_feature_of_one_flavor_is_enough_for_it(lab):
    lab.write(
        "recipes/releases/plain.toml",
        'iso = "/isos/plain.iso"\nflavors = ["lts"]\n[pxerd]\nfeatures = ["network"]\n'
        '[pxerd.flavor.lts]\nfeatures = ["nfs"]\n',
    )
    with_netboot(lab, 'template = "web"', 'template = "web"\nmedia = "nfs"')
    assert inventory_arguments(lab.site())["nfs_templates"] == ("db", "plain", "web")


@pytest.mark.parametrize(
    "name, got", [("web", "a template called so"), ("none", "the word for no installer")]
)
def test_an_installer_has_a_name_of_its_own(lab, name, got):
    text = (lab.root / "recipes/installers/debian.toml").read_text()
    lab.write(f"recipes/installers/{name}.toml", text)
    assert lab.refusal() == (
        f'recipes/installers/{name}.toml: name: no installer can be called "{name}"; expected '
        f'another name, got {got}{NEXT}give it another name with: name = "..."'
    )


def test_a_site_without_installers_needs_no_directory(lab):
    (lab.root / "recipes/installers/debian.toml").unlink()
    (lab.root / "recipes/installers").rmdir()
    assert lab.site().installers == {}
