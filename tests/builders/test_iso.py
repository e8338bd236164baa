"""Releases of every layout, made small: found, verified, taken apart; the broken ones refused."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
import random
import subprocess
import threading
from functools import partial as bound

import pytest
from kernel_samples import bzimage

from bootsmith.builders.iso import build_flavor, build_release, fetch_iso
from bootsmith.errors import BuildError, FormatError, SourceError
from bootsmith.formats.cpio import directory_entry, file_entry, write_cpio
from bootsmith.formats.release_facts import read_release_facts


def initramfs(kernel_release: str, *, lib: str = "lib") -> bytes:
    names = [lib.rpartition("/")[0], lib, f"{lib}/modules", f"{lib}/modules/{kernel_release}"]
    entries = [directory_entry(name) for name in names if name]
    entries.append(file_entry(f"{lib}/modules/{kernel_release}/modules.dep", b""))
    entries.append(file_entry("init", b"#!/bin/sh\n", mode=0o755))
    return gzip.compress(write_cpio(entries), mtime=0)


def modloop(tmp_path, kernel_release: str) -> bytes:
    tree = tmp_path / f"modloop-tree-{kernel_release}"
    (tree / "modules" / kernel_release / "kernel").mkdir(parents=True, exist_ok=True)
    (tree / "modules/firmware").mkdir(exist_ok=True)
    (tree / "modules" / kernel_release / "kernel/loop.ko").write_bytes(b"\x7fELF" * 2000)
    image = tmp_path / f"modloop-{kernel_release}"
    subprocess.run(
        ["mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", "-comp", "xz"],
        check=True, capture_output=True,
    )  # fmt: skip
    return image.read_bytes()


class Disc:
    """The tree of an ISO in the making."""

    def __init__(self, tmp_path, name="alpine-standard-3.20.3 240906", arch="x86_64"):
        self.tmp_path = tmp_path
        self.tree = tmp_path / "disc"
        self.put(".alpine-release", f"{name}\n".encode())
        self.put("apks/.boot_repository", b"")
        self.put(f"apks/{arch}/APKINDEX.tar.gz", b"index")
        self.put(
            f"apks/{arch}/busybox-extras-openrc-with-a-very-long-name-1.36.1-r29.apk", b"apk" * 99
        )

    def put(self, path, content):
        (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
        (self.tree / path).write_bytes(content)

    def flavor(self, kernel_release, kernel, ram, loop, *, lib="lib"):
        self.put(kernel, bzimage(kernel_release))
        self.put(ram, initramfs(kernel_release, lib=lib))
        (self.tree / ram).chmod(0o600)
        self.put(loop, modloop(self.tmp_path, kernel_release))
        return self

    def today(self, flavor="lts", version="6.6.49-0"):
        return self.flavor(
            f"{version}-{flavor}",
            f"boot/vmlinuz-{flavor}",
            f"boot/initramfs-{flavor}",
            f"boot/modloop-{flavor}",
        )

    def iso(self, *options):
        iso = self.tmp_path / "x.iso"
        subprocess.run(
            ["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-lJR", *options, self.tree],
            check=True, capture_output=True,
        )  # fmt: skip
        return iso


@pytest.fixture
def disc(tmp_path):
    return bound(Disc, tmp_path)


def read(iso, *, sha256=None, sha512=None, progress=None):
    facts = iso.with_name("facts.json")
    build_release(iso=iso, sha256=sha256, sha512=sha512, facts=facts, progress=progress)
    return read_release_facts(facts.read_bytes())


def take(iso, flavor):
    """The four files of a flavor, in a directory of their own."""
    out = iso.with_name("out")
    targets = {name: out / name for name in ("kernel", "initramfs", "modloop", "config")}
    build_flavor(iso=iso, facts=iso.with_name("facts.json"), flavor=flavor, **targets)
    return {name: path.read_bytes() for name, path in targets.items()}


# -- layouts ------------------------------------------------------------------------------


def test_a_release_of_today(disc):
    made = disc().today("lts").today("virt")
    made.put("boot/config-lts", b"CONFIG_X=y\n")
    iso = made.iso("-V", "alpine-std 3.20.3 x86_64")
    facts = read(iso)
    assert (facts.release, facts.profile, facts.arch) == ("3.20.3", "standard", "x86_64")
    assert (facts.generation, facts.is_standin) == ("G4", False)
    assert facts.volume_id == "alpine-std 3.20.3 x86_64"
    assert facts.iso_size_bytes == iso.stat().st_size
    assert facts.iso_sha256 == hashlib.sha256(iso.read_bytes()).hexdigest()
    assert list(facts.flavors) == ["lts", "virt"]
    assert facts.flavors["lts"].kernel_release == "6.6.49-0-lts"
    taken = take(iso, "lts")
    assert taken == {
        "kernel": (made.tree / "boot/vmlinuz-lts").read_bytes(),
        "initramfs": (made.tree / "boot/initramfs-lts").read_bytes(),
        "modloop": (made.tree / "boot/modloop-lts").read_bytes(),
        "config": b"CONFIG_X=y\n",
    }
    assert take(iso, "virt")["config"] == b""
    for path in iso.with_name("out").iterdir():
        assert path.stat().st_mode & 0o777 == 0o644


def test_a_usr_merged_release(disc):
    made = disc("alpine-virt-3.23.0_rc1 251128")
    made.flavor(
        "6.18.1-0-virt", "boot/vmlinuz-virt", "boot/initramfs-virt", "boot/modloop-virt",
        lib="usr/lib",
    )  # fmt: skip
    iso = made.iso()
    assert read(iso).generation == "G5"
    assert take(iso, "virt")["kernel"] == bzimage("6.18.1-0-virt")


def test_a_stand_in_says_so(disc):
    facts = read(disc("alpine-standin-3.24.0 261116").today().iso())
    assert facts.is_standin
    assert (facts.profile, facts.generation) == ("standin", "G5")


def test_3_0_and_older(disc):
    made = disc("alpine-mini-3.0.6 150122", arch="x86")
    made.flavor("3.14.27-0-grsec", "boot/grsec", "boot/grsec.gz", "boot/grsec.modloop.squashfs")
    iso = made.iso("-V", "")
    facts = read(iso)
    assert (facts.generation, facts.volume_id, facts.arch) == ("G1", "", "x86")
    assert facts.flavors["grsec"].modloop.path == "boot/grsec.modloop.squashfs"
    assert take(iso, "grsec")["initramfs"] == (made.tree / "boot/grsec.gz").read_bytes()


def test_3_1_with_grsec_twice_and_a_bare_vanilla(disc):
    made = disc("alpine-3.1.1 150122")
    made.today("grsec", "3.14.27-0")
    made.flavor("3.14.28", "boot/vmlinuz", "boot/initramfs-vanilla", "boot/modloop-vanilla")
    os.symlink("vmlinuz-grsec", made.tree / "boot/grsec")
    iso = made.iso()
    facts = read(iso)
    assert list(facts.flavors) == ["grsec", "vanilla"]
    assert facts.flavors["vanilla"].kernel.path == "boot/vmlinuz"
    assert facts.flavors["vanilla"].kernel_release == "3.14.28"
    assert take(iso, "vanilla")["kernel"] == bzimage("3.14.28")


def test_a_kernel_that_is_not_for_x86_is_known_by_its_modloop(disc):
    made = disc("alpine-rpi-3.20.3 240906", arch="aarch64").today("rpi")
    made.put("boot/vmlinuz-rpi", b"MZ" + bytes(54) + b"ARM\x64" + bytes(9000))
    iso = made.iso()
    assert read(iso).flavors["rpi"].kernel_release is None
    assert take(iso, "rpi")["kernel"][:2] == b"MZ"


def test_facts_are_the_same_for_the_same_iso(disc):
    iso = disc().today().iso()
    read(iso)
    first = iso.with_name("facts.json").read_bytes()
    os.utime(iso, (1, 1))
    read(iso)
    assert iso.with_name("facts.json").read_bytes() == first


# -- checksums ----------------------------------------------------------------------------


def test_right_checksums_pass_in_either_case(disc):
    iso = disc().today().iso()
    content = iso.read_bytes()
    steps = []
    read(
        iso,
        sha256=hashlib.sha256(content).hexdigest().upper(),
        sha512=hashlib.sha512(content).hexdigest(),
        progress=lambda *step: steps.append(step),
    )
    assert steps[-1] == ("verifying x.iso", len(content), len(content))


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_wrong_checksum_leaves_the_facts_alone(disc, algorithm):
    iso = disc().today().iso()
    read(iso)
    before = iso.with_name("facts.json").read_bytes()
    wrong = "0" * hashlib.new(algorithm).digest_size * 2
    with pytest.raises(SourceError) as caught:
        read(iso, **{algorithm: wrong})
    assert str(caught.value) == (
        f"{iso}: {algorithm} differs from the recipe's; expected {wrong}, "
        f"got {hashlib.new(algorithm, iso.read_bytes()).hexdigest()}\n"
        "  next: download it again, or correct the recipe if the publisher says otherwise"
    )
    assert iso.with_name("facts.json").read_bytes() == before


# -- what is no release -------------------------------------------------------------------


def refused(iso, error=SourceError, **arguments):
    with pytest.raises(error) as caught:
        read(iso, **arguments)
    assert not iso.with_name("facts.json").exists()
    return str(caught.value)


def test_an_iso_that_is_not_there(tmp_path):
    assert refused(tmp_path / "none.iso") == (
        f"{tmp_path}/none.iso: ISO cannot be read (No such file or directory)\n"
        "  next: correct iso in the release's recipe, or put the file there"
    )


def test_a_directory_is_no_iso(tmp_path):
    assert refused(tmp_path).startswith(f"{tmp_path}: ISO cannot be read (Is a directory)")


def test_a_file_that_is_no_iso(tmp_path):
    (tmp_path / "x.iso").write_bytes(b"<html>" * 9000)
    assert refused(tmp_path / "x.iso", FormatError).startswith(
        f"{tmp_path}/x.iso: not an ISO 9660 image; expected CD001 at byte 32769, got a web page"
    )


def test_an_iso_cut_short_is_told_even_when_its_checksum_is_known(disc):
    iso = disc().today().iso()
    size_bytes = iso.stat().st_size
    os.truncate(iso, size_bytes // 2)
    for sha256 in (None, "0" * 64):
        assert refused(iso, FormatError, sha256=sha256) == (
            f"{iso}: ISO is cut short; expected at least {size_bytes} bytes, "
            f"got {size_bytes // 2} bytes\n  next: download or copy the ISO again"
        )


def test_an_iso_of_something_else(disc):
    made = disc().today()
    (made.tree / ".alpine-release").unlink()
    iso = made.iso()
    assert refused(iso) == (
        f"{iso}: ISO without .alpine-release, so not one of Alpine's\n"
        "  next: use an ISO of an Alpine release"
    )


def test_an_iso_without_a_flavor(disc):
    iso = disc().iso()
    assert refused(iso).startswith(f"{iso}: ISO without a bootable flavor; expected boot/vmlinuz-")


def test_a_kernel_that_is_none(disc):
    made = disc().today()
    made.put("boot/vmlinuz-lts", bytes(20000))
    iso = made.iso()
    assert refused(iso, FormatError).startswith(
        f"{iso}: boot/vmlinuz-lts: not an x86 kernel (bzImage); "
    )


def test_a_release_word_without_a_generation(disc):
    iso = disc("alpine-standard-mine 240906").today().iso()
    assert "unknown form of release" in refused(iso, FormatError)


# -- flavors that cannot be taken ---------------------------------------------------------


def untaken(iso, flavor, error):
    """The message of the refusal; the files of an earlier taking must still be there."""
    out = iso.with_name("out")
    out.mkdir()
    for name in ("kernel", "initramfs", "modloop", "config"):
        (out / name).write_text("old")
    with pytest.raises(error) as caught:
        take(iso, flavor)
    assert sorted(path.name for path in out.iterdir()) == [
        "config",
        "initramfs",
        "kernel",
        "modloop",
    ]
    assert {path.read_text() for path in out.iterdir()} == {"old"}
    return str(caught.value)


def test_a_flavor_that_is_not_there(disc):
    iso = disc().today("lts").today("virt").iso()
    read(iso)
    assert untaken(iso, "vir", SourceError) == (
        f"{iso}: has no flavor 'vir'; expected lts or virt\n  next: write 'virt' in the recipe"
    )


def test_a_flavor_that_is_incomplete(disc):
    made = disc().today("lts").today("virt")
    (made.tree / "boot/modloop-virt").unlink()
    iso = made.iso()
    assert list(read(iso).flavors) == ["lts"]
    assert untaken(iso, "virt", SourceError) == (
        f"{iso}: flavor virt is incomplete: no modloop "
        "(boot/modloop-virt or boot/virt.modloop.squashfs)\n  next: use another flavor (lts)"
    )


ONE_RELEASE = "kernel, initramfs and modloop must come from one release; use an ISO as published"


def test_a_modloop_for_another_kernel(disc, tmp_path):
    made = disc().today()
    made.put("boot/modloop-lts", modloop(tmp_path, "6.6.50-0-lts"))
    iso = made.iso()
    read(iso)
    assert untaken(iso, "lts", BuildError) == (
        f"{iso}: boot/modloop-lts: modules are for another kernel than boot/vmlinuz-lts; "
        f"expected modules/6.6.49-0-lts, got modules/6.6.50-0-lts\n  next: {ONE_RELEASE}"
    )


@pytest.mark.parametrize(
    "content,got",
    [
        (initramfs("6.6.50-0-lts"), "lib/modules/6.6.50-0-lts"),
        (gzip.compress(write_cpio([file_entry("init", b"")]), mtime=0), "none"),
        (
            initramfs("6.6.49-0-lts") + initramfs("6.6.50-0-lts"),
            "lib/modules/6.6.49-0-lts and lib/modules/6.6.50-0-lts",
        ),
    ],
    ids=["another", "none", "two"],
)
def test_an_initramfs_for_another_kernel(disc, content, got):
    made = disc().today()
    made.put("boot/initramfs-lts", content)
    iso = made.iso()
    read(iso)
    assert untaken(iso, "lts", BuildError) == (
        f"{iso}: boot/initramfs-lts: modules are for another kernel than boot/vmlinuz-lts; "
        f"expected lib/modules/6.6.49-0-lts, got {got}\n  next: {ONE_RELEASE}"
    )


def test_a_modloop_that_is_none(disc):
    made = disc().today()
    made.put("boot/modloop-lts", b"something")
    iso = made.iso()
    read(iso)
    assert untaken(iso, "lts", FormatError).startswith(
        f"{iso}: boot/modloop-lts: not a squashfs image"
    )


def test_an_initramfs_in_an_unknown_compression(disc):
    made = disc().today()
    made.put("boot/initramfs-lts", b"PK\3\4" * 500)
    iso = made.iso()
    read(iso)
    assert untaken(iso, "lts", FormatError).startswith(f"{iso}: boot/initramfs-lts: ")


def test_an_iso_that_was_replaced_after_its_facts_were_read(disc):
    iso = disc().today().iso()
    read(iso)
    size_bytes = iso.stat().st_size
    os.truncate(iso, size_bytes + 2048)
    facts = iso.with_name("facts.json")
    assert untaken(iso, "lts", SourceError) == (
        f"{iso}: is another file than {facts} was read from; expected {size_bytes} bytes, "
        f"got {size_bytes + 2048} bytes\n  next: run again: doit build"
    )


def test_facts_that_are_not_there(disc):
    iso = disc().today().iso()
    assert untaken(iso, "lts", SourceError) == (
        f"{iso.with_name('facts.json')}: facts cannot be read (No such file or directory)\n"
        "  next: run: doit build"
    )


# -- fetching -----------------------------------------------------------------------------


class Served(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path):
    """(base URL, directory) of a plain server, which knows no Range."""
    directory = tmp_path / "www"
    directory.mkdir()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), bound(Served, directory=str(directory))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", directory
        server.shutdown()
        thread.join()


CONTENT = random.Random(3).randbytes(600_000)
SHA256, SHA512 = hashlib.sha256(CONTENT).hexdigest(), hashlib.sha512(CONTENT).hexdigest()


@pytest.fixture
def fetch(site, tmp_path):
    url, directory = site
    (directory / "a.iso").write_bytes(CONTENT)
    output = tmp_path / "source/a.iso"
    nothing = dict.fromkeys(("sha256", "sha512", "checksum_url", "signature_url", "keyring"))

    def fetch(**arguments):
        fetch_iso(**{"url": f"{url}/a.iso", "output": output, **nothing, **arguments})
        return output

    fetch.base, fetch.directory, fetch.output = url, directory, output
    return fetch


@pytest.mark.parametrize(
    "proof", [{"sha256": SHA256}, {"sha512": SHA512.upper()}, {"sha256": SHA256, "sha512": SHA512}]
)
def test_a_verified_iso_gets_its_name(fetch, proof):
    assert fetch(**proof).read_bytes() == CONTENT
    assert [path.name for path in fetch.output.parent.iterdir()] == ["a.iso"]
    assert fetch.output.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "text", [f"{SHA256}  a.iso\n", f"{'0' * 64}  b.iso\n{SHA512} *./a.iso\n", SHA256]
)
def test_the_publishers_checksum_is_enough(fetch, text):
    (fetch.directory / "a.iso.sha256").write_text(text)
    assert fetch(checksum_url=f"{fetch.base}/a.iso.sha256").read_bytes() == CONTENT


def test_an_iso_that_is_there_is_not_fetched_again(fetch):
    fetch(sha256=SHA256)
    (fetch.directory / "a.iso").unlink()
    assert fetch(sha256=SHA256, sha512=SHA512).read_bytes() == CONTENT
    with pytest.raises(SourceError):
        fetch(sha256=SHA256, sha512="0" * 128)


def unfetched(fetch, **arguments):
    fetch.output.parent.mkdir(exist_ok=True)
    fetch.output.write_text("old")
    with pytest.raises(SourceError) as caught:
        fetch(**arguments)
    assert fetch.output.read_text() == "old"
    assert [path.name for path in fetch.output.parent.iterdir()] == ["a.iso"]
    return str(caught.value)


def test_an_iso_of_another_checksum_is_thrown_away(fetch):
    assert unfetched(fetch, sha256="0" * 64) == (
        f"{fetch.base}/a.iso: sha256 differs from the recipe's; expected {'0' * 64}, got {SHA256}\n"
        "  next: download it again, or correct the recipe if the publisher says otherwise"
    )


def test_a_publisher_who_disagrees_with_the_recipe_is_told_before_the_download(fetch):
    (fetch.directory / "sums").write_text(f"{'1' * 64}  a.iso\n")
    assert unfetched(fetch, sha256=SHA256, checksum_url=f"{fetch.base}/sums") == (
        f"{fetch.base}/sums: publishes another sha256 for a.iso than the recipe has; "
        f"expected {SHA256}, got {'1' * 64}\n"
        "  next: find out which is right before you use this ISO"
    )


def test_a_checksum_file_about_something_else(fetch):
    (fetch.directory / "sums").write_text(f"{SHA256}  b.iso\n<html>\n")
    assert unfetched(fetch, checksum_url=f"{fetch.base}/sums") == (
        f"{fetch.base}/sums: has no checksum for a.iso; "
        "expected a line <sha256 or sha512>  <name>\n"
        "  next: correct checksum_url in the release's recipe"
    )


def test_nothing_to_verify_with_is_refused(fetch):
    assert unfetched(fetch) == (
        f"{fetch.base}/a.iso: nothing to verify the download with; "
        "expected sha256, sha512, checksum_url or signature_url\n"
        "  next: add sha256 = “…” to the release's recipe; Alpine publishes it beside the ISO"
    )


def test_a_signature_without_a_keyring_is_refused(fetch):
    assert unfetched(fetch, signature_url=f"{fetch.base}/a.iso.asc") == (
        f"{fetch.base}/a.iso.asc: a signature is checked against a keyring, and none is named\n"
        '  next: add keyring = "path" to the release\'s recipe'
    )


def gpg(home, *arguments):
    return subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback",
         "--passphrase", "", *arguments],
        check=True, capture_output=True,
    ).stdout  # fmt: skip


@pytest.fixture
def keyring(fetch, tmp_path):
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg(home, "--quick-generate-key", "release@example.org", "ed25519", "sign", "never")
    sign = ["--armor", "--detach-sign", "-o", "-"]
    (fetch.directory / "a.iso.asc").write_bytes(gpg(home, *sign, fetch.directory / "a.iso"))
    (tmp_path / "keys.asc").write_bytes(gpg(home, "--armor", "--export"))
    yield tmp_path / "keys.asc"
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


def test_a_signed_iso(fetch, keyring):
    signed = {"signature_url": f"{fetch.base}/a.iso.asc", "keyring": keyring}
    assert fetch(**signed).read_bytes() == CONTENT
    (fetch.directory / "a.iso").write_bytes(CONTENT + b".")
    message = unfetched(fetch, **signed)
    assert message.startswith(
        f"{fetch.base}/a.iso: signature is not good; expected one by a key in"
    )
    assert "the signature is of other content (BADSIG" in message


def test_a_signature_is_checked_of_an_iso_that_is_there(fetch, keyring):
    fetch(sha256=SHA256)
    (fetch.directory / "a.iso.asc").write_bytes(b"no signature")
    with pytest.raises(SourceError, match="signature is not good"):
        fetch(sha256=SHA256, signature_url=f"{fetch.base}/a.iso.asc", keyring=keyring)
    assert fetch.output.read_bytes() == CONTENT


def test_a_part_that_was_damaged_on_disk_is_fetched_again(fetch, monkeypatch):
    """What an earlier run left is complete and wrong, as after a power cut."""
    partial = fetch.output.with_name("a.iso.partial")
    partial.parent.mkdir()
    partial.write_bytes(CONTENT[::-1])
    answers = []

    def once_416(handler):
        if handler.headers.get("Range"):
            answers.append(416)
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            handler.end_headers()
        else:
            http.server.SimpleHTTPRequestHandler.do_GET(handler)

    monkeypatch.setattr(Served, "do_GET", once_416, raising=False)
    note = {"url": f"{fetch.base}/a.iso", "validator": '"x"'}
    partial.with_name("a.iso.partial.json").write_text(json.dumps(note))
    assert fetch(sha256=SHA256).read_bytes() == CONTENT
    assert answers == [416]
    assert [path.name for path in fetch.output.parent.iterdir()] == ["a.iso"]
