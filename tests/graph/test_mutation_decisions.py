"""What is too dear to do for each mutation is judged: which steps count as done, and why not."""

from __future__ import annotations

import modulefinder
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from mutation_plan import PlannedSite, altered, with_argument, write_recipes

import bootsmith
from bootsmith.graph import code, key, plan_release
from bootsmith.graph.layout import Layout
from bootsmith.graph.registry import plan_site
from bootsmith.graph.step import Scratch
from bootsmith.site.loader import load_site

PACKAGE = Path(bootsmith.__file__).parent


def planned():
    """The root and every step of the plan, to name the rows; nothing is kept of it."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        write_recipes(root)
        steps, _ = plan_site(load_site(root), Layout(root))
    return root, steps


ROOT, STEPS = planned()
BUILT = [step for step in STEPS if not step.by_request]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package whose source may be edited: keys count its code instead of ours."""
    copy = tmp_path_factory.mktemp("package") / "bootsmith"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "_PACKAGE_DIRECTORY", copy)
        patch.setattr(plan_release, "STANDIN_DATA", copy / "builders/standin_data")
        yield copy


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, package):
    site = PlannedSite(tmp_path_factory.mktemp("planned"))
    site.record_all()
    assert site.reasons() == {}
    return site


@pytest.fixture
def site(recorded):
    """The recorded site; what a test replaces of its plan or machine is put back."""
    steps = dict(recorded.steps)
    yield recorded
    recorded.steps = steps
    recorded.programs.clear()
    recorded.python = "3.11.2 as tested"


# -- every argument of every kind of step ---------------------------------------------------


def argument_rows():
    """(label, argument) for one step of each builder and each set of argument names."""
    seen, found = set(), []
    for step in BUILT:
        for name in step.arguments:
            if (step.builder, name) not in seen:
                seen.add((step.builder, name))
                found.append((step.label, name))
    return found


@pytest.mark.parametrize("label,name", argument_rows(), ids=str)
def test_an_argument_concerns_its_step_alone(site, label, name):
    step = site.steps[label]
    site.steps[label] = with_argument(step, name, altered(step.arguments[name]))
    reasons = site.reasons()
    if isinstance(step.arguments[name], Scratch):
        assert reasons == {}
    else:
        assert set(reasons) == {label}
        assert any(line.startswith(f"argument {name}: was ") for line in reasons[label])


@pytest.mark.parametrize("label", sorted({step.kind: step.label for step in BUILT}.values()))
def test_an_argument_more_or_less_is_a_reason(site, label):
    step = site.steps[label]
    site.steps[label] = with_argument(step, "more", None)
    assert site.reasons() == {label: ["argument more: new (null)"]}
    plain = [name for name, value in step.arguments.items() if not isinstance(value, Scratch)]
    fewer = {name: value for name, value in step.arguments.items() if name != plain[0]}
    site.steps[label] = type(step)(**{**vars(step), "arguments": fewer})
    assert f"argument {plain[0]}: gone" in site.reasons()[label][0]


@pytest.mark.parametrize("change", ["summary", "builder", "tools", "witnesses"])
def test_of_the_rest_of_a_step_only_what_can_change_bytes_counts(site, change):
    step = site.steps["modloop:tiny-virt"]
    value = {
        "summary": "other words",
        "builder": "bootsmith.builders.modloop:build_other",
        "tools": ("mksquashfs",),
        "witnesses": (),
    }[change]
    site.steps[step.label] = type(step)(**{**vars(step), change: value})
    assert set(site.reasons()) == ({step.label} if change in {"builder", "tools"} else set())


# -- every file that a step reads or makes ---------------------------------------------------


def files_of_the_plan():
    """By path relative to the root: labels that read it, and the label that makes it."""
    made = {path: step.label for step in BUILT for path in step.outputs}
    read: dict[Path, set[str]] = {}
    for step in BUILT:
        for path in step.inputs:
            read.setdefault(path, set()).add(step.label)
    return {
        str(path.relative_to(ROOT)): (read.get(path, set()), made.get(path))
        for path in sorted(read.keys() | made.keys())
        if "generations" not in path.parts  # seen through a link: rows of the real table
    }


FILES = files_of_the_plan()


def damaged(path, how):
    match how:
        case "edited":
            status = path.stat()
            path.write_bytes(path.read_bytes()[::-1])
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        case "removed":
            path.unlink()
        case "chmod":
            path.chmod(0o600)


