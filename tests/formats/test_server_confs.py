"""Server configurations as text: golden files, what one host changes, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from network_samples import INVENTORY, NETWORK, WRITERS, all_confs

from bootsmith.errors import RecipeError
from bootsmith.formats.dns_zone import write_named_conf, zone_files
from bootsmith.formats.dnsmasq_conf import write_dnsmasq_conf, write_dnsmasq_hosts, write_hosts_file
from bootsmith.formats.inventory import Host, Inventory, Role
from bootsmith.formats.isc_dhcpd_conf import write_dhcpd_conf
from bootsmith.formats.kea_conf import write_kea_conf
from bootsmith.formats.nbd_conf import write_nbd_server_conf
from bootsmith.formats.netboot_network import zone_serial

GOLDEN = Path(__file__).with_name("server_confs")
NAMES = sorted(all_confs())


def test_there_is_a_golden_file_for_each():
    assert sorted(path.name for path in GOLDEN.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_golden_file_is_written(name):
    assert all_confs()[name] == (GOLDEN / name).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_equal_input_gives_equal_bytes(name):
    assert all_confs()[name] == all_confs()[name]


# -- what one host changes ----------------------------------------------------------------------


NEW = Host(
    name="web-3",
    mac="52:54:01:02:00:09",
    template="web",
    loader="ipxe",
    uefi_loader="grub",
    address="10.20.1.9",
    management="10.20.200.9",
)


def lines_of(text):
    # A comma at the end is JSON's, and depends on what follows.
    return [line.rstrip(",") for line in text.splitlines()]


@pytest.mark.parametrize(
    "name, added",
    [
        ("dnsmasq-hosts", 1),
        ("hosts", 2),
        ("dhcpd.conf", 16),  # the first of its loaders: a group of its own
        ("kea-dhcp4.json", 7),  # the same: a class, and one for each kind of client
        ("db.boot.example", 2),
        ("db.20.10.in-addr.arpa", 2),
    ],
)
def test_a_new_host_adds_lines_and_changes_none(name, added):
    before = lines_of(all_confs()[name])
    after = lines_of(all_confs(NETWORK, with_host(NEW))[name])
    assert len(after) - len(before) == added
    rest = iter(after)
    assert [line for line in before if line not in rest] == []


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in NAMES
        if name.startswith(("dnsmasq.conf", "nginx", "tftpd", "ganesha", "exp", "n", "isc"))
    ],
)
def test_a_new_host_leaves_alone_what_servers_read_only_once(name):
    assert all_confs(NETWORK, with_host(NEW))[name] == all_confs()[name]


def with_host(*hosts):
    everybody = sorted([*INVENTORY.hosts, *hosts], key=lambda host: host.name)
    return replace(INVENTORY, hosts=tuple(everybody))


def test_hosts_are_a_line_each():
    # What takes ten times as long for ten times as many takes no longer for each.
    many = Inventory(
        unknown=Role(template="default"),
        hosts=tuple(
            Host(
                name=f"node-{number:05}",
                mac=f"52:54:01:02:{number >> 8:02x}:{number & 255:02x}",
                template="web",
                address=f"10.20.{number >> 8}.{number & 255}",
            )
            for number in range(2, 10_002)
        ),
    )
    confs = all_confs(NETWORK, many)
    empty = all_confs(NETWORK, Inventory(unknown=Role(template="default")))
    for name in ("dnsmasq-hosts", "hosts", "dhcpd.conf", "kea-dhcp4.json", "db.boot.example"):
        grown = len(confs[name].splitlines()) - len(empty[name].splitlines())
        assert 10_000 <= grown < 10_030
    hosts = json.loads(confs["kea-dhcp4.json"])["Dhcp4"]["subnet4"][0]["reservations"]
    assert len(hosts) == 10_000
    assert confs["dnsmasq.conf"] == empty["dnsmasq.conf"]


# -- networks ----------------------------------------------------------------------------------


BARE = replace(NETWORK, pool=None, gateway=None, dns=(), http_port=80)


def test_a_network_without_a_pool_serves_known_hosts_only():
    assert "dhcp-range=10.20.0.0,static,255.255.0.0,3600\n" in write_dnsmasq_conf(BARE, INVENTORY)
    assert "range " not in write_dhcpd_conf(BARE, INVENTORY)
    assert "pools" not in json.loads(write_kea_conf(BARE, INVENTORY))["Dhcp4"]["subnet4"][0]


def test_a_network_without_a_gateway_names_none():
    # Without a value dnsmasq sends none; without the line it would name itself.
    assert "dhcp-option=option:router\n" in write_dnsmasq_conf(BARE, INVENTORY)
    assert "routers" not in write_dhcpd_conf(BARE, INVENTORY)
    assert "routers" not in write_kea_conf(BARE, INVENTORY)


def test_the_head_node_is_asked_for_names_unless_told_otherwise():
    assert "dhcp-option=option:dns-server,10.20.0.1\n" in write_dnsmasq_conf(BARE, INVENTORY)
    assert "option domain-name-servers 10.20.0.1;" in write_dhcpd_conf(BARE, INVENTORY)


@pytest.mark.parametrize(
    "subnet, server, zones",
    [
        ("10.0.0.0/8", "10.0.0.1", ["10"]),
        ("10.20.0.0/16", "10.20.0.1", ["20.10"]),
        ("10.20.32.0/20", "10.20.32.1", [f"{number}.20.10" for number in range(32, 48)]),
        ("10.20.0.0/24", "10.20.0.1", ["0.20.10"]),
        ("10.20.0.64/27", "10.20.0.65", ["0.20.10"]),
        ("172.16.0.0/12", "172.16.0.1", [f"{number}.172" for number in range(16, 32)]),
    ],
)
def test_reverse_zones_are_whole_bytes_of_the_subnet(subnet, server, zones):
    network = replace(NETWORK, subnet=subnet, server=server)
    inventory = Inventory(
        unknown=Role(template="x"),
        hosts=(Host(name="a", mac="52:54:00:00:00:01", template="x", management="192.0.2.7"),),
    )
    files = zone_files(network, inventory)
    assert sorted(files) == sorted(
        ["db.boot.example", *(f"db.{zone}.in-addr.arpa" for zone in zones)]
    )
    named = write_named_conf(network, inventory)
    assert all(f"/conf/{name}" in named for name in files)
    text = "".join(files.values())
    assert text.count(" PTR ") == 1  # the head node; the management address is not ours
    assert "a-mgmt A 192.0.2.7" in text


def test_serials_grow_with_generations():
    ids = ["2026-11-20.9", "2026-11-21.1", "2026-11-21.3", "2026-11-21.10", "2026-11-22.1"]
    serials = [zone_serial(one) for one in ids]
    assert serials == sorted(set(serials))
    assert zone_serial("2026-11-21.3") == 2_077_800_003
    assert zone_serial("2026-11-21.3") > 2_026_112_199  # the usual form, on the same day
    with pytest.raises(ValueError, match="invalid literal"):
        zone_serial("latest")


# -- what is refused ----------------------------------------------------------------------------


def host(**values):
    return Host(**{"name": "bad", "mac": "52:54:00:00:00:01", "template": "web", **values})


LABEL = "lower-case letters, digits and inner dashes, at most 63"
BAD_HOSTS = [
    (host(name=""), "bad name", f"expected {LABEL}, got ''"),
    (host(name="Web"), "bad name", f"expected {LABEL}, got 'Web'"),
    (host(name="web.1"), "bad name", f"expected {LABEL}, got 'web.1'"),
    (host(name="web_1"), "bad name", f"expected {LABEL}, got 'web_1'"),
    (host(name="-web"), "bad name", f"expected {LABEL}, got '-web'"),
    (host(name="web-"), "bad name", f"expected {LABEL}, got 'web-'"),
    (host(name="web\n"), "bad name", f"expected {LABEL}, got 'web\\n'"),
    (host(name='a"; }'), "bad name", f"expected {LABEL}, got 'a\"; }}'"),
    (host(name="b\u00fccher"), "bad name", f"expected {LABEL}, got 'b\\xfccher'"),
    (host(name="*"), "bad name", f"expected {LABEL}, got '*'"),
    (
        host(name="x" * 64),
        "bad name",
        f"expected {LABEL}, got 64 characters, '{'x' * 64}'",
    ),
    (
        host(name="x" * 60, management="10.30.0.1"),
        "bad name",
        f"expected {LABEL}, got 65 characters, '{'x' * 60}-mgmt'",
    ),
]


def refused(write, network=NETWORK, inventory=INVENTORY):
    with pytest.raises(RecipeError) as caught:
        write(network, inventory)
    return str(caught.value)


@pytest.mark.parametrize(
    "write",
    [write_dnsmasq_conf, write_dnsmasq_hosts, write_hosts_file, write_dhcpd_conf, write_kea_conf,
     zone_files],
)  # fmt: skip
@pytest.mark.parametrize("bad, _, facts", BAD_HOSTS, ids=lambda value: ascii(value)[:20])
def test_names_that_a_zone_cannot_hold_are_refused_by_all(write, bad, _, facts):
    assert refused(write, inventory=with_host(bad)) == (
        f"recipes/hosts.toml: host {bad.name!a}: a DNS zone cannot hold this name; {facts}\n"
        "  next: give the host another name"
    )


def test_a_long_domain_leaves_less_room_for_names():
    network = replace(NETWORK, domain=".".join(["x" * 59] * 4))
    lone = Inventory(unknown=Role(template="x"), hosts=(host(name="a" * 13),))
    assert write_dnsmasq_hosts(network, lone)
    longer = replace(lone, hosts=(host(name="a" * 14),))
    assert refused(zone_files, network, longer) == (
        f"recipes/hosts.toml: host '{'a' * 14}': a DNS zone cannot hold this name; expected "
        "lower-case letters, digits and inner dashes, at most 13, got 14 characters, "
        f"'{'a' * 14}'\n  next: give the host another name"
    )
    longest = ".".join(["x" * 60] * 4)
    assert refused(zone_files, replace(NETWORK, domain=longest)) == (
        "recipes/site.toml: netboot: domain: not a DNS domain; expected one like boot.example, "
        f"got '{longest}'\n  next: correct it in the recipe"
    )


BAD_VALUES = [
    (host(mac="52:54:00:00:00:0G"), "not a MAC address; expected one like 52:54:01:02:00:07, "
     "got '52:54:00:00:00:0G'"),
    (host(mac="52:54:00:00:00:01;"), "not a MAC address; expected one like 52:54:01:02:00:07, "
     "got '52:54:00:00:00:01;'"),
    (host(address="10.20.0.7; }"), "not an IPv4 address; expected one like 10.20.0.7, "
     "got '10.20.0.7; }'"),
    (host(address="10.20.0.07"), "not an IPv4 address; expected one like 10.20.0.7, "
     "got '10.20.0.07'"),
    (host(management="bmc"), "not an IPv4 address; expected one like 10.20.0.7, got 'bmc'"),
    (host(loader="menu"), "no such loader; expected pxelinux or lpxelinux or ipxe, got 'menu'"),
    (host(uefi_loader="pxelinux"), "no such loader; expected ipxe or grub, got 'pxelinux'"),
]  # fmt: skip


@pytest.mark.parametrize("bad, problem", BAD_VALUES, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize(
    "write", [write_dnsmasq_hosts, write_dhcpd_conf, write_kea_conf, zone_files]
)
def test_values_that_a_syntax_could_not_hold_are_refused(write, bad, problem):
    assert refused(write, inventory=with_host(bad)) == (
        f"recipes/hosts.toml: host 'bad': {problem}\n  next: correct it in the recipe"
    )


TAKEN = [
    (host(name="web-1"), "web-1", "name", "host web-1"),
    (host(name="head"), "head", "name", "the head node"),
    (host(name="web-1-mgmt"), "web-1-mgmt", "name", "the management address of web-1"),
    (host(mac="52:54:01:02:00:07"), "52:54:01:02:00:07", "MAC address", "host web-1"),
    (host(address="10.20.1.7"), "10.20.1.7", "address", "host web-1"),
    (host(address="10.20.0.1"), "10.20.0.1", "address", "the head node"),
]


@pytest.mark.parametrize("bad, value, what, owner", TAKEN, ids=lambda value: ascii(value)[:20])
def test_what_two_have_is_refused(bad, value, what, owner):
    last = replace(INVENTORY, hosts=(*INVENTORY.hosts, bad))
    assert refused(write_dhcpd_conf, inventory=last) == (
        f"recipes/hosts.toml: host '{bad.name}': its {what} is taken; expected a {what} of its "
        f"own, got {value}, also of {owner}\n  next: change one of the two"
    )


@pytest.mark.parametrize(
    "prefix, problem",
    [
        ("52:54:1", "not a MAC prefix; expected one to five bytes like 52:54:01, got '52:54:1'"),
        ("52:54:01:02:03:04",
         "not a MAC prefix; expected one to five bytes like 52:54:01, got '52:54:01:02:03:04'"),
        ("52:*", "not a MAC prefix; expected one to five bytes like 52:54:01, got '52:*'"),
    ],
)  # fmt: skip
def test_prefixes_that_are_none_are_refused(prefix, problem):
    rules = (replace(INVENTORY.rules[0], prefix=prefix),)
    said = refused(write_kea_conf, inventory=replace(INVENTORY, rules=rules))
    assert said == (
        f"recipes/hosts.toml: rule '{prefix}': {problem}\n  next: correct it in the recipe"
    )


def test_a_prefix_that_two_rules_have_is_refused():
    twice = replace(INVENTORY, rules=(INVENTORY.rules[0], INVENTORY.rules[0]))
    assert refused(write_dhcpd_conf, inventory=twice) == (
        "recipes/hosts.toml: rule '52:54:01:02': its prefix is taken; expected a prefix of its "
        "own, got 52:54:01:02, also of 52:54:01:02\n  next: change one of the two"
    )


BAD_NETWORKS = [
    ({"server": "head"}, "server: not an IPv4 address; expected one like 10.20.0.7, got 'head'"),
    ({"gateway": "10.20.0"}, "gateway: not an IPv4 address; expected one like 10.20.0.7, "
     "got '10.20.0'"),
    ({"dns": ("10.20.0.1", "")}, "dns: not an IPv4 address; expected one like 10.20.0.7, got ''"),
    ({"pool": ("10.20.0.1", "x")}, "pool: not an IPv4 address; expected one like 10.20.0.7, "
     "got 'x'"),
    ({"subnet": "10.20.0.1/16"}, "subnet: not a subnet; expected one like 10.20.0.0/16, "
     "got '10.20.0.1/16'"),
    ({"interface": "eth0\nport=0"}, "interface: not an interface; expected a name like eth1, "
     "got 'eth0\\nport=0'"),
    ({"root": "/srv/my boot"}, "root: servers could not be told of this directory; expected an "
     "absolute path of letters, digits, dots, dashes and underscores, got '/srv/my boot'"),
    ({"root": "/srv/../etc"}, "root: servers could not be told of this directory; expected an "
     "absolute path of letters, digits, dots, dashes and underscores, got '/srv/../etc'"),
    ({"root": "/"}, "root: servers could not be told of this directory; expected an "
     "absolute path of letters, digits, dots, dashes and underscores, got '/'"),
    ({"domain": "boot..example"}, "domain: not a DNS domain; expected one like boot.example, "
     "got 'boot..example'"),
    ({"domain": 'x"; '}, "domain: not a DNS domain; expected one like boot.example, "
     "got 'x\"; '"),
]  # fmt: skip


@pytest.mark.parametrize("values, problem", BAD_NETWORKS, ids=lambda value: ascii(value)[:30])
@pytest.mark.parametrize("name", NAMES)
def test_networks_that_a_syntax_could_not_hold_are_refused_by_all(name, values, problem):
    network = replace(NETWORK, **values)
    assert refused(WRITERS.get(name, zone_files), network) == (
        f"recipes/site.toml: netboot: {problem}\n  next: correct it in the recipe"
    )


def test_an_image_that_no_export_can_be_called_like_is_refused():
    with pytest.raises(RecipeError) as caught:
        write_nbd_server_conf(NETWORK, INVENTORY, images=["usbkey/a]b/c.img"])
    assert str(caught.value) == (
        "nbd-server.conf: an export cannot be called like this image; expected letters, digits, "
        "dots, dashes, underscores and plus signs, got 'usbkey/a]b/c.img'\n"
        "  next: give the template or release another name"
    )
