"""ISO images made by xorriso, read by us, compared with what bsdtar unpacks; hostile ones."""

from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.files.extents import read_extents
from bootsmith.files.iso9660 import read_iso_tree

BOOT = [
    "-b", "boot/syslinux/isolinux.bin", "-c", "boot/syslinux/boot.cat", "-no-emul-boot",
    "-boot-load-size", "4", "-boot-info-table", "-isohybrid-mbr", "/usr/lib/ISOLINUX/isohdpfx.bin",
    "-eltorito-alt-boot", "-e", "boot/grub/efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat",
]  # fmt: skip
KINDS = {
    "plain": ["-R"],
    "with Joliet beside": ["-l", "-J", "-R"],
    "no volume id": ["-R", "-V", ""],
    "bootable on BIOS and UEFI, as Alpine's": ["-J", "-R", "-V", "alpine-std 3.20.3 x86_64", *BOOT],
    "full names": ["-R", "-full-iso9660-filenames", "-iso-level", "4"],
    "deep directories moved": ["-R", "-rr_reloc_dir", "rr_moved"],
    "hard links and ACLs": ["-R", "--hardlinks", "--acl"],
}


def make_iso(tree, iso, *options):
    subprocess.run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, *options, tree],
        check=True, capture_output=True,
    )  # fmt: skip
    return iso


def read(iso):
    with open(iso, "rb") as source:
        return read_iso_tree(source, subject="x.iso")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    noise = random.Random(1)
    root = tmp_path_factory.mktemp("tree")
    for directory in ("boot/syslinux", "boot/grub", "apks/x86_64", "empty", "a/b/c/d/e/f/g/h/i/j"):
        (root / directory).mkdir(parents=True)
    (root / ".alpine-release").write_text("alpine-standard-3.20.3 240906\n")
    (root / "apks/.boot_repository").touch()
    (root / "boot/vmlinuz-lts").write_bytes(noise.randbytes(3_000_001))
    os.link(root / "boot/vmlinuz-lts", root / "boot/same")
    os.symlink("vmlinuz-lts", root / "boot/lts")
    os.symlink("../boot/" + "x" * 240, root / "apks/far")
    (root / "boot/syslinux/isolinux.bin").write_bytes(noise.randbytes(38912))
    (root / "boot/grub/efi.img").write_bytes(noise.randbytes(1 << 20))
    for number in range(300):
        name = f"a-package-name-too-long-for-joliet-and-for-iso9660-{number}-1.2.3_p{number}-r0.apk"
        (root / "apks/x86_64" / name).write_bytes(noise.randbytes(number * 29))
    (root / "a/b/c/d/e/f/g/h/i/j/deep").write_bytes(b"deep")
    (root / "Upper.Case.Name").write_bytes(b"x" * 2048)
    (root / "upper.case.name").write_bytes(b"x" * 4096)
    (root / os.fsdecode(b"n\xe4me")).write_bytes(b"latin")
    (root / "program").write_bytes(b"#!")
    (root / "program").chmod(0o4750)
    return root


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS.keys())
def iso(request, tree, tmp_path_factory):
    return make_iso(tree, tmp_path_factory.mktemp("iso") / "x.iso", *request.param)


def test_each_entry_and_each_byte_is_as_bsdtar_unpacks_it(iso, tmp_path):
    subprocess.run(["bsdtar", "-xpf", iso, "-C", tmp_path], check=True)
    files = read(iso).files
    theirs = {
        os.path.relpath(os.path.join(parent, name), tmp_path)
        for parent, directories, names in os.walk(tmp_path)
        for name in (*directories, *names)
    }
    assert [entry.path for entry in files] == sorted(theirs)
    with open(iso, "rb") as source:
        for entry in files:
            path = tmp_path / entry.path
            status = path.lstat()
            if entry.type == "link":
                assert entry.target == os.readlink(path)
                continue
            assert entry.mode == stat.S_IMODE(status.st_mode), entry.path
            assert (entry.type == "dir") == stat.S_ISDIR(status.st_mode)
            if entry.type == "file":
                assert entry.size_bytes == status.st_size
                assert read_extents(source.fileno(), entry.extents) == path.read_bytes(), entry.path


def test_the_volume_id_is_read_and_may_be_missing(tree, tmp_path):
    assert read(
        make_iso(tree, tmp_path / "a", "-R", "-V", "alpine-std 3.20.3 x86_64")
    ).volume_id == ("alpine-std 3.20.3 x86_64")
    assert read(make_iso(tree, tmp_path / "b", "-R", "-V", "")).volume_id == ""


