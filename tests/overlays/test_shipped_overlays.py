"""The overlays that come with bootsmith: small, harmless, and right for real programs."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from bootsmith.builders.apkovl import build_apkovl
from bootsmith.formats.ownership import read_ownership
from bootsmith.site.loader import load_site
from bootsmith.tools.run import run_program

OVERLAYS = Path(__file__).resolve().parents[2] / "overlays"
FILES = sorted(path for path in OVERLAYS.rglob("*") if path.is_file())
SCRIPTS = [path for path in FILES if path.read_bytes().startswith(b"#!")]


@pytest.mark.parametrize("template", ["default", "lxc-repo", "pxeboot"])
def test_every_shipped_template_packs(checkout, tmp_path, template):
    recipe = load_site(checkout).templates[template]
    output = tmp_path / f"{template}.apkovl.tar.gz"
    build_apkovl(
        overlays=[overlay.tree for overlay in recipe.overlays],
        owners=[overlay.owners for overlay in recipe.overlays],
        template=recipe.name,
        hostname=recipe.hostname,
        packages=recipe.packages,
        runlevels=recipe.runlevels,
        default_boot_services=recipe.default_boot_services,
        output=output,
        contents=tmp_path / "contents.json",
    )
    assert 1000 < output.stat().st_size < 20_000
    listed = run_program(["tar", "-tzf", output]).text.splitlines()
    assert "etc/local.d/bootsmith-report.start" in listed
    assert "etc/runlevels/default/local" in listed
    assert "etc/runlevels/boot/networking" in listed


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_for_busybox_and_may_run(script):
    assert script.read_bytes().startswith(b"#!/bin/sh\n")
    assert script.stat().st_mode & stat.S_IXUSR
    run_program(["busybox", "sh", "-n", script])


def test_scripts_are_owned_as_executable():
    for script in SCRIPTS:
        overlay, _, name = str(script.relative_to(OVERLAYS)).partition("/")
        rules = read_ownership((OVERLAYS / f"{overlay}.owners").read_bytes(), subject=overlay)
        assert [rule.mode for rule in rules if rule.pattern == name] == [0o755]


def test_there_are_no_secrets():
    secret = re.compile(rb"PRIVATE KEY|ssh-(rsa|ed25519|dss) AAAA|\$[156y]\$|password *=")
    assert not [path for path in FILES if secret.search(path.read_bytes())]
    names = {path.name for path in FILES}
    assert not names & {"shadow", "authorized_keys"}
    assert not [name for name in names if name.endswith(("_key", ".pem", ".key"))]


def test_ssh_takes_no_passwords():
    options = (OVERLAYS / "base/etc/conf.d/dropbear").read_text()
    words = re.search(r'^DROPBEAR_OPTS="([^"]*)"$', options, re.MULTILINE)[1].split()
    assert "-s" in words


@pytest.mark.parametrize("overlay", ["pxeboot", "lxc-repo"])
def test_nginx_takes_the_site(tmp_path, overlay):
    site = (OVERLAYS / overlay / "etc/nginx/http.d/default.conf").read_text()
    assert site.count("listen 80 default_server;") == 1
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;"
        f" fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u;"
        f" scgi_temp_path {tmp_path}/s;\n"
        # Port 80 is not a test's to take.
        + site.replace("listen 80 ", f"listen unix:{tmp_path}/socket ")
        + "}\n"
    )
    tested = run_program(["nginx", "-t", "-c", configuration, "-p", tmp_path])
    assert b"syntax is ok" in tested.stderr


def test_dnsmasq_takes_the_configuration_and_serves_nothing(tmp_path):
    text = (OVERLAYS / "pxeboot/etc/dnsmasq.conf").read_text()
    configuration = tmp_path / "dnsmasq.conf"
    (tmp_path / "dnsmasq.d").mkdir()
    configuration.write_text(text.replace("/etc/dnsmasq.d/", f"{tmp_path}/dnsmasq.d/"))
    run_program(["dnsmasq", "--test", "-C", configuration])
    words = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert words == ["port=0", "conf-dir=/etc/dnsmasq.d/,*.conf"]


def lead(tmp_path: Path, applets: Path, settings: str) -> Path:
    """pxeboot-lead run by busybox sh against files of its own, on the loopback interface."""
    (tmp_path / "settings").write_text(
        'PXEBOOT_INTERFACE="lo"\nPXEBOOT_FILE="pxelinux.0"\n' + settings
    )
    run_program(
        ["busybox", "sh", OVERLAYS / "pxeboot/usr/local/sbin/pxeboot-lead", "configure"],
        environment={
            "PATH": str(applets),
            "PXEBOOT_SETTINGS": str(tmp_path / "settings"),
            "PXEBOOT_CONFIGURATION": str(tmp_path / "pxeboot.conf"),
        },
    )
    return tmp_path / "pxeboot.conf"


@pytest.mark.parametrize(
    "settings, lines",
    [
        (
            'PXEBOOT_RANGE=""\n',
            ["dhcp-range=127.0.0.1,proxy", "pxe-service=x86PC,boot,pxelinux"],
        ),
        (
            'PXEBOOT_RANGE="127.0.0.10,127.0.0.20,12h"\n',
            ["dhcp-range=127.0.0.10,127.0.0.20,12h", "dhcp-boot=pxelinux.0,,127.0.0.1"],
        ),
    ],
)
def test_leading_configures_dhcp_for_the_address_of_the_moment(tmp_path, applets, settings, lines):
    configuration = lead(tmp_path, applets, settings)
    assert configuration.read_text().splitlines() == [
        "interface=lo",
        "bind-interfaces",
        "enable-tftp",
        "tftp-root=/srv/tftp",
        *lines,
    ]
    run_program(["dnsmasq", "--test", "-C", configuration])


def test_the_shipped_settings_give_out_no_addresses():
    text = (OVERLAYS / "pxeboot/etc/conf.d/pxeboot").read_text()
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == [
        'PXEBOOT_INTERFACE="eth0"',
        'PXEBOOT_RANGE=""',
        'PXEBOOT_FILE="pxelinux.0"',
    ]
