"""Servers of files and names with the configurations that are made for them, really running.

A root as it is published lies at /srv/boot of a network of its own; clients are others' programs
where there are any, and ask on that network.
"""

from __future__ import annotations

import errno
import grp
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from network_samples import GENERATION_ID, INVENTORY, NETWORK, all_confs

from bootsmith.errors import ToolFailed, ToolMissing
from bootsmith.formats.arming import HOOK_INVENTORY, HOOK_PROGRAM, HOOK_SOCKET, armed_links
from bootsmith.formats.inventory import write_inventory
from bootsmith.formats.netboot_network import zone_serial
from bootsmith.formats.netboot_tree import render_text
from bootsmith.tools import run
from bootsmith.tools.dnsmasq import running_dnsmasq
from bootsmith.tools.fcgiwrap import running_fcgiwrap
from bootsmith.tools.ganesha import running_ganesha, why_not_exportable
from bootsmith.tools.isc_dhcpd import running_isc_dhcpd
from bootsmith.tools.kea import running_kea
from bootsmith.tools.listening import wait_until_listening
from bootsmith.tools.nginx import serving_site
from bootsmith.tools.rpcbind import running_rpcbind
from bootsmith.tools.run import run_program, running_program
from bootsmith.tools.tftpd import running_tftpd
from bootsmith.tools.unshare import Bridge, Place, own_places, private_network

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")

CHECKOUT = Path(__file__).parents[2]
READERS = CHECKOUT / "tests/readers"
OLDER_ID = "2026-11-20.1"
LOADER = os.urandom(70_001)  # many blocks of TFTP, and a last one that is not full
FILES = {
    "netboot/tftp/pxelinux.0": LOADER,
    "netboot/tftp/pxelinux.cfg/template-web": b"DEFAULT boot\n",
    "netboot/tftp/pxelinux.cfg/install-debian": b"DEFAULT install\n",
    "netboot/tftp/ipxe/install-debian.ipxe": b"#!ipxe\n",
    "netboot/tftp/boot.ipxe": b"#!ipxe\n",
    "netboot/tftp/ipxe.efi": b"MZ" + LOADER,
    "netboot/http/web.apkovl.tar.gz": b"\x1f\x8b" + LOADER,
    "netboot/http/boot/x-lts/modloop-lts": LOADER,
    "netboot/nfs/x/apks/.boot_repository": b"",
    "netboot/nfs/x/boot/modloop-lts": LOADER,
    "modloop/x-lts/modloop-lts": LOADER[:65536],
    "usbkey/web/web.img": LOADER[:4096] * 20,
    "MANIFEST.json": b"{}\n",
}


class HeadNode:
    """A serving root and a network on which it is at /srv/boot."""

    def __init__(self, here, stack, network=NETWORK):
        self.here, self.root, self.network = here, here / "root", network
        for identifier in (OLDER_ID, GENERATION_ID):
            self.publish(identifier)
        self.armed = self.root / "armed"
        self.armed.mkdir()
        os.chown(self.armed, 0, grp.getgrnam("www-data").gr_gid)
        self.armed.chmod(0o2775)
        for name, target in armed_links(INVENTORY.hosts[1].mac, "debian").items():
            (self.armed / name).symlink_to(target)
        self.inside = stack.enter_context(
            private_network(
                log=here / "network.log",
                needed_by="tests",
                bridge=Bridge(name=network.interface, address=f"{network.server}/16"),
                places=[
                    Place(directory=Path(network.root), shows=self.root),
                    Place(directory=Path(HOOK_PROGRAM).parent, shows=CHECKOUT / "contrib"),
                ],
            )
        )

    def publish(self, identifier, inventory=INVENTORY):
        """Lay a generation and make it current."""
        generation = self.root / "generations" / identifier
        files = dict(FILES)
        for name, text in all_confs(self.network, inventory).items():
            files[f"netboot/conf/{name}"] = render_text(text, identifier)
        files[f"netboot/{HOOK_INVENTORY}"] = write_inventory(inventory)
        for name, content in files.items():
            (generation / name).parent.mkdir(parents=True, exist_ok=True)
            (generation / name).write_bytes(content)
        link = generation / "netboot/tftp/pxelinux.cfg/52:54:01:02"
        link.symlink_to("template-web")
        self.point(identifier)

    def point(self, identifier):
        new = self.root / "new"
        new.symlink_to(f"generations/{identifier}")
        new.rename(self.root / "current")

    def conf(self, name):
        """Where a server finds a configuration, on its network."""
        return Path(f"{self.network.root}/current/netboot/conf/{name}")

    def log(self, name):
        return self.here / f"{name}.log"

    def scratch(self, name):
        (self.here / name).mkdir()
        return self.here / name

    def said(self, *argv, accepted=(0,)):
        """What a program on the network says."""
        done = run_program(["env", *self.inside, *argv], accepted_statuses=accepted)
        return done.stdout + done.stderr


