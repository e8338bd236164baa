"""Packages and indexes: our writer read by tar and openssl, hostile ones refused by our reader."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.formats.apk import (
    ApkEntry,
    ApkInfo,
    check_signed,
    index_record,
    read_apk,
    read_index,
    read_index_records,
    write_apk,
    write_index,
)
from bootsmith.formats.signing_key import derive_signing_key

# Small, so that deriving it takes no time; sizes do not matter to the format.
KEY = derive_signing_key(name="test.rsa.pub", seed="tests of the package format", size_bits=1024)
ENTRIES = (
    ApkEntry(name="etc", kind="directory", mode=0o755),
    ApkEntry(name="etc/motd", mode=0o644, data=b"welcome\n", mtime_epoch=1234567890),
    ApkEntry(name="usr", kind="directory", mode=0o755),
    ApkEntry(name="usr/bin", kind="directory", mode=0o755),
    ApkEntry(name="usr/bin/hello", mode=0o4755, data=b"#!/bin/sh\necho hello\n"),
    ApkEntry(name="usr/bin/again", kind="hardlink", mode=0o4755, target="usr/bin/hello"),
    ApkEntry(name="usr/bin/hi", kind="symlink", mode=0o777, target="hello"),
    ApkEntry(name="usr/bin/" + "long" * 40, mode=0o600, data=b"x" * 1000),
)
INFO = ApkInfo(
    name="hello",
    version="1.2.3-r0",
    summary="says hello",
    license="MIT",
    build_epoch=1700000000,
    depends=("so:libc.musl-x86_64.so.1", "busybox>=1.36"),
    provides=("cmd:hello=1.2.3-r0",),
)
SCRIPTS = {"post-install": "#!/bin/sh\nexit 0\n"}


@pytest.fixture(scope="module")
def package() -> bytes:
    return write_apk(info=INFO, entries=ENTRIES, scripts=SCRIPTS, key=KEY)


def gzip_members(data: bytes) -> list[bytes]:
    """The raw bytes of each gzip member, found without the code under test."""
    members = []
    while data:
        engine = zlib.decompressobj(wbits=31)
        engine.decompress(data)
        members.append(data[: len(data) - len(engine.unused_data)])
        data = engine.unused_data
    return members


def test_round_trip(package: bytes) -> None:
    apk = read_apk(package)
    assert apk.entries == ENTRIES
    assert apk.scripts == SCRIPTS
    assert (apk.info.name, apk.info.version) == ("hello", "1.2.3-r0")
    assert apk.info.depends == INFO.depends
    assert apk.info.provides == INFO.provides
    assert apk.info.size_bytes == sum(len(entry.data) for entry in ENTRIES)
    assert check_signed(apk, {KEY.name: KEY.public_pem()}) == KEY.name
    assert apk.find("etc/motd").data == b"welcome\n"
    assert apk.find("etc/none") is None


@given(
    files=st.dictionaries(
        st.from_regex(r"[a-z0-9_+é-]{1,60}(/[a-zA-Z0-9.é]{1,80}x){0,3}", fullmatch=True),
        st.tuples(st.binary(max_size=2000), st.integers(0, 0o7777)),
        max_size=8,
    )
)
@settings(max_examples=40, deadline=None)
def test_any_files_survive(files: dict[str, tuple[bytes, int]]) -> None:
    entries = tuple(
        ApkEntry(name=name, data=data, mode=mode) for name, (data, mode) in sorted(files.items())
    )
    data = write_apk(info=INFO, entries=entries, key=KEY)
    assert read_apk(data).entries == entries
    assert write_apk(info=INFO, entries=entries, key=KEY) == data


def test_tar_lists_and_extracts_what_we_wrote(package: bytes, tmp_path) -> None:
    (tmp_path / "hello.apk").write_bytes(package)
    # GNU tar takes the three members as one archive; it warns of the checksum keyword.
    subprocess.run(
        ["tar", "-xzf", "hello.apk", "--warning=no-unknown-keyword"], cwd=tmp_path, check=True
    )
    assert (tmp_path / "usr/bin/hi").read_text() == "#!/bin/sh\necho hello\n"
    assert (tmp_path / "usr/bin/again").samefile(tmp_path / "usr/bin/hello")
    assert (tmp_path / ("usr/bin/" + "long" * 40)).read_bytes() == b"x" * 1000
    assert "pkgname = hello" in (tmp_path / ".PKGINFO").read_text()
    assert (tmp_path / ".post-install").read_text() == SCRIPTS["post-install"]


def test_openssl_verifies_package_and_index(package: bytes, tmp_path) -> None:
    index = write_index(
        description="test 1",
        records=[index_record(read_apk(package), file_size_bytes=len(package))],
        key=KEY,
    )
    (tmp_path / "key.pem").write_bytes(KEY.public_pem())
    for data in (package, index):
        signature, signed, *_rest = gzip_members(data)
        archive = tarfile.open(fileobj=io.BytesIO(zlib.decompress(signature, 31)))
        member = archive.next()
        assert member.name == f".SIGN.RSA.{KEY.name}"
        (tmp_path / "signature").write_bytes(archive.extractfile(member).read())
        (tmp_path / "signed").write_bytes(signed)
        subprocess.run(
            ["openssl", "dgst", "-sha1", "-verify", "key.pem", "-signature", "signature", "signed"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )


def test_segments_are_cut_as_apk_wants(package: bytes) -> None:
    signature, control, data = (zlib.decompress(raw, 31) for raw in gzip_members(package))
    assert not signature.endswith(b"\0" * 1024)
    assert not control.endswith(b"\0" * 1024)
    assert data.endswith(b"\0" * 1024)
    assert hashlib.sha256(gzip_members(package)[2]).hexdigest().encode() in control
    assert b"APK-TOOLS.checksum.SHA1=" + hashlib.sha1(b"hello").hexdigest().encode() in data


def test_index_round_trip(package: bytes) -> None:
    record = index_record(read_apk(package), file_size_bytes=len(package))
    data = write_index(description="hello 3.24", records=[record], key=KEY)
    index = read_index(data)
    assert index.description == "hello 3.24"
    assert index.records[0].file_name == "hello-1.2.3-r0.apk"
    assert index.records[0].checksum == record.checksum
    assert index.records[0].file_size_bytes == len(package)
    assert index.records[0].info.depends == INFO.depends
    assert check_signed(index, {KEY.name: KEY.public_pem()}) == KEY.name


def test_installed_database_is_read_up_to_its_files() -> None:
    text = (
        "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nS:383459\nI:622592\nT:the musl c library\n"
        "o:musl\nt:1690000000\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1def=\n\n"
        "P:busybox\nV:1.36.1-r5\nD:so:libc.musl-x86_64.so.1\n\n"
    )
    musl, busybox = read_index_records(text)
    assert (musl.info.name, musl.info.version, musl.file_size_bytes) == (
        "musl",
        "1.2.4-r2",
        383459,
    )
    assert busybox.info.depends == ("so:libc.musl-x86_64.so.1",)


def test_untrusted_and_forged_packages_are_told_apart(package: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        check_signed(read_apk(package), {"other.rsa.pub": KEY.public_pem()}, subject="hello.apk")
    assert caught.value.message == (
        "hello.apk: no valid signature by a trusted key; "
        "expected one of other.rsa.pub, got test.rsa.pub"
    )
    signature, _control, _data = gzip_members(package)
    other = write_apk(info=INFO, entries=(), key=KEY)
    forged = signature + b"".join(gzip_members(other)[1:])
    with pytest.raises(FormatError, match="no valid signature by a trusted key"):
        check_signed(read_apk(forged), {KEY.name: KEY.public_pem()})


def test_changed_data_is_noticed(package: bytes) -> None:
    signature, control, _data = gzip_members(package)
    other = gzip_members(write_apk(info=INFO, entries=(), key=KEY))[2]
    with pytest.raises(FormatError, match=r"data member does not match \.PKGINFO"):
        read_apk(signature + control + other)


@pytest.mark.parametrize("keep", [0.1, 0.4, 0.7, 0.99])
def test_truncation_is_noticed(package: bytes, keep: float) -> None:
    with pytest.raises(FormatError):
        read_apk(package[: int(len(package) * keep)])


@pytest.mark.parametrize(
    "entries, problem",
    [
        ([ApkEntry(name="../evil", data=b"x")], "member name climbs out with .."),
        ([ApkEntry(name="/etc/evil", data=b"x")], "member has an absolute name"),
        ([ApkEntry(name="a\nb", data=b"x")], "member name holds a control character"),
        (
            [
                ApkEntry(name="x", kind="symlink", target="/etc"),
                ApkEntry(name="x/passwd", data=b"x"),
            ],
            "member goes through a symbolic link of the archive",
        ),
        (
            [ApkEntry(name="x", kind="hardlink", target="../../etc/passwd")],
            "member name climbs out with ..",
        ),
    ],
)
def test_hostile_packages_are_refused(entries: list[ApkEntry], problem: str) -> None:
    data = write_apk(info=INFO, entries=entries, key=KEY)
    with pytest.raises(FormatError) as caught:
        read_apk(data, subject="evil.apk")
    assert caught.value.subject == "evil.apk"
    assert caught.value.problem == problem


def test_bomb_is_refused_before_it_is_unpacked() -> None:
    data = write_apk(info=INFO, entries=[ApkEntry(name="zeros", data=bytes(3 << 20))], key=KEY)
    assert len(data) < 10_000
    with pytest.raises(FormatError) as caught:
        read_apk(data, limit_bytes=1 << 20)
    assert caught.value.message == (
        "package: unpacks to more than is allowed; expected at most 1048576 bytes"
    )


def test_not_a_package() -> None:
    with pytest.raises(FormatError, match="damaged gzip member"):
        read_apk(b"not a package at all")
    with pytest.raises(FormatError, match="ends in the middle"):
        read_apk(b"")
