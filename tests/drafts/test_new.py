"""`doit new` and `bootsmith init`: what they write loads, and overwrites nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from mutation_site import Disc

from bootsmith.drafts.new import write_new
from bootsmith.drafts.recipe_text import recipe_text
from bootsmith.drafts.site import lay_down_site, main
from bootsmith.errors import BootsmithError, RecipeError
from bootsmith.graph.layout import Layout
from bootsmith.graph.registry import plan_site
from bootsmith.site.loader import load_site
from bootsmith.site.models import Image, Release, Template

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    lay_down_site(tmp_path / "fleet")
    return tmp_path / "fleet"


def new(root, *operands, **options):
    said = []
    write_new(site=load_site(root), operands=operands, say=said.append, **options)
    return said


def refusal(root, *operands, **words):
    with pytest.raises(BootsmithError) as caught:
        new(root, *operands, **words)
    return str(caught.value)


def tree(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


# -- recipes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Template, Release, Image])
def test_every_key_is_there(model):
    needed = {key.name: "x" for key in model.declared_keys() if key.is_required}
    text = recipe_text(model, needed, heading="x")
    for key in model.declared_keys():
        assert f"{key.name} =" in text or f"[{key.name}]" in text
    assert max(map(len, text.splitlines())) < 200


def test_a_default_may_be_uncommented_as_it_stands():
    values = {"summary": "s", "overlays": ["base"]}
    text = recipe_text(Template, values, heading="x")
    lines = [
        line[1:] if line.startswith("#") and line[1:2].isalpha() and " = (" not in line
        and " =   (" not in line else line
        for line in text.splitlines()
    ]  # fmt: skip
    known = tomllib.loads("\n".join(lines))
    assert known["packages"] == []
    assert known["boot"]["serial"] is True


def test_a_template_builds_at_once(root):
    said = new(root, "template", "web", flavor="virt")
    assert said == [
        "wrote recipes/templates/web.toml",
        "wrote overlays/web/etc/motd",
        "next: doit usbkey:web",
        "      files of these machines go below overlays/web/",
    ]
    site = load_site(root)
    assert site.templates["web"].flavor == "virt"
    assert [overlay.name for overlay in site.templates["web"].overlays] == ["base", "report", "web"]
    steps, _ = plan_site(site, Layout(root))
    assert "usbkey:web" in {step.label for step in steps}


def test_a_release_is_examined(root, tmp_path):
    iso = tmp_path / "tiny.iso"
    Disc(tmp_path / "disc").write(iso)
    said = new(root, "release", iso=str(iso))
    [name] = [line.split("/")[-1] for line in said if line.startswith("wrote")]
    recipe = tomllib.loads((root / "recipes/releases" / name).read_text())
    assert recipe["iso"] == str(iso)
    assert recipe["sha256"] == hashlib.sha256(iso.read_bytes()).hexdigest()
    assert recipe["flavors"] == ["lts", "virt"]
    assert f"next: doit pxerd:{name.removesuffix('.toml')}-lts" in said
    load_site(root)


def test_an_iso_within_the_site_is_named_from_the_recipe(root, tmp_path):
    (root / "media").mkdir()
    Disc(tmp_path / "disc").write(root / "media/tiny.iso")
    new(root, "release", "tiny", iso=str(root / "media/tiny.iso"))
    recipe = tomllib.loads((root / "recipes/releases/tiny.toml").read_text())
    assert recipe["iso"] == "../../media/tiny.iso"


@pytest.mark.parametrize(
    "operands,words,said",
    [
        ((), {}, "what is to be new?; expected template or release or host, got nothing"),
        (("tmplate", "x"), {}, "got tmplate\n  next: doit new template x"),
        (("host",), {"template": "default"}, "doit new host: takes one name"),
        (("release", "x"), {"flavor": "lts"}, "doit new release --flavor: is of no use here"),
        (("template",), {}, "doit new template: takes one name; expected NAME, got none"),
        (("template", "a", "b"), {}, "got a b"),
        (("template", "../x"), {}, "not a good name"),
        (("template", "default"), {}, "recipes/templates/default.toml: is there already"),
        (
            ("template", "x"),
            {"flavor": "vrt"},
            "doit new template --flavor: there is no such "
            "flavor; expected virt or lts, got vrt\n  next: --flavor virt",
        ),
        (
            ("template", "x"),
            {"release": "none"},
            "--release: there is no such release; expected standin, got none",
        ),
        (("release", "x"), {}, "doit new release: which ISO?"),
        (("release", "x"), {"iso": "/nowhere.iso"}, "cannot be read (No such file or directory)"),
        (("release", "x"), {"iso": "/dev/null"}, "/dev/null"),
        (("release", "x"), {"iso": str(CHECKOUT / "LICENSE")}, "LICENSE"),
    ],
    ids=str,
)
def test_what_cannot_be_made_leaves_nothing(root, operands, words, said):
    before = tree(root)
    message = refusal(root, *operands, **words)
    assert said in message
    assert "\n  next: " in message
    assert tree(root) == before


def test_a_site_that_does_not_load_with_it_stays_without_it(root):
    site = load_site(root)
    (root / "recipes/site.toml").write_text("nonsense")
    before = sorted(root.rglob("*"))
    with pytest.raises(BootsmithError):
        write_new(site=site, operands=("template", "web"), say=print)
    assert sorted(root.rglob("*")) == before


# -- sites --------------------------------------------------------------------------------------


def test_a_site_of_ones_own(root):
    site = load_site(root)
    assert site.name == "fleet"
    assert (root / "dodo.py").read_bytes() == (CHECKOUT / "dodo.py").read_bytes()
    assert not (root / "recipes/keys").exists()
    listed = subprocess.run(["make", "-C", root], capture_output=True, text=True, check=True)
    assert "make build     set up" in listed.stdout


def test_its_doit_runs_against_the_checkout(root):
    run = subprocess.run(
        [sys.executable, "-m", "doit", "list"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "build" in run.stdout
    assert not (root / "artifacts").exists()


@pytest.mark.parametrize("name,expected", [("Site 1", "site-1"), ("...", "site"), ("a", "a")])
def test_odd_directories_give_good_names(tmp_path, name, expected):
    lay_down_site(tmp_path / "x" / name)
    assert load_site(tmp_path / "x" / name).name == expected


def test_nothing_is_overwritten(root, capsys):
    before = tree(root)
    assert main(["init", str(root)]) == 2
    assert "holds something already" in capsys.readouterr().err
    (root.parent / "file").write_text("")
    assert main(["init", str(root.parent / "file")]) == 2
    assert main(["init", str(root.parent / "file/below")]) == 2
    assert main(["init", str(root.parent / "new"), "--name", "No"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (root.parent / "new").exists()
    assert tree(root) == before


def test_an_empty_directory_will_do(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["init", str(tmp_path / "empty")]) == 0
    said = capsys.readouterr().out
    assert said.endswith(f"next: cd {tmp_path}/empty && make build\n")
    shutil.rmtree(tmp_path / "empty")


def test_a_broken_checkout_leaves_no_half_site(tmp_path, monkeypatch):
    broken = tmp_path / "checkout"
    for part in ("recipes", "overlays"):
        shutil.copytree(CHECKOUT / part, broken / part, symlinks=True)
    shutil.copyfile(CHECKOUT / "dodo.py", broken / "dodo.py")
    (broken / "recipes/site.toml").write_text('schema = 1\nname = "x"\n')
    monkeypatch.setattr("bootsmith.drafts.site.CHECKOUT", broken)
    with pytest.raises(RecipeError):
        lay_down_site(tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_new_site_delivers_to_no_place_of_the_checkouts(tmp_path, monkeypatch):
    edited = tmp_path / "checkout"
    for part in ("recipes", "overlays"):
        shutil.copytree(CHECKOUT / part, edited / part, symlinks=True)
    shutil.copyfile(CHECKOUT / "dodo.py", edited / "dodo.py")
    settings = edited / "recipes/site.toml"
    known = settings.read_text()
    settings.write_text(f'{known}\n[publish.head]\n# where\ndirectory = "/srv/boot"\n')
    monkeypatch.setattr("bootsmith.drafts.site.CHECKOUT", edited)
    lay_down_site(tmp_path / "site")
    assert load_site(edited).publish
    assert not load_site(tmp_path / "site").publish
    written = (tmp_path / "site/recipes/site.toml").read_text()
    assert '\n#[publish.head]\n# where\n#directory = "/srv/boot"\n' in written
