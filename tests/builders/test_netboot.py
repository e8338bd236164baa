from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from bootsmith.builders.netboot import build_netboot
from bootsmith.errors import BuildError, RecipeError
from bootsmith.formats.host_overlays import HostOverlay, write_host_overlays
from bootsmith.formats.inventory import Host, Inventory, Role, Rule, write_inventory
from bootsmith.formats.netboot_check import netboot_faults
from bootsmith.formats.netboot_index import read_netboot_index
from bootsmith.formats.netboot_tree import NetbootTree, TreeFile
from bootsmith.formats.release_facts import (
    DIRECTORY,
    LINK,
    FlavorFacts,
    IsoFile,
    ReleaseFacts,
    write_release_facts,
)

NETWORK = {
    "server": "10.20.0.1",
    "subnet": "10.20.0.0/16",
    "interface": "eth1",
    "root": "/srv/boot",
    "domain": "boot.example",
}
UNKNOWN = Role(template="web")
HOST = Host(name="a", mac="52:54:01:02:00:0a", template="web")
OTHER = Host(name="b", mac="52:54:01:02:00:0b", template="db")


def iso_file(path, **values):
    return IsoFile(path=path, **{"type": "file", "mode": 0o644, "size_bytes": 1, **values})


FILES = (
    iso_file(".alpine-release"),
    iso_file("apks", type=DIRECTORY),
    iso_file("apks/.boot_repository"),
    iso_file("apks/latest.apk", type=LINK, target="x86_64/b-1.apk"),
    iso_file("apks/x86_64/APKINDEX.tar.gz"),
    iso_file("apks/x86_64/b-1.apk"),
    iso_file("boot/intel-ucode.img"),
    iso_file("boot/modloop-lts"),
    iso_file("boot/vmlinuz-lts"),
    iso_file("efi/boot/bootx64.efi"),
    iso_file("firmware/x.bin"),
    iso_file("localhost.apkovl.tar.gz"),
)


def facts(**values):
    kernel = iso_file("boot/vmlinuz-lts")
    flavor = FlavorFacts(kernel_release="6.6-lts", kernel=kernel, initramfs=kernel, modloop=kernel)
    return ReleaseFacts(
        **{
            "release": "3.24.0",
            "profile": "alpine-standard",
            "arch": "x86_64",
            "generation": "G5",
            "is_standin": False,
            "volume_id": "",
            "iso_size_bytes": 1,
            "iso_sha256": "0" * 64,
            "flavors": {"lts": flavor},
            "files": FILES,
            **values,
        }
    )


class Bench:
    """Runs the builder on what is set here."""

    def __init__(self, directory):
        self.directory = directory
        self.inventory = Inventory(unknown=UNKNOWN, hosts=(HOST, OTHER))
        self.overlays = []
        self.facts = facts()
        self.levels = {"site": {"template": "web"}, "templates": {}}
        self.installers = {}
        self.options = {}
        self.output = directory / "index.jsonl"

    def build(self):
        paths = {}
        for name, content in (
            ("inventory", write_inventory(self.inventory)),
            ("host_overlays", write_host_overlays(self.overlays)),
            ("facts", write_release_facts(self.facts)),
        ):
            paths[name] = self.directory / name
            paths[name].write_bytes(content)
        build_netboot(
            network=NETWORK,
            levels=self.levels,
            templates={
                name: {
                    "release": "alpine",
                    "flavor": "lts",
                    "boot_set": "alpine-lts",
                    "modloop_name": "modloop-lts",
                    "options": self.options.get(name, ()),
                    "serial": True,
                }
                for name in ("web", "db")
            },
            releases={
                "alpine": {
                    "facts": paths.pop("facts"),
                    "flavors": {
                        "lts": {"boot_set": "alpine-lts", "modloop_name": "modloop-lts"},
                        "virt": {"boot_set": "alpine-virt", "modloop_name": "modloop-virt"},
                    },
                }
            },
            installers=self.installers,
            output=self.output,
            **paths,
        )
        return {
            entry.path: entry
            for entry in read_netboot_index(self.output.read_bytes(), subject="index")
        }


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def tree_of(entries):
    """As a generation lays it, with installers and loaders that other steps bring."""
    files = {
        path: TreeFile(
            hashlib.sha256(f"{entry.part}{entry.iso}{entry.from_path}".encode()).hexdigest(), 1
        )
        for path, entry in entries.items()
        if entry.link is None and entry.content is None
    }
    brought = ("tftp/reboot.c32", "tftp/installers/debian/kernel", "tftp/installers/debian/initrd")
    files |= dict.fromkeys(brought, TreeFile("0" * 64, 1))
    return NetbootTree(
        links={path: entry.link for path, entry in entries.items() if entry.link is not None},
        files=files,
        texts={path: entry.content for path, entry in entries.items() if entry.content is not None},
    )


