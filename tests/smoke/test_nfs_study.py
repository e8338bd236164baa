"""What clients of an NFS server may do: reading, root squashed, users as themselves, all mapped.

The server is nfs-ganesha with the generation's own exports and two more that can be written to.
The client has no disk: it boots from the network, and tells on its console what each attempt gave.
The server's disk is looked at as well.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bootsmith.formats.netboot_network import Network
from bootsmith.site.loader import load_site
from bootsmith.smoke.lab import running_lab, tap_name
from bootsmith.smoke.machine import Run, run_machines
from bootsmith.smoke.watch import ConsoleWatch
from bootsmith.tools.ganesha import why_not_exportable
from bootsmith.tools.qemu import SCREEN_PORT, Machine, TapNic
from bootsmith.tools.unshare import Place

pytestmark = [pytest.mark.boot, pytest.mark.network]
CHECKOUT = Path(__file__).resolve().parents[2]
MAC = "52:54:01:02:00:01"
USER, MAPPED = 1000, 2000
RECIPES = {
    "site.toml": """
schema = 1
name = "study"
release = "standin"
flavor = "virt"

[netboot]
server = "10.20.0.1"
subnet = "10.20.0.0/16"
interface = "boot0"
domain = "boot.example"
template = "study"
loader = "ipxe"
media = "nfs"
""",
    "releases/standin.toml": """
iso = "{iso}"
flavors = ["virt"]

[pxerd]
features = ["dhcp", "network", "nfs", "squashfs", "virtio"]
""",
    "templates/study.toml": """
summary = "a client of an NFS server"
overlays = ["report", "study"]

[runlevels]
default = ["local"]

[boot]
options = ["quiet"]
""",
    "hosts.toml": f"""
[host.client]
mac = "{MAC}"
address = "10.20.1.7"
""",
}
STUDY = f"""#!/bin/sh
# What a client gets: a line for each attempt, with what was said where it failed.
exec </dev/null
say() {{
	printf '\nnfs-study %s\n' "$*" >/dev/console
}}
attempt() {{
	name=$1
	shift
	if said=$("$@" 2>&1); then
		say "$version $name: $said"
	else
		say "$version $name: failed: $said"
	fi
}}
as_user() {{
	su -c "$1" user
}}
echo user::{USER}:{USER}::/:/bin/sh >>/etc/passwd
modprobe -a nfsv3 nfsv4
mkdir -p /mnt
for version in 3 4.1; do
	options=vers=$version,addr=10.20.0.1
	[ "$version" = 4.1 ] || options=$options,nolock
	# Nobody here answers for locks (no rpc.statd).
	attempt locking mount -t nfs -o vers=$version,addr=10.20.0.1 10.20.0.1:/srv/home /mnt
	umount /mnt 2>/dev/null
	attempt home mount -t nfs -o "$options" 10.20.0.1:/srv/home /mnt
	attempt read cat /mnt/test
	attempt secret cat /mnt/secret
	attempt touch touch /mnt/toto
	attempt owner stat -c %u:%g /mnt/tests
	attempt user-read as_user "cat /mnt/test"
	attempt user-write as_user "echo by the user >/mnt/tests/user-$version"
	attempt user-touch as_user "touch /mnt/toto"
	umount /mnt
	attempt mapped mount -t nfs -o "$options" 10.20.0.1:/srv/mapped /mnt
	attempt root-write-mapped sh -c "echo by root >/mnt/root-$version"
	attempt user-write-mapped as_user "echo by the user >/mnt/user-$version"
	umount /mnt
	attempt medium mount -t nfs -o "$options" 10.20.0.1:/srv/boot/generations /mnt
	attempt medium-write touch /mnt/toto
	umount /mnt
done
say over
"""
EXPORTS = """
%include "/srv/boot/current/netboot/conf/ganesha.conf"
EXPORT {{
    Export_Id = 2; Path = "/srv/home"; Pseudo = "/srv/home";
    Access_Type = RW; Squash = Root_Squash; SecType = sys; FSAL {{ Name = VFS; }}
}}
EXPORT {{
    Export_Id = 3; Path = "/srv/mapped"; Pseudo = "/srv/mapped";
    Access_Type = RW; Squash = All_Squash; Anonymous_Uid = {mapped}; Anonymous_Gid = {mapped};
    SecType = sys; FSAL {{ Name = VFS; }}
}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built; of the release that the checkout's own stand-in is."""
    reason = why_not_exportable(tmp_path_factory.getbasetemp())
    if reason:
        pytest.skip(reason)
    subprocess.run([sys.executable, "-m", "doit", "source:standin"], cwd=CHECKOUT, check=True)
    root = tmp_path_factory.mktemp("study")
    for name in ("features.d", "patches"):
        shutil.copytree(CHECKOUT / "recipes" / name, root / "recipes" / name)
    iso = CHECKOUT / "artifacts/build/source/standin/standin.iso"
    for name, text in RECIPES.items():
        path = root / "recipes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{iso}", str(iso)))
    shutil.copytree(CHECKOUT / "overlays/report", root / "overlays/report")
    script = root / "overlays/study/etc/local.d/nfs-study.start"
    script.parent.mkdir(parents=True)
    script.write_text(STUDY)
    script.chmod(0o755)
    shutil.copy(CHECKOUT / "dodo.py", root)
    subprocess.run([sys.executable, "-m", "doit", "build"], cwd=root, check=True)
    return load_site(root)


