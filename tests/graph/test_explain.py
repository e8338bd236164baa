"""Why a step would be done, whatever of the site is named; and that asking changes nothing."""

from __future__ import annotations

import pytest
from mutation_plan import PlannedSite

from bootsmith.errors import PublishError
from bootsmith.files.state import State
from bootsmith.graph.execute import Executor
from bootsmith.graph.explain import explain


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    site = PlannedSite(tmp_path_factory.mktemp("explained"))
    site.record_all()
    return site


def ask(site, *names):
    looking = Executor(
        site.layout,
        tuple(site.steps.values()),
        program_version=lambda name: site.programs.get(name, "1.0"),
        python_version=lambda: site.python,
        only_looks=True,
    )
    lines = list(explain(looking, names))
    for state in looking._states.values():
        state.close()
    return lines


def labels(lines):
    return {line.partition(": ")[0] for line in lines if line.endswith((": up to date", "done"))}


def test_a_step_by_its_label(recorded):
    assert ask(recorded, "pxerd:tiny-virt") == ["pxerd:tiny-virt: up to date"]


def test_nothing_named_is_all_of_the_build(recorded):
    expected = {
        step.label for step in recorded.steps.values() if step.in_build and not step.by_request
    }
    assert labels(ask(recorded)) == expected


def test_a_built_file_by_its_path(recorded):
    name = "artifacts/build/apkovl/alpha/alpha.apkovl.tar.gz"
    heading, state, digest = ask(recorded, name)
    assert heading == f"{name}: made by apkovl:alpha"
    assert state == "apkovl:alpha: up to date"
    assert digest.startswith(f"    output {name}: file 0644 ")
    assert digest.endswith(", as it was")
    assert ask(recorded, str(recorded.root / name))[0] == heading


@pytest.mark.parametrize(
    "name,steps",
    [
        ("artifacts/current/pxerd/tiny-virt/pxerd-virt", {"pxerd:tiny-virt"}),
        ("artifacts/pxerd/tiny-virt/current/pxerd-virt", {"pxerd:tiny-virt"}),
        ("artifacts/pxerd/tiny-virt/2026-11-20.1/pxerd-virt", {"pxerd:tiny-virt"}),
        ("artifacts/generations/2026-11-20.1/usbkey/alpha/alpha.img", {"usbkey:alpha"}),
        ("artifacts/candidate/kernel/tiny-lts/vmlinuz-lts", {"flavor:tiny-lts"}),
        ("artifacts/usbkey/alpha/current", {"usbkey:alpha"}),
        ("artifacts/usbkey/alpha/current/../current/", {"usbkey:alpha"}),
        ("artifacts/current", {"generation", "promote"}),
        ("artifacts/current/MANIFEST.json", {"generation", "promote"}),
        ("overlays/alpha/etc/issue", {"apkovl:alpha", "hostovl"}),
        ("overlays/base/etc/motd", {"apkovl:alpha", "apkovl:beta", "hostovl"}),
        ("overlays/base", {"apkovl:alpha", "apkovl:beta", "hostovl"}),
        ("overlays/base.owners", {"apkovl:alpha", "apkovl:beta", "hostovl"}),
        ("recipes/features.d/usb.modules", None),
        ("recipes/releases/standin.lock", {"source:standin.lock"}),
        ("media/keyring.gpg", {"source:fetched"}),
        ("recipes/hosts.toml", {"inventory"}),
        ("recipes/hosts/more.csv", {"inventory"}),
        (
            "recipes/templates/alpha.toml",
            {"apkovl:alpha", "usbkey:alpha", "hostovl", "netboot", "generation", "inventory"},
        ),
        ("recipes/templates/beta.toml", {"apkovl:beta", "usbkey:beta", "generation"}),
    ],
)
def test_any_file_of_the_site(recorded, name, steps):
    if steps is None:
        steps = {label for label in recorded.steps if label.startswith("pxerd:")}
    assert labels(ask(recorded, name)) == steps


def test_a_recipe_of_a_release_concerns_what_is_made_of_it(recorded):
    found = labels(ask(recorded, "recipes/releases/fetched.toml"))
    assert found >= {
        *("source:fetched", "iso:fetched", "flavor:fetched-lts"),
        *("pxerd:fetched-lts", "modloop:fetched-lts", "generation"),
    }
    assert not [label for label in found if "tiny" in label or "standin" in label]


def test_the_recipe_of_the_site_concerns_everything(recorded):
    expected = {label for label, step in recorded.steps.items() if not step.by_request}
    assert labels(ask(recorded, "recipes/site.toml")) == expected


def test_a_changed_source_is_shown_with_both_digests(recorded):
    name = "overlays/alpha/etc/issue"
    path = recorded.root / name
    content = path.read_bytes()
    heading, state, line, *others = ask(recorded, name)
    assert heading == f"{name}: read by apkovl:alpha, hostovl"
    assert state == "apkovl:alpha: up to date"
    assert others == ["hostovl: up to date", line]
    before = line.removeprefix(f"    input {name}: ").removesuffix(", as it was")
    try:
        path.write_bytes(b"other\n")
        changed = ask(recorded, name)
    finally:
        path.write_bytes(content)
    assert changed[1] == "apkovl:alpha: would be done"
    assert changed[2].startswith(f"    input {name}: was {before}, is file 0644 ")
    assert changed[3:] == ["hostovl: would be done", changed[2]]


def test_a_source_that_is_not_there(recorded):
    assert ask(recorded, "overlays/alpha/etc/none") == [
        "overlays/alpha/etc/none (is not there): read by apkovl:alpha, hostovl",
        "apkovl:alpha: up to date",
        "hostovl: up to date",
    ]


@pytest.mark.parametrize(
    "name,hint",
    [
        ("pxerd:tiny-vrt", "did you mean pxerd:tiny-virt?"),
        ("overlay/base", "did you mean overlays/base?"),
        ("/etc/passwd", "list the steps: doit list --all"),
        ("artifacts/state.sqlite3", "list the steps: doit list --all"),
        ("artifacts/cache/x/y", "list the steps: doit list --all"),
    ],
)
def test_what_is_unknown_is_said_with_the_nearest(recorded, name, hint):
    with pytest.raises(PublishError) as caught:
        ask(recorded, name)
    assert caught.value.message == f"{name}: is no step, nor a file that a step makes or reads"
    assert caught.value.hint == hint


def everything_below(directory):
    return {
        path: (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns)
        for path in sorted(directory.rglob("*"))
    }


def test_asking_changes_nothing_on_the_disk(recorded):
    before = everything_below(recorded.root)
    ask(recorded)
    assert everything_below(recorded.root) == before


def test_asking_where_nothing_was_built_makes_nothing(tmp_path):
    site = PlannedSite(tmp_path)
    assert ask(site, "iso:tiny") == ["iso:tiny: would be done", "    never finished here"]
    assert not (tmp_path / "artifacts").exists()


def test_what_a_run_has_just_recorded_is_seen(recorded):
    """While a run has the state open, its news is in the file beside it."""
    running = State(recorded.layout.state)
    record = running.step("modloop:tiny-lts")
    running.forget("modloop:tiny-lts")
    try:
        assert ask(recorded, "modloop:tiny-lts")[1] == "    never finished here"
    finally:
        running.record("modloop:tiny-lts", record)
        running.close()
    assert ask(recorded, "modloop:tiny-lts") == ["modloop:tiny-lts: up to date"]