# -- files of several extents -------------------------------------------------------------


@pytest.fixture
def parts(tmp_path):
    """An image whose files part.a, part.b and part.c can be made into one by hand."""
    (tmp_path / "t").mkdir()
    for number, size in enumerate((4096, 2048, 777)):
        (tmp_path / f"t/part.{'abc'[number]}").write_bytes(bytes([65 + number]) * size)
    (tmp_path / "t/later").write_bytes(b"later")
    return make_iso(tmp_path / "t", tmp_path / "x.iso", "-R")


def join_parts(iso):
    """Give the three records one name, and all but the last the flag "more extents follow"."""
    image = bytearray(iso.read_bytes())
    for letter in (b"B", b"C"):
        image = image.replace(b"PART." + letter, b"PART.A")
        image = image.replace(b"part." + letter.lower(), b"part.a")
    position = 0
    records = []
    while (position := image.find(b"PART.A;1", position)) != -1:
        records.append(position - 33)  # the name is at byte 33 of a directory record
        position += 1
    for record in records[:2]:
        image[record + 25] |= 0x80
    iso.write_bytes(image)
    return iso


def test_a_file_of_several_extents_is_one_file(parts, tmp_path):
    join_parts(parts)
    file = next(entry for entry in read(parts).files if entry.path == "part.a")
    assert [entry.path for entry in read(parts).files] == ["later", "part.a"]
    assert file.size_bytes == 4096 + 2048 + 777
    unpacked = tmp_path / "out"
    unpacked.mkdir()
    subprocess.run(["bsdtar", "-xf", parts, "-C", unpacked], check=True)
    with open(parts, "rb") as source:
        content = read_extents(source.fileno(), file.extents)
    assert content == (unpacked / "part.a").read_bytes() == b"A" * 4096 + b"B" * 2048 + b"C" * 777


def test_extents_that_follow_each_other_are_joined(parts):
    file = next(entry for entry in read(join_parts(parts)).files if entry.path == "part.a")
    assert len(file.extents) == 1


def test_extents_apart_from_each_other_stay_apart(parts):
    image = bytearray(join_parts(parts).read_bytes())
    first = image.find(b"PART.A;1") - 33
    third = image.rfind(b"PART.A;1") - 33
    for layout, offset in (("<I", 2), (">I", 6)):  # swap where the first and the third lie
        a, b = (
            struct.unpack_from(layout, image, first + offset)[0],
            struct.unpack_from(layout, image, third + offset)[0],
        )
        struct.pack_into(layout, image, first + offset, b)
        struct.pack_into(layout, image, third + offset, a)
    parts.write_bytes(image)
    file = next(entry for entry in read(parts).files if entry.path == "part.a")
    assert len(file.extents) == 3
    with open(parts, "rb") as source:
        content = read_extents(source.fileno(), file.extents)
    assert content == (b"C" * 777).ljust(2048, b"\0") + bytes(2048) + b"B" * 2048 + b"A" * 777


# -- not what it should be ----------------------------------------------------------------


@pytest.mark.parametrize(
    "content,looks_like",
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"\x1f\x8b" + bytes(40000), "gzip data"),
        (b"\xfd7zXZ\0", "xz data"),
        (b"PK\x03\x04", "a zip archive"),
        (b"hsqs", "a squashfs image"),
        (bytes(40000), "zeros"),
        (b"something", "9 bytes of something else"),
    ],
)
def test_something_else_is_named(tmp_path, content, looks_like):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "x")
    assert str(caught.value) == (
        "x.iso: not an ISO 9660 image; expected CD001 at byte 32769, "
        f"got {looks_like}\n  next: check the path or URL in the release's recipe"
    )


@pytest.mark.parametrize("left_bytes", [100_000, 1_000_000, 3_000_000])
def test_an_image_cut_short_is_told(iso, tmp_path, left_bytes):
    content = iso.read_bytes()
    (tmp_path / "cut").write_bytes(content[:left_bytes])
    declared = struct.unpack_from("<I", content, 32768 + 80)[0] * 2048
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "cut")
    assert str(caught.value) == (
        f"x.iso: ISO is cut short; expected at least {declared} bytes, got {left_bytes} bytes\n"
        "  next: download or copy the ISO again"
    )


