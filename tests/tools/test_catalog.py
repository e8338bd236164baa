"""What is needed, how it is told, and when a program counts as another one."""

from __future__ import annotations

import os
import re
import shutil
import time

import pytest

from bootsmith.errors import FormatError
from bootsmith.files.digest import is_settled
from bootsmith.tools import catalog
from bootsmith.tools.run import run_program


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty memory of program versions, read anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    catalog._version_cache.cache_clear()
    yield tmp_path / "cache/bootsmith/programs.json"
    catalog._version_cache.cache_clear()


def program_version(program):
    """As another process would find it."""
    catalog._version_cache.cache_clear()
    return catalog.program_version(program)


def test_a_package_line_is_read():
    text = "# comment\n\nmtools | test | mcopy mdir | tests, to read FAT\n"
    assert catalog.parse_debian_packages(text, source="p.txt") == (
        catalog.DebianPackage(
            name="mtools", group="test", used=("mcopy", "mdir"), reason="tests, to read FAT"
        ),
    )


@pytest.mark.parametrize(
    "line,message",
    [
        (
            "mtools | test | mcopy",
            "p.txt:2: not a package line; "
            "expected package | build, test or bench | what is used | reason, "
            "got mtools | test | mcopy",
        ),
        (
            "mtools | test |  | reason",
            "p.txt:2: not a package line; "
            "expected package | build, test or bench | what is used | reason, "
            "got mtools | test |  | reason",
        ),
        (
            "mtools | both | mcopy | reason",
            "p.txt:2: unknown group; expected build, test or bench, got both",
        ),
        ("a | build | x | again", "p.txt:2: a is listed twice; expected one line a package"),
    ],
)
def test_a_bad_package_line_is_located(line, message):
    with pytest.raises(FormatError) as failure:
        catalog.parse_debian_packages(f"a | build | a | r\n{line}\n", source="p.txt")
    assert str(failure.value) == message


def test_a_requirement_gets_its_locked_version():
    lock = "pytest-xdist==3.8.0 \\\n    --hash=sha256:00\nother==1\n    # via pytest-xdist\n"
    versions = catalog.locked_versions(lock)
    assert versions == {"pytest-xdist": "3.8.0", "other": "1"}
    text = "# comment\n-c build.lock\nPytest_xdist   # runs on every core\nnew # soon\n"
    packages = catalog.parse_python_packages(text, group="test", versions=versions, source="t.in")
    assert [(one.name, one.version, one.reason) for one in packages] == [
        ("Pytest_xdist", "3.8.0", "runs on every core"),
        ("new", "not locked", "soon"),
    ]


@pytest.mark.parametrize("line", ["pytest", "pytest>=1  # reason", "pytest  #"])
def test_a_requirement_without_its_reason_is_located(line):
    with pytest.raises(FormatError) as failure:
        catalog.parse_python_packages(line, group="test", versions={}, source="t.in")
    assert str(failure.value) == (
        f"t.in:1: not a requirement with its reason; expected name  # reason, got {line}"
    )


def test_the_shipped_lists_can_be_read():
    assert catalog.package_of("mksquashfs").name == "squashfs-tools"
    assert {package.group for package in catalog.debian_packages()} == {"build", "test", "bench"}
    assert {package.group for package in catalog.python_packages()} == {"build", "test"}


def test_purpose_and_way_to_get():
    assert catalog.purpose_of("xorriso") == "the stand-in builder, to write its ISO"
    assert catalog.how_to_get("mksquashfs") == "sudo apt-get install squashfs-tools"
    assert catalog.purpose_of("no-such-program") == "bootsmith"
    assert catalog.how_to_get("no-such-program") == "install no-such-program"


WANTED = {"build": {"build"}, "test": {"build", "test"}, "bench": {"build", "test", "bench"}}


def test_set_up_reads_the_list_as_the_catalog_does(checkout):
    """setup.sh has its own reader, for there is no Python yet when it runs."""
    script = (checkout / "bootsmith/tools/setup.sh").read_text("utf-8")
    reader = script[script.index("wanted_packages() {") : script.index("missing_packages() {")]
    for group, groups in WANTED.items():
        said = run_program(["sh", "-c", f"{reader}\ngroup={group}; wanted_packages"], cwd=checkout)
        assert said.text.split() == [
            package.name for package in catalog.debian_packages() if package.group in groups
        ]