def exported(directory):
    """What the server has: a place that root owns with one for the user, and one for everybody."""
    home, mapped = directory / "home", directory / "mapped"
    (home / "tests").mkdir(parents=True)
    mapped.mkdir()
    (home / "test").write_text("Do you see me?\n")
    (home / "secret").write_text("root's alone\n")
    (home / "secret").chmod(0o600)
    os.chown(home / "tests", USER, USER)
    os.chown(mapped, MAPPED, MAPPED)
    for path in (home, home / "tests", mapped):
        path.chmod(0o755)
    return home, mapped


def studied(site, tmp_path):
    """Boot the client on a wire with the server; what it said by version and attempt."""
    home, mapped = exported(tmp_path / "server")
    (tmp_path / "exports.conf").write_text(EXPORTS.format(mapped=MAPPED))
    for name in ("scratch", "logs"):
        (tmp_path / name).mkdir()
    (tmp_path / "port").write_bytes(SCREEN_PORT)
    nonce = secrets.token_hex(8)
    machine = Machine(
        nics=(TapNic(tap=tap_name(0), mac=MAC, boot_index=0),),
        smbios_system={"serial": f"bootsmith-{nonce}"},
        console=tmp_path / "console",
        screen=tmp_path / "screen",
        screen_port=tmp_path / "port",
    )
    watch = ConsoleWatch(nonce=nonce)
    with running_lab(
        (site.root / "artifacts/current").resolve(),
        network=Network(**site.netboot.network_values),
        servers="dnsmasq",
        guests=1,
        scratch=tmp_path / "scratch",
        logs=tmp_path / "logs",
        places=[
            Place(directory=Path("/srv/home"), shows=home),
            Place(directory=Path("/srv/mapped"), shows=mapped),
        ],
        nfs_configuration=tmp_path / "exports.conf",
    ) as lab:
        run_machines(
            [Run(machine=machine, watch=watch, program_log=tmp_path / "qemu.log")],
            timeout_seconds=300,
            report_grace_seconds=60,
            inside=lab.inside,
        )
    console = (tmp_path / "console").read_text("utf-8", "replace")
    assert watch.report is not None, console[-2000:]
    assert watch.report.words["template"] == "study"
    assert watch.report.words["modloop_fs"].startswith("nfs")
    said = re.findall(r"^nfs-study (\S+) (\S+): ?(.*?)\r?$", console, re.MULTILINE)
    return home, mapped, said


# The same with both versions; `locking` is not.
ATTEMPTS = {
    "home": "",
    "read": "Do you see me?",
    # Root of a client is nobody on the server, however it came to be root.
    "secret": "failed: cat: can't open '/mnt/secret': Permission denied",
    "touch": "failed: touch: /mnt/toto: Permission denied",
    "owner": f"{USER}:{USER}",
    "user-read": "Do you see me?",
    "user-write": "",
    "user-touch": "failed: touch: /mnt/toto: Permission denied",
    "mapped": "",
    "root-write-mapped": "",
    "user-write-mapped": "",
    "medium": "",
    "medium-write": "failed: touch: /mnt/toto: Read-only file system",
}


def test_what_each_client_may_do(site, tmp_path):
    home, mapped, said = studied(site, tmp_path)
    locking = {version: words for version, name, words in said if name == "locking"}
    assert locking.pop("3").startswith("failed: mount: mounting 10.20.0.1:/srv/home on /mnt failed")
    assert locking == {"4.1": ""}
    for version in ("3", "4.1"):
        got = {name: words for at, name, words in said if at == version and name != "locking"}
        assert got == ATTEMPTS, version
    found = {
        str(path.relative_to(tmp_path / "server")): (path.stat().st_uid, path.read_text())
        for path in [*home.rglob("*"), *mapped.rglob("*")]
        if path.is_file()
    }
    assert found == {
        "home/test": (0, "Do you see me?\n"),
        "home/secret": (0, "root's alone\n"),
        **{f"home/tests/user-{version}": (USER, "by the user\n") for version in ("3", "4.1")},
        **{f"mapped/root-{version}": (MAPPED, "by root\n") for version in ("3", "4.1")},
        **{f"mapped/user-{version}": (MAPPED, "by the user\n") for version in ("3", "4.1")},
    }
