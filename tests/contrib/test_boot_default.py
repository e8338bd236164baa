"""contrib/boot-default behind the real nginx and fcgiwrap, on a wire of its own.

One namespace is the head node, the other is whatever machine a test makes of it: its MAC and
its address are set before it asks.
"""

from __future__ import annotations

import grp
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bootsmith.formats.arming import HOOK_INVENTORY, HOOK_PROGRAM, HOOK_SOCKET, armed_links
from bootsmith.formats.inventory import Host, Inventory, Role, write_inventory
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.nginx_conf import write_nginx_conf
from bootsmith.tools.fcgiwrap import running_fcgiwrap
from bootsmith.tools.nginx import serving_site
from bootsmith.tools.run import run_program
from bootsmith.tools.unshare import Place, private_network

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")

HOOK = Path(__file__).resolve().parents[2] / "contrib/boot-default"
SERVER = "10.20.0.1"
NETWORK = Network(
    server=SERVER,
    subnet="10.20.0.0/16",
    interface="eth1",
    root="/srv/boot",
    domain="boot.example",
)
STRICT, LOOSE = 80, 81
WEB1, WEB2, DB1 = "52:54:01:02:00:01", "52:54:01:02:00:02", "52:54:01:03:00:01"
STRANGER = "52:54:99:00:00:01"
HOSTS = (
    Host(name="db1", mac=DB1, template="db", install="debian"),
    Host(name="web1", mac=WEB1, template="web", install="debian", address="10.20.0.11"),
    Host(name="web2", mac=WEB2, template="web", install="debian", address="10.20.0.12"),
)
ASK = """
import socket, sys
where, source = (sys.argv[1], int(sys.argv[2])), (sys.argv[3], 0)
with socket.create_connection(where, source_address=source) as server:
    server.sendall(bytes.fromhex(sys.argv[4]))
    answer = b"".join(iter(lambda: server.recv(65536), b""))
sys.stdout.buffer.write(answer)
"""


class HeadNode:
    """nginx, fcgiwrap and a serving root, and one machine on the same wire."""

    def __init__(self, here, server, client):
        self.here, self.server, self.client = here, server, client
        self.root = here / "boot"
        self.logs = [here / f"{port}.log" for port in (STRICT, LOOSE)]
        tree = self.root / "generations/2026-11-20.1/netboot"
        (tree / HOOK_INVENTORY).parent.mkdir(parents=True)
        inventory = Inventory(unknown=Role(template="default"), hosts=HOSTS)
        (tree / HOOK_INVENTORY).write_bytes(write_inventory(inventory))
        (self.root / "current").symlink_to("generations/2026-11-20.1")
        self.armed = self.root / "armed"
        self.armed.mkdir(exist_ok=True)

    def arm(self, *macs):
        for mac in macs:
            for name, target in armed_links(mac, "debian").items():
                (self.armed / name).symlink_to(target)

    @property
    def armed_macs(self):
        names = [name for name in os.listdir(self.armed) if "." not in name]
        assert len(os.listdir(self.armed)) == 3 * len(names)
        return sorted(name[3:].replace("-", ":") for name in names)

    def on(self, side, *argv):
        return run_program(["env", *side, *argv]).stdout

    def be(self, mac, address):
        """Let the machine at the other end of the wire be this one."""
        for words in (
            ("link", "set", "eth0", "down"),
            ("address", "flush", "dev", "eth0"),
            ("link", "set", "eth0", "address", mac),
            ("link", "set", "eth0", "up"),
            ("address", "add", f"{address}/16", "dev", "eth0"),
        ):
            self.on(self.client, "ip", *words)
        self.on(self.server, "ip", "neighbour", "flush", "dev", "eth1")

    def ask(self, request, address, *, side=None, port=STRICT):
        """(status, body) of a request: bytes, or the target of a GET."""
        if isinstance(request, str):
            request = f"GET {request} HTTP/1.0\r\nHost: {SERVER}\r\n\r\n".encode()
        words = (sys.executable, "-c", ASK, SERVER, str(port), address, request.hex())
        answer = self.on(side or self.client, *words)
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    @property
    def logged(self):
        """What the hook has written, as nginx keeps it."""
        lines = [line for log in self.logs for line in log.read_text().splitlines()]
        return [
            line.partition('"')[2].partition('" while reading')[0]
            for line in lines
            if "FastCGI sent in stderr" in line
        ]


