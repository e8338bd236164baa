"""Programs that serve, on a network of their own and on this machine's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from bootsmith.errors import ToolFailed
from bootsmith.tools.ganesha import serving_nfs, why_not_exportable
from bootsmith.tools.listening import wait_until_listening
from bootsmith.tools.nginx import serving_http
from bootsmith.tools.rpcbind import running_rpcbind
from bootsmith.tools.run import run_program, running_program
from bootsmith.tools.silent_router import running_silent_router
from bootsmith.tools.unshare import Bridge, Place, private_network

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")


@pytest.fixture
def network(tmp_path):
    with private_network(log=tmp_path / "network.log", needed_by="tests") as inside:
        yield inside


def said(inside, *argv):
    # env finds the program; what runs is on the other side.
    return run_program(["env", *inside, *argv]).text


@needs_root
def test_nothing_but_loopback_is_on_the_network(network):
    interfaces = said(network, "cat", "/proc/net/dev").splitlines()[2:]
    assert [line.split()[0] for line in interfaces] == ["lo:"]
    assert said(network, "cat", "/sys/class/net/lo/flags") == "0x9\n"
    assert said(network, "ls", "/run").split() == ["mount"]  # mount(8)'s own


@needs_root
def test_servers_have_the_usual_ports_there_and_none_here(network, tmp_path):
    reason = why_not_exportable(tmp_path)
    if reason:
        pytest.skip(reason)
    medium = tmp_path / "medium"
    medium.mkdir()
    (medium / "modloop").write_text("content\n")
    with ExitStack() as servers:
        servers.enter_context(
            running_rpcbind(log=tmp_path / "rpcbind.log", inside=network, needed_by="tests")
        )
        for number, (serve, port) in enumerate([(serving_http, 80), (serving_nfs, 2049)]):
            scratch = tmp_path / f"scratch{number}"
            scratch.mkdir()
            words = {"name": "medium", "version": 3} if serve is serving_nfs else {}
            log = tmp_path / f"{port}.log"
            servers.enter_context(
                serve(medium, scratch=scratch, log=log, port=port, inside=network, **words)
            )
        url = "http://127.0.0.1/modloop"
        assert said(network, "busybox", "wget", "-q", "-O", "-", url) == "content\n"
        for port in (80, 111, 2049):
            with socket.socket() as attempt:
                assert attempt.connect_ex(("127.0.0.1", port)) != 0
    assert '"GET /modloop HTTP/1.1" 200' in (tmp_path / "80.log").read_text()


@needs_root
def test_the_network_goes_with_the_block(tmp_path):
    with private_network(log=tmp_path / "log", needed_by="tests") as inside:
        holder = Path("/proc", inside[inside.index("--target") + 1])
        assert holder.exists()
    assert not holder.exists()


KILLED = """
import sys, time
from pathlib import Path
from contextlib import ExitStack
from bootsmith.tools.nginx import serving_http
from bootsmith.tools.rpcbind import running_rpcbind
from bootsmith.tools.silent_router import running_silent_router
from bootsmith.tools.unshare import private_network

here = Path(sys.argv[1])
with ExitStack() as servers:
    inside = servers.enter_context(private_network(log=here / "network.log", needed_by="tests"))
    servers.enter_context(running_rpcbind(log=here / "log", inside=inside, needed_by="tests"))
    servers.enter_context(
        serving_http(here, scratch=here, log=here / "log", port=80, inside=inside)
    )
    print(*inside, flush=True)
    time.sleep(600)
"""


@needs_root
def test_nothing_survives_a_kill(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True
    ) as process:
        words = process.stdout.readline().split()
        network = os.readlink(f"/proc/{words[words.index('--target') + 1]}/ns/net")
        assert len(list(on_network(network))) >= 3
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


@needs_root
def test_a_bridge_has_the_address_and_the_ends_for_guests(tmp_path):
    bridge = Bridge(name="boot0", address="10.20.0.1/16", taps=("guest0", "guest1"))
    with private_network(log=tmp_path / "log", needed_by="tests", bridge=bridge) as inside:
        lines = said(inside, "ip", "-brief", "address").splitlines()
        addresses = {line.split()[0]: line.split()[2:] for line in lines}
        assert addresses == {
            "lo": ["127.0.0.1/8", "::1/128"],
            "boot0": ["10.20.0.1/16"],
            "guest0": [],
            "guest1": [],
            "plug@socket": addresses["plug@socket"],  # IPv6, where there is any
            "socket@plug": [],
        }
        assert said(inside, "cat", "/sys/class/net/boot0/operstate") == "up\n"
        # Without a carrier until a guest is there, or forwarding: never learning.
        states = "cd /sys/class/net/boot0/brif; grep . */state"
        assert said(inside, "sh", "-c", states).split() == [
            "guest0/state:0",
            "guest1/state:0",
            "socket/state:3",
        ]
        assert said(inside, "cat", "/sys/class/net/boot0/bridge/forward_delay") == "0\n"


ASK = """
import socket, struct, sys
number = socket.if_nametoindex("guest0")
link = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"guest0")
link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
link.settimeout(60)
while True:
    link.sendto(struct.pack(">BBHI", 133, 0, 0, 0), ("ff02::2", 0, 0, number))
    answer = link.recv(1500)
    if answer[0] == 134:
        break
