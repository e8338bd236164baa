"""The stand-in's rules on small trees, then the whole of it from downloaded packages."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from bootsmith.builders.standin import build_standin, fetch_packages, resolve_packages
from bootsmith.builders.standin.kernels import choose_modules
from bootsmith.builders.standin.recipe import FlavorRule, PackageRule, read_standin_data
from bootsmith.builders.standin.repository import apk_version, check_libraries
from bootsmith.builders.standin.trees import build_package_tree, follow, unite, with_parents
from bootsmith.errors import BuildError, RecipeError, SourceError
from bootsmith.files.deb import read_deb_control, read_deb_files
from bootsmith.formats.apk import ApkEntry, check_signed, read_apk, read_index
from bootsmith.formats.compression import decompress_initramfs
from bootsmith.formats.cpio import read_cpio
from bootsmith.formats.package_lock import read_package_lock, write_package_lock

DATA = Path(sys.modules["bootsmith.builders"].__file__).parent / "standin_data"


def sorted_dependencies(text: bytes) -> dict[bytes, list[bytes]]:
    pairs = (line.partition(b":") for line in text.splitlines())
    return {name: sorted(needs.split()) for name, _, needs in pairs}


def tree_of(*entries: ApkEntry) -> dict[str, ApkEntry]:
    return {entry.name: entry for entry in entries}


def program(name: str) -> ApkEntry:
    return ApkEntry(name=name, mode=0o755, data=Path("/bin/dash").read_bytes())


def built(rule: PackageRule, deb_trees: dict, own: Path = Path("/nonexistent")) -> dict:
    return build_package_tree(
        rule, deb_trees=deb_trees, moves={"/bin": "/usr/bin"}, own_directory=own, subject="p.toml"
    )


class TestTrees:
    DEBS = {
        "dash": tree_of(
            program("bin/dash"),
            ApkEntry(name="usr/share/doc/dash/a.crt", data=b"A"),
            ApkEntry(name="usr/share/doc/dash/b.crt", data=b"B\n"),
        )
    }

    def test_a_package_is_what_its_rule_says(self, tmp_path):
        own = tmp_path / "dash"
        (own / "etc/init.d").mkdir(parents=True)
        (own / ".scripts").mkdir()
        (own / ".scripts/post-install").write_text("#!/bin/sh\n")
        (own / "etc/init.d/dash").write_text("#!/sbin/openrc-run\n")
        (own / "etc/dash.conf").write_text("x\n")
        os.symlink("dash.conf", own / "etc/link")
        rule = PackageRule(
            name="dash",
            summary="a shell",
            debs=("dash",),
            files=("/bin/da*",),
            joins={"/etc/all.crt": ("/usr/share/doc/dash/*.crt",)},
            links={"/usr/bin/sh": "dash"},
            directories=("0700 /root", "/srv"),
            modes={"/etc/dash.conf": "0640"},
            own="dash",
        )
        tree = built(rule, self.DEBS, tmp_path)
        assert {name: (entry.kind, oct(entry.mode)) for name, entry in tree.items()} == {
            "usr/bin/dash": ("file", "0o755"),
            "etc/all.crt": ("file", "0o644"),
            "usr/bin/sh": ("symlink", "0o777"),
            "root": ("directory", "0o700"),
            "srv": ("directory", "0o755"),
            "etc": ("directory", "0o755"),
            "etc/init.d": ("directory", "0o755"),
            "etc/init.d/dash": ("file", "0o755"),
            "etc/dash.conf": ("file", "0o640"),
            "etc/link": ("symlink", "0o777"),
        }
        assert tree["etc/all.crt"].data == b"A\nB\n"
        assert list(with_parents(tree))[:2] == ["etc", "etc/all.crt"]

    def test_a_glob_that_matches_nothing_is_an_error(self):
        rule = PackageRule(name="dash", summary="", debs=("dash",), files=("/sbin/dash",))
        with pytest.raises(RecipeError) as caught:
            built(rule, self.DEBS)
        assert caught.value.message == (
            "p.toml: files: nothing matches /sbin/dash; expected a file of dash"
        )

    def test_the_same_file_in_two_packages_is_an_error(self):
        with pytest.raises(BuildError) as caught:
            unite({"a": tree_of(program("usr/bin/x")), "b": tree_of(program("usr/bin/x"))})
        assert caught.value.message == "package b: /usr/bin/x is also in package a"

    def test_a_file_below_another_packages_link_is_an_error(self):
        link = ApkEntry(name="bin", kind="symlink", target="usr/bin")
        with pytest.raises(BuildError) as caught:
            unite({"base": tree_of(link), "b": tree_of(program("bin/x"))})
        assert caught.value.message == ("package b: /bin/x lies below /bin, a link of package base")

    def test_links_are_followed_through_directories(self):
        tree = tree_of(
            ApkEntry(name="lib", kind="symlink", target="usr/lib"),
            ApkEntry(name="usr/lib/a.so", kind="symlink", target="/lib/b.so"),
            ApkEntry(name="usr/lib/b.so", kind="symlink", target="../lib/c.so"),
            ApkEntry(name="usr/lib/c.so", data=b"x"),
            ApkEntry(name="loop", kind="symlink", target="loop"),
        )
        assert follow(tree, "lib/a.so") == (
            "lib",
            "usr/lib/a.so",
            "lib",
            "usr/lib/b.so",
            "usr/lib/c.so",
        )
        assert follow(tree, "lib/none") == ()
        assert follow(tree, "loop") == ()

    def test_a_missing_library_is_named(self):
        rules = [
            PackageRule(name="dash", summary=""),
            PackageRule(name="glibc", summary=""),
        ]
        library = ApkEntry(name="usr/lib/libc.so.6", data=b"")
        trees = {"dash": tree_of(program("usr/bin/dash")), "glibc": tree_of(library)}
        with pytest.raises(BuildError) as caught:
            check_libraries(rules, trees)
        assert caught.value.message.startswith("package dash: /usr/bin/dash links to ")
        assert caught.value.message.endswith(", which no package it depends on has")
        loader = ApkEntry(name="usr/lib64/ld-linux-x86-64.so.2", data=b"")
        trees["glibc"]["usr/lib64/ld-linux-x86-64.so.2"] = loader
        with pytest.raises(BuildError) as caught:
            check_libraries(rules, trees)
        assert str(caught.value) == (
            "package dash: /usr/bin/dash links to ld-linux-x86-64.so.2, "
            "which no package it depends on has\n  next: add glibc to its depends"
        )
        check_libraries([PackageRule(name="dash", summary="", depends=("glibc",)), rules[1]], trees)


@pytest.mark.parametrize(
    "deb, apk",
    [
        ("1:1.35.0-4+deb12u1+b1", "1.35.0-r0"),
        ("30+20221128-1", "30-r0"),
        ("2022.83-1+deb12u3", "2022.83-r0"),
        ("1.10.1-3", "1.10.1-r0"),
        ("20250419~deb12u2", "20250419-r0"),
        ("1.1b-2", "1.1b-r0"),
        ("1.0rc1-2", "1.0-r0"),
    ],
)
def test_versions_that_apk_accepts(deb: str, apk: str) -> None:
    assert apk_version(deb) == apk


class TestModuleChoice:
    NEEDS = {
        "kernel/drivers/gpu/drm/drm.ko": (),
        "kernel/drivers/gpu/drm/i915.ko": ("drm",),
        "kernel/drivers/gpu/drm/tiny/bochs.ko": ("drm",),
        "kernel/sound/snd.ko": (),
        "kernel/sound/snd-pcm.ko": ("snd",),
        "kernel/drivers/usb/gadget-audio.ko": ("snd_pcm",),
    }

    def test_what_stays_has_what_it_depends_on(self):
        rule = FlavorRule(
            kernel="x",
            drop=("kernel/drivers/gpu", "kernel/sound"),
            keep=("kernel/drivers/gpu/drm/tiny",),
        )
        assert set(self.NEEDS) - choose_modules(self.NEEDS, rule) == {
            "kernel/drivers/gpu/drm/i915.ko"
        }

    def test_a_glob_that_matches_no_module_is_an_error(self):
        with pytest.raises(RecipeError) as caught:
            choose_modules(self.NEEDS, FlavorRule(kernel="x", drop=("kernel/drivers/media",)))
        assert caught.value.message == ("medium.toml: drop: no module matches kernel/drivers/media")


class TestData:
    def test_the_shipped_data_is_in_order(self):
        data = read_standin_data(DATA)
        assert {"alpine-base", "busybox", "openrc", "dropbear"} <= {p.name for p in data.packages}
        assert set(data.flavors) == {"virt", "lts"}

    @pytest.mark.parametrize(
        "text, message",
        [
            ("[[package]]\nname = 'a'\n", "packages.toml: a: key 'summary' is missing"),
            (
                "[[package]]\nname = 'a'\nsummary = ''\ndebs = 'b'\n",
                "packages.toml: a: debs: wrong type; expected a list, got 'b'",
            ),
            (
                "[[package]]\nname = 'a'\nsummary = ''\ndepends = ['b']\n",
                "packages.toml: a: depends on 'b', which no package is or provides",
            ),
            (
                "[[package]]\nname = 'a'\nsummary = ''\n" * 2,
                "packages.toml: a: two packages have this name",
            ),
            ("package = 1 2", "packages.toml: not TOML: Expected newline or end of document "),
        ],
    )
    def test_wrong_data_is_located(self, tmp_path, text: str, message: str):
        for name in ("medium.toml", "initramfs.toml"):
            (tmp_path / name).write_bytes((DATA / name).read_bytes())
        (tmp_path / "packages.toml").write_text(text)
        with pytest.raises(RecipeError) as caught:
            read_standin_data(tmp_path)
        assert caught.value.message.removeprefix(f"{tmp_path}/").startswith(message)

    def test_an_unknown_flavor_is_an_error(self):
        with pytest.raises(RecipeError) as caught:
            read_standin_data(DATA).kernel_metapackages(["grsec"])
        assert caught.value.message == "stand-in: no flavor 'grsec'; expected lts or virt"


def test_a_missing_lock_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        fetch_packages(
            lock=tmp_path / "no.lock",
            state=tmp_path / "apt",
            packages=tmp_path / "debs",
            manifest=tmp_path / "m",
        )
    assert str(caught.value) == (
        f"{tmp_path}/no.lock: the package lock is missing\n  next: make it with: doit lock"
    )


# From here on: real packages, downloaded once for all tests of this file.


@pytest.fixture(scope="module")
def sources(tmp_path_factory, checkout: Path) -> Path:
    """A directory with the lock and the downloaded packages for flavor virt."""
    place = tmp_path_factory.mktemp("standin")
    resolve_packages(
        data=DATA,
        pinned=checkout / "recipes/releases/standin.lock",
        flavors=["virt"],
        state=place / "apt",
        output=place / "lock",
    )
    fetch_packages(
        lock=place / "lock",
        state=place / "apt",
        packages=place / "debs",
        manifest=place / "manifest.json",
    )
    return place


def make_iso(sources: Path, output: Path) -> None:
    build_standin(
        lock=sources / "lock",
        manifest=sources / "manifest.json",
        packages=sources / "debs",
        data=DATA,
        release="3.24.0",
        flavors=["virt"],
        output=output,
        report=output.with_suffix(".json"),
    )


@pytest.fixture(scope="module")
def iso(sources: Path) -> Path:
    make_iso(sources, sources / "first.iso")
    return sources / "first.iso"


@pytest.fixture(scope="module")
def medium(iso: Path) -> Path:
    """The ISO's tree, taken out by xorriso."""
    tree = iso.parent / "medium"
    subprocess.run(
        ["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", tree],
        check=True,
        capture_output=True,
    )
    subprocess.run(["chmod", "-R", "u+w", tree], check=True)
    return tree


