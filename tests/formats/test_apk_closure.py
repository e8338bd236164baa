"""Which packages come along, in which order, and what cannot be had."""

from __future__ import annotations

import pytest

from bootsmith.errors import BuildError
from bootsmith.formats.apk import ApkInfo, IndexRecord
from bootsmith.formats.apk_closure import close_packages


def package(name, version="1-r0", **fields):
    info = ApkInfo(name=name, version=version, **fields)
    return IndexRecord(checksum="Q1", info=info, file_size_bytes=1)


def closed(records, *wanted):
    return [record.info.name for record in close_packages(records, wanted, subject="ramroot x")]


REPOSITORY = [
    package("musl", provides=("so:libc.musl-x86_64.so.1=1",)),
    package("busybox", depends=("so:libc.musl-x86_64.so.1",), provides=("cmd:ls=1-r0",)),
    package("busybox-binsh", depends=("busybox=1-r0",), provides=("/bin/sh",), provider_priority=9),
    package("ash-binsh", provides=("/bin/sh",), provider_priority=1),
    package("openrc", depends=("/bin/sh", "musl>=1")),
    package("nginx", depends=("pc:zlib", "!apache")),
    package("nginx-openrc", install_if=("nginx=1-r0", "openrc")),
    package("zlib-dev", provides=("pc:zlib=1.3",), depends=("zlib",)),
    package("zlib", depends=("zlib-dev",)),
    package("apache"),
    package("base", depends=("openrc", "busybox")),
    package("never", install_if=("nginx", "absent")),
]


def test_dependencies_come_first():
    assert closed(REPOSITORY, "base") == ["musl", "busybox", "busybox-binsh", "openrc", "base"]
    assert closed(REPOSITORY) == []


def test_what_the_recipe_names_answers_before_another_provider():
    assert closed(REPOSITORY, "ash-binsh", "openrc") == ["ash-binsh", "musl", "openrc"]
    assert closed(REPOSITORY, "openrc", "ash-binsh") == ["ash-binsh", "musl", "openrc"]


def test_the_recipe_may_forbid_a_provider():
    assert closed(REPOSITORY, "!busybox-binsh", "openrc") == ["ash-binsh", "musl", "openrc"]


def test_install_if_and_circles():
    order = closed(REPOSITORY, "openrc", "nginx")
    assert order[-4:] == ["zlib", "zlib-dev", "nginx", "nginx-openrc"]
    assert "nginx-openrc" not in closed(REPOSITORY, "openrc", "nginx", "!nginx-openrc")


def test_the_newest_version_that_fits():
    records = [package("a", "1.9-r0"), package("a", "1.10-r0"), package("a", "2-r0")]
    (found,) = close_packages(records, ["a<2"], subject="x")
    assert found.info.version == "1.10-r0"


@pytest.mark.parametrize(
    "wanted,message",
    [
        (
            ["nothing"],
            "the recipe needs nothing, which cannot be had; expected a package of the release "
            "that is it or provides it, got none",
        ),
        (
            ["busybox>2"],
            "the recipe needs busybox>2, which cannot be had; expected a package of the release "
            "that is it or provides it, got busybox-1-r0, of another version or excluded",
        ),
        (
            ["apache", "nginx"],
            "nginx excludes apache, which apache-1-r0 is or provides",
        ),
    ],
)
def test_what_cannot_be_had(wanted, message):
    with pytest.raises(BuildError) as caught:
        closed(REPOSITORY, *wanted)
    assert str(caught.value) == (
        f"ramroot x: {message}\n  next: name other packages in the recipe, or use a release "
        "that carries what is missing"
    )
