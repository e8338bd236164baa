"""Every configuration before its own daemon's checker, which is shown a breach as well."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from network_samples import GENERATION_ID, INVENTORY, NETWORK, lay_confs

from bootsmith.formats.netboot_network import zone_serial
from bootsmith.tools.run import run_program
from bootsmith.tools.unshare import Bridge, Place, own_places, private_network

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="places of its own need root")


@pytest.fixture
def conf(tmp_path):
    lay_confs(tmp_path / "conf")
    return tmp_path / "conf"


@pytest.fixture
def inside(tmp_path):
    """A network with the interface of the recipe."""
    bridge = Bridge(name=NETWORK.interface, address=f"{NETWORK.server}/16")
    with private_network(log=tmp_path / "log", needed_by="tests", bridge=bridge) as words:
        yield words


def check(argv, inside=()):
    """What a checker says."""
    done = run_program(["env", *inside, *argv], accepted_statuses=range(256))
    return (done.stdout + done.stderr).decode()


def spoil(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def dnsmasq(path):
    return check(["dnsmasq", "--test", "-C", path])


def test_dnsmasq_takes_its_file(conf):
    assert dnsmasq(conf / "dnsmasq.conf") == "dnsmasq: syntax check OK.\n"


def test_dnsmasq_would_see_a_breach(conf):
    spoil(conf / "dnsmasq.conf", "dhcp-no-override", "dhcp-no-overide")
    assert "bad option" in dnsmasq(conf / "dnsmasq.conf")


def dhcpd(conf):
    # Where Debian's AppArmor profile lets it read.
    places = own_places([Place(directory=Path("/etc/dhcp"), shows=conf)])
    # Not -q: it keeps quiet about errors too.
    said = check(["dhcpd", "-4", "-t", "-cf", "/etc/dhcp/dhcpd.conf"], places)
    return said.partition("www.isc.org/software/dhcp/\n")[2]


@needs_root
def test_dhcpd_takes_its_file(conf):
    assert dhcpd(conf).splitlines() == [
        "Config file: /etc/dhcp/dhcpd.conf",
        "Database file: /var/lib/dhcp/dhcpd.leases",
        "PID file: /var/run/dhcpd.pid",
    ]


@needs_root
def test_dhcpd_would_see_a_breach(conf):
    spoil(conf / "dhcpd.conf", "} elsif", "} elseif")
    assert "Configuration file errors encountered" in dhcpd(conf)


def kea(conf, inside):
    places = own_places([Place(directory=Path("/etc/kea"), shows=conf)])
    return check(["kea-dhcp4", "-t", "/etc/kea/kea-dhcp4.json"], (*inside, *places))


@needs_root
def test_kea_takes_its_file(conf, inside):
    said = kea(conf, inside)
    assert "ERROR" not in said
    assert "WARN" not in said


@needs_root
def test_kea_would_see_a_breach(conf, inside):
    spoil(conf / "kea-dhcp4.json", "member('ipxe')", "member(ipxe)")
    assert "DHCP4_PARSER_FAIL" in kea(conf, inside)


def nginx(conf, inside):
    main = conf / "main.conf"
    main.write_text(f"events {{}} http {{ include {conf}/nginx.conf; }}")
    return check(["nginx", "-t", "-q", "-c", main, "-e", "stderr"], inside)


@needs_root
def test_nginx_takes_its_site(conf, inside):
    assert nginx(conf, inside) == ""


@needs_root
def test_nginx_would_see_a_breach(conf, inside):
    spoil(conf / "nginx.conf", "gzip off;", "gzip of;")
    assert 'invalid value "of" in "gzip" directive' in nginx(conf, inside)


def test_bind_takes_its_lines(conf):
    assert check(["named-checkconf", conf / "named.conf"]) == ""


def test_bind_would_see_a_breach(conf):
    spoil(conf / "named.conf", "type primary", "type first")
    assert "'first' unexpected" in check(["named-checkconf", conf / "named.conf"])


def zone(conf, name):
    # -i full: every name that a record points to has to be there.
    argv = ["named-checkzone", "-i", "full", "-o", "-", "-D", name, conf / f"db.{name}"]
    return check(argv).splitlines()


def records(lines, kind):
    """(owner, data) of what the checker has read, absolute names."""
    words = [line.split() for line in lines]
    return {(word[0], word[4]) for word in words if len(word) > 4 and word[3] == kind}


def test_bind_reads_the_inventory_from_the_zones(conf):
    lines = zone(conf, "boot.example")
    assert f"zone boot.example/IN: loaded serial {zone_serial(GENERATION_ID)}" in lines
    addresses = {("head.boot.example.", "10.20.0.1")}
    for host in INVENTORY.hosts:
        for suffix, address in (("", host.address), ("-mgmt", host.management)):
            if address:
                addresses.add((f"{host.name}{suffix}.boot.example.", address))
    assert records(lines, "A") == addresses
    reverse = zone(conf, "20.10.in-addr.arpa")
    assert records(reverse, "PTR") == {
        (f"{'.'.join(reversed(address.split('.')))}.in-addr.arpa.", name)
        for name, address in addresses
        if address.startswith("10.20.")
    }


def test_bind_would_see_a_breach_in_a_zone(conf):
    spoil(conf / "db.boot.example", "web-1 A", "web_1 A")
    assert any("bad owner name" in line for line in zone(conf, "boot.example"))


def exportfs(tmp_path, line):
    (tmp_path / "exports.d").mkdir()
    (tmp_path / "exports.d/boot.exports").write_text(line)
    (tmp_path / "state").mkdir()
    (tmp_path / "state/etab").touch()
    places = own_places(
        [
            Place(directory=Path("/etc/exports.d"), shows=tmp_path / "exports.d"),
            Place(directory=Path("/var/lib/nfs"), shows=tmp_path / "state"),
            Place(directory=Path("/srv/boot/generations")),
        ]
    )
    return check(["exportfs", "-ra"], places), (tmp_path / "state/etab").read_text()


@needs_root
def test_the_kernels_server_takes_its_line(conf, tmp_path):
    said, exported = exportfs(tmp_path, (conf / "exports").read_text())
    assert said == ""
    where, _, options = exported.partition("\t")
    assert where == "/srv/boot/generations"
    assert options.startswith("10.20.0.0/16(ro,sync,")
    assert {"no_root_squash", "no_subtree_check"} <= set(options.rstrip(")\n").split(","))


@needs_root
def test_the_kernels_server_would_see_a_breach(conf, tmp_path):
    line = (conf / "exports").read_text().replace("ro,", "readonly,")
    said, exported = exportfs(tmp_path, line)
    assert 'unknown keyword "readonly"' in said
    assert exported == ""
