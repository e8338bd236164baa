"""Whole roots from disk and from archives: nothing is lost, or it is said."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
import tarfile

import pytest

from bootsmith.errors import FormatError, SourceError
from bootsmith.files.archive import Limits
from bootsmith.files.root_sources import read_root_directory, read_root_tarball
from bootsmith.formats.initramfs import settle_links

LONG = "/".join(["directory-with-a-long-name"] * 12)
BYTES = os.fsdecode(b"etc/caf\xe9")


@pytest.fixture
def root(tmp_path):
    """A usr-merged root with hard links across directories, a device, odd names."""
    tree = tmp_path / "root"
    for name in ("usr/bin", "usr/sbin", "etc", "dev", "var/cache/apt/archives", LONG):
        (tree / name).mkdir(parents=True)
    (tree / "bin").symlink_to("usr/bin")
    (tree / "usr/bin/busybox").write_bytes(b"program" * 1000)
    (tree / "usr/bin/busybox").chmod(0o4755)
    for name in ("usr/sbin/ifup", "usr/sbin/ifdown"):
        os.link(tree / "usr/bin/busybox", tree / name)
    (tree / "etc/resolv.conf").symlink_to("/run/resolv.conf")
    (tree / BYTES).write_bytes(b"bytes")
    (tree / LONG / "file").write_bytes(b"far")
    (tree / "var/cache/apt/archives/x.deb").write_bytes(b"deb")
    os.link(tree / "var/cache/apt/archives/x.deb", tree / "etc/x.deb")
    return tree


def contents(source):
    """Name to what the archive will hold of it."""
    return {
        member.name: (stat.filemode(member.mode), member.target or bytes(member.load()))
        for member in source.tree.members.values()
    }


def links(source):
    """The names of each file that has several."""
    groups = {}
    for member in settle_links(source.tree.members.values()):
        if member.linked is not None:
            groups.setdefault(member.linked, []).append(member.name)
    return list(groups.values())


EXPECTED = {
    "bin": ("lrwxrwxrwx", "usr/bin"),
    "usr/bin/busybox": ("-rwsr-xr-x", b"program" * 1000),
    "usr/sbin/ifdown": ("-rwsr-xr-x", b"program" * 1000),
    "usr/sbin/ifup": ("-rwsr-xr-x", b"program" * 1000),
    "etc/resolv.conf": ("lrwxrwxrwx", "/run/resolv.conf"),
    BYTES: ("-rw-r--r--", b"bytes"),
    f"{LONG}/file": ("-rw-r--r--", b"far"),
    "etc/x.deb": ("-rw-r--r--", b"deb"),
}


def tarred(root, *words):
    """GNU tar's archive of the tree."""
    tarball = root.parent / "root.tar.gz"
    subprocess.run(["tar", "-C", root, "-czf", tarball, "--format=posix", *words, "."], check=True)
    return tarball


@pytest.mark.parametrize("kind", ["directory", "tarball"])
def test_everything_comes_along(root, kind):
    exclude = ("var/cache/apt/archives", "none/*")
    if kind == "directory":
        source = read_root_directory(root, exclude=exclude)
    else:
        source = read_root_tarball(tarred(root), exclude=exclude)
    found = contents(source)
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    assert "var/cache/apt" in found
    assert not [name for name in found if name.startswith("var/cache/apt/archives")]
    assert links(source) == [["usr/bin/busybox", "usr/sbin/ifdown", "usr/sbin/ifup"]]
    assert source.notes == ["exclude: none/* matches nothing"]


def test_files_of_a_directory_are_roots_unless_owners_are_kept(root):
    os.chown(root / "etc/x.deb", 7, 42)
    member = read_root_directory(root).tree.members["etc/x.deb"]
    assert (member.uid, member.gid) == (0, 0)
    member = read_root_directory(root, keeps_owners=True).tree.members["etc/x.deb"]
    assert (member.uid, member.gid) == (7, 42)


def test_a_tarball_says_who_owns_what(root):
    source = read_root_tarball(tarred(root, "--owner=7", "--group=42"))
    member = source.tree.members["etc/x.deb"]
    assert (member.uid, member.gid) == (7, 42)