@pytest.mark.parametrize("how", ["edited", "removed", "chmod"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_concerns_who_reads_and_who_makes_it(site, name, how):
    readers, maker = FILES[name]
    path = site.root / name
    content, mode = path.read_bytes(), path.stat().st_mode
    try:
        damaged(path, how)
        reasons = site.reasons()
        assert set(reasons) == readers | ({maker} if maker else set())
        for label in readers:
            assert any(line.startswith(f"input {name}: was file ") for line in reasons[label])
        if maker:
            assert reasons[maker][0].startswith(f"output {name}: was file ")
    finally:
        path.write_bytes(content)
        path.chmod(mode)


def test_the_data_of_the_standin_concerns_who_reads_it(site, package):
    data = sorted(path for path in (package / "builders/standin_data").rglob("*") if path.is_file())
    content = data[0].read_bytes()
    data[0].write_bytes(content + b"\n")
    try:
        assert set(site.reasons()) == {"source:standin.lock", "source:standin"}
    finally:
        data[0].write_bytes(content)


def test_downloads_that_were_cleared_away_are_fetched_again(site):
    (site.layout.cache / "packages").rmdir()
    try:
        assert site.reasons() == {
            "source:standin.packages": ["artifacts/cache/packages: must exist and does not"]
        }
    finally:
        (site.layout.cache / "packages").mkdir()


@pytest.mark.parametrize(
    "old,new,expected",
    [
        ("org/alpine.iso", "org/other.iso", "url"),
        ("1" * 64, "3" * 64, "sha256"),
        ("2" * 128, "3" * 128, "sha512"),
        ("alpine.iso.sha512", "other.sha512", "checksum_url"),
        ("alpine.iso.asc", "other.asc", "signature_url"),
    ],
)  # fmt: skip
def test_what_proves_a_download_concerns_the_download(site, old, new, expected):
    recipe = site.root / "recipes/releases/fetched.toml"
    text = recipe.read_text()
    recipe.write_text(text.replace(old, new, 1))
    try:
        site.steps = site.plan()
        reasons = site.reasons()
    finally:
        recipe.write_text(text)
    # The digests are also what the ISO is checked against when it is read.
    also = {"iso:fetched"} if expected.startswith("sha") else set()
    assert set(reasons) == {"source:fetched"} | also
    assert all(lines[0].startswith(f"argument {expected}") for lines in reasons.values())


# -- programs, Python, libraries, code -------------------------------------------------------

PROGRAMS = sorted({tool for step in BUILT for tool in (*step.tools, *step.machine_files)})


@pytest.mark.parametrize("version", ["2.0", None])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_concerns_the_steps_that_run_it(site, program, version):
    site.programs[program] = version
    expected = {step.label for step in BUILT if program in (*step.tools, *step.machine_files)}
    assert expected
    reason = f"version of {program}: was 1.0, is {version or 'missing'}"
    assert site.reasons() == {label: [reason] for label in expected}


def test_another_python_concerns_everything(site):
    site.python = "3.12.0"
    line = "version of python: was 3.11.2 as tested, is 3.12.0"
    assert site.reasons() == {step.label: [line] for step in BUILT}


def test_another_key_format_concerns_everything(site, monkeypatch):
    monkeypatch.setattr(key, "KEY_FORMAT", "next")
    assert set(site.reasons()) == {step.label for step in BUILT}


def imports_of(module):
    """All that a module imports from the package, and the libraries outside it.

    By the standard library's own finder, which reads byte code, so not as graph/code does.
    """
    finder = modulefinder.ModuleFinder(path=[str(PACKAGE.parent)])
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    finder.import_hook(module)
    inside = {name for name in finder.modules if name.partition(".")[0] == "bootsmith"}
    outside = {name.partition(".")[0] for name in finder.badmodules}
    return inside, outside - set(code.sys.stdlib_module_names) - {"bootsmith"}


IMPORTS = {
    module: imports_of(module) for module in {step.builder.partition(":")[0] for step in BUILT}
}
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


def steps_that_reach(name):
    return {
        step.label
        for step in BUILT
        if name in set().union(*IMPORTS[step.builder.partition(":")[0]])
    }


@pytest.mark.parametrize("module", MODULES)
def test_code_concerns_the_steps_whose_builder_reaches_it(site, package, module):
    path = package.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    content = path.read_bytes()
    path.write_bytes(content + b"# edited\n")
    try:
        reasons = site.reasons()
    finally:
        path.write_bytes(content)
    assert set(reasons) == steps_that_reach(module)
    assert all(len(lines) == 1 and lines[0].startswith("code of ") for lines in reasons.values())


def test_code_that_is_edited_twice_in_an_instant_is_seen(site, package):
    path = package / "builders/modloop.py"
    content = path.read_bytes()
    seen = set()
    try:
        for letter in b"abc":
            path.write_bytes(content + b"# %c\n" % letter)
            seen.add(site.reasons()["modloop:tiny-virt"][0])
    finally:
        path.write_bytes(content)
    assert len(seen) == 3


def test_nothing_is_remembered_of_code_edited_this_instant(package):
    """Another edit in the same tick of the clock would have the same size and times."""
    path = package / "builders/modloop.py"
    path.write_bytes(path.read_bytes())
    assert code.package_identity() is None


def test_a_module_that_comes_to_be_imported_counts(site, package):
    path = package / "builders/modloop.py"
    content = path.read_bytes()
    (package / "builders/added.py").write_text("VALUE = 1\n")
    try:
        path.write_bytes(content + b"from .added import VALUE\n")
        first = site.reasons()["modloop:tiny-virt"]
        (package / "builders/added.py").write_text("VALUE = 2\n")
        assert site.reasons()["modloop:tiny-virt"] != first
    finally:
        path.write_bytes(content)
        (package / "builders/added.py").unlink()


LIBRARIES = sorted(set().union(*(outside for _, outside in IMPORTS.values())))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_concerns_the_steps_whose_builder_imports_it(
    site, tmp_path, monkeypatch, library
):
    """Another version of it, installed in front of the one that is there."""
    for name in set(code.metadata.packages_distributions()[library]):
        info = tmp_path / "site-packages" / f"{name.replace('-', '_')}-99.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n")
        (info / "top_level.txt").write_text(f"{library}\n")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    expected = steps_that_reach(library)
    assert expected
    assert set(site.reasons()) == expected
