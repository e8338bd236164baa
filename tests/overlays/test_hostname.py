"""A machine is called what DHCP says: the hook of udhcpc, run by busybox as on a machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootsmith.tools.run import run_program

OVERLAYS = Path(__file__).resolve().parents[2] / "overlays"
SCRIPT = OVERLAYS / "base/etc/udhcpc/post-bound/hostname"


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a name of its own")


@pytest.fixture
def guest(tmp_path):
    """A machine of the template `web`."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text("web\n")
    return tmp_path


def bound(guest, applets, **lease):
    """Take a lease; what the machine is called then, by its file and by its kernel."""
    words = ["busybox", "sh", "-c", 'busybox hostname web; "$0"; busybox hostname', SCRIPT]
    completed = run_program(
        # Never on this machine: busybox's shell runs its own `hostname`, whatever PATH says.
        ["unshare", "--uts", *words],
        environment={
            "PATH": str(applets),
            "BOOTSMITH_ROOT": str(guest),
            "interface": "eth0",
            **lease,
        },
    )
    return (guest / "etc/hostname").read_text(), completed.text


def test_a_name_of_dhcp_is_taken(guest, applets):
    assert bound(guest, applets, hostname="node-1") == ("node-1\n", "node-1\n")


def test_a_second_lease_changes_nothing(guest, applets):
    bound(guest, applets, hostname="node-1")
    assert bound(guest, applets, hostname="node-1") == ("node-1\n", "node-1\n")


def test_without_one_the_template_speaks(guest, applets):
    assert bound(guest, applets) == ("web\n", "web\n")


@pytest.mark.parametrize(
    "name", ["", "-x", ".x", "a b", "a;reboot", "$(reboot)", "a\nb", "../x", "ä", "a'b"]
)
def test_what_is_no_name_is_not_taken(guest, applets, name):
    assert bound(guest, applets, hostname=name) == ("web\n", "web\n")


def test_a_machine_without_a_name_gets_one(guest, applets):
    (guest / "etc/hostname").unlink()
    assert bound(guest, applets, hostname="node-1.boot.example") == (
        "node-1.boot.example\n",
        "node-1.boot.example\n",
    )
