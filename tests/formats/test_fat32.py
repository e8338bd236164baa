from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bootsmith.errors import BuildError
from bootsmith.formats.fat32 import (
    ARCHIVE,
    HIDDEN,
    READ_ONLY,
    SECTOR_BYTES,
    SYSTEM,
    FatFile,
    FatVolume,
    check_fat_label,
    fitting_sectors,
    plan_fat32,
    short_names,
)
from bootsmith.tools.dosfstools import check_fat_volume
from bootsmith.tools.mtools import list_fat_paths, read_fat_file

MEBIBYTE_SECTORS = 2048


def files_of(contents: Mapping[str, bytes]) -> list[FatFile]:
    return [FatFile(path=path, size_bytes=len(content)) for path, content in contents.items()]


def write_volume(path: Path, volume: FatVolume, contents: Mapping[str, bytes]) -> Path:
    with open(path, "wb") as image:
        image.truncate(volume.geometry.total_sectors * SECTOR_BYTES)
        for offset, content in volume.metadata(volume_id=0x1A2B3C4D):
            os.pwrite(image.fileno(), content, offset)
        for name, content in contents.items():
            os.pwrite(image.fileno(), content, volume.placements[name].offset_bytes)
    return path


def copied_out(image: Path, directory: Path) -> dict[str, bytes]:
    """Every file of the volume, as mtools reads it."""
    directory.mkdir()
    subprocess.run(
        ["mcopy", "-s", "-Q", "-i", str(image), "::/*", str(directory)],
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "MTOOLSRC": "/dev/null"},
    )
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


TREE = {
    "boot/syslinux/ldlinux.sys": b"loader" * 700,
    "boot/vmlinuz-virt": bytes(range(256)) * 400,
    ".alpine-release": b"alpine-standard-3.24.0 260101\n",
    "apks/.boot_repository": b"",
    "apks/x86_64/APKINDEX.tar.gz": b"i" * 4096,
    "apks/x86_64/busybox-1.37.0-r12.apk": b"b" * 4097,
    "apks/x86_64/busybox-extras-1.37.0-r12.apk": b"e" * 511,
    "apks/x86_64/gtk+3.0-3.24.apk": b"+",
    "README": b"all upper case, no long name",
    "README.TXT": b"with an extension",
    "with blank.txt": b" ",
    "a.b.c": b"two dots",
    "grüße.txt": b"latin",
    "日本語のファイル名.txt": b"beyond latin",
    "x" * 255: b"the longest name",
    "thirteen-char": b"fills one entry exactly, no end mark",
}


@pytest.mark.parametrize("mebibytes", [35, 66, 140, 300])
def test_volume_holds_every_file_and_has_no_fault(tmp_path, mebibytes):
    volume = plan_fat32(
        files=files_of(TREE),
        total_sectors=mebibytes * MEBIBYTE_SECTORS,
        label="MY-KEY",
        directories=["empty/inside"],
    )
    image = write_volume(tmp_path / "volume.img", volume, TREE)
    report = check_fat_volume(image)
    assert f"{volume.used_clusters}/{volume.geometry.cluster_count} clusters" in report
    assert f"{volume.geometry.sectors_per_cluster * 512} bytes per cluster" in report.replace(
        "  ", " "
    )
    assert copied_out(image, tmp_path / "out") == TREE
    assert "empty/inside/" in list_fat_paths(image)
    tags = subprocess.run(
        ["blkid", "-p", "-o", "export", str(image)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert {"LABEL=MY-KEY", "UUID=1A2B-3C4D", "VERSION=FAT32"} <= set(tags)


names = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=("Cc", "Cs"),
        exclude_characters='"*/:<>?\\|',
    ),
    min_size=1,
    max_size=40,
).filter(lambda name: name[-1] not in ". ")


def parents(path: str) -> list[str]:
    return ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]


paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=st.dictionaries(paths, st.integers(0, 9000), max_size=30))
def test_any_tree_that_is_accepted_is_read_back(tmp_path_factory, tree):
    directory = tmp_path_factory.mktemp("fat")
    contents = {path: hashlib.shake_128(path.encode()).digest(size) for path, size in tree.items()}
    folded = [path.upper() for path in {*tree, *(up for path in tree for up in parents(path))}]
    assume(len(set(folded)) == len(folded) and not {p for q in tree for p in parents(q)} & {*tree})
    volume = plan_fat32(files=files_of(contents), total_sectors=35 * MEBIBYTE_SECTORS, label="ANY")
    image = write_volume(directory / "volume.img", volume, contents)
    check_fat_volume(image)
    for path, content in contents.items():
        # mtools takes [ and ] in a name for a pattern, and a leading ~ or - is fine
        if not set("[]") & set(path) and path.isascii():
            assert read_fat_file(image, path) == content


@settings(max_examples=300, deadline=None)
@given(total=st.integers(35 << 11, 0xFFFF_FFFF - (1 << 11)), hidden=st.sampled_from([0, 63, 2048]))
def test_geometry_is_consistent_at_every_size(total, hidden):
    geometry = plan_fat32(files=[], total_sectors=total, hidden_sectors=hidden, label="X").geometry
    assert geometry.cluster_count >= 65525
    assert (geometry.cluster_count + 2) * 4 <= geometry.fat_sectors * SECTOR_BYTES
    end = geometry.data_sector + geometry.cluster_count * geometry.sectors_per_cluster
    assert end <= total < end + geometry.sectors_per_cluster
    assert (hidden + geometry.data_sector) % max(8, geometry.sectors_per_cluster) == 0
    # No more than a little of the FAT may go unused.
    assert geometry.fat_sectors * 128 - geometry.cluster_count < 1024


@pytest.mark.parametrize(
    "mebibytes, sectors_per_cluster",
    [
        (40, 1),
        (128, 2),
        (256, 4),
        (512, 8),
        (8 << 10, 8),
        (9 << 10, 16),
        (17 << 10, 32),
        (33 << 10, 64),
    ],
)
def test_clusters_suit_the_size(mebibytes, sectors_per_cluster):
    volume = plan_fat32(files=[], total_sectors=mebibytes * MEBIBYTE_SECTORS, label="X")
    assert volume.geometry.sectors_per_cluster == sectors_per_cluster


def test_files_beyond_four_gibibytes_are_where_readers_look(tmp_path):
    # One cluster less than a file can have: at the full 4 GiB fsck.vfat 4.2 counts to 0.
    largest = 0xFFFF_FFFF - 8192
    large = [FatFile(path=f"large{number}", size_bytes=largest) for number in range(2)]
    last = b"behind eight gibibytes"
    files = [*large, FatFile(path="last", size_bytes=len(last))]
    volume = plan_fat32(files=files, total_sectors=9 << 21, label="LARGE")
    assert volume.placements["last"].offset_bytes > (8 << 30) - 20000
    image = write_volume(tmp_path / "large.img", volume, {"last": last})
    assert read_fat_file(image, "last") == last
    assert f"{volume.used_clusters}/" in check_fat_volume(image)
    assert os.stat(image).st_blocks * 512 < 20 << 20


def test_thousands_of_alike_names_get_short_names_of_their_own(tmp_path):
    contents = {f"firmware/linux-firmware-part-{n:04}.apk": b"%d" % n for n in range(3000)}
    volume = plan_fat32(
        files=files_of(contents), total_sectors=100 * MEBIBYTE_SECTORS, label="MANY"
    )
    image = write_volume(tmp_path / "many.img", volume, contents)
    check_fat_volume(image)
    assert copied_out(image, tmp_path / "out") == contents


@pytest.mark.parametrize(
    "name, expected",
    [
        ("boot", b"BOOT       "),
        ("README", b"README     "),
        ("grub.cfg", b"GRUB    CFG"),
        ("bootx64.efi", b"BOOTX64 EFI"),
        (".alpine-release", b"ALPINE~1   "),
        ("APKINDEX.tar.gz", b"APKIND~1GZ "),
        ("initramfs-lts", b"INITRA~1   "),
        ("x.html", b"X~1     HTM"),
        ("a b.txt", b"AB~1    TXT"),
        ("gtk+3.0.apk", b"GTK_30~1APK"),
        ("日本.txt", b"__~1    TXT"),
        (".x", b"X~1        "),
        ("abc.", b"ABC~1      "),
    ],
)
def test_short_name(name, expected):
    assert short_names([name]) == {name: expected}


