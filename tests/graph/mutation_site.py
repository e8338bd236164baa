"""A whole site, made so small that building any part of it takes a moment.

Real recipes, the real plan, real builders and a real Executor; only the ISO is made here, to
the contract, of kernels that are nothing but a header. `Site.run` does what a run of doit
does, in this process, and says which steps it did.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

from kernel_samples import MODULES, bzimage, stock_initramfs, write_modloop, write_module_tree

from bootsmith.errors import BootsmithError
from bootsmith.files.digest import is_settled
from bootsmith.files.store import clone_file
from bootsmith.graph.execute import Executor
from bootsmith.graph.layout import Layout
from bootsmith.graph.registry import plan_site
from bootsmith.graph.step import Step
from bootsmith.site.loader import load_site
from bootsmith.tools.run import run_program

KERNELS = {"virt": "6.6.7-0-virt", "lts": "6.6.7-0-lts"}
RECIPES = {
    "recipes/site.toml": """\
schema = 1
name = "tiny"
release = "tiny"
flavor = "lts"

[generation]
gate = "checks"
keep = 5

[smoke]
memory_mebibytes = 512
accel = "tcg"
""",
    "recipes/releases/tiny.toml": """\
iso = "../../media/tiny.iso"
flavors = ["virt", "lts"]

[pxerd]
features = ["network", "squashfs"]
compression = "gzip"
level = 6
""",
    "recipes/templates/alpha.toml": """\
summary = "first"
flavor = "virt"
hostname = "alpha"
overlays = ["base", "alpha"]
packages = ["dropbear", "nginx"]

[runlevels]
boot = ["networking"]
default = ["dropbear", "local"]

[boot]
options = ["quiet"]

[usbkey]
size = "36M"
firmware = ["bios", "uefi"]
""",
    "recipes/templates/beta.toml": """\
summary = "second"
overlays = ["base"]

[usbkey]
size = "36M"
firmware = ["bios"]
""",
    "recipes/features.d/network.modules": "kernel/drivers/net/virtio_net.ko*\n",
    "recipes/features.d/squashfs.modules": "kernel/fs/squashfs\n",
    "recipes/features.d/usb.modules": "kernel/drivers/net/ethernet\n",
    "overlays/base/etc/motd": "welcome\n",
    "overlays/base/etc/conf.d/net": "iface=eth0\n",
    "overlays/base/usr/bin/hello": "#!/bin/sh\necho hello\n",
    "overlays/base.owners": "0600 root:root etc/conf.d/net\n",
    "overlays/alpha/etc/issue": "alpha\n",
    "overlays/alpha/srv/www/index.html": "<p>alpha</p>\n",
    "overlays/unused/etc/issue": "nobody takes me\n",
    "overlays/unused.owners": "0644 root:root etc/issue\n",
}
ISO = "media/tiny.iso"


class Disc:
    """The tree that the ISO is made of, kept so that another ISO can be made."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tree = directory / "tree"
        self.put(".alpine-release", b"alpine-standard-3.20.3 240906\n")
        self.put("apks/.boot_repository", b"")
        self.put("apks/x86_64/APKINDEX.tar.gz", b"index")
        self.put("apks/x86_64/busybox-1.36.1-r29.apk", b"apk" * 999)
        self.put("boot/System.map-virt", b"symbols")
        for flavor in KERNELS:
            self.add_flavor(flavor)

    def put(self, path: str, content: bytes) -> None:
        (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
        (self.tree / path).write_bytes(content)

    def add_flavor(self, flavor: str, *, more: tuple[str, ...] = (), release: str = "") -> None:
        """`more` are paths of extra modules in the modloop."""
        kernel = release or KERNELS[flavor]
        modules = MODULES | dict.fromkeys(more, MODULES["kernel/fs/jbd2/jbd2.ko"])
        root = self.directory / f"modules-{flavor}"
        shutil.rmtree(root, ignore_errors=True)
        directory = write_module_tree(root, modules=modules, kernel=kernel)
        modloop = write_modloop(root, self.directory / f"modloop-{flavor}")
        stock = stock_initramfs(directory, usr_merged=True, kernel=kernel)
        self.put(f"boot/vmlinuz-{flavor}", bzimage(kernel))
        self.put(f"boot/initramfs-{flavor}", gzip.compress(stock, mtime=0))
        self.put(f"boot/modloop-{flavor}", modloop.read_bytes())
        self.put(f"boot/config-{flavor}", b"CONFIG_RD_GZIP=y\nCONFIG_RD_XZ=y\n")

    def write(self, iso: Path) -> None:
        """Any two ISOs of the same tree are the same file."""
        iso.parent.mkdir(exist_ok=True)
        iso.unlink(missing_ok=True)
        for path in sorted(self.tree.rglob("*")):
            os.utime(path, (0, 0))
        words = ["-as", "mkisofs", "-quiet", "-o", iso, "-lJR", "-V", "tiny", self.tree]
        run_program(["xorriso", *words])


class Site:
    """The tiny site below `root`, and what a test puts in place of the machine's programs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)
        self.programs: dict[str, str | None] = {}
        self.python = "3.11.2 as tested"

    def path(self, name: str) -> Path:
        return self.root / name

    def steps(self) -> tuple[Step, ...]:
        """What belongs to `doit build`, each step behind those it needs."""
        steps, _ = plan_site(load_site(self.root), self.layout)
        return tuple(step for step in steps if step.in_build and not step.by_request)

    def executor(self) -> Executor:
        return Executor(
            self.layout,
            self.steps(),
            program_version=lambda name: self.programs.get(name, "1.0"),
            python_version=lambda: self.python,
        )

    def run(self) -> set[str]:
        """Labels of the steps that were done; a BootsmithError ends the run as it does doit's."""
        executor = self.executor()
        done = set()
        try:
            for step in executor.steps.values():
                if not executor.is_done(step):
                    executor.execute(step, lambda message, count, total: None)
                    done.add(step.label)
        finally:
            close(executor)
        return done

    def stale(self) -> set[str]:
        """Labels of the steps that would be done, judged without doing any."""
        executor = self.executor()
        try:
            return {step.label for step in executor.steps.values() if not executor.is_done(step)}
        finally:
            close(executor)

    def failure(self) -> str:
        """What the run that must fail says."""
        try:
            done = self.run()
        except BootsmithError as error:
            return str(error)
        raise AssertionError(f"nothing failed; done: {sorted(done)}")


def close(executor: Executor) -> None:
    """Let go of the state file, as the end of the process would."""
    for state in executor._states.values():
        state.close()


def write_site(root: Path, disc: Disc) -> Site:
    """The tiny site, not built."""
    for name, text in RECIPES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "overlays/base/usr/bin/hello").chmod(0o755)
    (root / "overlays/base/etc/localtime").symlink_to("/etc/zoneinfo/UTC")
    (root / "overlays/base/var/empty").mkdir(parents=True)
    disc.write(root / ISO)
    return Site(root)