@pytest.fixture
def node(tmp_path):
    with ExitStack() as stack:
        yield HeadNode(tmp_path, stack)


# -- TFTP ---------------------------------------------------------------------------------------


def dnsmasq(node):
    return running_dnsmasq(
        node.conf("dnsmasq.conf"), log=node.log("tftp"), inside=node.inside, needed_by="tests"
    )


def tftpd(node):
    return running_tftpd(
        node.conf("tftpd-hpa"), log=node.log("tftp"), inside=node.inside, needed_by="tests"
    )


@pytest.mark.parametrize("server", [dnsmasq, tftpd], ids=lambda server: server.__name__)
def test_tftp_gives_what_machines_ask_for_and_nothing_beside_the_root(node, server):
    (node.here / "secret").write_text("secret\n")
    web = "01-52-54-01-02-00-07"

    def got(name, *words):
        out = node.here / "got"
        out.unlink(missing_ok=True)
        argv = ("busybox", "tftp", "-g", *words, "-r", name, "-l", out, NETWORK.server)
        said = node.said(*argv, accepted=(0, 1))
        return out.read_bytes() if out.exists() and out.stat().st_size else said

    with server(node):
        assert got("current/netboot/tftp/pxelinux.0") == LOADER
        assert got("/current/netboot/tftp/pxelinux.0", "-b", "1408") == LOADER
        assert got(f"generations/{OLDER_ID}/netboot/tftp/pxelinux.0", "-b", "1408") == LOADER
        assert got("current/netboot/tftp/pxelinux.cfg/52:54:01:02") == b"DEFAULT boot\n"
        assert got(f"armed/{web}") == b"DEFAULT install\n"
        for name in ("armed/01-52-54-01-02-00-08", "../secret", "current/../../secret"):
            assert b"server error" in got(name)


# -- DNS ----------------------------------------------------------------------------------------


def looked_up(node, name):
    """Addresses or names, in whatever words nslookup says them."""
    said = node.said("busybox", "nslookup", name, NETWORK.server, accepted=(0, 1)).decode()
    return said.partition("\n\n")[2].strip()


def test_dnsmasq_knows_the_names_of_the_inventory(node):
    with dnsmasq(node):
        assert "Address: 10.20.1.7" in looked_up(node, "web-1.boot.example")
        assert "Address: 10.30.0.7" in looked_up(node, "web-1-mgmt.boot.example")
        assert "Address: 10.20.0.1" in looked_up(node, "head.boot.example")
        assert "name = web-2.boot.example" in looked_up(node, "10.20.1.8")
        assert "NXDOMAIN" in looked_up(node, "web-9.boot.example")


def wait_until(condition, process):
    """Return when it holds; fail if it does not within a minute, or the process has ended."""
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < end, "it never came to pass"


def process_called(name, started):
    """The process id of a program below the one that was started."""
    waiting = [started.pid]
    while waiting:
        one = waiting.pop()
        if Path(f"/proc/{one}/comm").read_text() == f"{name}\n":
            return one
        waiting += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    raise AssertionError(f"no {name}")


def test_a_sighup_is_all_that_dnsmasq_needs_for_another_generation(node):
    newcomer = replace(
        INVENTORY.hosts[1], name="web-9", mac="52:54:01:02:00:99", address="10.20.1.99"
    )
    with dnsmasq(node) as process:
        node.publish("2026-11-22.1", replace(INVENTORY, hosts=(*INVENTORY.hosts, newcomer)))
        assert "NXDOMAIN" in looked_up(node, "web-9.boot.example")
        os.kill(process_called("dnsmasq", process), signal.SIGHUP)
        wait_until(lambda: "Address: 10.20.1.99" in looked_up(node, "web-9.boot.example"), process)