def test_a_file_beyond_the_end_is_told_even_if_the_volume_claims_to_be_small(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").write_bytes(b"x" * 500_000)
    image = bytearray(make_iso(tmp_path / "t", tmp_path / "x.iso", "-R").read_bytes())
    struct.pack_into("<I", image, 32768 + 80, 50)
    struct.pack_into(">I", image, 32768 + 84, 50)
    start = struct.unpack_from("<I", image, image.find(b"FILE.;1") - 31)[0] * 2048
    (tmp_path / "x.iso").write_bytes(image[: start + 300_000])
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "x.iso")
    assert caught.value.message == (
        f"x.iso: file: ISO is cut short; expected at least {start + 500_000} bytes, "
        f"got {start + 300_000} bytes"
    )


def test_directories_beyond_the_end_are_told_too(tmp_path):
    (tmp_path / "t/dir").mkdir(parents=True)
    (tmp_path / "t/dir/file").write_bytes(b"x")
    image = bytearray(make_iso(tmp_path / "t", tmp_path / "x.iso", "-R").read_bytes())
    struct.pack_into("<I", image, 32768 + 80, 18)
    struct.pack_into(">I", image, 32768 + 84, 18)
    start = struct.unpack_from("<I", image, image.find(b"\x03DIR") - 30)[0] * 2048
    (tmp_path / "x.iso").write_bytes(image[:start])
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "x.iso")
    assert caught.value.message.startswith("x.iso: ISO is cut short; expected at least ")
    assert caught.value.message.endswith(f" bytes, got {start} bytes")


def test_boot_sectors_are_none_of_our_business(tree, tmp_path):
    iso = make_iso(tree, tmp_path / "x.iso", "-R", *BOOT)
    before = read(iso)
    image = bytearray(iso.read_bytes())
    assert image[512:520] == b"EFI PART"
    struct.pack_into("<Q", image, 512 + 32, 1 << 60)  # where the second partition table lies
    iso.write_bytes(image)
    assert read(iso) == before


def test_an_image_without_rock_ridge_is_refused(tree, tmp_path):
    iso = make_iso(tree, tmp_path / "x.iso", "-J", "-U", "--norock")
    with pytest.raises(FormatError) as caught:
        read(iso)
    assert str(caught.value) == (
        "x.iso: ISO without Rock Ridge, so without the real file names\n"
        "  next: use an ISO as Alpine publishes it, or make it with: xorriso -as mkisofs -R"
    )


# -- hostile ------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    (tmp_path / "t/dir").mkdir(parents=True)
    (tmp_path / "t/dir/file-one").write_bytes(b"1")
    (tmp_path / "t/dir/file-two").write_bytes(b"2")
    (tmp_path / "t/link-one").symlink_to("dir/file-one")
    return make_iso(tmp_path / "t", tmp_path / "x.iso", "-R")


def patch(iso, old, new):
    content = iso.read_bytes()
    assert old in content
    assert len(old) == len(new)
    iso.write_bytes(content.replace(old, new))


@pytest.mark.parametrize(
    "name,message",
    [
        (b"../../xx", "x.iso: member name climbs out with ..; got '../../xx'"),
        (b"/etc/pas", "x.iso: member has an absolute name; got '/etc/pas'"),
        (b"dir/two.", "x.iso: hostile or damaged ISO: impossible file name; got 'dir/dir/two.'"),
        (b"file-on\n", "x.iso: member name holds a control character; got 'file-on\\n'"),
        (b"file-on\0", "x.iso: member name holds a control character; got 'file-on\\x00'"),
        (
            b"file-two",
            "x.iso: hostile or damaged ISO: one name twice in a directory; got 'dir/file-two'",
        ),
    ],
)
def test_a_hostile_name_is_refused(small, name, message):
    patch(small, b"file-one", name)
    with pytest.raises(FormatError) as caught:
        read(small)
    assert caught.value.message == message


@pytest.mark.parametrize("name", [b"..", b"."])
def test_a_directory_called_dots_is_refused(tmp_path, name):
    (tmp_path / "t/zz").mkdir(parents=True)
    (tmp_path / "t/zz/file").write_bytes(b"1")
    iso = make_iso(tmp_path / "t", tmp_path / "x.iso", "-R")
    content = iso.read_bytes()
    # NM entry of Rock Ridge: signature, length, version, flags, name.
    old = b"NM\x07\x01\x00zz"
    assert content.count(old) == 1
    iso.write_bytes(content.replace(old, b"NM\x07\x01\x00" + name.ljust(2, b"/")))
    with pytest.raises(FormatError):
        read(iso)