def test_short_names_avoid_real_ones_and_count_on():
    names = [
        "longname1.txt",
        "longname2.txt",
        "LONGNA~1.TXT",
        *(f"manyfiles{n}" for n in range(12)),
    ]
    result = short_names(names)
    assert result["LONGNA~1.TXT"] == b"LONGNA~1TXT"
    assert result["longname1.txt"] == b"LONGNA~2TXT"
    assert result["longname2.txt"] == b"LONGNA~3TXT"
    assert result["manyfiles9"] == b"MANYF~12   "
    assert len(set(result.values())) == len(names)
    assert short_names(reversed(names)) == result


def test_equal_arguments_give_equal_bytes_whatever_the_order_of_directories():
    def metadata(directories):
        volume = plan_fat32(
            files=files_of(TREE), total_sectors=80000, label="X", directories=directories
        )
        return volume.metadata(volume_id=7)

    assert metadata(["b/c", "a", "boot"]) == metadata(["boot", "a", "b", "b/c"])


def test_attributes_and_first_date_are_written(tmp_path):
    files = [
        FatFile(path="LDLINUX.SYS", size_bytes=1, attributes=READ_ONLY | HIDDEN | SYSTEM | ARCHIVE)
    ]
    volume = plan_fat32(files=files, total_sectors=35 * MEBIBYTE_SECTORS, label="X")
    image = write_volume(tmp_path / "volume.img", volume, {"LDLINUX.SYS": b"x"})
    shown = subprocess.run(
        ["mattrib", "-i", str(image), "::LDLINUX.SYS"], check=True, capture_output=True, text=True
    )
    assert shown.stdout.split() == ["A", "SHR", "::/LDLINUX.SYS"]
    listed = subprocess.run(
        ["mdir", "-a", "-i", str(image), "::"], check=True, capture_output=True, text=True
    )
    assert "LDLINUX  SYS         1 1980-01-01   0:00" in listed.stdout


def test_boot_sector_keeps_a_loader_and_its_backup_equals_it():
    volume = plan_fat32(files=[], total_sectors=35 * MEBIBYTE_SECTORS, label="X")
    loader = bytes(range(256)) * 2
    (_, reserved), *_ = volume.metadata(volume_id=1, boot_sector=loader)
    assert reserved[:11] == loader[:11]
    assert reserved[90:510] == loader[90:510]
    assert reserved[510:512] == b"\x55\xaa"
    assert reserved[71:82] == b"X          "
    assert reserved[6 * 512 : 9 * 512] == reserved[: 3 * 512]


@pytest.mark.parametrize("spare_bytes", [0, 16 << 20])
@pytest.mark.parametrize("content_bytes", [0, 1 << 20, 33 << 20, 65_000_000, 300 << 20])
def test_fitting_size_is_the_smallest(spare_bytes, content_bytes):
    files = [FatFile(path="content", size_bytes=content_bytes)]
    sectors = fitting_sectors(files=files, spare_bytes=spare_bytes, hidden_sectors=2048)
    assert sectors % MEBIBYTE_SECTORS == 0
    volume = plan_fat32(files=files, total_sectors=sectors, hidden_sectors=2048, label="X")
    assert volume.free_bytes >= spare_bytes
    try:
        smaller = plan_fat32(
            files=files,
            total_sectors=sectors - MEBIBYTE_SECTORS,
            hidden_sectors=2048,
            label="X",
        )
    except BuildError:
        return
    assert smaller.free_bytes < spare_bytes


def plan(*paths, sectors=35 * MEBIBYTE_SECTORS, size_bytes=1, **more):
    files = [FatFile(path=path, size_bytes=size_bytes) for path in paths]
    return plan_fat32(files=files, total_sectors=sectors, label="X", **more)