MAIN = """
options { directory "/var/cache/bind"; listen-on { 10.20.0.1; }; listen-on-v6 { none; };
          pid-file none; recursion no; session-keyfile none; };
controls { };
include "%s";
"""
ASK_SERIAL = """
import socket, struct, sys
name = b"".join(bytes([len(part)]) + part.encode() for part in "boot.example".split(".")) + b"\\0"
asked = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 0) + name + struct.pack(">HH", 6, 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.settimeout(30)
    server.sendto(asked, ("10.20.0.1", 53))
    answer = server.recv(4096)
assert answer[3] & 15 == 0, answer
# The data of the first record: two names that no one needs here, then five numbers.
length = struct.unpack(">H", answer[len(asked) + 10 : len(asked) + 12])[0]
data = answer[len(asked) + 12 :][:length]
print(struct.unpack(">I", data[-20:-16])[0])
"""


def test_bind_follows_current_there_and_back(tmp_path):
    # Where Debian's AppArmor profile lets it read.
    network = replace(NETWORK, root="/etc/bind/boot")
    with ExitStack() as stack:
        node = HeadNode(tmp_path, stack, network)
        main = tmp_path / "root/named.conf"
        main.write_text(MAIN % node.conf("named.conf"))
        argv = ["named", "-f", "-g", "-n", "1", "-c", f"{network.root}/named.conf"]
        words = (*node.inside, *own_places([Place(directory=Path("/var/cache/bind"))]))
        process = stack.enter_context(
            running_program(argv, log=node.log("named"), inside=words, needed_by="tests")
        )
        wait_until_listening(process, 53, program="named", log=node.log("named"), protocol="udp")

        def serial():
            return int(node.said(sys.executable, "-c", ASK_SERIAL))

        def reload():
            os.kill(process_called("named", process), signal.SIGHUP)

        wait_until(lambda: "all zones loaded" in node.log("named").read_text(), process)
        assert serial() == zone_serial(GENERATION_ID)
        assert "Address: 10.20.1.7" in looked_up(node, "web-1.boot.example")
        assert "name = web-1.boot.example" in looked_up(node, "10.20.1.7")
        # The older one's files are older too, which BIND takes for a reason to leave them.
        for generation in (OLDER_ID, GENERATION_ID):
            node.point(generation)
            reload()
            wanted = zone_serial(generation)
            wait_until(lambda wanted=wanted: serial() == wanted, process)


# -- HTTP ---------------------------------------------------------------------------------------


ASK = """
import http.client, json, sys
source, path, headers = json.loads(sys.argv[1])
asked = http.client.HTTPConnection("10.20.0.1", 8080, source_address=(source, 0))
asked.putrequest("GET", path, skip_accept_encoding=True)
for name, value in headers.items():
    asked.putheader(name, value)
asked.endheaders()
answer = asked.getresponse()
sys.stdout.write(json.dumps([answer.status, dict(answer.getheaders()), answer.read().hex()]))
"""
FOR_EVER = "public, max-age=31536000, immutable"
BYTES, TEXT = "application/octet-stream", "text/plain"
HERE, NOW = f"/generations/{GENERATION_ID}/netboot", "/current/netboot"
SERVED = [
    (f"{HERE}/http/boot/x-lts/modloop-lts", BYTES, FOR_EVER),
    (f"{HERE}/http/web.apkovl.tar.gz", "application/gzip", FOR_EVER),
    (f"{HERE}/tftp/ipxe.efi", "application/efi", FOR_EVER),
    (f"/generations/{OLDER_ID}/netboot/tftp/pxelinux.0", BYTES, FOR_EVER),
    (f"{NOW}/tftp/boot.ipxe", TEXT, "no-store"),
    (f"{NOW}/tftp/pxelinux.cfg/52:54:01:02", BYTES, "no-store"),
    ("/armed/01-52-54-01-02-00-07.ipxe", TEXT, "no-store"),
]
UNSERVED = [
    "/",
    "/current",
    "/current/MANIFEST.json",
    f"{NOW}/conf/dnsmasq.conf",
    f"{NOW}/conf/inventory.jsonl",
    f"{NOW}/nfs/x/boot/modloop-lts",
    f"{NOW}/tftp/../conf/dnsmasq.conf",
    f"{NOW}/tftp/%2e%2e/conf/dnsmasq.conf",
    f"/generations/{GENERATION_ID}/usbkey/web/web.img",
    "/generations/x/y/netboot/http/z",
    "/armed/01-52-54-01-02-00-08.ipxe",
    "/boot-default/x",
]


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """The site and its hook, and a second address of this network as that of web-1."""
    with ExitStack() as stack:
        node = HeadNode(tmp_path_factory.mktemp("web"), stack)
        node.said("ip", "address", "add", "10.20.1.7/32", "dev", "lo")
        stack.enter_context(
            running_fcgiwrap(
                Path(HOOK_SOCKET),
                places=[],
                log=node.log("fcgiwrap"),
                inside=node.inside,
                needed_by="tests",
            )
        )
        stack.enter_context(
            serving_site(
                node.conf("nginx.conf"),
                port=NETWORK.http_port,
                address=NETWORK.server,
                scratch=node.scratch("nginx"),
                log=node.log("nginx"),
                inside=node.inside,
                needed_by="tests",
            )
        )
        yield node