def shown(entry):
    source = (
        entry.link or entry.part or entry.file or (entry.iso and f"{entry.iso}: {entry.from_path}")
    )
    return f"{entry.path} {source or 'text'}"


def test_the_whole_tree(bench):
    bench.inventory = Inventory(
        unknown=UNKNOWN,
        rules=(Rule(prefix="52:54:01", template="db"),),
        hosts=(replace(HOST, uefi_loader="grub"), replace(OTHER, install="debian")),
    )
    bench.overlays = [
        HostOverlay(
            name="a",
            mac=HOST.mac,
            template="web",
            file="hostovl/files/a.apkovl.tar.gz",
            sha256="a" * 64,
            size_bytes=7,
            overlay_sha256="",
        )
    ]
    bench.installers = {"debian": ("quiet",)}
    entries = bench.build()
    assert [shown(entry) for entry in entries.values()] == [
        "http/alpine/apks/.boot_repository alpine: apks/.boot_repository",
        "http/alpine/apks/latest.apk alpine: apks/x86_64/b-1.apk",
        "http/alpine/apks/x86_64/APKINDEX.tar.gz alpine: apks/x86_64/APKINDEX.tar.gz",
        "http/alpine/apks/x86_64/b-1.apk alpine: apks/x86_64/b-1.apk",
        "http/apkovl/52:54:01:02:00:0a.apkovl.tar.gz hostovl/files/a.apkovl.tar.gz",
        "http/apkovl/52:54:01:02:00:0b.apkovl.tar.gz db.apkovl.tar.gz",
        "http/apkovl/db.apkovl.tar.gz apkovl/db/db.apkovl.tar.gz",
        "http/apkovl/web.apkovl.tar.gz apkovl/web/web.apkovl.tar.gz",
        "http/boot/alpine-lts/intel-ucode.img alpine: boot/intel-ucode.img",
        "http/boot/alpine-lts/modloop-lts modloop/alpine-lts/modloop-lts",
        "http/boot/alpine-lts/pxerd pxerd/alpine-lts/pxerd-lts",
        "http/boot/alpine-lts/vmlinuz-lts kernel/alpine-lts/vmlinuz-lts",
        "http/boot/alpine-virt/intel-ucode.img alpine: boot/intel-ucode.img",
        "http/boot/alpine-virt/modloop-virt modloop/alpine-virt/modloop-virt",
        "http/boot/alpine-virt/pxerd pxerd/alpine-virt/pxerd-virt",
        "http/boot/alpine-virt/vmlinuz-virt kernel/alpine-virt/vmlinuz-virt",
        "nfs/alpine/.alpine-release alpine: .alpine-release",
        "nfs/alpine/apkovl/db.apkovl.tar.gz apkovl/db/db.apkovl.tar.gz",
        "nfs/alpine/apkovl/web.apkovl.tar.gz apkovl/web/web.apkovl.tar.gz",
        "nfs/alpine/apks/.boot_repository alpine: apks/.boot_repository",
        "nfs/alpine/apks/latest.apk alpine: apks/x86_64/b-1.apk",
        "nfs/alpine/apks/x86_64/APKINDEX.tar.gz alpine: apks/x86_64/APKINDEX.tar.gz",
        "nfs/alpine/apks/x86_64/b-1.apk alpine: apks/x86_64/b-1.apk",
        "nfs/alpine/boot/modloop-lts modloop/alpine-lts/modloop-lts",
        "nfs/alpine/boot/modloop-virt modloop/alpine-virt/modloop-virt",
        "nfs/alpine/firmware/x.bin alpine: firmware/x.bin",
        "tftp/boot.ipxe text",
        "tftp/boot/alpine-lts/intel-ucode.img alpine: boot/intel-ucode.img",
        "tftp/boot/alpine-lts/pxerd pxerd/alpine-lts/pxerd-lts",
        "tftp/boot/alpine-lts/vmlinuz-lts kernel/alpine-lts/vmlinuz-lts",
        "tftp/boot/alpine-virt/intel-ucode.img alpine: boot/intel-ucode.img",
        "tftp/boot/alpine-virt/pxerd pxerd/alpine-virt/pxerd-virt",
        "tftp/boot/alpine-virt/vmlinuz-virt kernel/alpine-virt/vmlinuz-virt",
        "tftp/grub/01-52-54-01-02-00-0a.cfg template-web+own.cfg",
        "tftp/grub/52-54-01.cfg template-db.cfg",
        "tftp/grub/default.cfg template-web.cfg",
        "tftp/grub/grub.cfg text",
        "tftp/grub/install-debian.cfg text",
        "tftp/grub/template-db.cfg text",
        "tftp/grub/template-web+own.cfg text",
        "tftp/grub/template-web.cfg text",
        "tftp/ipxe/01-52-54-01-02-00-0b.ipxe template-db+armable.ipxe",
        "tftp/ipxe/default.ipxe template-web.ipxe",
        "tftp/ipxe/install-debian.ipxe text",
        "tftp/ipxe/pxelinux.cfg/52:54:01.ipxe ../template-db.ipxe",
        "tftp/ipxe/template-db+armable.ipxe text",
        "tftp/ipxe/template-db.ipxe text",
        "tftp/ipxe/template-web.ipxe text",
        "tftp/pxelinux.cfg/01-52-54-01-02-00-0a template-web+own",
        "tftp/pxelinux.cfg/01-52-54-01-02-00-0b text",
        "tftp/pxelinux.cfg/52:54:01 template-db",
        "tftp/pxelinux.cfg/default template-web",
        "tftp/pxelinux.cfg/install-debian text",
        "tftp/pxelinux.cfg/template-db text",
        "tftp/pxelinux.cfg/template-web text",
        "tftp/pxelinux.cfg/template-web+own text",
    ]
    assert entries["tftp/pxelinux.cfg/01-52-54-01-02-00-0b"].content == (
        "INCLUDE pxelinux.cfg/template-db\nINCLUDE ::armed/01-52-54-01-02-00-0b\n"
    )
    assert "$a-$b-$c default; do" in entries["tftp/grub/grub.cfg"].content
    assert [*netboot_faults(tree_of(entries))] == []


