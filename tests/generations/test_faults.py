"""Eight faults that keep machines from booting, each put in where it would come from.

One site that boots from the network is built and promoted. Then a recipe is changed, its ISO is
replaced, or what a step made is damaged before the next one takes it; all steps run as they do
in `doit build`. Each time the message names the fault, and machines go on booting the generation
that is current.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from kernel_samples import bzimage, kernel_module
from mutation_site import Original, Site, close
from netboot_site import KERNEL, MODULES, write_netboot_site

from bootsmith.errors import BootsmithError, PublishError
from bootsmith.files.manifest import read_manifest
from bootsmith.files.netboot_tree import tree_of
from bootsmith.generations.inspection import verify_generations

PXERD = "pxerd/tiny-virt/pxerd-virt"
MODLOOP = "modloop/tiny-virt/modloop-virt"
CONFIGURATION = "netboot/tftp/grub/template-db.cfg"


class Faulty:
    """The built site, and what is done to it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.root = site.root

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def replace_iso(self, **wrong) -> None:
        """The ISO of the same site, but for what is `wrong` with it."""
        other = self.root / "other"
        write_netboot_site(other, **wrong)
        os.replace(other / "media/tiny.iso", self.root / "media/tiny.iso")
        shutil.rmtree(other)

    def run(self, step_label: str = "", damage: Callable[[], object] | None = None) -> str:
        """What the run of all steps says in the end, with the id of the generation left out.

        `damage` is done behind a step, to what it made.
        """
        is_damaged = damage is None
        executor = self.site.executor()
        try:
            for step in executor.steps.values():
                if not executor.is_done(step):
                    executor.execute(step, lambda message, count, total: None)
                    if damage is not None and step.label == step_label:
                        damage()
                        is_damaged = True
        except BootsmithError as error:
            assert is_damaged, f"{step_label} had nothing to do"
            newest = os.path.basename(os.readlink(self.root / "artifacts/generations/latest"))
            return str(error).replace(newest, "ID").replace(f"{self.root}/", "")
        finally:
            close(executor)
        raise AssertionError("nothing failed")

    def halve(self, name: str) -> None:
        """Leave the first half of what a step made."""
        path = self.root / "artifacts/build" / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    def verify(self) -> str:
        """What `doit verify` says of the candidate."""
        said: list[str] = []
        with pytest.raises(PublishError) as caught:
            verify_generations(
                artifacts=self.root / "artifacts",
                store=self.root / "artifacts/store",
                build=self.root / "artifacts/build",
                operands=[self.candidate.name],
                everything=False,
                repair=False,
                say=said.append,
                progress=lambda message, done, total: None,
            )
        said.append(str(caught.value))
        return "\n".join(said).replace(self.candidate.name, "ID")

    @property
    def current(self) -> str:
        return os.readlink(self.root / "artifacts/current")

    @property
    def candidate(self) -> Path:
        return (self.root / "artifacts/candidate").resolve()


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    directory = tmp_path_factory.mktemp("faults")
    (directory / "site").mkdir()
    site = write_netboot_site(directory / "site")
    site.run()
    return Original(site, directory)


@pytest.fixture
def faulty(original):
    made = Faulty(original.site)
    before = made.current, (made.root / "artifacts/history.jsonl").read_bytes()
    yield made
    # Whatever was refused, machines boot what they booted before, and nobody wrote otherwise.
    assert (made.current, (made.root / "artifacts/history.jsonl").read_bytes()) == before
    original.restore()


def test_without_a_fault_all_of_it_is_published(original):
    generation = (original.site.root / "artifacts/current").resolve()
    tree = tree_of(generation, read_manifest(generation))
    assert {"tftp/grub/template-db.cfg", "tftp/pxelinux.cfg/template-db+lpxelinux"} <= {*tree.texts}
    assert "http/apkovl/52:54:00:00:00:02.apkovl.tar.gz" in tree.files