def get(node, path, source=NETWORK.server, **headers):
    """Status, headers, content."""
    asked = json.dumps([source, path, headers])
    status, answered, content = json.loads(node.said(sys.executable, "-c", ASK, asked))
    return status, answered, bytes.fromhex(content)


@pytest.mark.parametrize("path, kind, kept", SERVED)
def test_machines_get_the_bytes_as_they_are(web, path, kind, kept):
    status, headers, content = get(web, path, **{"Accept-Encoding": "gzip"})
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, kind, kept)
    assert "Content-Encoding" not in headers
    assert content == (web.root / path[1:]).read_bytes()
    assert ("ETag" in headers) == (kept == FOR_EVER)


@pytest.mark.parametrize("path", UNSERVED)
def test_nothing_else_is_served(web, path):
    assert get(web, path)[0] == 404


def test_a_part_of_a_file_can_be_asked_for(web):
    path = f"{HERE}/http/boot/x-lts/modloop-lts"
    status, _, content = get(web, path, Range="bytes=1000-1999")
    assert (status, content) == (206, LOADER[1000:2000])


def test_what_current_leads_to_is_never_taken_for_what_it_led_to(web):
    path = f"{NOW}/tftp/boot.ipxe"
    _, headers, _ = get(web, path)
    since = {"If-Modified-Since": headers["Last-Modified"]}
    assert get(web, path, **since)[0] == 200
    assert get(web, f"{HERE}/tftp/boot.ipxe", **since)[0] == 304


def test_a_machine_that_has_installed_itself_is_disarmed(web):
    link = web.armed / "01-52-54-01-02-00-07"
    assert link.is_symlink()
    status, _, said = get(web, "/boot-default/", source="10.20.1.7")
    assert (status, said.partition(b" is disarmed")[0]) == (200, b"web-1 (52:54:01:02:00:07)")
    assert not link.is_symlink()


# -- NFS ----------------------------------------------------------------------------------------


READ_NFS = """
import sys
sys.path.insert(0, sys.argv[1])
from nfs4 import Nfs4
client = Nfs4("10.20.0.1", 2049, "srv")
sys.stdout.buffer.write(client.read(client.find(sys.argv[2]), 0, 1 << 20)[0])
"""
MOUNT = """
import socket, struct, sys


def text(words):
    return struct.pack(">I", len(words)) + words + bytes(-len(words) % 4)


def call(port, program, version, procedure, arguments):
    with socket.socket() as server:
        # From a port that only root has, as a kernel does.
        for own in range(600, 1000):
            try:
                server.bind((sys.argv[1], own))
                server.connect(("10.20.0.1", port))
                break
            except OSError:
                continue
        credential = struct.pack(">I", 1) + text(struct.pack(">I", 0) + text(b"x") + bytes(12))
        head = struct.pack(">IIIIII", 7, 0, 2, program, version, procedure)
        request = head + credential + bytes(8) + arguments
        server.sendall(struct.pack(">I", 1 << 31 | len(request)) + request)
        return server.recv(65536)[28:]


MOUNTD = (100005, 3)
port = struct.unpack(">I", call(111, 100000, 2, 3, struct.pack(">IIII", *MOUNTD, 6, 0)))[0]
answer = call(port, *MOUNTD, 1, text(sys.argv[2].encode()))
print(struct.unpack(">I", answer[:4])[0])
"""


@pytest.fixture(scope="module")
def nfs(tmp_path_factory):
    here = tmp_path_factory.mktemp("nfs")
    reason = why_not_exportable(here)
    if reason:
        pytest.skip(reason)
    with ExitStack() as stack:
        node = HeadNode(here, stack)
        node.said("ip", "address", "add", "192.0.2.7/32", "dev", "lo")
        stack.enter_context(
            running_rpcbind(log=node.log("rpcbind"), inside=node.inside, needed_by="tests")
        )
        stack.enter_context(
            running_ganesha(
                node.conf("ganesha.conf"),
                scratch=node.scratch("ganesha"),
                log=node.log("nfs"),
                inside=node.inside,
                needed_by="tests",
            )
        )
        yield node


