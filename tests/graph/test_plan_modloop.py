"""What a recipe's [modloop] becomes in the steps."""

from __future__ import annotations

from pathlib import Path

from bootsmith.graph.layout import Layout
from bootsmith.graph.plan_modloop import plan_modloop
from bootsmith.graph.plan_pxerd import plan_pxerd
from bootsmith.graph.step import Input, Tree
from bootsmith.site.loader import load_site

SITE = 'schema = 1\nname = "lab"\nrelease = "r"\nflavor = "lts"\n'
RELEASE = 'iso = "r.iso"\nflavors = ["virt", "lts"]\n[pxerd]\nfeatures = ["dhcp"]\n'


def steps(root: Path, modloop: str):
    for path, text in {
        "site.toml": SITE,
        "releases/r.toml": RELEASE + modloop,
        "features.d/dhcp.modules": "",
        "templates/t.toml": 'summary = "t"\noverlays = ["o"]\n',
    }.items():
        (root / "recipes" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "recipes" / path).write_text(text)
    (root / "overlays/o").mkdir(parents=True, exist_ok=True)
    site = load_site(root)
    return {step.name: step for step in plan_modloop(site, Layout(root))}


def test_without_changes_nothing_is_asked_for(tmp_path):
    for step in steps(tmp_path, "").values():
        assert [step.arguments[key] for key in ("add", "keep", "drop")] == [(), (), ()]
        assert step.arguments["compression"] == "stock"
        assert step.tools == ()


def test_a_flavor_has_what_all_have_and_then_its_own(tmp_path):
    found = steps(
        tmp_path,
        '[modloop]\nadd = ["all"]\ndrop = ["kernel/sound"]\ncompression = "xz"\n'
        '[modloop.flavor.lts]\nadd = ["x.ko"]\nkeep = ["kernel/net"]\n',
    )
    place = tmp_path / "recipes/releases"
    assert found["r-virt"].arguments["add"] == (Tree(place / "all"),)
    assert found["r-lts"].arguments["add"] == (Tree(place / "all"), Input(place / "x.ko"))
    assert found["r-virt"].arguments["keep"] == ()
    assert found["r-lts"].arguments["keep"] == ("kernel/net",)
    assert found["r-lts"].arguments["drop"] == ("kernel/sound",)
    assert found["r-lts"].tools == ("mksquashfs",)


def test_a_source_is_a_file_by_its_name_alone(tmp_path):
    names = ["a.ko", "b.ko.xz", "c-1.0-r0.apk", "d.tar.zst", "e.tgz", "modules", "firmware.d"]
    listed = ", ".join(f'"{name}"' for name in names)
    added = steps(tmp_path, f"[modloop]\nadd = [{listed}]\n")["r-lts"].arguments["add"]
    assert [type(source) for source in added] == [Input] * 5 + [Tree] * 2


def pxerd_modules(root: Path, modloop: str) -> dict[str | None, str]:
    steps(root, modloop)
    site = load_site(root)
    return {
        step.name: step.arguments["modloop"].path.parent.parent.name
        for step in plan_pxerd(site, Layout(root))
    }


def test_features_can_name_what_was_added(tmp_path):
    assert pxerd_modules(tmp_path, "") == {"r-virt": "flavor", "r-lts": "flavor"}
    assert pxerd_modules(tmp_path, '[modloop.flavor.lts]\nadd = ["x.ko"]\n') == {
        "r-virt": "flavor",
        "r-lts": "modloop",
    }
    # Leaving out what a site never uses must not take it from its initramfs.
    assert pxerd_modules(tmp_path, '[modloop]\ndrop = ["kernel/drivers/ata"]\n') == {
        "r-virt": "flavor",
        "r-lts": "flavor",
    }