@pytest.fixture(scope="module")
def serving():
    """The head node, with what it runs: nginx with the generated site, and fcgiwrap."""
    # Not pytest's directory: the hook runs as www-data, who may not enter that.
    with tempfile.TemporaryDirectory(prefix="boot-default-") as directory, ExitStack() as stack:
        here = Path(directory)
        here.chmod(0o755)
        root = Place(directory=Path(NETWORK.root), shows=here / "boot")
        root.shows.mkdir()
        server, client = (
            stack.enter_context(
                private_network(log=here / f"{name}.log", needed_by="tests", places=places)
            )
            for name, places in (("server", [root]), ("client", []))
        )
        machine = client[client.index("--target") + 1]
        for words in (
            ("link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", machine),
            ("address", "add", f"{SERVER}/16", "dev", "eth1"),
            ("link", "set", "eth1", "up"),
            # An address that is seen without a MAC, as those behind a router are.
            ("address", "add", "10.20.0.12/32", "dev", "lo"),
        ):
            run_program(["env", *server, "ip", *words])
        stack.enter_context(
            running_fcgiwrap(
                Path(HOOK_SOCKET),
                # www-data may not enter the checkout everywhere.
                places=[Place(directory=Path(HOOK_PROGRAM).parent, shows=installed(here))],
                log=here / "fcgiwrap.log",
                inside=server,
                needed_by="tests",
            )
        )
        for port in (STRICT, LOOSE):
            (here / str(port)).mkdir()
            stack.enter_context(
                serving_site(
                    write_site(here, port),
                    port=port,
                    address=SERVER,
                    scratch=here / str(port),
                    log=here / f"{port}.log",
                    inside=server,
                    needed_by="tests",
                )
            )
        yield HeadNode(here, server, client)


def installed(here):
    """A directory with the hook, as `install` puts it there."""
    directory = here / "lib"
    directory.mkdir()
    shutil.copyfile(HOOK, directory / "boot-default")
    (directory / "boot-default").chmod(0o755)
    return directory


def write_site(here, port):
    """The generated site; on the port LOOSE one that hands everything on to the hook."""
    inventory = Inventory(unknown=Role(template="default"), hosts=HOSTS)
    text = write_nginx_conf(replace(NETWORK, http_port=port), inventory)
    assert text.count("location = ") == 1
    site = here / f"site{port}"
    site.write_text(text.replace("location = ", "location ") if port == LOOSE else text)
    return site


@pytest.fixture
def node(serving):
    """The head node with nothing armed, nothing logged, and a directory that the hook may use."""
    for path in serving.armed.iterdir():
        path.unlink()
    os.chown(serving.armed, 0, grp.getgrnam("www-data").gr_gid)
    serving.armed.chmod(0o2775)
    for log in serving.logs:
        log.write_text("")
    return serving


def test_a_machine_that_asks_is_disarmed_and_no_other(node):
    node.arm(WEB1, WEB2)
    node.be(WEB1, "10.20.0.11")
    said = f"web1 ({WEB1}) is disarmed: it boots as its role says from now on"
    assert node.ask("/boot-default/", "10.20.0.11") == (200, f"{said}\n")
    assert node.armed_macs == [WEB2]
    assert node.logged == [f"boot-default: 10.20.0.11 /boot-default/: 200 {said}"]
    assert node.ask("/boot-default/", "10.20.0.11") == (200, f"web1 ({WEB1}) was not armed\n")


@pytest.mark.parametrize(
    "query",
    [f"?mac={WEB1}", "?mac=52-54-01-02-00-01", "?mac=52%3A54%3a01:02:00:01", "?"],
)
def test_a_machine_may_say_who_it_is(node, query):
    node.arm(WEB1)
    node.be(WEB1, "10.20.0.11")
    assert node.ask(f"/boot-default/{query}", "10.20.0.11")[0] == 200
    assert node.armed_macs == []


def test_a_machine_with_an_address_of_the_pool_is_known_by_its_mac(node):
    node.arm(DB1)
    node.be(DB1, "10.20.0.99")
    assert node.ask("/boot-default/", "10.20.0.99")[1].startswith(f"db1 ({DB1}) is disarmed")
    assert node.armed_macs == []


def test_who_takes_the_address_of_another_disarms_itself(node):
    node.arm(WEB1, WEB2)
    node.be(WEB2, "10.20.0.11")
    assert node.ask("/boot-default/", "10.20.0.11")[1].startswith(f"web2 ({WEB2}) is disarmed")
    assert node.armed_macs == [WEB1]


def test_behind_a_router_the_fixed_address_decides(node):
    node.arm(WEB1, WEB2)
    status, said = node.ask("/boot-default/", "10.20.0.12", side=node.server)
    assert (status, said.partition(":")[0]) == (200, "web2 (52")
    assert node.armed_macs == [WEB1]


def test_a_machine_that_left_the_inventory_can_still_finish(node):
    node.arm(STRANGER)
    node.be(STRANGER, "10.20.0.50")
    said = f"{STRANGER} is disarmed: it boots as its role says from now on\n"
    assert node.ask("/boot-default/", "10.20.0.50") == (200, said)
    assert node.ask("/boot-default/", "10.20.0.50") == (
        404,
        f"no machine is known by {STRANGER}\n",
    )