def test_installed_versions_are_dpkgs():
    (version,) = catalog.installed_debian_versions(["dpkg", "no-such-package"]).values()
    asked = run_program(["dpkg-query", "--show", "--showformat", "${Version}", "dpkg"])
    assert version == asked.text


@pytest.mark.usefixtures("own_cache")
def test_a_listed_program_is_known_by_debians_version_and_its_content():
    installed = catalog.installed_debian_versions(["squashfs-tools"])["squashfs-tools"]
    assert re.fullmatch(rf"{re.escape(installed)} [0-9a-f]{{12}}", program_version("mksquashfs"))


def test_the_libraries_of_a_program_are_found():
    names = {os.path.basename(path) for path in catalog._libraries_of(shutil.which("xorriso"))}
    assert {"libisofs.so.6", "libburn.so.4", "libz.so.1"} <= names
    assert not [name for name in names if name.startswith(("libc.", "ld-linux"))]
    assert catalog._libraries_of("/usr/lib/syslinux/mbr/mbr.bin") == ()


@pytest.mark.usefixtures("own_cache")
def test_what_is_missing_has_no_version():
    assert catalog.program_version("no-such-program") is None
    assert catalog.program_version("/no/such/file") is None


def settle(path):
    """Wait until another write to `path` would show in its times."""
    while not is_settled(path.stat()):
        time.sleep(0.05)


@pytest.fixture
def program(tmp_path):
    """A program that comes with a library of its own."""
    shutil.copy(shutil.which("xz"), tmp_path / "program")
    return tmp_path / "program"


def replace_keeping_times(path, content):
    before = os.stat(path)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.usefixtures("own_cache")
def test_another_content_is_another_version_even_with_old_times(program):
    settle(program)
    first = program_version(str(program))
    replace_keeping_times(program, program.read_bytes() + b"!")
    assert program_version(str(program)) != first


@pytest.mark.usefixtures("own_cache")
def test_two_edits_in_one_tick_are_two_versions(tmp_path):
    data = tmp_path / "data"
    versions = set()
    for content in (b"one", b"two"):
        data.write_bytes(content)
        versions.add(program_version(str(data)))
    assert len(versions) == 2


@pytest.mark.usefixtures("own_cache")
def test_another_library_is_another_version(program, monkeypatch):
    library = program.with_name("liblzma.so.5")
    library.write_bytes(b"one")
    monkeypatch.setattr(catalog, "_libraries_of", lambda path: (str(library),))
    settle(library)
    first = program_version(str(program))
    replace_keeping_times(library, b"two")
    second = program_version(str(program))
    library.unlink()
    monkeypatch.setattr(catalog, "_libraries_of", lambda path: ())
    assert len({first, second, program_version(str(program))}) == 3


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_any_file_of_a_directory_is_another_version(tmp_path, change):
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "a.mod").write_bytes(b"a")
    (modules / "b.mod").write_bytes(b"b")
    settle(modules / "b.mod")
    first = program_version(str(modules))
    match change:
        case "edit":
            replace_keeping_times(modules / "a.mod", b"c")
        case "add":
            (modules / "c.mod").write_bytes(b"")
        case "remove":
            (modules / "b.mod").unlink()
        case "rename":
            (modules / "b.mod").rename(modules / "c.mod")
    assert program_version(str(modules)) != first


def test_a_known_program_is_not_read_again(program, own_cache):
    settle(program)
    first = program_version(str(program))
    own_cache.write_text(own_cache.read_text().replace(first, "remembered"))
    assert program_version(str(program)) == "remembered"


@pytest.mark.parametrize(
    "damage", ["", "[]", "{", '{"/bin/sh": 1}', '{"/bin/sh": [[1], "x"]}', '{"/bin/sh": {}}']
)
def test_a_damaged_memory_is_an_empty_one(own_cache, damage):
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text(damage)
    assert program_version("/bin/sh")


def test_without_a_place_to_remember_it_still_answers(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert program_version("/bin/sh")
    catalog._version_cache.cache_clear()
