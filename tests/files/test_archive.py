"""Hostile archives are refused with a reason; honest ones come out as GNU tar made them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from bootsmith.errors import FormatError
from bootsmith.files.archive import Limits, read_archive


def make_tar(*members: tuple[str, dict, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for name, attributes, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def refusal(data: bytes, **arguments) -> str:
    with pytest.raises(FormatError) as caught:
        list(read_archive(data, subject="evil.tar.gz", **arguments))
    return caught.value.message


@pytest.mark.parametrize("compression", ["--gzip", "--xz", "--zstd", "--bzip2", "--no-same-owner"])
def test_reads_what_tar_wrote(tmp_path: Path, compression: str) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/motd").write_bytes(b"hello\n")
    (tree / "etc/motd").chmod(0o640)
    (tree / "etc/größe").write_bytes(b"1")
    os.link(tree / "etc/motd", tree / "etc/notice")
    os.symlink("../outside/is/fine", tree / "etc/link")
    subprocess.run(
        ["tar", "-C", tree, "--sort=name", compression, "-cf", tmp_path / "a.tar", "."], check=True
    )
    members = {member.name: member for member in read_archive(tmp_path / "a.tar")}
    assert set(members) == {"", "etc", "etc/motd", "etc/größe", "etc/notice", "etc/link"}
    assert (members["etc/motd"].data, members["etc/motd"].mode) == (b"hello\n", 0o640)
    assert (members["etc/notice"].kind, members["etc/notice"].target) == ("hardlink", "etc/motd")
    assert (members["etc/link"].kind, members["etc/link"].target) == (
        "symlink",
        "../outside/is/fine",
    )


def test_reads_cpio_and_ar_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    subprocess.run(["cpio", "-oH", "newc", "-F", "a.cpio"], input=b"file\n", cwd=tmp_path)
    subprocess.run(["ar", "rc", "a.ar", "file"], cwd=tmp_path, check=True)
    for name in ("a.cpio", "a.ar"):
        assert [member.data for member in read_archive(tmp_path / name)] == [b"content"]


def test_unwanted_members_come_without_content() -> None:
    data = make_tar(("a", {}, b"1"), ("b", {}, b"2"))
    members = list(read_archive(data, wanted=lambda name: name == "b"))
    assert [(member.name, member.data) for member in members] == [("a", b""), ("b", b"2")]


def test_names_that_leave_are_refused() -> None:
    assert refusal(make_tar(("../../etc/passwd", {}, b"x"))) == (
        "evil.tar.gz: member name climbs out with ..; got '../../etc/passwd'"
    )
    assert refusal(make_tar(("/etc/passwd", {}, b"x"))) == (
        "evil.tar.gz: member has an absolute name; got '/etc/passwd'"
    )
    assert refusal(make_tar(("a/x\x1b[2J", {}, b"x"))) == (
        "evil.tar.gz: member name holds a control character; got 'a/x\\x1b[2J'"
    )


def test_symlink_then_a_path_through_it_is_refused() -> None:
    link = ("x", {"type": tarfile.SYMTYPE, "linkname": "/etc"}, b"")
    assert refusal(make_tar(link, ("x/passwd", {}, b"root::0:0"))) == (
        "evil.tar.gz: member goes through a symbolic link of the archive; "
        "got 'x/passwd' through 'x'"
    )
    # Named again with dots and doubled slashes, it is the same path.
    assert "member goes through" in refusal(make_tar(link, ("./x//./deep/er", {}, b"")))
    deep = ("a/b", {"type": tarfile.SYMTYPE, "linkname": ".."}, b"")
    assert "through 'a/b'" in refusal(make_tar(deep, ("a/b/c/d", {}, b"")))


def test_hard_links_out_are_refused() -> None:
    outside = ("x", {"type": tarfile.LNKTYPE, "linkname": "../../etc/shadow"}, b"")
    assert refusal(make_tar(outside)) == (
        "evil.tar.gz: member name climbs out with ..; got '../../etc/shadow'"
    )
    unknown = ("x", {"type": tarfile.LNKTYPE, "linkname": "etc/shadow"}, b"")
    assert refusal(make_tar(unknown)) == (
        "evil.tar.gz: hard link to something that is no earlier file of the archive; "
        "got 'etc/shadow'"
    )


@pytest.mark.parametrize(
    "kind, words",
    [
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.FIFOTYPE, "a FIFO"),
    ],
)
def test_device_nodes_are_refused(kind: bytes, words: str) -> None:
    assert refusal(make_tar(("dev/sda", {"type": kind, "devmajor": 8}, b""))) == (
        f"evil.tar.gz: member 'dev/sda' is {words}; expected files, directories and links"
    )


def test_ten_gigabytes_of_zeros_are_refused_at_once(tmp_path: Path) -> None:
    # A sparse file keeps the making of the bomb cheap; gzip would take minutes.
    with open(tmp_path / "bomb", "wb") as bomb:
        bomb.truncate(10 << 30)
    command = "tar -cf - bomb | head -c 5000000 | gzip -1 > bomb.tar.gz"
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    with pytest.raises(FormatError) as caught:
        list(read_archive(tmp_path / "bomb.tar.gz"))
    assert caught.value.problem == (
        "unpacks to more than is allowed: 'bomb' is larger than 1073741824 bytes"
    )


def test_many_members_and_many_bytes_are_refused() -> None:
    many = make_tar(*((f"f{number}", {}, b"1234567890") for number in range(20)))
    assert refusal(many, limits=Limits(members=19)) == (
        "evil.tar.gz: unpacks to more than is allowed: more than 19 members"
    )
    assert refusal(many, limits=Limits(total_bytes=199)) == (
        "evil.tar.gz: unpacks to more than is allowed: more than 199 bytes in all"
    )
    assert len(list(read_archive(many, limits=Limits(members=20, total_bytes=200)))) == 20


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:"])
def test_truncated_archives_are_refused(mode: str) -> None:
    data = make_tar(("file", {}, os.urandom(100_000)), mode=mode)
    message = refusal(data[: len(data) // 2])
    assert message.startswith("evil.tar.gz: damaged or not an archive: ")


def test_not_an_archive() -> None:
    assert refusal(b"this is no archive of any kind" * 100).startswith(
        "evil.tar.gz: damaged or not an archive: "
    )