def test_version_4_reads_a_generation(nfs):
    tree = f"boot/generations/{GENERATION_ID}/netboot/nfs/x"
    os.chmod(nfs.root / tree.removeprefix("boot/") / "boot/modloop-lts", 0o600)
    path = f"{tree}/boot/modloop-lts"
    assert nfs.said(sys.executable, "-c", READ_NFS, READERS, path) == LOADER


def test_a_new_generation_is_there_at_once(nfs):
    name = "2026-11-23.1"
    path = f"boot/generations/{name}/netboot/tftp/pxelinux.0"
    asked = (sys.executable, "-c", READ_NFS, READERS, path)
    assert b"NOENT" in nfs.said(*asked, accepted=(1,))
    nfs.publish(name)
    assert nfs.said(*asked) == LOADER


@pytest.mark.parametrize(
    "source, path, answer",
    [
        ("10.20.0.1", f"/srv/boot/generations/{GENERATION_ID}/netboot/nfs/x", 0),
        ("10.20.0.1", "/srv/boot/generations", 0),
        ("10.20.0.1", "/srv/boot/generations/none", errno.EACCES),
        ("10.20.0.1", "/srv/boot/armed", errno.EACCES),
        ("192.0.2.7", "/srv/boot/generations", errno.EACCES),
    ],
)
def test_version_3_mounts_trees_of_the_export_for_the_subnet_only(nfs, source, path, answer):
    assert nfs.said(sys.executable, "-c", MOUNT, source, path) == b"%d\n" % answer


# -- NBD ----------------------------------------------------------------------------------------


def test_nbd_server_exports_images_by_generation_read_only(node):
    for path in ("modloop/x-lts/modloop-lts", "usbkey/web/web.img"):
        # Nothing but the configuration is in the way of who would write.
        (node.root / "current" / path).chmod(0o666)
    # It goes to the background by itself.
    start = 'nbd-server -C "$1" && exec sleep infinity'
    argv = ["sh", "-c", start, "sh", node.conf("nbd-server.conf")]
    words = (*node.inside, *own_places([]))
    with running_program(argv, log=node.log("nbd"), inside=words, needed_by="tests") as process:
        wait_until_listening(process, 10809, program="nbd-server", log=node.log("nbd"))
        said = node.said(sys.executable, READERS / "nbd.py", NETWORK.server)
    exports = {export.pop("name"): export for export in map(json.loads, said.splitlines())}
    assert exports == {
        f"{GENERATION_ID}/{path}": {
            "size": len(FILES[path]),
            "read_only": True,
            "sha256": hashlib.sha256(FILES[path]).hexdigest(),
            "write_error": errno.EPERM,
        }
        for path in ("modloop/x-lts/modloop-lts", "usbkey/web/web.img")
    }


# -- what keeps a server from starting ----------------------------------------------------------


HOLD = """
import socket, sys, time
protocol, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
kind = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}[protocol]
holder = socket.socket(socket.AF_INET, kind)
holder.bind((address, port))
if protocol == "tcp":
    holder.listen()
time.sleep(600)
"""


def dhcpd(node, conf="dhcpd.conf"):
    return running_isc_dhcpd(
        node.conf(conf),
        interface=NETWORK.interface,
        scratch=node.scratch("dhcpd"),
        log=node.log("dhcp"),
        inside=node.inside,
        needed_by="tests",
    )


def kea(node):
    return running_kea(
        node.conf("kea-dhcp4.json"),
        scratch=node.scratch("kea"),
        log=node.log("dhcp"),
        inside=node.inside,
        needed_by="tests",
    )


def nginx(node):
    return serving_site(
        node.conf("nginx.conf"),
        port=NETWORK.http_port,
        address=NETWORK.server,
        scratch=node.scratch("nginx"),
        log=node.log("http"),
        inside=node.inside,
        needed_by="tests",
    )


def ganesha(node):
    return running_ganesha(
        node.conf("ganesha.conf"),
        scratch=node.scratch("ganesha"),
        log=node.log("nfs"),
        inside=node.inside,
        needed_by="tests",
    )