print(answer[4:].hex())
"""
# A guest's end of the wire, as a pair instead of a tap.
PAIR = """
ip link del guest0; ip link add guest0 type veth peer name end
echo 0 >/proc/sys/net/ipv6/conf/guest0/disable_ipv6
echo 0 >/proc/sys/net/ipv6/conf/guest0/accept_dad
ip link set end master boot0 up; ip link set guest0 up
"""


@needs_root
def test_a_router_that_offers_nothing_answers_at_once(tmp_path):
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this kernel has no IPv6")
    bridge = Bridge(name="boot0", address="10.20.0.1/16", taps=("guest0",))
    log = tmp_path / "router.log"
    with (
        private_network(log=tmp_path / "log", needed_by="tests", bridge=bridge) as inside,
        running_silent_router(log=log, inside=inside, needed_by="tests"),
    ):
        said(inside, "sh", "-ec", PAIR)
        while "ff02::2" not in said(inside, "ip", "maddress", "show", "dev", "plug"):
            time.sleep(0.02)
        # Hop limit, no flags, no time as a router; neither reachable time nor prefix.
        assert said(inside, sys.executable, "-c", ASK) == "40000000" + "00" * 8 + "\n"
    assert log.read_text().startswith("asked by fe80::")


@needs_root
def test_places_are_others_inside_and_nothing_is_made_outside(tmp_path):
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    (outside / "kept/file").write_text("kept")
    (outside / "link").symlink_to("kept")
    (outside / "file").write_text("file")
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown/it").write_text("shown")
    places = [
        Place(directory=outside / "new/deep/root", shows=tmp_path / "shown"),
        Place(directory=outside / "new/deep/state"),
        Place(directory=tmp_path / "shown"),
    ]
    with private_network(log=tmp_path / "log", needed_by="tests", places=places) as inside:
        found = said(inside, "find", outside, "-printf", "%P %l\n").split("\n")
        assert sorted(found)[2:] == [
            "file ",
            "kept ",
            "kept/file ",
            "link kept",
            "new ",
            "new/deep ",
            "new/deep/root ",
            "new/deep/root/it ",
            "new/deep/state ",
        ]
        assert said(inside, "cat", outside / "link/file", outside / "file") == "keptfile"
        said(inside, "touch", outside / "new/deep/state/x", outside / "new/deep/root/y")
        assert said(inside, "ls", tmp_path / "shown") == ""
    assert sorted(path.name for path in outside.iterdir()) == ["file", "kept", "link"]
    assert sorted(path.name for path in (tmp_path / "shown").iterdir()) == ["it", "y"]


@needs_root
def test_a_place_directly_below_the_root_must_be_there(tmp_path):
    places = [Place(directory=Path("/nowhere/root"))]
    unmade = private_network(log=tmp_path / "log", needed_by="tests", places=places)
    with pytest.raises(ToolFailed) as caught, unmade:
        pass
    assert str(caught.value) == (
        "unshare: could not make a network of its own\n"
        "    /nowhere does not exist, and only the machine itself can make it\n"
        "  next: run as root; a container needs the capability SYS_ADMIN"
    )


def test_who_may_not_make_a_network_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("bootsmith.tools.unshare._LOOPBACK", "echo of no use >&2; exit 1")
    with pytest.raises(ToolFailed) as caught, private_network(log=tmp_path / "log", needed_by="x"):
        pass
    message = str(caught.value)
    assert message.startswith("unshare: could not make a network of its own\n    ")
    assert message.endswith("next: run as root; a container needs the capability SYS_ADMIN")


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path):
    log = tmp_path / "log"
    argv = ["sh", "-c", "echo no such option; exit 1"]
    with running_program(argv, log=log) as process, pytest.raises(ToolFailed) as caught:
        wait_until_listening(process, 80, program="sh", log=log)
    assert str(caught.value) == (
        f"sh: ended before it served anything on port 80\n    no such option\n  next: read {log}"
    )


def test_a_port_that_another_holds_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr("bootsmith.tools.listening._PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        took_long = pytest.raises(ToolFailed, match=r"took more than 0\.2 s")
        with running_program(["sleep", "60"]) as process, took_long:
            wait_until_listening(process, port, program="sleep", log=tmp_path / "none")


def test_one_that_listens_is_seen(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = ["env", sys.executable, "-c", "import socket, sys, time; s = socket.create_server(("
            "'127.0.0.1', int(sys.argv[1]))); time.sleep(60)", f"{port}"]  # fmt: skip
    with running_program(argv) as process:
        wait_until_listening(process, port, program="python", log=tmp_path / "none")


def test_what_cannot_be_exported_is_told(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_not_exportable(Path("/")) == "nfs-ganesha opens files by handle, which only root may"
    monkeypatch.undo()
    if os.geteuid() == 0:
        assert str(why_not_exportable(Path("/proc"))).startswith(
            "the file system of /proc has no handles"
        )
