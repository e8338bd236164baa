"""What the tree uses is listed with its reason, and what is listed is used."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import house_rules
import pytest

from bootsmith.tools import catalog

# Used without being named in code: by whom.
USED_UNNAMED = {
    "/etc/ssl/certs/ca-certificates.crt": "pip and Python's ssl find it by themselves",
    "/usr/lib/x86_64-linux-gnu/libarchive.so.13": "libarchive-c finds it by itself",
    "/usr/bin/gpg-agent": "gpg starts it by itself",
    "/usr/lib/x86_64-linux-gnu/ganesha/libfsalvfs.so": "ganesha.nfsd loads it by itself",
    "python3": "setup.sh makes .venv from it",
    "python:ensurepip": "`python3 -m venv` in setup.sh",
}
PYTHON_USED_UNNAMED = {
    "flit_core": "the build backend in pyproject.toml",
    "pytest-xdist": "`-n` in the Makefile",
    "ruff": "run as a program by tests/house",
    "mypy": "run as a program by tests/house",
}
# Calls whose program cannot be read where they stand: which one it is, and where it is named.
UNREADABLE_CALLS: dict[str, str] = {
    "bench/programs.py": "the door of benchmarks: each row gives it a list that can be read",
    "bench/rows/nothing.py": "doit, as the shell or as Python starts it",
    "bench/scale_netboot.py": "cp, for a site of its own",
    "bootsmith/tools/run.py": "the door itself: passes on what it was given",
    "bootsmith/graph/execute.py": "passes on the `tools` of a step",
    "bootsmith/netboot/power.py": "a command of the site's own",
    "bootsmith/smoke/machine.py": "qemu_argv() of tools/qemu.py begins with its PROGRAM",
    "bootsmith/smoke/accelerator.py": "qemu_argv() of tools/qemu.py begins with its PROGRAM",
}


@pytest.fixture(scope="module")
def package(checkout):
    return house_rules.read_sources(checkout, "bootsmith")


# Tests of the lists and of the door speak of programs without calling them.
ABOUT_PROGRAMS = (
    "tests/house/",
    "tests/tools/test_catalog.py",
    "tests/tools/test_doctor.py",
    "tests/tools/test_run.py",
)


@pytest.fixture(scope="module")
def everything(checkout):
    return [
        source
        for source in house_rules.read_sources(checkout, "bench", "bootsmith", "tests", "dodo.py")
        if not source.path.startswith(ABOUT_PROGRAMS)
    ]


def called(sources):
    """Program to the place of a call."""
    programs = {}
    for source in sources:
        for program, line in house_rules.called_programs(source)[0].items():
            programs.setdefault(program.rpartition("/")[2], f"{source.path}:{line}")
    return programs


def listed():
    """What is used of Debian packages, to the package."""
    return {used: package for package in catalog.debian_packages() for used in package.parts}


def test_every_called_program_is_listed(everything):
    known = set(listed()) | house_rules.ESSENTIAL_PROGRAMS | house_rules.WELCOME_PROGRAMS
    house_rules.forbid(
        [
            f"{place}: calls {program}; give it a line in debian-packages.txt"
            for program, place in called(everything).items()
            if program not in known
        ]
    )


# Files of a guest, not of this machine.
GUEST_PATHS = ("/usr/share/udhcpc/", "/usr/share/doc/")


def unlisted_paths(sources, known):
    """Data files below /usr that code names and no package is listed for."""
    return [
        f"{source.path}:{line}: names {path}; give it a line in debian-packages.txt"
        for source in sources
        for line, path in house_rules.data_paths(source)
        if not path.startswith(GUEST_PATHS)
        and not any(f"{used}/".startswith(f"{path}/") for used in known)
    ]


def test_every_named_data_file_is_listed(everything):
    house_rules.forbid(unlisted_paths(everything, listed()))


def test_an_unlisted_data_file_is_seen():
    text = (
        'A = Path("/usr/share/OVMF/CODE.fd")\nB = "/usr/lib/grub/x86_64-efi"\n'
        'C = "/usr/lib"\nD = "/usr/share/none/x"\n'
    )
    source = house_rules.parse_source("bootsmith/x.py", text)
    known = {"/usr/share/OVMF/CODE.fd", "/usr/lib/grub/x86_64-efi/moddep.lst"}
    assert unlisted_paths([source], known) == [
        "bootsmith/x.py:4: names /usr/share/none/x; give it a line in debian-packages.txt"
    ]


def test_every_call_can_be_read(everything):
    unreadable = [
        breach
        for source in everything
        if source.path not in UNREADABLE_CALLS
        for breach in house_rules.called_programs(source)[1]
    ]
    house_rules.forbid(unreadable)


def test_unreadable_calls_are_still_there(everything):
    paths = {source.path for source in everything if house_rules.called_programs(source)[1]}
    assert paths == set(UNREADABLE_CALLS)


def test_what_is_listed_is_used(everything):
    texts = house_rules.texts_of(everything)
    house_rules.forbid(
        [
            f"debian-packages.txt: {package.name}: nothing uses {used}; remove it"
            for used, package in listed().items()
            if used not in USED_UNNAMED and not house_rules.is_mentioned(used, texts)
        ]
    )


def test_what_building_calls_is_installed_for_building(package):
    by_module = {source.module: source for source in package}
    reached = reached_modules(
        by_module, [name for name in by_module if name.startswith(("builders.", "generations."))]
    )
    programs = called([by_module[name] for name in reached])
    steps = called([source for source in package if source.room == "graph"])
    house_rules.forbid(
        [
            f"{place}: building calls {program}, but {listed()[program].name} is listed for test"
            for program, place in {**programs, **steps}.items()
            if program in listed() and listed()[program].group != "build"
        ]
    )


def reached_modules(by_module, starts):
    """Modules that `starts` import, over any number of imports; the modules themselves too."""
    reached, waiting = set(), list(starts)
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        for _, imported in house_rules.imported_names(by_module[name]):
            target = imported.removeprefix("bootsmith.")
            waiting += [part for part in (target, target.rpartition(".")[0]) if part in by_module]
    return reached


def test_reading_calls():
    text = (
        'PROGRAM = "qemu"\n'
        "def f(image, words):\n"
        '    run_program(["mcopy", image])\n'
        "    argv = [PROGRAM, image]\n"
        "    with running_program([*argv, image]): pass\n"
        '    subprocess.run(["cpio", "-o"] + words)\n'
        '    find_program("depmod")\n'
        '    Step(kind="x", tools=("syslinux", "sfdisk") if words else ())\n'
        "    other.run(words)\n"
        "    run_program(words)\n"
    )
    programs, unreadable = house_rules.called_programs(
        house_rules.parse_source("bootsmith/x.py", text)
    )
    assert set(programs) == {"mcopy", "qemu", "cpio", "depmod", "syslinux", "sfdisk"}
    assert unreadable == [
        "bootsmith/x.py:10: words: cannot see which program this is; "
        "let the argv begin with its name"
    ]


def test_mentions():
    texts = {"mcopy", "/usr/lib/grub/x86_64-efi", "/usr/lib"}
    assert house_rules.is_mentioned("mcopy", texts)
    assert house_rules.is_mentioned("/usr/lib/grub/x86_64-efi/moddep.lst", texts)
    assert not house_rules.is_mentioned("/usr/lib/syslinux/mbr/mbr.bin", texts)
    assert not house_rules.is_mentioned("mdir", texts)


# --- Python packages ---------------------------------------------------------------------


def requirement_names(group):
    return {package.name for package in catalog.python_packages() if package.group in group}


def distributions_of(sources):
    """Distribution (canonical name) of every third-party import, to the place of one."""
    owners = importlib.metadata.packages_distributions()
    ours = {"bench", "bootsmith", "guestfs", *(Path(source.path).stem for source in sources)}
    found = {}
    for source in sources:
        for line, name in house_rules.imported_names(source):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in ours:
                continue
            for owner in owners.get(top, [f"{top} (not installed)"]):
                found.setdefault(catalog.canonical_name(owner), f"{source.path}:{line}")
    return found


def unlisted(sources, group):
    allowed = {catalog.canonical_name(name) for name in requirement_names(group)}
    return [
        f"{place}: imports {name}; give it a line in requirements/{group[-1]}.in"
        for name, place in distributions_of(sources).items()
        if name not in allowed
    ]


def test_what_the_package_imports_is_required(package):
    house_rules.forbid(unlisted(package, ("build",)))


def test_what_tests_import_is_required(checkout):
    house_rules.forbid(
        unlisted(house_rules.read_sources(checkout, "bench", "tests"), ("build", "test"))
    )


def test_a_missing_requirement_is_seen():
    source = house_rules.parse_source("bootsmith/x.py", "import pytest\n")
    assert unlisted([source], ("build",)) == [
        "bootsmith/x.py:1: imports pytest; give it a line in requirements/build.in"
    ]


def test_what_is_required_is_imported(checkout):
    imported = distributions_of(house_rules.read_sources(checkout, "bootsmith", "tests"))
    house_rules.forbid(
        [
            f"requirements: nothing imports {name}; remove it"
            for name in requirement_names(("build", "test"))
            if name not in PYTHON_USED_UNNAMED and catalog.canonical_name(name) not in imported
        ]
    )


def test_pyproject_names_the_same_dependencies(checkout):
    project = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(project["dependencies"]) == requirement_names(("build",)) - {"flit_core"}


def test_locks_hold_every_requirement(checkout):
    house_rules.forbid(
        [
            f"requirements/{package.group}.lock: {package.name} is not in it; make lock"
            for package in catalog.python_packages()
            if package.version == "not locked"
        ]
    )


def lock_breaches(name, text):
    """Lines of a lock that name a place, and pins without a hash."""
    found = [
        f"{name}:{number}: {line}: a lock names no place; that is the user's configuration"
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(r"--(extra-)?index-url|--find-links|--trusted-host|://| @ |^-e|^/", line)
    ]
    for pin in re.split(r"\n(?=[a-z0-9])", text):
        if "==" in pin and not re.search(r"--hash=sha256:[0-9a-f]{64}\b", pin):
            found.append(f"{name}: {pin.split()[0]}: no sha256")
    return found


@pytest.mark.parametrize("group", catalog.PYTHON_GROUPS)
def test_locks_hold_hashes_and_no_place(checkout, group):
    path = checkout / "requirements" / f"{group}.lock"
    house_rules.forbid(lock_breaches(path.name, path.read_text("utf-8")))


def test_a_bad_lock_is_seen():
    text = f"--index-url https://x/simple\na==1 \\\n    --hash=sha256:{'0' * 64}\nb==2\n"
    assert lock_breaches("x.lock", text) == [
        "x.lock:1: --index-url https://x/simple: "
        "a lock names no place; that is the user's configuration",
        "x.lock: b==2: no sha256",
    ]


def test_the_two_locks_agree(checkout):
    build, test = (
        catalog.locked_versions((checkout / f"requirements/{group}.lock").read_text("utf-8"))
        for group in catalog.PYTHON_GROUPS
    )
    assert {name: test[name] for name in build if name in test} == {
        name: version for name, version in build.items() if name in test
    }