# -- as it was ----------------------------------------------------------------------------


class Original:
    """The built site as it was, to be put back after each mutation.

    Only what differs is put back, so that the digests of the rest stay known: hashing two
    keys for every mutation would take most of the time.
    """

    # Caches hold nothing that decides; to fill them again would only cost time.
    _LEFT_ALONE = ("artifacts/cache",)

    def __init__(self, site: Site, directory: Path) -> None:
        self.site = site
        self._copy = directory / "original"
        self._settle()
        for name, status in self._entries(site.root).items():
            _copy_entry(site.root / name, self._copy / name, status)
        self._known = self._identities()

    def restore(self) -> None:
        """Make the site what it was; modes, owners and links included."""
        self.site.programs.clear()
        self.site.python = "3.11.2 as tested"
        now, kept = self._entries(self.site.root), self._entries(self._copy)
        for name in sorted(now.keys() - kept.keys(), reverse=True):
            _remove(self.site.root / name)
        for name, status in kept.items():
            path = self.site.root / name
            if name in now and self._known[name] == _identity(now[name]):
                continue
            if not (stat.S_ISDIR(status.st_mode) and path.is_dir() and not path.is_symlink()):
                _remove(path)
            _copy_entry(self._copy / name, path, status)
        self._known = self._identities()

    def _settle(self) -> None:
        """Have every digest remembered: nothing changed within the doubtful two seconds."""
        newest = max(self._entries(self.site.root).values(), key=lambda status: status.st_ctime_ns)
        while not is_settled(newest):
            time.sleep(0.05)
        assert self.site.run() == set()

    def _identities(self) -> dict[str, tuple]:
        return {name: _identity(entry) for name, entry in self._entries(self.site.root).items()}

    def _entries(self, root: Path) -> dict[str, os.stat_result]:
        """Every entry by name, parents first."""
        found: dict[str, os.stat_result] = {}
        pending = [""]
        while pending:
            directory = pending.pop()
            with os.scandir(root / directory) as entries:
                for entry in entries:
                    name = f"{directory}{entry.name}"
                    if name in self._LEFT_ALONE:
                        continue
                    found[name] = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{name}/")
        return dict(sorted(found.items()))


def _identity(status: os.stat_result) -> tuple:
    common = (status.st_mode, status.st_uid, status.st_gid)
    if stat.S_ISDIR(status.st_mode):
        return common
    return (*common, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy_entry(source: Path, target: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        target.symlink_to(os.readlink(source))
        return
    if stat.S_ISDIR(status.st_mode):
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.touch()
        clone_file(source, target)
    target.chmod(stat.S_IMODE(status.st_mode))
    os.chown(target, status.st_uid, status.st_gid)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


Change = Callable[[Site], None]