def test_devices_come_from_a_directory_and_sockets_do_not(root, monkeypatch):
    os.mknod(root / "dev/sda", 0o660 | stat.S_IFBLK, os.makedev(8, 0))
    (root / "dev/sda").chmod(0o660)
    os.mkfifo(root / "dev/initctl", 0o600)
    monkeypatch.chdir(root)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("dev/log")
        source = read_root_directory(root)
    disk = source.tree.members["dev/sda"]
    assert (stat.filemode(disk.mode), disk.rdev_major, disk.rdev_minor) == ("brw-rw----", 8, 0)
    assert stat.S_ISFIFO(source.tree.members["dev/initctl"].mode)
    assert "dev/log" not in source.tree.members
    assert source.notes == ["left out, since each is a socket: dev/log"]


def test_devices_in_a_tarball_are_left_out_and_said(root):
    for minor in range(7):
        os.mknod(root / f"dev/tty{minor}", 0o620 | stat.S_IFCHR, os.makedev(4, minor))
    source = read_root_tarball(tarred(root))
    assert [name for name in source.tree.members if name.startswith("dev/")] == []
    assert source.notes == [
        "left out, since each is a character device: "
        "dev/tty0, dev/tty1, dev/tty2, dev/tty3, dev/tty4 and 2 more"
    ]


def test_lost_capabilities_are_said(root, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("ping")
        member.pax_headers = {"SCHILY.xattr.security.capability": "\x01\x02"}
        archive.addfile(member, io.BytesIO())
    source = read_root_tarball(tmp_path / "x.tar")
    assert source.notes == ["the attribute security.capability is lost: ping"]
    os.setxattr(root / BYTES, "user.origin", b"mirror")
    assert read_root_directory(root).notes == [r"the attribute user.origin is lost: etc/caf\udce9"]


def test_the_later_of_two_members_wins_and_the_other_names_stay(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, link, data in [
            ("a", None, b"old"),
            ("b", "a", b""),
            ("c", "a", b""),
            ("a", None, b"new"),
        ]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if link:
                member.type, member.linkname = tarfile.LNKTYPE, link
            archive.addfile(member, io.BytesIO(data))
    source = read_root_tarball(tmp_path / "x.tar")
    assert {name: data for name, (_, data) in contents(source).items()} == {
        "a": b"new",
        "b": b"old",
        "c": b"old",
    }
    assert links(source) == [["b", "c"]]


def test_a_link_to_what_is_no_file_any_more(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind, link in [
            ("a", tarfile.REGTYPE, ""),
            ("a", tarfile.SYMTYPE, "/etc"),
            ("b", tarfile.LNKTYPE, "a"),
        ]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            archive.addfile(member)
    with pytest.raises(FormatError) as caught:
        read_root_tarball(tmp_path / "x.tar")
    assert caught.value.message == (
        f"{tmp_path}/x.tar: 'b' is another name of 'a', which is no file any more"
    )


def hostile(tmp_path, *members):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            archive.addfile(member)
    with pytest.raises(FormatError) as caught:
        read_root_tarball(tmp_path / "x.tar")
    return caught.value.message.removeprefix(f"{tmp_path}/x.tar: ")


def test_hostile_archives_are_refused(tmp_path):
    assert hostile(tmp_path, ("../x", tarfile.REGTYPE, "")) == (
        "member name climbs out with ..; got '../x'"
    )
    assert hostile(tmp_path, ("x", tarfile.SYMTYPE, "/etc"), ("x/passwd", tarfile.REGTYPE, "")) == (
        "member goes through a symbolic link of the archive; got 'x/passwd' through 'x'"
    )
    assert hostile(tmp_path, ("x", tarfile.LNKTYPE, "/etc/shadow")) == (
        "member has an absolute name; got '/etc/shadow'"
    )


def test_a_bomb_and_a_cut_archive_are_refused(root):
    tarball = tarred(root)
    with pytest.raises(FormatError, match="unpacks to more than is allowed: more than 9 members"):
        read_root_tarball(tarball, limits=Limits(members=9))
    with pytest.raises(FormatError, match="is larger than 6999 bytes"):
        read_root_tarball(tarball, limits=Limits(member_bytes=6999))
    content = tarball.read_bytes()
    tarball.write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="damaged or not an archive"):
        read_root_tarball(tarball)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(SourceError) as caught:
        read_root_directory(tmp_path / "none")
    assert caught.value.message == (f"{tmp_path}/none: is not there")


def test_a_file_that_changes_while_it_is_read(root):
    member = read_root_directory(root).tree.members["etc/x.deb"]
    (root / "etc/x.deb").write_bytes(b"other")
    with pytest.raises(SourceError) as caught:
        member.load()
    assert caught.value.message == f"{root}/etc/x.deb: changed while it was read"