def test_no_nfs_ko(faulty):
    faulty.write("recipes/features.d/nfs.modules", "kernel/net/sunrpc/sunrpc.ko*\n")
    (faulty.root / "recipes/features.d/nfs.required").unlink()
    message = faulty.run()
    assert message == (
        "generation ID: 2 things would keep machines from booting:\n"
        f"  - ID/{PXERD}: has no nfs.ko, and the medium is on NFS; "
        f"{CONFIGURATION} boots it; "
        "expected what the feature nfs brings, got none\n"
        '      next: add "nfs" to the features of [pxerd] in the recipe of release tiny\n'
        f"  - ID/{PXERD}: has no nfsv3.ko, and the medium is on NFS; "
        f"{CONFIGURATION} boots it; "
        "expected what the feature nfs brings, got none\n"
        '      next: add "nfs" to the features of [pxerd] in the recipe of release tiny\n'
        "  next: do what stands below each, then build again: doit build"
    )
    assert (faulty.candidate / PXERD).is_file()


def test_an_init_without_the_nfs_patch(faulty):
    faulty.replace("recipes/releases/tiny.toml", "[pxerd]\n", "[pxerd]\npatches = []\n")
    assert faulty.run() == (
        "ID/netboot/tftp/grub/template-db.cfg: "
        "alpine_dev=nfs:10.20.0.1:/srv/boot/generations/ID/netboot/nfs/tiny: cannot be: "
        "init 3.14.0 (bootsmith stand-in) mounts no NFS medium, and is not patched to "
        "(as in tftp/ipxe/template-db.ipxe, tftp/pxelinux.cfg/template-db, "
        "tftp/pxelinux.cfg/template-db+lpxelinux)\n"
        '  next: add "nfs" to the features of [pxerd] in the release recipe; patches = [] leaves '
        "its patch nfs-medium out"
    )


def test_the_modloop_of_another_kernel(faulty):
    faulty.replace_iso(modloop_kernel="6.6.8-0-virt")
    message = faulty.run()
    assert "6.6.7-0-virt" in message
    assert "6.6.8-0-virt" in message
    assert "modloop" in message


@pytest.mark.parametrize("cut_bytes", [1, 1000])
def test_a_truncated_modloop(faulty, cut_bytes):
    faulty.replace_iso(cut_modloop_bytes=cut_bytes)
    message = faulty.run()
    assert "modloop-virt: squashfs image is cut short; expected " in message


def test_a_modloop_that_is_truncated_on_its_way(faulty):
    """After the step that makes it, before the generation takes it."""
    faulty.replace_iso(modules={**MODULES, "kernel/fs/more.ko": kernel_module(size_bytes=9000)})
    message = faulty.run(
        "modloop:tiny-virt", lambda: faulty.halve("modloop/tiny-virt/modloop-virt")
    )
    assert "modloop-virt: squashfs image is cut short; expected " in message


def test_a_corrupt_overlay(faulty):
    faulty.write("overlays/base/etc/motd", "another\n")
    message = faulty.run("apkovl:web", lambda: faulty.halve("apkovl/web/web.apkovl.tar.gz"))
    assert "web.apkovl.tar.gz" in message
    assert "is a corrupt overlay: damaged gzip data (" in message


def test_the_corrupt_overlay_of_a_host(faulty):
    faulty.replace("recipes/hosts.toml", 'rack = "7"', 'rack = "8"')
    message = faulty.run("hostovl", lambda: faulty.halve("hostovl/files/own.apkovl.tar.gz"))
    assert "own" in message or "52:54:00:00:00:02" in message


def test_no_nic_driver(faulty):
    faulty.write("recipes/features.d/network.modules", "kernel/drivers/virtio\n")
    message = faulty.run()
    assert message == (
        f"ID/{PXERD}: has no NIC driver that could be loaded; "
        f"{CONFIGURATION} boots it; expected what the feature network brings, got none\n"
        '  next: add "network" to the features of [pxerd] in the recipe of release tiny'
    )
    # A person who is told so by promotion is told the same by doit verify.
    told = faulty.verify()
    assert told.startswith(f"{message}\nID: ")
    assert told.endswith(
        "read, 1 wrong\nverify: 1 thing is wrong, named above\n"
        "  next: do what stands below each, then build again: doit build"
    )


