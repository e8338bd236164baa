"""Faults in the parts of a boot set: each is named at the gate, all at once, and nothing moves.

The site is real and built by the real steps; a fault is put into the bytes that were built, and
the generation is one that says so: its manifest has the digests of those very bytes.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from dataclasses import replace

import pytest
from generation_samples import promote
from kernel_samples import bzimage, kernel_module, write_modloop, write_module_tree

from bootsmith.errors import BootsmithError
from bootsmith.files.manifest import read_manifest
from bootsmith.formats import cpio
from bootsmith.formats.compression import decompress_initramfs
from bootsmith.formats.cpio import read_cpio, write_cpio
from bootsmith.formats.squashfs import Squashfs
from bootsmith.generations.fact_memory import FactMemory
from bootsmith.generations.gate import FACTS_PATH, check_gate, problems_of

KERNEL = "kernel/tiny-virt/vmlinuz-virt"
PXERD = "pxerd/tiny-virt/pxerd-virt"
MODLOOP = "modloop/tiny-virt/modloop-virt"
APKOVL = "apkovl/alpha/alpha.apkovl.tar.gz"
RELEASE = "6.6.7-0-virt"


@pytest.fixture
def promoted(changed, built, tmp_path):
    """A function that makes a generation with other files and promotes it; what refused it.

    The manifest says the digests of these files, and no key is looked into: a key holds copies.
    """
    artifacts = tmp_path / "artifacts"
    before = artifacts / "generations/2020-01-01.1"
    shutil.copytree(built, before, symlinks=True)
    (artifacts / "current").symlink_to("generations/2020-01-01.1")

    def attempt(files, lost=()):
        generation = changed({path: content for path, content in files.items() if content})
        manifest = read_manifest(generation)
        left_out = [path for path, content in files.items() if content is None]
        kept = [
            part
            for part in manifest.artifacts
            if part.kind != "usbkey" and part.path not in left_out
        ]
        manifest = replace(manifest, artifacts=tuple(kept))
        (generation / "MANIFEST.json").write_bytes(manifest.to_json())
        for path in lost:
            (generation / path).unlink()
        (artifacts / "generations/latest").symlink_to(generation.name)
        with pytest.raises(BootsmithError) as caught:
            promote(artifacts)
        assert os.readlink(artifacts / "current") == "generations/2020-01-01.1"
        assert not (artifacts / "history.jsonl").exists()
        return str(caught.value).replace(generation.name, "ID")

    return attempt


def repacked(path, *, without=(), **replaced):
    """Edits an initramfs in place: members left out by a part of their name, or with other bytes.

    Keywords are member names with `__` for `/`.
    """
    entries = read_cpio(decompress_initramfs(path.read_bytes(), limit_bytes=1 << 28))
    contents = {name.replace("__", "/"): data for name, data in replaced.items()}
    kept = [
        cpio.file_entry(entry.name, contents[entry.name], mode=entry.mode & 0o777)
        if entry.name in contents
        else entry
        for entry in entries
        if not any(part in entry.name for part in without)
    ]
    path.write_bytes(gzip.compress(write_cpio(kept), mtime=0))


def renamed(path, old, new):
    entries = read_cpio(decompress_initramfs(path.read_bytes(), limit_bytes=1 << 28))
    moved = [replace(entry, name=entry.name.replace(old, new)) for entry in entries]
    path.write_bytes(gzip.compress(write_cpio(moved), mtime=0))


def modloop_of(tmp_path, kernel, **module):
    tree = tmp_path / "tree"
    modules = {"kernel/drivers/block/loop.ko": kernel_module(**module)}
    write_module_tree(tree, modules=modules, kernel=kernel)
    return write_modloop(tree, tmp_path / "modloop").read_bytes()


NEXT_SET = "  next: build the set from one release: doit pxerd:tiny-virt modloop:tiny-virt"
NEXT_ARCH = "  next: use files of one release for x86_64, then build again: doit build"


def test_a_modloop_of_another_kernel(promoted, tmp_path):
    assert promoted({MODLOOP: modloop_of(tmp_path, "6.6.8-0-virt")}) == (
        f"ID/{MODLOOP}: is the modloop of another kernel; "
        f"expected {RELEASE}, as {KERNEL}, got 6.6.8-0-virt\n{NEXT_SET}"
    )


def test_a_modloop_whose_modules_say_another_kernel(promoted, tmp_path):
    content = modloop_of(tmp_path, RELEASE, info=["vermagic=6.6.8-0-virt SMP"])
    assert promoted({MODLOOP: content}) == (
        f"ID/{MODLOOP}: has modules that say they are of another kernel; "
        f"expected {RELEASE}, as {KERNEL}, got 6.6.8-0-virt\n{NEXT_SET}"
    )


def test_a_truncated_modloop(promoted, built):
    whole = (built / MODLOOP).read_bytes()
    used = Squashfs(whole).superblock.size_bytes
    assert promoted({MODLOOP: whole[: used - 100]}) == (
        f"ID/{MODLOOP}: squashfs image is cut short; "
        f"expected {used} bytes, got {used - 100} bytes\n  next: copy or download it again"
    )


def test_a_pxerd_of_another_kernel(promoted):
    edit = lambda path: renamed(path, RELEASE, "6.6.8-0-virt")
    assert promoted({PXERD: edit}) == (
        f"ID/{PXERD}: holds modules of another kernel; "
        f"expected {RELEASE}, as {KERNEL}, got 6.6.8-0-virt\n{NEXT_SET}"
    )


def test_a_pxerd_without_modules(promoted):
    assert promoted({PXERD: lambda path: repacked(path, without=[f"modules/{RELEASE}"])}) == (
        f"ID/{PXERD}: holds no modules; "
        f"expected {RELEASE}, as {KERNEL}, got no directory in lib/modules\n{NEXT_SET}"
    )


def test_a_truncated_pxerd(promoted, built):
    message = promoted({PXERD: (built / PXERD).read_bytes()[:-40]})
    assert message.startswith(f"ID/{PXERD}: damaged gzip data (")
    assert message.endswith("\n  next: get the file again; it is damaged")


def test_a_pxerd_whose_init_cannot_start(promoted):
    assert promoted({PXERD: lambda path: repacked(path, without=["bin/busybox"])}) == (
        f"ID/{PXERD}: cannot start /init: it needs /bin/sh, which is not there, "
        "so the kernel panics\n  next: take the initramfs of a whole release"
    )


@pytest.mark.parametrize("magic,machine", [(b"ARM\x64", "aarch64"), (b"RSC\x05", "riscv64")])
def test_a_kernel_of_another_processor(promoted, magic, machine):
    assert promoted({KERNEL: b"MZ" + bytes(54) + magic + bytes(2000)}) == (
        f"ID/{KERNEL}: is a kernel of the wrong arch; "
        f"expected x86_64, as release tiny, got {machine}\n{NEXT_ARCH}"
    )


def test_a_truncated_kernel(promoted, built):
    whole = (built / KERNEL).read_bytes()
    assert promoted({KERNEL: whole[:-1]}) == (
        f"ID/{KERNEL}: kernel is cut short; expected {len(whole)} bytes, "
        f"got {len(whole) - 1} bytes\n  next: copy or download it again"
    )


def test_what_is_no_kernel_at_all(promoted):
    assert promoted({KERNEL: b"kernel"}) == (
        f"ID/{KERNEL}: not an x86 kernel (bzImage); expected boot flag 55aa and magic HdrS, "
        "got 6b 65 72 6e …\n  next: use the kernel of an x86 release; "
        "one that was renamed or packed anew is none"
    )


def test_a_kernel_of_32_bits(promoted):
    assert promoted({KERNEL: bzimage(RELEASE, is_64_bit=False)}) == (
        f"ID/{KERNEL}: is a kernel of the wrong arch; "
        f"expected x86_64, as release tiny, got x86\n{NEXT_ARCH}"
    )


def test_programs_of_another_processor(promoted):
    busybox = kernel_module(machine=183, size_bytes=9000)
    edit = lambda path: repacked(path, usr__bin__busybox=busybox)
    assert promoted({PXERD: edit}) == (
        f"ID/{PXERD}: holds usr/bin/busybox, which is of the wrong arch; "
        f"expected x86_64, as release tiny, got aarch64\n{NEXT_ARCH}"
    )


def test_modules_of_another_processor(promoted, tmp_path):
    assert promoted({MODLOOP: modloop_of(tmp_path, RELEASE, machine=3)}) == (
        f"ID/{MODLOOP}: holds modules of the wrong arch; "
        f"expected x86_64, as release tiny, got x86\n{NEXT_ARCH}"
    )


def test_a_corrupt_overlay(promoted, built):
    whole = (built / APKOVL).read_bytes()
    middle = len(whole) // 2
    broken = whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]
    message = promoted({APKOVL: broken})
    assert message.startswith(f"ID/{APKOVL}: is a corrupt overlay: damaged gzip data (")
    assert message.endswith("\n  next: get the file again; it is damaged")


def test_the_overlay_of_another_template(promoted, built):
    other = (built / "apkovl/beta/beta.apkovl.tar.gz").read_bytes()
    assert promoted({APKOVL: other}) == (
        f"ID/{APKOVL}: is the overlay of another template, as etc/bootsmith/template in it says; "
        "expected alpha, got beta\n  next: build it again: doit apkovl:alpha"
    )


def test_a_missing_kernel(promoted):
    message = promoted({KERNEL: None})
    assert message == (
        "ID/kernel/tiny-virt: is missing: tiny-virt has no kernel; "
        "expected kernel, pxerd and modloop of each release and flavor, got modloop, pxerd\n"
        "  next: build a whole generation: doit build"
    )


def test_a_kernel_that_was_lost(promoted):
    assert promoted({}, lost=[KERNEL]).endswith(
        f"ID/{KERNEL}: is in the manifest but not in the generation\n"
        "  next: doit verify --repair ID"
    )


def test_all_that_is_wrong_is_said_at_once(promoted, built, tmp_path):
    message = promoted(
        {
            MODLOOP: modloop_of(tmp_path, "6.6.8-0-virt"),
            APKOVL: b"BZh",
            KERNEL: bzimage(RELEASE, is_64_bit=False),
        }
    )
    assert message == (
        "generation ID: 3 things would keep machines from booting:\n"
        f"  - ID/{MODLOOP}: is the modloop of another kernel; "
        f"expected {RELEASE}, as {KERNEL}, got 6.6.8-0-virt\n    {NEXT_SET}\n"
        f"  - ID/{KERNEL}: is a kernel of the wrong arch; "
        f"expected x86_64, as release tiny, got x86\n    {NEXT_ARCH}\n"
        f"  - ID/{APKOVL}: is a corrupt overlay: is not packed with gzip; "
        "expected 1f 8b, got 42 5a\n      next: build it again: doit apkovl\n"
        "  next: do what stands below each, then build again: doit build"
    )


# --- what is remembered ----------------------------------------------------------------------


def check(generation, facts):
    check_gate(
        generation,
        read_manifest(generation),
        gate="checks",
        scenarios=(),
        evidence=generation,
        facts=facts,
    )


def test_what_was_read_once_is_not_read_again(built, tmp_path, monkeypatch):
    """By its digest: so it can be asked for the same bytes only."""
    facts = tmp_path / FACTS_PATH
    check(built, facts)
    for name in ("read_pxerd_facts", "read_modloop_facts", "read_apkovl_facts"):
        monkeypatch.delattr(f"bootsmith.generations.parts_check.{name}")
    check(built, facts)
    known = json.loads(facts.read_bytes())
    facts.write_text(json.dumps({**known, "code": "of yesterday"}))
    with pytest.raises(NameError):
        check(built, facts)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"code": 1}', b"\xff"])
def test_a_memory_that_cannot_be_read_remembers_nothing(built, tmp_path, content):
    facts = tmp_path / "facts.json"
    facts.write_bytes(content)
    check(built, facts)
    assert FactMemory(facts).recall("apkovl", "0", lambda: "read") == "read"


def test_faults_are_not_remembered(changed, tmp_path):
    generation = changed({APKOVL: b"BZh"})
    manifest = read_manifest(generation)
    first = [str(problem) for problem in problems_of(generation, manifest, tmp_path / "facts")]
    again = [str(problem) for problem in problems_of(generation, manifest, tmp_path / "facts")]
    assert first == again
    assert len(first) == 2  # and the key that has another overlay


def test_the_oldest_is_forgotten_first(tmp_path, monkeypatch):
    monkeypatch.setattr("bootsmith.generations.fact_memory._MOST_ENTRIES", 2)
    memory = FactMemory(tmp_path / "facts")
    for sha256 in "abac":
        memory.recall("kind", sha256, lambda: 1)
    memory.save()
    later = FactMemory(tmp_path / "facts")
    assert [later.recall("kind", sha256, lambda: 2) for sha256 in "abc"] == [1, 2, 1]