EVERYWHERE = "0.0.0.0"
TAKEN = [
    (dnsmasq, "dnsmasq", "udp", NETWORK.server, 53),
    (dnsmasq, "dnsmasq", "udp", EVERYWHERE, 67),
    (dnsmasq, "dnsmasq", "udp", NETWORK.server, 69),
    (dhcpd, "dhcpd", "udp", EVERYWHERE, 67),
    (kea, "kea-dhcp4", "udp", EVERYWHERE, 67),
    (tftpd, "in.tftpd", "udp", EVERYWHERE, 69),
    (nginx, "nginx", "tcp", NETWORK.server, 8080),
    (nginx, "nginx", "tcp", EVERYWHERE, 8080),
    (ganesha, "ganesha.nfsd", "tcp", EVERYWHERE, 2049),
]


@contextmanager
def holding(node, protocol, address, port):
    """Another program has that port, on the node's network."""
    argv = ["env", *node.inside, sys.executable, "-c", HOLD, protocol, address, str(port)]
    with running_program(argv) as holder:
        wait_until_listening(
            holder, port, program="python", log=node.log("holder"), protocol=protocol
        )
        yield


@pytest.mark.parametrize("server, program, protocol, address, port", TAKEN)
def test_a_port_that_is_taken_is_told(node, server, program, protocol, address, port):
    with (
        holding(node, protocol, address, port),
        pytest.raises(ToolFailed) as caught,
        server(node),
    ):
        pass
    assert str(caught.value) == (
        f"{program}: another program has {protocol.upper()} port {port}; expected a free port\n"
        f"  next: ss -ln --processes --{protocol} shows which one: end that, or do not start this"
    )


def test_the_same_port_of_another_address_is_no_hindrance(node):
    with holding(node, "tcp", "127.0.0.1", 8080), nginx(node):
        assert get(node, f"{NOW}/tftp/boot.ipxe")[0] == 200


@pytest.mark.parametrize(
    "server, program, package",
    [
        (dnsmasq, "dnsmasq", "dnsmasq-base"),
        (dhcpd, "dhcpd", "isc-dhcp-server"),
        (kea, "kea-dhcp4", "kea-dhcp4-server"),
        (tftpd, "in.tftpd", "tftpd-hpa"),
        (nginx, "nginx", "nginx-light"),
        (ganesha, "ganesha.nfsd", "nfs-ganesha"),
    ],
)
def test_a_server_that_is_missing_is_told(node, monkeypatch, server, program, package):
    there = node.scratch("programs")
    for name in ("env", "cat", "setpriv"):
        (there / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setattr(run, "PROGRAM_PATH", str(there))
    with pytest.raises(ToolMissing) as caught, server(node):
        pass
    assert str(caught.value) == (
        f"{program}: program not found, needed by tests; expected an executable in {there}\n"
        f"  next: sudo apt-get install {package}, or see all with: make doctor"
    )


def test_a_file_that_a_server_refuses_is_told(node):
    path = node.root / "current/netboot/conf/dhcpd.conf"
    path.write_text(path.read_text().replace("option routers", "option router"))
    with pytest.raises(ToolFailed) as caught, dhcpd(node):
        pass
    message = str(caught.value)
    assert message.startswith("dhcpd: ended before it served anything on port 67\n    ")
    assert message.endswith(f"  next: read {node.log('dhcp')}")
    assert "unknown option dhcp.router" in node.log("dhcp").read_text()


KILLED = """
import sys, time
from contextlib import ExitStack, contextmanager
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_head_node as these

with ExitStack() as stack:
    node = these.HeadNode(Path(sys.argv[2]), stack)
    for server in (these.dnsmasq, these.nginx):
        stack.enter_context(server(node))
    print(*node.inside, flush=True)
    time.sleep(600)
"""


def test_servers_that_became_another_user_go_with_us_too(tmp_path):
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests/samples")])
    argv = [sys.executable, "-c", KILLED, Path(__file__).parent, tmp_path]
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as process:
        words = process.stdout.readline().split()
        network = os.readlink(f"/proc/{words[words.index('--target') + 1]}/ns/net")
        assert {"dnsmasq\n", "nginx\n"} <= set(on_network(network))
        process.kill()
    end = time.monotonic() + 60
    while list(on_network(network)) and time.monotonic() < end:
        time.sleep(0.02)
    assert list(on_network(network)) == []


def on_network(network):
    """The programs that are on a network."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "ns/net") == network:
                yield (process / "comm").read_text()
        except OSError:
            continue  # it has ended
