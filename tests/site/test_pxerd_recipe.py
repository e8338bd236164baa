"""The [pxerd.flavor.NAME] tables of a release recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootsmith.errors import RecipeError
from bootsmith.graph.layout import Layout
from bootsmith.graph.plan_pxerd import plan_pxerd
from bootsmith.site.loader import load_site

RELEASE = 'iso = "r.iso"\nflavors = ["lts", "virt"]\n[pxerd]\nfeatures = ["dhcp"]\n'


def load(root: Path, text: str):
    for path, content in {
        "recipes/site.toml": 'schema = 1\nname = "lab"\nrelease = "r"\nflavor = "lts"\n',
        "recipes/releases/r.toml": RELEASE + text,
        "recipes/features.d/dhcp.modules": "",
        "recipes/features.d/9p.modules": "",
        "recipes/templates/t.toml": 'summary = "t"\noverlays = ["o"]\n',
        "overlays/o/etc/motd": "",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return load_site(root)


def test_a_flavor_has_features_besides_those_for_all(tmp_path):
    site = load(tmp_path, '[pxerd.flavor.lts]\nfeatures = ["9p", "dhcp"]\n')
    steps = {step.name: step for step in plan_pxerd(site, Layout(tmp_path))}
    assert steps["r-lts"].arguments["features"] == ("dhcp", "9p")
    assert steps["r-virt"].arguments["features"] == ("dhcp",)
    pxerd = site.releases["r"].pxerd
    assert pxerd.features_of("virt", "lts") == ("dhcp", "9p")


def test_an_addition_is_made_where_it_is_asked_for(tmp_path):
    steps = plan_pxerd(load(tmp_path, ""), Layout(tmp_path))
    assert {step.arguments["addition"] for step in steps} == {None}
    steps = plan_pxerd(load(tmp_path, 'output = "appended"\n'), Layout(tmp_path))
    assert [step.arguments["addition"].path.name for step in steps] == [
        "addition-lts",
        "addition-virt",
    ]


@pytest.mark.parametrize(
    "text,message",
    [
        (
            "[pxerd.flavor.lst]\n",
            "recipes/releases/r.toml:5: pxerd.flavor.lst: the release has no such flavor; "
            'expected lts or virt, got "lst"\n  next: write "lts", or add lst to its flavors',
        ),
        (
            '[pxerd.flavor.lts]\nfeatures = [\n"dhcp",\n"9p9"\n]\n',
            "recipes/releases/r.toml:8: pxerd.flavor.lts.features[1]: there is no such feature; "
            'expected 9p or dhcp, got "9p9"\n  next: write "9p", '
            "or add recipes/features.d/9p9.modules or .files",
        ),
        (
            '[pxerd.flavor.lts]\ncompression = "xz"\n',
            "recipes/releases/r.toml:6: pxerd.flavor.lts.compression: unknown key; "
            "expected features\n  next: remove it; docs/recipes.md describes every key",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, text, message):
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, text)
    assert str(caught.value) == message
