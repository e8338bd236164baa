"""Images made by mksquashfs, read by us; damaged and hostile ones refused."""

from __future__ import annotations

import lzma
import mmap
import os
import random
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.formats import squashfs as module
from bootsmith.formats.modloop import modloop_kernel_release
from bootsmith.formats.squashfs import Squashfs

COMPRESSIONS = {
    "xz": ["-comp", "xz", "-Xbcj", "x86"],
    "gzip": ["-comp", "gzip"],
    "zstd": ["-comp", "zstd"],
    "lz4": ["-comp", "lz4"],
    "xz in blocks of 1 MiB": ["-comp", "xz", "-b", "1M"],
    "gzip in blocks of 4 KiB": ["-comp", "gzip", "-b", "4K"],
    "nothing compressed": ["-noI", "-noD", "-noF", "-noId"],
    "no fragments": ["-comp", "gzip", "-no-fragments"],
    "tails in fragments": ["-comp", "gzip", "-always-use-fragments"],
}


def make_image(tree: Path, image: Path, options: list[str]) -> bytes:
    subprocess.run(
        ["mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", "-all-root",
         "-no-xattrs", "-mkfs-time", "0", "-all-time", "0", *options],
        check=True, capture_output=True,
    )  # fmt: skip
    return image.read_bytes()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Files of every size that matters to blocks and fragments, many names, odd names."""
    root = tmp_path_factory.mktemp("tree")
    kernel = root / "modules/6.6.32-0-lts/kernel"
    noise = random.Random(1)
    for number in range(700):  # enough for directory and inode tables of several blocks
        directory = kernel / f"drivers/{number % 13}/{number % 5}"
        directory.mkdir(parents=True, exist_ok=True)
        name = f"module-with-a-long-name-{number:04}.ko"
        (directory / name).write_bytes(noise.randbytes(noise.choice([0, 1, 40, 900])) * 3)
    for size in (4095, 4096, 4097, 131071, 131072, 131073, 1 << 20, (1 << 20) + 5, 700_000):
        (kernel / f"size-{size}").write_bytes((noise.randbytes(size // 7 + 1) * 8)[:size])
    with open(kernel / "holes", "wb") as holes:
        holes.truncate(3 << 20)
        holes.seek(1 << 20)
        holes.write(b"island")
    (root / "modules/firmware/empty").mkdir(parents=True)
    os.symlink("../" * 9 + "x" * 200, root / "modules/firmware/far")
    os.symlink("firmware", root / "modules/beside")
    (kernel / "program").write_bytes(b"#!")
    (kernel / "program").chmod(0o4751)
    os.link(kernel / "program", kernel / "second name")
    (root / os.fsdecode(b"n\xe4me")).write_bytes(b"latin")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture(scope="module", params=COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
def image(request, tree, tmp_path_factory):
    return make_image(tree, tmp_path_factory.mktemp("image") / "x", request.param)


def listed(tree: Path) -> dict[str, Path]:
    return {
        os.path.relpath(os.path.join(parent, name), tree): Path(parent, name)
        for parent, directories, files in os.walk(tree)
        for name in (*directories, *files)
    }


def test_the_walk_gives_every_entry_with_type_mode_size_and_target(tree, image):
    expected = listed(tree)
    entries = list(Squashfs(image).walk())
    assert sorted(entry.path for entry in entries) == sorted(expected)
    for entry in entries:
        path = expected[entry.path]
        assert entry.mode == path.lstat().st_mode & 0o7777
        if path.is_symlink():
            assert (entry.type, entry.target) == ("link", os.readlink(path))
        elif path.is_dir():
            assert entry.type == "dir"
        elif path.is_file():
            assert (entry.type, entry.size_bytes) == ("file", path.stat().st_size)
        else:
            assert entry.type == "special"


def test_a_directory_comes_before_what_it_holds(image):
    seen = {""}
    for entry in Squashfs(image).walk():
        assert entry.path.rpartition("/")[0] in seen
        seen.add(entry.path)


def test_every_file_is_read_as_it_was(tree, image):
    squashfs = Squashfs(image)
    files = [entry for entry in squashfs.walk() if entry.type == "file"]
    contents = squashfs.read_many([entry.path for entry in files])
    for entry, content in zip(files, contents, strict=True):
        assert content == (tree / entry.path).read_bytes()
    for entry in random.Random(2).sample(files, 60):
        assert squashfs.read(entry.path) == (tree / entry.path).read_bytes()
    assert squashfs.read("modules/6.6.32-0-lts/kernel/holes")[1 << 20 :][:6] == b"island"


def test_an_image_is_read_inside_a_larger_file(tree, image, tmp_path):
    around = tmp_path / "around"
    around.write_bytes(bytes(12345) + image + b"behind")
    with open(around, "rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as m:
        squashfs = Squashfs(m, offset_bytes=12345)
        assert squashfs.read("modules/6.6.32-0-lts/kernel/program") == b"#!"
        assert modloop_kernel_release(squashfs) == "6.6.32-0-lts"


def test_unsquashfs_lists_what_we_list(image, tmp_path):
    (tmp_path / "x").write_bytes(image)
    listing = subprocess.run(
        ["unsquashfs", "-l", "-d", "", tmp_path / "x"], check=True, capture_output=True
    ).stdout
    theirs = {os.fsdecode(line[1:]) for line in listing.splitlines() if line[1:]}
    assert {entry.path for entry in Squashfs(image).walk()} == theirs


@pytest.fixture(scope="module")
def plain(tree, tmp_path_factory):
    return make_image(
        tree, tmp_path_factory.mktemp("plain") / "x", COMPRESSIONS["nothing compressed"]
    )


@pytest.fixture(scope="module")
def packed(tree, tmp_path_factory):
    return make_image(tree, tmp_path_factory.mktemp("packed") / "x", COMPRESSIONS["xz"])


def test_names_and_parts_of_the_tree(packed):
    squashfs = Squashfs(packed)
    assert squashfs.names("modules") == ("6.6.32-0-lts", "beside", "firmware")
    assert [entry.path for entry in squashfs.walk("modules/firmware")] == [
        "modules/firmware/empty",
        "modules/firmware/far",
    ]
    assert squashfs.exists("modules/beside")
    assert not squashfs.exists("modules/beside/empty")  # a link is not walked through
    assert not squashfs.exists("pipe/x")


@pytest.mark.parametrize(
    "path,message",
    [
        ("none", "squashfs image: has no 'none'"),
        ("modules", "squashfs image: 'modules' is not a regular file; got dir"),
        ("pipe", "squashfs image: 'pipe' is not a regular file; got special"),
        ("modules/beside", "squashfs image: 'modules/beside' is not a regular file; got link"),
    ],
)
def test_reading_what_is_no_file_says_so(packed, path, message):
    for read in (Squashfs(packed).read, lambda path: Squashfs(packed).read_many([path])):
        with pytest.raises(FormatError) as caught:
            read(path)
        assert caught.value.message == message


def test_a_file_larger_than_the_limit_is_not_read(packed):
    path = "modules/6.6.32-0-lts/kernel/size-4096"
    assert len(Squashfs(packed).read(path, limit_bytes=4096)) == 4096
    with pytest.raises(FormatError) as caught:
        Squashfs(packed).read(path, limit_bytes=4095)
    assert caught.value.message == (
        f"squashfs image: '{path}' is larger than it may be; "
        "expected at most 4095 bytes, got 4096 bytes"
    )
    with pytest.raises(FormatError):  # the limit of many is for all of them together
        Squashfs(packed).read_many([path, path], limit_bytes=8191)


def test_names_of_a_file_are_refused(packed):
    with pytest.raises(FormatError, match="a path leads through something not a directory"):
        Squashfs(packed).names("pipe")


# -- headers -----------------------------------------------------------------------------


def patched(image: bytes, position: int, layout: str, *values: object) -> bytes:
    changed = bytearray(image)
    struct.pack_into(layout, changed, position, *values)
    return bytes(changed)


@pytest.mark.parametrize("content", [b"", b"hsq", bytes(96), b"\x89PNG"])
def test_something_else_is_no_squashfs(content):
    with pytest.raises(FormatError) as caught:
        Squashfs(content, subject="modloop-lts")
    assert caught.value.message == (
        f"modloop-lts: not a squashfs image; expected magic b'hsqs', got {content[:4]!r}"
    )


def test_an_image_cut_short_is_told(packed):
    used = struct.unpack_from("<Q", packed, 40)[0]
    with pytest.raises(FormatError) as caught:
        Squashfs(packed[: used - 1])
    assert str(caught.value) == (
        f"squashfs image: squashfs image is cut short; expected {used} bytes, "
        f"got {used - 1} bytes\n  next: copy or download it again"
    )
    with pytest.raises(FormatError, match="shorter than its header"):
        Squashfs(packed[:50])


@pytest.mark.parametrize(
    "number,name", [(2, "lzma"), (3, "lzo"), (0, "number 0"), (77, "number 77")]
)
def test_a_compressor_we_do_not_read_is_named(packed, number, name):
    with pytest.raises(FormatError) as caught:
        Squashfs(patched(packed, 20, "<H", number))
    assert str(caught.value) == (
        "squashfs image: squashfs with a compressor that is not supported; "
        f"expected gzip or xz or lz4 or zstd, got {name}\n"
        "  next: make the image again with: mksquashfs … -comp xz"
    )


def test_another_version_is_refused(packed):
    with pytest.raises(FormatError, match=r"another version; expected 4\.0, got 3\.1"):
        Squashfs(patched(packed, 28, "<HH", 3, 1))


@pytest.mark.parametrize("size,log", [(0, 17), (131072, 16), (1 << 30, 30), (2048, 11)])
def test_an_impossible_block_size_is_refused(packed, size, log):
    broken = patched(patched(packed, 12, "<I", size), 22, "<H", log)
    with pytest.raises(FormatError, match="impossible block size"):
        Squashfs(broken)


# -- hostile images ----------------------------------------------------------------------


def read_all(image: bytes) -> None:
    squashfs = Squashfs(image)
    for entry in squashfs.walk():
        if entry.type == "file":
            squashfs.read_entry(entry, limit_bytes=64 << 20)


@pytest.mark.parametrize("name", [b"..", b"./", b"a/b/", b"\0firm"])
def test_a_name_that_leaves_its_directory_is_refused(plain, name):
    position = plain.rindex(b"firmware")
    broken = bytearray(plain)
    if name == b"..":  # a shorter name: its length word stands right before it
        struct.pack_into("<H", broken, position - 2, 1)
    broken[position : position + len(name)] = name
    with pytest.raises(FormatError, match="damaged squashfs image"):
        read_all(bytes(broken))


def test_one_name_twice_in_a_directory_is_refused(plain):
    with pytest.raises(FormatError, match="impossible directory entry"):
        read_all(plain.replace(b"size-4096", b"size-4095"))


def test_directories_that_loop_are_refused(plain):
    inode = struct.unpack_from("<Q", plain, 32)[0]
    root_offset = inode & 0xFFFF
    squashfs = Squashfs(plain)
    listing = dict(squashfs._listing(inode))
    squashfs._listings[inode] = listing
    listing["loop"] = (inode, "dir")
    assert root_offset >= 0
    with pytest.raises(FormatError, match="directories loop or nest too deeply at 'loop'"):
        list(squashfs.walk())


def test_a_file_that_claims_to_be_huge_is_refused_before_memory_is_taken(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").write_bytes(b"x" * 5000)
    image = make_image(tmp_path / "t", tmp_path / "x", COMPRESSIONS["nothing compressed"])
    table = Squashfs(image).superblock.inode_table
    # The file's inode is the first: 2 bytes of block header, 16 of inode header, 12 in its body.
    assert struct.unpack_from("<I", image, table + 2 + 16 + 12) == (5000,)
    broken = patched(image, table + 2 + 16 + 12, "<I", 0xFFFFFFFF)
    with pytest.raises(FormatError):
        Squashfs(broken).read("file")


def test_a_block_that_unpacks_to_more_than_it_should_is_refused(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").write_bytes(bytes(1) + b"x" * 131071)
    for name in ("xz", "gzip", "zstd", "lz4"):
        image = make_image(tmp_path / "t", tmp_path / "x", [*COMPRESSIONS[name], "-noI"])
        table = Squashfs(image).superblock.inode_table
        assert struct.unpack_from("<I", image, table + 2 + 16 + 12) == (131072,)
        broken = patched(image, table + 2 + 16 + 12, "<I", 131000)
        for read in (Squashfs(broken).read, lambda path, b=broken: Squashfs(b).read_many([path])):
            with pytest.raises(FormatError, match="damaged squashfs image: 'file' "):
                read("file")


def test_a_block_that_unpacks_to_less_than_it_should_is_refused(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").write_bytes(b"x" * 131000)
    image = make_image(tmp_path / "t", tmp_path / "x", ["-comp", "gzip", "-noI", "-no-fragments"])
    table = Squashfs(image).superblock.inode_table
    broken = patched(image, table + 2 + 16 + 12, "<I", 131072)
    with pytest.raises(FormatError) as caught:
        Squashfs(broken).read("file")
    assert caught.value.message == (
        "squashfs image: damaged squashfs image: a block of 'file' has the wrong size; "
        "expected 131072, got 131000"
    )


def test_content_outside_the_image_is_not_read_from_what_surrounds_it(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").write_bytes(b"inside" * 1000)
    options = [*COMPRESSIONS["nothing compressed"], "-no-fragments"]
    image = make_image(tmp_path / "t", tmp_path / "x", options)
    table = Squashfs(image).superblock.inode_table
    broken = patched(image, table + 2 + 16, "<I", len(image))
    with pytest.raises(FormatError, match="damaged squashfs image: content beyond its end"):
        Squashfs(broken + b"secret" * 1000).read("file")


@pytest.mark.parametrize(
    "unpack,pack",
    [(module._unpack_gzip, zlib.compress), (module._unpack_xz, lzma.compress)],
    ids=["gzip", "xz"],
)
def test_unpacking_stops_at_the_limit(unpack, pack):
    """The answer may be one byte too long, to show that there is more; never the whole bomb."""
    assert len(unpack(pack(bytes(10_000_000)), 1000)) == 1001


@settings(max_examples=150)
@given(st.data())
def test_damage_anywhere_gives_the_truth_or_a_format_error(small_images, data):
    image = data.draw(st.sampled_from(small_images))
    position = data.draw(st.integers(0, len(image) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=4))
    broken = bytearray(image)
    broken[position : position + len(damage)] = damage
    try:
        read_all(bytes(broken))
    except FormatError:
        pass


@pytest.fixture(scope="module")
def small_images(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    (root / "t/modules/6.6/kernel").mkdir(parents=True)
    for number in range(20):
        (root / f"t/modules/6.6/kernel/{number}.ko").write_bytes(b"module %d " % number * 90)
    (root / "t/modules/6.6/large").write_bytes(bytes(range(256)) * 900)
    os.symlink("large", root / "t/modules/6.6/link")
    return [make_image(root / "t", root / "x", options) for options in COMPRESSIONS.values()]


# -- modloops ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "directories,got",
    [
        ([], "none"),
        (["modules/firmware"], "none"),
        (["lib/modules/6.6"], "none"),
        (["modules/6.6.1", "modules/6.6.2"], "modules/6.6.1, modules/6.6.2"),
    ],
)
def test_an_image_without_one_kernel_release_is_no_modloop(tmp_path, directories, got):
    (tmp_path / "t").mkdir()
    for directory in directories:
        (tmp_path / "t" / directory).mkdir(parents=True)
    image = make_image(tmp_path / "t", tmp_path / "x", ["-comp", "xz"])
    with pytest.raises(FormatError) as caught:
        modloop_kernel_release(Squashfs(image, subject="modloop-lts"))
    assert str(caught.value) == (
        "modloop-lts: not a modloop; expected one directory modules/<kernel release>, "
        f"got {got}\n  next: use the modloop of the same release as the kernel"
    )


def test_a_3_1_modloop_with_other_things_beside_modules_is_one(tmp_path):
    for directory in ("modules/3.14.27-0-grsec/kernel", "modules/firmware", "apk/db"):
        (tmp_path / "t" / directory).mkdir(parents=True)
    image = make_image(tmp_path / "t", tmp_path / "x", ["-comp", "gzip"])
    assert modloop_kernel_release(Squashfs(image)) == "3.14.27-0-grsec"
