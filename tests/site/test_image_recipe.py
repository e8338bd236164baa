"""Recipes of images: defaults, whole messages, and the steps that follow from them."""

from __future__ import annotations

import pytest

from bootsmith.errors import RecipeError
from bootsmith.graph.layout import Layout
from bootsmith.graph.names import planned_scenarios
from bootsmith.graph.plan_generation import plan_generation
from bootsmith.graph.plan_ramroot import plan_ramroot
from bootsmith.graph.step import Input, Tree
from bootsmith.site.loader import load_site

IMAGE = 'kind = "ramroot"\nsummary = "worker"\n'
FILES = {
    "recipes/site.toml": 'schema = 1\nname = "lab"\nrelease = "r"\nflavor = "lts"\n',
    "recipes/releases/r.toml": 'iso = "r.iso"\nflavors = ["virt", "lts"]\n'
    '[pxerd]\nfeatures = ["dhcp"]\n',
    "recipes/templates/t.toml": 'summary = "t"\noverlays = ["o"]\n',
    "recipes/features.d/dhcp.modules": "",
    "overlays/o/etc/motd": "",
}


@pytest.fixture
def site(tmp_path):
    """A function that loads a small site with this text as recipes/images/w.toml."""

    def load(text=None, name="w"):
        for path, content in FILES.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content)
        if text is not None:
            (tmp_path / "recipes/images").mkdir()
            (tmp_path / f"recipes/images/{name}.toml").write_text(text)
        return load_site(tmp_path)

    return load


def test_a_site_needs_no_images(site):
    loaded = site()
    assert loaded.images == {}
    assert plan_ramroot(loaded, Layout(loaded.root)) == ()


def test_the_least_that_an_image_says(site):
    loaded = site(IMAGE + 'tarball = "root.tar"\n')
    image = loaded.images["w"]
    assert (image.release, image.flavor, image.hostname) == ("r", "lts", "w")
    assert (image.memory_mebibytes, image.init, image.modules) == (512, "auto", ())
    (step,) = plan_ramroot(loaded, Layout(loaded.root))
    assert step.label == "ramroot:w"
    assert step.arguments["tarball"] == Input(loaded.root / "recipes/images/root.tar")
    # Nothing of the release is waited for that the image does not need.
    assert [step.arguments[name] for name in ("iso", "facts", "modloop")] == [None] * 3
    assert step.inputs == (
        loaded.root / "recipes/images/root.tar",
        loaded.root / "artifacts/build/flavor/r-lts/config",
    )


def test_all_that_an_image_may_say(site):
    loaded = site(
        IMAGE
        + 'packages = ["alpine-base", "!mdev"]\nflavor = "virt"\noverlays = ["o"]\n'
        + 'modules = ["dhcp", "virtio_net"]\nmemory_mebibytes = 256\n'
        + 'compression = "xz"\nlevel = 9\n'
        + 'owners = "w.owners"\ninit = "/bin/server"\nexclude = ["boot/*"]\nhostname = "w1"\n'
        + '[runlevels]\ndefault = ["local"]\n'
    )
    (step,) = plan_ramroot(loaded, Layout(loaded.root))
    flavor = loaded.root / "artifacts/build/flavor/r-virt"
    assert step.arguments["modloop"] == Input(flavor / "modloop")
    assert step.arguments["overlays"] == (Tree(loaded.root / "overlays/o"),)
    assert step.arguments["memory_bytes"] == 256 << 20
    assert step.arguments["facts"].path.name == "facts.json"
    assert step.arguments["runlevels"] == {"default": ("local",)}


def test_a_generation_has_it_with_what_a_boot_needs_to_know(site):
    loaded = site(IMAGE + 'directory = "/srv/root"\nflavor = "virt"\n')
    assemble = plan_generation(loaded, Layout(loaded.root))[0]
    (part,) = [part for part in assemble.arguments["artifacts"] if part["kind"] == "ramroot"]
    assert part["path"] == "ramroot/w/ramroot-w"
    assert part["values"] == {
        "template": "w",
        "hostname": "w",
        "memory_mebibytes": 512,
        "release": "r",
        "flavor": "virt",
        "set": "r-virt",
    }


def test_its_boot_is_proven(site):
    assert "direct-ramroot" not in planned_scenarios(site())
    assert "direct-ramroot" in planned_scenarios(site(IMAGE + 'directory = "/srv/root"\n'))


SOURCES = 'exactly one of directory = "...", tarball = "..." or packages = [...]'


@pytest.mark.parametrize(
    "text,message",
    [
        (
            "",
            "recipes/images/w.toml: says nothing of its source; expected " + SOURCES,
        ),
        (
            'directory = "/a"\npackages = ["b"]\n',
            f"recipes/images/w.toml: says directory and packages; expected {SOURCES}",
        ),
        (
            'tarball = "a"\ndisk_owners = true\n',
            "recipes/images/w.toml:4: disk_owners: is of no use with tarball, which says owners "
            "itself",
        ),
        (
            'tarball = "a"\nlevel = 3\n',
            'recipes/images/w.toml:4: level: is of no use with compression = "auto"',
        ),
        (
            'tarball = "a"\noverlays = ["none"]\n',
            "recipes/images/w.toml:4: overlays[0]: there is no such overlay; expected o, "
            'got "none"',
        ),
        (
            'tarball = "a"\ninit = "sbin/init"\n',
            'recipes/images/w.toml:4: init: bad value; expected "auto", or the absolute path of a '
            'program in the image, got "sbin/init"',
        ),
        (
            'tarball = "a"\nexclude = ["/boot"]\n',
            "recipes/images/w.toml:4: exclude[0]: bad value; expected a glob like "
            '"boot/*" or "var/cache/apt/archives", without a leading slash, got "/boot"',
        ),
        (
            'tarball = "a"\nflavor = "grsec"\n',
            "recipes/images/w.toml:4: flavor: release r has no such flavor; "
            'expected lts or virt, got "grsec"',
        ),
    ],
)
def test_what_is_wrong_is_said(site, text, message):
    with pytest.raises(RecipeError) as caught:
        site(IMAGE + text)
    assert caught.value.message == message


def test_other_kinds_and_names(site):
    with pytest.raises(RecipeError) as caught:
        site('kind = "disk"\nsummary = "x"\n')
    assert caught.value.message == (
        'recipes/images/w.toml:1: kind: bad value; expected "ramroot", got "disk"'
    )


def test_a_name_that_is_no_host_name(site):
    with pytest.raises(RecipeError) as caught:
        site(IMAGE + 'tarball = "a"\n', name="big_one")
    assert caught.value.message == (
        "recipes/images/big_one.toml: hostname: missing key, since the image's name is not a "
        "host name; expected a host name of lower-case letters, digits, inner dashes and dots, "
        "got big_one"
    )
