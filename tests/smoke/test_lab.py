"""The head node of rows that boot from the network: what it serves, and by whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from network_samples import GENERATION_ID, NETWORK, lay_confs

from bootsmith.errors import SmokeError
from bootsmith.smoke.lab import lay_serving_root, running_lab
from bootsmith.tools.ganesha import why_not_exportable
from bootsmith.tools.run import run_program


@pytest.fixture
def generation(tmp_path):
    """A generation with configurations, and something to load."""
    directory = tmp_path / "generations" / GENERATION_ID
    lay_confs(directory / "netboot/conf")
    loader = directory / "netboot/tftp/pxelinux.0"
    loader.parent.mkdir()
    loader.write_text("loader")
    (loader.parent / "default").symlink_to("pxelinux.0")
    (directory / "usbkey").mkdir()
    return directory


def test_the_root_is_laid_as_on_a_head_node(generation, tmp_path):
    before = os.umask(0o077)
    try:
        root = tmp_path / "root"
        root.mkdir()
        lay_serving_root(root, generation)
    finally:
        os.umask(before)
    place = root / "generations" / GENERATION_ID
    assert sorted(os.listdir(root)) == ["armed", "current", "generations"]
    assert os.readlink(root / "current") == f"generations/{GENERATION_ID}"
    assert os.listdir(place) == ["netboot"]
    assert os.listdir(root / "armed") == []
    loader = place / "netboot/tftp/pxelinux.0"
    assert loader.samefile(generation / "netboot/tftp/pxelinux.0")
    assert os.readlink(loader.with_name("default")) == "pxelinux.0"
    for directory in (root, root / "generations", place):
        assert directory.stat().st_mode & 0o7777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories to groups")
def test_the_hook_may_disarm_there(generation, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    armed = lay_serving_root(root, generation) / "armed"
    assert (armed.stat().st_mode & 0o7777, armed.group()) == (0o2775, "www-data")


def test_a_generation_without_netboot_tree(tmp_path):
    (tmp_path / "2026-11-21.3").mkdir()
    with pytest.raises(SmokeError) as caught:
        lay_serving_root(tmp_path, tmp_path / "2026-11-21.3")
    assert str(caught.value) == (
        "generation 2026-11-21.3: has nothing for machines that boot from the network; "
        "expected netboot/ in it\n"
        "  next: add [netboot] to recipes/site.toml; then doit build"
    )


SERVED = {
    "dnsmasq": {"dnsmasq.log"},
    "separate": {"dhcp.log", "tftp.log", "dns.log"},
    "kea": {"dhcp.log", "tftp.log", "dns.log"},
}


@pytest.mark.parametrize("servers", SERVED)
def test_every_constellation_serves_by_the_generations_own_files(generation, tmp_path, servers):
    reason = why_not_exportable(tmp_path)
    if reason:
        pytest.skip(reason)
    logs, scratch = tmp_path / "logs", tmp_path / "scratch"
    logs.mkdir()
    scratch.mkdir()
    (logs / "dhcp.log").write_text("of an older run")
    with running_lab(
        generation, network=NETWORK, servers=servers, guests=2, scratch=scratch, logs=logs
    ) as lab:
        tables = [f"/proc/net/{table}" for table in ("udp", "tcp", "tcp6")]
        sockets = run_program(["env", *lab.inside, "cat", *tables]).text.splitlines()
        local = [line.split()[1] for line in sockets if line.split()[0].endswith(":")]
        ports = {int(address.rpartition(":")[2], 16) for address in local}
        assert {53, 67, 69, 111, 2049, NETWORK.http_port} <= ports
        ends = run_program(["env", *lab.inside, "ls", "/sys/class/net/boot0/brif"]).text.split()
        assert {"guest0", "guest1"} <= set(ends)
        url = f"{NETWORK.url}/current/netboot/tftp/default"
        argv = ["env", *lab.inside, "busybox", "wget", "-q", "-O", "-", url]
        assert run_program(argv).text == "loader"
        served = run_program(["env", *lab.inside, "ls", NETWORK.root]).text.split()
        assert served == ["armed", "current", "generations"]
        lab.check_names({"web-1": "10.20.1.7", "web-2": "10.20.1.8"})
        with pytest.raises(SmokeError) as caught:
            lab.check_names({"web-1": "10.20.1.9"})
        said = str(caught.value)
        assert said.startswith(
            "name server of boot.example: does not know web-1.boot.example; "
            "expected Address: 10.20.1.9, got "
        )
        assert said.endswith("next: read dns.log or dnsmasq.log beside the console's log")
    common = {"network.log", "router.log", "http.log", "nfs.log", "rpcbind.log"}
    assert {path.name for path in logs.iterdir()} == common | SERVED[servers]
    assert "of an older run" not in "".join(path.read_text() for path in logs.iterdir())


def test_nothing_of_it_is_left(generation, tmp_path):
    reason = why_not_exportable(tmp_path)
    if reason:
        pytest.skip(reason)
    for name in ("logs", "scratch"):
        (tmp_path / name).mkdir()
    with running_lab(
        generation,
        network=NETWORK,
        servers="separate",
        guests=1,
        scratch=tmp_path / "scratch",
        logs=tmp_path / "logs",
    ) as lab:
        holder = Path("/proc", lab.inside[lab.inside.index("--target") + 1])
        network = os.readlink(holder / "ns/net")
        assert processes_on(network) >= {"dhcpd", "in.tftpd", "named", "nginx", "rpcbind"}
    assert processes_on(network) == set()


def processes_on(network):
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "ns/net") == network:
                found.add((process / "comm").read_text().strip())
        except OSError:
            continue  # it has ended
    return found
