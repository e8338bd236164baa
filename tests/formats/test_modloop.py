"""Modloops: whose modules they hold, and whether all of it lies in the image."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kernel_samples import KERNEL, MODULES, kernel_module, write_modloop, write_module_tree

from bootsmith.errors import FormatError
from bootsmith.formats.compression import compress_segment
from bootsmith.formats.modloop import read_modloop_facts
from bootsmith.formats.squashfs import Squashfs


def modloop(root, modules):
    write_module_tree(root / "tree", modules=modules)
    return write_modloop(root / "tree", root / "modloop").read_bytes()


def facts(image):
    return read_modloop_facts(Squashfs(image, subject="modloop"))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return modloop(tmp_path_factory.mktemp("modloop"), MODULES)


def test_it_says_which_kernel_and_machine_its_modules_are_for(image):
    found = facts(image)
    assert (found.kernel_release, found.machine, found.built_for) == (KERNEL, "x86_64", None)
    assert {"virtio_net", "acme_100", "libcrc32c"} <= set(found.modules)


@pytest.mark.parametrize("codec", [None, "gzip", "xz"])
def test_the_first_module_speaks_for_all(tmp_path, codec):
    module = kernel_module(machine=183, info=["vermagic=6.1.2-0-lts SMP"])
    suffix = {None: "", "gzip": ".gz", "xz": ".xz"}[codec]
    content = compress_segment(module, codec, 6) if codec else module
    found = facts(modloop(tmp_path, {f"kernel/a.ko{suffix}": content}))
    assert (found.machine, found.built_for, found.modules) == ("aarch64", "6.1.2-0-lts", ("a",))


def test_without_modules_nothing_is_said(tmp_path):
    found = facts(modloop(tmp_path, {}))
    assert (found.machine, found.built_for, found.modules) == (None, None, ())


@pytest.mark.parametrize("cut_bytes", [1, 1000, 3000])
def test_a_truncated_one_is_said_to_be(image, cut_bytes):
    """Padding does not count: an image that lacks only that is whole."""
    used = Squashfs(image).superblock.size_bytes
    assert facts(image[:used])
    with pytest.raises(FormatError) as caught:
        facts(image[: used - cut_bytes])
    assert str(caught.value) == (
        f"modloop: squashfs image is cut short; expected {used} bytes, got {used - cut_bytes} "
        "bytes\n  next: copy or download it again"
    )


def test_content_beyond_the_end_is_found_without_unpacking_it(image):
    """A superblock that says less than there is: the tables lie within, a file does not."""
    parsed = Squashfs(image)
    entry = parsed.entry(f"modules/{KERNEL}/kernel/net/packet/af_packet.ko")
    parsed.check_place(entry)
    start, length = parsed.fragment_place(entry.fragment)
    parsed.superblock = replace(parsed.superblock, size_bytes=start + 1)
    with pytest.raises(FormatError) as caught:
        parsed.check_place(entry)
    assert caught.value.message == (
        f"squashfs image: damaged squashfs image: {entry.path!r} lies beyond its end; "
        f"expected at most byte {start + 1}, got {start}+{length}"
    )
    with pytest.raises(FormatError, match="lies beyond its end"):
        read_modloop_facts(parsed)
