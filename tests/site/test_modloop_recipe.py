"""The [modloop] table of a release recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootsmith.errors import RecipeError
from bootsmith.site.loader import load_site
from bootsmith.site.models import ModloopSettings

RELEASE = 'iso = "r.iso"\nflavors = ["lts"]\n[pxerd]\nfeatures = ["dhcp"]\n'


def load(root: Path, modloop: str) -> ModloopSettings:
    for path, text in {
        "recipes/site.toml": 'schema = 1\nname = "lab"\nrelease = "r"\nflavor = "lts"\n',
        "recipes/releases/r.toml": RELEASE + modloop,
        "recipes/features.d/dhcp.modules": "",
        "recipes/templates/t.toml": 'summary = "t"\noverlays = ["o"]\n',
        "overlays/o/etc/motd": "",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return load_site(root).releases["r"].modloop


def test_nothing_is_changed_by_default(tmp_path):
    assert load(tmp_path, "") == ModloopSettings()
    assert ModloopSettings().compression == "stock"


def test_paths_are_relative_to_the_recipe(tmp_path):
    modloop = load(
        tmp_path,
        '[modloop.flavor.lts]\nadd = ["../../modules", "/srv/x.ko"]\ndrop = ["/kernel/sound/"]\n',
    )
    assert modloop.flavor["lts"].add == (tmp_path / "modules", Path("/srv/x.ko"))
    assert modloop.flavor["lts"].drop == ("/kernel/sound/",)


@pytest.mark.parametrize(
    "text,message",
    [
        (
            "[modloop.flavor.lst]\n",
            "recipes/releases/r.toml:5: modloop.flavor.lst: the release has no such flavor; "
            'expected lts, got "lst"\n  next: write "lts", or add lst to its flavors',
        ),
        (
            "[modloop.flavor.LTS]\n",
            "recipes/releases/r.toml:5: modloop.flavor.LTS: bad value; expected a flavor like "
            '"lts": lower-case letters and digits, got "LTS"\n'
            "  next: correct it; docs/recipes.md describes every key",
        ),
        (
            "[modloop]\nflavor = 3\n",
            "recipes/releases/r.toml:6: modloop.flavor: wrong type; expected a table of tables, "
            "got the number 3\n  next: correct it; docs/recipes.md describes every key",
        ),
        (
            '[modloop.flavor.lts]\ncompression = "xz"\n',
            "recipes/releases/r.toml:6: modloop.flavor.lts.compression: unknown key; "
            "expected add, keep or drop\n  next: remove it; docs/recipes.md describes every key",
        ),
        (
            '[modloop]\ndrop = ["kernel/../x"]\n',
            "recipes/releases/r.toml:6: modloop.drop[0]: bad value; expected a glob like "
            '"kernel/drivers/gpu", "kernel/fs/*fs*" or "firmware/amdgpu", got "kernel/../x"\n'
            "  next: correct it; docs/recipes.md describes every key",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, text, message):
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, text)
    assert str(caught.value) == message


def refusal(root: Path, text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(root, text)
    return str(caught.value)


def test_signing_goes_together(tmp_path):
    assert refusal(tmp_path, '[modloop]\nsignature = "own"\n') == (
        "recipes/releases/r.toml:6: modloop.signature: there is no key to sign with; expected "
        'signing_key = "NAME"\n  next: make one with: doit key; then add: signing_key = "site"'
    )
    assert refusal(tmp_path, '[modloop]\nsignature = "drop"\nsigning_key = "site"\n') == (
        'recipes/releases/r.toml:7: modloop.signing_key: is of no use with signature = "drop"\n'
        "  next: remove one of the two"
    )
    assert 'write "site"' in refusal(tmp_path, '[modloop]\nsigning_key = "site.rsa"\n')
    assert "modloop.signing_key: bad value" in refusal(
        tmp_path, '[modloop]\nsigning_key = "../site"\n'
    )


def test_strict_needs_its_patch_and_something_to_verify(tmp_path):
    assert refusal(tmp_path, '[modloop]\nverify = "strict"\n').startswith(
        "recipes/releases/r.toml:6: modloop.verify: there is no such patch; "
    )
    (tmp_path / "recipes/patches").mkdir()
    (tmp_path / "recipes/patches/modloop-strict.toml").write_text("")
    assert load(tmp_path, '[modloop]\nverify = "strict"\n').verify == "strict"
    for choice in ("drop", "unverified", "rename"):
        assert refusal(
            tmp_path, f'[modloop]\nverify = "strict"\nsignature = "{choice}"\n'
        ).startswith(
            "recipes/releases/r.toml:6: modloop.verify: no modloop would be mounted with "
            f'signature = "{choice}"; expected signature = "auto" or "own"\n'
        )
    assert refusal(tmp_path, '[modloop]\npatches = ["auto", "typo"]\n').startswith(
        "recipes/releases/r.toml:6: modloop.patches[1]: there is no such patch; "
    )


def test_a_stock_initramfs_cannot_verify_a_changed_modloop(tmp_path):
    (tmp_path / "recipes/patches").mkdir(parents=True)
    (tmp_path / "recipes/patches/modloop-strict.toml").write_text("")
    (tmp_path / "recipes/templates").mkdir()
    (tmp_path / "recipes/templates/s.toml").write_text(
        'summary = "s"\noverlays = ["o"]\n[boot]\ninitramfs = "stock"\n'
    )
    strict = '[modloop]\nverify = "strict"\n'
    assert load(tmp_path, strict).verify == "strict"
    assert refusal(tmp_path, f'{strict}drop = ["kernel/sound"]\n') == (
        "recipes/templates/s.toml:4: boot.initramfs: would mount no modloop: its signature is for "
        'the one that the release came with; expected initramfs = "pxerd"\n'
        '  next: boot the pxerd, or leave verify = "strict" out of release r'
    )


def test_a_modloop_is_changed_by_what_its_flavor_has(tmp_path):
    modloop = load(tmp_path, '[modloop.flavor.lts]\ndrop = ["kernel/sound"]\n')
    assert modloop.is_changed("lts")
    assert not modloop.is_changed("virt")
    assert ModloopSettings(compression="xz").is_changed("virt")
