from __future__ import annotations

import pytest

from bootsmith.errors import BuildError
from bootsmith.formats.inventory import Role
from bootsmith.formats.netboot_configurations import (
    Configuration,
    ConfigurationTexts,
    configuration_of,
)
from bootsmith.formats.netboot_names import (
    GRUB,
    IPXE,
    PXELINUX,
    configuration_path,
    host_configuration_path,
    prefix_configuration_path,
)
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.netboot_words import NetbootTemplate

NETWORK = Network(
    server="10.20.0.1",
    subnet="10.20.0.0/16",
    interface="eth1",
    root="/srv/boot",
    domain="boot.example",
)
WEB = NetbootTemplate(
    name="web",
    release="alpine",
    boot_set="alpine-lts",
    flavor="lts",
    arch="x86_64",
    generation="G5",
    modloop_name="modloop-lts",
    microcode=("intel-ucode.img", "amd-ucode.img"),
)
ARM = NetbootTemplate(
    name="arm",
    release="rpi",
    boot_set="rpi-rpi",
    flavor="rpi",
    arch="aarch64",
    generation="G5",
    modloop_name="modloop-rpi",
)
TEXTS = ConfigurationTexts(
    network=NETWORK,
    templates={"web": WEB, "arm": ARM},
    installers={"debian": ("auto=true", "url=@url@/preseed.cfg")},
)
PLAIN = Role(template="web", options=("quiet",))
TREE = "generations/@generation@/netboot"


def role(**values):
    return Role(**{"template": "web", "options": ("quiet",), **values})


@pytest.mark.parametrize(
    "loader, values, own, name",
    [
        (PXELINUX, {}, False, "template-web"),
        (IPXE, {"loader": "lpxelinux"}, False, "template-web"),
        (PXELINUX, {"loader": "lpxelinux"}, False, "template-web+lpxelinux"),
        (PXELINUX, {}, True, "template-web+own"),
        (GRUB, {"media": "nfs"}, True, "template-web+own+nfs"),
        (PXELINUX, {"install": "debian"}, False, "template-web"),
        (IPXE, {"install": "debian"}, False, "template-web+armable"),
        (GRUB, {"install": "debian", "boot": "disk"}, False, "disk+armable"),
        (PXELINUX, {"install": "debian", "boot": "disk"}, True, "disk"),
        (IPXE, {"boot": "disk"}, False, "disk"),
        (PXELINUX, {"options": ("quiet", "console=ttyS1")}, False, "template-web+1608a6f8bd76"),
        (
            PXELINUX,
            {"options": (), "media": "nfs", "loader": "lpxelinux"},
            True,
            "template-web+own+nfs+e3b0c44298fc+lpxelinux",
        ),
    ],
)
def test_names_say_what_is_special(loader, values, own, name):
    assert configuration_of(loader, role(**values), own_apkovl=own).name(PLAIN) == name


def test_places():
    assert configuration_path(IPXE, "template-web") == "tftp/ipxe/template-web.ipxe"
    assert [
        host_configuration_path(loader, "52:54:01:02:00:0A") for loader in (PXELINUX, IPXE, GRUB)
    ] == [
        "tftp/pxelinux.cfg/01-52-54-01-02-00-0a",
        "tftp/ipxe/01-52-54-01-02-00-0a.ipxe",
        "tftp/grub/01-52-54-01-02-00-0a.cfg",
    ]
    assert [prefix_configuration_path(loader, "52:54:01") for loader in (PXELINUX, IPXE, GRUB)] == [
        "tftp/pxelinux.cfg/52:54:01",
        "tftp/ipxe/pxelinux.cfg/52:54:01.ipxe",
        "tftp/grub/52-54-01.cfg",
    ]


def test_a_template_for_pxelinux():
    text = TEXTS.text(PXELINUX, configuration_of(PXELINUX, role(), own_apkovl=False), subject="x")
    assert text == (
        "SERIAL 0 115200\n"
        "PROMPT 0\n"
        "TIMEOUT 100\n"
        "ONTIMEOUT again\n"
        "DEFAULT boot\n"
        "\n"
        "LABEL boot\n"
        "\tMENU LABEL template web\n"
        f"\tLINUX ::{TREE}/tftp/boot/alpine-lts/vmlinuz-lts\n"
        f"\tINITRD ::{TREE}/tftp/boot/alpine-lts/intel-ucode.img,"
        f"::{TREE}/tftp/boot/alpine-lts/amd-ucode.img,::{TREE}/tftp/boot/alpine-lts/pxerd\n"
        f"\tAPPEND modules=loop,squashfs ip=dhcp alpine_repo=http://10.20.0.1/{TREE}/http/alpine/"
        f"apks modloop=http://10.20.0.1/{TREE}/http/boot/alpine-lts/modloop-lts"
        f" apkovl=http://10.20.0.1/{TREE}/http/apkovl/web.apkovl.tar.gz"
        " console=tty0 console=ttyS0,115200 quiet\n"
        "\tSYSAPPEND 2\n"
        "\n"
        "LABEL again\n"
        "\tCOM32 reboot.c32\n"
    )


def test_an_installer():
    start = "auto=true url=http://10.20.0.1/"
    url = f"{TREE}/http/installers/debian/preseed.cfg"
    pxelinux = TEXTS.installer_text(PXELINUX, "debian")
    assert "\nDEFAULT install\n" in pxelinux
    assert f"\tLINUX ::{TREE}/tftp/installers/debian/kernel\n" in pxelinux
    assert f"\tINITRD ::{TREE}/tftp/installers/debian/initrd\n" in pxelinux
    assert f"\tAPPEND {start}{url}\n" in pxelinux
    assert f"\nimgargs kernel {start}{url} initrd=initrd BOOTIF=" in TEXTS.installer_text(
        IPXE, "debian"
    )
    assert f" {start}{url} BOOTIF=$mac; then\n" in TEXTS.installer_text(GRUB, "debian")


def test_a_template_that_installs():
    text = TEXTS.installing_template_text(PXELINUX, role(boot="disk", media="nfs"))
    assert "\nDEFAULT install\n\nLABEL install\n\tMENU LABEL template web\n" in text
    assert " alpine_dev=nfs:10.20.0.1:/srv/boot/generations/@generation@/netboot/nfs/alpine" in text


def test_the_disk():
    disk = Configuration(template=None, is_armable=True)
    assert "LOCALBOOT 0" in TEXTS.text(PXELINUX, disk, subject="x")
    assert "/armed/01-${netX/mac:hexhyp}.ipxe" in TEXTS.text(IPXE, disk, subject="x")
    assert "source /armed/$mac.cfg" in TEXTS.text(GRUB, disk, subject="x")


def test_a_template_that_cannot_boot_is_refused():
    with pytest.raises(BuildError) as caught:
        TEXTS.text(GRUB, Configuration(template="arm"), subject="host pi")
    assert str(caught.value) == (
        "host pi: no network boot loader for release rpi; expected a release for x86_64 or x86, "
        "got aarch64\n"
        "  next: name another template in [netboot] and in recipes/hosts.toml"
    )
