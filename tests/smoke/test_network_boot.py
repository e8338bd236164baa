"""A generation made ready to boot from the network: its tree against its index, its machines."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import pytest
from netboot_site import write_netboot_site

from bootsmith.errors import SmokeError
from bootsmith.files.manifest import read_manifest
from bootsmith.formats.netboot_network import Network
from bootsmith.site.network_guest import NetworkGuest
from bootsmith.site.scenarios import Scenario
from bootsmith.smoke.guest import RunLogs
from bootsmith.smoke.network_boot import NetworkBoot
from bootsmith.smoke.report import Report

NETWORK = Network(
    server="10.20.0.1",
    subnet="10.20.0.0/16",
    interface="boot0",
    root="/srv/boot",
    domain="boot.example",
    pool=("10.20.250.1", "10.20.250.254"),
)
ROW = Scenario(
    name="row",
    summary="",
    medium="network",
    guests=(
        NetworkGuest(known="unknown"),
        NetworkGuest(known="prefix", firmware="uefi", network_boot="http"),
    ),
)
CONFIGURATION = "tftp/pxelinux.cfg/template-web"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    directory = tmp_path_factory.mktemp("netboot")
    write_netboot_site(directory).run()
    return (directory / "artifacts/current").resolve()


@pytest.fixture
def generation(built, tmp_path):
    directory = tmp_path / built.name
    shutil.copytree(built, directory, symlinks=True, copy_function=os.link)
    return directory


def made_ready(generation):
    return NetworkBoot.choose(
        ROW,
        generation=generation,
        manifest=read_manifest(generation),
        network=NETWORK,
        template=None,
    )


def test_a_tree_as_it_was_built_is_taken(generation):
    made_ready(generation).check_tree()


def edit(path, text):
    path.unlink()
    path.write_text(text)


def relink(path):
    path.unlink()
    path.symlink_to("template-db")


@pytest.mark.parametrize(
    "path,damage",
    [
        (CONFIGURATION, lambda path: edit(path, "DEFAULT other\n")),
        (CONFIGURATION, lambda path: path.unlink()),
        ("tftp/pxelinux.cfg/default", relink),
        ("tftp/pxelinux.0", lambda path: edit(path, "another loader")),
        ("tftp/pxelinux.0", lambda path: path.unlink()),
        ("INDEX.jsonl", lambda path: edit(path, "another index")),
    ],
)
def test_a_tree_that_is_not_what_the_manifest_says_is_not_booted(generation, path, damage):
    boot = made_ready(generation)
    damage(generation / "netboot" / path)
    with pytest.raises(SmokeError) as caught:
        boot.check_tree()
    assert str(caught.value) == (
        f"smoke row: {generation}/netboot/{path} is not what the generation's manifest says\n"
        "  next: build again: doit build"
    )


def test_the_machines(generation, tmp_path):
    logs = RunLogs(tmp_path / "logs")
    guests = made_ready(generation).guests(memory_mebibytes=640, accelerator="tcg", logs=logs)
    bios, uefi = guests
    assert [guest.template for guest in guests] == ["web", "db"]
    assert bios.title == "the unknown machine 01-02-fe-fe-fe-fe-01"
    assert bios.machine.smbios_system == {"serial": f"bootsmith-{bios.nonce}"}
    assert bios.nonce != uefi.nonce
    cards = [dataclasses.astuple(*guest.machine.nics) for guest in guests]
    assert cards[0] == ("guest0", "02:fe:fe:fe:fe:01", "virtio-net-pci", 0, True)
    assert cards[1][0] == "guest1"
    assert cards[1][2:] == ("virtio-net-pci", 0, False)  # UEFI's own drivers, not iPXE's
    assert (bios.machine.firmware, bios.machine.network_boot) == ("bios", "pxe")
    assert (uefi.machine.firmware, uefi.machine.network_boot) == ("ovmf", "http")
    assert bios.machine.drives == uefi.machine.drives == ()
    assert bios.machine.kernel is uefi.machine.kernel is None
    names = [guest.logs.console.name for guest in guests]
    assert names == ["console.log", "console-2.log"]
    assert (bios.machine.screen, uefi.machine.screen) == (logs.guest(0).screen, None)
    # What is said of nothing is enough to know that it is not proven.
    assert any("template nothing" in problem for problem in bios.problems(Report(words={})))


def test_the_report_is_held_against_the_manifest(generation, tmp_path):
    manifest = json.loads((generation / "MANIFEST.json").read_text())
    (kernel,) = {
        part["details"]["kernel_release"]
        for part in manifest["artifacts"]
        if part["kind"] == "kernel"
    }
    guest, _ = made_ready(generation).guests(
        memory_mebibytes=640, accelerator="tcg", logs=RunLogs(tmp_path)
    )
    problems = guest.problems(Report(words={"template": "db", "kernel": f"{kernel}-old"}))
    assert "the guest reports template db, expected web" in problems
    assert f"the guest reports kernel {kernel}-old, expected {kernel}" in problems