RENAME = "rename the file"


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: plan("etc/52:54:00.apkovl"),
            (
                "etc/52:54:00.apkovl: FAT cannot hold the name '52:54:00.apkovl': it has ':'\n"
                f"  next: {RENAME}"
            ),
        ),
        (
            lambda: plan("dir/ends."),
            (
                "dir/ends.: FAT cannot hold the name 'ends.': it ends in a dot or a blank\n"
                f"  next: {RENAME}"
            ),
        ),
        (
            lambda: plan("tab\there"),
            f"tab\\there: FAT cannot hold the name 'tab\\there': it has '\\t'\n  next: {RENAME}",
        ),
        (
            lambda: plan("bad\udcff"),
            (
                "bad\\udcff: FAT cannot hold the name 'bad\\udcff': it is not Unicode\n"
                f"  next: {RENAME}"
            ),
        ),
        (
            lambda: plan("a/../b"),
            f"a/../b: FAT cannot hold the name '..': it is not a file name\n  next: {RENAME}",
        ),
        (
            lambda: plan("n" * 256),
            (
                f"{'n' * 256}: FAT cannot hold the name '{'n' * 256}': "
                f"it has 256 characters, 255 are the limit\n  next: {RENAME}"
            ),
        ),
        (
            lambda: plan("dir/Makefile", "dir/makefile"),
            (
                "dir/makefile: FAT does not tell upper from lower case: another file has this "
                "name; got dir/Makefile\n  next: rename one of the two"
            ),
        ),
        (
            lambda: plan("Über/a", "über/b"),
            (
                "\\xfcber: FAT does not tell upper from lower case: another file has this name; "
                "got \\xdcber\n  next: rename one of the two"
            ),
        ),
        (lambda: plan("a", "a"), "a: is on the volume twice\n  next: leave one of them out"),
        (lambda: plan("a", "a/b"), "a: is on the volume twice\n  next: leave one of them out"),
        (
            lambda: plan("a", size_bytes=1 << 32),
            (
                "a: file is too large for FAT32; expected at most 4294967295 bytes, "
                "got 4294967296 bytes\n  next: leave the file out or make it smaller"
            ),
        ),
        (
            lambda: plan("a", size_bytes=40 << 20, subject="key default"),
            (
                "key default: content does not fit; expected at most 36118528 bytes, "
                "got 41943552 bytes\n  next: make the volume larger or leave something out"
            ),
        ),
        (
            lambda: plan("a", sectors=60000),
            (
                "FAT32 volume: FAT32 cannot be this small; expected room for at least 65541 "
                "clusters (about 34 MiB), got 30720000 bytes\n  next: ask for a larger size"
            ),
        ),
        (
            lambda: plan("a", sectors=1 << 32),
            (
                "FAT32 volume: FAT32 cannot be this large; expected less than 2199023255040 "
                "bytes, got 2199023255552 bytes\n  next: ask for a smaller size"
            ),
        ),
        (
            lambda: plan(*(f"d/{'n' * 250}{n}" for n in range(3300)), size_bytes=0),
            (
                "d: directory is too large for FAT; expected at most 65536 entries (a long name "
                "takes several), got 69302\n  next: spread the files over several directories"
            ),
        ),
    ],
)
def test_refusal(make, message):
    with pytest.raises(BuildError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize("label", ["ALPINE", "MY KEY-2", "A", "ELEVEN_CHAR"])
def test_label_is_accepted(label):
    check_fat_label(label)


@pytest.mark.parametrize("label", ["", "alpine", "TWELVE_CHARS", "A/B", "A.B", "GRÜN", "A\n"])
def test_label_is_refused(label):
    with pytest.raises(BuildError) as caught:
        check_fat_label(label)
    assert str(caught.value) == (
        f"label {label!r}: not a FAT volume label; expected 1 to 11 upper-case letters, digits, "
        "blanks or !#$%&'()-@^_`{}~\n  next: choose another label"
    )


def test_label_keeps_its_ends():
    with pytest.raises(BuildError, match="blanks at an end"):
        check_fat_label(" KEY")
