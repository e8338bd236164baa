"""Three DHCP servers with the files that are made for them, and one table of machines.

Each is really running, on a wire of its own, and gets what firmware sends; all three must say
the same thing.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from network_samples import NETWORK, lay_confs

from bootsmith.tools.dnsmasq import running_dnsmasq
from bootsmith.tools.isc_dhcpd import running_isc_dhcpd
from bootsmith.tools.kea import running_kea
from bootsmith.tools.run import run_program
from bootsmith.tools.unshare import Bridge, Place, private_network

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")

WIRE = Path(__file__).parents[1] / "readers/dhcp_wire.py"
# -- who asks: what firmware says of itself, in options 93 (architecture), 60, 77 and 175 ----------
PXE_BIOS = {93: b"\0\0", 60: b"PXEClient:Arch:00000:UNDI:002001"}
OLD_ROM = {60: b"PXEClient"}
PXE_UEFI = {93: b"\0\7", 60: b"PXEClient:Arch:00007:UNDI:003001"}
PXE_UEFI_9 = {93: b"\0\x09", 60: b"PXEClient:Arch:00009:UNDI:003001"}
IPXE_BIOS = {**PXE_BIOS, 77: b"iPXE", 175: bytes.fromhex("b105018086100e")}
IPXE_UEFI = {**PXE_UEFI, 77: b"iPXE"}
IPXE_UEFI_175 = {**PXE_UEFI, 175: b"\x01\x01\x01"}
HTTP = {93: b"\0\x10", 60: b"HTTPClient:Arch:00016:UNDI:003001"}
NO_HTTP = {93: b"\0\x10", 60: b"PXEClient:Arch:00016:UNDI:003001"}
UEFI_32 = {93: b"\0\6", 60: b"PXEClient:Arch:00006:UNDI:003001"}
SYSTEM = {60: b"udhcp 1.36.1", 61: b"\xff12345678"}
ANOTHER_ID = {**PXE_BIOS, 61: b"\0" + bytes(range(16))}
# -- what it is told -------------------------------------------------------------------------------
TFTP = "current/netboot/tftp/"
BY_HTTP = "http://10.20.0.1:8080/current/netboot/"
SCRIPT = f"{BY_HTTP}tftp/boot.ipxe"
PXELINUX = {208: "f100747e", 210: TFTP.encode().hex(), 211: "0000000a"}
HTTP_CLASS = {60: b"HTTPClient".hex()}
# To iPXE alone, whatever it loads: not to wait for a proxy.
NO_PROXY = {175: "b00101"}


def rule(prefix):
    return {209: f"pxelinux.cfg/{prefix}".encode().hex()}


# Of whom, MAC, address (None: of the pool), and for each kind of client the file that it loads
# and what it is told beside: all of 60, 175 and 208 to 211, asked for or not.
WEB_1 = ("web-1", "52:54:01:02:00:07", "10.20.1.7", {})
WEB_2 = ("web-2", "52:54:01:02:00:08", "10.20.1.8", {})
DB_1 = ("db-1", "52:54:09:00:00:01", None, {})
RULE_WEB = (None, "52:54:01:02:aa:01", None, rule("52:54:01:02"))
RULE_DB = (None, "52:54:02:99:aa:01", None, rule("52:54:02"))
UNKNOWN = (None, "52:54:77:00:00:01", None, {})
TABLE = [
    (WEB_1, PXE_BIOS, f"{TFTP}pxelinux.0", PXELINUX),
    (WEB_1, OLD_ROM, f"{TFTP}pxelinux.0", PXELINUX),
    (WEB_1, IPXE_BIOS, f"{TFTP}pxelinux.0", PXELINUX),
    (WEB_1, SYSTEM, f"{TFTP}pxelinux.0", PXELINUX),
    (WEB_1, PXE_UEFI, f"{TFTP}snponly.efi", {}),
    (WEB_1, PXE_UEFI_9, f"{TFTP}snponly.efi", {}),
    (WEB_1, IPXE_UEFI, SCRIPT, {}),
    (WEB_1, IPXE_UEFI_175, SCRIPT, {}),
    (WEB_1, HTTP, f"{BY_HTTP}http/ipxe.efi", HTTP_CLASS),
    (WEB_1, NO_HTTP, "", {}),
    (WEB_1, UEFI_32, "", {}),
    (WEB_2, PXE_BIOS, f"{TFTP}lpxelinux.0", PXELINUX),
    (WEB_2, PXE_UEFI, f"{TFTP}grubnetx64.efi", {}),
    (WEB_2, IPXE_UEFI, f"{TFTP}grubnetx64.efi", {}),
    (WEB_2, HTTP, f"{BY_HTTP}http/grubnetx64.efi", HTTP_CLASS),
    (DB_1, PXE_BIOS, f"{TFTP}undionly.kpxe", PXELINUX),
    (DB_1, IPXE_BIOS, SCRIPT, PXELINUX),
    (DB_1, PXE_UEFI, f"{TFTP}snponly.efi", {}),
    (DB_1, IPXE_UEFI, SCRIPT, {}),
    (RULE_WEB, PXE_BIOS, f"{TFTP}pxelinux.0", PXELINUX),
    (RULE_WEB, IPXE_BIOS, f"{TFTP}pxelinux.0", PXELINUX),
    (RULE_WEB, PXE_UEFI, f"{TFTP}snponly.efi", {}),
    (RULE_WEB, IPXE_UEFI, SCRIPT, {}),
    (RULE_DB, PXE_BIOS, f"{TFTP}undionly.kpxe", PXELINUX),
    (RULE_DB, IPXE_BIOS, SCRIPT, PXELINUX),
    (RULE_DB, PXE_UEFI, f"{TFTP}grubnetx64.efi", {}),
    (RULE_DB, HTTP, f"{BY_HTTP}http/grubnetx64.efi", HTTP_CLASS),
    (UNKNOWN, PXE_BIOS, f"{TFTP}pxelinux.0", PXELINUX),
    (UNKNOWN, ANOTHER_ID, f"{TFTP}pxelinux.0", PXELINUX),
    (UNKNOWN, SYSTEM, f"{TFTP}pxelinux.0", PXELINUX),
    (UNKNOWN, PXE_UEFI, f"{TFTP}snponly.efi", {}),
    (UNKNOWN, IPXE_UEFI, SCRIPT, {}),
    (UNKNOWN, HTTP, f"{BY_HTTP}http/ipxe.efi", HTTP_CLASS),
]
FORCED = {"60", "175", "208", "209", "210", "211"}
COMMON = {
    "1": "ffff0000",  # mask
    "3": "0a1400fe",  # gateway
    "6": "0a1400010a140002",  # name servers
    "15": b"boot.example".hex(),
    "28": "0a14ffff",  # broadcast
    "51": "00000e10",  # lease
    "53": "05",  # ACK
    "54": "0a140001",  # who says so
}
# What only one of them says, and no one needs: when to ask again (dnsmasq), and the client's own
# id (Kea).
BESIDE = {"58", "59", "61"}


@contextmanager
def dnsmasq(conf, scratch, log, inside):
    with running_dnsmasq(conf / "dnsmasq.conf", log=log, inside=inside, needed_by="tests"):
        yield


@contextmanager
def dhcpd(conf, scratch, log, inside):
    with running_isc_dhcpd(
        conf / "dhcpd.conf",
        interface=NETWORK.interface,
        scratch=scratch,
        log=log,
        inside=inside,
        needed_by="tests",
    ):
        yield


@contextmanager
def kea(conf, scratch, log, inside):
    with running_kea(
        conf / "kea-dhcp4.json", scratch=scratch, log=log, inside=inside, needed_by="tests"
    ):
        yield


@contextmanager
def network(here):
    """A wire with a server's end, where /srv/boot is, and a machine's."""
    root = here / "root"
    lay_confs(root / "current/netboot/conf")
    with private_network(
        log=here / "network.log",
        needed_by="tests",
        bridge=Bridge(name=NETWORK.interface, address=f"{NETWORK.server}/16", taps=("wire",)),
        places=[Place(directory=Path(NETWORK.root), shows=root)],
    ) as inside:
        yield root / "current/netboot/conf", inside


@pytest.fixture(scope="module", params=[dnsmasq, dhcpd, kea], ids=lambda server: server.__name__)
def answers(request, tmp_path_factory):
    """What a server tells every machine of the table, in one run of it."""
    here = tmp_path_factory.mktemp("dhcp")
    (here / "scratch").mkdir()
    machines = [
        {"mac": mac, "options": {code: data.hex() for code, data in said.items()}}
        for (_, mac, _, _), said, _, _ in TABLE
    ]
    with (
        network(here) as (conf, inside),
        request.param(conf, here / "scratch", here / "log", inside),
    ):
        asked = json.dumps(machines).encode()
        argv = ["env", *inside, sys.executable, WIRE, "wire"]
        return [json.loads(line) for line in run_program(argv, stdin=asked).text.splitlines()]


@pytest.mark.parametrize("number", range(len(TABLE)))
def test_a_machine_is_told_what_the_table_says(answers, number):
    (name, _, address, beside), said, file, forced = TABLE[number]
    answer = answers[number]
    assert answer is not None
    options = {code: data for code, data in answer["options"].items() if code not in BESIDE}
    told = {code: options.pop(code) for code in FORCED if code in options}
    no_proxy = NO_PROXY if {77, 175} & said.keys() else {}
    expected = {**forced, **beside, **no_proxy}
    assert told == {str(code): data for code, data in expected.items()}
    assert answer["file"] == file
    assert answer["server"] == NETWORK.server
    assert options.pop("12", None) == (name.encode().hex() if name else None)
    assert options == COMMON
    if address is None:
        assert answer["address"].startswith("10.20.250.")
    else:
        assert answer["address"] == address


def test_a_machine_keeps_its_address_whatever_speaks_for_it(answers):
    kept = {}
    for (_, mac, _, _), answer in zip((row[0] for row in TABLE), answers, strict=True):
        kept.setdefault(mac, set()).add(answer["address"])
    assert all(len(addresses) == 1 for addresses in kept.values())
    assert len({address for (address,) in kept.values()}) == len(kept)