LOADERS = [("pxelinux", "ipxe"), ("lpxelinux", "grub"), ("ipxe", "ipxe"), ("ipxe", "grub")]


@pytest.mark.parametrize("media", ["http", "nfs"])
@pytest.mark.parametrize("loader, uefi_loader", LOADERS)
@pytest.mark.parametrize("boot, install", [("template", None), ("disk", "debian"), ("disk", "db")])
def test_whatever_a_host_is_all_that_it_asks_for_is_there(
    bench, media, loader, uefi_loader, boot, install
):
    values = {
        "media": media,
        "loader": loader,
        "uefi_loader": uefi_loader,
        "boot": boot,
        "install": install,
    }
    bench.installers = {"debian": ("quiet",)}
    bench.inventory = Inventory(
        unknown=UNKNOWN,
        hosts=(replace(HOST, **values), replace(OTHER, options=("console=ttyS1",), **values)),
    )
    entries = bench.build()
    assert [*netboot_faults(tree_of(entries))] == []
    host_names = {path.rpartition("/")[0] for path in entries if "01-52" in path}
    assert host_names == {
        *({"tftp/pxelinux.cfg"} if loader != "ipxe" else ()),
        *({"tftp/ipxe"} if "ipxe" in (loader, uefi_loader) else ()),
        *({"tftp/grub"} if uefi_loader == "grub" else ()),
    }


def test_one_changed_host_changes_its_own_lines(bench):
    hosts = tuple(
        Host(name=f"h{number}", mac=f"52:54:01:02:00:{number:02x}", template="web")
        for number in range(50)
    )
    bench.inventory = Inventory(unknown=UNKNOWN, hosts=hosts)
    before = bench.build()
    changed = (*hosts[:7], replace(hosts[7], template="db", media="nfs"), *hosts[8:])
    bench.inventory = Inventory(unknown=UNKNOWN, hosts=changed)
    after = bench.build()
    assert {
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    } == {
        "http/apkovl/52:54:01:02:00:07.apkovl.tar.gz",
        "tftp/ipxe/01-52-54-01-02-00-07.ipxe",
        "tftp/pxelinux.cfg/01-52-54-01-02-00-07",
        "tftp/ipxe/template-db+nfs.ipxe",
        "tftp/pxelinux.cfg/template-db+nfs",
    }


