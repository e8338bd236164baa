"""What boot configurations name: ours, and the same said as other people write it."""

from __future__ import annotations

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.grub_netboot_cfg import write_grub_chooser_cfg
from bootsmith.formats.ipxe_script import BOOT_SCRIPT, write_boot_script
from bootsmith.formats.named_boots import loader_of, read_named_files
from bootsmith.formats.netboot_configurations import Configuration, ConfigurationTexts
from bootsmith.formats.netboot_names import GRUB, IPXE, PXELINUX
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.netboot_words import NetbootTemplate

NETWORK = Network(
    server="10.20.0.1", subnet="10.20.0.0/16", interface="e", root="/srv/boot", domain="x"
)
WEB = NetbootTemplate(
    name="web",
    release="alpine",
    boot_set="alpine-lts",
    flavor="lts",
    arch="x86_64",
    generation="G5",
    modloop_name="modloop-lts",
    microcode=("intel-ucode.img",),
)
TEXTS = ConfigurationTexts(
    network=NETWORK, templates={"web": WEB}, installers={"debian": ("a;b", "url=@url@/x")}
)
HERE = "generations/@generation@/netboot/tftp"
STARTS = {PXELINUX: "::", IPXE: "http://10.20.0.1/", GRUB: "/"}
HTTP = f"http://10.20.0.1/{HERE.removesuffix('/tftp')}/http"


def read(loader, text):
    return read_named_files(loader, text, subject="x")


@pytest.mark.parametrize("loader", STARTS)
def test_what_we_write_is_read_back(loader):
    named = read(loader, TEXTS.text(loader, Configuration(template="web"), subject="x"))
    (boot,) = named.boots
    start = f"{STARTS[loader]}{HERE}/boot/alpine-lts"
    assert boot.files == (f"{start}/vmlinuz-lts", f"{start}/intel-ucode.img", f"{start}/pxerd")
    assert boot.option("alpine_repo") == f"{HTTP}/alpine/apks"
    assert boot.option("modloop") == f"{HTTP}/boot/alpine-lts/modloop-lts"
    assert boot.option("ip") == "dhcp"
    assert boot.option("quiet") is None


@pytest.mark.parametrize("loader", STARTS)
def test_every_name_has_its_line(loader):
    text = TEXTS.text(loader, Configuration(template="web"), subject="x")
    named, lines = read(loader, text), text.splitlines()
    assert named.boots[0].files
    for name in (*named.boots[0].files, *named.others):
        assert name in lines[named.lines[name] - 1]
    assert "alpine_repo=" in lines[named.boots[0].line - 1]


@pytest.mark.parametrize("loader", STARTS)
def test_quotes_are_those_of_the_loader(loader):
    (boot,) = read(loader, TEXTS.installer_text(loader, "debian")).boots
    assert boot.options[:2] == ("a;b", f"url={HTTP}/installers/debian/x")


def test_further_configurations():
    scripts = f"http://10.20.0.1/{HERE}/ipxe"
    assert read(IPXE, write_boot_script(network=NETWORK)).others == [
        f"{scripts}/01-${{netX/mac:hexhyp}}.ipxe",
        f"{scripts}/default.ipxe",
        f"{scripts}/01-${{netX/mac:hexhyp}}.ipxe",
        f"{scripts}/${{209:string}}.ipxe",
        f"http://10.20.0.1/current/netboot/{BOOT_SCRIPT}",
    ]
    assert read(GRUB, write_grub_chooser_cfg([3])).others == [f"/{HERE}/grub/$name.cfg"]
    assert read(PXELINUX, "INCLUDE pxelinux.cfg/a\ninclude ::armed/01-a\n").others == [
        "pxelinux.cfg/a",
        "::armed/01-a",
    ]


def test_as_other_people_write_pxelinux():
    named = read(
        PXELINUX,
        "default menu.c32\nlabel one\n  kernel a\n  append x=1 x=2\n"
        "label two\n\n  linux b\n  initrd c,d\n",
    )
    assert [boot.files for boot in named.boots] == [("a",), ("b", "c", "d")]
    assert named.boots[0].option("x") == "2"
    assert [boot.line for boot in named.boots] == [4, 7]


def test_a_label_that_is_missing_is_told_where_nothing_is_included():
    text = "DEFAULT boot\nONTIMEOUT again\nLABEL Boot\n\tLOCALBOOT 0\n"
    assert read(PXELINUX, text).missing_labels == ["again"]
    assert read(PXELINUX, f"INCLUDE x\n{text}").missing_labels == []
    assert read(PXELINUX, text).longest_line == "ONTIMEOUT again"


def test_as_other_people_write_ipxe():
    named = read(
        IPXE,
        "#!ipxe\n# kernel x\n:start\nkernel -n k http://a/k quiet || shell\n"
        "initrd http://a/i && initrd http://a/j\nimgexec k\nchain http://a/other\n",
    )
    assert [(boot.files, boot.options) for boot in named.boots] == [
        (("http://a/k", "http://a/i", "http://a/j"), ("quiet",))
    ]
    assert named.others == ["http://a/other"]


def test_as_other_people_write_grub():
    named = read(
        GRUB,
        "# linux /x\nmenuentry 'one' {\n linux /a b=\"c d\" 'e'; initrd /f /g\n}\n"
        "if ! linux /h; then configfile /i.cfg; fi\n",
    )
    assert [(boot.files, boot.options) for boot in named.boots] == [
        (("/a", "/f", "/g"), ("b=c d", "e")),
        (("/h",), ()),
    ]
    assert named.others == ["/i.cfg"]


@pytest.mark.parametrize(
    "loader,text,message",
    [
        (IPXE, "kernel x\n", "x: is no iPXE script; expected #!ipxe in its first line"),
        (GRUB, "\nlinux 'x\n", "x: line 2 has quotes that do not end; got linux 'x"),
    ],
)
def test_what_the_loader_would_not_take(loader, text, message):
    with pytest.raises(FormatError) as caught:
        read(loader, text)
    assert str(caught.value) == f"{message}\n  next: build it again: doit netboot"


@pytest.mark.parametrize(
    "path,loader",
    [
        ("tftp/pxelinux.cfg/default", PXELINUX),
        ("tftp/ipxe/default.ipxe", IPXE),
        ("tftp/grub/grub.cfg", GRUB),
        (BOOT_SCRIPT, IPXE),
        ("tftp/pxelinux.0", None),
        ("http/grub/x", None),
    ],
)
def test_which_loader_reads_a_path(path, loader):
    assert loader_of(path) == loader
