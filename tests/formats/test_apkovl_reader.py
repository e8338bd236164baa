"""Overlays as init and apk will take them: ours and GNU tar's are read, the rest refused."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile

import pytest

from bootsmith.errors import FormatError
from bootsmith.formats.apkovl import ApkovlEntry, write_apkovl
from bootsmith.formats.apkovl_reader import ApkovlFacts, read_apkovl_facts

FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
LONG = "etc/" + "d" * 90 + "/" + "e" * 90 + "/" + "f" * 120
ENTRIES = (
    ApkovlEntry(name="etc", mode=DIRECTORY),
    ApkovlEntry(name="etc/bootsmith/template", mode=FILE, data=b"web\n"),
    ApkovlEntry(name="etc/localtime", mode=LINK, data=b"/etc/zoneinfo/UTC"),
    ApkovlEntry(name=LONG, mode=FILE, data=b"x" * 2000),
    ApkovlEntry(name="etc/motd\u00e4", mode=FILE, data=b"hello"),
)


def facts(content):
    return read_apkovl_facts(content, subject="x.apkovl.tar.gz")


def refusal(content):
    with pytest.raises(FormatError) as caught:
        facts(content)
    return str(caught.value)


def packed(tar):
    return gzip.compress(tar, mtime=0)


def plain(content):
    return gzip.decompress(content)


def archive(*members, layout=tarfile.GNU_FORMAT):
    """What Python's tarfile makes of (name, type, content)."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=layout) as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed(whole.getvalue())


def test_what_we_write_is_read():
    assert facts(write_apkovl(ENTRIES)) == ApkovlFacts(members=5, template="web")


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_others_write_is_read(layout):
    long = ("etc/" + "n" * 90 + "/" + "o" * 90, tarfile.REGTYPE, b"long")
    content = archive(
        ("etc", tarfile.DIRTYPE, b""),
        long,
        ("etc/bootsmith/template", tarfile.REGTYPE, b"db\n"),
        layout=layout,
    )
    assert facts(content) == ApkovlFacts(members=3, template="db")


def test_without_the_marker_no_template_is_said():
    assert facts(archive(("etc/motd", tarfile.REGTYPE, b"hi"))).template is None


@pytest.mark.parametrize("length", range(0, 700, 13))
def test_no_part_of_one_is_taken_for_the_whole(length):
    """Neither of the packed bytes nor of the tar inside."""
    whole = write_apkovl(ENTRIES)
    assert "x.apkovl.tar.gz: " in refusal(whole[: len(whole) * length // 700])
    tar = plain(whole)
    end = len(tar.rstrip(b"\0"))
    assert "damaged archive: " in refusal(packed(tar[: end * length // 700]))


def test_a_member_that_ends_early_is_named_by_its_place():
    tar = plain(write_apkovl([ApkovlEntry(name="etc/motd", mode=FILE, data=b"x" * 600)]))
    assert "it ends inside the member at byte 0\n" in refusal(packed(tar[:1024]))


def test_one_changed_byte_of_a_header_is_seen():
    tar = bytearray(plain(write_apkovl(ENTRIES)))
    tar[3] ^= 1
    assert refusal(packed(bytes(tar))) == (
        "x.apkovl.tar.gz: damaged archive: the header at byte 0 does not match its checksum\n"
        "  next: build it again: doit apkovl"
    )


def test_what_is_no_gzip_is_said():
    assert refusal(b"BZh91AY") == (
        "x.apkovl.tar.gz: is not packed with gzip; expected 1f 8b, got 42 5a\n"
        "  next: build it again: doit apkovl"
    )


def test_nothing_may_follow_its_end():
    whole = write_apkovl(ENTRIES)
    assert "it does not end where it should" in refusal(whole + b"more")
    assert "something follows its end at byte" in refusal(packed(plain(whole) + b"more"))


@pytest.mark.parametrize(
    "name,kind,message",
    [
        ("./etc/motd", tarfile.REGTYPE, "expected 'etc/motd', got './etc/motd'"),
        ("etc//motd", tarfile.REGTYPE, "expected 'etc/motd', got 'etc//motd'"),
        ("/etc/motd", tarfile.REGTYPE, "member has an absolute name"),
        ("etc/../../motd", tarfile.REGTYPE, "member name climbs out with .."),
        ("motd", tarfile.REGTYPE, "only directories can stand at the top of an overlay"),
        ("etc/a\nb", tarfile.REGTYPE, "control character"),
        ("etc/motd", tarfile.FIFOTYPE, "is neither file nor directory nor link"),
        ("srv/motd", tarfile.REGTYPE, "has nothing below etc/"),
    ],
)
def test_members_that_apk_would_trip_over(name, kind, message):
    assert message in refusal(archive((name, kind, b"")))


def test_a_directory_without_its_slash_is_refused():
    tar = bytearray(plain(write_apkovl([ApkovlEntry(name="etc", mode=DIRECTORY)])))
    tar[3] = 0
    tar[148:156] = b" " * 8
    tar[148:156] = b"%06o\0 " % sum(tar[:512])
    assert refusal(packed(bytes(tar))) == (
        "x.apkovl.tar.gz: a member is not named as apk's overlay list has it; "
        "expected 'etc/', got 'etc'\n"
        "  next: pack it without ./ and with a slash behind directories, as lbu does"
    )