@pytest.mark.network
class TestFromRealPackages:
    def test_locked_packages_arrive_and_are_kept(self, sources: Path):
        manifest = json.loads((sources / "manifest.json").read_text())
        for name, facts in manifest.items():
            content = (sources / "debs" / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == facts["sha256"]
            assert len(content) == facts["size_bytes"]
        before = {path: path.stat().st_ino for path in (sources / "debs").iterdir()}
        damaged = min(before)
        damaged.write_bytes(b"damaged")
        fetch_packages(
            lock=sources / "lock",
            state=sources / "apt",
            packages=sources / "debs",
            manifest=sources / "manifest.json",
        )
        after = {path: path.stat().st_ino for path in (sources / "debs").iterdir()}
        assert hashlib.sha256(damaged.read_bytes()).hexdigest() == manifest[damaged.name]["sha256"]
        assert {path for path in before if before[path] == after[path]} >= set(before) - {damaged}

    def test_a_version_that_is_gone_is_replaced_and_told(self, sources: Path, tmp_path: Path):
        lock = read_package_lock((sources / "lock").read_text())
        kmod = lock.by_name()["kmod"]
        old = kmod.__class__(**{**vars(kmod), "version": "29-1", "sha256": "00" * 32})
        (tmp_path / "pins").write_text(
            write_package_lock([old, *(p for p in lock.packages if p.name != "kmod")])
        )
        told = []
        resolve_packages(
            data=DATA,
            pinned=tmp_path / "pins",
            flavors=["virt"],
            state=sources / "apt",
            output=tmp_path / "lock",
            tell=told.append,
        )
        again = read_package_lock((tmp_path / "lock").read_text())
        note = f"kmod: 29-1 can no longer be had, took {kmod.version}"
        assert again.notes == (note,)
        assert again.by_name()["kmod"] == kmod
        assert told == [f"{note}; to pin what there is now: doit lock"]

    def test_debs_read_as_dpkg_reads_them(self, sources: Path, tmp_path: Path):
        deb = next((sources / "debs").glob("kmod_*"))
        assert read_deb_control(deb).fields["Package"] == "kmod"
        listing = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", deb], check=True, capture_output=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(listing)) as archive:
            expected = {
                member.name.strip("./"): archive.extractfile(member).read()
                for member in archive
                if member.isreg()
            }
        ours = {member.name: member.data for member in read_deb_files(deb) if member.kind == "file"}
        assert {name.strip("./"): data for name, data in ours.items()} == expected

    def test_two_builds_are_the_same_to_the_byte(self, sources: Path, iso: Path, tmp_path: Path):
        script = (
            "import os, sys; from pathlib import Path; os.umask(0o077);"
            "sys.path.insert(0, sys.argv[1]); import test_standin;"
            "test_standin.make_iso(Path(sys.argv[2]), Path(sys.argv[3]))"
        )
        second = tmp_path / "another place" / "x.iso"
        subprocess.run(
            [sys.executable, "-c", script, Path(__file__).parent, sources, second],
            check=True,
            cwd=tmp_path,
            env={**os.environ, "TZ": "Pacific/Kiritimati", "LC_ALL": "C"},
        )
        assert second.read_bytes() == iso.read_bytes()
        assert second.with_suffix(".json").read_bytes() == iso.with_suffix(".json").read_bytes()
        assert not [path for path in second.parent.iterdir() if path.name.startswith(".")]

    def test_the_medium_is_laid_out_as_alpines(self, medium: Path, iso: Path):
        files = {
            path.relative_to(medium).as_posix() for path in medium.rglob("*") if path.is_file()
        }
        assert {name for name in files if not name.startswith("apks/x86_64/")} == {
            ".alpine-release",
            "apks/.boot_repository",
            "boot/System.map-virt",
            "boot/config-virt",
            "boot/grub/efi.img",
            "boot/grub/grub.cfg",
            "boot/initramfs-virt",
            "boot/modloop-virt",
            "boot/syslinux/boot.cat",
            "boot/syslinux/isohdpfx.bin",
            "boot/syslinux/isolinux.bin",
            "boot/syslinux/ldlinux.c32",
            "boot/syslinux/libcom32.c32",
            "boot/syslinux/libutil.c32",
            "boot/syslinux/mboot.c32",
            "boot/syslinux/syslinux.cfg",
            "boot/vmlinuz-virt",
            "efi/boot/bootx64.efi",
        }
        name, day = (medium / ".alpine-release").read_text().split()
        assert name == "alpine-standin-3.24.0"
        assert len(day) == 6
        assert day.isdigit()
        assert oct((medium / "boot/initramfs-virt").stat().st_mode & 0o777) == "0o600"
        volume = subprocess.run(["blkid", "-o", "value", "-s", "LABEL", iso], capture_output=True)
        assert volume.stdout.decode().strip() == "alpine-standin 3.24.0 x86_64"
        assert not [name for name in files if "linux-virt" in name]

    def test_the_repository_is_signed_by_the_key_it_ships(self, medium: Path):
        apks = medium / "apks/x86_64"
        keys = next(apks.glob("alpine-keys-*.apk"))
        entry = read_apk(keys.read_bytes()).find("etc/apk/keys/bootsmith-standin.rsa.pub")
        trusted = {"bootsmith-standin.rsa.pub": entry.data}
        index = read_index((apks / "APKINDEX.tar.gz").read_bytes())
        check_signed(index, trusted)
        listed = {record.file_name: record for record in index.records}
        assert set(listed) == {path.name for path in apks.glob("*.apk")}
        for path in apks.glob("*.apk"):
            apk = read_apk(path.read_bytes(), subject=path.name)
            check_signed(apk, trusted)
            assert apk.checksum == listed[path.name].checksum
            assert listed[path.name].file_size_bytes == path.stat().st_size

    def test_the_initramfs_is_a_stock_one(self, medium: Path, tmp_path: Path):
        packed = (medium / "boot/initramfs-virt").read_bytes()
        assert packed[:2] == b"\x1f\x8b"
        entries = {
            entry.name: entry
            for entry in read_cpio(decompress_initramfs(packed, limit_bytes=1 << 30))
        }
        for name in ("bin", "sbin", "lib"):
            assert bytes(entries[name].data) == f"usr/{name}".encode()
        assert entries["init"].mode == 0o100755
        modules = {name.rpartition("/")[2] for name in entries if name.endswith(".ko")}
        assert {"loop.ko", "squashfs.ko", "overlay.ko", "isofs.ko"} <= modules
        assert {"virtio_net.ko", "virtio_blk.ko"} <= modules
        assert not {"e1000.ko", "e1000e.ko", "nfs.ko"} & modules
        self.check_indexes(entries, tmp_path)
        signature = "var/cache/misc/modloop-virt.SIGN.RSA.bootsmith-standin.rsa.pub"
        key = "etc/apk/keys/bootsmith-standin.rsa.pub"
        (tmp_path / "signature").write_bytes(entries[signature].data)
        (tmp_path / "key").write_bytes(entries[key].data)
        modloop = medium / "boot/modloop-virt"
        subprocess.run(
            ["openssl", "dgst", "-sha1", "-verify", "key", "-signature", "signature", modloop],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    @staticmethod
    def check_indexes(entries: dict, tmp_path: Path):
        """depmod, run on the initramfs's own modules, writes what is there."""
        top = next(name for name in entries if name.endswith("/modules.dep")).rpartition("/")[0]
        release = top.rpartition("/")[2]
        for name, entry in entries.items():
            path = tmp_path / "root/lib/modules" / release / name.removeprefix(f"{top}/")
            if name.startswith(f"{top}/") and entry.mode & 0o170000 == 0o100000:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(entry.data)
        ours = {path: path.read_bytes() for path in (tmp_path / "root").rglob("modules.*")}
        subprocess.run(["depmod", "-b", tmp_path / "root", release], check=True)
        for path, content in ours.items():
            if path.name == "modules.dep":
                # On a smaller tree depmod may name independent modules in another order.
                assert sorted_dependencies(path.read_bytes()) == sorted_dependencies(content)
            elif path.name != "modules.dep.bin":  # the same text, in the same order
                assert path.read_bytes() == content, path.name

    def test_the_modloop_holds_plain_modules_of_the_kernel(self, medium: Path, iso: Path):
        facts = json.loads(iso.with_suffix(".json").read_text())
        release = facts["flavors"]["virt"]["kernel_release"]
        listing = subprocess.run(
            ["unsquashfs", "-lln", "-d", "", medium / "boot/modloop-virt"],
            check=True,
            capture_output=True,
        ).stdout.decode()
        assert f"/modules/{release}/modules.dep.bin" in listing
        assert f"/modules/{release}/kernel/fs/squashfs/squashfs.ko" in listing
        for line in listing.splitlines():
            if line.startswith(("-", "d", "l")):
                mode, owner = line.split()[:2]
                assert owner == "0/0"
                assert mode in ("drwxr-xr-x", "-rw-r--r--")
        assert release.encode() in (medium / "boot/vmlinuz-virt").read_bytes()
        assert facts["is_standin"] is True

    def test_it_boots_from_cd_and_disk_on_bios_and_uefi(self, iso: Path):
        questions = ["-report_el_torito", "plain", "-report_system_area", "plain"]
        report = subprocess.run(
            ["xorriso", "-indev", iso, *questions],
            check=True,
            capture_output=True,
        ).stdout.decode()
        assert "BIOS  y   none  0x0000  0x00      4" in report
        assert "UEFI  y   none" in report
        assert "isohybrid" in report

    def test_a_changed_package_is_refused(self, sources: Path, tmp_path: Path):
        lock = read_package_lock((sources / "lock").read_text())
        wrong = [
            package.__class__(**{**vars(package), "sha256": "00" * 32})
            if package.name == "kmod"
            else package
            for package in lock.packages
        ]
        (tmp_path / "lock").write_text(write_package_lock(wrong))
        with pytest.raises(SourceError) as caught:
            build_standin(
                lock=tmp_path / "lock",
                manifest=sources / "manifest.json",
                packages=sources / "debs",
                data=DATA,
                release="3.24.0",
                flavors=["virt"],
                output=tmp_path / "x.iso",
                report=tmp_path / "x.json",
            )
        assert caught.value.problem == "missing or not the locked package"
        assert not (tmp_path / "x.iso").exists()