def test_the_head_node_itself_is_no_machine(node):
    assert node.ask("/boot-default/", SERVER, side=node.server) == (
        404,
        f"no machine is known by the address {SERVER}\n",
    )


NOT_SO = "ask for /boot-default/, with nothing behind it\n"
BAD_QUERY = "the query can be empty, or mac=52:54:01:02:03:04\n"


def plain(target, method="GET", extra=""):
    return f"{method} {target} HTTP/1.0\r\n{extra}\r\n".encode()


HOSTILE = [
    (f"/boot-default/?mac={WEB2}", 403,
     f"10.20.0.11 is {WEB1}, not {WEB2}: a machine disarms itself only\n"),
    ("/boot-default/?mac=01-52-54-01-02-00-02", 403, BAD_QUERY),
    (f"/boot-default/?mac={WEB1}&mac={WEB2}", 403, BAD_QUERY),
    (f"/boot-default/?mac={WEB1}/../x", 403, BAD_QUERY),
    (f"/boot-default/?mac={WEB1}%00", 403, BAD_QUERY),
    (f"/boot-default/?mac={WEB1}%0a", 403, BAD_QUERY),
    ("/boot-default/?mac=", 403, BAD_QUERY),
    ("/boot-default/?../../etc/passwd", 403, BAD_QUERY),
    ("/boot-default/?mac=\u0665\u0662:54:01:02:00:01", 403, BAD_QUERY),
    ("/boot-default/?" + "x" * 7000, 403, BAD_QUERY),
    ("/boot-default/?mac=" + "5" * 60000, 414, None),
    ("/boot-default/01-52-54-01-02-00-02", 403, NOT_SO),
    ("/boot-default/../armed/", 403, None),
    ("/boot-default/%2e%2e/armed/01-52-54-01-02-00-02", 404, None),
    ("/boot-default/..%2f..%2fetc/passwd", 400, None),
    ("/boot-default/;id", 403, NOT_SO),
    ("//boot-default//", 403, NOT_SO),
    ("/x/../boot-default/", 403, NOT_SO),
    (plain("/boot-default/", "HEAD"), 403, ""),
    (plain("/boot-default/", "PUT"), 403, "ask by GET or POST\n"),
    (plain("/boot-default/", "DELETE"), 403, "ask by GET or POST\n"),
    (plain("/boot-default/x", extra="X-Forwarded-For: 10.20.0.12\r\n"), 403, NOT_SO),
    (plain("/boot-default/", extra="Content-Length: 99999999\r\n"), 413, None),
]  # fmt: skip


@pytest.mark.parametrize("request_, status, body", HOSTILE)
def test_hostile_requests_change_nothing(node, request_, status, body):
    node.arm(WEB1, WEB2)
    node.be(WEB1, "10.20.0.11")
    if isinstance(request_, str):
        request_ = plain(request_)
    answer = node.ask(request_, "10.20.0.11", port=LOOSE)
    assert answer[0] == status
    if body is not None:
        assert answer[1] == body
    strict, _ = node.ask(request_, "10.20.0.11")
    assert strict in (status, 404)
    assert node.armed_macs == [WEB1, WEB2]
    for line in node.logged:
        assert line.isascii()
        assert len(line) < 300


def test_headers_name_nobody(node):
    node.arm(WEB1, WEB2)
    node.be(WEB1, "10.20.0.11")
    extra = f"Host: x\r\nX-Forwarded-For: 10.20.0.12\r\nX-Real-IP: 10.20.0.12\r\nMac: {WEB2}\r\n"
    assert node.ask(plain("/boot-default/", extra=extra), "10.20.0.11")[0] == 200
    assert node.armed_macs == [WEB2]


def test_a_directory_that_it_may_not_write_is_told(node):
    node.arm(WEB1)
    node.armed.chmod(0o755)
    node.be(WEB1, "10.20.0.11")
    said = "01-52-54-01-02-00-01 cannot be removed: Permission denied"
    assert node.ask("/boot-default/", "10.20.0.11") == (500, f"{said}\n")
    assert node.armed_macs == [WEB1]
    assert node.logged == [f"boot-default: 10.20.0.11 /boot-default/: 500 {said}"]


def test_a_damaged_inventory_is_told(node):
    path = node.root / "current/netboot" / HOOK_INVENTORY
    whole = path.read_bytes()
    node.be(WEB1, "10.20.0.11")
    try:
        path.write_bytes(whole.replace(b'{"host"', b'{"host'))
        status, said = node.ask("/boot-default/", "10.20.0.11")
    finally:
        path.write_bytes(whole)
    assert (status, said.partition("(")[0]) == (500, "the hook failed: JSONDecodeError")