def test_a_nic_driver_without_what_it_needs(faulty):
    """The kernel's own index says what it needs; the file is gone from the modloop."""
    poorer = {
        **MODULES,
        "kernel/drivers/net/virtio_net.ko": kernel_module(
            needs=["register_virtio"], info=["alias=rtnl-link-virtio"]
        ),
    }
    faulty.replace_iso(modules=poorer)
    assert "has no NIC driver that could be loaded" in faulty.run()


@pytest.mark.parametrize(
    "word,problem",
    [
        (
            "apkovl=sda1:ext4:/web.apkovl.tar.gz",
            "is no form of apkovl= that init 3.14.0 (bootsmith stand-in) takes",
        ),
        ("alpine_dev=usbdisk:vfat", "is ignored by init 3.14.0 (bootsmith stand-in)"),
        ("ovl_dev=sda1", "means nothing to init 3.14.0 (bootsmith stand-in)"),
        ("alpine_rep=auto", "is known to neither init nor the modloop service"),
        ("ip=dchp", "is no form of ip= that init takes"),
        ("modloop=/boot/modloop-lts", "there is no medium that it could be on"),
    ],
)
def test_a_wrong_option(faulty, word, problem):
    """As a template says it, so every loader's configuration has it."""
    faulty.replace(
        "recipes/templates/web.toml", "[usbkey]", f'[boot]\noptions = ["{word}"]\n[usbkey]'
    )
    others = (
        "ipxe/template-web.ipxe",
        "pxelinux.cfg/template-web",
        "pxelinux.cfg/template-web+own",
    )
    message = faulty.run()
    assert f"ID/netboot/tftp/grub/template-web+own.cfg: {word}: {problem}" in message
    for path in ("grub/template-web.cfg", *others):
        assert f"tftp/{path}" in message


def test_a_missing_kernel(faulty):
    index = faulty.root / "artifacts/build/netboot/index.jsonl"

    def forget() -> None:
        lines = index.read_text().splitlines(keepends=True)
        left = [line for line in lines if '"tftp/boot/tiny-virt/vmlinuz-virt"' not in line]
        assert len(left) == len(lines) - 1
        index.write_text("".join(left))

    faulty.replace("recipes/hosts.toml", "52:54:01:02", "52:54:01:03")
    message = faulty.run("netboot", forget)
    assert message == (
        "ID/netboot/tftp/grub/template-db.cfg: names tftp/boot/tiny-virt/vmlinuz-virt, "
        "which is not there (as in tftp/grub/template-web+own.cfg, tftp/grub/template-web.cfg, "
        "tftp/ipxe/template-db.ipxe, tftp/ipxe/template-web.ipxe and 4 more)\n"
        "  next: correct the recipe that says it, or build it again: doit netboot"
    )


@pytest.mark.parametrize(
    "wrong,message",
    [
        ({"kernel": b"MZ" + bytes(54) + b"ARM\x64" + bytes(3000)}, "an arm64 Image"),
        ({"kernel": bzimage(KERNEL, is_64_bit=False)}, "is a kernel of the wrong arch"),
        (
            {"busybox": kernel_module(machine=183, size_bytes=9000)},
            "holds usr/bin/busybox, which is of the wrong arch",
        ),
    ],
)
def test_the_wrong_arch(faulty, wrong, message):
    faulty.replace_iso(**wrong)
    assert message in faulty.run()


def test_modules_of_the_wrong_arch(faulty):
    foreign = {
        path: content[:18] + (183).to_bytes(2, "little") + content[20:]
        for path, content in MODULES.items()
    }
    faulty.replace_iso(modules=foreign)
    message = faulty.run()
    assert f"ID/{MODLOOP}: holds modules of the wrong arch; expected x86_64" in message
    assert f"ID/{PXERD}: holds usr/lib/modules/" in message