def test_a_template_that_the_site_gives_a_medium_and_words(bench):
    bench.levels = {
        "site": {"template": "web", "options": ("panic=9",)},
        "templates": {"db": {"media": "nfs", "options": ("console=ttyS1",)}},
    }
    bench.inventory = Inventory(
        unknown=replace(UNKNOWN, options=("panic=9",)),
        hosts=(replace(OTHER, media="nfs", options=("panic=9", "console=ttyS1")),),
    )
    entries = bench.build()
    assert entries["tftp/pxelinux.cfg/01-52-54-01-02-00-0b"].link == "template-db"
    text = entries["tftp/pxelinux.cfg/template-db"].content
    assert " alpine_dev=nfs:" in text
    assert " panic=9 console=ttyS1\n" in text


def test_unknown_machines_cannot_be_armed(bench):
    bench.installers = {"debian": ()}
    bench.inventory = Inventory(
        unknown=replace(UNKNOWN, install="debian"),
        rules=(Rule(prefix="52:54", template="db", install="debian"),),
    )
    entries = bench.build()
    assert not [path for path in entries if "armable" in path]
    assert entries["tftp/pxelinux.cfg/52:54"].link == "template-db"


def refused(bench, kind):
    bench.output.write_bytes(b"as it was")
    with pytest.raises(kind) as caught:
        bench.build()
    assert bench.output.read_bytes() == b"as it was"
    return str(caught.value)


def test_options_that_no_loader_could_pass_on(bench):
    word = "x" * 255
    bench.inventory = Inventory(
        unknown=UNKNOWN, hosts=(replace(HOST, options=tuple(f"{word}{n}" for n in range(6))),)
    )
    message = refused(bench, RecipeError)
    assert message.startswith("host a: boot options are too long for PXELINUX; expected at most ")
    assert message.endswith("\n  next: leave some out, or let a file of the overlay say it")


def test_options_of_a_template(bench):
    bench.options = {"db": ("initrd=mine",)}
    assert refused(bench, RecipeError) == (
        "template db: PXELINUX would load this instead of the initramfs; expected no initrd= in a "
        "kernel word, got initrd=mine\n"
        "  next: leave it out; the initramfs is named for every loader"
    )


def test_a_release_that_no_loader_boots(bench):
    bench.facts = facts(arch="aarch64")
    assert refused(bench, BuildError) == (
        "[netboot]: no network boot loader for release alpine; expected a release for x86_64 or "
        "x86, got aarch64\n"
        "  next: name another template in [netboot] and in recipes/hosts.toml"
    )


def test_a_release_that_cannot_boot_from_the_medium(bench):
    bench.facts = facts(generation="G1")
    assert refused(bench, RecipeError) == (
        "[netboot]: release alpine cannot boot from HTTP: its modloop service takes no URL; "
        'expected media = "nfs" for Alpine 3.1 and 3.2, got http\n'
        '  next: write media = "nfs" in [netboot] of template web'
    )


def test_a_template_that_no_machine_has_need_not_boot(bench):
    bench.facts = facts(generation="G1")
    bench.levels = {"site": {"template": "web"}, "templates": {"web": {"media": "nfs"}}}
    bench.inventory = Inventory(unknown=replace(UNKNOWN, media="nfs"))
    entries = bench.build()
    assert "tftp/pxelinux.cfg/template-web" in entries
    assert "tftp/pxelinux.cfg/template-db" not in entries


@pytest.mark.parametrize(
    "host, message",
    [
        (replace(HOST, template="gone"), "host a: names template gone, and there is none"),
        (
            replace(HOST, template="gone", boot="disk"),
            "host a: names template gone, and there is none",
        ),
        (
            replace(HOST, install="gone"),
            "the inventory: names installer gone, and there is none",
        ),
    ],
)
def test_an_inventory_of_another_site(bench, host, message):
    bench.inventory = Inventory(unknown=UNKNOWN, hosts=(host,))
    assert refused(bench, BuildError) == f"{message}\n  next: build again: doit inventory"


@pytest.mark.parametrize("marker", [".alpine-release", "apks/.boot_repository"])
def test_an_iso_that_is_no_medium(bench, marker):
    bench.facts = facts(files=tuple(file for file in FILES if file.path != marker))
    assert refused(bench, BuildError) == (
        f"release alpine: its ISO has no {marker}: machines would not take it for a boot medium\n"
        "  next: use a release ISO that carries packages (standard, extended or virt)"
    )


def test_a_link_that_leads_to_no_file(bench):
    bench.facts = facts(files=(*FILES, iso_file("x", type=LINK, target="apks")))
    assert refused(bench, BuildError) == (
        "release alpine: link x of its ISO leads to no file; got 'apks'\n"
        "  next: use an ISO as Alpine publishes it"
    )
