"""Packages that an overlay wants, and a medium that has them or not."""

from __future__ import annotations

import pytest

from bootsmith.files.overlay_world import unmet_world
from bootsmith.formats.apk import ApkInfo, IndexRecord
from bootsmith.formats.apkovl import ApkovlEntry, write_apkovl

MEDIUM = [
    IndexRecord(checksum="Q1", info=info, file_size_bytes=1)
    for info in (
        ApkInfo(name="alpine-base", version="3.20.3-r0"),
        ApkInfo(name="nginx", version="1.26-r0", depends=("so:libz.so.1",)),
        ApkInfo(name="dropbear", version="2024-r0"),
    )
]


def unmet(tmp_path, world, repositories=None):
    texts = {"etc/apk/world": world}
    if repositories is not None:
        texts["etc/apk/repositories"] = repositories
    directories = [ApkovlEntry(name=name, mode=0o040755) for name in ("etc", "etc/apk")]
    files = [
        ApkovlEntry(name=name, mode=0o100644, data=text.encode()) for name, text in texts.items()
    ]
    (tmp_path / "x.apkovl.tar.gz").write_bytes(write_apkovl([*directories, *files]))
    error = unmet_world(MEDIUM, tmp_path / "x.apkovl.tar.gz")
    return error and error.problem


@pytest.mark.parametrize(
    "world,said",
    [
        ("alpine-base\ndropbear\n", None),
        ("alpine-base\ndropbear>2020\n", None),
        ("alpine-base\nnosuch\n", "the recipe needs nosuch, which cannot be had"),
        ("dropbear>2030\n", "the recipe needs dropbear>2030, which cannot be had"),
        ("nginx\n", "nginx needs so:libz.so.1, which cannot be had"),
    ],
)
def test_what_a_medium_cannot_install(tmp_path, world, said):
    assert unmet(tmp_path, world) == said


@pytest.mark.parametrize(
    "repositories,is_told",
    [
        ("/media/usb/apks\n", True),
        ("# http://dl-cdn.alpinelinux.org/alpine/v3.20/main\n\n", True),
        ("http://10.20.0.1/alpine/v3.20/main\n", False),
        ("/media/usb/apks\n@edge http://10.20.0.1/edge/main\n", False),
    ],
)
def test_where_an_overlay_names_another_repository_nobody_can_say(tmp_path, repositories, is_told):
    assert (unmet(tmp_path, "nosuch\n", repositories) is not None) is is_told


def test_what_cannot_be_read_is_told_by_others(tmp_path):
    (tmp_path / "x.apkovl.tar.gz").write_bytes(b"no archive")
    assert unmet_world(MEDIUM, tmp_path / "x.apkovl.tar.gz") is None