def test_a_link_with_a_directory_of_its_name_is_refused(tmp_path):
    (tmp_path / "t/boot-x").mkdir(parents=True)
    (tmp_path / "t/boot-x/passwd").write_bytes(b"root::0:0")
    (tmp_path / "t/boot-y").symlink_to("zzz")
    iso = make_iso(tmp_path / "t", tmp_path / "x.iso", "-R")
    patch(iso, b"boot-y", b"boot-x")
    with pytest.raises(FormatError, match="one name twice in a directory; got 'boot-x'"):
        read(iso)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "dir/../../x"])
def test_a_link_that_leaves_the_tree_is_refused(tmp_path, target):
    (tmp_path / "t/dir").mkdir(parents=True)
    (tmp_path / "t/link").symlink_to(target)
    with pytest.raises(FormatError, match="hostile or damaged ISO: a link"):
        read(make_iso(tmp_path / "t", tmp_path / "x.iso", "-R"))


def test_special_files_are_refused(tmp_path):
    (tmp_path / "t").mkdir()
    os.mkfifo(tmp_path / "t/pipe")
    with pytest.raises(FormatError) as caught:
        read(make_iso(tmp_path / "t", tmp_path / "x.iso", "-R"))
    assert str(caught.value) == (
        "x.iso: hostile or damaged ISO: neither file, directory nor link (prw-r--r--); got 'pipe'\n"
        "  next: use an ISO from a source you trust"
    )


def test_many_names_for_the_same_bytes_are_refused(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t/bomb-0").write_bytes(random.Random(1).randbytes(3 << 20))
    for number in range(1, 20):
        os.link(tmp_path / "t/bomb-0", tmp_path / f"t/bomb-{number}")
    iso = make_iso(tmp_path / "t", tmp_path / "x.iso", "-R", "--hardlinks")
    assert iso.stat().st_size < 5 << 20
    with pytest.raises(FormatError, match="files claim over 4 times its size"):
        read(iso)


def test_a_file_kept_compressed_in_the_image_is_refused(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t/zeros").write_bytes(bytes(200_000))
    subprocess.run(
        ["xorriso", "-outdev", tmp_path / "x.iso", "-map", tmp_path / "t", "/",
         "-set_filter_r", "--zisofs", "/", "--"],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(FormatError, match=r"^x\.iso: damaged ISO 9660 image"):
        read(tmp_path / "x.iso")


def test_a_directory_inside_itself_is_refused(small):
    content = bytearray(small.read_bytes())
    record = content.find(b"\x03DIR") - 32
    root = struct.unpack_from("<I", content, 32768 + 156 + 2)[0]
    struct.pack_into("<I", content, record + 2, root)
    struct.pack_into(">I", content, record + 6, root)
    small.write_bytes(content)
    with pytest.raises(FormatError, match=r"^x\.iso: damaged ISO 9660 image"):
        read(small)


@settings(max_examples=200)
@given(st.data())
def test_damage_anywhere_gives_a_tree_inside_the_image_or_a_format_error(
    damaged_source, tmp_path_factory, data
):
    content = bytearray(damaged_source)
    position = data.draw(st.integers(32768, len(content) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=4))
    content[position : position + len(damage)] = damage
    path = tmp_path_factory.getbasetemp() / "damaged.iso"
    path.write_bytes(content[: len(damaged_source)])
    try:
        tree = read(path)
    except FormatError:
        return
    for entry in tree.files:
        assert not entry.path.startswith("/")
        assert ".." not in entry.path.split("/")
        for offset, size in entry.extents:
            assert 0 <= offset <= offset + size <= len(damaged_source)


@pytest.fixture(scope="module")
def damaged_source(tmp_path_factory):
    root = tmp_path_factory.mktemp("damage")
    (root / "t/boot").mkdir(parents=True)
    (root / "t/boot/vmlinuz-lts").write_bytes(b"kernel")
    (root / "t/boot/link").symlink_to("vmlinuz-lts")
    (root / "t/name that is long enough to need a continuation area").write_bytes(b"x" * 100)
    # Without padding most of the image is records.
    iso = make_iso(root / "t", root / "x.iso", "-R", "-J", "-no-pad")
    shutil.rmtree(root / "t")
    return iso.read_bytes()
