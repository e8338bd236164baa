"""The database of installed packages: exact text, and read again."""

from __future__ import annotations

from bootsmith.formats.apk import (
    ApkEntry,
    ApkInfo,
    index_record,
    read_apk,
    read_index_records,
    write_apk,
)
from bootsmith.formats.apk_database import write_installed
from bootsmith.formats.signing_key import derive_signing_key

KEY = derive_signing_key(name="test.rsa.pub", seed="tests of the database", size_bits=1024)


def test_the_database():
    apk = read_apk(
        write_apk(
            info=ApkInfo(name="web", version="1-r0", license="MIT", depends=("musl",)),
            entries=[
                ApkEntry(name="etc", kind="directory", mode=0o755),
                ApkEntry(name="etc/web.conf", data=b"hello"),
                ApkEntry(name="sbin/web", mode=0o4755, data=b"program"),
                ApkEntry(name="sbin/webd", kind="hardlink", target="sbin/web", mode=0o4755),
                ApkEntry(name="tmp", kind="directory", mode=0o1777),
                ApkEntry(name="tmp/link", kind="symlink", target="../etc"),
            ],
            key=KEY,
        )
    )
    record = index_record(apk, file_size_bytes=9)
    text = write_installed([(record, apk)]).decode()
    assert text.endswith("\n\n")
    # Digests by: printf TEXT | openssl sha1 -binary | base64
    assert text.partition("\nF:")[2].splitlines() == [
        *("etc", "R:web.conf", "Z:Q1qvTGHdzF6KLavt4PO0gs2a6pQ00="),
        *("F:sbin", "R:web", "a:0:0:4755", "Z:Q1gdmu6g4aQI1ltmYKF2xd6D3Jjns="),
        *("R:webd", "a:0:0:4755"),
        *("F:tmp", "M:0:0:1777", "R:link", "Z:Q1OAGFaoJ6lLG4rq6wq4odpMvWf08=", ""),
    ]
    (read,) = read_index_records(text)
    assert (read.checksum, read.info.depends) == (record.checksum, ("musl",))
